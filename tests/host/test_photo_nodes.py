"""Face Crop and Face Paste, called as ComfyUI calls them."""

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from photo_scenes import PhotoNodes, Photos, blocked, numbers
from torch import Tensor

from restorerid_core.images.prepare import to_rgb

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cropped(nodes: PhotoNodes, photos: Photos) -> Any:
    """(images, crops, previews, report) of three photos, one without a face."""
    return nodes.run_crop([photos.two, photos.none, photos.three])


def test_schema(nodes: PhotoNodes):
    for node in nodes.all:
        schema = node.GET_SCHEMA()
        assert schema.node_id == node.__name__
        assert (schema.category, schema.is_input_list) == ("RestorerID", True)
        assert schema.description
        assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])
        for put in schema.outputs:
            assert put.is_output_list == (put.io_type != "STRING")


# RestorerIDFaceCrop


def test_every_photo_of_a_list_is_cropped(photos: Photos, cropped: Any):
    images, crops, previews, report = cropped
    assert [image.shape for image in images] == [(2, 512, 512, 3), (3, 512, 512, 3)]
    assert [crop.photo for crop in crops] == [0, 1, 2]
    assert [numbers(crop.faces) for crop in crops] == [[1, 2], [], [1, 2, 3]]
    assert [preview.shape for preview in previews] == [
        (1, 512, 1024, 3),
        (1, 200, 300, 3),
        (1, 256, 768, 3),
    ]
    assert torch.equal(previews[1], photos.none)
    assert not torch.equal(previews[0], photos.two)
    lines = report.splitlines()
    assert lines[0] == "photo 1 of 3, 1024x512 px: 2 face(s) found"
    assert lines[1].startswith("face 1: 153x214 px at (237, 46), score 0.")
    assert "enlarged 1." in lines[1]
    assert lines[3] == "photo 2 of 3, 300x200 px: no face(s) found"
    assert len(lines) == 8


@pytest.mark.parametrize(
    "module",
    [
        "photograph.face_crop",
        "compare.face_similarity",
        "portrait.face_embed",
        "photograph.match_faces",
    ],
)
def test_cancel_is_heard_inside_of_a_photo(
    extension: ModuleType, nodes: PhotoNodes, photos: Photos, module: str
):
    """The network is asked once more at most, whatever the node and the photo's size."""
    import comfy.model_management as management
    from comfy.utils import ProgressBar

    node = import_module(f"{extension.__name__}.nodes.{module}")
    calls = []

    class Detector:
        def detect(self, img: Any, input_size: Any = None) -> Any:
            calls.append(1)
            management.interrupt_current_processing(True)
            return np.zeros((0, 5)), np.zeros((0, 5, 2))

    detect = import_module(f"{extension.__name__}.restorerid_core.faces.find.analyzer")
    analyzer = detect.FaceAnalyzer(Detector(), None, (512, 512), "interrupting")
    progress = ProgressBar(3)
    photo = photos.none.movedim(-1, 1)
    run = {
        "photograph.face_crop": lambda: node.find_faces(analyzer, photo, "left to right", progress),
        "compare.face_similarity": lambda: node.find_faces(analyzer, photo, progress),
        "portrait.face_embed": lambda: node.find_faces(analyzer, photo, "largest", 0, progress),
        "photograph.match_faces": lambda: node.study_people(None, nodes.people(photos, "2")),
    }[module]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "load_analyzer", lambda _: analyzer)
        with pytest.raises(management.InterruptProcessingException):
            run()
    assert calls == [1]


def test_the_bar_moves_within_a_photo(extension: ModuleType):
    """By the part of its views that were looked at, never back, and a step for each photo."""
    from comfy.utils import ProgressBar

    features = import_module(f"{extension.__name__}.nodes.host.face_features")
    bar, seen = ProgressBar(2), []
    for _, check in features.searches("ab", bar):
        for done, expected in ((0, 4), (2, 4), (3, 12), (11, 12)):
            check(done, expected)
            seen.append(bar.current)
    assert seen == pytest.approx([0, 0.5, 0.5, 11 / 12, 1, 1.5, 1.5, 1 + 11 / 12])
    assert bar.current == 2


@pytest.mark.parametrize(
    ("node", "wrong"),
    [
        ("crop", {"order": "foo"}),
        ("crop", {"faces": 3}),
        ("crop", {"max_faces": -1}),
        ("crop", {"min_size": "small"}),
        ("crop", {"size": 10**9}),
        ("crop", {"size": 255.5}),
        ("match", {"threshold": float("nan")}),
        ("match", {"unmatched": "foo"}),
        ("match", {"faces_per_run": 0}),
        ("match", {"choices": 3}),
        ("match", {"choices": " " * 10**6}),
        ("paste", {"feather": float("nan")}),
        ("paste", {"feather": 0}),
        ("paste", {"feather": "soft"}),
        ("paste", {"color": "foo"}),
        ("paste", {"grain": 2}),
    ],
)
def test_linked_values_have_the_ranges_of_the_widgets(
    nodes: PhotoNodes, photos: Photos, cropped: Any, error: Any, node: str, wrong: dict[str, Any]
):
    """ComfyUI checks what is typed, but not what comes by a link."""
    (name,) = wrong
    run = {
        "crop": lambda: nodes.run_crop([photos.none], **wrong),
        "match": lambda: nodes.run_match(cropped[1][1:2], nodes.people(photos, "2"), **wrong),
        "paste": lambda: nodes.run_paste([photos.two], cropped[1][:1], cropped[0][:1], **wrong),
    }[node]
    with pytest.raises(error, match=f"`{name}` is .*; expected"):
        run()


@pytest.mark.parametrize("zoom", [1, 2])
def test_another_photo_of_the_same_size_is_refused(
    nodes: PhotoNodes, photos: Photos, cropped: Any, error: Any, zoom: int
):
    images, crops = cropped[0][:1], cropped[1][:1]
    own = enlarged(photos.two, zoom)
    pasted, *_ = nodes.run_paste([own], crops, images)
    assert pasted[0].shape == own.shape
    for other in (photos.two.flip(2), photos.two.roll(40, 1), photos.two * 0.7):
        with pytest.raises(error, match="another photo of the same size"):
            nodes.run_paste([enlarged(other, zoom)], crops, images)


def enlarged(photo: Tensor, zoom: int) -> Tensor:
    image = photo.movedim(-1, 1)
    larger = torch.nn.functional.interpolate(image, scale_factor=zoom, mode="bicubic")
    return larger.movedim(1, -1).clamp(0, 1)


@pytest.mark.slow
def test_choice_of_faces(nodes: PhotoNodes, photos: Photos):
    for changes, taken, line in (
        ({"faces": "2"}, [2], "faces 1, 3: not chosen"),
        ({"faces": "3, 1-1"}, [1, 3], "face 2: not chosen"),
        ({"max_faces": 1}, [1], "faces 2-3: more than 1 faces"),
        ({"min_size": 100}, [2, 3], "face 1: smaller than 100 px"),
        ({"min_size": 500}, [], "faces 1-3: smaller than 500 px"),
    ):
        images, (crops,), _, report = nodes.run_crop([photos.three], **changes)
        assert numbers(crops.faces) == taken
        assert sorted(numbers((*crops.faces, *crops.others))) == [1, 2, 3]
        assert report.splitlines()[-1] == line
        assert blocked(images[0]) if not taken else len(images[0]) == len(taken)


@pytest.mark.parametrize("size", [256, 1024])
def test_crops_of_other_sizes(nodes: PhotoNodes, photos: Photos, size: int):
    (image,), (crops,), _, _ = nodes.run_crop([photos.two], size=size, order="largest first")
    assert image.shape == (2, size, size, 3)
    assert crops.faces[0].face.area > crops.faces[1].face.area
    (out,), _, _ = nodes.run_paste([photos.two], [crops], [image])
    assert torch.equal(out, photos.two)


@pytest.mark.slow
def test_a_batch_numbers_its_faces_through(nodes: PhotoNodes, photos: Photos):
    batch = torch.cat([photos.two, photos.two.flip(2), torch.full_like(photos.two, 0.5)])
    (image,), (crops,), (preview,), report = nodes.run_crop([batch])
    assert numbers(crops.faces) == [1, 2, 3, 4]
    assert [face.image for face in crops.faces] == [0, 0, 1, 1]
    assert preview.shape == batch.shape
    assert "photo 1 of 1, 1024x512 px: 4 face(s) found" in report
    (out,), (mask,), _ = nodes.run_paste([batch], [crops], [1 - image])
    assert mask.amax((1, 2)).tolist() == [1, 1, 0]
    assert torch.equal(out[2], batch[2])
    assert torch.equal(out[mask == 0], batch[mask == 0])


def test_grey_and_rgba_photos(nodes: PhotoNodes, photos: Photos):
    for photo in (photos.two.mean(-1, keepdim=True), torch.cat([photos.two] * 2, -1)[..., :4]):
        (image,), (crops,), _, _ = nodes.run_crop([photo])
        assert image.shape == (2, 512, 512, 3)
        (out,), _, _ = nodes.run_paste([photo], [crops], [image])
        assert torch.equal(out, to_rgb(photo))  # what is transparent lies on white


# RestorerIDFacePaste


@pytest.mark.slow
def test_matched_crops_are_pasted_in_any_number_of_batches(nodes: PhotoNodes, photos: Photos):
    given = [photos.three, photos.none, photos.two]
    images, crops, _, _ = nodes.run_crop(given, faces="1, 3")
    expected, _, _ = nodes.run_paste(given, crops, [1 - image for image in images])
    people = nodes.people(photos, "6", "2")
    _, batches, matched, _ = nodes.run_match([c for c in crops if c.faces], people, faces_per_run=1)
    out, masks, report = nodes.run_paste(given, matched, [1 - batch for batch in batches])
    for pasted, whole in zip(out, expected, strict=True):
        assert (pasted - whole).abs().max() < 1e-6
    assert torch.equal(out[1], photos.none)
    assert [tuple(mask.shape) for mask in masks] == [(1, 256, 768), (1, 200, 300), (1, 512, 1024)]
    assert report.splitlines() == [
        "photo 1 of 3: faces 1, 3 pasted; face 2 left as they were",
        "photo 2 of 3: left as it was, for it has no face to paste",
        "photo 3 of 3: face 1 pasted; face 2 left as they were",
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda p, c, r: (p, c, r[:1]),
            "`restored` is a list of 1 and `crops` a list of 2; "
            "expected as many: connect the crops output of the node that gave the images",
        ),
        (lambda p, c, r: (p, c, None), "`restored` is a list of 0 and `crops` a list of 2"),
        (
            lambda p, c, r: (p[:1], c, r),
            "`photo` is a list of 1 but the crops were taken from "
            "more photos; connect what went into Face Crop.",
        ),
        (lambda p, c, r: (p, c, r[::-1]), "`restored` has 3 images for 2 crops; expected one for"),
        (
            lambda p, c, r: (p[::-1], c, r),
            "`photo` is 1 of 768x256 px but the crops were taken from one of 1024x512 px",
        ),
        (lambda p, c, r: (p, c, [r[0], r[1] * torch.nan]), "`restored` has NaN or infinite"),
        (lambda p, c, r: (p, c, [r[0], r[1][:, :-8]]), "`restored` is 512x504 px; expected square"),
    ],
)
def test_what_does_not_fit_is_refused(
    nodes: PhotoNodes,
    photos: Photos,
    cropped: Any,
    error: type[Exception],
    change: Any,
    sentence: str,
):
    images, crops, _, _ = cropped
    given: list[Tensor] = [photos.two, photos.none, photos.three]
    with pytest.raises(error) as refusal:
        nodes.run_paste(*change(given, crops, images))
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"faces": "two"}, "`faces` is 'two'; expected 'all' or the numbers"),
        ({"faces": "0"}, "`faces` is '0'"),
        ({"photo": [torch.zeros(0, 64, 64, 3)]}, "`photo` is an empty batch"),
        ({"face_models": "none"}, "the face model pack 'none' was searched below"),
    ],
)
def test_bad_input_of_crop_is_named(
    nodes: PhotoNodes, photos: Photos, error: type[Exception], changes: Any, sentence: str
):
    with pytest.raises(error) as refusal:
        nodes.run_crop(**{"photo": [photos.two], **changes})
    assert str(refusal.value).startswith(sentence)
