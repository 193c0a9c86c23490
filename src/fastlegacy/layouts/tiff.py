# SPDX-License-Identifier: MIT
"""Classic TIFF, little endian, one strip without compression whose pixels begin at byte 4096, as Pilatus files have it.

Read by fabio (pyFAI, Dioptas), tifffile, ImageJ, libtiff and what uses it. TIFF 6.0 (Adobe, 1992) says what the tags
mean. The geometry stands in ImageDescription in lines such as ``# Exposure_time 0.1 s``, the words of Pilatus
headers, for what is known of it. ``Beam_xy`` counts pixels from the outer corner of the first pixel, whose centre is
at 0.5. The directory begins at byte 130, by which fabio knows a Pilatus file and reads these lines.

Pillow reads u4 as signed numbers; fabio, tifffile and ImageJ read it right.
"""

from __future__ import annotations

import struct

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import require_frame
from fastlegacy.layouts._pixels import as_written, pixels
from fastlegacy.layouts._tiff_tags import Resolution, date_time, description, directory, resolution
from fastlegacy.model import Layout, Literal, Piece, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["DATA_OFFSET", "LAYOUT", "TiffLayout"]

DATA_OFFSET = 4096
_DIRECTORY = 130
_ENTRIES = 16
_RESOLUTIONS = 8
_DATE_TIME = 24
_SOFTWARE = 44
_TEXT = _DIRECTORY + 2 + 12 * _ENTRIES + 4
_SOFTWARE_TEXT = b"fastlegacy\0"
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}


class TiffLayout(Layout):
    """See the module. Headers have one length, and so has each line of them, whatever the frame."""

    name = "tiff"
    suffix = ".tif"
    summary = "TIFF with Pilatus comments"
    readers = ("fabio", "tifffile", "ImageJ", "pyFAI", "Dioptas")
    dtypes = ("u1", "u2", "u4", "i2", "i4", "f4")
    companions = ("poni", "mask")
    wants = (
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

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of a frame.

        Raises
        ------
        LayoutError
            If the format has no such pixels, a file would reach 4 GiB, or the header does not fit before the pixels.
        """
        written = as_written(facts, self.name, self.dtypes)
        require_frame(facts, index)
        _require_32_bits(written)
        return Literal(_header(written, index)), pixels(facts, index, byteorder="<")


def _require_32_bits(facts: StackFacts) -> None:
    if max(DATA_OFFSET + facts.frame_bytes, *facts.shape[1:]) >= 2**32:
        raise LayoutError(
            f"a frame of {facts.shape[1]} x {facts.shape[2]} pixels is too large for TIFF, whose files end at 4 GiB",
            file=facts.url,
            hint="use a format without that limit, such as edf or npy",
        )


def _header(facts: StackFacts, frame: int) -> bytes:
    text = description(facts, frame)
    if _TEXT + len(text) > DATA_OFFSET:
        raise LayoutError(
            f"the header takes {_TEXT + len(text)} bytes, and a TIFF has {DATA_OFFSET} before its pixels",
            file=facts.url,
            frame=frame,
            hint="reach the HDF5 file by a shorter path",
        )
    pitch = resolution(facts.geometry)
    values = struct.pack("<4I", *pitch.x, *pitch.y) + date_time(facts.mtime_ns)
    head = struct.pack("<2sHI", b"II", 42, _DIRECTORY) + values + _SOFTWARE_TEXT
    return (head.ljust(_DIRECTORY, b"\0") + _directory(facts, pitch, len(text)) + text).ljust(DATA_OFFSET, b"\0")


def _directory(facts: StackFacts, pitch: Resolution, text_bytes: int) -> bytes:
    _, ny, nx = facts.shape
    return directory(
        [
            (256, "LONG", 1, nx),
            (257, "LONG", 1, ny),
            (258, "SHORT", 1, 8 * facts.dtype.itemsize),
            (259, "SHORT", 1, 1),  # no compression
            (262, "SHORT", 1, 1),  # zero is black
            (270, "ASCII", text_bytes, _TEXT),
            (273, "LONG", 1, DATA_OFFSET),
            (277, "SHORT", 1, 1),
            (278, "LONG", 1, ny),
            (279, "LONG", 1, facts.frame_bytes),
            (282, "RATIONAL", 1, _RESOLUTIONS),
            (283, "RATIONAL", 1, _RESOLUTIONS + 8),
            (296, "SHORT", 1, pitch.unit),
            (305, "ASCII", len(_SOFTWARE_TEXT), _SOFTWARE),
            (306, "ASCII", 20, _DATE_TIME),
            (339, "SHORT", 1, _SAMPLE_FORMATS[facts.dtype.kind]),
        ]
    )


LAYOUT = TiffLayout()
