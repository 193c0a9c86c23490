# SPDX-License-Identifier: MIT
"""Bruker frames (FORMAT 100): a header of 80-character lines, one byte for each pixel, and tables of larger ones.

Read by fabio and DIALS; not tested with Bruker's own programs (APEX, SAINT). DIALS 3.12 takes the detector
``CMOS-PHOTONII`` only, later releases ``EIGER`` too, see the option ``dettype``. The format is that of fabio's
"bruker100" and of dxtbx's readers, which agree on what is here:

* the image, one byte for each pixel, without padding; 255 says that the pixel is in the next table;
* the pixels of 255 and more, in their order, as u16; 65535 says that the pixel is in the next table;
* the pixels of 65535 and more, in their order, as i32, up to 2147483647.

Each table is filled with zeros to a multiple of 16 bytes, and missing where it is empty. The header counts the entries
in ``NOVERFL``, whose first number is -1: there is neither a table of underflows nor a baseline. So no pixel is
negative, and there is no value for "not measured": gaps and bad pixels become 0, negative ones too.

The size of a file depends on its pixels. See ``_sfrm_header.py`` for the geometry.
"""

from __future__ import annotations

from types import MappingProxyType

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.layouts._pixels import counts
from fastlegacy.layouts._settings import WANTS
from fastlegacy.layouts._sfrm_header import header
from fastlegacy.model import CodedPixels, Layout, Literal, Option, Piece, StackFacts
from fastlegacy.pixels import Code, Coded

__all__ = ["LAYOUT", "SfrmLayout"]

_HIGHEST = 2**31 - 1


class SfrmLayout(Layout):
    """See the module."""

    name = "sfrm"
    suffix = ".sfrm"
    summary = "Bruker frame, FORMAT 100"
    readers = ("fabio", "DIALS")
    dtypes = ALL_DTYPES
    encoded = True
    wants = (*WANTS, "saturation_counts")
    uses = ("period_s", "run", "title", "start_time")
    options = MappingProxyType(
        {"dettype": Option("EIGER", "first word of DETTYPE, by which DIALS chooses a detector (EIGER, CMOS-PHOTONII)")}
    )

    def code(self, facts: StackFacts) -> Code:
        """Return the codec of the bodies: no pixel is negative.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, or the user wants negative ones.
        """
        require_dtype(facts, self.name, self.dtypes)
        if facts.policy.saturate == "keep":
            raise LayoutError(
                "Bruker frames have no negative pixels, which 'saturate keep' can make",
                file=facts.url,
                hint="choose 'clip' or 'error'",
            )
        form = counts(facts, "<i4", gap=0, bad=0, low=0, high=_HIGHEST)
        if form.gap is not None and form.gap < 0:
            raise LayoutError(
                f"Bruker frames have no negative pixels, and the mask value is {form.gap}",
                file=facts.url,
                hint="choose 0 or a positive one",
            )
        return Code("bruker100", form)

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and encoded pixels of a frame, of which `coded` tells size and number of overflows.

        Raises
        ------
        LayoutError
            If the format cannot hold this stack.
        ValueError
            If the frame was not measured.
        """
        code = self.code(facts)
        require_frame(facts, index)
        if coded is None:
            raise TypeError(f"frame {index} was not measured, and the size of a Bruker frame depends on its pixels")
        return Literal(header(facts, index, coded)), CodedPixels(index, code, coded.size)


LAYOUT = SfrmLayout()
