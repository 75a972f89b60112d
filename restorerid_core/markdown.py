"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence


def to_markdown(header: Sequence[str], cells: Sequence[Sequence[str]], words: int) -> str:
    """Columns to the right but for the first, `words` of them."""
    numbers = len(header) - words
    rows = [list(map(markdown_text, row)) for row in (header, *cells)]
    lines = [rows[0], ["---"] * words + ["---:"] * numbers, *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def markdown_text(text: str) -> str:
    """Text for one line of Markdown, such as a file's name, that cannot be taken for its signs."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text)
