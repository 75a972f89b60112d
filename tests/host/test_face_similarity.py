"""RestorerID Face Similarity, called as ComfyUI calls it."""

import pytest
import torch
from disc_faces import portrait
from models import load_image
from prompts import run_on_lists
from torch.nn.functional import pad

ANN, BOB, JET = map(portrait, ("Ann", "Bob", "Jet"))


@pytest.fixture
def compare(node):
    def compare(image, reference, pair="most similar"):
        return node("FaceSimilarity").execute(image, reference, pair, "auto").result

    return compare


def test_a_real_person_is_known_again(compare, faces_dir, model_folder):
    model_folder(faces_dir)
    image, reference = (
        load_image(faces_dir / f"samples/2-{name}.png")[..., :3] for name in ("lq1-gt", "ref1")
    )
    value, report, overlay, captions = compare(image, reference)
    assert 0.35 < value < 0.7
    first, hint = report.splitlines()
    assert first == f"image 1, face 1: {value:.2f} to face 1 of the reference"
    assert hint.startswith("How to read it")
    assert captions == [f"ID {value:.2f}"]
    assert overlay.shape == (1, 512, 512 + 8 + 512, 3)
    changed = (overlay[:, :, :512] != image).any(-1).float().mean()
    assert 0.002 < changed < 0.1, "the photo itself stays as it is"


def test_a_batch_with_one_reference_and_a_missing_face(compare, discs):
    value, report, overlay, captions = compare(torch.cat([ANN * 0 + 0.5, ANN]), ANN)
    assert value == 0.0
    assert "image 1: no face was found\n" in report
    assert "image 2, face 1: 1.00 to face 1 of the reference\n" in report
    assert captions == ["no face", "ID 1.00"]
    assert overlay.shape == (2, 512, 512 + 8 + 512, 3)


def test_a_reference_for_each_image(compare, discs):
    batch = torch.cat([ANN, BOB])
    value, report, overlay, captions = compare(batch, batch, "same place")
    assert value == pytest.approx(1)
    assert captions == ["ID 1.00", "ID 1.00"]
    assert "image 2, face 1: 1.00 to face 1 of reference 2" in report
    assert len(overlay) == 2


def test_images_of_other_sizes_and_channels(compare, discs):
    grey, rgba = pad(JET[..., :1], (0, 0, 0, 40), value=0.5), pad(JET, (0, 1), value=1.0)
    value, _, overlay, _ = compare(grey, rgba)
    assert value == pytest.approx(1)
    assert overlay.shape == (1, 512, 640 + 8 + 512, 3)  # enlarged to be read


def test_a_list_of_images_gives_one_list_of_captions(node, discs):
    choices = {"pair": ["most similar"], "face_models": ["auto"]}
    outputs = run_on_lists(node("FaceSimilarity"), image=[ANN, BOB], reference=[ANN], **choices)
    values, reports, overlays, captions = outputs
    assert len(values) == len(reports) == len(overlays) == 2
    assert captions == ["ID 1.00", "ID 0.00"]
