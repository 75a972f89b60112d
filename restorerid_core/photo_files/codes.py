"""Colour spaces that files name by codes (ITU-T H.273), where they have no profile."""

from __future__ import annotations

import numpy as np

from .photo import UnreadableError

D65 = (0.3127, 0.3290)
PRIMARIES = {
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3, with the white of D65 where it is met
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
"""x and y of red, green and blue, where they are not sRGB's."""
STANDARD = {0, 1, 2, 4, 5, 6, 7, 13, 14, 15}
"""Transfers of standard dynamic range, all of them nearly sRGB's on screens."""
HDR = {16: "PQ", 18: "HLG"}


def profile_of_codes(primaries: int, transfer: int) -> bytes | None:
    """The profile that codes stand for; None for sRGB's, and for none that is told (2).

    Raises:
        UnreadableError: high dynamic range, or another curve that is not a screen's.
    """
    if transfer in HDR:
        raise UnreadableError(
            f"is a picture of high dynamic range ({HDR[transfer]}), which is not read: export it "
            "for standard screens, in sRGB or Display P3"
        )
    if transfer not in STANDARD:
        raise UnreadableError(
            f"has a curve of brightness of a rare kind (code {transfer}), which is not read: "
            "export it in sRGB"
        )
    if primaries not in PRIMARIES:
        return None
    from imagecodecs import cms_profile

    steps = np.linspace(0, 1, 4096)
    curve = np.where(steps > 0.04045, ((steps + 0.055) / 1.055) ** 2.4, steps / 12.92)
    return cms_profile(
        "rgb",
        primaries=PRIMARIES[primaries],
        whitepoint=D65,
        transferfunction=curve.astype(np.float32),
    )
