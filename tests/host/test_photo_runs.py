"""The photo nodes in ComfyUI's own executor: lists, what is run, and what is not."""

from typing import Any

import pytest
import torch
from photo_scenes import PhotoNodes, Photos
from prompts import Prompts
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def prompts(comfy_root: Any, monkeypatch: pytest.MonkeyPatch) -> Prompts:
    return Prompts(monkeypatch)


class Restorer:
    """Adds a node that inverts the images it gets, and notes what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Tensor, Any]] = []
        given = self.given

        class Invert:
            RETURN_TYPES = ("IMAGE",)
            FUNCTION = "run"

            @classmethod
            def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
                return {
                    "required": {"image": ("IMAGE",)},
                    "optional": {"face": ("RESTORERID_FACE",)},
                }

            def run(self, image: Tensor, face: Any = None) -> tuple[Tensor]:
                given.append((image, face))
                return (1 - image,)

        self.node = Invert


def workflow(
    prompts: Prompts,
    nodes: PhotoNodes,
    photos: list[Tensor],
    restorer: Restorer,
    people: Any = None,
    crop: dict[str, Any] | None = None,
    match: dict[str, Any] | None = None,
) -> str:
    """Crop, match where people are given, restore, paste; the id of the last node."""
    source = prompts.source(
        photos, [people], [nodes.match_inputs["restorerid"]], [nodes.match_inputs["clip_vision"]]
    )
    inputs = {**nodes.crop_inputs, **(crop or {})}
    first = prompts.add(nodes.crop, photo=[source, 0], **inputs)
    image, crops, face = [first, 0], [first, 1], {}
    if people is not None:
        inputs = {**nodes.match_inputs, **(match or {})}
        inputs.update(restorerid=[source, 2], clip_vision=[source, 3], references=[source, 1])
        second = prompts.add(nodes.match, crops=crops, **inputs)
        image, crops, face = [second, 1], [second, 2], {"face": [second, 0]}
    restored = prompts.add(restorer.node, image=image, **face)
    return prompts.add(
        nodes.paste, photo=[source, 0], crops=crops, restored=[restored, 0], **nodes.paste_inputs
    )


def changed(out: Tensor, photo: Tensor, mask: Tensor) -> bool:
    """Whether a photo was changed, in the places of its mask alone."""
    assert out.shape == photo.shape
    assert torch.equal(out[mask == 0], photo[mask == 0])
    return not torch.equal(out, photo)


@pytest.mark.slow
def test_photos_of_different_sizes_go_through(prompts: Prompts, nodes: PhotoNodes, photos: Photos):
    """The one without a face, in the middle, comes back as it was."""
    given, restorer = [photos.two, photos.none, photos.three], Restorer()
    out, masks, (report,) = prompts.run(workflow(prompts, nodes, given, restorer))
    assert [changed(*each) for each in zip(out, given, masks, strict=True)] == [True, False, True]
    assert [len(image) for image, _ in restorer.given] == [2, 3]
    assert report.splitlines()[1].startswith("photo 2 of 3: left as it was")


def test_without_any_face_nothing_is_restored(prompts: Prompts, nodes: PhotoNodes, photos: Photos):
    restorer = Restorer()
    out, masks, _ = prompts.run(workflow(prompts, nodes, [photos.none] * 2, restorer))
    assert all(torch.equal(image, photos.none) for image in out)
    assert len(out) == len(masks) == 2
    assert not any(mask.any() for mask in masks)
    assert not restorer.given


@pytest.mark.slow
def test_without_any_face_nothing_is_matched_either(
    prompts: Prompts, nodes: PhotoNodes, photos: Photos
):
    restorer, people = Restorer(), nodes.people(photos, "2")
    out, _, _ = prompts.run(workflow(prompts, nodes, [photos.none], restorer, people))
    assert torch.equal(out[0], photos.none)
    assert not restorer.given


@pytest.mark.slow
def test_each_batch_runs_with_its_identities(prompts: Prompts, nodes: PhotoNodes, photos: Photos):
    """Matched and blind faces of two photos: four runs of what follows, pasted into two photos."""
    given, restorer = [photos.two, photos.none, photos.three], Restorer()
    people = nodes.people(photos, "11", "4", "6")
    node = workflow(prompts, nodes, given, restorer, people)
    out, masks, (report,) = prompts.run(node)
    runs = [(len(image), face and len(face.tokens)) for image, face in restorer.given]
    assert runs == [(1, 1), (1, None), (2, 2), (1, None)]
    tokens = [face.tokens[0] for _, face in restorer.given if face is not None]
    assert not torch.allclose(tokens[0], tokens[1], atol=1e-3)
    assert [changed(*each) for each in zip(out, given, masks, strict=True)] == [True, False, True]
    assert "photo 1 of 3: faces 1-2 pasted" in report
    assert "photo 3 of 3: faces 1-3 pasted" in report


@pytest.mark.slow
def test_faces_left_alone_do_not_change(prompts: Prompts, nodes: PhotoNodes, photos: Photos):
    """One photo has nobody known: it is not restored, the other is."""
    given, restorer = [photos.two, photos.three], Restorer()
    people, match = nodes.people(photos, "4"), {"unmatched": "leave as it is"}
    node = workflow(prompts, nodes, given, restorer, people, match=match)
    out, masks, _ = prompts.run(node)
    assert [changed(*each) for each in zip(out, given, masks, strict=True)] == [False, True]
    assert [len(image) for image, _ in restorer.given] == [1]


@pytest.mark.slow
def test_nobody_known_and_all_left_alone(prompts: Prompts, nodes: PhotoNodes, photos: Photos):
    restorer, people = Restorer(), nodes.people(photos, "1")
    match = {"unmatched": "leave as it is"}
    out, _, _ = prompts.run(
        workflow(prompts, nodes, [photos.two, photos.none], restorer, people, match=match)
    )
    assert torch.equal(out[0], photos.two)
    assert torch.equal(out[1], photos.none)
    assert not restorer.given


@pytest.mark.slow
def test_a_batch_is_one_photo_of_the_list(prompts: Prompts, nodes: PhotoNodes, photos: Photos):
    batch, restorer = torch.cat([photos.three, photos.three.flip(2)]), Restorer()
    node = workflow(prompts, nodes, [batch], restorer, crop={"faces": "2, 4", "size": 256})
    (out,), (mask,), (report,) = prompts.run(node)
    assert changed(out, batch, mask)
    assert mask.amax((1, 2)).tolist() == [1, 1]
    assert [image.shape for image, _ in restorer.given] == [(2, 256, 256, 3)]
    assert report == "photo 1 of 1: faces 2, 4 pasted; faces 1, 3, 5-6 left as they were"


@pytest.mark.slow
def test_pasting_without_a_change_is_the_photo(prompts: Prompts, nodes: PhotoNodes, photos: Photos):
    given = [photos.two, photos.none]
    source = prompts.source(given)
    crop = prompts.add(nodes.crop, photo=[source, 0], **nodes.crop_inputs)
    paste = prompts.add(
        nodes.paste, photo=[source, 0], crops=[crop, 1], restored=[crop, 0], **nodes.paste_inputs
    )
    out, _, _ = prompts.run(paste)
    assert all(torch.equal(a, b) for a, b in zip(out, given, strict=True))
    again, _, _ = prompts.run(paste)
    assert paste in prompts.cached
    assert torch.equal(again[0], out[0])
