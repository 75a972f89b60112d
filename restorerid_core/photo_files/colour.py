"""Between the colours of a photo's file and sRGB, which networks and screens are made for.

Profiles are applied by LittleCMS at 16 bits, relative colorimetric with black point compensation,
as image editors do. A photo without a profile is taken for sRGB; grey for grey of sRGB's curve;
CMYK for inks that each take their part of the light.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .photo import FULL, Alpha, Photo, Space

log = logging.getLogger(__name__)

STRIP = 2**20
"""Pixels converted at a time, which keeps what is needed beside the photo itself small."""
SIGNATURES = {b"GRAY": Space.GREY, b"RGB ": Space.RGB, b"CMYK": Space.CMYK}
"""Of the colours that a profile is for, at `SIGNATURE_AT` in it."""
SIGNATURE_AT = slice(16, 20)
NAMES = {Space.GREY: "gray", Space.RGB: "rgb", Space.CMYK: "cmyk", Space.LAB: "lab"}
"""As LittleCMS's wrapper calls them."""
RELATIVE_COLORIMETRIC, BLACK_POINT_COMPENSATION, NO_OPTIMIZATION = 1, 0x2000, 0x0100
"""Intent and flags of LittleCMS. Its optimized conversions of 16 bits are off by up to 20 of 255;
those of RGB of 8 bits by a third of one."""
SAME = FULL / 255 / 2
"""Largest change, of `FULL`, of a profile that is sRGB: half a step of 8 bits."""
LAB_ZERO = np.array((0, 128, 128), np.float32)
LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""Brightness of R'G'B' (BT.601); grey is its own."""


def strips(photo: Photo) -> Iterator[slice]:
    """Rows of the photo, of about `STRIP` pixels at a time."""
    height, width = photo.samples.shape[:2]
    rows = max(1, STRIP // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


class Colours:
    """Converts the colours of one photo, to sRGB and back.

    Args:
        photo: whose samples they are.
        name: of its file, for warnings.
    """

    def __init__(self, photo: Photo, name: str = "the photo"):
        self.photo = photo
        self.channels = photo.space.channels
        self._profile = _usable(photo, name)
        profile = self._profile
        # Where they differ, the photo is grey, and the profile of RGB.
        self._profiled = SIGNATURES[profile[SIGNATURE_AT]] if profile else photo.space

    @cached_property
    def is_two_way(self) -> bool:
        """False where the profile leads to sRGB alone, as scanners' do."""
        return self._profile is None or _converts(_srgb(), self._profile)

    def seen(self, rows: slice) -> tuple[np.ndarray, bool]:
        """Some rows as they look on white, (H, W, 3) float32 sRGB; and whether all is opaque."""
        photo = self.photo
        samples = photo.samples[rows]
        colours = samples[..., : self.channels]
        if photo.alpha is None:
            return self.to_srgb(colours), True
        alpha = samples[..., photo.alpha_at, None]
        if (alpha == photo.white).all():
            return self.to_srgb(colours), True
        opacity = np.divide(alpha, photo.white, dtype=np.float32)
        if photo.alpha is Alpha.PREMULTIPLIED:
            straight = np.minimum(colours / np.maximum(opacity, np.float32(1e-6)), photo.white)
            exact = colours.dtype.kind == "f"
            colours = (straight if exact else np.rint(straight)).astype(colours.dtype)
        return self.to_srgb(colours) * opacity + (1 - opacity), False

    def to_srgb(self, colours: np.ndarray) -> np.ndarray:
        """(H, W, C) samples -> (H, W, 3) float32 in [0, 1]."""
        if self.photo.space is Space.LAB:
            return np.clip(_apply(_lab(colours), _lab_profile(), _srgb(), "lab", "rgb"), 0, 1)
        unit = colours if self._is_plain(colours) and self._profile else self._to_unit(colours)
        if self._profile is None:
            return _cmyk_to_rgb(unit) if self.photo.space is Space.CMYK else _three(unit)
        if self._profiled is Space.RGB:
            unit = _three(unit)
        full = unit if unit.dtype == np.uint8 else _full(unit)
        name = NAMES[self._profiled]
        return _apply(full, self._profile, _srgb(), name, "rgb", "u2") / np.float32(FULL)

    def from_srgb(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 in [0, 1] -> (H, W, C) samples; grey is the brightness of them."""
        space = self.photo.space
        if space is Space.LAB:
            lab = _apply(np.ascontiguousarray(rgb), _srgb(), _lab_profile(), "rgb", "lab", "f4")
            return _from_lab(lab, self.photo.samples.dtype)
        if self._profile is None:
            unit = _rgb_to_cmyk(rgb) if space is Space.CMYK else rgb
        else:
            full = _full(rgb)
            name = NAMES[self._profiled]
            unit = _apply(full, _srgb(), self._profile, "rgb", name, "u2") / np.float32(FULL)
        if space is Space.GREY and unit.shape[-1] == 3:
            unit = (unit @ LUMA)[..., None]
        return self._from_unit(unit)

    def _is_plain(self, colours: np.ndarray) -> bool:
        return colours.dtype == np.uint8 and self.photo.white == 255 and not self.photo.negative

    def _to_unit(self, colours: np.ndarray) -> np.ndarray:
        unit = np.divide(colours, self.photo.white, dtype=np.float32)
        if colours.dtype.kind == "f":  # lossy coding overshoots
            unit = np.clip(unit, 0, 1)
        return 1 - unit if self.photo.negative else unit

    def _from_unit(self, unit: np.ndarray) -> np.ndarray:
        unit = np.clip(unit, 0, 1)
        unit = 1 - unit if self.photo.negative else unit
        dtype = self.photo.samples.dtype
        if dtype.kind == "f":
            return unit.astype(dtype)
        return np.rint(unit * np.float32(self.photo.white)).astype(dtype)


def _usable(photo: Photo, name: str) -> bytes | None:
    """The photo's profile; None where it is for other colours, damaged, or sRGB's own."""
    profile = photo.profile
    if profile is None or photo.space is Space.LAB:
        return None
    space = SIGNATURES.get(profile[SIGNATURE_AT])
    # Grey photos often carry the RGB profile of the program that made them.
    fits = space is photo.space or (space is Space.RGB and photo.space is Space.GREY)
    if space is not None and fits and _converts(profile, _srgb()):
        return None if space is Space.RGB and _is_srgb(profile) else profile
    log.warning(
        "the colour profile of '%s' is damaged, or not for %s, and is ignored",
        name,
        photo.space.value,
    )
    return None


def _converts(of: bytes, to: bytes) -> bool:
    """Whether there is a conversion: from a damaged profile, or to a scanner's, there is none."""
    name, to_name = (NAMES[SIGNATURES[profile[SIGNATURE_AT]]] for profile in (of, to))
    channels = SIGNATURES[of[SIGNATURE_AT]].channels
    try:
        _apply(np.zeros((1, 1, channels), np.uint16), of, to, name, to_name, "u2")
    except Exception:  # LittleCMS raises nearly anything
        return False
    return True


def _full(unit: np.ndarray) -> np.ndarray:
    return np.rint(unit * FULL).astype(np.uint16)


def _is_srgb(profile: bytes) -> bool:
    steps = np.linspace(0, FULL, 9).round().astype(np.uint16)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    seen = _apply(cube, profile, _srgb(), "rgb", "rgb", "u2")
    return bool(np.abs(seen.astype(int) - cube).max() <= SAME)


def _apply(
    pixels: np.ndarray, of: bytes, to: bytes, space: str, to_space: str, dtype: str = "f4"
) -> np.ndarray:
    """(H, W, C) in the space of one profile -> (H, W, D) in that of the other."""
    from imagecodecs import cms_transform

    pixels = np.ascontiguousarray(pixels)
    flags = BLACK_POINT_COMPENSATION
    if pixels.dtype != np.uint8 or space != "rgb":
        flags |= NO_OPTIMIZATION
    made = cms_transform(
        pixels[..., 0] if space == "gray" else pixels,
        of,
        to,
        colorspace=space,
        outcolorspace=to_space,
        outdtype=dtype,
        intent=RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    return made.reshape(*pixels.shape[:2], -1)


def _srgb() -> bytes:
    from imagecodecs import cms_profile

    return cms_profile("srgb")


def _lab_profile() -> bytes:
    from PIL.ImageCms import ImageCmsProfile, createProfile

    return ImageCmsProfile(createProfile("LAB")).tobytes()


def _three(unit: np.ndarray) -> np.ndarray:
    return np.repeat(unit, 3, axis=-1) if unit.shape[-1] == 1 else unit


def _lab(samples: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: L* 0 to 100, a* and b* from -128."""
    return samples * _lab_step(samples.dtype) - LAB_ZERO


def _from_lab(lab: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    samples = np.rint((lab + LAB_ZERO) / _lab_step(dtype))
    return np.clip(samples, 0, np.iinfo(dtype).max).astype(dtype)


def _lab_step(dtype: np.dtype[Any]) -> np.ndarray:
    step = 1 if dtype == np.uint8 else 1 / 256
    return np.array((100 / np.iinfo(dtype).max, step, step), np.float32)


def _cmyk_to_rgb(inks: np.ndarray) -> np.ndarray:
    return (1 - inks[..., :3]) * (1 - inks[..., 3:])


def _rgb_to_cmyk(rgb: np.ndarray) -> np.ndarray:
    """With as much black as there can be."""
    most = rgb.max(-1, keepdims=True)
    inks = np.where(most > 0, 1 - rgb / np.maximum(most, np.finfo(np.float32).tiny), 0)
    return np.concatenate([inks, 1 - most], -1)
