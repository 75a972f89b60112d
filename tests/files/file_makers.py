"""Files of one kind each, made here: their samples are known, and what they look like.

A maker writes a file and returns the picture as (H, W, 3) in [0, 1], in sRGB.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms

HEIGHT, WIDTH = 48, 64
DEEP = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
EIGHT, GREY = (DEEP >> 8).astype(np.uint8), DEEP[..., 0].copy()
SMOOTH = np.stack(np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT)), -1)
PALE = np.dstack([SMOOTH, 255 - SMOOTH[..., 0]]).astype(np.uint8)
"""For kinds that lose detail."""

Maker = Callable[[Path], np.ndarray]


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


def unit(samples: np.ndarray, white: float) -> np.ndarray:
    picture = samples.astype(np.float64) / white
    return picture if picture.ndim == 3 else three(picture)


def tiff(samples: np.ndarray, picture: np.ndarray, **options: Any) -> Maker:
    def make(path: Path) -> np.ndarray:
        tifffile.imwrite(path, samples, **options)
        return picture

    return make


def grey_tiff(samples: np.ndarray, white: float, negative: bool = False, **options: Any) -> Maker:
    seen = white - samples.astype(np.float64) if negative else samples
    photometric = "miniswhite" if negative else "minisblack"
    return tiff(samples, unit(seen, white), photometric=photometric, **options)


def colour_tiff(samples: np.ndarray, white: float, **options: Any) -> Maker:
    stored = np.moveaxis(samples, -1, 0) if "planarconfig" in options else samples
    return tiff(stored, unit(samples[..., :3], white), photometric="rgb", **options)


def with_alpha(samples: np.ndarray, white: float, associated: bool) -> Maker:
    """A ramp of opacity, from left to right."""
    opacity = np.broadcast_to(np.linspace(0, 1, WIDTH)[None, :, None], (HEIGHT, WIDTH, 1))
    alpha = np.rint(opacity * white)
    colours = np.rint(samples * (alpha / white)) if associated else samples
    light = colours / white if associated else samples / white * (alpha / white)
    stored = np.dstack([colours, alpha]).astype(samples.dtype)
    sort = "assocalpha" if associated else "unassalpha"
    picture = light + (1 - alpha / white)
    return tiff(stored, picture, photometric="rgb", extrasamples=[sort])


def by_pillow(image: Image.Image, picture: np.ndarray, **options: Any) -> Maker:
    def make(path: Path) -> np.ndarray:
        image.save(path, **options)
        return picture

    return make


def coded(encode: Callable[..., Any], samples: np.ndarray, white: float, **options: Any) -> Maker:
    def make(path: Path) -> np.ndarray:
        path.write_bytes(encode(samples, **options))
        return unit(samples, white)

    return make


def heif(samples: np.ndarray, mode: str, depth: int) -> Maker:
    """Without any loss: no other colours, no fewer of them."""

    def make(path: Path) -> np.ndarray:
        kept = (samples >> (16 - depth)) if mode.endswith("16") else samples
        picture = pillow_heif.from_bytes(mode, (WIDTH, HEIGHT), samples.tobytes())
        picture.save(path, quality=-1, chroma=444, matrix_coefficients=0, bit_depth=depth)
        return unit(kept, 2**depth - 1)

    return make


def linear(samples: np.ndarray, white: float, **options: Any) -> Maker:
    """JPEG XL of more than 8 bits, which its writer takes for linear light and says so."""

    def make(path: Path) -> np.ndarray:
        path.write_bytes(imagecodecs.jpegxl_encode(samples, lossless=True, **options))
        return gamma(unit(samples, white))

    return make


def gamma(light: np.ndarray) -> np.ndarray:
    """sRGB's curve (IEC 61966-2-1)."""
    return np.where(light > 0.0031308, 1.055 * light.clip(0) ** (1 / 2.4) - 0.055, 12.92 * light)


def reduced_first(path: Path) -> np.ndarray:
    """The first page is a smaller copy, the second a mask, the third the photo."""
    with tifffile.TiffWriter(path) as file:
        file.write(EIGHT[::2, ::2], photometric="rgb", subfiletype=1)
        file.write(np.zeros((HEIGHT, WIDTH), bool), photometric="minisblack", subfiletype=4)
        file.write(EIGHT, photometric="rgb")
    return unit(EIGHT, 255)


def photo_inside(path: Path) -> np.ndarray:
    """As cameras and editors nest them: the copy is outside, the photo in its SubIFD."""
    with tifffile.TiffWriter(path) as file:
        file.write(EIGHT[::2, ::2], photometric="rgb", subfiletype=1, subifds=1)
        file.write(EIGHT, photometric="rgb", subfiletype=0)
    return unit(EIGHT, 255)


def pages(path: Path) -> np.ndarray:
    """The largest is the second; a third is as large."""
    with tifffile.TiffWriter(path) as file:
        file.write(EIGHT[:, ::2], photometric="rgb")
        file.write(EIGHT, photometric="rgb")
        file.write(255 - EIGHT, photometric="rgb")
    return unit(EIGHT, 255)


def several_jpegs(path: Path) -> np.ndarray:
    """MPO, as of stereo cameras and phones."""
    first, second = Image.fromarray(PALE), Image.fromarray(255 - PALE)
    first.save(path, "MPO", save_all=True, append_images=[second], quality=98, subsampling=0)
    return unit(PALE, 255)


def ultra_hdr(path: Path) -> np.ndarray:
    """A JPEG with a map of gains behind it; the base picture is what other readers see."""
    linear = np.dstack([(PALE / 255.0) ** 2.2, np.ones((HEIGHT, WIDTH))]).astype(np.float16)
    path.write_bytes(imagecodecs.ultrahdr_encode(linear, level=98))
    return by_littlecms(path)


def by_littlecms(path: Path) -> np.ndarray:
    """A JPEG with a profile, by Pillow at 8 bits."""
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        seen = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
    return unit(np.asarray(seen), 255)


def palette_tiff(path: Path) -> np.ndarray:
    """16 bits in the palette."""
    palette = np.random.default_rng(1).integers(0, 65536, (3, 256), np.uint16)
    indices = EIGHT[..., 0]
    tifffile.imwrite(path, indices, photometric="palette", colormap=palette)
    return unit(palette.T[indices], 65535)


def lab(dtype: type[np.unsignedinteger[Any]]) -> Maker:
    """L*, a* and b* of colours within sRGB, a* and b* signed."""

    def make(path: Path) -> np.ndarray:
        grid = np.indices((HEIGHT, WIDTH))
        lightness = 30 + grid[1] * 40.0 / WIDTH
        colours = np.stack([lightness, grid[0] / 2.0 - 12, 10 - grid[1] / 4.0], -1)
        top = np.iinfo(dtype).max
        steps = np.array((top / 100, *(2 * [1 if dtype is np.uint8 else 256])))
        samples = np.rint(colours * steps)
        signed = samples.astype(np.int32).astype(dtype)
        tifffile.imwrite(path, signed, photometric="cielab")
        return srgb_of_lab(samples / steps)

    return make


def srgb_of_lab(lab: np.ndarray) -> np.ndarray:
    """CIE 15 with the white of D50; Bradford's adaptation and the primaries of IEC 61966-2-1."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    cubes = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = cubes * (0.9642, 1, 0.8249)
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]  # from XYZ of D50
    return gamma(xyz @ np.array(matrix).T)


def cmyk(depth: int) -> Maker:
    inks = np.dstack([DEEP, DEEP[::-1, :, 0] // 2])
    samples = inks if depth == 16 else (inks >> 8).astype(np.uint8)
    white = 2**depth - 1
    picture = (1 - samples[..., :3] / white) * (1 - samples[..., 3:] / white)
    return tiff(samples, picture, photometric="separated")
