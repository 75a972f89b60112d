"""The photo nodes in ComfyUI's own executor: lists, what is run, and what is not."""

from typing import Any

import pytest
import torch
from photo_scenes import NONE, THREE, TWO

pytestmark = pytest.mark.usefixtures("one_thread", "discs")


class Invert:
    """Stands for the restoration: notes what it was given."""

    given: list[tuple[Any, Any]]
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"image": ("IMAGE",)}, "optional": {"face": ("RESTORERID_FACE",)}}

    def run(self, image, face=None):
        self.given.append((len(image), face))
        return (1 - image,)


@pytest.fixture
def run(nodes, prompts):
    """Crops, matches where people are given, restores, pastes a list of photos."""

    def run(photos, *people, **match):
        Invert.given = []
        models = [[nodes.match_inputs[name]] for name in ("restorerid", "clip_vision")]
        source = prompts.source(photos, [nodes.people(*people)], *models)
        first = prompts.add(nodes.crop, photo=[source, 0], **nodes.crop_inputs)
        image, crops, face = [first, 0], [first, 1], {}
        if people:
            inputs = (
                nodes.match_inputs | match | {"references": [source, 1], "restorerid": [source, 2]}
            )
            second = prompts.add(nodes.match, crops=crops, **inputs | {"clip_vision": [source, 3]})
            image, crops, face = [second, 1], [second, 2], {"face": [second, 0]}
        restored = prompts.add(Invert, image=image, **face)
        links = {"photo": [source, 0], "crops": crops, "restored": [restored, 0]}
        return prompts.run(prompts.add(nodes.paste, **links, **nodes.paste_inputs))

    return run


def changed(out, photos, masks):
    """Which photos were changed, each in the places of its mask alone."""
    for image, photo, mask in zip(out, photos, masks, strict=True):
        assert image.shape == photo.shape
        assert torch.equal(image[mask == 0], photo[mask == 0])
    return [not torch.equal(*both) for both in zip(out, photos, strict=True)]


def test_photos_of_different_sizes_go_through(run):
    """The one without a face, in the middle, comes back as it was."""
    given = [TWO, NONE, THREE]
    out, masks, (report,) = run(given)
    assert changed(out, given, masks) == [True, False, True]
    assert [count for count, _ in Invert.given] == [2, 3]
    assert report.splitlines()[1].startswith("photo 2 of 3: left as it was")


@pytest.mark.parametrize(
    ("photos", "people"),
    [([NONE, NONE], []), ([NONE], ["Ann"]), ([TWO, NONE], ["Ivy"])],
    ids=["no face", "no face to match", "nobody known"],
)
def test_nothing_is_restored(run, photos, people):
    out, masks, _ = run(photos, *people, unmatched="leave as it is")
    assert changed(out, photos, masks) == [False] * len(photos)
    assert not any(mask.any() for mask in masks)
    assert not Invert.given


def test_each_batch_runs_with_its_identities(run):
    """Matched and blind faces of two photos: four runs of what follows, pasted into two photos."""
    given = [TWO, NONE, THREE]
    out, masks, (report,) = run(given, "Bob", "Cid", "Eve")
    runs = [(count, face and len(face.tokens)) for count, face in Invert.given]
    assert runs == [(1, 1), (1, None), (2, 2), (1, None)]
    tokens = [face.tokens[0] for _, face in Invert.given if face is not None]
    assert not torch.allclose(tokens[0], tokens[1], atol=1e-3)
    assert changed(out, given, masks) == [True, False, True]
    assert "photo 1 of 3: faces 1-2 pasted" in report
    assert "photo 3 of 3: faces 1-3 pasted" in report


def test_pasting_without_a_change_is_the_photo_and_is_cached(prompts, nodes):
    source = prompts.source([TWO, NONE])
    crop = prompts.add(nodes.crop, photo=[source, 0], **nodes.crop_inputs)
    links = {"photo": [source, 0], "crops": [crop, 1], "restored": [crop, 0]}
    paste = prompts.add(nodes.paste, **links, **nodes.paste_inputs)
    for cached in (False, True):
        out, *_ = prompts.run(paste)
        assert torch.equal(out[0], TWO) and torch.equal(out[1], NONE)
        assert (paste in prompts.cached) == cached
