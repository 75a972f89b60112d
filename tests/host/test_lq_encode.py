"""RestorerID LQ Spatial Encoder: what it gives and what it refuses."""

import pytest
import torch
from disc_faces import disc_photo
from onnx_files import save_network


class VaeStub:
    """A VAE of `channels` latent channels that gives `value` everywhere."""

    def __init__(self, channels: int = 4, value: float = 0.5):
        self.latent_channels, self.value = channels, value

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        batch, height, width, _ = pixels.shape
        return torch.full((batch, self.latent_channels, height // 8, width // 8), self.value)


@pytest.fixture
def encode(node, restorer):
    def encode(image, size=0, *check, vae=VaeStub()):  # noqa: B008
        return node("LQEncode").execute(restorer, vae, image, size, *check).args

    return encode


def test_it_gives_condition_latent_and_prepared_image(encode):
    image = torch.rand(2, 300, 203, 3)
    lq, latent, prepared = encode(image)
    assert lq.latent.shape == latent["samples"].shape == (2, 4, 38, 26)
    assert torch.allclose(lq.latent, torch.tensor(0.5 * 0.18215))
    assert not latent["samples"].any()
    assert torch.equal(prepared, image)
    assert lq.size == (300, 203)


@pytest.mark.parametrize("channels", [1, 4])
def test_it_takes_grey_and_rgba(encode, channels):
    image = torch.rand(1, 64, 64, channels)
    image[..., 3:] = 1
    assert torch.equal(encode(image)[2], image[..., :3].expand(-1, -1, -1, 3))


@pytest.mark.parametrize(
    ("vae", "words"),
    [
        (VaeStub(16), "The VAE has 16 latent channels"),
        (VaeStub(value=float("nan")), "not finite for the LQ image"),
        (None, "The VAE is missing, for the checkpoint holds none"),
    ],
)
def test_a_vae_that_does_not_fit(encode, error, vae, words):
    with pytest.raises(error, match=words):
        encode(torch.rand(1, 64, 64, 3), 64, vae=vae)


def test_only_one_large_face_is_restored_unless_told(encode, error, discs):
    face, blank = ("Ann", 150, 100, 60), disc_photo()
    for allowed in (disc_photo(face), disc_photo(face, ("Bob", 40, 40, 25))):
        encode(allowed, 64, "one large face")
    refused = {
        "`image` .* shows no face;": blank,
        "`image` .* shows no face larger than ": disc_photo(("Ann", 150, 100, 15)),
        "`image` .* shows 2 faces ": disc_photo(("Ann", 60, 100, 50), ("Bob", 200, 100, 50)),
        "`image` 2 of 2 .* shows no face;": torch.cat([disc_photo(face), blank]),
    }
    for words, photo in refused.items():
        with pytest.raises(error, match=words + ".*`face_check` to off"):
            encode(photo, 64, "one large face")
        encode(photo, 64, "off")


def test_missing_face_models_are_told_before_the_run(node, model_folder, tmp_path):
    validate = node("LQEncode").validate_inputs
    model_folder(tmp_path)
    assert "Or set `face_check` to off" in validate(face_check="one large face")
    assert validate(face_check="off") is validate() is True
    save_network(tmp_path / "models" / "pack" / "det.onnx", 9, "?")
    save_network(tmp_path / "models" / "pack" / "rec.onnx")
    assert validate(face_check="one large face") is True
