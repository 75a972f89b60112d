"""Names of people, as users type them and files are called."""

from __future__ import annotations

import unicodedata

BLIND, LEAVE = "blind", "leave"
"""What is said instead of a name: restore without a reference, or do not touch."""


def tidy_name(text: str) -> str:
    """A name in composed form (file names of Macs are decomposed) and with single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def name_key(text: str) -> str:
    """Equal for the spellings of one name: upper or lower case, composed or not, any blanks."""
    return unicodedata.normalize("NFC", tidy_name(text).casefold())
