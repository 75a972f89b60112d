"""Similarity transforms, warps, and the aligned crops of faces."""

import numpy as np
import pytest
import torch
from made_faces import PACK, crop_face, move, pixels, similarity, smooth_photo, waves
from torch import Tensor

from restorerid_core.faces.align import TEMPLATE
from restorerid_core.faces.choose import choose_face
from restorerid_core.faces.crop import CropFace, crop_faces, extract
from restorerid_core.faces.warp import (
    coordinates,
    fit_similarity,
    inverse,
    rescaled,
    sample,
    shrunk,
    zoom_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = range(8)


def any_similarity(rng: np.random.Generator) -> np.ndarray:
    return similarity(10 ** rng.uniform(-1, 1), rng.uniform(-180, 180), rng.uniform(-900, 900, 2))


# Transforms


@pytest.mark.parametrize("seed", SEEDS)
def test_fit_is_exact_where_a_similarity_exists(seed: int):
    rng = np.random.default_rng(seed)
    transform, points = any_similarity(rng), rng.uniform(0, 3000, (5, 2))
    assert np.allclose(fit_similarity(points, move(points, transform)), transform, atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_fit_equals_skimage_and_never_mirrors(seed: int, mirrored: bool):
    from skimage.transform import SimilarityTransform

    rng = np.random.default_rng(seed)
    source = move(TEMPLATE * ([-1, 1] if mirrored else [1, 1]), any_similarity(rng))
    source += rng.normal(0, 0.1 * np.ptp(source), source.shape)
    ours, theirs = fit_similarity(source, TEMPLATE), SimilarityTransform()
    assert theirs.estimate(source, TEMPLATE)
    assert np.allclose(ours, theirs.params[:2], rtol=1e-6, atol=1e-6)
    assert np.linalg.det(ours[:, :2]) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_inverse_and_scale(seed: int):
    rng = np.random.default_rng(seed)
    transform, points = any_similarity(rng), rng.uniform(-500, 500, (4, 2))
    assert np.allclose(move(move(points, transform), inverse(transform)), points)
    step = np.linalg.norm(np.diff(move(points, transform), axis=0), axis=1)
    assert np.allclose(step / np.linalg.norm(np.diff(points, axis=0), axis=1), zoom_of(transform))


@pytest.mark.parametrize("seed", SEEDS)
def test_rescaled_follows_the_pixels_of_resized_pictures(seed: int):
    """A resize by f takes the centre of a pixel from p to (p + 0.5) f - 0.5."""
    rng = np.random.default_rng(seed)
    transform, points = any_similarity(rng), rng.uniform(0, 500, (6, 2))
    source, target = rng.uniform(0.2, 5, (2, 2))
    found = move((points + 0.5) * source - 0.5, rescaled(transform, tuple(source), tuple(target)))
    assert np.allclose(found, (move(points, transform) + 0.5) * target - 0.5)


@pytest.mark.parametrize("factors", [(2.0, 2.0), (0.5, 0.5), (0.75, 1.25)])
def test_a_warp_of_a_resized_picture_is_the_warp_of_the_picture(factors: tuple[float, float]):
    photo, transform = smooth_photo(240, 320, 120), similarity(0.8, 33)
    transform[:, 2] = [45, 50] - transform[:, :2] @ [160, 120]
    size = (round(240 * factors[1]), round(320 * factors[0]))
    resized = torch.nn.functional.interpolate(
        photo[None], size, mode="bicubic", antialias=True, align_corners=False
    )[0]
    back = inverse(transform)
    expected = sample(photo, coordinates(back, 0, 0, 100, 90, photo.device))
    back = rescaled(back, (1.0, 1.0), factors)
    found = sample(resized, coordinates(back, 0, 0, 100, 90, photo.device))
    assert (found - expected).abs().max() < 4e-3


def test_coordinates_of_a_window_are_those_of_the_whole():
    transform = similarity(1.7, 40, (5, -80))
    whole = coordinates(transform, 0, 0, 900, 1200, torch.device("cpu"))
    part = coordinates(transform, 700, 1100, 50, 60, torch.device("cpu"))
    assert np.allclose(
        part.numpy(), move(pixels(900, 1200)[700:750, 1100:1160], transform), atol=1e-3
    )
    torch.testing.assert_close(whole[700:750, 1100:1160], part, rtol=0, atol=1e-3)


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.001])
def test_nothing_is_shrunk_by_less_than_a_pixel(factor: float):
    photo = smooth_photo(50, 60)
    small, factors = shrunk(photo, factor)
    assert small is photo
    assert factors == (1.0, 1.0)


def test_shrinking_keeps_at_least_a_pixel():
    small, factors = shrunk(smooth_photo(50, 70), 1000)
    assert small.shape == (3, 1, 1)
    assert factors == (1 / 70, 1 / 50)


# Crops


def reflected(photo: Tensor, border: int) -> np.ndarray:
    import cv2

    picture = photo.movedim(0, -1).numpy()
    return cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_REFLECT)


@pytest.mark.parametrize("seed", SEEDS)
def test_extract_is_the_warp_of_opencv(seed: int):
    """Faces of 1 to 4 times the photo's resolution, many of them cut by its border."""
    import cv2

    rng = np.random.default_rng(seed)
    photo = smooth_photo(300, 400, period=70, seed=seed)
    x, y = rng.uniform(60, 240, 2)
    face = crop_face(x, y, 128 * 4 ** rng.uniform(), rng.uniform(-180, 180))
    found = extract(photo, face.to_crop, 512)
    border = 700
    shifted = face.to_crop.copy()
    shifted[:, 2] -= shifted[:, :2] @ [border, border]
    expected = cv2.warpAffine(reflected(photo, border), shifted, (512, 512), flags=cv2.INTER_CUBIC)
    # OpenCV rounds positions to 1/32 px; where the mirror has a kink that is the most visible.
    assert np.abs(found.movedim(0, -1).numpy() - expected).max() < 5e-3


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("side", [90, 512, 1300])
def test_extract_shows_the_photo_at_each_scale(side: float, size: int):
    """Inside of the photo, antialiasing or not, a crop shows what is there and nowhere shifted."""
    face = crop_face(500, 480, side, angle=25)
    photo = smooth_photo(1000, 1000, period=side / 6, seed=3)
    to_crop = face.transform((1.0, 1.0), size)
    back = move(pixels(size, size), inverse(to_crop))
    inside = ((back > 8) & (back < 991)).all(-1)
    error = (extract(photo, to_crop, size) - waves(back, side / 6, seed=3)).abs().amax(0)
    assert inside.mean() > 0.5
    assert error[torch.from_numpy(inside)].max() < 0.01


def test_a_large_face_is_antialiased():
    """Noise of single pixels averages out; taking some of the pixels would keep all of it."""
    generator = torch.Generator().manual_seed(0)
    photo = 0.5 + 0.2 * (torch.rand(3, 1100, 1100, generator=generator) - 0.5)
    crop = extract(photo, crop_face(550, 550, 1024, angle=10).transform((1.0, 1.0), 128), 128)
    assert crop.std() < 0.25 * photo.std()
    assert abs(float(crop.mean() - photo.mean())) < 1e-3


def test_a_crop_beside_the_photo_is_black():
    photo = smooth_photo(100, 100)
    for x, y in ((-900, 50), (1000, 50), (50, -900), (50, 1000)):
        crop = extract(photo, crop_face(x, y, 200).to_crop, 512)
        assert crop.shape == (3, 512, 512)
        assert not crop.any()


def test_a_crop_stays_in_range():
    photo = torch.zeros(3, 200, 200)
    photo[:, :, 100:] = 1
    crop = extract(photo, crop_face(100, 100, 90).to_crop, 512)
    assert (crop.min(), crop.max()) == (0, 1)


# Faces and their crops


@pytest.mark.parametrize("angle", [-170, -90, -20, 0, 35, 90, 179])
@pytest.mark.parametrize("side", [60, 512, 1700])
def test_scale_and_angle_are_reported(side: float, angle: float):
    face = crop_face(300, 200, side, angle)
    assert face.zoom == pytest.approx(512 / side)
    assert face.angle == pytest.approx(angle)
    assert np.allclose(move(face.face.landmarks, face.to_crop), TEMPLATE)
    sides = np.linalg.norm(np.diff(face.outline(), axis=0), axis=1)
    assert np.allclose(sides, side)
    assert np.allclose(face.outline().mean(0), [300, 200])


def test_crops_of_a_batch_and_a_subset():
    photos = torch.stack([smooth_photo(300, 400, seed=seed) for seed in range(2)])
    faces = [crop_face(100 * n, 150, 200, 10 * n, n, image=n % 2) for n in (1, 2, 3)]
    other = crop_face(30, 30, 40, number=4)
    crops = crop_faces(photos, faces, [other], PACK, photo=5, size=256)
    assert (crops.photo, crops.photo_size, crops.pack) == (5, (300, 400), PACK)
    for face, crop in zip(faces, crops.images, strict=True):
        expected = extract(photos[face.image], face.transform((1.0, 1.0), 256), 256)
        assert torch.equal(crop, expected)
    part = crops.subset([2, 0])
    assert part.faces == (faces[2], faces[0])
    assert set(part.others) == {other, faces[1]}
    assert torch.equal(part.images, crops.images[[2, 0]])
    none = crops.subset([])
    assert none.images.shape == (0, 3, 256, 256)
    assert set(none.others) == {other, *faces}


@pytest.mark.parametrize("person", ["1", "2", "4", "6", "8", "11"])
def test_real_faces_land_on_the_template(analyzer, read_photo, person: str):
    bgr = read_photo(f"samples/{person}-ref1.png")
    photo = torch.from_numpy(bgr[..., ::-1].copy()).movedim(-1, 0) / 255
    face = CropFace.of(choose_face(analyzer.find_all(bgr), bgr.shape), 1)
    crop = extract(photo, face.to_crop, 512).flip(0).movedim(0, -1).mul(255).byte().numpy()
    seen = choose_face(analyzer.analyze(crop), crop.shape)
    assert seen.embedding @ face.face.embedding > 0.9
    assert np.linalg.norm(seen.landmarks - TEMPLATE, axis=1).mean() < 20
