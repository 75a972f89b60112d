"""Fonts for labels: the one shipped here, then those of the system.

`DejaVuSans-subset.ttf` has the letters of Latin, Greek and Cyrillic writing (DejaVu Sans 2.37,
licence beside it, unhinted). Chinese, Japanese and Korean would take megabytes: most systems have a
font with them.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

SHIPPED = str(Path(__file__).with_name("DejaVuSans-subset.ttf"))
SYSTEM = (
    # Linux
    "NotoSansCJK-Regular.ttc",
    "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "NanumGothic.ttf",
    "DejaVuSans.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    # Windows
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "segoeui.ttf",
    "Nirmala.ttc",
    "LeelawUI.ttf",
    # macOS
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf",
)
"""Looked for by Pillow in the system's folders of fonts; the first that has a letter counts."""
NOWHERE = "\U0010ffff"
"""No character, so every font shows its sign for what it lacks."""


def drawable(text: str, size: float) -> list[tuple[str, FreeTypeFont]]:
    """`text` in parts, each with a font that has its letters.

    What no font has is written as far as ASCII goes (half width, without ligatures), else as its
    escape, such as `\\u674e`.
    """
    letters: list[tuple[str, str]] = []
    for letter in unicodedata.normalize("NFC", text):
        # Blanks and signs stay with the word before them, whose writing may run to the left.
        if letters and not letter.isalnum() and _has(letters[-1][1], letter):
            letters.append((letter, letters[-1][1]))
        elif font := _font_with(letter):
            letters.append((letter, font))
        else:
            letters += [(sign, SHIPPED) for sign in _spelled(letter)]
    runs = groupby(letters, key=itemgetter(1))
    return [("".join(letter for letter, _ in run), _open(font, size)) for font, run in runs]


def _spelled(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter)
    return plain if plain.isascii() and plain.isprintable() else ascii(letter)[1:-1]


@lru_cache(maxsize=4096)
def _font_with(letter: str) -> str | None:
    """The file of the first font that has it."""
    paths = (path for name in (SHIPPED, *SYSTEM) if (path := _find(name)))
    return next((path for path in paths if _has(path, letter)), None)


@lru_cache
def _find(name: str) -> str | None:
    from PIL import ImageFont

    try:
        return str(ImageFont.truetype(name).path)
    except OSError:  # it is not there
        return None


@lru_cache(maxsize=64)
def _open(path: str, size: float) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(path, size)


def _has(path: str, letter: str) -> bool:
    font = _open(path, 16)
    masks: list[Any] = [font.getmask(sign) for sign in (letter, NOWHERE)]
    return bytes(masks[0]) != bytes(masks[1])
