"""RestorerIDLoader in a real ComfyUI: folder, refusals, and networks under its memory manager."""

import asyncio
import dataclasses
import logging
import os
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from adapter_files import TINY, base_weights, full_weights, lightning
from helpers import seeded_state_dict
from models import SD15
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from restorerid_core.demo.adapter_shapes import adapter_shapes


@pytest.fixture
def loader(extension: ModuleType) -> Any:
    return import_module(f"{extension.__name__}.nodes.portrait.loader")


@pytest.fixture
def folder(loader: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that ComfyUI searches for RestorerID files, empty."""
    import folder_paths

    path = tmp_path / "models" / "restorerid"
    path.mkdir(parents=True)
    entry = ([str(path)], loader.EXTENSIONS)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "restorerid", entry)
    monkeypatch.delitem(folder_paths.filename_list_cache, "restorerid", raising=False)
    return path


@pytest.fixture(scope="session")
def adapter() -> dict[str, Tensor]:
    """A tiny slim file in fp16."""
    return {key: t.half() for key, t in seeded_state_dict(adapter_shapes(TINY)).items()}


@pytest.fixture
def loaded(loader: Any, folder: Path, adapter: dict[str, Tensor]) -> Any:
    save_file(adapter, folder / "restorerid.safetensors")
    return loader.RestorerIDLoader.execute("restorerid.safetensors").result[0]


def options(loader: Any) -> list[str]:
    return loader.RestorerIDLoader.INPUT_TYPES()["required"]["file"][1]["options"]


def validation_errors(loader: Any, file: str) -> list[dict[str, Any]]:
    """What ComfyUI answers to a prompt with this file."""
    import execution

    nodes = import_module("nodes")  # ComfyUI's, not ours
    mappings = {**nodes.NODE_CLASS_MAPPINGS, "RestorerIDLoader": loader.RestorerIDLoader}
    prompt = {"1": {"class_type": "RestorerIDLoader", "inputs": {"file": file}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "NODE_CLASS_MAPPINGS", mappings)
        _, errors, _ = asyncio.run(execution.validate_inputs("p", prompt, "1", {}))
    return errors


def test_a_network_of_its_own_is_refused(loader: Any, folder: Path) -> None:
    config = dataclasses.replace(TINY, context_dim=256, latent_channels=16)
    save_file(seeded_state_dict(adapter_shapes(config)), folder / "small.safetensors")
    with pytest.raises(Exception, match=r"small\.safetensors.*16 channels.*SD 1\.5"):
        loader.RestorerIDLoader.execute("small.safetensors")


# The folder


def test_the_folder_is_known_once_the_nodes_are(loader: Any):
    import folder_paths

    expected = os.path.join(folder_paths.models_dir, "restorerid")
    assert expected in folder_paths.get_folder_paths("restorerid")


def test_folders_of_the_user_are_kept(loader: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    known = folder_paths.folder_names_and_paths
    monkeypatch.setitem(known, "restorerid", (["/mine/restorerid"], set()))
    loader.register_folder()
    loader.register_folder()
    own = str(tmp_path / "models" / "restorerid")
    assert known["restorerid"] == (["/mine/restorerid", own], loader.EXTENSIONS)
    assert os.path.isdir(own)


def test_only_weights_are_listed(loader: Any, folder: Path):
    for name in ("restorerid.safetensors", "old.ckpt", "readme.txt", "preview.png"):
        (folder / name).touch()
    assert options(loader) == ["old.ckpt", "restorerid.safetensors"]


def test_a_new_file_appears_without_a_restart(loader: Any, folder: Path):
    assert options(loader) == [loader.NO_FILE]
    (folder / "restorerid.safetensors").touch()
    assert options(loader) == ["restorerid.safetensors"]


# What the user reads


@pytest.mark.parametrize("file", ["restorerid.safetensors", None])
def test_a_missing_file_is_explained_before_the_queue_starts(
    loader: Any, folder: Path, file: str | None
):
    (error,) = validation_errors(loader, file or options(loader)[0])
    details = error["details"]
    assert f"'{folder}'" in details
    assert "put restorerid.safetensors or the authors' RestorerIDFull.ckpt there" in details
    assert (f"called '{file}'" in details) == (file is not None)


def test_a_file_that_is_there_validates(loader: Any, folder: Path):
    (folder / "sub").mkdir()
    (folder / "sub" / "restorerid.safetensors").touch()
    assert validation_errors(loader, os.path.join("sub", "restorerid.safetensors")) == []


def test_a_file_removed_later_is_explained(loader: Any, folder: Path):
    with pytest.raises(ValueError, match=r"No RestorerID file called 'gone\.ckpt' was found in"):
        loader.RestorerIDLoader.execute("gone.ckpt")


def test_a_refusal_reaches_the_user(loader: Any, folder: Path):
    save_file(base_weights(), folder / "v1-5.safetensors")
    with pytest.raises(ValueError, match=r"'v1-5\.safetensors' is a plain SD 1\.5 checkpoint"):
        loader.RestorerIDLoader.execute("v1-5.safetensors")


def test_the_full_file_works_and_convert_is_recommended(
    loader: Any, folder: Path, caplog: pytest.LogCaptureFixture
):
    torch.save(lightning(full_weights()), folder / "RestorerIDFull.ckpt")
    with caplog.at_level(logging.INFO):
        model = loader.RestorerIDLoader.execute("RestorerIDFull.ckpt").result[0]
    assert model.config.lq_width == TINY.lq_width
    assert "python -m restorerid_core convert" in caplog.text


def test_a_file_that_is_replaced_is_loaded_anew(
    loader: Any, loaded: Any, folder: Path, adapter: dict[str, Tensor]
):
    name = "restorerid.safetensors"
    before = loader.RestorerIDLoader.fingerprint_inputs(file=name)
    assert loader.RestorerIDLoader.fingerprint_inputs(file=name) == before
    save_file({key: tensor * 2 for key, tensor in adapter.items()}, folder / name)
    assert loader.RestorerIDLoader.fingerprint_inputs(file=name) != before
    for patcher in (loaded.adapter, loaded.face_projector):
        factory, arguments = patcher.cached_patcher_init
        with pytest.raises(ValueError, match=f"{name}' was replaced"):
            factory(*arguments)  # a copy for another GPU


# The networks


def test_weights_keep_the_dtype_of_the_file(loaded: Any, adapter: dict[str, Tensor]):
    found = loaded.adapter.model.state_dict()
    assert {t.dtype for t in found.values()} == {torch.float16}
    from restorerid_core.adapter.fuse import fuse

    own, _ = fuse(adapter, TINY)
    assert found.keys() == own.keys()
    assert all(torch.equal(tensor, own[key]) for key, tensor in found.items())
    assert loaded.lora.keys() == {key for key in adapter if "_lora." in key}
    assert not loaded.adapter.model.training
    assert not any(p.requires_grad for p in loaded.face_projector.model.parameters())


def test_networks_compute_in_the_dtype_of_their_input(loaded: Any, adapter: dict[str, Tensor]):
    from restorerid_core.adapter.lq_encoder import LQEncoder

    plain = LQEncoder(4, TINY.lq_width, TINY.lq_channels)
    prefix = "structcond_stage_model."
    plain.load_state_dict(
        {k.removeprefix(prefix): v.float() for k, v in adapter.items() if k.startswith(prefix)}
    )
    latent, timesteps = torch.randn(1, 4, 16, 16), torch.tensor([500])
    for ours, wanted in zip(
        loaded.adapter.model.lq_encoder(latent, timesteps), plain(latent, timesteps), strict=True
    ):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    tokens = loaded.face_projector.model(torch.zeros(1, 16), torch.zeros(1, 5, 64))
    assert tokens.shape == (1, TINY.id_tokens, 768)


def test_comfyui_loads_and_unloads_the_networks(loaded: Any):
    import comfy.model_management as management

    patchers = [loaded.adapter, loaded.face_projector]
    management.load_models_gpu(patchers)
    assert {id(p) for p in patchers} <= {id(m.model) for m in management.current_loaded_models}
    assert all(p.loaded_size() == p.model_size() > 0 for p in patchers)
    management.unload_all_models()
    assert not {id(p) for p in patchers} & {id(m.model) for m in management.current_loaded_models}


@pytest.mark.parametrize("name", ["adapter", "face_projector"])
def test_copies_for_another_device_are_independent(loaded: Any, name: str):
    patcher = getattr(loaded, name)
    if not hasattr(patcher, "deepclone_multigpu"):
        pytest.skip("this ComfyUI has no multi-GPU clones")
    for copy in (patcher.clone(force_deepcopy=True), patcher.deepclone_multigpu()):
        assert copy.model is not patcher.model
        assert type(copy.model) is type(patcher.model)
        own, other = patcher.model.state_dict(), copy.model.state_dict()
        assert all(torch.equal(tensor, other[key]) for key, tensor in own.items())
        assert not {t.data_ptr() for t in own.values()} & {t.data_ptr() for t in other.values()}
    assert patcher.clone().model is patcher.model


@pytest.mark.parametrize("name", ["adapter", "face_projector"])
def test_the_factory_honours_disable_dynamic(
    loaded: Any, name: str, monkeypatch: pytest.MonkeyPatch
):
    import comfy.model_patcher

    class Dynamic(comfy.model_patcher.ModelPatcher):
        """Takes weights as they are, as ComfyUI's dynamic patcher does; that one needs a GPU."""

        def is_dynamic(self) -> bool:
            return True

    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", Dynamic)
    factory, arguments = getattr(loaded, name).cached_patcher_init
    dynamic, ordinary = factory(*arguments), factory(*arguments, disable_dynamic=True)
    assert (dynamic.is_dynamic(), ordinary.is_dynamic()) == (True, False)
    assert not any(p.requires_grad for p in dynamic.model.parameters())
    assert dynamic.clone(disable_dynamic=True).is_dynamic() is False


# The SD-1.5 that `convert` writes


def sd15_shapes() -> dict[str, torch.Size]:
    """Keys and shapes that ComfyUI expects of a full-size SD-1.5 checkpoint."""
    import comfy.ldm.models.autoencoder
    import comfy.sd1_clip
    import comfy.supported_models

    settings = {**SD15, "model_channels": 320, "dtype": torch.float16}
    with torch.device("meta"):
        unet = comfy.supported_models.SD15(settings).get_model({}).diffusion_model
        vae = comfy.ldm.models.autoencoder.AutoencoderKL(
            ddconfig={"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3,
                      "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2,
                      "attn_resolutions": [], "dropout": 0.0}, embed_dim=4,
        )  # fmt: skip
        text = comfy.sd1_clip.SDClipModel(device="meta", dtype=torch.float16)
    parts = {
        "model.diffusion_model.": unet,
        "first_stage_model.": vae,
        "cond_stage_model.transformer.": text.transformer,
    }
    shapes = {p + k: v.shape for p, part in parts.items() for k, v in part.state_dict().items()}
    del shapes["cond_stage_model.transformer.text_projection.weight"]  # not in stock files
    return shapes


@pytest.mark.slow
def test_comfyui_finds_nothing_missing_in_the_sd15_file(
    extension: ModuleType, comfy_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    import comfy.sd

    convert = import_module(f"{extension.__name__}.restorerid_core.weights.conversion").convert
    shapes = sd15_shapes()
    weights = {key: torch.zeros(s, dtype=torch.float16) for key, s in shapes.items()}
    torch.save(lightning({**full_weights(), **weights}), tmp_path / "full.ckpt")
    _, sd15 = convert(tmp_path / "full.ckpt", tmp_path)
    with safe_open(sd15, "pt") as file:
        assert len(list(file.keys())) == 686 + 248 + 197  # UNet, VAE, text with position_ids
    with caplog.at_level(logging.DEBUG):
        model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(sd15))
    assert type(model.model.model_config).__name__ == "SD15"
    assert clip is not None
    assert vae is not None
    stock = (
        "logit_scale', 'clip_l.transformer.text_projection.weight']",
        "position_ids']:",
        "dict_keys([])",
    )
    complaints = [m for m in caplog.messages if re.search(r"missing|unexpected|left over", m)]
    assert [message for message in complaints if not message.endswith(stock)] == []
