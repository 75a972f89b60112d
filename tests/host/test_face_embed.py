"""RestorerIDFaceEmbed with ComfyUI's CLIP vision (1280 wide, two layers) and memory manager."""

import logging
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import relative_error
from models import build_restorer, load_image
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=-1))


# The node


def test_schema(face_embed: Any, faces_dir: Path, model_folder: Any):
    model_folder(faces_dir)
    schema = face_embed.GET_SCHEMA()
    assert schema.node_id == "RestorerIDFaceEmbed"
    assert schema.display_name == "RestorerID FaceID Embedder"
    assert schema.category == "RestorerID"
    assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])
    assert [put.io_type for put in schema.outputs] == ["RESTORERID_FACE", "IMAGE"]


def test_models_added_later_are_offered_without_restart(
    face_embed: Any, faces_dir: Path, model_folder: Any, tmp_path: Path
):
    model_folder(tmp_path)

    def options() -> list[str]:
        return face_embed.INPUT_TYPES()["required"]["face_models"][1]["options"]

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


def test_a_list_of_photos_of_any_sizes_is_one_person(embed: Any, two_people: Tensor):
    first, second = two_people[:1], two_people[1:, :480, 10:]
    listed, aligned = embed([first, second])
    assert listed.tokens.shape == (1, 4, 768) and len(aligned) == 2
    alone = [embed(photo)[0].embedding for photo in (first, second)]
    assert cosine(listed.embedding, torch.stack(alone).sum(0)) == pytest.approx(1, abs=1e-5)
    each = embed([two_people, second], combine="one per image")[0]
    assert len(each.tokens) == 3


def test_an_adapter_file_of_half_precision_works(
    embed: Any, extension: ModuleType, two_people: Tensor, tmp_path: Path
):
    restorer = build_restorer(extension, tmp_path, dtype=torch.float16)
    half = embed(two_people, restorerid=restorer)[0]
    assert half.tokens.dtype == half.uncond_tokens.dtype == torch.float32
    assert 0 < relative_error(half.tokens, embed(two_people)[0].tokens) < 1e-2


def test_grey_and_rgba_photos_work(embed: Any, faces_dir: Path, two_people: Tensor):
    grey = embed(two_people[1:].mean(-1, keepdim=True))[0]
    assert cosine(grey.embedding, embed(two_people[1:])[0].embedding) > 0.6
    rgba = load_image(faces_dir / "samples/8-ref1.png")
    assert rgba.shape[-1] == 4
    opaque = embed(rgba)[0]
    assert relative_error(opaque.tokens, embed(rgba[..., :3])[0].tokens) < 1e-6


def test_one_of_several_faces_is_logged(
    embed: Any, faces_dir: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        leftmost = embed(load_image(faces_dir / "solvay_1927.jpg"), face="leftmost")[0]
    took = "reference image 1 of 1 shows 29 faces; 'leftmost' took the one of 85x105 px at (140, "
    assert took in caplog.text
    first = embed(load_image(faces_dir / "solvay_1927.jpg"), face="by index", face_index=0)[0]
    assert torch.equal(leftmost.tokens, first.tokens)


def test_a_poor_reference_is_named_and_framed(
    embed: Any, two_people: Tensor, caplog: pytest.LogCaptureFixture
):
    good = embed(two_people[:1])[1]
    assert "poor reference" not in caplog.text
    assert not is_amber(good[0, 3])
    small = torch.nn.functional.avg_pool2d(two_people[:1].movedim(-1, 1), 8)
    soft = torch.nn.functional.interpolate(small, size=two_people.shape[1:3], mode="bicubic")
    both = torch.cat([two_people[:1], soft.movedim(1, -1).clamp(0, 1)])
    aligned = embed(both)[1]
    assert torch.equal(aligned[:1], good)
    assert is_amber(aligned[1, 3])
    assert "reference image 2 of 2 is a poor reference: its face is blurred" in caplog.text


def is_amber(line: Tensor) -> bool:
    """Whether most of a line (n, 3) has the colour of a poor reference's frame."""
    amber = torch.tensor([253, 174, 51]) / 255
    return bool((line - amber).abs().amax(-1).lt(0.02).float().mean() > 0.5)


def test_cancelling_stops_the_node(embed: Any, two_people: Tensor):
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        embed(two_people)


# Bad input


@pytest.mark.parametrize(
    "wrong", [{"combine": "foo"}, {"face": "foo"}, {"face_index": "one"}, {"face_index": -1}]
)
def test_linked_values_have_the_ranges_of_the_widgets(
    embed: Any, two_people: Tensor, error: Any, wrong: dict[str, Any]
):
    (name,) = wrong
    with pytest.raises(error, match=f"`{name}` is .*; expected"):
        embed(two_people, **wrong)


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
