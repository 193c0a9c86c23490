# SPDX-License-Identifier: MIT
"""Plain facts that every room may import: what a stack is, what its geometry is, what a legacy file is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from fastlegacy.pixels import Code, Coded, Form, PixelPolicy

__all__ = [
    "CodedPixels",
    "Geometry",
    "Layout",
    "Literal",
    "Option",
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
    angles_deg : tuple of float or None
        Rotation angle at the start of each frame, where they were recorded one by one; it goes before start and step.
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
    saturation_counts : int or None
        The largest value that a pixel can be trusted with.
    detector : str or None
        Name and serial number of the detector.
    sensor_material : str or None
        Such as ``"Si"`` or ``"CdTe"``.
    sensor_thickness_m, threshold_ev, period_s : float or None
        Thickness of the sensor, energy threshold of the counter, time from frame to frame.
    title : str or None
        What the user calls the measurement.
    start_time : str or None
        When it began, as ISO 8601.
    motors, counters : mapping of str to (float, or sequence of float with one value for each frame)
        Positions and readings by their mnemonics.
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
    saturation_counts: int | None = None
    detector: str | None = None
    sensor_material: str | None = None
    sensor_thickness_m: float | None = None
    threshold_ev: float | None = None
    period_s: float | None = None
    title: str | None = None
    start_time: str | None = None
    angles_deg: tuple[float, ...] | None = None
    motors: Mapping[str, float | Sequence[float]] = field(default_factory=dict)
    counters: Mapping[str, float | Sequence[float]] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    def angle_deg(self, frame: int) -> float | None:
        """Rotation angle at the start of a frame, degrees; None where it is not known.

        One more than the last frame is possible: where the last one ends.
        """
        if self.angles_deg is not None:
            last = len(self.angles_deg) - 1
            return self.angles_deg[frame] if frame <= last else self.angles_deg[last] + (self.step_deg or 0.0)
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
        (frames, ny, nx): ny rows (slow), nx columns (fast), after binning and turning.
    leading_shape : tuple of int
        The dataset's axes before (ny, nx) as they are in HDF5; their product is the number of frames.
    dtype : numpy.dtype
        Of the pixels before the layout's form is applied, byte order included: as stored, unless they are binned.
    mtime_ns : int
        Newest modification time of the files behind the stack, nanoseconds since 1970.
    geometry : Geometry
    policy : PixelPolicy
        What the user wants of pixels.
    options : mapping
        Options of the layout, each with a value: what the user gave, else the default.
    """

    url: str
    shape: tuple[int, int, int]
    leading_shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    mtime_ns: int = 0
    geometry: Geometry = Geometry()
    policy: PixelPolicy = field(default_factory=PixelPolicy)
    options: Mapping[str, Any] = field(default_factory=dict)

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
    scan, detector : str
        Their names, where the file has them.
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
    scan: str = ""
    detector: str = ""


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that stand in the file as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pixels:
    """All pixels of ``frames`` frames from ``first`` on, C order.

    Attributes
    ----------
    first, frames : int
    byteorder : str
        ``"<"``, ``">"`` or ``"|"`` (as the stack has it); without a form.
    form : Form or None
        What becomes of each pixel; None: its value as it is.
    """

    first: int
    frames: int = 1
    byteorder: str = "|"
    form: Form | None = None


@dataclass(frozen=True, slots=True)
class CodedPixels:
    """One frame through a codec: as many bytes as was measured."""

    frame: int
    code: Code
    size: int


@dataclass(frozen=True, slots=True)
class Padding:
    """A byte that is repeated."""

    size: int
    value: int = 0


Piece = Literal | Pixels | CodedPixels | Padding


def piece_size(piece: Piece, facts: StackFacts) -> int:
    """Bytes that a piece takes in the file."""
    match piece:
        case Literal(data):
            return len(data)
        case Pixels(frames=frames, form=None):
            return frames * facts.frame_bytes
        case Pixels(frames=frames, form=form) if form is not None:
            return frames * form.shape[0] * form.shape[1] * np.dtype(form.dtype).itemsize
        case CodedPixels(size=size) | Padding(size=size):
            return size
    raise TypeError(f"{piece!r} is no piece of a file")


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that a layout offers: ``--option NAME=VALUE``.

    Attributes
    ----------
    default : bool, int, float or str
        Its type is the type of every value.
    help : str
        One line.
    choices : tuple
        The values that are possible; empty: all of the type.
    """

    default: bool | int | float | str
    help: str
    choices: tuple[bool | int | float | str, ...] = ()


class Layout:
    """A legacy format as a byte layout. One file in ``fastlegacy.layouts`` defines one, as ``LAYOUT``.

    Every number of a file (``index``) counts files from 0. Its frame is :meth:`frame_of`.

    Attributes
    ----------
    name : str
        What the user types after ``--format``.
    suffix : str
        File suffix with its dot.
    per_frame : bool
        True: one file for each frame. False: one file for the whole stack.
    summary : str
        One line for ``fastlegacy formats``: what the format is.
    readers : tuple of str
        Programs that read it.
    dtypes : tuple of str
        NumPy codes without byte order (``"u2"``) of the pixels that the format can be made from.
    encoded : bool
        The size of a file depends on its pixels, at least with some options.
    options : mapping of str to Option
    companions : tuple of str
        Names of the companions that are shown beside the files unless the user says otherwise.
    wants : tuple of (str, or tuple of str)
        Attributes of :class:`Geometry` that headers have a place for and programs depend on. Where nobody said one, the
        header has a neutral value, or leaves the line out. Of several in a tuple one is enough.
    uses : tuple of str
        The other attributes of :class:`Geometry` that change headers or names; nothing is missed where they are not
        known.
    """

    name: str
    suffix: str
    summary: str
    dtypes: tuple[str, ...]
    per_frame: bool = True
    readers: tuple[str, ...] = ()
    encoded: bool = False
    options: Mapping[str, Option] = MappingProxyType({})
    companions: tuple[str, ...] = ()
    wants: tuple[str | tuple[str, ...], ...] = ()
    uses: tuple[str, ...] = ()

    def option(self, facts: StackFacts, name: str) -> Any:
        """Return the value of an option: what the user gave, else the default."""
        return facts.options.get(name, self.options[name].default)

    def stem(self, facts: StackFacts, stem: str) -> str:
        """Return what comes before the number in the names of the files."""
        del facts
        return stem

    @property
    def digits(self) -> int:
        """Numbers in names are padded with zeros to so many digits."""
        return 4

    def frame_of(self, facts: StackFacts, index: int) -> int:
        """Return the frame of a file, both counted from 0 (layouts with one file for each frame)."""
        del facts
        return index

    def code(self, facts: StackFacts) -> Code | None:
        """Return the codec of the bodies, the same for all frames; None where no size depends on the pixels.

        Raises
        ------
        LayoutError
            If the format cannot hold this stack.
        """
        del facts
        return None

    def constant_size(self, facts: StackFacts) -> int | None:
        """Return the size of every file of an encoded layout that pads them to one; None where sizes differ."""
        del facts
        return None

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return what a file is made of, in order (``index`` is 0 for a whole-stack layout).

        The total size is the same for every file of a stack where :meth:`code` is None. Else all but the encoded
        pixels has the same size where the numbers in ``coded`` have as many digits.

        Parameters
        ----------
        facts : StackFacts
        index : int
        coded : Coded or None
            What was measured of the frame; given where :meth:`code` is not None.

        Raises
        ------
        LayoutError
            If the format cannot hold this stack.
        IndexError
            If there is no such file.
        """
        raise NotImplementedError


def number_of_frames(leading_shape: tuple[int, ...]) -> int:
    """Product of the leading axes (1 for a 2D dataset)."""
    return math.prod(leading_shape)
