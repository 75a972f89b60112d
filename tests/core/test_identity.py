"""How several references make one identity, or several."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from restorerid_core.faces.identity import build_identity


def project(embedding: Tensor, hidden: Tensor) -> Tensor:
    """A stand-in for the projector that is not linear: (B, 512), (B, 5, 8) to (B, 4, 8)."""
    return torch.sin(7 * embedding[:, :4, None] + hidden[:, :4])


@pytest.fixture
def references() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(3, 512, generator=generator), dim=-1)
    return embeddings, torch.randn(3, 5, 8, generator=generator), torch.ones(1, 5, 8)


def test_identity_average(references):
    embeddings, hidden, uncond = references
    identity = build_identity(embeddings, hidden, uncond, project, "average")
    template = embeddings.sum(0) / embeddings.sum(0).norm()
    each = [project(template[None], hidden[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(identity.tokens, (each[0] + each[1] + each[2]) / 3)
    torch.testing.assert_close(identity.uncond_tokens, project(torch.zeros(1, 512), uncond))
    torch.testing.assert_close(identity.embedding, template[None])


def test_identity_side_by_side(references):
    embeddings, hidden, uncond = references
    identity = build_identity(embeddings, hidden, uncond, project, "side by side")
    assert identity.tokens.shape == identity.uncond_tokens.shape == (1, 12, 8)
    torch.testing.assert_close(identity.tokens[:, 4:8], project(embeddings[1:2], hidden[1:2]))
    once = project(torch.zeros(1, 512), uncond)
    query = torch.randn(1, 6, 8)
    torch.testing.assert_close(
        F.scaled_dot_product_attention(query, identity.uncond_tokens, identity.uncond_tokens),
        F.scaled_dot_product_attention(query, once, once),
    )


def test_identity_one_per_image(references):
    embeddings, hidden, uncond = references
    identity = build_identity(embeddings, hidden, uncond, project, "one per image")
    torch.testing.assert_close(identity.tokens, project(embeddings, hidden))
    torch.testing.assert_close(identity.embedding, embeddings)
    assert identity.uncond_tokens.shape == (1, 4, 8)


def test_identity_of_one_reference_is_the_same_however_combined(references):
    embeddings, hidden, uncond = references
    results = [
        build_identity(embeddings[:1], hidden[:1], uncond, project, combine)
        for combine in ("average", "side by side", "one per image")
    ]
    for other in results[1:]:
        torch.testing.assert_close(other.tokens, results[0].tokens)
        torch.testing.assert_close(other.uncond_tokens, results[0].uncond_tokens)
