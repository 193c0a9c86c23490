# SPDX-License-Identifier: MIT
"""The header of a Bruker frame: 96 lines ``KEY    :value`` of 80 characters, 15 blocks of 512 bytes in all.

Words, their order and their meaning are those of fabio's list; dxtbx looks for at least twelve of them in the first
1024 bytes. Distances are in cm, angles in degrees; ``ANGLES`` and ``ENDING`` are 2-theta, omega, phi and chi, of which
omega turns (``AXIS`` 2). ``CENTER`` is the beam in pixels, x along the fast axis, y along the slow one, from the outer
corner of the first pixel, as DIALS takes it. For ``EIGER`` it counts rows from the top, and pixels have 75 micrometres
whatever the header says. For ``CMOS-PHOTONII`` it takes the pixel size from ``DETTYPE`` (5 mm over the second word)
and counts rows from the bottom, so that the image is to be flipped upside down.
"""

from __future__ import annotations

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._moments import moment
from fastlegacy.layouts._settings import Settings
from fastlegacy.layouts._text import printable
from fastlegacy.model import StackFacts
from fastlegacy.pixels import Coded

__all__ = ["HEADER_BYTES", "header"]

_BLOCKS = 15
HEADER_BYTES = 512 * _BLOCKS
_LINE = 80
_VALUE = 72
_TITLE_LINES = 8
_FILLER = "\x1a\x04" + 78 * "."
_UNLIMITED = 2**31 - 1
_OMEGA = 2

_Lines = list[tuple[str, str]]


def header(facts: StackFacts, frame: int, coded: Coded) -> bytes:
    """Return the header of a frame with so many overflows, always 7680 bytes.

    Raises
    ------
    LayoutError
        If a value takes more than the 72 characters of its line, an angle does not fit, or pixels are not square.
    """
    settings = Settings.of(facts)
    lines = [
        *_measurement(facts),
        ("NOVERFL", f"-1 {coded.counts[0]} {coded.counts[1]}"),
        *_frame(facts, settings, frame),
        ("NOVER64", f"{coded.counts[1]} 0 0"),
        *_image(facts, settings),
        *_goniometer(facts, settings, frame),
        *_detector(facts, settings),
    ]
    texts = [_line(facts, key, value) for key, value in lines]
    return "".join(texts + [_FILLER] * (HEADER_BYTES // _LINE - len(texts))).encode("ascii")


def _line(facts: StackFacts, key: str, value: str) -> str:
    if len(value) > _VALUE:
        raise LayoutError(
            f"the value '{value}' of {key} takes more than the {_VALUE} characters of a line",
            file=facts.url,
            hint="give a shorter one",
        )
    return f"{key:<7}:{value:<{_VALUE}}"


def _measurement(facts: StackFacts) -> _Lines:
    title = printable(facts.geometry.title or "")
    return [
        ("FORMAT", "100"),
        ("VERSION", "16"),
        ("HDRBLKS", str(_BLOCKS)),
        ("TYPE", "UNWARPED"),
        ("SITE", ""),
        ("MODEL", "UNKNOWN"),
        ("USER", ""),
        ("SAMPLE", ""),
        ("SETNAME", ""),
        ("RUN", str(facts.geometry.run or 0)),
        ("SAMPNUM", "0"),
        *(("TITLE", title[at : at + _VALUE]) for at in range(0, _VALUE * _TITLE_LINES, _VALUE)),
    ]


def _frame(facts: StackFacts, settings: Settings, frame: int) -> _Lines:
    begun = moment(facts, frame)
    exposure = f"{settings.exposure_s:.6f}"
    start = settings.angle_text(facts, frame, "START")
    return [
        # the end of the place is what tells stacks apart
        ("FILENAM", printable(facts.url)[-_VALUE:]),
        ("CREATED", f"{begun.year:04d}-{begun:%m-%d %H:%M:%S}"),
        ("CUMULAT", exposure),
        ("ELAPSDR", exposure),
        ("ELAPSDA", exposure),
        ("OSCILLA", "0"),
        ("NSTEPS", "1"),
        ("RANGE", f"{abs(settings.step_deg):.6f}"),
        ("START", start),
        ("INCREME", f"{settings.step_deg:.6f}"),
        ("NUMBER", str(frame + 1)),
        ("NFRAMES", str(facts.shape[0])),
        ("ANGLES", f"0.0 {start} 0.0 0.0"),
    ]


def _image(facts: StackFacts, settings: Settings) -> _Lines:
    distance = f"{settings.distance_mm / 10:.6f}"
    wavelength = f"{settings.wavelength_angstrom:.7f}"
    center = f"{settings.beam_x_px:.4f} {settings.beam_y_px:.4f}"
    return [
        ("NPIXELB", "1 1"),
        ("NROWS", f"{facts.shape[1]} 1"),
        ("NCOLS", f"{facts.shape[2]} 1"),
        ("WORDORD", "0"),
        ("LONGORD", "0"),
        # each of these two says the same twice: for binned pixels and for real ones, to the grid and to the phosphor
        ("CENTER", f"{center} {center}"),
        ("DISTANC", f"{distance} {distance}"),
        ("COMPRES", "NONE"),
        ("LINEAR", "1.0 0.0"),
        ("CORRECT", "UNKNOWN"),
        ("WARPFIL", "UNKNOWN"),
        ("WAVELEN", f"{wavelength} {wavelength} {wavelength}"),
    ]


def _goniometer(facts: StackFacts, settings: Settings, frame: int) -> _Lines:
    # not where the next frame begins, which may be in another sweep
    end = settings.angle_text(facts, frame, "ENDING", settings.step_deg)
    return [("AXIS", str(_OMEGA)), ("ENDING", f"0.0 {end} 0.0 0.0")]


def _detector(facts: StackFacts, settings: Settings) -> _Lines:
    kind = printable(str(facts.options.get("dettype", "EIGER")), " ")
    half_density = 5 / settings.pixel_mm(facts, "a Bruker frame")
    saturation = facts.geometry.saturation_counts
    return [
        ("DETPAR", "0.0 0.0 0.0 0.0 0.0 0.0"),
        ("PROGRAM", "fastlegacy"),
        ("ROTATE", "0"),
        ("DETTYPE", f"{kind} {half_density:.6f} 0.0 0 0.0 0.0 1"),
        ("NEXP", "1 0 0 0 0"),
        # read noise, electrons for each unit and for each photon, bias, full scale: one photon counts one
        ("CCDPARM", f"0.0 1.0 1.0 0.0 {_UNLIMITED if saturation is None else saturation}"),
        ("DARK", "NONE"),
    ]
