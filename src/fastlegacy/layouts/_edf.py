# SPDX-License-Identifier: MIT
"""The header of an EDF block, for one block a file (``edf``) and for all blocks in one file (``edf-stack``).

What differs from block to block stands in three places: the number of the image, what is known of its frame (see
``_edf_frames.py``), and its index. All other text is made once, so that the headers of a long scan cost little more
than copying them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._edf_frames import FORBIDDEN, Readings, frame_keys
from fastlegacy.layouts._text import printable
from fastlegacy.model import Geometry, StackFacts

__all__ = ["USES", "WANTS", "EdfHeaders"]

WANTS = (
    "distance_m",
    "wavelength_angstrom",
    "beam_x_px",
    "beam_y_px",
    "pixel_x_m",
    "pixel_y_m",
    ("start_deg", "angles_deg"),
    "step_deg",
    "exposure_s",
)
USES = ("period_s", "run", "title", "start_time", "motors", "counters")

_BLOCK = 512
_LONGEST = 99_999
_DATA_TYPES = {
    "i1": "SignedByte",
    "u1": "UnsignedByte",
    "i2": "SignedShort",
    "u2": "UnsignedShort",
    "i4": "SignedInteger",
    "u4": "UnsignedInteger",
    "i8": "Signed64",
    "u8": "Unsigned64",
    "f4": "FloatValue",
    "f8": "DoubleValue",
}

_Keys = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class EdfHeaders:
    """Headers of one length for the blocks of a stack.

    Attributes
    ----------
    facts : StackFacts
    size : int
        Bytes of each header, a multiple of 512.
    """

    facts: StackFacts
    size: int
    _image: str
    _stack: str
    _readings: tuple[Readings, ...]
    _source: str

    @classmethod
    def of(cls, facts: StackFacts, highest: int, frame: int = 0) -> EdfHeaders:
        """Return the headers of a stack whose images have numbers up to `highest`, the one that takes most room.

        Raises
        ------
        LayoutError
            If the angle of `frame`, by which the length is measured, does not fit, a motor or counter has too few
            values, or the header is too long for its own key.
        """
        geometry = facts.geometry
        readings = (Readings.of(facts, "motor", geometry.motors), Readings.of(facts, "counter", geometry.counters))
        source = _lines([("Source", printable(facts.url, FORBIDDEN))])
        # EDF_HeaderSize is five characters wide whatever its value, so the size can be taken before it is known
        draft = cls(facts, 0, _lines(_image_keys(facts, 0)), _lines(_stack_keys(geometry)), readings, source)
        size = -(-(len(draft._text(frame, highest)) + len("}\n")) // _BLOCK) * _BLOCK
        if size > _LONGEST:
            raise LayoutError(
                f"the header takes {size} bytes, and EDF_HeaderSize has five digits",
                file=facts.url,
                hint="leave motors or counters out",
            )
        return cls(facts, size, _lines(_image_keys(facts, size)), draft._stack, readings, source)

    def header(self, frame: int, number: int) -> bytes:
        """Return the header of a frame (counted from 0) as image `number` of its file.

        Raises
        ------
        LayoutError
            If the angle does not fit.
        """
        return (self._text(frame, number).ljust(self.size - len("}\n")) + "}\n").encode("ascii")

    def _text(self, frame: int, number: int) -> str:
        return (
            f"{{\nEDF_DataBlockID = {number}.Image.Psd ;\n{self._image}"
            f"Image = {number} ;\nHeaderID = EH:{number:06d}:000000:000000 ;\nSize = {self.facts.frame_bytes} ;\n"
            f"{self._stack}{_lines(self._frame_keys(frame))}{self._source}"
        )

    def _frame_keys(self, frame: int) -> _Keys:
        keys = frame_keys(self.facts, frame)
        for readings in self._readings:
            keys += readings.keys(frame)
        return keys


def _lines(keys: _Keys) -> str:
    return "".join([f"{key} = {value} ;\n" for key, value in keys])


def _image_keys(facts: StackFacts, header_size: int) -> _Keys:
    _, ny, nx = facts.shape
    return [
        ("EDF_BinarySize", str(facts.frame_bytes)),
        ("EDF_HeaderSize", f"{header_size:5d}"),
        ("ByteOrder", "HighByteFirst" if _is_big_endian(facts) else "LowByteFirst"),
        ("DataType", _DATA_TYPES[facts.dtype.str[1:]]),
        ("Dim_1", str(nx)),
        ("Dim_2", str(ny)),
    ]


def _is_big_endian(facts: StackFacts) -> bool:
    order = facts.dtype.byteorder
    return order == ">" or (order == "=" and sys.byteorder == "big")


def _stack_keys(geometry: Geometry) -> _Keys:
    turns = geometry.start_deg is not None or geometry.angles_deg is not None
    values = {
        "OmegaStep": geometry.step_deg if turns else None,
        "ExposureTime": geometry.exposure_s,
        "WaveLength": None if geometry.wavelength_angstrom is None else geometry.wavelength_angstrom / 1e10,
        "SampleDistance": geometry.distance_m,
        "Center_1": None if geometry.beam_x_px is None else geometry.beam_x_px + 0.5,
        "Center_2": None if geometry.beam_y_px is None else geometry.beam_y_px + 0.5,
        "PSize_1": geometry.pixel_x_m,
        "PSize_2": geometry.pixel_y_m,
    }
    keys = [(key, f"{value:.12g}") for key, value in values.items() if value is not None]
    texts = {
        "Run": None if geometry.run is None else str(geometry.run),
        "title": geometry.title,
        "Date": geometry.start_time,
    }
    return keys + [(key, printable(text, FORBIDDEN)) for key, text in texts.items() if text is not None]
