# SPDX-License-Identifier: MIT
"""The header of an EDF block, for one block a file (``edf``) and for all blocks in one file (``edf-stack``).

What differs from block to block stands in three places: the number of the image, its angle, and its index. All other
text is made once, so that the headers of a long scan cost little more than copying them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from fastlegacy.layouts._text import angle_text, printable
from fastlegacy.model import Geometry, StackFacts

__all__ = ["EdfHeaders"]

_BLOCK = 512
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
    _source: str

    @classmethod
    def of(cls, facts: StackFacts, highest: int, frame: int = 0) -> EdfHeaders:
        """Return the headers of a stack whose images have numbers up to `highest`, the one that takes most room.

        Raises
        ------
        LayoutError
            If the angle of `frame`, by which the length is measured, does not fit.
        """
        source = _lines([("Source", printable(facts.url, ";{}"))])
        # EDF_HeaderSize is five characters wide whatever its value, so the size can be taken before it is known
        draft = cls(facts, 0, _lines(_image_keys(facts, 0)), _lines(_stack_keys(facts.geometry)), source)
        size = -(-(len(draft._text(frame, highest)) + len("}\n")) // _BLOCK) * _BLOCK
        return cls(facts, size, _lines(_image_keys(facts, size)), draft._stack, source)

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
            f"{self._stack}{_lines(_frame_keys(self.facts, frame))}{self._source}"
        )


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
    values = {
        "OmegaStep": None if geometry.start_deg is None else geometry.step_deg,
        "ExposureTime": geometry.exposure_s,
        "WaveLength": None if geometry.wavelength_angstrom is None else geometry.wavelength_angstrom / 1e10,
        "SampleDistance": geometry.distance_m,
        "Center_1": None if geometry.beam_x_px is None else geometry.beam_x_px + 0.5,
        "Center_2": None if geometry.beam_y_px is None else geometry.beam_y_px + 0.5,
        "PSize_1": geometry.pixel_x_m,
        "PSize_2": geometry.pixel_y_m,
    }
    keys = [(key, f"{value:.12g}") for key, value in values.items() if value is not None]
    return keys if geometry.run is None else [*keys, ("Run", str(geometry.run))]


def _frame_keys(facts: StackFacts, frame: int) -> _Keys:
    angle_deg = facts.geometry.angle_deg(frame)
    keys = [] if angle_deg is None else [("Omega", angle_text(angle_deg, facts, frame, "Omega"))]
    return [*keys, ("FrameIndex", _index_text(facts, frame))] if facts.leading_shape else keys


def _index_text(facts: StackFacts, frame: int) -> str:
    # by hand, because it is done for each frame of a whole scan, where NumPy's way takes longer than all the rest
    index = []
    for length in reversed(facts.leading_shape):
        frame, i = divmod(frame, length)
        index.append(f"{i:{len(str(length - 1))}d}")
    return " ".join(reversed(index))
