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
SEEDS = range(8)
HEIGHT, WIDTH = 420, 560
SLOPE = 1.5
"""The steepest step of 3x² - 2x³."""


def masks_of(faces: list[CropFace], feather: float) -> tuple[Tensor, Tensor]:
    """The mask of each face (n, H, W), and that of all together (H, W)."""
    photo, settings = torch.rand(1, 3, HEIGHT, WIDTH), PasteSettings(feather)
    crops = crop_faces(photo, faces, [], PACK, size=64)
    rows = range(len(faces))
    each = [
        paste_faces(photo, [(crops.subset([row]), crops.images[[row]])], settings)[1][0]
        for row in rows
    ]
    return torch.stack(each), paste_faces(photo, [(crops, crops.images)], settings)[1][0]


def radii(faces: list[CropFace]) -> np.ndarray:
    """(n, H, W): 1 on the outline of each head."""
    points = [move(pixels(HEIGHT, WIDTH), face.to_crop) for face in faces]
    return np.stack([np.linalg.norm((p - HEAD_CENTRE) / HEAD_AXES, axis=-1) for p in points])


# Masks


@pytest.mark.parametrize("feather", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_masks_of_neighbours_never_overlap_nor_touch_their_heads(seed: int, feather: float):
    faces = any_faces(seed, 6, HEIGHT, WIDTH)
    each, whole = masks_of(faces, feather)
    assert each.min() >= 0
    assert whole.max() <= 1
    assert torch.equal(each.sum(0), whole)
    assert ((each > 0).sum(0) <= 1).all(), "two masks share a pixel"
    radius = radii(faces)
    for row, mask in enumerate(each.numpy()):
        assert not mask[radius[row] > REACH + 1e-4].any()
        for other in range(len(faces)):
            nearer_to_the_other = radius[other] < radius[row] - 1e-4
            assert not mask[nearer_to_the_other].any()


@pytest.mark.parametrize("feather", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_masks_have_no_edge(seed: int, feather: float):
    """No step between neighbouring pixels is larger than the feather makes it, but at borders."""
    faces = [face for face in any_faces(seed, 6, HEIGHT, WIDTH) if face.zoom < 4]
    for mask, face in zip(masks_of(faces, feather)[0], faces, strict=True):
        head = 1 / (feather * min(HEAD_AXES))
        slope = SLOPE * (
            face.zoom * (head + 1 / 24)
            + sum(head * (face.zoom + other.zoom) for other in faces if other is not face)
        )
        steps = torch.cat([mask.diff(dim=0).flatten(), mask.diff(dim=1).flatten()])
        assert steps.abs().max() <= slope + 1e-5


def test_a_face_alone_has_a_soft_mask():
    """At the default feather and 256 px: never a step of more than 6 %, and 1 on the whole face."""
    face = crop_face(250, 200, 256, angle=20)
    mask = masks_of([face], PasteSettings.feather)[0][0]
    assert mask.diff(dim=0).abs().max() < 0.06
    assert mask.diff(dim=1).abs().max() < 0.06
    for x, y in face.face.landmarks.round().astype(int):
        assert mask[y, x] == 1
    assert (mask.numpy()[radii([face])[0] < REACH - PasteSettings.feather - 1e-4] == 1).all()
    outline = face.outline()
    assert not mask[outline[:, 1].round().astype(int), outline[:, 0].round().astype(int)].any()


def test_heads_side_by_side_keep_their_faces():
    """Two heads cheek to cheek: each mask is 1 at its own eyes, nose and mouth."""
    faces = [crop_face(200, 200, 256, 0, 1), crop_face(360, 210, 240, 30, 2)]
    for face, mask in zip(faces, masks_of(faces, PasteSettings.feather)[0], strict=True):
        x, y = face.face.landmarks.round().astype(int).T
        assert mask[y, x].min() > 0.99


def test_faces_that_are_not_restored_are_not_touched():
    photo = torch.rand(1, 3, HEIGHT, WIDTH)
    face, other = crop_face(200, 200, 300, 0, 1), crop_face(290, 200, 220, 15, 2)
    crops = crop_faces(photo, [face], [other], PACK)
    out, _ = paste_faces(photo, [(crops, 1 - crops.images)], PasteSettings())
    own, others = radii([face, other])
    assert torch.equal(out[0][:, others < own], photo[0][:, others < own])


# Colours


def pasted(photo: Tensor, change: float | Tensor, color: str) -> tuple[Tensor, Tensor]:
    crops = crop_faces(photo[None], [crop_face(200, 150, 250, 20)], [], PACK)
    restored = (crops.images + change).clamp(0, 1)
    out, mask = paste_faces(photo[None], [(crops, restored)], PasteSettings(color=color))
    return out[0] - photo, mask[0]


RED = torch.tensor([0.2, -0.05, -0.1])[:, None, None]


@pytest.mark.parametrize("noise", [0.0, 0.9 / 255])
def test_black_and_white_stays_black_and_white(noise: float):
    grey = smooth_photo(300, 400)[:1].expand(3, -1, -1).clone()
    grey += noise * torch.rand(grey.shape)
    change, _ = pasted(grey, RED, "auto")
    assert change.abs().max() > 0.015
    assert (change - change[:1]).abs().max() <= (1e-6 if noise else 0)


@pytest.mark.parametrize("color", ["auto", "restored"])
def test_a_colour_photo_takes_the_restored_colours(color: str):
    photo = 0.3 + 0.4 * smooth_photo(300, 400)
    change, mask = pasted(photo, RED, color)
    assert (change - mask * RED).abs().max() < 1e-4


def test_photo_keeps_its_own_colours():
    photo = 0.3 + 0.4 * smooth_photo(300, 400)
    change, mask = pasted(photo, RED, "photo")
    brightness = float((RED[:, 0, 0] * torch.tensor(LUMA)).sum())
    assert (change - mask * brightness).abs().max() < 1e-4


@pytest.mark.parametrize("tone", [(0.9, 0.75, 0.6), (0.7, 0.7, 0.8), (1, 1, 1)])
@pytest.mark.parametrize("dust", [0.0, 0.01])
def test_a_photo_of_one_tone_keeps_it(tone: tuple[float, ...], dust: float):
    """Whatever the tone, and though some specks have colours: one red pixel made red lips."""
    photo = smooth_photo(300, 400)[:1] ** 0.8 * torch.tensor(tone)[:, None, None]
    specks = torch.rand(300, 400, generator=torch.Generator().manual_seed(0)) < dust
    specks[150, 200] = True
    photo = torch.where(specks, torch.tensor([1.0, 0.1, 0.1])[:, None, None], photo)
    change, _ = pasted(photo, RED * 0.5, "auto")
    inside = change[:, ~specks]
    assert inside.abs().max() > 0.007
    assert (inside - inside[:1]).abs().max() < 1e-5


def test_a_colour_face_in_a_grey_scene_takes_the_restored_colours():
    photo = 0.3 + 0.4 * smooth_photo(900, 1200)[:1].expand(3, -1, -1).clone()
    photo[:, 40:270, 80:330] = 0.3 + 0.4 * smooth_photo(230, 250)
    assert has_one_tone([photo])
    change, mask = pasted(photo, RED, "auto")
    assert (change - mask * RED).abs().max() < 1e-3


def test_the_result_stays_in_range():
    photo = smooth_photo(300, 400)
    for change in (-2.0, 2.0):
        crops = crop_faces(photo[None], [crop_face(200, 150, 250)], [], PACK)
        restored = crops.images + change
        out, _ = paste_faces(photo[None], [(crops, restored)], PasteSettings())
        assert out.min() >= 0
        assert out.max() <= 1


# Texture finer than the restored face


@pytest.mark.parametrize("grain", [0.0, 0.4, 1.0])
def test_grain_of_a_large_face(grain: float):
    """A face four times as large as its crop: the crop has lost the noise, the photo need not."""
    clean = smooth_photo(900, 900, period=300)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * (torch.rand(3, 900, 900, generator=generator) - 0.5)
    crops = crop_faces((clean + noise)[None], [crop_face(450, 450, 1024)], [], PACK, size=256)
    settings = PasteSettings(color="restored", grain=grain)
    out, mask = paste_faces((clean + noise)[None], [(crops, crops.images)], settings)
    kept, inside = out[0] - clean, mask[0] == 1
    assert float(kept[:, inside].std() / noise[:, inside].std()) == pytest.approx(grain, abs=0.2)
    assert torch.equal(out[0][:, mask[0] == 0], (clean + noise)[:, mask[0] == 0])
    if grain == 1:
        assert torch.equal(out[0], clean + noise)


@pytest.mark.parametrize("color", ["restored", "photo"])
@pytest.mark.parametrize("grain", [0.0, 1.0])
def test_grain_does_not_matter_for_small_faces(grain: float, color: str):
    photo = 0.3 + 0.4 * smooth_photo(300, 400)
    crops = crop_faces(photo[None], [crop_face(200, 150, 120, 30)], [], PACK)
    settings = PasteSettings(color=color, grain=grain)
    out, mask = paste_faces(photo[None], [(crops, crops.images + 0.1)], settings)
    assert (out[0] - photo - 0.1 * mask[0]).abs().max() < 5e-3


# Refusals


@pytest.mark.parametrize(
    ("photo", "restored", "sentence"),
    [
        (
            (1, 3, 300, 400),
            (3, 3, 512, 512),
            "`restored` has 3 images for 2 crops; expected one for each: connect the batch",
        ),
        ((1, 3, 300, 400), (0, 3, 512, 512), "`restored` has 0 images for 2 crops"),
        ((1, 3, 300, 400), (2, 3, 512, 520), "`restored` is 520x512 px; expected squares"),
        (
            (1, 3, 400, 300),
            (2, 3, 512, 512),
            "`photo` is 1 of 300x400 px but the crops were taken "
            "from one of 400x300 px; connect the photo that went into Face Crop",
        ),
        ((1, 3, 300, 420), (2, 3, 512, 512), "`photo` is 1 of 420x300 px"),
    ],
)
def test_what_does_not_fit_is_named(
    photo: tuple[int, ...], restored: tuple[int, ...], sentence: str
):
    faces = [crop_face(100, 100, 120, 0, 1), crop_face(300, 150, 120, 0, 2)]
    crops = crop_faces(torch.rand(1, 3, 300, 400), faces, [], PACK)
    with pytest.raises(RestorerIDError) as refusal:
        paste_faces(torch.rand(photo), [(crops, torch.rand(restored))], PasteSettings())
    assert str(refusal.value).startswith(sentence)


def test_a_batch_needs_all_its_photos():
    photos = torch.rand(2, 3, 300, 400)
    crops = crop_faces(photos, [crop_face(100, 100, 120, image=1)], [], PACK)
    with pytest.raises(RestorerIDError, match="`photo` is 1 of 400x300 px but the crops"):
        paste_faces(photos[:1], [(crops, crops.images)], PasteSettings())


def test_one_pixel_more_or_less_is_the_same_photo():
    """An upscaler may round: 401x300 is 400x300 resized."""
    photo = smooth_photo(300, 401)[None]
    given = interpolate(photo, (300, 400), mode="bilinear")
    crops = crop_faces(given, [crop_face(90, 90, 90)], [], PACK)
    assert paste_faces(photo, [(crops, crops.images)], PasteSettings())[0].shape == photo.shape
