"""Crops go back into their photo: nothing changes, or exactly what was restored.

A change of zero would hide a wrong warp, so each crop is also replaced by that of another photo.
"""

import numpy as np
import pytest
import torch
from made_faces import (
    PACK,
    any_faces,
    crop_face,
    move,
    pixels,
    similarity,
    smooth_photo,
    waves,
)
from torch import Tensor

from restorerid_core.faces.crop import CropFace, FaceCrops, crop_faces, extract
from restorerid_core.faces.paste import PasteSettings, paste_faces
from restorerid_core.faces.warp import inverse

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = range(12)
HEIGHT, WIDTH = 420, 560
EXACT = PasteSettings(color="restored")


def crops_of(photo: Tensor, faces: list[CropFace], size: int = 512) -> FaceCrops:
    return crop_faces(photo[None], faces, [], PACK, size=size)


def paste(photo: Tensor, crops: FaceCrops, restored: Tensor, settings: PasteSettings = EXACT):
    out, mask = paste_faces(photo[None], [(crops, restored)], settings)
    return out[0], mask[0]


# Nothing changes


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("color", ["auto", "restored", "photo"])
def test_crop_then_paste_is_the_identity(seed: int, color: str):
    """Of noise, which no resampling survives, bit for bit."""
    photo = torch.rand(3, 300, 260, generator=torch.Generator().manual_seed(seed))
    crops = crops_of(photo, any_faces(seed, 4, 300, 260), size=[256, 512, 768][seed % 3])
    out, mask = paste(photo, crops, crops.images, PasteSettings(color=color))
    assert torch.equal(out, photo)
    assert out is not photo
    assert mask.any()


@pytest.mark.parametrize("side", [30, 512, 3000])
@pytest.mark.parametrize(("x", "y"), [(0, 100), (200, 0), (399, 150), (180, 299), (0, 0)])
def test_faces_cut_by_the_border_are_pasted_too(x: float, y: float, side: float):
    photo, other = (smooth_photo(300, 400, period=200, seed=seed) for seed in (1, 2))
    face = crop_face(x, y, side, angle=12)
    out, mask = paste(photo, crops_of(photo, [face]), crops_of(other, [face]).images)
    assert mask[int(y), int(x)] == 1
    assert (out - torch.lerp(photo, other, mask)).abs().max() < 0.02


def test_a_face_beside_the_photo_changes_nothing():
    photo = smooth_photo(100, 120)
    crops = crops_of(photo, [crop_face(-700, 50, 200), crop_face(60, 900, 300)])
    out, mask = paste(photo, crops, torch.ones_like(crops.images))
    assert torch.equal(out, photo)
    assert not mask.any()


def test_a_photo_a_little_outside_of_0_to_1_stays_as_it_is():
    photo = smooth_photo(HEIGHT, WIDTH) * 1.2 - 0.1
    crops = crops_of(photo, any_faces(0, 2, HEIGHT, WIDTH))
    assert torch.equal(paste(photo, crops, crops.images)[0], photo)


def test_no_faces_at_all():
    photo = smooth_photo(100, 120)
    for parts in ([], [(crops_of(photo, []), torch.zeros(0, 3, 512, 512))]):
        out, mask = paste_faces(photo[None], parts, EXACT)
        assert torch.equal(out[0], photo)
        assert mask.shape == (1, 100, 120)
        assert not mask.any()


# What is restored comes to its place


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [256, 512, 1024])
def test_the_crop_of_another_photo_becomes_that_photo(seed: int, size: int):
    """At any position, angle and scale: under a mask of 1 the other photo shows, in register."""
    (face,) = any_faces(seed, 1, HEIGHT, WIDTH)
    side = 512 / face.zoom
    # As much detail as the crop can hold, but no more than the photo can.
    photo, other = (smooth_photo(HEIGHT, WIDTH, max(side / 6, 30), seed) for seed in (1, 2))
    restored = extract(other, face.transform((1.0, 1.0), size), size)[None]
    out, mask = paste(photo, crops_of(photo, [face]), restored)
    assert (out - torch.lerp(photo, other, mask)).abs().max() < 0.016
    assert torch.equal(out[:, mask == 0], photo[:, mask == 0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_change_lies_where_opencv_puts_it(seed: int):
    """A pattern painted on the crop, against OpenCV's warp of that crop into the photo."""
    import cv2

    rng = np.random.default_rng(seed)
    x, y = rng.uniform(100, 300, 2)
    face = crop_face(x, y, rng.uniform(200, 600), rng.uniform(-180, 180))
    photo = smooth_photo(HEIGHT, WIDTH, seed=seed)
    crops = crops_of(photo, [face])
    pattern = 0.2 * (waves(pixels(512, 512), 80, seed=seed) - 0.5)
    out, mask = paste(photo, crops, crops.images + pattern)
    warped = cv2.warpAffine(
        pattern.movedim(0, -1).numpy(),
        inverse(face.to_crop),
        (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR,
    )
    expected = photo + mask * torch.from_numpy(warped).movedim(-1, 0)
    assert mask.max() == 1
    assert (out - expected).abs().max() < 4e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_change_lies_where_the_transform_says(seed: int):
    """Exactly known at every pixel of the photo, whatever the face's size there."""
    (face,) = any_faces(seed, 1, HEIGHT, WIDTH)
    photo = torch.full((3, HEIGHT, WIDTH), 0.5)
    pattern = 0.5 * (waves(pixels(512, 512), max(130, 16 * face.zoom), seed=seed) - 0.5)
    crops = crops_of(photo, [face])
    out, mask = paste(photo, crops, crops.images + pattern)
    there = waves(move(pixels(HEIGHT, WIDTH), face.to_crop), max(130, 16 * face.zoom), seed=seed)
    assert (out - photo - mask * 0.5 * (there - 0.5)).abs().max() < 4e-3


def test_detail_too_fine_for_the_photo_averages_out():
    """A face of a tenth of its crop's size: what single pixels of the crop do is not seen."""
    photo = torch.full((3, 200, 200), 0.5)
    crops = crops_of(photo, [crop_face(100, 100, 51)])
    noise = 0.6 * (torch.rand(crops.images.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    out, mask = paste(photo, crops, crops.images + noise)
    assert (out - photo)[:, mask == 1].std() < 0.25 * noise.std()


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_an_enlarged_photo_takes_the_same_crops(factor: float):
    faces = [crop_face(150, 160, 260, -25, 1), crop_face(420, 220, 190, 70, 2)]
    photo, other = (smooth_photo(HEIGHT, WIDTH, 70, seed) for seed in (1, 2))
    size = round(HEIGHT * factor), round(WIDTH * factor)
    large, large_other = (waves(pixels(*size, 1 / factor), 70, seed) for seed in (1, 2))
    out, mask = paste(large, crops_of(photo, faces), crops_of(other, faces).images)
    assert out.shape == (3, *size)
    assert mask.amax() == 1
    assert (out - torch.lerp(large, large_other, mask)).abs().max() < 0.012


def test_faces_of_a_batch_go_to_their_own_photo():
    photos = torch.stack([smooth_photo(300, 400, seed=seed) for seed in range(3)])
    faces = [crop_face(200, 150, 250, 10 * n, n, image) for n, image in enumerate((2, 0), 1)]
    crops = crop_faces(photos, faces, [], PACK)
    out, mask = paste_faces(photos, [(crops, 1 - crops.images)], EXACT)
    assert torch.equal(out[1], photos[1])
    for face, restored in zip(faces, 1 - crops.images, strict=True):
        alone = CropFace.of(face.face, 1)
        one = crop_faces(photos[face.image][None], [alone], [], PACK)
        expected, soft = paste(photos[face.image], one, restored[None])
        assert torch.equal(out[face.image], expected)
        assert torch.equal(mask[face.image], soft)


def test_crops_in_several_parts_are_pasted_as_in_one():
    """As Match Faces splits them: in any order, for masks of neighbours do not overlap."""
    photo, faces = smooth_photo(HEIGHT, WIDTH), any_faces(5, 6, HEIGHT, WIDTH)
    crops = crops_of(photo, faces)
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
    expected, _ = paste_faces(photos, [(crops, 1 - crops.images)], EXACT)
    host = photos.movedim(1, -1).contiguous().movedim(-1, 1)
    out, _ = paste_faces(host, [(crops, 1 - crops.images)], EXACT)
    assert out.movedim(1, -1).is_contiguous()
    assert (out - expected).abs().max() < 1e-6
    assert torch.equal(host, photos)


def test_similarity_helper_leans_to_the_right():
    """The tests' own ground truth: clockwise on a screen, where y points down."""
    assert np.allclose(move(np.array([0.0, -1]), similarity(2, 90)), [2, 0])
