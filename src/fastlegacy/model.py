# SPDX-License-Identifier: MIT
"""Plain facts that every room may import: what a stack is, what its geometry is, what a legacy file is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

__all__ = [
    "Geometry",
    "Layout",
    "Literal",
    "Padding",
    "Piece",
    "Pixels",
    "StackFacts",
    "StackInfo",
    "piece_size",
]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What legacy headers are made from. ``None`` means: nobody said.

    Attributes
    ----------
    start_deg, step_deg : float or None
        Rotation angle at the start of frame 0, and its change from frame to frame, degrees.
    exposure_s : float or None
        Exposure time of one frame, seconds.
    wavelength_angstrom, distance_m : float or None
        Wavelength, and distance from sample to detector.
    beam_x_px, beam_y_px : float or None
        Direct beam in pixels, counted from the centre of the first pixel: x along the fast axis, y along the slow one.
    pixel_x_m, pixel_y_m : float or None
        Pixel size along the fast and the slow axis.
    run : int or None
        Run number that some formats put into names and headers.
    origin : mapping of str to str
        Where each value came from: name of the attribute -> "command line", "HDF5", ...
    """

    start_deg: float | None = None
    step_deg: float | None = None
    exposure_s: float | None = None
    wavelength_angstrom: float | None = None
    distance_m: float | None = None
    beam_x_px: float | None = None
    beam_y_px: float | None = None
    pixel_x_m: float | None = None
    pixel_y_m: float | None = None
    run: int | None = None
    origin: Mapping[str, str] = field(default_factory=dict)

    def angle_deg(self, frame: int) -> float | None:
        """Rotation angle at the start of a frame, degrees; None where start or step is not known."""
        if self.start_deg is None or self.step_deg is None:
            return None
        return self.start_deg + frame * self.step_deg


@dataclass(frozen=True, slots=True)
class StackFacts:
    """What a layout may know of a stack.

    Attributes
    ----------
    url : str
        ``file.h5::/path``.
    shape : tuple of int
        (frames, ny, nx): ny rows (slow), nx columns (fast).
    leading_shape : tuple of int
        The dataset's axes before (ny, nx) as they are in HDF5; their product is the number of frames.
    dtype : numpy.dtype
        As stored, byte order included.
    mtime_ns : int
        Newest modification time of the files behind the stack, nanoseconds since 1970.
    geometry : Geometry
    """

    url: str
    shape: tuple[int, int, int]
    leading_shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    mtime_ns: int = 0
    geometry: Geometry = Geometry()

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's pixels."""
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def leading_index(self, frame: int) -> tuple[int, ...]:
        """Index of a frame (counted from 0) along each of the leading axes."""
        if not 0 <= frame < self.shape[0]:
            raise IndexError(f"frame {frame} of a stack of {self.shape[0]} frames")
        return tuple(int(i) for i in np.unravel_index(frame, self.leading_shape)) if self.leading_shape else ()


@dataclass(frozen=True, slots=True)
class StackInfo:
    """What ``fastlegacy ls`` says of a stack.

    Attributes
    ----------
    url : str
    shape : tuple of int
        Of the dataset, as HDF5 has it.
    dtype : str
    filters : list of str
        In the order in which they were applied; of the first dataset that holds pixels.
    chunks : tuple of int or None
        Shape of a chunk of that dataset, None where it is not chunked.
    stored_bytes, nbytes : int
        On disk, and decoded.
    frames, frames_stored : int
        How many there are by the shape, and how many of them were ever written.
    decoded_by : str
        "kernel", "plugin", "h5py" or "stored" (nothing to decode).
    source, why : str
        The convention that found it, and by what it was recognised.
    """

    url: str
    shape: tuple[int, ...]
    dtype: str
    filters: list[str]
    chunks: tuple[int, ...] | None
    stored_bytes: int
    nbytes: int
    frames: int
    frames_stored: int
    decoded_by: str
    source: str
    why: str


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that stand in the file as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pixels:
    """All pixels of ``frames`` frames from ``first`` on, C order, in the given byte order.

    ``byteorder`` is ``"<"``, ``">"`` or ``"|"`` (as the stack has it).
    """

    first: int
    frames: int = 1
    byteorder: str = "|"


@dataclass(frozen=True, slots=True)
class Padding:
    """A byte that is repeated."""

    size: int
    value: int = 0


Piece = Literal | Pixels | Padding


def piece_size(piece: Piece, facts: StackFacts) -> int:
    """Bytes that a piece takes in the file."""
    match piece:
        case Literal(data):
            return len(data)
        case Pixels(frames=frames):
            return frames * facts.frame_bytes
        case Padding(size=size):
            return size


class Layout(Protocol):
    """A legacy format as a byte layout. One file in ``fastlegacy.layouts`` defines one, as ``LAYOUT``.

    Attributes
    ----------
    name : str
        What the user types after ``--format``.
    suffix : str
        File suffix with its dot.
    per_frame : bool
        True: one file for each frame. False: one file for the whole stack.
    summary : str
        One line for ``fastlegacy formats``: the format, and programs that read it.
    dtypes : tuple of str
        NumPy codes without byte order (``"u2"``) that the format can hold.
    """

    name: str
    suffix: str
    per_frame: bool
    summary: str
    dtypes: tuple[str, ...]

    def pieces(self, facts: StackFacts, frame: int) -> tuple[Piece, ...]:
        """Return what the file of a frame is made of, in order (``frame`` is 0 for a whole-stack layout).

        The total size must be the same for every frame of a stack.

        Raises
        ------
        LayoutError
            If the format cannot hold this stack.
        """
        ...


def number_of_frames(leading_shape: tuple[int, ...]) -> int:
    """Product of the leading axes (1 for a 2D dataset)."""
    return math.prod(leading_shape)
