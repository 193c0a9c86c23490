# SPDX-License-Identifier: MIT
"""SMV as ADSC detectors write it: 512 bytes of ``KEY=value;`` lines, then unsigned 16-bit pixels, little endian.

Read by XDS, MOSFLM, HKL-2000, DIALS, adxv and fabio; tested with fabio and DIALS 3.12. Format: "SMV file format" of
the CCP4 wiki, which says that many programs take the header for 512 bytes whatever HEADER_BYTES says, so it is never
longer.

``BEAM_CENTER_X`` and ``_Y`` are in mm from the outer corner of the first pixel, in the frame of MOSFLM as DIALS reads
them: X goes along the slow axis (down the rows), Y along the fast one. Other programs take them in other ways, or not
at all. Values that nobody gave are neutral ones, see ``_settings.py``.

Pixels above 65535 become 65535, which all programs take for an overload. Gaps and bad pixels become 0, the word of
this format for "not measured": it is what programs leave out that are set up for ADSC detectors (XDS by
``MINIMUM_VALID_PIXEL_VALUE=1`` of its template; newer releases of DIALS trust 1 to 65534), and at worst it lowers a
background, where 65535 would look like a row of strong spots. DIALS 3.12 trusts zeros; ``mask_value`` 65535 is masked
by all of its releases. In photon-counting data most true pixels are 0 too, and are left out with the gaps: the option
``pedestal`` lifts valid pixels (never gaps) by a number that the header gives as ``IMAGE_PEDESTAL``.
"""

from __future__ import annotations

import time

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.layouts._moments import moment
from fastlegacy.layouts._pixels import counts
from fastlegacy.layouts._settings import WANTS, Settings
from fastlegacy.layouts._words import HIGHEST, PEDESTAL, pedestal_of
from fastlegacy.model import Layout, Literal, Piece, Pixels, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["HEADER_BYTES", "LAYOUT", "SmvLayout"]

HEADER_BYTES = 512
_BEGINNING = f"{{\nHEADER_BYTES={HEADER_BYTES:5d};\n"
_END = "}\n\f\n"


class SmvLayout(Layout):
    """See the module. What differs from frame to frame has a fixed width."""

    name = "smv"
    suffix = ".img"
    summary = "SMV of ADSC detectors, 16 bits"
    readers = ("XDS", "MOSFLM", "HKL-2000", "DIALS", "adxv", "fabio")
    dtypes = ALL_DTYPES
    options = PEDESTAL
    companions = ("xds",)
    wants = (*WANTS, "saturation_counts")
    uses = ("period_s", "start_time")

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of a frame.

        Raises
        ------
        LayoutError
            If the pixels are not real numbers, are not square, the pedestal is not possible, or the header takes more
            than 512 bytes.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_frame(facts, index)
        pedestal = pedestal_of(facts)
        form = counts(facts, "<u2", gap=0, bad=0, low=min(pedestal, 1), high=HIGHEST, add=pedestal)
        return Literal(_header(facts, index, pedestal)), Pixels(index, form=form)


def _header(facts: StackFacts, frame: int, pedestal: int) -> bytes:
    settings = Settings.of(facts)
    lines = {**_image_keys(facts, settings), **_frame_keys(facts, settings, frame), **_pixel_keys(facts, pedestal)}
    text = (
        f"{{\nHEADER_BYTES={HEADER_BYTES:5d};\n" + "".join(f"{key}={value};\n" for key, value in lines.items()) + _END
    )
    if len(text) > HEADER_BYTES:
        raise LayoutError(
            f"the header takes {len(text)} bytes, and SMV has {HEADER_BYTES} before its pixels",
            file=facts.url,
            frame=frame,
            hint="check the geometry for numbers that are too large",
        )
    return text.ljust(HEADER_BYTES).encode("ascii")


def _image_keys(facts: StackFacts, settings: Settings) -> dict[str, str]:
    pixel_mm = settings.pixel_mm(facts, "SMV")
    return {
        "DIM": "2",
        "BYTE_ORDER": "little_endian",
        "TYPE": "unsigned_short",
        "SIZE1": str(facts.shape[2]),
        "SIZE2": str(facts.shape[1]),
        "PIXEL_SIZE": f"{pixel_mm:.6f}",
        "BIN": "none",
        # programs know the geometry of some serial numbers by heart, and none of this one
        "DETECTOR_SN": "0",
        "DISTANCE": f"{settings.distance_mm:.4f}",
        "TWOTHETA": "0.0",
        "WAVELENGTH": f"{settings.wavelength_angstrom:.7f}",
        "BEAM_CENTER_X": f"{settings.beam_y_px * pixel_mm:.5f}",
        "BEAM_CENTER_Y": f"{settings.beam_x_px * pixel_mm:.5f}",
        "TIME": f"{settings.exposure_s:.6f}",
        "OSC_RANGE": f"{settings.step_deg:.6f}",
    }


def _frame_keys(facts: StackFacts, settings: Settings, frame: int) -> dict[str, str]:
    angle = settings.angle_text(facts, frame, "OSC_START")
    # time.asctime has English names in all locales, and one width for years of four digits
    return {"PHI": angle, "OSC_START": angle, "DATE": time.asctime(moment(facts, frame).timetuple())}


def _pixel_keys(facts: StackFacts, pedestal: int) -> dict[str, str]:
    saturation = facts.geometry.saturation_counts
    overload = HIGHEST if saturation is None else min(saturation + pedestal, HIGHEST)
    return {"CCD_IMAGE_SATURATION": str(overload), "IMAGE_PEDESTAL": str(pedestal), "GAIN": "1"}


LAYOUT = SmvLayout()
