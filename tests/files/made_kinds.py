"""Every kind of file: how it is made, and who reads it, too."""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import numpy as np
from file_makers import (
    DEEP,
    EIGHT,
    GREY,
    PALE,
    Maker,
    by_pillow,
    cmyk,
    coded,
    colour_tiff,
    grey_tiff,
    heif,
    lab,
    linear,
    pages,
    palette_tiff,
    photo_inside,
    reduced_first,
    several_jpegs,
    tiff,
    ultra_hdr,
    unit,
    with_alpha,
)
from PIL import Image

HALF_STEP = 0.51 / 255
EXACT = 2e-7


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Args:
        make: see above.
        suffix: of its name.
        within: largest difference from the picture.
        second: who reads it, too: "ffmpeg", "opencv", "pillow"; None where only its maker knows it.
        apart: how far the second reader may be away, which keeps fewer bits or scales them roughly.
    """

    make: Maker
    suffix: str = ".tif"
    within: float = EXACT
    second: str | None = "ffmpeg"
    apart: float = 1e-6


BITS = GREY > 32767
FINE = {"compressionargs": {"level": 98}}
TIFFS: dict[str, Kind] = {
    "grey 1": Kind(tiff(BITS, unit(BITS, 1), photometric="minisblack"), second="pillow"),
    "grey 1 negative": Kind(tiff(BITS, unit(~BITS, 1), photometric="miniswhite"), second="pillow"),
    "grey 1 G4": Kind(
        by_pillow(Image.fromarray(BITS), unit(BITS, 1), compression="group4"), second="opencv"
    ),
    "grey 8": Kind(grey_tiff(EIGHT[..., 0], 255)),
    "grey 8 negative": Kind(grey_tiff(EIGHT[..., 0], 255, True)),
    "grey 10": Kind(grey_tiff(GREY >> 6, 1023, bitspersample=10), second=None),
    "grey 12": Kind(grey_tiff(GREY >> 4, 4095, bitspersample=12)),
    "grey 14": Kind(grey_tiff(GREY >> 2, 16383, bitspersample=14), second=None),
    "grey 16": Kind(grey_tiff(GREY, 65535)),
    "grey 16 negative": Kind(grey_tiff(GREY, 65535, True)),
    "grey int 8": Kind(grey_tiff((EIGHT[..., 0] >> 1).astype(np.int8), 127), second=None),
    "grey int 16": Kind(grey_tiff((GREY >> 1).astype(np.int16), 32767), second="opencv"),
    "grey half": Kind(grey_tiff((GREY / 65535).astype(np.float16), 1), second=None),
    "grey single": Kind(grey_tiff((GREY / 65535).astype(np.float32), 1), second="opencv"),
    "grey single negative": Kind(
        grey_tiff((GREY / 65535).astype(np.float32), 1, True), second=None
    ),
    "grey double": Kind(grey_tiff(GREY / 65535, 1), second="opencv"),
    "RGB 8": Kind(colour_tiff(EIGHT, 255)),
    "RGB 8 planar": Kind(colour_tiff(EIGHT, 255, planarconfig="separate")),
    "RGB 12": Kind(colour_tiff(DEEP >> 4, 4095, bitspersample=12), second=None),
    "RGB 16": Kind(colour_tiff(DEEP, 65535)),
    "RGB 16 planar": Kind(colour_tiff(DEEP, 65535, planarconfig="separate")),
    "RGB 16 strips LZW big-endian": Kind(
        colour_tiff(DEEP, 65535, rowsperstrip=7, compression="lzw", byteorder=">")
    ),
    "RGB 16 tiles Deflate": Kind(
        colour_tiff(DEEP, 65535, tile=(16, 16), compression="deflate", predictor=True),
        second="opencv",
    ),
    "RGB 16 tiles ZSTD": Kind(
        colour_tiff(DEEP, 65535, tile=(16, 16), compression="zstd"), second=None
    ),
    "RGB 16 planar tiles LZW": Kind(
        colour_tiff(DEEP, 65535, tile=(16, 16), planarconfig="separate", compression="lzw"),
        second=None,
    ),
    "RGB 16 BigTIFF": Kind(colour_tiff(DEEP, 65535, bigtiff=True), second="opencv"),
    "RGB single": Kind(colour_tiff((DEEP / 65535).astype(np.float32), 1), second="opencv"),
    "RGB 8 JPEG": Kind(
        tiff(PALE, unit(PALE, 255), photometric="rgb", compression="jpeg", **FINE),
        within=6 / 255,
        second="pillow",
    ),
    "YCbCr 8 JPEG": Kind(
        by_pillow(Image.fromarray(PALE), unit(PALE, 255), compression="jpeg", quality=98),
        within=6 / 255,
        second="pillow",
    ),
    "YCbCr 8": Kind(
        by_pillow(Image.fromarray(PALE).convert("YCbCr"), unit(PALE, 255)),
        within=3.01 / 255,
        second="pillow",
    ),
    "RGB 8 alpha straight": Kind(with_alpha(EIGHT, 255, False), within=HALF_STEP, second="pillow"),
    "RGB 8 alpha associated": Kind(with_alpha(EIGHT, 255, True), within=HALF_STEP, second=None),
    "RGB 16 alpha straight": Kind(with_alpha(DEEP, 65535, False), second=None),
    "RGB 16 alpha associated": Kind(with_alpha(DEEP, 65535, True), within=1e-5, second=None),
    "RGB 16 infrared": Kind(
        colour_tiff(np.dstack([DEEP, GREY[::-1]]), 65535, extrasamples=["unspecified"]),
        second=None,
    ),
    "grey 16 infrared": Kind(
        tiff(
            np.dstack([GREY, GREY[::-1]]),
            unit(GREY, 65535),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unspecified"],
        ),
        second=None,
    ),
    "palette 8": Kind(
        by_pillow(
            Image.fromarray(EIGHT).quantize(64),
            unit(np.asarray(Image.fromarray(EIGHT).quantize(64).convert("RGB")), 255),
        ),
        second="pillow",
    ),
    "palette 16": Kind(palette_tiff, second=None),
    "CMYK 8": Kind(cmyk(8), within=HALF_STEP, second="pillow"),
    "CMYK 16": Kind(cmyk(16), second=None),
    "LAB 8": Kind(lab(np.uint8), within=2e-3, second=None),
    "LAB 16": Kind(lab(np.uint16), within=2e-3, second=None),
    "several pages": Kind(pages, second=None),
    "reduced copy first": Kind(reduced_first, second=None),
    "reduced copy, photo inside": Kind(photo_inside, second=None),
}
J2K = {"level": 0, "reversible": True}
CODED: dict[str, Kind] = {
    **{
        f"JPEG 2000 {name} {bits}": Kind(
            coded(
                imagecodecs.jpeg2k_encode,
                samples >> (16 - bits) if bits > 8 else (samples >> 8).astype(np.uint8),
                2**bits - 1,
                codecformat=form,
                bitspersample=bits,
                **J2K,
            ),
            f".{form}",
            apart=0 if bits in (8, 16) else 2.0**-bits,
        )
        for bits in (8, 10, 12, 14, 16)
        for name, samples, form in (("grey", GREY, "j2k"), ("RGB", DEEP, "jp2"))
    },
    **{
        f"JPEG XL RGB {bits}": Kind(
            linear(DEEP >> (16 - bits), 2**bits - 1, bitspersample=bits),
            ".jxl",
            within=1e-3,
            second=None,
        )
        for bits in (10, 12, 16)
    },
    "JPEG XL RGB 8": Kind(
        coded(imagecodecs.jpegxl_encode, EIGHT, 255, lossless=True), ".jxl", second=None
    ),
    "JPEG XL grey 16": Kind(linear(GREY, 65535), ".jxl", within=1e-3, second=None),
    "JPEG XL single": Kind(
        linear((DEEP / 65535).astype(np.float32), 1), ".jxl", within=1e-3, second=None
    ),
    "HEIF 8": Kind(heif(EIGHT, "RGB", 8), ".heic"),
    "HEIF 10": Kind(heif(DEEP, "RGB;16", 10), ".heic"),
    "AVIF 8": Kind(coded(imagecodecs.avif_encode, EIGHT, 255, level=100), ".avif"),
    "AVIF 10": Kind(
        coded(imagecodecs.avif_encode, DEEP >> 6, 1023, level=100, bitspersample=10), ".avif"
    ),
    "AVIF 12": Kind(
        coded(imagecodecs.avif_encode, DEEP >> 4, 4095, level=100, bitspersample=12), ".avif"
    ),
    "WebP": Kind(
        by_pillow(Image.fromarray(EIGHT), unit(EIGHT, 255), lossless=True), ".webp", second="opencv"
    ),
    "PNG grey 1": Kind(by_pillow(Image.fromarray(BITS), unit(BITS, 1)), ".png", second="opencv"),
    "PNG RGB 8": Kind(by_pillow(Image.fromarray(EIGHT), unit(EIGHT, 255)), ".png"),
    "PNG grey 16": Kind(coded(imagecodecs.png_encode, GREY, 65535), ".png"),
    "PNG RGB 16": Kind(coded(imagecodecs.png_encode, DEEP, 65535), ".png"),
    "PPM 8": Kind(by_pillow(Image.fromarray(EIGHT), unit(EIGHT, 255)), ".ppm"),
    "BMP": Kind(by_pillow(Image.fromarray(EIGHT), unit(EIGHT, 255)), ".bmp", second="opencv"),
    "JPEG": Kind(
        by_pillow(Image.fromarray(PALE), unit(PALE, 255), quality=98, subsampling=0),
        ".jpg",
        within=4 / 255,
        second="opencv",
    ),
    "JPEG several (MPO)": Kind(several_jpegs, ".jpg", within=4 / 255, second="opencv"),
    "JPEG Ultra HDR": Kind(ultra_hdr, ".jpg", within=2 / 255, second=None),
}
KINDS = {**{f"TIFF {name}": kind for name, kind in TIFFS.items()}, **CODED}
