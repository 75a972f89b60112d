"""All faces of a group photo at once: nothing lost, no seam, little memory."""

from typing import Any

import numpy as np
import pytest
import torch
from made_faces import PACK, crop_face
from torch import Tensor

from restorerid_core.faces.crop import CropFace, FaceCrops, crop_faces
from restorerid_core.faces.paste import PasteSettings, paste_faces

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def group(analyzer, read_photo) -> tuple[Tensor, FaceCrops]:
    """(1, 3, 2171, 3000), as the host lays it out, and its 29 crops."""
    bgr = read_photo("solvay_1927.jpg")
    photo = (torch.from_numpy(bgr[..., ::-1].copy())[None] / 255).movedim(-1, 1)
    faces = [CropFace.of(face, n) for n, face in enumerate(analyzer.find_all(bgr), 1)]
    assert len(faces) == 29
    return photo, crop_faces(photo, faces, [], PACK)


def peak_memory(run: Any) -> int:
    """Bytes of tensors that `run` held at most at a time, what it returns included."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        run()
    profiler: Any = record.profiler
    events = [e for e in profiler.kineto_results.events() if e.name() == "[memory]"]
    assert events
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max())


@pytest.mark.slow
def test_peak_memory_is_measured():
    """A check of the measure itself: two tensors at a time, of three."""

    def run() -> Tensor:
        first = torch.ones(1000, 1000)
        second = first + 1
        del first
        return second * 2

    assert 8e6 <= peak_memory(run) < 8.1e6


@pytest.mark.slow
@pytest.mark.parametrize("side", [300, 1500, 6000])
@pytest.mark.parametrize("size", [512, 1024])
def test_paste_holds_two_photos_a_mask_and_a_few_crops(side: float, size: int):
    """Whatever the face's size: nothing beside them grows with the photo."""
    photo = torch.rand(1, 1500, 2000, 3).movedim(-1, 1)
    crops = crop_faces(photo, [crop_face(1000, 700, side, 30)], [], PACK, size=size)
    restored = crops.images.flip(-1)
    peak = peak_memory(lambda: paste_faces(photo, [(crops, restored)], PasteSettings()))
    assert peak < (1 + 1 / 3) * photo.nbytes + 5 * restored.nbytes


@pytest.mark.slow
def test_29_unchanged_crops_leave_the_photo_as_it_is(group: tuple[Tensor, FaceCrops]):
    photo, crops = group
    out, mask = paste_faces(photo, [(crops, crops.images)], PasteSettings())
    assert torch.equal(out, photo)
    assert mask.max() <= 1
    for face in crops.faces:
        for x, y in face.face.landmarks.round().astype(int):
            assert mask[0, y, x] > 0.99


@pytest.mark.slow
def test_29_crops_in_8_bits_leave_no_seam(group: tuple[Tensor, FaceCrops]):
    """Rounded to what a PNG holds, they change no pixel by a step of it."""
    photo, crops = group
    rounded = (crops.images * 255).round() / 255
    assert not torch.equal(rounded, crops.images)
    out, mask = paste_faces(photo, [(crops, rounded)], PasteSettings())
    change = (out - photo).abs() * 255
    assert change.mean() < 0.05
    assert change.max() < 1
    assert torch.equal(out.movedim(1, -1)[mask == 0], photo.movedim(1, -1)[mask == 0])


@pytest.mark.slow
def test_29_changed_crops_show_no_seam(group: tuple[Tensor, FaceCrops]):
    """Every face a tenth brighter: the difference is the mask and fades without an edge."""
    photo, crops = group
    photo = photo * 0.8
    crops = crop_faces(photo, crops.faces, [], PACK)
    out, mask = paste_faces(photo, [(crops, crops.images + 0.1)], PasteSettings())
    change = out - photo
    assert (change - 0.1 * mask[:, None]).abs().max() < 1e-4
    for axis in (2, 3):
        assert change.diff(dim=axis).abs().max() < 0.2 * 0.1


@pytest.mark.slow
def test_29_faces_need_less_than_three_photos(group: tuple[Tensor, FaceCrops]):
    photo, crops = group
    restored = crops.images + 0.1
    peak = peak_memory(lambda: paste_faces(photo, [(crops, restored)], PasteSettings()))
    assert 1 + peak / photo.nbytes < 2.6
