# SPDX-License-Identifier: MIT
"""Parameter files of CrysAlisPro (.par): in, lines of words and numbers; out, distance, beam and wavelength.

Source: what fabio's ``eiger2crysalis`` and the companion ``crysalis`` write; there is no documentation. The distance is
in mm, the beam in pixels from the centre of the first one, the wavelength in angstrom (the third of a line, the mean of
a doublet). Pixels are those of the frames that CrysAlisPro was given: Esperanto frames are squares, in which a narrower
image begins in the first row and in the middle of the columns. The size of a pixel stands in a remark only, and
``eiger2crysalis`` writes 0.06 mm there for every detector, so that it is not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastlegacy.geometry.reader import Entry, Shape, from_file, read_bytes, tell_of_tilt
from fastlegacy.model import Geometry

__all__ = ["READER", "CrysalisReader"]

_DETECTOR = "ROTATION DETECTORORIENTATION"
_FRAME = "CCD PARAMETERS"
_WAVELENGTH = "CRYSTALLOGRAPHY WAVELENGTH"


class CrysalisReader:
    """See the module."""

    name = "crysalis"
    summary = "parameters of CrysAlisPro (.par)"

    def recognises(self, path: Path, head: bytes) -> bool:
        """By the word XCALIBUR at the beginning of a .par file."""
        return path.suffix.lower() == ".par" and b"XCALIBUR" in head

    def read(self, path: Path, shape: Shape | None) -> Geometry:
        """Return distance, wavelength and beam."""
        entries = {entry.key: entry for entry in _entries(path)}
        values: dict[str, Any] = {}
        if _WAVELENGTH in entries:
            values["wavelength_angstrom"] = _item(entries[_WAVELENGTH], 2, "three wavelengths").positive()
        if _DETECTOR in entries:
            line = entries[_DETECTOR]
            what = "three angles, distance, x and y"
            turns = [_item(line, i, what).number() for i in (0, 1)]
            tell_of_tilt(path, math.prod(math.cos(math.radians(turn)) for turn in turns))
            row, column = _image_at(entries.get(_FRAME), shape)
            values["distance_m"] = _item(line, 3, what).positive() / 1e3
            values["beam_x_px"] = _item(line, 4, what).number() - column
            values["beam_y_px"] = _item(line, 5, what).number() - row
        return from_file(path, values)


READER = CrysalisReader()


def _entries(path: Path) -> Iterator[Entry]:
    """Lines by their first two words; remarks begin with a section sign."""
    # UTF-8 editors make two bytes of the section sign
    text = read_bytes(path).decode("latin-1").replace("\xc2\xa7", "\xa7")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 2)
        if len(words) == 3 and not line.lstrip().startswith(("\xa7", "#")):
            yield Entry(path, number, f"{words[0]} {words[1]}".upper(), words[2])


def _item(entry: Entry, index: int, what: str) -> Entry:
    words = entry.text.split()
    if len(words) <= index:
        raise entry.error(
            f"there are {len(words)} values, and {what} stand there", hint="take another file, or options"
        )
    return Entry(entry.path, entry.line, entry.key, words[index])


def _image_at(entry: Entry | None, shape: Shape | None) -> Shape:
    """Row and column of the frames in the file where the first pixel of a stored frame is."""
    if entry is None:
        return 0, 0
    what = "two binnings, two positions and two sizes"
    bx, by, _, _, width, height = (int(_item(entry, i, what).number()) for i in range(6))
    if (bx, by) != (1, 1):
        raise entry.error(
            f"frames are binned {bx} x {by}, and how their pixels are counted is not known",
            hint="give the beam as options: --x0 and --y0",
        )
    if shape is None:
        return 0, 0
    ny, nx = shape
    if ny > height or nx > width:
        raise entry.error(
            f"it is for frames of {height} x {width} pixels, and these are of {ny} x {nx}",
            hint="take the file of these frames, or options",
        )
    return 0, (width - nx) // 2
