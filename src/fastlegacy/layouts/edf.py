# SPDX-License-Identifier: MIT
"""ESRF data format (EDF): a header of ``Key = value ;`` lines in ASCII, then the pixels as they are stored.

Read by fabio (and all that uses it: pyFAI, silx, PyMca, Dioptas, ImageD11) and by FIT2D, whose rules are kept: the
first byte is ``{``, the header is a multiple of 512 bytes and ends with ``}`` and a newline, images count from 1.
Names and units of the geometry are those of the SAXS programs of the ESRF (P. Boesecke, "Keywords for SAXS data in
EDF files"): metres, and pixels counted from the outer corner of the first pixel, whose centre is at 0.5.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.model import Geometry, Literal, Piece, Pixels, StackFacts

__all__ = ["LAYOUT", "EdfLayout"]

_BLOCK = 512
_ANGLE_WIDTH = 20
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
class EdfLayout:
    """See the module. What differs from frame to frame has a fixed width, so that all headers have one length."""

    name: str = "edf"
    suffix: str = ".edf"
    per_frame: bool = True
    summary: str = "ESRF data format: fabio, FIT2D, ImageD11, pyFAI, PyMca, Dioptas"
    dtypes: tuple[str, ...] = ALL_DTYPES

    def pieces(self, facts: StackFacts, frame: int) -> tuple[Piece, ...]:
        """Return header and pixels of a frame.

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes, or an angle does not fit.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_frame(facts, frame)
        keys = _stack_keys(facts.geometry) + _frame_keys(facts, frame) + [("Source", _safe(facts.url))]
        return Literal(_header(_image_keys(facts), keys)), Pixels(frame)


def _header(image: _Keys, others: _Keys) -> bytes:
    # EDF_HeaderSize is five characters wide whatever its value, so the size can be taken before it is known
    length = len(_text(image, others, 0)) + len("}\n")
    size = -(-length // _BLOCK) * _BLOCK
    return (_text(image, others, size) + " " * (size - length) + "}\n").encode("ascii")


def _text(image: _Keys, others: _Keys, header_size: int) -> str:
    keys = [*image[:2], ("EDF_HeaderSize", f"{header_size:5d}"), *image[2:], *others]
    return "{\n" + "".join(f"{key} = {value} ;\n" for key, value in keys)


def _image_keys(facts: StackFacts) -> _Keys:
    _, ny, nx = facts.shape
    return [
        ("EDF_DataBlockID", "1.Image.Psd"),
        ("EDF_BinarySize", str(facts.frame_bytes)),
        ("ByteOrder", "HighByteFirst" if _is_big_endian(facts) else "LowByteFirst"),
        ("DataType", _DATA_TYPES[facts.dtype.str[1:]]),
        ("Dim_1", str(nx)),
        ("Dim_2", str(ny)),
        ("Image", "1"),
        ("HeaderID", "EH:000001:000000:000000"),
        ("Size", str(facts.frame_bytes)),
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
    index = zip(facts.leading_index(frame), facts.leading_shape, strict=True)
    keys = [("FrameIndex", " ".join(f"{i:{len(str(n - 1))}d}" for i, n in index))] if facts.leading_shape else []
    angle_deg = facts.geometry.angle_deg(frame)
    return keys if angle_deg is None else [("Omega", _angle(angle_deg, facts, frame)), *keys]


def _angle(angle_deg: float, facts: StackFacts, frame: int) -> str:
    text = f"{angle_deg:<{_ANGLE_WIDTH}.8f}"
    if not math.isfinite(angle_deg) or len(text) > _ANGLE_WIDTH:
        raise LayoutError(
            f"the angle {angle_deg} degrees does not fit into the {_ANGLE_WIDTH} characters of Omega",
            file=facts.url,
            frame=frame,
            hint="check start angle and step angle",
        )
    return text


def _safe(text: str) -> str:
    """Return the text with all that an EDF value must not hold as percent escapes of its UTF-8 bytes."""
    kept = (chr(byte) if 32 <= byte < 127 and chr(byte) not in "%;{}" else f"%{byte:02X}" for byte in _bytes(text))
    return "".join(kept)


def _bytes(text: str) -> bytes:
    # file names that are not UTF-8 come from the system as lone surrogates
    return text.encode("utf-8", "surrogateescape")


LAYOUT = EdfLayout()
