"""Masks, colours and texture of pasted faces, and what is refused."""

import numpy as np
import pytest
import torch
from made_faces import PACK, any_faces, crop_face, move, pixels, smooth_photo
from torch import Tensor
from torch.nn.functional import interpolate

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.crop import CropFace, crop_faces
from restorerid_core.faces.mask import HEAD_AXES, HEAD_CENTRE, REACH
from restorerid_core.faces.paste import LUMA, PasteSettings, paste_faces
from restorerid_core.images.tone import has_one_tone

pytestmark = pytest.mark.usefixtures("one_thread")
HEIGHT, WIDTH = 340, 400
SLOPE = 1.5
"""The steepest step of 3x² - 2x³."""
FEATHER = PasteSettings.feather
RED = torch.tensor([0.2, -0.05, -0.1])[:, None, None]


def masks_of(faces: list[CropFace], feather: float = FEATHER) -> tuple[Tensor, Tensor]:
    """The mask of each face (n, H, W), and that of all together (H, W)."""
    photo, settings = torch.rand(1, 3, HEIGHT, WIDTH), PasteSettings(feather)
    crops = crop_faces(photo, faces, [], PACK, size=64)
    rows = [[row] for row in range(len(faces))]
    each, whole = (
        [paste_faces(photo, [(crops.subset(r), crops.images[r])], settings)[1][0] for r in picked]
        for picked in (rows, [list(range(len(faces)))])
    )
    return torch.stack(each), whole[0]


def radii(faces: list[CropFace]) -> np.ndarray:
    """(n, H, W): 1 on the outline of each head."""
    points = [move(pixels(HEIGHT, WIDTH), face.to_crop) for face in faces]
    return np.stack([np.linalg.norm((p - HEAD_CENTRE) / HEAD_AXES, axis=-1) for p in points])


def steps_of(mask: Tensor) -> Tensor:
    """Between neighbouring pixels."""
    return torch.cat([mask.diff(dim=axis).flatten() for axis in (0, 1)]).abs()


@pytest.mark.parametrize(("seed", "feather"), [(2, 0.05), (5, 0.3), (4, 1.0)])
def test_masks_have_no_edge_and_never_overlap_nor_touch_other_heads(seed: int, feather: float):
    faces = any_faces(seed, 6, HEIGHT, WIDTH)
    each, whole = masks_of(faces, feather)
    assert each.min() >= 0 and whole.max() <= 1
    assert torch.equal(each.sum(0), whole)
    assert ((each > 0).sum(0) <= 1).all(), "two masks share a pixel"
    radius, head = radii(faces), 1 / (feather * min(HEAD_AXES))
    for row, (face, mask) in enumerate(zip(faces, each, strict=True)):
        assert not mask[radius[row] > REACH + 1e-4].any()
        assert not mask[radius.min(0) < radius[row] - 1e-4].any(), "nearer to another"
        # No step is larger than the feather makes it.
        others = sum(face.zoom + other.zoom for other in faces if other is not face)
        assert steps_of(mask).max() <= SLOPE * (face.zoom * (head + 1 / 24) + head * others) + 1e-5


def test_a_face_alone_has_a_soft_mask():
    """At the default feather and 256 px: never a step of more than 6 %, and 1 on the whole face."""
    face = crop_face(200, 170, 256, angle=20)
    mask = masks_of([face])[0][0]
    assert steps_of(mask).max() < 0.06
    assert (mask.numpy()[radii([face])[0] < REACH - FEATHER - 1e-4] == 1).all()
    (x, y), (left, top) = (p.round().astype(int).T for p in (face.face.landmarks, face.outline()))
    assert (mask[y, x] == 1).all() and not mask[top, left].any()


def test_heads_side_by_side_keep_their_faces():
    """Two heads cheek to cheek: each mask is 1 at its own eyes, nose and mouth."""
    faces = [crop_face(120, 150, 256, 0, 1), crop_face(280, 160, 240, 30, 2)]
    for face, mask in zip(faces, masks_of(faces)[0], strict=True):
        x, y = face.face.landmarks.round().astype(int).T
        assert mask[y, x].min() > 0.99


def test_faces_that_are_not_restored_are_not_touched():
    photo = torch.rand(1, 3, HEIGHT, WIDTH)
    face, other = crop_face(150, 150, 300, 0, 1), crop_face(240, 150, 220, 15, 2)
    crops = crop_faces(photo, [face], [other], PACK)
    out, _ = paste_faces(photo, [(crops, 1 - crops.images)], PasteSettings())
    own, others = radii([face, other])
    assert torch.equal(out[0][:, others < own], photo[0][:, others < own])


def pasted(photo: Tensor, change: float | Tensor, color: str = "auto") -> tuple[Tensor, Tensor]:
    """What the photo is changed by, and the mask."""
    crops = crop_faces(photo[None], [crop_face(200, 150, 250, 20)], [], PACK)
    restored = (crops.images + change).clamp(0, 1)
    out, mask = paste_faces(photo[None], [(crops, restored)], PasteSettings(color=color))
    return out[0] - photo, mask[0]


@pytest.mark.parametrize(("color", "luma"), [("auto", False), ("restored", False), ("photo", True)])
def test_a_colour_photo_takes_the_restored_colours_or_keeps_its_own(color: str, luma: bool):
    change, mask = pasted(0.3 + 0.4 * smooth_photo(300, 400), RED, color)
    brightness = (RED[:, 0, 0] * torch.tensor(LUMA)).sum()
    assert (change - mask * (brightness if luma else RED)).abs().max() < 1e-4


@pytest.mark.parametrize("noise", [0.0, 0.9 / 255])
def test_black_and_white_stays_black_and_white(noise: float):
    grey = smooth_photo(300, 400)[:1].expand(3, -1, -1) + noise * torch.rand(3, 300, 400)
    change, _ = pasted(grey, RED)
    assert change.abs().max() > 0.015
    assert (change - change[:1]).abs().max() <= (1e-6 if noise else 0)


@pytest.mark.parametrize(
    ("tone", "dust"), [((0.9, 0.75, 0.6), 0.0), ((0.7, 0.7, 0.8), 0.01), ((1, 1, 1), 0.01)]
)
def test_a_photo_of_one_tone_keeps_it(tone: tuple[float, ...], dust: float):
    """Whatever the tone, and though some specks have colours: one red pixel made red lips."""
    photo = smooth_photo(300, 400)[:1] ** 0.8 * torch.tensor(tone)[:, None, None]
    specks = torch.rand(300, 400, generator=torch.Generator().manual_seed(0)) < dust
    specks[150, 200] = True
    photo[:, specks] = torch.tensor([[1.0], [0.1], [0.1]])
    inside = pasted(photo, RED * 0.5)[0][:, ~specks]
    assert inside.abs().max() > 0.007
    assert (inside - inside[:1]).abs().max() < 1e-5


def test_a_colour_face_in_a_grey_scene_takes_the_restored_colours():
    photo = 0.3 + 0.4 * smooth_photo(900, 1200)[:1].repeat(3, 1, 1)
    photo[:, 40:270, 80:330] = 0.3 + 0.4 * smooth_photo(230, 250)
    assert has_one_tone([photo])
    change, mask = pasted(photo, RED)
    assert (change - mask * RED).abs().max() < 1e-3


@pytest.mark.parametrize("change", [-2.0, 2.0])
def test_the_result_stays_in_range(change: float):
    photo = smooth_photo(300, 400)
    crops = crop_faces(photo[None], [crop_face(200, 150, 250)], [], PACK)
    out, _ = paste_faces(photo[None], [(crops, crops.images + change)], PasteSettings())
    assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize("grain", [0.0, 0.4, 1.0])
def test_grain_of_a_large_face(grain: float):
    """A face four times as large as its crop: the crop has lost the noise, the photo need not."""
    clean = smooth_photo(450, 450, period=150)
    noise = 0.1 * (torch.rand(3, 450, 450, generator=torch.Generator().manual_seed(0)) - 0.5)
    photo, settings = clean + noise, PasteSettings(color="restored", grain=grain)
    crops = crop_faces(photo[None], [crop_face(225, 225, 512)], [], PACK, size=128)
    out, mask = (part[0] for part in paste_faces(photo[None], [(crops, crops.images)], settings))
    kept, inside = out - clean, mask == 1
    assert float(kept[:, inside].std() / noise[:, inside].std()) == pytest.approx(grain, abs=0.2)
    assert torch.equal(out[:, mask == 0], photo[:, mask == 0])
    assert grain < 1 or torch.equal(out, photo)


@pytest.mark.parametrize(("grain", "color"), [(0.0, "restored"), (0.0, "photo"), (1.0, "photo")])
def test_grain_does_not_matter_for_small_faces(grain: float, color: str):
    photo = 0.3 + 0.4 * smooth_photo(300, 400)
    crops = crop_faces(photo[None], [crop_face(200, 150, 120, 30)], [], PACK)
    settings = PasteSettings(color=color, grain=grain)
    out, mask = paste_faces(photo[None], [(crops, crops.images + 0.1)], settings)
    assert (out[0] - photo - 0.1 * mask[0]).abs().max() < 5e-3


@pytest.mark.parametrize(
    ("photos", "restored", "words"),
    [
        ((2, 3, 300, 400), (3, 3, 512, 512), "`restored` has 3 images for 2 crops.*batch"),
        ((2, 3, 300, 400), (0, 3, 512, 512), "`restored` has 0 images for 2 crops"),
        ((2, 3, 300, 400), (2, 3, 512, 520), "`restored` is 520x512 px; expected squares"),
        ((2, 3, 400, 300), (2, 3, 64, 64), "`photo` is 2 of 300x400 px but.* 400x300.*Face Crop"),
        ((2, 3, 300, 420), (2, 3, 64, 64), "`photo` is 2 of 420x300 px"),
        ((1, 3, 300, 400), (2, 3, 64, 64), "`photo` is 1 of 400x300 px but"),
        ((2, 3, 300, 400), (2, 3, 64, 64), "`photo` does not show face 1 where .*another photo"),
    ],
)
def test_what_does_not_fit_is_named(photos: tuple[int, ...], restored: tuple[int, ...], words: str):
    faces = [crop_face(100, 100, 120, 0, 1), crop_face(300, 150, 120, 0, 2, image=1)]
    crops = crop_faces(torch.rand(2, 3, 300, 400), faces, [], PACK)
    with pytest.raises(RestorerIDError, match=words):
        paste_faces(torch.zeros(photos), [(crops, torch.rand(restored))], PasteSettings())


def test_one_pixel_more_or_less_is_the_same_photo():
    """An upscaler may round: 401x300 is 400x300 resized."""
    photo = smooth_photo(300, 401)[None]
    given = interpolate(photo, (300, 400), mode="bilinear")
    crops = crop_faces(given, [crop_face(90, 90, 90)], [], PACK)
    assert paste_faces(photo, [(crops, crops.images)], PasteSettings())[0].shape == photo.shape
