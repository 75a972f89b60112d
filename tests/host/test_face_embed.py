"""RestorerIDFaceEmbed: identities of one or several photos, and what is refused."""

import logging
from types import SimpleNamespace

import pytest
import torch
from disc_faces import portrait
from helpers import relative_error
from models import build_restorer
from onnx_files import save_network
from photo_scenes import THREE

pytestmark = pytest.mark.usefixtures("discs")
ANN, BOB = portrait("Ann"), portrait("Bob")
BOTH = torch.cat([ANN, BOB])


def test_models_added_later_are_offered_without_restart(node, model_folder, tmp_path):
    model_folder(tmp_path)

    def options():
        return node("FaceEmbed").INPUT_TYPES()["required"]["face_models"][1]["options"]

    assert options() == ["auto"]
    for name in ("detector", "recognizer"):
        save_network(tmp_path / "models" / "small" / f"{name}.onnx")
    assert options() == ["auto", "small"]


def test_one_photo(embed):
    identity, aligned = embed(ANN)
    assert identity.tokens.shape == identity.uncond_tokens.shape == (1, 4, 768)
    assert identity.embedding.shape == (1, 512)
    assert identity.tokens.dtype == torch.float32
    assert float(identity.embedding.norm()) == pytest.approx(1, abs=1e-5)
    assert aligned.shape == (1, 224, 224, 3)
    assert aligned.min() >= 0 and aligned.max() <= 1
    skin = aligned[0, 90:150, 80:140].mean((0, 1))
    assert torch.allclose(skin, ANN[0, 80, 80], atol=0.01)  # RGB, not BGR


def test_combinations_of_two_people(embed):
    both = torch.cat([embed(photo)[0].tokens for photo in (ANN, BOB)])
    each, beside = (embed(BOTH, combine=way)[0] for way in ("one per image", "side by side"))
    assert relative_error(each.tokens, both) < 1e-5
    assert relative_error(beside.tokens, both.reshape(1, 8, 768)) < 1e-5
    assert beside.uncond_tokens.shape == (1, 8, 768)


def test_a_list_of_photos_of_any_sizes_is_one_person(embed):
    smaller = BOB[:, :150, 5:]
    listed, aligned = embed([ANN, smaller])
    assert listed.tokens.shape == (1, 4, 768) and len(aligned) == 2
    alone = torch.cat([embed(photo)[0].embedding for photo in (ANN, smaller)])
    expected = torch.nn.functional.normalize(alone.sum(0), dim=0)
    assert torch.allclose(listed.embedding[0], expected, atol=1e-5)
    assert len(embed([BOTH, smaller], combine="one per image")[0].tokens) == 3


def test_an_adapter_file_of_half_precision_works(embed, extension, tmp_path):
    half = embed(ANN, restorerid=build_restorer(extension, tmp_path, dtype=torch.float16))[0]
    assert half.tokens.dtype == half.uncond_tokens.dtype == torch.float32
    assert 0 < relative_error(half.tokens, embed(ANN)[0].tokens) < 1e-2


def test_grey_and_rgba_photos_work(embed):
    rgb = portrait("Jet")
    expected = embed(rgb)[0].tokens
    for photo in (rgb[..., :1], torch.nn.functional.pad(rgb, (0, 1), value=1.0)):
        assert relative_error(embed(photo)[0].tokens, expected) < 1e-6


def test_one_of_several_faces_is_logged(embed, caplog):
    with caplog.at_level(logging.INFO):
        rightmost = embed(THREE, face="rightmost")[0]
    took = "reference image 1 of 1 shows 3 faces; 'rightmost' took the one of 40x40 px at (220, 40)"
    assert took in caplog.text
    assert torch.equal(rightmost.tokens, embed(THREE, face="by index", face_index=2)[0].tokens)
    assert not torch.equal(rightmost.tokens, embed(THREE)[0].tokens)  # the largest


def test_a_poor_reference_is_named_and_framed(embed, caplog):
    sharp = portrait("Ivy")
    small = torch.nn.functional.avg_pool2d(sharp.movedim(-1, 1), 8)
    soft = torch.nn.functional.interpolate(small, scale_factor=8, mode="bicubic")
    soft = soft.movedim(1, -1).clamp(0, 1)
    good = embed(sharp)[1]
    assert "poor reference" not in caplog.text
    assert not is_amber(good[0, 3])
    aligned = embed(torch.cat([sharp, soft]))[1]
    assert torch.equal(aligned[:1], good)
    assert is_amber(aligned[1, 3])
    assert "reference image 2 of 2 is a poor reference: its face is blurred" in caplog.text


def is_amber(line):
    """Whether most of a line (n, 3) has the colour of a poor reference's frame."""
    amber = torch.tensor([253, 174, 51]) / 255
    return bool((line - amber).abs().amax(-1).lt(0.02).float().mean() > 0.5)


def test_cancelling_stops_the_node(embed):
    import comfy.model_management as management

    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        embed(ANN)


@pytest.mark.parametrize(
    ("clip", "found"),
    [
        (SimpleNamespace(config={"hidden_size": 1024}), "clip_vision_model, 1024 wide"),
        (SimpleNamespace(config={"hidden_size": 1280, "model_type": "dinov3"}), "dinov3, 1280"),
        (None, "NoneType"),
    ],
)
def test_wrong_clip_vision_is_named(embed, error, clip, found):
    with pytest.raises(error, match=rf"must be CLIP-ViT-H/14 .* but is {found}.*: load CLIP-ViT-H"):
        embed(ANN, clip_vision=clip)


def test_photos_without_the_face_are_numbered(embed, error):
    for image in (BOTH[:1] * 0 + 0.5, torch.cat([BOTH, BOTH[:1] * 0 + 0.5])):
        name = f"reference image {len(image)} of {len(image)}"
        with pytest.raises(error, match=f"no face was found in {name}: use a"):
            embed(image)
    with pytest.raises(error, match=r"face_index is 1, but 1 face.* in reference image 1 of 2"):
        embed(BOTH, face="by index", face_index=1)


def test_missing_face_models_list_the_folders(
    embed, ours, error, monkeypatch, model_folder, tmp_path, comfy_root
):
    find_pack = ours("restorerid_core.faces.find.packs").find_pack
    monkeypatch.setattr(ours("nodes.portrait.face_embed"), "find_pack", find_pack)
    model_folder(tmp_path)
    with pytest.raises(error, match="no folder there holds a face detector") as told:
        embed(ANN)
    folders = (tmp_path, comfy_root / "no models here" / "insightface")
    for words in (*map(str, folders), "det_10g.onnx", "w600k_r50.onnx"):
        assert words in str(told.value)
    with pytest.raises(error, match="the face model pack 'none' was searched below"):
        embed(ANN, face_models="none")
