"""What kind of picture a file is, by its first bytes; its name may say anything."""

from __future__ import annotations

from pathlib import Path

HEAD = 64
"""Bytes that tell a kind."""
JPEG, PNG, TIFF, JPEG2000 = "JPEG", "PNG", "TIFF", "JPEG 2000"
HEIF, AVIF, JPEG_XL, WEBP = "HEIF", "AVIF", "JPEG XL", "WebP"
BMP, GIF, PNM, RAW = "BMP", "GIF", "PNM", "camera raw"
STARTS = {
    b"\xff\xd8\xff": JPEG,
    b"\x89PNG\r\n\x1a\n": PNG,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,  # BigTIFF
    b"MM\0+": TIFF,
    b"\0\0\0\x0cjP  \r\n\x87\n": JPEG2000,
    b"\xff\x4f\xff\x51": JPEG2000,  # a bare codestream
    b"\0\0\0\x0cJXL \r\n\x87\n": JPEG_XL,
    b"\xff\x0a": JPEG_XL,  # a bare codestream
    b"BM": BMP,
    b"GIF8": GIF,
    **{b"P%d" % number: PNM for number in (1, 2, 3, 4, 5, 6)},
}
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
SUFFIXES = {
    AVIF: (".avif",),
    BMP: (".bmp", ".dib"),
    GIF: (".gif",),
    HEIF: (".heic", ".heif", ".hif"),
    JPEG: (".jpg", ".jpeg", ".jpe", ".jfif"),
    JPEG2000: (".jp2", ".j2k", ".j2c", ".jpf", ".jpx"),
    JPEG_XL: (".jxl",),
    PNG: (".png",),
    PNM: (".pnm", ".pgm", ".pbm", ".ppm"),
    RAW: (".dng",),
    TIFF: (".tif", ".tiff"),
    WEBP: (".webp",),
}
"""Endings of names by kind, the usual one first."""

INSTEAD = {
    AVIF: PNG,
    GIF: PNG,
    HEIF: PNG,
    JPEG_XL: PNG,
    RAW: TIFF,
}
"""Kinds that are written as another, for their coders would lose again, or keep too little."""
FORMATS = {
    "jpeg": JPEG,
    "jp2": JPEG2000,
    "png": PNG,
    "tiff": TIFF,
    "webp": WEBP,
}
"""What a user may choose."""


def own_kind(kind: str) -> str:
    """What a restored photo of a kind is written as."""
    return INSTEAD.get(kind, kind)


def result_suffix(photo: Path, kind: str | None = None) -> str:
    """The ending of the file that a photo's result gets: the photo's own where it fits.

    Args:
        kind: of the result; None for `own_kind`. A photo of no known kind, which cannot be
            restored, is taken for PNG.
    """
    if kind is None:
        try:
            kind = own_kind(kind_of(photo) or PNG)
        except OSError:
            kind = PNG
    suffixes = SUFFIXES[kind]
    return photo.suffix if photo.suffix.lower() in suffixes else suffixes[0]


def kind_of(path: Path) -> str | None:
    """The kind of a file that can be opened; None if it is no picture of a kind known here.

    A camera's raw file that is built as TIFF is a TIFF here; `tiff` tells them apart.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[:4] == b"RIFF":
        return WEBP if head[8:12] == b"WEBP" else None
    if head[4:8] == b"ftyp":  # ISO base media: one brand that counts, then those that fit, too
        size = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))}
        if brands & AVIF_BRANDS:
            return AVIF
        return HEIF if brands & HEIF_BRANDS else None
    return next((kind for start, kind in STARTS.items() if head.startswith(start)), None)
