"""Our networks against the authors', on the golden recipe's weights."""

import pytest
import torch
from helpers import FUSED_ATTENTION, seeded_state_dict
from torch import nn
from torch.nn.attention import sdpa_kernel

from restorerid_core.adapter.face_projector import FaceProjector
from restorerid_core.adapter.id_attention import IDAttention, attend
from restorerid_core.adapter.lq_encoder import LQEncoder
from restorerid_core.adapter.modulation import FIRAdapter

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
    ("tag", "timestep", "batch", "width"),
    [
        *(("tiny.encoder", timestep, 1, 16) for timestep in (0, 500, 999)),
        ("tiny.encoder_nonsquare", 301, 2, 24),
        ("full.encoder", None, 1, 16),
    ],
)
def test_lq_encoder(golden, encoders, parity, tag, timestep, batch, width):
    size = tag.split(".")[0]
    g = golden(size)
    latent = g.input(f"{tag}.lq_latent", batch, 4, 16, width)
    if timestep is None:
        (timestep,) = {int(k.split(".")[2][1:]) for k in g.outputs if k.startswith(f"{tag}.t")}
    maps = encoders[size](latent, torch.full((batch,), timestep))
    assert len(maps) == 4
    parity(CALL, *((m, g[f"{tag}.t{timestep}.w{m.shape[-1]}"]) for m in maps))


@pytest.mark.parametrize(("height", "width"), [(17, 23), (2, 16), (64, 9)])
def test_maps_have_the_size_of_the_unets_levels(encoders, height, width):
    maps = encoders["tiny"](torch.zeros(1, 4, height, width), torch.zeros(1))
    for level, lq_map in enumerate(maps):
        assert lq_map.shape[2:] == (-(-height // 2**level), -(-width // 2**level))


def test_face_projector(golden, parity):
    g = golden("modules")
    projector = filled(FaceProjector(), "Adapter.image_proj_model.")
    embedding = g.input("face_tokens.id_embedding", 2, 512)
    embedding = embedding / embedding.norm(dim=1, keepdim=True)
    tokens = projector(embedding, g.input("face_tokens.clip_hidden", 2, 257, 1280))
    uncond = projector(torch.zeros(1, 512), g.input("face_tokens.uncond_clip_hidden", 1, 257, 1280))
    parity(CALL, (tokens, g["face_tokens.cond"]), (uncond, g["face_tokens.uncond"]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_runs_in_a_fused_kernel(dtype, layout):
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
