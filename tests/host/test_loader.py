"""RestorerIDLoader in a real ComfyUI: folder, refusals, and networks under its memory manager."""

import dataclasses
import logging
import os
import re

import pytest
import torch
from adapter_files import TINY, base_weights, full_weights, lightning
from full_models import sd15_shapes
from helpers import seeded_state_dict
from safetensors import safe_open
from safetensors.torch import save_file

from restorerid_core.adapter.fuse import fuse
from restorerid_core.adapter.lq_encoder import LQEncoder
from restorerid_core.weights.layout import expected_shapes

NAME = "restorerid.safetensors"


@pytest.fixture
def module(ours):
    return ours("nodes.portrait.loader")


@pytest.fixture
def load(node):
    return lambda file: node("Loader").execute(file).result[0]


@pytest.fixture
def folder(module, tmp_path, monkeypatch):
    """The only folder that ComfyUI searches for RestorerID files, empty."""
    import folder_paths

    path = tmp_path / "models" / "restorerid"
    path.mkdir(parents=True)
    entry = ([str(path)], module.EXTENSIONS)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "restorerid", entry)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return path


@pytest.fixture(scope="session")
def adapter():
    """A tiny slim file in fp16."""
    return {key: t.half() for key, t in seeded_state_dict(expected_shapes(TINY)).items()}


@pytest.fixture
def loaded(load, folder, adapter):
    save_file(adapter, folder / NAME)
    return load(NAME)


@pytest.fixture
def options(node):
    return lambda: node("Loader").INPUT_TYPES()["required"]["file"][1]["options"]


@pytest.fixture
def told(node, prompts):
    """What ComfyUI answers to a prompt with this file."""
    return lambda file: prompts.validate(prompts.add(node("Loader"), file=file))


def test_the_folder_is_known_once_the_nodes_are(module):
    import folder_paths

    expected = os.path.join(folder_paths.models_dir, "restorerid")
    assert expected in folder_paths.get_folder_paths("restorerid")


def test_folders_of_the_user_are_kept(module, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    known = folder_paths.folder_names_and_paths
    monkeypatch.setitem(known, "restorerid", (["/mine/restorerid"], set()))
    for _ in range(2):
        module.register_folder()
    own = str(tmp_path / "models" / "restorerid")
    assert known["restorerid"] == (["/mine/restorerid", own], module.EXTENSIONS)
    assert os.path.isdir(own)


def test_only_weights_are_listed_and_new_ones_without_a_restart(module, folder, options):
    assert options() == [module.NO_FILE]
    for name in (NAME, "old.ckpt", "readme.txt", "preview.png"):
        (folder / name).touch()
    assert options() == ["old.ckpt", NAME]


def test_a_missing_file_is_explained_before_the_queue_starts(folder, options, told):
    for file in (NAME, options()[0]):
        details = told(file)
        assert f"'{folder}'" in details
        assert "put restorerid.safetensors or the authors' RestorerIDFull.ckpt there" in details
        assert (f"called '{file}'" in details) == (file == NAME)
    (folder / "sub").mkdir()
    (folder / "sub" / NAME).touch()
    assert told(os.path.join("sub", NAME)) == ""


def test_what_cannot_be_loaded_is_explained(load, folder, error):
    small = dataclasses.replace(TINY, context_dim=256, latent_channels=16)
    save_file(seeded_state_dict(expected_shapes(small)), folder / "small.safetensors")
    save_file(base_weights(), folder / "v1-5.safetensors")
    for file, words in {
        "gone.ckpt": r"No RestorerID file called 'gone\.ckpt' was found in",
        "v1-5.safetensors": r"'v1-5\.safetensors' is a plain SD 1\.5 checkpoint",
        "small.safetensors": r"small\.safetensors.*16 channels.*SD 1\.5",
    }.items():
        with pytest.raises(error, match=words):
            load(file)


def test_the_full_file_works_and_convert_is_recommended(load, folder, caplog):
    torch.save(lightning(full_weights()), folder / "RestorerIDFull.ckpt")
    with caplog.at_level(logging.INFO):
        assert load("RestorerIDFull.ckpt").config.lq_width == TINY.lq_width
    assert "python -m restorerid_core convert" in caplog.text


def test_a_file_that_is_replaced_is_loaded_anew(node, loaded, folder, adapter):
    fingerprint = node("Loader").fingerprint_inputs
    before = fingerprint(file=NAME)
    assert fingerprint(file=NAME) == before
    save_file({key: tensor * 2 for key, tensor in adapter.items()}, folder / NAME)
    assert fingerprint(file=NAME) != before
    for patcher in (loaded.adapter, loaded.face_projector):
        factory, arguments = patcher.cached_patcher_init
        with pytest.raises(ValueError, match=f"{NAME}' was replaced"):
            factory(*arguments)  # a copy for another GPU


def test_weights_keep_the_dtype_of_the_file(loaded, adapter):
    found = loaded.adapter.model.state_dict()
    assert {t.dtype for t in found.values()} == {torch.float16}
    own, _ = fuse(adapter, TINY)
    assert found.keys() == own.keys()
    assert all(torch.equal(tensor, own[key]) for key, tensor in found.items())
    assert loaded.lora.keys() == {key for key in adapter if "_lora." in key}
    assert not loaded.adapter.model.training
    assert not any(p.requires_grad for p in loaded.face_projector.model.parameters())


def test_networks_compute_in_the_dtype_of_their_input(loaded, adapter):
    plain, prefix = LQEncoder(4, TINY.lq_width, TINY.lq_channels), "structcond_stage_model."
    own = {k.removeprefix(prefix): v.float() for k, v in adapter.items() if k.startswith(prefix)}
    plain.load_state_dict(own)
    inputs = torch.randn(1, 4, 16, 16), torch.tensor([500])
    for ours, wanted in zip(loaded.adapter.model.lq_encoder(*inputs), plain(*inputs), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    tokens = loaded.face_projector.model(torch.zeros(1, 16), torch.zeros(1, 5, 64))
    assert tokens.shape == (1, TINY.id_tokens, 768)


def test_comfyui_loads_and_unloads_the_networks(loaded):
    import comfy.model_management as management

    patchers = [loaded.adapter, loaded.face_projector]
    management.load_models_gpu(patchers)
    assert {id(p) for p in patchers} <= {id(m.model) for m in management.current_loaded_models}
    assert all(p.loaded_size() == p.model_size() > 0 for p in patchers)
    management.unload_all_models()
    assert not {id(p) for p in patchers} & {id(m.model) for m in management.current_loaded_models}


@pytest.mark.parametrize("name", ["adapter", "face_projector"])
def test_copies_for_another_device_are_independent(loaded, name):
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
def test_the_factory_honours_disable_dynamic(loaded, name, monkeypatch):
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


@pytest.mark.slow
def test_comfyui_finds_nothing_missing_in_the_sd15_file(ours, comfy_root, tmp_path, caplog):
    import comfy.sd

    zeros = {key: torch.zeros(s, dtype=torch.float16) for key, s in sd15_shapes().items()}
    torch.save(lightning({**full_weights(), **zeros}), tmp_path / "full.ckpt")
    convert = ours("restorerid_core.weights.conversion").convert
    _, sd15 = convert(tmp_path / "full.ckpt", tmp_path)
    with safe_open(sd15, "pt") as file:
        assert len(list(file.keys())) == 686 + 248 + 197  # UNet, VAE, text with position_ids
    with caplog.at_level(logging.DEBUG):
        model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(sd15))
    assert type(model.model.model_config).__name__ == "SD15"
    assert clip is not None and vae is not None
    missing = "logit_scale', 'clip_l.transformer.text_projection.weight']"  # of stock files, too
    stock = (missing, "position_ids']:", "dict_keys([])")
    complaints = [m for m in caplog.messages if re.search(r"missing|unexpected|left over", m)]
    assert [message for message in complaints if not message.endswith(stock)] == []
