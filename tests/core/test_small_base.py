"""A small SD-1.5 from nothing: names of the original checkpoint, latents of unit deviation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Golden, relative_error
from safetensors.torch import save_file
from training_scenes import Photos, tiny_config

from restorerid_core.demo.picture import portrait
from restorerid_core.engine import vae
from restorerid_core.engine.clip import encode_prompts
from restorerid_core.engine.load_sd15 import from_original, load_sd15
from restorerid_core.engine.original_names import OriginalNames
from restorerid_core.engine.read_sizes import unet_config, vae_config
from restorerid_core.engine.sd15_shapes import unet_shapes, vae_shapes
from restorerid_core.engine.small_network import FOLDER, SIDE
from restorerid_core.errors import RestorerIDError
from restorerid_core.images.prepare import resize
from restorerid_core.quality.pixels import psnr
from restorerid_core.training.config_file import build_config, plain
from restorerid_core.training.run_config import RunConfig
from restorerid_core.training.small_base import (
    AutoencoderConfig,
    UNetConfig,
    UNetObjective,
    normalise,
)
from restorerid_core.training.small_stages import load_autoencoder, train_autoencoder, train_unet

pytestmark = pytest.mark.usefixtures("fresh_accelerate")
CPU = torch.device("cpu")


def names_of(kind: str) -> OriginalNames:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    if kind == "vae":
        return OriginalNames(AutoencoderKL, vae_shapes(32), vae_config)
    return OriginalNames(UNet2DConditionModel, unet_shapes(32), unet_config)


@pytest.mark.parametrize(("kind", "shapes"), [("vae", vae_shapes(32)), ("unet", unet_shapes(32))])
def test_a_model_comes_back_from_its_original_names(kind: str, shapes: dict) -> None:
    names = names_of(kind)
    model, again = names.new(1), names.new(1)
    tensors = names.tensors(model)
    assert {key: tensor.shape for key, tensor in tensors.items()} == shapes
    loaded = from_original(type(model), tensors, names.config).state_dict()
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded[key], tensor)
        assert torch.equal(again.state_dict()[key], tensor)


@pytest.mark.parametrize(("width", "groups"), [(128, 32), (32, 8)])
def test_the_vae_normalises_four_channels_together(width: int, groups: int) -> None:
    shapes = {key: torch.empty(shape, device="meta") for key, shape in vae_shapes(width).items()}
    assert vae_config(shapes)["norm_num_groups"] == groups


@torch.no_grad()
def test_one_token_of_zeros_stands_for_all() -> None:
    unet = names_of("unet").new(0)
    x, t = Golden.input("x", 2, 4, 16, 16), torch.tensor([10.0, 900.0])
    wanted = unet(x, t, torch.zeros(2, 77, 768)).sample
    assert relative_error(UNetObjective(unet).predict(x, t), wanted) < 1e-5


@torch.no_grad()
def test_normalised_latents_and_the_same_pictures() -> None:
    model = names_of("vae").new(0).eval()
    photos = Photos(64, 2).pictures.clamp(0, 1)
    before = vae.decode(model, vae.encode(model, photos))
    spread = model.encode(2 * photos - 1).latent_dist
    normalise(model, photos)
    latent = vae.encode(model, photos)
    after = model.encode(2 * photos - 1).latent_dist
    assert latent.std() == pytest.approx(1.0, abs=1e-3)
    assert relative_error(vae.decode(model, latent), before) < 1e-4
    assert relative_error(after.std / after.mean.std(), spread.std / spread.mean.std()) < 1e-4


@torch.no_grad()
def test_the_autoencoder_that_is_shipped_keeps_a_face() -> None:
    """At 128 px, with latents of unit deviation as the UNet wants them."""
    model, tensors = load_autoencoder(FOLDER / "autoencoder.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    face = resize(portrait()[None, :, 30:214, 130:314], (SIDE, SIDE))
    latent = vae.encode(model.float(), face)
    kept = vae.decode(model, latent)
    assert latent.shape == (1, 16, 16, 16) and 0.7 < float(latent.std()) < 1.4
    assert psnr(kept[0], face[0]) > 24


def tiny(folder: Path, kind: type[Any], **changes: Any) -> Any:
    """As `tiny_config`, of another kind."""
    known = RunConfig.__dataclass_fields__
    settings = {k: v for k, v in plain(tiny_config(folder)).items() if k in known}
    return build_config(kind, {**settings, "iterations": 2, "width": 32, **changes})


@pytest.mark.slow
def test_both_parts_make_a_base(tmp_path: Path) -> None:
    pictures = {"sample_every": 2, "samples": 2}
    first = tiny(tmp_path / "vae", AutoencoderConfig, **pictures)
    autoencoder = str(train_autoencoder(first, Photos(128)))
    second = tiny(tmp_path / "unet", UNetConfig, autoencoder=autoencoder, ema=0.5, **pictures)
    path = train_unet(second, Photos(128))
    for config in (first, second):
        assert (config.output / "samples" / "0000002.png").is_file()
    base = load_sd15(path, torch.float32, CPU)
    latent = vae.encode(base.vae, torch.stack([Photos(128)[n]["target"] for n in range(4)]))
    assert latent.std() == pytest.approx(1.0, abs=0.01)
    with torch.no_grad():
        x, t = Golden.input("x", 1, 4, 16, 16), torch.tensor([10.0])
        assert base.unet(x, t, torch.zeros(1, 77, 768)).sample.isfinite().all()
    prompts = encode_prompts(path, ["", "a face"], torch.float32, CPU)
    assert not any(text.any() for text in prompts)


def test_the_decoder_goes_on_alone(tmp_path: Path) -> None:
    small = {"width": 8, "latent_channels": 2, "batch": 1, "learning_rate": 1e-3, "iterations": 1}
    first = train_autoencoder(tiny(tmp_path / "a", AutoencoderConfig, **small), Photos(128))
    more = tiny(tmp_path / "b", AutoencoderConfig, start=str(first), decoder_alone=True, **small)
    second = train_autoencoder(more, Photos(128))
    before, after = (load_autoencoder(path)[1] for path in (first, second))
    same = {key for key, tensor in before.items() if torch.equal(after[key], tensor)}
    kept = {key for key in before if ".encoder." in key or ".quant_conv." in key}
    assert kept == same and kept < before.keys()


def test_another_file_than_the_autoencoder(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(RestorerIDError, match=r"'other\.safetensors' lacks the tensor"):
        train_unet(tiny(tmp_path, UNetConfig, autoencoder=str(path)), Photos(128))


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        (AutoencoderConfig, {"width": 42}, "`width` is 42; expected a multiple of 4"),
        (AutoencoderConfig, {"multipliers": (1, 2)}, "`multipliers` has 2 numbers; expected one"),
        (AutoencoderConfig, {"decoder_alone": True}, "`start` names no autoencoder; expected one"),
        (UNetConfig, {"width": 40, "autoencoder": "a"}, "`width` is 40; expected a multiple of 32"),
    ],
)
def test_sizes(tmp_path: Path, kind: type[Any], wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(RestorerIDError, match=told):
        tiny(tmp_path, kind, **wrong)
