"""Crops go back into their photo: nothing changes, or exactly what was restored.

A change of zero would hide a wrong warp, so each crop is also replaced by that of another photo.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from made_faces import PACK, any_faces, crop_face, move, pixels, similarity, smooth_photo, waves
from torch import Tensor

from restorerid_core.faces.crop import CropFace, FaceCrops, crop_faces, extract
from restorerid_core.faces.paste import PasteSettings, paste_faces

pytestmark = pytest.mark.usefixtures("one_thread")
HEIGHT, WIDTH = 420, 560
EXACT = PasteSettings(color="restored")


def crops_of(photo: Tensor, faces: list[CropFace], size: int = 512) -> FaceCrops:
    return crop_faces(photo[None], faces, [], PACK, size=size)


def paste(photo: Tensor, crops: FaceCrops, restored: Tensor, settings: PasteSettings = EXACT):
    out, mask = paste_faces(photo[None], [(crops, restored)], settings)
    return out[0], mask[0]


@pytest.mark.parametrize(
    ("seed", "color", "size", "beyond"),
    [
        (2, "auto", 256, 0),
        (5, "restored", 512, 0),
        (11, "photo", 768, 0),
        (0, "restored", 512, 0.1),
    ],
)
def test_crop_then_paste_is_the_identity(seed: int, color: str, size: int, beyond: float):
    """Of noise, which no resampling survives, bit for bit; also a little beyond 0 to 1."""
    photo = torch.rand(3, 200, 180, generator=torch.Generator().manual_seed(seed))
    photo = photo * (1 + 2 * beyond) - beyond
    crops = crops_of(photo, any_faces(seed, 4, 200, 180), size)
    out, mask = paste(photo, crops, crops.images, PasteSettings(color=color))
    assert torch.equal(out, photo) and out is not photo and mask.any()


@pytest.mark.parametrize("faces", [[], [crop_face(-700, 50, 200), crop_face(60, 900, 300)]])
def test_without_faces_or_with_faces_beside_the_photo_nothing_changes(faces: list[CropFace]):
    photo = smooth_photo(100, 120)
    crops = crops_of(photo, faces)
    out, mask = paste(photo, crops, torch.ones_like(crops.images))
    assert torch.equal(out, photo)
    assert mask.shape == (100, 120) and not mask.any()
    assert torch.equal(paste_faces(photo[None], [], EXACT)[0][0], photo)


@pytest.mark.parametrize(
    ("x", "y", "side", "angle", "size"),
    [
        pytest.param(260, 200, 180, 150, 256, id="whole"),
        pytest.param(0, 140, 30, 12, 512, id="small, at the left border"),
        pytest.param(280, 0, 512, 12, 512, id="at the upper border"),
        pytest.param(559, 210, 3000, -70, 1024, id="larger than the photo"),
        pytest.param(0, 419, 512, 12, 512, id="in a corner"),
    ],
)
def test_the_crop_of_another_photo_becomes_that_photo(x, y, side, angle, size):
    """At any position, angle and scale: under a mask of 1 the other photo shows, in register."""
    face = crop_face(x, y, side, angle)
    # As much detail as the crop can hold, but no more than the photo can.
    photo, other = (smooth_photo(HEIGHT, WIDTH, max(side / 6, 30), seed) for seed in (1, 2))
    restored = extract(other, face.transform((1.0, 1.0), size), size)[None]
    out, mask = paste(photo, crops_of(photo, [face]), restored)
    assert mask[y, x] == 1
    assert (out - torch.lerp(photo, other, mask)).abs().max() < 0.016
    assert torch.equal(out[:, mask == 0], photo[:, mask == 0])


@pytest.mark.parametrize("seed", [1, 4, 6])
def test_a_change_lies_where_the_transform_says(seed: int):
    """Exactly known at every pixel of the photo, whatever the face's size there."""
    (face,) = any_faces(seed, 1, HEIGHT, WIDTH)
    photo, period = torch.full((3, HEIGHT, WIDTH), 0.5), max(130, 16 * face.zoom)
    crops = crops_of(photo, [face])
    pattern = 0.5 * (waves(pixels(512, 512), period, seed) - 0.5)
    out, mask = paste(photo, crops, crops.images + pattern)
    there = 0.5 * (waves(move(pixels(HEIGHT, WIDTH), face.to_crop), period, seed) - 0.5)
    assert mask.max() == 1
    assert (out - photo - mask * there).abs().max() < 4e-3


def test_detail_too_fine_for_the_photo_averages_out():
    """A face of a tenth of its crop's size: what single pixels of the crop do is not seen."""
    photo = torch.full((3, 200, 200), 0.5)
    crops = crops_of(photo, [crop_face(100, 100, 51)])
    noise = 0.6 * (torch.rand(crops.images.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    out, mask = paste(photo, crops, crops.images + noise)
    assert (out - photo)[:, mask == 1].std() < 0.25 * noise.std()


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_an_enlarged_photo_takes_the_same_crops(factor: float):
    faces = [crop_face(150, 160, 260, -25, 1), crop_face(420, 220, 190, 70, 2)]
    photo, other = (smooth_photo(HEIGHT, WIDTH, 70, seed) for seed in (1, 2))
    size = round(HEIGHT * factor), round(WIDTH * factor)
    large, large_other = (waves(pixels(*size, 1 / factor), 70, seed) for seed in (1, 2))
    out, mask = paste(large, crops_of(photo, faces), crops_of(other, faces).images)
    assert out.shape == (3, *size) and mask.amax() == 1
    assert (out - torch.lerp(large, large_other, mask)).abs().max() < 0.012


def test_faces_of_a_batch_go_to_their_own_photo():
    photos = torch.stack([smooth_photo(300, 400, seed=seed) for seed in range(3)])
    faces = [crop_face(200, 150, 250, 10 * n, n, image) for n, image in enumerate((2, 0), 1)]
    crops = crop_faces(photos, faces, [], PACK)
    out, mask = paste_faces(photos, [(crops, 1 - crops.images)], EXACT)
    assert torch.equal(out[1], photos[1])
    for face, restored in zip(faces, 1 - crops.images, strict=True):
        photo, alone = photos[face.image], CropFace.of(face.face, 1)
        expected, soft = paste(photo, crops_of(photo, [alone]), restored[None])
        assert torch.equal(out[face.image], expected)
        assert torch.equal(mask[face.image], soft)


def test_crops_in_several_parts_are_pasted_as_in_one():
    """As Match Faces splits them: in any order, for masks of neighbours do not overlap."""
    photo = smooth_photo(300, 400)
    crops = crops_of(photo, any_faces(5, 6, 300, 400), 256)
    restored = (crops.images + 0.1).flip(1)
    whole, mask = paste(photo, crops, restored)
    parts = [(crops.subset(rows), restored[rows]) for rows in ([4, 1], [5], [2, 0, 3])]
    out, masks = paste_faces(photo[None], parts, EXACT)
    assert (out[0] - whole).abs().max() < 1e-6
    assert (masks[0] - mask).abs().max() < 1e-6


@pytest.mark.parametrize("batch", [1, 2])
def test_memory_is_laid_out_as_the_photo_s(batch: int):
    """Host images are (B, H, W, 3); nothing is copied to give them back that way."""
    photos = torch.stack([smooth_photo(100, 120, seed=seed) for seed in range(batch)])
    crops = crop_faces(photos, [crop_face(60, 50, 90)], [], PACK)
    host = photos.movedim(1, -1).contiguous().movedim(-1, 1)
    expected, out = (
        paste_faces(images, [(crops, 1 - crops.images)], EXACT)[0] for images in (photos, host)
    )
    assert out.movedim(1, -1).is_contiguous()
    assert (out - expected).abs().max() < 1e-6
    assert torch.equal(host, photos)


def test_similarity_helper_leans_to_the_right():
    """The tests' own ground truth: clockwise on a screen, where y points down."""
    assert np.allclose(move(np.array([0.0, -1]), similarity(2, 90)), [2, 0])


def people(width: float) -> list[CropFace]:
    """29 heads in three rows, shoulder to shoulder, on a photo so wide."""
    rng, faces = np.random.default_rng(0), []
    for number in range(29):
        row, place = divmod(number, 10)
        x, y = width * (0.05 + 0.1 * place), width * (0.13 + 0.2 * row)
        side, angle = width * rng.uniform(0.1, 0.15), rng.uniform(-40, 40)
        faces.append(crop_face(x, y, side, angle, number + 1))
    return faces


@pytest.mark.slow
def test_29_faces_of_a_group_photo_show_no_seam():
    grain = torch.rand(3, 1800, 1500, generator=torch.Generator().manual_seed(0))
    photo = 0.8 * smooth_photo(1800, 1500) + 0.1 * grain
    photo = photo.movedim(0, -1).contiguous().movedim(-1, 0)  # as the host lays it out
    crops = crops_of(photo, people(1500), 256)
    rounded = (crops.images * 255).round() / 255
    (same, mask), (eight_bits, _), (brighter, _) = (
        paste(photo, crops, restored, PasteSettings())
        for restored in (crops.images, rounded, crops.images + 0.1)
    )
    assert torch.equal(same, photo)
    points = np.concatenate([face.face.landmarks for face in crops.faces]).round().astype(int)
    assert mask.max() <= 1 and mask[points[:, 1], points[:, 0]].min() > 0.99
    # Rounded to what a PNG holds, they change no pixel by a step of it.
    assert not torch.equal(rounded, crops.images)
    steps = (eight_bits - photo).abs() * 255
    assert steps.mean() < 0.05 and steps.max() < 1
    # A tenth brighter: the difference is the mask and fades without an edge.
    assert (brighter - photo - 0.1 * mask).abs().max() < 1e-4
    assert all((brighter - photo).diff(dim=axis).abs().max() < 0.2 * 0.1 for axis in (1, 2))
    for out in (eight_bits, brighter):
        assert torch.equal(out[:, mask == 0], photo[:, mask == 0])


def peak_memory(run: Callable[[], object]) -> int:
    """Bytes of tensors that `run` held at most at a time, what it returns included."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        run()
    profiler: Any = record.profiler
    events = [e for e in profiler.kineto_results.events() if e.name() == "[memory]"]
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
@pytest.mark.parametrize(
    ("faces", "size"),
    [
        pytest.param([crop_face(1000, 700, 300, 30)], 512, id="small"),
        pytest.param([crop_face(1000, 700, 1500, 30)], 1024, id="large"),
        pytest.param([crop_face(1000, 700, 6000, 30)], 512, id="larger than the photo"),
        pytest.param(people(2000), 512, id="29 faces"),
    ],
)
def test_paste_holds_two_photos_a_mask_and_a_few_crops(faces: list[CropFace], size: int):
    """Whatever the faces' sizes and number: nothing beside them grows with the photo."""
    photo = torch.rand(1, 1500, 2000, 3).movedim(-1, 1)
    crops = crop_faces(photo, faces, [], PACK, size=size)
    restored = crops.images.flip(-1)
    peak = peak_memory(lambda: paste_faces(photo, [(crops, restored)], PasteSettings()))
    assert peak < (1 + 1 / 3) * photo.nbytes + 5 * restored[0].nbytes
