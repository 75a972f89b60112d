"""Similarity transforms, warps, and the aligned crops of faces."""

import cv2
import numpy as np
import pytest
import torch
from made_faces import PACK, crop_face, move, pixels, similarity, smooth_photo, waves

from restorerid_core.faces import warp
from restorerid_core.faces.align import TEMPLATE
from restorerid_core.faces.crop import crop_faces, extract

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


def any_similarity(rng: np.random.Generator) -> np.ndarray:
    return similarity(10 ** rng.uniform(-1, 1), rng.uniform(-180, 180), rng.uniform(-900, 900, 2))


@pytest.mark.parametrize(("mirror", "noise"), [(1, 0.0), (1, 0.1), (-1, 0.1)])
def test_fit_equals_skimage_and_never_mirrors(mirror: int, noise: float):
    from skimage.transform import SimilarityTransform

    rng = np.random.default_rng(0)
    source = move(TEMPLATE * [mirror, 1], any_similarity(rng))
    source += rng.normal(0, noise * np.ptp(source), source.shape)
    ours, theirs = warp.fit_similarity(source, TEMPLATE), SimilarityTransform()
    assert theirs.estimate(source, TEMPLATE)
    assert np.allclose(ours, theirs.params[:2], rtol=1e-6, atol=1e-6)
    assert np.linalg.det(ours[:, :2]) > 0


@pytest.mark.parametrize("seed", range(3))
def test_inverse_zoom_and_resized_pictures(seed: int):
    """A resize by f takes the centre of a pixel from p to (p + 0.5) f - 0.5."""
    rng = np.random.default_rng(seed)
    transform, points = any_similarity(rng), rng.uniform(-500, 500, (6, 2))
    moved = move(points, transform)
    assert np.allclose(move(moved, warp.inverse(transform)), points)
    steps = [np.linalg.norm(np.diff(p, axis=0), axis=1) for p in (moved, points)]
    assert np.allclose(steps[0] / steps[1], warp.zoom_of(transform))
    source, target = rng.uniform(0.2, 5, (2, 2))
    resized = warp.rescaled(transform, tuple(source), tuple(target))
    found = move((points + 0.5) * source - 0.5, resized)
    assert np.allclose(found, (moved + 0.5) * target - 0.5)


@pytest.mark.parametrize("factors", [(0.5, 0.5), (0.75, 1.25)])
def test_a_warp_of_a_resized_picture_is_the_warp_of_the_picture(factors: tuple[float, float]):
    photo, transform = smooth_photo(240, 320, 120), similarity(0.8, 33)
    transform[:, 2] = [45, 50] - transform[:, :2] @ [160, 120]
    size = (round(240 * factors[1]), round(320 * factors[0]))
    resized = torch.nn.functional.interpolate(photo[None], size, mode="bicubic", antialias=True)[0]
    back = warp.inverse(transform)
    expected = warp.sample(photo, warp.coordinates(back, 0, 0, 100, 90, CPU))
    back = warp.rescaled(back, (1.0, 1.0), factors)
    found = warp.sample(resized, warp.coordinates(back, 0, 0, 100, 90, CPU))
    assert (found - expected).abs().max() < 4e-3


def test_coordinates_of_a_window_are_those_of_the_whole():
    transform = similarity(1.7, 40, (5, -80))
    part = warp.coordinates(transform, 700, 1100, 50, 60, CPU).numpy()
    expected = move(pixels(750, 1160)[700:, 1100:], transform)
    assert np.allclose(part, expected, atol=1e-3)


def test_shrinking_keeps_at_least_a_pixel_and_leaves_out_less_than_one():
    photo = smooth_photo(50, 70)
    small, factors = warp.shrunk(photo, 1000)
    assert small.shape == (3, 1, 1) and factors == (1 / 70, 1 / 50)
    for factor in (0.4, 1.0, 1.001):
        small, factors = warp.shrunk(photo, factor)
        assert small is photo and factors == (1.0, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_extract_is_the_warp_of_opencv(seed: int):
    """Faces of 1 to 4 times the photo's resolution, cut by its border."""
    rng, border = np.random.default_rng(seed), 700
    photo = smooth_photo(300, 400, period=70, seed=seed)
    x, y = rng.uniform(60, 240, 2)
    face = crop_face(x, y, 128 * 4 ** rng.uniform(), rng.uniform(-180, 180))
    found = extract(photo, face.to_crop, 512)
    shifted = face.to_crop.copy()
    shifted[:, 2] -= shifted[:, :2] @ [border, border]
    around = np.pad(photo.movedim(0, -1).numpy(), [(border,) * 2] * 2 + [(0, 0)], "symmetric")
    expected = cv2.warpAffine(around, shifted, (512, 512), flags=cv2.INTER_CUBIC)
    # OpenCV rounds positions to 1/32 px; where the mirror has a kink that is the most visible.
    assert np.abs(found.movedim(0, -1).numpy() - expected).max() < 5e-3


@pytest.mark.parametrize(("side", "size"), [(90, 256), (512, 512), (1300, 300)])
def test_extract_shows_the_photo_at_each_scale(side: float, size: int):
    """Inside of the photo, antialiasing or not, a crop shows what is there and nowhere shifted."""
    photo = smooth_photo(1000, 1000, period=side / 6, seed=3)
    to_crop = crop_face(500, 480, side, angle=25).transform((1.0, 1.0), size)
    back = move(pixels(size, size), warp.inverse(to_crop))
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


@pytest.mark.parametrize(("x", "y"), [(-900, 50), (1000, 50), (50, -900), (50, 1000)])
def test_a_crop_beside_the_photo_is_black(x: float, y: float):
    crop = extract(smooth_photo(100, 100), crop_face(x, y, 200).to_crop, 512)
    assert crop.shape == (3, 512, 512) and not crop.any()


def test_a_crop_stays_in_range():
    photo = (torch.arange(200) >= 100).float().expand(3, 200, -1)
    crop = extract(photo, crop_face(100, 100, 90).to_crop, 512)
    assert (crop.min(), crop.max()) == (0, 1)


@pytest.mark.parametrize(
    ("side", "angle"), [(60, -170), (512, 0), (1700, 35), (60, 90), (512, 179)]
)
def test_zoom_and_angle_are_reported(side: float, angle: float):
    face = crop_face(300, 200, side, angle)
    assert face.zoom == pytest.approx(512 / side) and face.angle == pytest.approx(angle)
    assert np.allclose(move(face.face.landmarks, face.to_crop), TEMPLATE)
    assert np.allclose(np.linalg.norm(np.diff(face.outline(), axis=0), axis=1), side)
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
    part, none = crops.subset([2, 0]), crops.subset([])
    assert part.faces == (faces[2], faces[0]) and set(part.others) == {other, faces[1]}
    assert torch.equal(part.images, crops.images[[2, 0]])
    assert none.images.shape == (0, 3, 256, 256) and set(none.others) == {other, *faces}
