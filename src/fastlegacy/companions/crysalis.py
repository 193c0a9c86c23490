# SPDX-License-Identifier: MIT
"""CrysAlisPro's files of an experiment: parameters (.par), sweeps (.run), bad pixels (.ccd, and as text .set).

Source: what fabio's ``eiger2crysalis`` and cryio write and read; there is no documentation. The .par holds those
parameters only that follow from the geometry: no cell, no orientation matrix, no motors. CrysAlisPro makes .par and
.run itself when Esperanto frames are imported (``esperanto createrunlist``), and may write over them.

Pixels count from 0 in the frame of the Esperanto files. Omega is the rotation angle with the other sign, as in their
headers, and increases from file to file. The angle alpha of the goniometer is 50 degrees, that of a kappa goniometer,
and has no meaning where kappa stays at 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastlegacy.companions._masked import Rectangle, frame_mask, rectangles
from fastlegacy.companions._needs import beam_px, known, unsaid
from fastlegacy.companions._xcalibur import Sweep, ccd_bytes, run_bytes
from fastlegacy.companions.scene import Scene

__all__ = ["COMPANION", "CrysalisFiles"]

_MOST_RECTANGLES = 1000
_ALPHA_DEG = 50.0
_POLARIZATION = 0.98
_COMMENT = "\xa7"
_NAME_AND_RUN = re.compile(r"(.*[^_])_([0-9]{1,5})_", re.DOTALL)


class CrysalisFiles:
    """See the module."""

    name = "crysalis"
    summary = "parameters, sweeps and bad pixels for CrysAlisPro (.par, .run, .ccd, .set)"
    readers = ("CrysAlisPro", "fabio", "cryio")
    warns = True

    def missing(self, scene: Scene) -> tuple[str, ...]:
        """Return what nobody said."""
        words = ("distance", "wavelength", "direct beam", "pixel size", "start angle", "step angle")
        still = ("step angle other than 0",) if scene.facts.geometry.step_deg == 0 else ()
        return unsaid(scene, *words, layouts=("esperanto",)) + still

    def files(self, scene: Scene) -> dict[str, bytes]:
        """Return ``NAME.par``, ``.run``, ``.ccd`` and ``.set`` for frames that are called ``NAME_RUN_NUMBER``."""
        name, run = _name_and_run(scene)
        masked = frame_mask(scene)
        bad = [] if masked is None else rectangles(masked)
        return {
            f"{name}.par": _comments_marked(_par(scene, name)),
            f"{name}.run": run_bytes(name, [_sweep(scene, run)]),
            f"{name}.ccd": ccd_bytes(bad[:_MOST_RECTANGLES]),
            f"{name}.set": "".join(f"{line}\r\n" for line in _set(bad)).encode("ascii"),
        }


def _name_and_run(scene: Scene) -> tuple[str, int]:
    match = _NAME_AND_RUN.fullmatch(scene.stem)
    if match is None:
        return scene.base, scene.facts.geometry.run or 1
    return match[1], int(match[2])


def _par(scene: Scene, name: str) -> Iterator[str]:
    geometry = scene.facts.geometry
    ny, nx = scene.frame_shape
    wavelength = f"{known(geometry.wavelength_angstrom, scene):.6f}"
    pixel_mm = 1e3 * known(geometry.pixel_x_m, scene)
    x_px, y_px = beam_px(scene)
    detector = f"0.000000 0.000000 0.000000 {1e3 * known(geometry.distance_m, scene):.6f} {x_px:.6f} {y_px:.6f}"
    yield "#XCALIBUR SYSTEM"
    yield "#XCALIBUR PARAMETER FILE - WRITTEN BY FASTLEGACY"
    yield f"#            ZOOM 0.000000 PIXELSIZE IN 1X1 BINNING (MM)  {pixel_mm:.6f}"
    yield f"CCD PARAMETERS 1 1 0 0 {nx} {ny} DARKOFF FLOODOFF SPIKECORRELATION READNODEAD FIP60 GAINBOTH"
    yield f"CRYSTALLOGRAPHY ALPHAANGLEINDEG {_ALPHA_DEG:.5f} {_ALPHA_DEG:.5f} 90.00000 90.00000"
    yield "CRYSTALLOGRAPHY BETAANGLEINDEG 0.00000 0.00000 90.00000 90.00000"
    yield f"CRYSTALLOGRAPHY WAVELENGTH {wavelength} {wavelength} {wavelength}"
    # what would end the quotation or the line is not held by names in this file
    chip = "".join(char if char.isprintable() and char != '"' else "?" for char in name)
    yield f'FILE CHIP "{chip}.ccd"'
    yield 'FILE FLOOD "NONE"'
    yield 'FILE GEO "NONE"'
    yield "ROTATION BEAM 0.000000 0.000000 0.00000 0.00000 0.00000"
    yield f"ROTATION DETECTORORIENTATION {detector} {detector}"
    yield f"ROTATION MONOCHROMATOR {_POLARIZATION:.5f} SYNCHROTRON"
    yield f"ROTATION SCANWIDTH {abs(known(geometry.step_deg, scene)):.6f} 0.000 1.000 0.000"
    yield "ROTATION ZEROCORRECTION" + 20 * " 0.00000"
    yield f"ROTSIMULATOR ALPHAANGLEINDEG {_ALPHA_DEG:.5f}"
    yield "ROTSIMULATOR BETAANGLEINDEG 0.00000"
    yield "#END SETUP XCALIBUR SYSTEM"


def _comments_marked(lines: Iterator[str]) -> bytes:
    marked = (_COMMENT + line[1:] if line.startswith("#") else line for line in lines)
    return "".join(f"{line}\r\n" for line in marked).encode("latin-1", "replace")


def _sweep(scene: Scene, run: int) -> Sweep:
    geometry = scene.facts.geometry
    start_deg, step_deg = known(geometry.start_deg, scene), known(geometry.step_deg, scene)
    ends_deg = sorted((-start_deg, -(start_deg + scene.count * step_deg)))
    # 1 s where nobody said: it only sets the scale
    exposure_s = 1.0 if geometry.exposure_s is None else geometry.exposure_s
    return Sweep(max(run, 1) - 1, ends_deg[0], ends_deg[1], abs(step_deg), scene.count, exposure_s)


def _set(bad: list[Rectangle]) -> Iterator[str]:
    yield "#XCALIBUR SYSTEM"
    yield "#XCALIBUR SETUP FILE"
    yield "# CHIP CHARACTERISTICS, WRITTEN BY FASTLEGACY"
    yield "#CHIP IDCODE producer type serial"
    yield 'CHIP IDCODE "n/a" "n/a" "n/a"'
    yield "#CHIP TAPER producer type serial"
    yield 'CHIP TAPER "" "" ""'
    yield "#ALL COORDINATES GO FROM 0 TO N-1"
    yield "#CHIP BADRECTANGLE xl xr yb yt"
    for found in bad[:_MOST_RECTANGLES]:
        yield f"CHIP BADRECTANGLE {found.left} {found.right - 1} {found.top} {found.bottom - 1}"
    left_out = sum(found.area for found in bad[_MOST_RECTANGLES:])
    if left_out:
        yield f"#{left_out} MORE MASKED PIXELS ARE NOT IN THIS LIST, BUT IN THE FRAMES"
    yield "#END OF XCALIBUR CHIP CHARACTERISTICS FILE"


COMPANION = CrysalisFiles()
