"""The tensors of SD-1.5 by the names of its original checkpoint, at any width."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Size

from ..adapter.config import UNET

TEXT = 768
MULTIPLIERS = (1, 2, 4, 4)
LATENT = 4
VAE = "first_stage_model."


@dataclass(frozen=True)
class _UNet:
    widths: Sequence[int]
    """Channels of the four levels."""
    latent: int
    text: int


def unet_shapes(
    width: int = 320,
    multipliers: Sequence[int] = MULTIPLIERS,
    latent: int = LATENT,
    text: int = TEXT,
) -> dict[str, Size]:
    """Shapes by key, with the prefix of a whole checkpoint.

    Args:
        multipliers: of the width in each of the four levels.
        latent: channels of the latent.
        text: width of a text token.
    """
    sizes = _UNet([width * multiplier for multiplier in multipliers], latent, text)
    return {UNET + key: Size(shape) for key, shape in _unet(sizes)}


def vae_shapes(
    width: int = 128,
    multipliers: Sequence[int] = MULTIPLIERS,
    blocks: int = 2,
    latent: int = LATENT,
) -> dict[str, Size]:
    """Shapes of the autoencoder, like `unet_shapes`.

    Args:
        multipliers: of the width in each of the four levels.
        blocks: ResBlocks of a level; the decoder has one more.
        latent: channels of the latent.
    """
    widths = [width * multiplier for multiplier in multipliers]
    return {VAE + key: Size(shape) for key, shape in _vae(widths, blocks, latent)}


def clip_shapes(
    prefix: str, width: int, layers: int, embeddings: dict[str, tuple[int, ...]], norms: list[str]
) -> dict[str, Size]:
    """A CLIP tower: its own embeddings and norms, and the layers that both towers have."""
    found = {f"embeddings.{key}": shape for key, shape in embeddings.items()}
    for layer in range(layers):
        name = f"encoder.layers.{layer}"
        for part in ("q", "k", "v", "out"):
            found |= dict(_layer(f"{name}.self_attn.{part}_proj", width, width))
        found |= dict(_layer(f"{name}.mlp.fc1", 2 * width, width))
        found |= dict(_layer(f"{name}.mlp.fc2", width, 2 * width))
        norms = [*norms, f"{name}.layer_norm1", f"{name}.layer_norm2"]
    for name in norms:
        found |= dict(_norm(name, width))
    return {prefix + key: Size(shape) for key, shape in found.items()}


def _vae(widths: Sequence[int], blocks: int, latent: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _layer("quant_conv", 2 * latent, 2 * latent, 1)
    yield from _layer("post_quant_conv", latent, latent, 1)
    for side, levels in (("encoder", "down"), ("decoder", "up")):
        down = side == "encoder"
        channels = widths[0] if down else widths[-1]
        yield from _layer(f"{side}.conv_in", channels, 3 if down else latent, 3)
        for level in range(4) if down else reversed(range(4)):
            for block in range(blocks if down else blocks + 1):
                name = f"{side}.{levels}.{level}.block.{block}"
                yield from _vae_block(name, channels, widths[level])
                channels = widths[level]
            sampled = level < 3 if down else level > 0
            if sampled:
                name = f"{side}.{levels}.{level}.{levels}sample.conv"
                yield from _layer(name, channels, channels, 3)
        for block in ("mid.block_1", "mid.block_2"):
            yield from _vae_block(f"{side}.{block}", widths[-1], widths[-1])
        yield from _norm(f"{side}.mid.attn_1.norm", widths[-1])
        for part in ("q", "k", "v", "proj_out"):
            yield from _layer(f"{side}.mid.attn_1.{part}", widths[-1], widths[-1], 1)
        yield from _norm(f"{side}.norm_out", channels)
        yield from _layer(f"{side}.conv_out", 2 * latent if down else 3, channels, 3)


def _vae_block(name: str, channels: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _norm(f"{name}.norm1", channels)
    yield from _layer(f"{name}.conv1", out, channels, 3)
    yield from _norm(f"{name}.norm2", out)
    yield from _layer(f"{name}.conv2", out, out, 3)
    if channels != out:
        yield from _layer(f"{name}.nin_shortcut", out, channels, 1)


def _unet(sizes: _UNet) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = sizes.widths[0]
    emb = 4 * width
    yield from _layer("time_embed.0", emb, width)
    yield from _layer("time_embed.2", emb, emb)
    yield from _layer("input_blocks.0.0", width, sizes.latent, 3)
    skips, channels, number = [width], width, 0
    for level, out in enumerate(sizes.widths):
        for _ in range(2):
            number += 1
            yield from _resblock(f"input_blocks.{number}.0", channels, out, emb)
            channels = out
            if level < 3:
                yield from _transformer(f"input_blocks.{number}.1", channels, sizes.text)
            skips.append(channels)
        if level < 3:
            number += 1
            yield from _layer(f"input_blocks.{number}.0.op", channels, channels, 3)
            skips.append(channels)
    yield from _resblock("middle_block.0", channels, channels, emb)
    yield from _transformer("middle_block.1", channels, sizes.text)
    yield from _resblock("middle_block.2", channels, channels, emb)
    for number in range(12):
        level = 3 - number // 3
        out = sizes.widths[level]
        yield from _resblock(f"output_blocks.{number}.0", channels + skips.pop(), out, emb)
        channels = out
        if level < 3:
            yield from _transformer(f"output_blocks.{number}.1", channels, sizes.text)
        if number % 3 == 2 and level:
            place = f"output_blocks.{number}.{1 if level == 3 else 2}.conv"
            yield from _layer(place, channels, channels, 3)
    yield from _norm("out.0", channels)
    yield from _layer("out.2", sizes.latent, channels, 3)


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


def _transformer(name: str, channels: int, text: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _norm(f"{name}.norm", channels)
    yield from _layer(f"{name}.proj_in", channels, channels, 1)
    block = f"{name}.transformer_blocks.0"
    for attention, context in (("attn1", channels), ("attn2", text)):
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
