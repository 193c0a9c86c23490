# SPDX-License-Identifier: MIT
"""GE, the files of General Electric's flat panels at the APS: 8192 bytes of header, then all frames of the stack.

Read by fabio, hexrd and MIDAS; tested with fabio. The header begins with ``ADEPT``; its numbers are where those of the
header "version 8001" are, which fabio's reader lists: sizes as unsigned 16-bit numbers, so there are at most 65535
frames of at most 65535 x 65535 pixels. It has no room for wavelength, distance or angles. Pixels are unsigned 16-bit
numbers, little endian: those above 65535 become 65535, gaps and bad ones 0.
"""

from __future__ import annotations

import struct

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_only_file
from fastlegacy.layouts._moments import moment
from fastlegacy.layouts._pixels import counts
from fastlegacy.layouts._text import printable
from fastlegacy.layouts._words import HIGHEST
from fastlegacy.model import Layout, Literal, Piece, Pixels, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["HEADER_BYTES", "LAYOUT", "GeLayout"]

HEADER_BYTES = 8192
_VERSION = 8001
_MOST = 2**16 - 1
_LONGEST_S = 1e35


class GeLayout(Layout):
    """See the module."""

    name = "ge"
    suffix = ".ge"
    per_frame = False
    summary = "GE flat panel, 16 bits, one file for the whole stack"
    readers = ("fabio", "hexrd", "MIDAS")
    dtypes = ALL_DTYPES
    wants = ("exposure_s",)
    uses = ("title", "start_time")

    def pieces(self, facts: StackFacts, index: int = 0, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of all frames.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, or there are more than 65535 frames, rows or columns.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_only_file(index)
        form = counts(facts, "<u2", gap=0, bad=0, high=HIGHEST)
        return Literal(_header(facts)), Pixels(0, facts.shape[0], form=form)


def _header(facts: StackFacts) -> bytes:
    for number, what in zip(facts.shape, ("frames", "rows", "columns"), strict=True):
        if number > _MOST:
            raise LayoutError(
                f"GE files have at most {_MOST} {what}, and here are {number}",
                file=facts.url,
                hint="use a format without that limit, such as npy-stack",
            )
    out = bytearray(HEADER_BYTES)
    out[:5] = b"ADEPT"
    # version and size of the header, of a second header that is not there, then frames, rows, columns, bits
    struct.pack_into("<HIHI4H", out, 10, _VERSION, HEADER_BYTES, 0, 0, *facts.shape, 16)
    time = moment(facts, 0)
    _text(out, 30, 20, f"{time:%Y-%m-%d}")
    _text(out, 50, 20, f"{time:%H:%M:%S}")
    _text(out, 220, 40, facts.geometry.title or "")
    struct.pack_into("<2H", out, 280, *facts.shape[1:])
    struct.pack_into("<f", out, 696, 1e3 * _exposure_s(facts))
    _text(out, 3132, 200, facts.url)
    return bytes(out)


def _exposure_s(facts: StackFacts) -> float:
    exposure_s = facts.geometry.exposure_s
    # the header has 32 bits for it, in milliseconds; 0 stands for what nobody said and for what they cannot hold
    return exposure_s if exposure_s is not None and abs(exposure_s) < _LONGEST_S else 0.0


def _text(out: bytearray, offset: int, size: int, text: str) -> None:
    data = printable(text).encode("ascii")[: size - 1]
    out[offset : offset + len(data)] = data


LAYOUT = GeLayout()
