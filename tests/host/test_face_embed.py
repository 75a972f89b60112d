"""RestorerIDFaceEmbed with ComfyUI's CLIP vision (1280 wide, two layers) and memory manager."""
import json
import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import relative_error, seeded_state_dict
from PIL import Image
from torch import Tensor

CLIP_CONFIG = {
    "hidden_act": "gelu", "hidden_size": 1280, "image_size": 224, "intermediate_size": 320,
    "layer_norm_eps": 1e-05, "model_type": "clip_vision_model", "num_attention_heads": 16,
    "num_channels": 3, "num_hidden_layers": 2, "patch_size": 14, "projection_dim": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def clip_vision(comfy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    import comfy.clip_vision

    file = tmp_path_factory.mktemp("clip") / "config.json"
    file.write_text(json.dumps(CLIP_CONFIG))
    clip = comfy.clip_vision.ClipVisionModel(str(file))
    generator = torch.Generator().manual_seed(0)
    clip.load_sd(
        {
            key: torch.randn(value.shape, generator=generator) * 0.05
            for key, value in clip.get_sd().items()
        }
    )
    return clip


@pytest.fixture(scope="module")
def transformers_clip(clip_vision: Any) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = {k: v for k, v in CLIP_CONFIG.items() if k != "model_type"}
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
    missing, _ = model.load_state_dict(clip_vision.get_sd(), strict=False)
    assert not [key for key in missing if "position_ids" not in key]
    return model.eval()


@pytest.fixture(scope="module")
def node(extension: ModuleType) -> Any:
    return import_module(f"{extension.__name__}.nodes.face_embed").RestorerIDFaceEmbed


def build_restorerid(extension: ModuleType, dtype: torch.dtype = torch.float32) -> Any:
    """What the node uses of RESTORERID: the face projector's patcher, with the golden weights."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.ops

    module = import_module(f"{extension.__name__}.restorerid_core.network.face_projector")
    network = module.FaceProjector(operations=comfy.ops.manual_cast, dtype=dtype)
    prefix = "Adapter.image_proj_model."
    weights = seeded_state_dict({prefix + k: v.shape for k, v in network.state_dict().items()})
    network.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items()})
    patcher = comfy.model_patcher.CoreModelPatcher(
        network.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    return SimpleNamespace(face_projector=patcher)


@pytest.fixture(scope="module")
def restorerid(extension: ModuleType) -> Any:
    return build_restorerid(extension)


@pytest.fixture
def model_folder(comfy_root: Path, monkeypatch: pytest.MonkeyPatch):
    """Registers a folder as ComfyUI's only place of insightface models."""
    import folder_paths

    def register(path: Path) -> None:
        monkeypatch.setitem(
            folder_paths.folder_names_and_paths, "insightface", ([str(path)], {".onnx"})
        )

    monkeypatch.setattr(folder_paths, "models_dir", str(comfy_root / "no models here"))
    return register


@pytest.fixture
def embed(node: Any, clip_vision: Any, restorerid: Any, faces_dir: Path, model_folder: Any):
    """Runs the node on (B, H, W, C) with its defaults, some replaced."""
    model_folder(faces_dir)

    def run(image: Tensor, **changes: Any) -> tuple[Any, Tensor]:
        inputs = {
            "restorerid": restorerid, "clip_vision": clip_vision, "image": image,
            "face": "largest", "face_index": 0, "combine": "average", "face_models": "auto",
        }  # fmt: skip
        return node.execute(**{**inputs, **changes}).result

    return run


@pytest.fixture(scope="module")
def two_people(faces_dir: Path) -> Tensor:
    """(2, 512, 512, 3): references of two people."""
    return torch.cat([load(faces_dir / f"samples/{person}-ref1.png") for person in "12"])


def load(path: Path) -> Tensor:
    """(1, H, W, C) in [0, 1], as LoadImage gives it."""
    return torch.from_numpy(np.asarray(Image.open(path)).astype(np.float32) / 255)[None]


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=-1))


# The node


def test_schema(node: Any, faces_dir: Path, model_folder: Any):
    model_folder(faces_dir)
    schema = node.GET_SCHEMA()
    assert schema.node_id == "RestorerIDFaceEmbed"
    assert schema.display_name == "RestorerID FaceID Embedder"
    assert schema.category == "RestorerID"
    assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])
    assert [put.io_type for put in schema.outputs] == ["RESTORERID_FACE", "IMAGE"]


def test_models_added_later_are_offered_without_restart(
    node: Any, faces_dir: Path, model_folder: Any, tmp_path: Path
):
    model_folder(tmp_path)

    def options() -> list[str]:
        return node.INPUT_TYPES()["required"]["face_models"][1]["options"]

    assert options() == ["auto"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small").symlink_to(faces_dir / "models", target_is_directory=True)
    assert options() == ["auto", "small"]


def test_one_photo(embed: Any, two_people: Tensor):
    identity, aligned = embed(two_people[:1])
    assert identity.tokens.shape == identity.uncond_tokens.shape == (1, 4, 768)
    assert identity.embedding.shape == (1, 512)
    assert identity.tokens.dtype == torch.float32
    assert float(identity.embedding.norm()) == pytest.approx(1, abs=1e-5)
    assert aligned.shape == (1, 224, 224, 3)
    assert aligned.min() >= 0
    assert aligned.max() <= 1


def test_aligned_faces_are_rgb(embed: Any, two_people: Tensor):
    """The first sample's skin: more red than blue, close to the photo's own colour there."""
    _, aligned = embed(two_people[:1])
    skin, photo = aligned[0, 90:150, 80:140].mean((0, 1)), two_people[0, 220:320, 200:300]
    assert skin[0] > skin[2] + 0.1
    assert (skin - photo.mean((0, 1))).abs().max() < 0.1


def test_clip_gets_the_bgr_crop_exactly(
    embed: Any, extension: ModuleType, clip_vision: Any, transformers_clip: Any, two_people: Tensor
):
    """ComfyUI's preprocessing of a 224-pixel crop equals transformers', in BGR order."""
    import comfy.utils
    from transformers import CLIPImageProcessor

    _, aligned = embed(two_people, combine="one per image")
    rgb = (aligned * 255).round().byte().numpy()
    prepare = CLIPImageProcessor(do_resize=False, do_center_crop=False)
    hidden = {}
    for order, pixels in (("bgr", rgb[..., ::-1].copy()), ("rgb", rgb)):
        values = prepare(list(pixels), return_tensors="pt", input_data_format="channels_last")
        out = transformers_clip(**values, output_hidden_states=True)
        hidden[order] = out.hidden_states[-2].detach()
    with torch.no_grad():
        features = import_module(f"{extension.__name__}.nodes.face_features")
        ours = features.clip_hidden(clip_vision, aligned.flip(-1), comfy.utils.ProgressBar(2))
    assert ours.shape == (2, 257, 1280)
    assert relative_error(ours, hidden["bgr"]) < 1e-5
    assert relative_error(ours, hidden["rgb"]) > 1e-2


def test_tokens_are_the_projection_of_embedding_and_bgr_features(
    embed: Any, restorerid: Any, transformers_clip: Any, two_people: Tensor
):
    identity, aligned = embed(two_people, combine="one per image")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((aligned.flip(-1) - mean) / std).movedim(-1, 1)
    with torch.no_grad():
        hidden = transformers_clip(pixels, output_hidden_states=True).hidden_states[-2]
        tokens = restorerid.face_projector.model(identity.embedding, hidden)
    assert identity.tokens.shape == (2, 4, 768)
    assert relative_error(identity.tokens, tokens) < 1e-5


def test_unconditional_tokens_come_from_zero_pixels(
    embed: Any, clip_vision: Any, restorerid: Any, transformers_clip: Any, two_people: Tensor
):
    identity, _ = embed(two_people[:1])
    with torch.no_grad():
        out = transformers_clip(torch.zeros(1, 3, 224, 224), output_hidden_states=True)
        hidden = out.hidden_states[-2]
        black = clip_vision.encode_image(torch.zeros(1, 224, 224, 3))["penultimate_hidden_states"]
        tokens = restorerid.face_projector.model(torch.zeros(1, 512), hidden)
    assert relative_error(identity.uncond_tokens, tokens) < 1e-5
    assert relative_error(black, hidden) > 1e-2


def test_combinations_of_two_people(embed: Any, two_people: Tensor):
    one, two = (embed(photo[None])[0] for photo in two_people)
    each = embed(two_people, combine="one per image")[0]
    beside = embed(two_people, combine="side by side")[0]
    average = embed(two_people, combine="average")[0]
    both = torch.cat([one.tokens, two.tokens])
    assert relative_error(each.tokens, both) < 1e-5
    assert relative_error(beside.tokens, both.reshape(1, 8, 768)) < 1e-5
    assert beside.uncond_tokens.shape == (1, 8, 768)
    assert average.tokens.shape == (1, 4, 768)
    assert cosine(average.embedding, one.embedding) == pytest.approx(
        cosine(average.embedding, two.embedding), abs=1e-4
    )


def test_a_batch_of_one_face_makes_the_identity_of_one(embed: Any, two_people: Tensor):
    one, batch = embed(two_people[:1])[0], embed(two_people[:1].expand(3, -1, -1, -1))[0]
    assert relative_error(batch.tokens, one.tokens) < 1e-5


def test_an_adapter_file_of_half_precision_works(
    embed: Any, extension: ModuleType, two_people: Tensor
):
    half = embed(two_people, restorerid=build_restorerid(extension, torch.float16))[0]
    assert half.tokens.dtype == half.uncond_tokens.dtype == torch.float32
    assert 0 < relative_error(half.tokens, embed(two_people)[0].tokens) < 1e-2


def test_grey_and_rgba_photos_work(embed: Any, faces_dir: Path, two_people: Tensor):
    grey = embed(two_people[1:].mean(-1, keepdim=True))[0]
    assert cosine(grey.embedding, embed(two_people[1:])[0].embedding) > 0.6
    rgba = load(faces_dir / "samples/8-ref1.png")
    assert rgba.shape[-1] == 4
    opaque = embed(rgba)[0]
    assert relative_error(opaque.tokens, embed(rgba[..., :3])[0].tokens) < 1e-6


def test_one_of_several_faces_is_logged(
    embed: Any, faces_dir: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        leftmost = embed(load(faces_dir / "solvay_1927.jpg"), face="leftmost")[0]
    took = "reference image 1 of 1 shows 29 faces; 'leftmost' took the one of 85x105 px at (140, "
    assert took in caplog.text
    first = embed(load(faces_dir / "solvay_1927.jpg"), face="by index", face_index=0)[0]
    assert torch.equal(leftmost.tokens, first.tokens)


def test_cancelling_stops_the_node(embed: Any, two_people: Tensor):
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        embed(two_people)


# Bad input


@pytest.mark.parametrize(
    ("clip", "found"),
    [
        (SimpleNamespace(config={"hidden_size": 1024}), "clip_vision_model, 1024 wide"),
        (
            SimpleNamespace(config={"hidden_size": 1280, "model_type": "dinov3"}),
            "dinov3, 1280 wide",
        ),
        (None, "NoneType"),
    ],
)
def test_wrong_clip_vision_is_named(embed: Any, two_people: Tensor, clip: Any, found: str):
    with pytest.raises(ValueError, match="clip_vision must be") as error:
        embed(two_people, clip_vision=clip)
    assert str(error.value) == (
        f"clip_vision must be CLIP-ViT-H/14 (1280 wide), but is {found}: "
        "load CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
    )


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.zeros(0, 64, 64, 3), "`image` is an empty batch"),
        (torch.rand(1, 64, 20, 3), "`image` is 20x64 px; expected at least 32 px"),
        (torch.full((1, 64, 64, 3), torch.nan), "`image` has NaN or infinite values"),
        (torch.zeros(1, 64, 64, 5), "`image` has 5 channels; expected 1"),
        (torch.rand(1, 64, 64, 3) * 65535, "`image` has values from"),
        (torch.zeros(1, 64, 64, 3, dtype=torch.uint8), "`image` holds whole numbers (uint8)"),
        (torch.full((1, 64, 64, 3), 0.5), "no face was found in reference image 1 of 1: use a"),
    ],
)
def test_bad_image_is_named(embed: Any, image: Tensor, sentence: str):
    with pytest.raises(ValueError, match="image") as error:
        embed(image)
    assert str(error.value).startswith(sentence)


def test_image_without_a_face_is_numbered(embed: Any, two_people: Tensor):
    batch = torch.cat([two_people, torch.zeros_like(two_people[:1])])
    with pytest.raises(ValueError, match="no face was found in reference image 3 of 3: "):
        embed(batch)


def test_face_index_out_of_range(embed: Any, two_people: Tensor):
    with pytest.raises(ValueError, match="face_index is 1, but 1 face") as error:
        embed(two_people, face="by index", face_index=1)
    assert "reference image 1 of 2" in str(error.value)


def test_missing_face_models_list_the_folders(
    embed: Any, model_folder: Any, tmp_path: Path, comfy_root: Path, two_people: Tensor
):
    model_folder(tmp_path)
    with pytest.raises(ValueError, match="no folder there holds a face detector") as error:
        embed(two_people)
    sentence = str(error.value)
    for folder in (tmp_path, comfy_root / "no models here" / "insightface"):
        assert str(folder) in sentence
    assert "det_10g.onnx" in sentence
    assert "w600k_r50.onnx" in sentence
