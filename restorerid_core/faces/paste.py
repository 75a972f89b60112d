"""Restored faces go back into their photo.

What is warped back is not the restored crop but its difference to the crop as it was, so that the
photo loses nothing by being resampled twice: an unchanged crop leaves it bit for bit as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ..errors import RestorerIDError
from ..images.tone import AUTO, PHOTO, has_one_tone
from .crop import CROP, CropFace, FaceCrops, extract, window_of
from .mask import HEAD_AXES, REACH, face_mask
from .warp import coordinates, rescaled, sample, shrunk, zoom_of

LUMA = (0.299, 0.587, 0.114)
BLOCK = 2**16
"""Pixels of the photo worked on at a time, which keeps the memory small beside the photo's."""
ASPECT = 0.02
LOOK = 64
"""Pixels: the size at which a crop is compared with its place in the photo."""
ALIKE = 0.05
"""Mean difference of 16 x 16 averages, up to which a crop is of this photo: an enlargement differs
by less than 0.02, another face at the same place by 0.17 and more."""


@dataclass(frozen=True)
class PasteSettings:
    """How faces are blended in.

    Attributes:
        feather: width of the mask's soft edge, a part of the head's radius, above 0.
        color: "restored" takes the colours of the restored faces, "photo" only their brightness,
            "auto" is "photo" where the photo and its faces have one tone, and else "restored".
        grain: how much of the photo's texture that is finer than the restored face's pixels stays,
            0 to 1. It matters only for faces that are larger in the photo than restored.
    """

    feather: float = 0.3
    color: str = AUTO
    grain: float = 1.0


def paste_faces(
    images: Tensor, parts: Sequence[tuple[FaceCrops, Tensor]], settings: PasteSettings
) -> tuple[Tensor, Tensor]:
    """Photos with restored faces, and where they were changed.

    Args:
        photos: (B, 3, H, W) in [0, 1]: those that the crops were taken from, or the same enlarged.
        parts: crops, and beside them the restored ones (N, 3, S, S) of any size.
        settings: how to blend.
    Returns:
        (B, 3, H, W), laid out in memory as `photos`, and the mask (B, H, W).
    Raises:
        RestorerIDError: the restored crops are not as many as the crops or not square, or the
            photos are not those that the crops were taken from.
    """
    for crops, restored in parts:
        check_parts(images, crops, restored)
    seen = [
        (face.image, crop)
        for crops, _ in parts
        for face, crop in zip(crops.faces, crops.images, strict=True)
    ]
    toned = [
        keeps_tone(image, [crop for place, crop in seen if place == number], settings.color)
        for number, image in enumerate(images)
    ]
    height, width = images.shape[2:]
    mask = images.new_zeros(len(images), height, width)
    out = images.clone()
    for crops, restored in parts:
        resized = (width / crops.photo_size[1], height / crops.photo_size[0])
        every = (*crops.faces, *crops.others)
        for face, crop in zip(crops.faces, restored, strict=True):
            others = [other for other in every if other is not face and other.image == face.image]
            place = face.image
            _paste(
                images[place],
                out[place],
                mask[place],
                face,
                others,
                crop,
                resized,
                settings,
                toned[place],
            )
    return out, mask


def keeps_tone(image: Tensor, faces: Sequence[Tensor], color: str) -> bool:
    """Whether all faces (3, S, S) of a photo (3, H, W) keep its colours.

    Faces are looked at by themselves, too: in a colour photo of snow they may be small.

    Args:
        color: as in `PasteSettings`.
    """
    if color != AUTO or not faces:
        return color == PHOTO
    return has_one_tone([image]) and has_one_tone(faces)


def brightness(change: Tensor) -> Tensor:
    """What a change (3, H, W) does to the brightness, for all channels alike: colours stay."""
    return torch.einsum("chw,c->hw", change, change.new_tensor(LUMA)).expand_as(change)


def check_parts(images: Tensor, crops: FaceCrops, restored: Tensor) -> None:
    if len(restored) != len(crops.faces):
        raise RestorerIDError(
            f"`restored` has {len(restored)} images for {len(crops.faces)} crops; expected one for "
            "each: connect the batch that was restored from these crops, with one seed each."
        )
    if restored.shape[2] != restored.shape[3]:
        raise RestorerIDError(
            f"`restored` is {restored.shape[3]}x{restored.shape[2]} px; expected squares as the "
            "crops are: do not crop or stretch them before pasting."
        )
    height, width = images.shape[2:]
    rows, columns = crops.photo_size
    if abs(height / rows / (width / columns) - 1) > ASPECT or len(images) <= max(
        (face.image for face in crops.faces), default=0
    ):
        raise RestorerIDError(
            f"`photo` is {len(images)} of {width}x{height} px but the crops were taken from one of "
            f"{columns}x{rows} px; connect the photo that went into Face Crop, or the same photo "
            "enlarged."
        )
    resized = (width / columns, height / rows)
    for face, crop in zip(crops.faces, crops.images, strict=True):
        if difference(images[face.image], face, crop, resized) > ALIKE:
            raise RestorerIDError(
                f"`photo` does not show face {face.number} where the crops were taken from, so it "
                "is another photo of the same size; connect the photo that went into Face Crop, or "
                "the same photo enlarged."
            )


def difference(image: Tensor, face: CropFace, crop: Tensor, resized: tuple[float, float]) -> float:
    """How much a crop (3, S, S) differs from its place in a photo (3, H, W), both in [0, 1]."""
    here = extract(image, face.transform(resized, LOOK), LOOK)
    small = [adaptive_avg_pool2d(picture, 16) for picture in (here, crop.to(here))]
    return float((small[0] - small[1]).abs().mean())


def _paste(
    image: Tensor,
    out: Tensor,
    mask: Tensor,
    face: CropFace,
    others: Sequence[CropFace],
    restored: Tensor,
    resized: tuple[float, float],
    settings: PasteSettings,
    toned: bool,
) -> None:
    """One face, in place; photo and out (3, H, W), mask (H, W), restored (3, S, S).

    `toned`: only its brightness changes.
    """
    size = restored.shape[-1]
    to_crop = face.transform(resized, size)
    crop = extract(image, to_crop, size)
    change, factors = shrunk(restored.to(crop) - settings.grain * crop, zoom_of(to_crop))
    to_change = rescaled(to_crop, (1.0, 1.0), factors)
    to_head = face.transform(resized, CROP)
    near = [o.transform(resized, CROP) for o in others if _near(face, o, settings.feather)]
    for top, left, height, width in _blocks(window_of(to_crop, size, image.shape[1:])):
        here = (slice(top, top + height), slice(left, left + width))
        block = (top, left, height, width, image.device)
        part = image[:, here[0], here[1]]
        update = sample(change, coordinates(to_change, *block))
        update -= (1 - settings.grain) * part
        if toned:
            update = brightness(update)
        soft = face_mask(
            coordinates(to_head, *block), (coordinates(o, *block) for o in near), settings.feather
        )
        # A photo may lie a little outside of 0 to 1, and stays so where nothing changes.
        changed = torch.addcmul(part, update, soft).clamp(part.clamp(max=0), part.clamp(min=1))
        target = out[:, here[0], here[1]]
        target.copy_(torch.where(soft > 0, changed, target))
        mask[here] += soft


def _near(face: CropFace, other: CropFace, feather: float) -> bool:
    """Whether another head may bound the face's mask; most faces of a group do not."""
    middles = [(face.outline()[0] + face.outline()[2]) / 2 for face in (face, other)]
    reach = HEAD_AXES[1] * (REACH / face.zoom + (REACH + feather) / other.zoom)
    # The head's middle lies two pixels below the crop's.
    return float(((middles[0] - middles[1]) ** 2).sum() ** 0.5) < reach + 4 / face.zoom


def _blocks(window: tuple[int, int, int, int] | None) -> Iterator[tuple[int, int, int, int]]:
    """Top, left, height, width of strips that cover a window (top, left, bottom, right)."""
    if window is None:
        return
    top, left, bottom, right = window
    rows = max(1, BLOCK // (right - left))
    for start in range(top, bottom, rows):
        yield start, left, min(rows, bottom - start), right - left
