"""Our networks against the authors', on the golden recipe's weights."""

from typing import Any

import pytest
import torch
from helpers import FUSED_ATTENTION, relative_error, seeded_state_dict
from torch import nn
from torch.nn.attention import sdpa_kernel

from restorerid_core.adapter.face_projector import FaceProjector
from restorerid_core.adapter.id_attention import IDAttention, attend
from restorerid_core.adapter.lq_encoder import LQEncoder
from restorerid_core.adapter.modulation import SPADE, FIRAdapter

CALL = 1e-5


def filled(module: nn.Module, prefix: str) -> nn.Module:
    weights = seeded_state_dict({prefix + k: v.shape for k, v in module.state_dict().items()})
    module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items()})
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def encoders() -> dict[str, nn.Module]:
    prefix = "structcond_stage_model."
    return {"tiny": filled(LQEncoder(4, 32, 32), prefix), "full": filled(LQEncoder(), prefix)}


@pytest.mark.parametrize(
    ("tag", "timestep", "batch", "height", "width"),
    [
        ("tiny.encoder", 0, 1, 16, 16),
        ("tiny.encoder", 500, 1, 16, 16),
        ("tiny.encoder", 999, 1, 16, 16),
        ("tiny.encoder_nonsquare", 301, 2, 16, 24),
        ("full.encoder", None, 1, 16, 16),
    ],
)
def test_lq_encoder(
    golden: Any,
    encoders: dict[str, nn.Module],
    record_property: Any,
    tag: str,
    timestep: int | None,
    batch: int,
    height: int,
    width: int,
) -> None:
    g = golden(tag.split(".")[0])
    latent = g.input(f"{tag}.lq_latent", batch, 4, height, width)
    if timestep is None:
        (timestep,) = {int(k.split(".")[2][1:]) for k in g.outputs if k.startswith(f"{tag}.t")}
    maps = encoders[tag.split(".")[0]](latent, torch.full((batch,), timestep))
    errors = [relative_error(m, g[f"{tag}.t{timestep}.w{m.shape[-1]}"]) for m in maps]
    record_property("relative_error", max(errors))
    assert len(errors) == 4
    assert max(errors) <= CALL


@pytest.mark.parametrize(("height", "width"), [(17, 23), (2, 16), (64, 9)])
def test_maps_have_the_size_of_the_unets_levels(
    encoders: dict[str, nn.Module], height: int, width: int
) -> None:
    maps = encoders["tiny"](torch.zeros(1, 4, height, width), torch.zeros(1))
    for level, lq_map in enumerate(maps):
        assert lq_map.shape[2:] == (-(-height // 2**level), -(-width // 2**level))


def test_face_projector(golden: Any, record_property: Any) -> None:
    g = golden("modules")
    projector = filled(FaceProjector(), "Adapter.image_proj_model.")
    embedding = g.input("face_tokens.id_embedding", 2, 512)
    embedding = embedding / embedding.norm(dim=1, keepdim=True)
    tokens = projector(embedding, g.input("face_tokens.clip_hidden", 2, 257, 1280))
    uncond = projector(torch.zeros(1, 512), g.input("face_tokens.uncond_clip_hidden", 1, 257, 1280))
    errors = (
        relative_error(tokens, g["face_tokens.cond"]),
        relative_error(uncond, g["face_tokens.uncond"]),
    )
    record_property("relative_error", max(errors))
    assert max(errors) <= CALL


def test_fir_with_zero_convolutions_is_one_affine_per_channel() -> None:
    """The form that weights of the released training have (only two biases ever learned)."""
    fir = filled(FIRAdapter(64, 32), "fir.")
    for name, weight in fir.named_parameters():
        if name.startswith("mlp_") and not name.startswith(("mlp_gamma.b", "mlp_beta.b")):
            weight.zero_()
    assert isinstance(fir, FIRAdapter)
    x = torch.randn(2, 64, 8, 8)
    out = fir(x, torch.randn(2, 32, 8, 8), torch.randn(2, 4, 768))
    gain, bias = (conv.bias[:, None, None] for conv in (fir.mlp_gamma, fir.mlp_beta))
    torch.testing.assert_close(out, x + fir.param_free_norm(x) * gain + bias)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_runs_in_a_fused_kernel(dtype: torch.dtype, layout: torch.memory_format) -> None:
    """Forward and backward: q, k or v of another layout would raise "No available kernel"."""

    def features(channels: int) -> torch.Tensor:
        x = torch.randn(2, channels, 16, 16, dtype=dtype).to(memory_format=layout)
        return x.requires_grad_()

    encoder, fir = LQEncoder(4, 32, 32).to(dtype), FIRAdapter(64, 32).to(dtype)
    id_attention, projector = IDAttention(64), FaceProjector(context_dim=128, depth=1)
    id_attention, projector = id_attention.to(dtype), projector.to(dtype)
    tokens = torch.randn(2, 4, 768, dtype=dtype)
    q = features(64).flatten(2).transpose(1, 2).contiguous()
    clip = torch.randn(2, 257, 1280, dtype=dtype)
    with sdpa_kernel(FUSED_ATTENTION):
        outputs = [
            *encoder(features(4), torch.zeros(2)),
            fir(features(64), features(32), tokens),
            attend(q, *id_attention.keys_values(tokens), heads=8),
            projector(torch.randn(2, 512, dtype=dtype), clip),
        ]
        torch.stack([out.square().mean() for out in outputs]).sum().backward()
    for module in (encoder, fir, id_attention, projector):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_layers_of_a_host_are_used() -> None:
    class Counted:
        made = 0

        def __getattr__(self, name: str) -> Any:
            Counted.made += 1
            return getattr(nn, name)

    operations: Any = Counted()
    SPADE(32, 32, operations=operations)
    assert Counted.made == 4
