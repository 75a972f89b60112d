"""Face Crop and Face Paste, called as ComfyUI calls them."""

import pytest
import torch
from disc_faces import disc_photo
from photo_scenes import NONE, THREE, TWO, blocked, numbers

from restorerid_core.images.prepare import to_rgb

pytestmark = pytest.mark.usefixtures("one_thread", "discs")
ALL = [TWO, NONE, THREE]


def test_every_photo_of_a_list_is_cropped(nodes):
    images, crops, previews, report = nodes.run_crop(ALL)
    assert [image.shape for image in images] == [(2, 256, 256, 3), (3, 256, 256, 3)]
    assert [crop.photo for crop in crops] == [0, 1, 2]
    assert [numbers(crop.faces) for crop in crops] == [[1, 2], [], [1, 2, 3]]
    assert [preview.shape for preview in previews] == [photo.shape for photo in ALL]
    assert torch.equal(previews[1], NONE)
    assert not torch.equal(previews[0], TWO)
    red, green = images[0][:, 128, 128]
    assert red.argmax() == 0 and green.argmax() == 1
    lines = report.splitlines()
    assert lines[0] == "photo 1 of 3, 400x200 px: 2 face(s) found"
    assert lines[1].startswith("face 1: 80x80 px at (50, 60), score 0.90, enlarged 3.2x")
    assert lines[3] == "photo 2 of 3, 300x200 px: no face(s) found"
    assert len(lines) == 8


def test_crops_of_a_size_and_order_are_pasted_back_without_a_trace(nodes):
    (image,), (crops,), *_ = nodes.run_crop([THREE], size=320, order="largest first")
    assert image.shape == (3, 320, 320, 3)
    sizes = [crop.face.area for crop in crops.faces]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    (out,), *_ = nodes.run_paste([THREE], [crops], [image])
    assert torch.equal(out, THREE)


@pytest.mark.parametrize(
    ("changes", "taken", "line"),
    [
        ({"faces": "2"}, [2], "faces 1, 3: not chosen"),
        ({"faces": "3, 1-1"}, [1, 3], "face 2: not chosen"),
        ({"faces": "2-9"}, [2, 3], "faces 4-9: not on this photo"),
        ({"max_faces": 1}, [1], "faces 2-3: more than 1 faces"),
        ({"min_size": 36}, [2, 3], "face 1: smaller than 36 px"),
        ({"min_size": 500}, [], "faces 1-3: smaller than 500 px"),
    ],
)
def test_choice_of_faces(nodes, changes, taken, line):
    images, (crops,), _, report = nodes.run_crop([THREE], **changes)
    assert numbers(crops.faces) == taken
    assert sorted(numbers((*crops.faces, *crops.others))) == [1, 2, 3]
    assert report.splitlines()[-1] == line
    assert blocked(images[0]) if not taken else len(images[0]) == len(taken)


def test_a_batch_numbers_its_faces_through(nodes):
    batch = torch.cat([TWO, TWO.flip(2), torch.full_like(TWO, 0.5)])
    (image,), (crops,), (preview,), report = nodes.run_crop([batch])
    assert numbers(crops.faces) == [1, 2, 3, 4]
    assert [face.image for face in crops.faces] == [0, 0, 1, 1]
    assert preview.shape == batch.shape
    assert "photo 1 of 1, 400x200 px: 4 face(s) found" in report
    (out,), (mask,), _ = nodes.run_paste([batch], [crops], [1 - image])
    assert mask.amax((1, 2)).tolist() == [1, 1, 0]
    assert torch.equal(out[2], batch[2])
    assert torch.equal(out[mask == 0], batch[mask == 0])


def test_grey_and_rgba_photos(nodes):
    """What is transparent lies on white."""
    two = disc_photo(("Jet", 90, 100, 40), ("Ivy", 210, 90, 30))
    alpha = torch.linspace(0.9, 1, 300)[None, None, :, None].expand(1, 200, 300, 1)
    for photo in (two[..., :1], torch.cat([two, alpha], -1)):
        (image,), crops, *_ = nodes.run_crop([photo])
        assert image.shape == (2, 256, 256, 3)
        (out,), *_ = nodes.run_paste([photo], crops, [image])
        assert torch.equal(out, to_rgb(photo))


@pytest.mark.parametrize("zoom", [1, 2])
def test_another_photo_of_the_same_size_is_refused(nodes, error, zoom):
    def enlarged(photo):
        size = [zoom * side for side in photo.shape[1:3]]
        larger = torch.nn.functional.interpolate(photo.movedim(-1, 1), size, mode="bicubic")
        return larger.movedim(1, -1).clamp(0, 1)

    images, crops, *_ = nodes.run_crop([TWO])
    (pasted,), *_ = nodes.run_paste([enlarged(TWO)], crops, images)
    assert pasted.shape == enlarged(TWO).shape
    for other in (TWO.flip(2), TWO.roll(40, 1), TWO * 0.7):
        with pytest.raises(error, match="another photo of the same size"):
            nodes.run_paste([enlarged(other)], crops, images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, c, r: (p, c, r[:1]), "`restored` is a list of 1 and `crops` a list of 2; "),
        (lambda p, c, r: (p, c, None), "`restored` is a list of 0 and `crops` a list of 2"),
        (lambda p, c, r: (p[:2], c, r), "`photo` is a list of 2 but the crops .* more photos"),
        (lambda p, c, r: (p, c, r[::-1]), "`restored` has 3 images for 2 crops"),
        (lambda p, c, r: (p[::-1], c, r), "`photo` is 1 of 300x130 px .* from one of 400x200 px"),
        (lambda p, c, r: (p, c, [r[0], r[1] * torch.nan]), "`restored` has NaN or infinite"),
    ],
    ids=["a batch lost", "nothing", "photos lost", "order", "another photo", "NaN"],
)
def test_what_does_not_fit_is_refused(nodes, error, change, words):
    images, crops, *_ = nodes.run_crop(ALL)
    with pytest.raises(error, match=words):
        nodes.run_paste(*change(ALL, crops, images))


@pytest.mark.parametrize("name", ["FaceCrop", "FaceSimilarity", "FaceEmbed", "MatchFaces"])
def test_cancel_is_heard_inside_of_a_photo(ours, nodes, monkeypatch, name):
    """The network is asked once more at most, whatever the node and the photo's size."""
    import comfy.model_management as management
    import numpy as np
    from comfy.utils import ProgressBar

    calls = []

    class Detector:
        def detect(self, img, input_size=None):
            calls.append(1)
            management.interrupt_current_processing(True)
            return np.zeros((0, 5)), np.zeros((0, 5, 2))

    core = ours("restorerid_core.faces.find.analyzer")
    analyzer = core.FaceAnalyzer(Detector(), None, (512, 512), "interrupting")
    photo, bar = NONE.movedim(-1, 1), ProgressBar(3)
    module, function, inputs = {
        "FaceCrop": ("photograph.face_crop", "find_faces", (analyzer, photo, "left to right", bar)),
        "FaceSimilarity": ("compare.face_similarity", "find_faces", (analyzer, photo, bar)),
        "FaceEmbed": ("portrait.face_embed", "find_faces", (analyzer, photo, "largest", 0, bar)),
        "MatchFaces": ("photograph.match_faces", "study_people", (None, nodes.people("Ann"))),
    }[name]
    node = ours(f"nodes.{module}")
    monkeypatch.setattr(node, "load_analyzer", lambda _: analyzer)
    with pytest.raises(management.InterruptProcessingException):
        getattr(node, function)(*inputs)
    assert calls == [1]


def test_the_bar_moves_within_a_photo(ours):
    """By the part of its views that were looked at, never back, and a step for each photo."""
    from comfy.utils import ProgressBar

    bar, seen = ProgressBar(2), []
    for _, check in ours("nodes.host.face_features").searches("ab", bar):
        for done, expected in ((0, 4), (2, 4), (3, 12), (11, 12)):
            check(done, expected)
            seen.append(bar.current)
    assert seen == pytest.approx([0, 0.5, 0.5, 11 / 12, 1, 1.5, 1.5, 1 + 11 / 12])
    assert bar.current == 2
