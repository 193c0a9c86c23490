# SPDX-License-Identifier: MIT
"""Esperanto as CrysAlisPro imports it: a header of 6400 bytes, then a square of signed 32-bit pixels, little endian.

Rothkirch et al., J. Synchrotron Rad. 20 (2013) 711, doi 10.1107/S0909049513018621. Read by CrysAlisPro (not tested
here) and fabio.

The square has a multiple of 4 (or 16) rows and columns, at least 256 and at most 4096. The image is at its top, and in
the middle from left to right; the beam moves with it, and is counted from the centre of the first pixel. Around it the
pixels are what gaps are, -1, because there is no detector either: programs then leave both out by one rule. Bad pixels
are -2.

Omega is the rotation angle with the other sign, and increases from file to file: with a positive step, the first file
holds the last frame. Names have run and number without zeros before it: ``data_1_1.esperanto``.

What nobody said has the neutral values of ``_settings.py``. Items that Geometry does not know are those that fabio
writes too: 1 electron for each count, gain 1, overflow at 1000000 (unless known), alpha 50 degrees, SYNCHROTRON with
0.98, and 0 for all else.
"""

from __future__ import annotations

from types import MappingProxyType

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.layouts._esperanto import header
from fastlegacy.layouts._int32 import masked_counts
from fastlegacy.layouts._settings import WANTS
from fastlegacy.model import CodedPixels, Geometry, Layout, Literal, Option, Piece, Pixels, StackFacts
from fastlegacy.pixels import Code, Coded, Form

__all__ = ["LAYOUT", "EsperantoLayout"]

_NARROWEST, _WIDEST = 256, 4096
_PLAIN, _CODED = "4BYTE_LONG", "AGI_BITFIELD"


class EsperantoLayout(Layout):
    """See the module."""

    name = "esperanto"
    suffix = ".esperanto"
    summary = "Esperanto of CrysAlisPro, padded to a square"
    readers = ("CrysAlisPro", "fabio")
    dtypes = ALL_DTYPES
    encoded = True
    options = MappingProxyType(
        {
            "pixels": Option(_PLAIN, "AGI_BITFIELD: compressed, so that sizes differ", (_PLAIN, _CODED)),
            "multiple": Option(4, "rows and columns of the square are a multiple of it", (4, 16)),
        }
    )
    companions = ("crysalis",)
    wants = (*WANTS, "saturation_counts")
    uses = ("period_s", "run", "sensor_thickness_m", "start_time")

    def stem(self, facts: StackFacts, stem: str) -> str:
        """Return what comes before the number in the names of the files: with the run, 1 unless it is known."""
        run = facts.geometry.run
        return f"{stem.rstrip('_')}_{1 if run is None else run}_"

    @property
    def digits(self) -> int:
        """Numbers in names are not padded."""
        return 1

    def frame_of(self, facts: StackFacts, index: int) -> int:
        """Return the frame of a file, both counted from 0: the last frame first where the angle grows."""
        return facts.shape[0] - 1 - index if _grows(facts.geometry) else index

    def code(self, facts: StackFacts) -> Code | None:
        """Return what the bodies are encoded by; None with ``pixels=4BYTE_LONG``.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, the square is too large, or the mask value is not possible.
        """
        require_dtype(facts, self.name, self.dtypes)
        form = self._form(facts)
        return Code("agi_bitfield", form) if self.option(facts, "pixels") == _CODED else None

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of a file.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, the square is too large, or the geometry or the mask value is not
            possible.
        """
        code = self.code(facts)
        require_frame(facts, index)
        frame = self.frame_of(facts, index)
        form = self._form(facts)
        head = Literal(header(facts, frame, form.shape[1], form.at[1], self.option(facts, "pixels")))
        if code is None:
            return head, Pixels(frame, form=form)
        if coded is None:
            raise TypeError("an Esperanto file with AGI_BITFIELD needs the size of the encoded pixels")
        return head, CodedPixels(frame, code, coded.size)

    def _form(self, facts: StackFacts) -> Form:
        _, ny, nx = facts.shape
        multiple = self.option(facts, "multiple")
        longest = max(ny, nx)
        width = max(-(-longest // multiple) * multiple, _NARROWEST)
        if width > _WIDEST:
            raise LayoutError(
                f"a frame of {ny} x {nx} pixels is too large for Esperanto, whose frames end at {_WIDEST} x {_WIDEST}",
                file=facts.url,
                hint=f"add up squares of pixels with --binning {-(-longest // _WIDEST)}",
            )
        return masked_counts(facts, shape=(width, width), at=(0, (width - nx) // 2))


def _grows(geometry: Geometry) -> bool:
    angles = geometry.angles_deg
    return (angles[-1] - angles[0] if angles else geometry.step_deg or 0.0) > 0.0


LAYOUT = EsperantoLayout()
