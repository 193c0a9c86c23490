# SPDX-License-Identifier: MIT
"""Text that several headers hold: places of files, and angles of one width whatever the frame."""

from __future__ import annotations

import math

from fastlegacy.errors import LayoutError
from fastlegacy.model import StackFacts

__all__ = ["angle_text", "printable"]

_ANGLE_WIDTH = 20


def angle_text(angle_deg: float, facts: StackFacts, frame: int, key: str) -> str:
    """Return an angle in degrees with 8 decimals, padded with spaces to 20 characters.

    Raises
    ------
    LayoutError
        If it takes more characters, or is no number; `key` is the header's word for it.
    """
    text = f"{angle_deg:<{_ANGLE_WIDTH}.8f}"
    if not math.isfinite(angle_deg) or len(text) > _ANGLE_WIDTH:
        raise LayoutError(
            f"the angle {angle_deg} degrees does not fit into the {_ANGLE_WIDTH} characters of {key}",
            file=facts.url,
            frame=frame,
            hint="check start angle and step angle",
        )
    return text


def printable(text: str, forbidden: str = "") -> str:
    """Return the text in printable ASCII: all else, `%` and `forbidden` as percent escapes of their UTF-8 bytes."""
    if text.isascii() and text.isprintable() and not any(char in text for char in f"%{forbidden}"):
        return text
    # file names that are not UTF-8 come from the system as lone surrogates
    data = text.encode("utf-8", "surrogateescape")
    kept = (chr(byte) if 32 <= byte < 127 and chr(byte) not in f"%{forbidden}" else f"%{byte:02X}" for byte in data)
    return "".join(kept)
