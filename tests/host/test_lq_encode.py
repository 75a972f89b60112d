"""RestorerID LQ Spatial Encoder: what it gives and what it refuses."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from models import load_image


class VaeStub:
    """A VAE of `channels` latent channels that gives `value` everywhere."""

    def __init__(self, channels: int = 4, value: float = 0.5):
        self.latent_channels, self.value = channels, value

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        batch, height, width, _ = pixels.shape
        return torch.full((batch, self.latent_channels, height // 8, width // 8), self.value)


def test_lq_encode_gives_condition_latent_and_prepared_image(
    extension: ModuleType, patching: ModuleType, restorer: Any
) -> None:
    image = torch.rand(2, 300, 203, 3)
    lq, latent, prepared = extension.nodes.portrait.lq_encode.RestorerIDLQEncode.execute(
        restorer, VaeStub(), image, 0
    ).args
    assert lq.latent.shape == latent["samples"].shape == (2, 4, 38, 26)
    assert torch.allclose(lq.latent, torch.tensor(0.5 * 0.18215))
    assert not latent["samples"].any()
    assert torch.equal(prepared, image)
    assert lq.size == (300, 203)


@pytest.mark.parametrize("channels", [1, 4])
def test_lq_encode_takes_grey_and_rgba(
    extension: ModuleType, patching: ModuleType, restorer: Any, channels: int
) -> None:
    image = torch.rand(1, 64, 64, channels)
    image[..., 3:] = 1
    node = extension.nodes.portrait.lq_encode.RestorerIDLQEncode
    prepared = node.execute(restorer, VaeStub(), image, 0).args[2]
    assert torch.equal(prepared, image[..., :3].expand(-1, -1, -1, 3))


@pytest.mark.parametrize(
    ("vae", "image", "sentence"),
    [
        (VaeStub(16), torch.rand(1, 64, 64, 3), "The VAE has 16 latent channels"),
        (VaeStub(value=float("nan")), torch.rand(1, 64, 64, 3), "not finite for the LQ image"),
        (None, torch.rand(1, 64, 64, 3), "The VAE is missing, for the checkpoint holds none"),
        (VaeStub(), torch.rand(0, 64, 64, 3), "`image` is an empty batch"),
        (VaeStub(), torch.full((1, 64, 64, 3), float("nan")), "`image` has NaN or infinite"),
        (VaeStub(), torch.rand(1, 4, 4, 3), "`image` is 4x4 px; expected at least 16 px"),
        (VaeStub(), torch.rand(1, 64, 64, 2), "`image` has 2 channels"),
        (VaeStub(), torch.rand(1, 64, 64, 3) * 65535, "`image` has values from"),
    ],
)
def test_lq_encode_refuses(
    extension: ModuleType,
    patching: ModuleType,
    restorer: Any,
    error: Any,
    vae: Any,
    image: torch.Tensor,
    sentence: str,
) -> None:
    with pytest.raises(error, match=sentence):
        extension.nodes.portrait.lq_encode.RestorerIDLQEncode.execute(restorer, vae, image, 64)


@pytest.mark.parametrize("wrong", [{"size": float("nan")}, {"size": 8}, {"face_check": "foo"}])
def test_linked_values_have_the_ranges_of_the_widgets(
    extension: ModuleType, patching: ModuleType, restorer: Any, error: Any, wrong: dict[str, Any]
) -> None:
    (name,) = wrong
    inputs = {"vae": VaeStub(), "image": torch.rand(1, 64, 64, 3), "size": 64, **wrong}
    with pytest.raises(error, match=f"`{name}` is .*; expected"):
        extension.nodes.portrait.lq_encode.RestorerIDLQEncode.execute(restorer, **inputs)


def test_only_one_large_face_is_restored_unless_told(
    extension: ModuleType,
    patching: ModuleType,
    restorer: Any,
    error: Any,
    faces_dir: Path,
    model_folder: Any,
) -> None:
    model_folder(faces_dir)
    node = extension.nodes.portrait.lq_encode.RestorerIDLQEncode
    face, bystander = (load_image(faces_dir / f"samples/{n}-lq1.png") for n in (2, 1))
    refused = {
        "`image` .* shows no face;": torch.full((1, 300, 400, 3), 0.5),
        "`image` .* shows no face larger than ": torch.nn.functional.pad(
            face, (0, 0, 900, 900, 900, 900), value=0.5
        ),
        "`image` .* shows 2 faces ": torch.cat([face, face], 2),
        "`image` 2 of 2 .* shows no face;": torch.cat([face, torch.zeros_like(face)]),
    }
    for photo in (face, bystander):
        node.execute(restorer, VaeStub(), photo, 512, "one large face")
    for sentence, photo in refused.items():
        with pytest.raises(error, match=sentence + ".*`face_check` to off"):
            node.execute(restorer, VaeStub(), photo, 512, "one large face")
        node.execute(restorer, VaeStub(), photo, 512, "off")


def test_missing_face_models_are_told_before_the_run(
    extension: ModuleType, patching: ModuleType, model_folder: Any, faces_dir: Path, tmp_path: Path
) -> None:
    node = extension.nodes.portrait.lq_encode.RestorerIDLQEncode
    model_folder(tmp_path)
    assert "Or set `face_check` to off" in node.validate_inputs(face_check="one large face")
    assert node.validate_inputs(face_check="off") is node.validate_inputs() is True
    model_folder(faces_dir)
    assert node.validate_inputs(face_check="one large face") is True
