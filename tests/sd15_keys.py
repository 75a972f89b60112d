"""The tensors of an SD-1.5 UNet by the names of its original checkpoint, at any width."""
from collections.abc import Iterator

from torch import Size

TEXT = 768
MULTIPLIERS = (1, 2, 4, 4)
UNET = "model.diffusion_model."


def unet_shapes(width: int = 320) -> dict[str, Size]:
    """Shapes by key, with the prefix of a whole checkpoint."""
    return {UNET + key: Size(shape) for key, shape in _unet(width)}


def _unet(width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    emb = 4 * width
    yield from _layer("time_embed.0", emb, width)
    yield from _layer("time_embed.2", emb, emb)
    yield from _layer("input_blocks.0.0", width, 4, 3)
    skips, channels, number = [width], width, 0
    for level, multiplier in enumerate(MULTIPLIERS):
        for _ in range(2):
            number += 1
            yield from _resblock(f"input_blocks.{number}.0", channels, width * multiplier, emb)
            channels = width * multiplier
            if level < 3:
                yield from _transformer(f"input_blocks.{number}.1", channels)
            skips.append(channels)
        if level < 3:
            number += 1
            yield from _layer(f"input_blocks.{number}.0.op", channels, channels, 3)
            skips.append(channels)
    yield from _resblock("middle_block.0", channels, channels, emb)
    yield from _transformer("middle_block.1", channels)
    yield from _resblock("middle_block.2", channels, channels, emb)
    for number in range(12):
        level = 3 - number // 3
        out = width * MULTIPLIERS[level]
        yield from _resblock(f"output_blocks.{number}.0", channels + skips.pop(), out, emb)
        channels = out
        if level < 3:
            yield from _transformer(f"output_blocks.{number}.1", channels)
        if number % 3 == 2 and level:
            place = f"output_blocks.{number}.{1 if level == 3 else 2}.conv"
            yield from _layer(place, channels, channels, 3)
    yield from _norm("out.0", channels)
    yield from _layer("out.2", 4, channels, 3)


def _resblock(
    name: str, channels: int, out: int, emb: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _norm(f"{name}.in_layers.0", channels)
    yield from _layer(f"{name}.in_layers.2", out, channels, 3)
    yield from _layer(f"{name}.emb_layers.1", out, emb)
    yield from _norm(f"{name}.out_layers.0", out)
    yield from _layer(f"{name}.out_layers.3", out, out, 3)
    if channels != out:
        yield from _layer(f"{name}.skip_connection", out, channels, 1)


def _transformer(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _norm(f"{name}.norm", channels)
    yield from _layer(f"{name}.proj_in", channels, channels, 1)
    block = f"{name}.transformer_blocks.0"
    for attention, context in (("attn1", channels), ("attn2", TEXT)):
        yield f"{block}.{attention}.to_q.weight", (channels, channels)
        yield f"{block}.{attention}.to_k.weight", (channels, context)
        yield f"{block}.{attention}.to_v.weight", (channels, context)
        yield from _layer(f"{block}.{attention}.to_out.0", channels, channels)
    yield from _layer(f"{block}.ff.net.0.proj", 8 * channels, channels)
    yield from _layer(f"{block}.ff.net.2", channels, 4 * channels)
    for number in (1, 2, 3):
        yield from _norm(f"{block}.norm{number}", channels)
    yield from _layer(f"{name}.proj_out", channels, channels, 1)


def _layer(
    name: str, out: int, channels: int, kernel: int = 0
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, channels, *([kernel, kernel] if kernel else []))
    yield f"{name}.bias", (out,)


def _norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)
