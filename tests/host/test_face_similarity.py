"""RestorerID Face Similarity, called as ComfyUI calls it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models import load_image
from prompts import run_on_lists
from torch import Tensor


@pytest.fixture(scope="module")
def photos(faces_dir: Path) -> dict[str, Tensor]:
    """(1, 512, 512, 3) each."""
    names = ("2-ref1", "2-lq1-gt", "11-ref1")
    return {name: load_image(faces_dir / f"samples/{name}.png")[..., :3] for name in names}


def compare(node: Any, image: Tensor, reference: Tensor, pair: str = "most similar") -> Any:
    return node.execute(image, reference, pair, "auto").result


def test_similarity_of_one_person(similarity: Any, photos: dict[str, Tensor]):
    value, report, overlay, captions = compare(similarity, photos["2-lq1-gt"], photos["2-ref1"])
    assert 0.35 < value < 0.7
    first, hint = report.splitlines()
    assert first == f"image 1, face 1: {value:.2f} to face 1 of the reference"
    assert hint.startswith("How to read it")
    assert captions == [f"ID {value:.2f}"]
    assert overlay.shape == (1, 512, 512 + 8 + 512, 3)
    changed = (overlay[:, :, :512] != photos["2-lq1-gt"]).any(-1).float().mean()
    assert 0.002 < changed < 0.1, "the photo itself stays as it is"


def test_a_batch_with_one_reference_and_a_missing_face(similarity: Any, photos: dict[str, Tensor]):
    blank = torch.full((1, 512, 512, 3), 0.5)
    batch = torch.cat([blank, photos["2-ref1"]])
    value, report, overlay, captions = compare(similarity, batch, photos["2-ref1"])
    assert value == 0.0
    assert "image 1: no face was found\n" in report
    assert "image 2, face 1: 1.00 to face 1 of the reference\n" in report
    assert captions == ["no face", "ID 1.00"]
    assert overlay.shape == (2, 512, 1032, 3)


def test_a_reference_for_each_image(similarity: Any, photos: dict[str, Tensor]):
    batch = torch.cat([photos["2-ref1"], photos["11-ref1"]])
    value, report, overlay, captions = compare(similarity, batch, batch, "same place")
    assert value == pytest.approx(1)
    assert captions == ["ID 1.00", "ID 1.00"]
    assert "image 2, face 1: 1.00 to face 1 of reference 2" in report
    assert len(overlay) == 2


def test_images_of_other_sizes_and_channels(similarity: Any, photos: dict[str, Tensor]):
    grey = torch.nn.functional.pad(photos["2-ref1"].mean(-1, keepdim=True), (0, 0, 0, 88))
    rgba = torch.cat([photos["2-ref1"], torch.ones(1, 512, 512, 1)], dim=-1)
    value, _, overlay, _ = compare(similarity, grey, rgba)
    assert value > 0.6
    assert overlay.shape == (1, 512, 600 + 8 + 512, 3)


def test_counts_that_do_not_fit(similarity: Any, photos: dict[str, Tensor], error: Any):
    photo = photos["2-ref1"]
    with pytest.raises(error) as caught:
        compare(similarity, photo.expand(3, -1, -1, -1), photo.expand(2, -1, -1, -1))
    assert str(caught.value) == (
        "`image` has 3 image(s) and `reference` has 2; expected one reference, or one for each "
        "image: connect the batch that belongs to these images."
    )


def test_a_bad_picture_is_named(similarity: Any, photos: dict[str, Tensor], error: Any):
    with pytest.raises(error, match="`reference` is 20x20 px; expected at least 32 px"):
        compare(similarity, photos["2-ref1"], torch.zeros(1, 20, 20, 3))
    with pytest.raises(error, match="`image` has NaN or infinite values in 1 of 1 images"):
        compare(similarity, photos["2-ref1"] * torch.nan, photos["2-ref1"])


def test_a_list_of_images_gives_one_list_of_captions(similarity: Any, photos: dict[str, Tensor]):
    outputs = run_on_lists(
        similarity,
        image=[photos["2-ref1"], photos["11-ref1"]],
        reference=[photos["2-ref1"]],
        pair=["most similar"],
        face_models=["auto"],
    )
    values, reports, overlays, captions = outputs
    assert len(values) == len(reports) == len(overlays) == 2
    assert captions == ["ID 1.00", f"ID {values[1]:.2f}"]
    assert abs(values[1]) < 0.2
