# SPDX-License-Identifier: MIT
"""MiniCBF as Dectris detectors write it: a text of comment lines, then signed 32-bit pixels as ``x-CBF_BYTE_OFFSET``.

Read by XDS, DIALS, MOSFLM, Albula, adxv, fabio and CBFlib. The format of the file and of its pixels is in the manual
of CBFlib, the comment lines are those of Pilatus headers (``_minicbf.py``).

Gaps are -1 and bad pixels -2; valid ones are kept where readers can follow (``_int32.py``). ``Beam_xy`` counts pixels
from the outer corner of the first pixel, whose centre is at 0.5. The bytes after the pixels are there for programs
that read blocks. With ``size=constant`` there are so many of them that all files of a stack have one size, which is
known before a frame is encoded: not tested with XDS and MOSFLM.
"""

from __future__ import annotations

from types import MappingProxyType

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.layouts._int32 import masked_counts
from fastlegacy.layouts._minicbf import CONVENTIONS, TAIL, convention, head
from fastlegacy.layouts._settings import WANTS
from fastlegacy.model import CodedPixels, Layout, Literal, Option, Padding, Piece, StackFacts
from fastlegacy.pixels import Code, Coded

__all__ = ["LAYOUT", "CbfLayout"]

_PADDING = 4095
_BLOCK = 4096
_DIGITS = 12


class CbfLayout(Layout):
    """See the module. What differs from frame to frame has a fixed width, but for the numbers of bytes."""

    name = "cbf"
    suffix = ".cbf"
    summary = "miniCBF of Dectris detectors, byte offset"
    readers = ("XDS", "DIALS", "MOSFLM", "Albula", "adxv", "fabio", "CBFlib")
    dtypes = ALL_DTYPES
    encoded = True
    options = MappingProxyType(
        {
            "convention": Option("auto", "words of the header; auto: those that DIALS opens", ("auto", *CONVENTIONS)),
            "md5": Option(False, "the header holds the MD5 of the encoded pixels"),
            "size": Option("exact", "constant: all files have one size, known at once", ("exact", "constant")),
        }
    )
    companions = ("xds",)
    wants = (*WANTS, "saturation_counts")
    uses = (
        "period_s",
        "detector",
        "sensor_material",
        "sensor_thickness_m",
        "threshold_ev",
        "title",
        "start_time",
    )

    def code(self, facts: StackFacts) -> Code:
        """Return what the bodies are encoded by.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, or the mask value is not possible.
        """
        require_dtype(facts, self.name, self.dtypes)
        return Code("byte_offset", masked_counts(facts), digest=self.option(facts, "md5"))

    def constant_size(self, facts: StackFacts) -> int | None:
        """Return the size of every file where the option asks for one: that of the header, and 4 bytes a pixel."""
        if self.option(facts, "size") == "exact":
            return None
        require_dtype(facts, self.name, self.dtypes)
        _, ny, nx = facts.shape
        room = len(self._head(facts, 0, Coded(10**_DIGITS - 1), "9" * _DIGITS)) + len(TAIL)
        return -(-(room + 4 * ny * nx) // _BLOCK) * _BLOCK

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return text, encoded pixels and what follows them, for a frame.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, the geometry or the mask value is not possible, or the file is larger
            than the constant size.
        """
        code = self.code(facts)
        require_frame(facts, index)
        if coded is None:
            raise TypeError("the header of a CBF file needs the size of the encoded pixels")
        size = self.constant_size(facts)
        if size is None:
            text, padding = self._head(facts, index, coded, str(_PADDING)), _PADDING
        else:
            text, padding = self._padded_head(facts, index, coded, size)
        return Literal(text), CodedPixels(index, code, coded.size), Padding(padding), Literal(TAIL)

    def _padded_head(self, facts: StackFacts, index: int, coded: Coded, size: int) -> tuple[bytes, int]:
        rest = size - len(self._head(facts, index, coded, "")) - coded.size - len(TAIL)
        for width in range(1, _DIGITS + 1):
            padding = rest - width
            # a number with one digit less than there is room for has a space before it
            if 0 <= padding < 10**width:
                return self._head(facts, index, coded, f"{padding:{width}d}"), padding
        raise LayoutError(
            f"{coded.size} bytes of encoded pixels do not fit into a file of {size} bytes",
            file=facts.url,
            frame=index,
            hint="use the option size=exact",
        )

    def _head(self, facts: StackFacts, index: int, coded: Coded, padding: str) -> bytes:
        words = self.option(facts, "convention")
        if words == "auto":
            words = convention(facts)
        return head(facts, index, words, coded, padding, digest=self.option(facts, "md5"))


LAYOUT = CbfLayout()
