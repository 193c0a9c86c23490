# SPDX-License-Identifier: MIT
"""The header of a marccd file: the directory of a TIFF, and the record of 3072 bytes behind it.

The record is the ``frame_header`` of marccd's documentation (Rayonix): numbers of 32 bits in small units, texts that
end with zeros. Numbers that only the pixels could tell (minimum, mean, ...) are 0.
"""

from __future__ import annotations

import struct

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._moments import moment
from fastlegacy.layouts._settings import Settings
from fastlegacy.layouts._text import printable
from fastlegacy.layouts._tiff_tags import date_time, directory, resolution
from fastlegacy.layouts._words import HIGHEST
from fastlegacy.model import StackFacts

__all__ = ["DATA_OFFSET", "header"]

DATA_OFFSET = 4096
_RECORD = 1024
_DIRECTORY = 8
_ENTRIES = 15
_RESOLUTIONS = _DIRECTORY + 2 + 12 * _ENTRIES + 4
_DATE_TIME = _RESOLUTIONS + 16
_SOFTWARE = _DATE_TIME + 20
_SOFTWARE_TEXT = b"fastlegacy\0"

_LITTLE_ENDIAN = 1234
_FORMAT_VERSION = 2
_PHI = 4

_OFFSETS = {
    "header_type": 1024,
    "header_byte_order": 1052,
    "data_byte_order": 1056,
    "header_size": 1060,
    "nfast": 1104,
    "nslow": 1108,
    "depth": 1112,
    "record_length": 1116,
    "signif_bits": 1120,
    "data_type": 1124,
    "saturated_value": 1128,
    "nimages": 1136,
    "origin": 1140,
    "orientation": 1144,
    "view_direction": 1148,
    "xtal_to_detector": 1664,
    "beam_x": 1668,
    "beam_y": 1672,
    "integration_time": 1676,
    "exposure_time": 1680,
    "nreads": 1688,
    "start_phi": 1708,
    "start_xtal_to_detector": 1720,
    "end_phi": 1740,
    "end_xtal_to_detector": 1752,
    "rotation_axis": 1756,
    "rotation_range": 1760,
    "pixelsize_x": 1796,
    "pixelsize_y": 1800,
    "mean_bias": 1804,
    "source_wavelength": 1932,
}
"""Where the numbers stand in the file; what is not here is 0."""

_TEXTS = {
    "header_name": (1028, 16),
    "filetitle": (2048, 128),
    "acquire_timestamp": (2368, 32),
    "header_timestamp": (2400, 32),
    "save_timestamp": (2432, 32),
    "file_comments": (2464, 512),
}
"""Where the texts stand in the file, and how many bytes they have, with the zero at their end."""


def header(facts: StackFacts, frame: int, side: int, pedestal: int) -> bytes:
    """Return the 4096 bytes before the pixels of a square of `side` pixels.

    Raises
    ------
    LayoutError
        If a number does not fit into 32 bits, or the file would reach 4 GiB.
    """
    if DATA_OFFSET + 2 * side * side >= 2**32:
        raise LayoutError(
            f"a square of {side} x {side} pixels is too large for marccd, whose files end at 4 GiB",
            file=facts.url,
            hint="use a format without that limit, such as edf or npy",
        )
    out = bytearray(_tiff(facts, side).ljust(DATA_OFFSET, b"\0"))
    for name, value in (_image(facts, side, pedestal) | _goniostat(facts, frame)).items():
        struct.pack_into("<i", out, _OFFSETS[name], _fitting(value, name, facts, frame))
    for name, text in _texts(facts, frame).items():
        offset, size = _TEXTS[name]
        data = text.encode("ascii")[: size - 1]
        out[offset : offset + len(data)] = data
    return bytes(out)


def _tiff(facts: StackFacts, side: int) -> bytes:
    pitch = resolution(facts.geometry)
    entries = [
        (256, "LONG", 1, side),
        (257, "LONG", 1, side),
        (258, "SHORT", 1, 16),
        (259, "SHORT", 1, 1),  # no compression
        (262, "SHORT", 1, 1),  # zero is black
        (273, "LONG", 1, DATA_OFFSET),
        (274, "SHORT", 1, 1),  # the first row is the top one
        (277, "SHORT", 1, 1),
        (278, "LONG", 1, side),
        (279, "LONG", 1, 2 * side * side),
        (282, "RATIONAL", 1, _RESOLUTIONS),
        (283, "RATIONAL", 1, _RESOLUTIONS + 8),
        (296, "SHORT", 1, pitch.unit),
        (305, "ASCII", len(_SOFTWARE_TEXT), _SOFTWARE),
        (306, "ASCII", 20, _DATE_TIME),
    ]
    head = struct.pack("<2sHI", b"II", 42, _DIRECTORY) + directory(entries)
    return head + struct.pack("<4I", *pitch.x, *pitch.y) + date_time(facts.mtime_ns) + _SOFTWARE_TEXT


def _image(facts: StackFacts, side: int, pedestal: int) -> dict[str, float]:
    saturation = facts.geometry.saturation_counts
    return {
        "header_type": _FORMAT_VERSION,
        "header_byte_order": _LITTLE_ENDIAN,
        "data_byte_order": _LITTLE_ENDIAN,
        "header_size": DATA_OFFSET - _RECORD,
        "nfast": side,
        "nslow": side,
        "depth": 2,
        "record_length": 2 * side,
        "signif_bits": 16,
        "data_type": 16,
        "saturated_value": HIGHEST if saturation is None else min(saturation + pedestal, HIGHEST),
        "nimages": 1,
        # rows from the top, the fast axis along them, seen from the source
        "origin": 0,
        "orientation": 0,
        "view_direction": 0,
        "mean_bias": 1000 * pedestal,
    }


def _goniostat(facts: StackFacts, frame: int) -> dict[str, float]:
    settings = Settings.of(facts)
    distance_um = 1e3 * settings.distance_mm
    start_deg = settings.angle_deg(frame)
    return {
        "xtal_to_detector": distance_um,
        "beam_x": 1e3 * settings.beam_x_px,
        "beam_y": 1e3 * settings.beam_y_px,
        "integration_time": 1e3 * settings.exposure_s,
        "exposure_time": 1e3 * settings.exposure_s,
        "nreads": 1,
        "start_phi": 1e3 * start_deg,
        "start_xtal_to_detector": distance_um,
        "end_phi": 1e3 * (start_deg + settings.step_deg),
        "end_xtal_to_detector": distance_um,
        "rotation_axis": _PHI,
        "rotation_range": 1e3 * settings.step_deg,
        "pixelsize_x": 1e6 * settings.pixel_x_mm,
        "pixelsize_y": 1e6 * settings.pixel_y_mm,
        "source_wavelength": 1e5 * settings.wavelength_angstrom,
    }


def _fitting(value: float, name: str, facts: StackFacts, frame: int) -> int:
    if not -(2**31) <= value < 2**31 - 1:
        raise LayoutError(
            f"the number {value:g} of {name} does not fit into 32 bits",
            file=facts.url,
            frame=frame,
            hint="check the geometry for numbers that are too large",
        )
    return round(value)


def _texts(facts: StackFacts, frame: int) -> dict[str, str]:
    # month, day, hour, minute, year and seconds, in the order of the program date of Unix
    start = moment(facts, frame)
    time = f"{start:%m%d%H%M}{start.year:04d}.{start:%S}"
    return {
        "header_name": "MMX",
        "filetitle": printable(facts.geometry.title or ""),
        "acquire_timestamp": time,
        "header_timestamp": time,
        "save_timestamp": time,
        "file_comments": f"fastlegacy: {printable(facts.url)}",
    }
