# SPDX-License-Identifier: MIT
"""marccd, the TIFF of Rayonix detectors: 4096 bytes of header, then a square of unsigned 16-bit pixels, little endian.

Read by XDS, MOSFLM, HKL-2000, DIALS, FIT2D, Dioptas and fabio; tested with fabio, tifffile and DIALS 3.12. The first
1024 bytes are the TIFF, whose strip begins at byte 4096; the 3072 bytes between them are marccd's own record, see
``_mccd_header.py``.

DIALS reads square images only, so an image that is not square stands at the top left of a square one, and the rest is
0. It takes a beam at less than a quarter of the side for one in millimetres, though it is in pixels as the format says.

Pixels above 65535 become 65535, the ``saturated_value``; gaps and bad pixels become 0, as with ``smv``. DIALS 3.12
trusts what is larger than 0 in the file, so that it leaves out pixels without a count, too. The option ``pedestal``
lifts valid pixels (never gaps) by a number that the header gives as ``mean_bias``; DIALS subtracts it again.
"""

from __future__ import annotations

from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.layouts._mccd_header import header
from fastlegacy.layouts._pixels import counts
from fastlegacy.layouts._settings import WANTS
from fastlegacy.layouts._words import HIGHEST, PEDESTAL, pedestal_of
from fastlegacy.model import Layout, Literal, Piece, Pixels, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["LAYOUT", "MccdLayout"]


class MccdLayout(Layout):
    """See the module."""

    name = "mccd"
    suffix = ".mccd"
    summary = "marccd of Rayonix detectors, 16 bits, padded to a square"
    readers = ("XDS", "MOSFLM", "HKL-2000", "DIALS", "FIT2D", "Dioptas", "fabio")
    dtypes = ALL_DTYPES
    options = PEDESTAL
    companions = ("xds",)
    wants = (*WANTS, "saturation_counts")
    uses = ("period_s", "title", "start_time")

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of a frame.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, the pedestal is not possible, or the geometry does not fit into
            integers of 32 bits.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_frame(facts, index)
        pedestal = pedestal_of(facts)
        side = max(facts.shape[1:])
        form = counts(
            facts,
            "<u2",
            gap=0,
            bad=0,
            low=min(pedestal, 1),
            high=HIGHEST,
            add=pedestal,
            shape=(side, side),
            pad=0,
        )
        return Literal(header(facts, index, side, pedestal)), Pixels(index, form=form)


LAYOUT = MccdLayout()
