# SPDX-License-Identifier: MIT
"""A stack as the files of a mount show it: masked, binned, turned. What layouts are told of it, and its pixels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastlegacy import _core, _view
from fastlegacy.errors import LayoutError
from fastlegacy.index.conversion import How, how
from fastlegacy.model import Geometry, StackFacts
from fastlegacy.pixels import AS_STORED, Code, Form, Orientation, PixelPolicy

__all__ = ["StackLike", "View"]

Classes = NDArray[np.uint8]


class StackLike(Protocol):
    """What a view needs of a stack."""

    @property
    def facts(self) -> StackFacts:
        """Shape, dtype, times and geometry."""

    @property
    def core(self) -> _core.Stack:
        """The kernels' view of it."""

    @property
    def cache(self) -> _core.Cache:
        """Where whole frames are kept."""

    def prepare(self, first_frame: int, last_frame: int) -> None:
        """Fetch the chunk maps that some frames need."""

    def signature(self) -> list[tuple[str, int, int, int]]:
        """Path, size, mtime_ns and inode of every HDF5 file behind it, as they were when it was opened."""

    def redirect(self, prefix: str, replacement: str) -> None:
        """Open files below a folder by another path to it from now on."""

    def end_redirect(self, prefix: str) -> None:
        """Open files below a folder by their own paths again."""


class View:
    """A stack as its files show it.

    Parameters
    ----------
    stack : Stack
    mask : ndarray of uint8 (ny, nx) of the stored frame, optional
        0 valid, 1 gap, 2 bad. Without it, unsigned pixels whose bits are all set are gaps.
    orientation : Orientation
    binning : int
        Squares of so many pixels along each side become one pixel, their sum.
    policy : PixelPolicy

    Raises
    ------
    LayoutError
        If the mask has another shape than the frames, or the binning is impossible.

    Attributes
    ----------
    stack : Stack
    facts : StackFacts
        Of the frames as they are seen; the beam centre and the pixel size are those of the seen pixels.
    mask : ndarray or None
        As given.
    core : _view.View
    """

    def __init__(
        self,
        stack: StackLike,
        *,
        mask: Classes | None = None,
        orientation: Orientation = AS_STORED,
        binning: int = 1,
        policy: PixelPolicy | None = None,
    ) -> None:
        stored = stack.facts
        self.stack = stack
        self.orientation = orientation
        self.binning = binning
        self.mask = None if mask is None else np.ascontiguousarray(mask, np.uint8)
        if not 1 <= binning <= min(*stored.shape[1:], 64):
            raise LayoutError(f"frames of {stored.shape[1:]} pixels cannot be binned by {binning}", file=stored.url)
        if self.mask is not None and self.mask.shape != stored.shape[1:]:
            raise LayoutError(
                f"the mask has {self.mask.shape} pixels, a frame {stored.shape[1:]}",
                file=stored.url,
                hint="a mask has the shape and orientation of the frames as they are stored",
            )
        self.facts = replace(
            stored,
            shape=(stored.shape[0], *orientation.shape(_binned_shape(stored.shape[1:], binning))),
            dtype=_binned_dtype(stored.dtype, binning),
            geometry=_moved(stored, orientation, binning),
            policy=policy or PixelPolicy(),
        )

    @cached_property
    def core(self) -> _view.View:
        """The kernels' view of it."""
        stored = self.stack.facts.dtype
        return _view.View(
            self.stack.core,
            self.stack.cache,
            stored.str[1:],
            not stored.isnative,
            mask=None if self.mask is None else self.mask.reshape(-1),
            binning=self.binning,
            transpose=self.orientation.transpose,
            flip_ud=self.orientation.flip_ud,
            flip_lr=self.orientation.flip_lr,
        )

    def of(self, stack: StackLike) -> View:
        """Return the same view of a stack that has the same pixels, and other facts: its files know what this one does.

        Raises
        ------
        ValueError
            If it has other pixels.
        """
        if stack.core is not self.stack.core:
            raise ValueError(f"{stack.facts.url} has other pixels")
        orientation, binning = self.orientation, self.binning
        other = View(stack, mask=self.mask, orientation=orientation, binning=binning, policy=self.facts.policy)
        other.__dict__["core"] = self.core  # what is cached by it stays
        return other

    @property
    def is_plain(self) -> bool:
        """Frames are seen as they are stored, but for what a form does."""
        return self.binning == 1 and self.orientation == AS_STORED

    def seen_mask(self) -> Classes | None:
        """Return the mask as the frames are seen, (ny, nx); None where there is none."""
        if self.mask is None:
            return None
        n = self.binning
        ny, nx = _binned_shape(self.stack.facts.shape[1:], n)
        squares = self.mask[: ny * n, : nx * n].reshape(ny, n, nx, n)
        # as numbers 1 (gap) is less than 2 (bad), but a gap is stronger
        seen = np.where((squares == 1).any((1, 3)), np.uint8(1), squares.max((1, 3)))
        if self.orientation.transpose:
            seen = seen.T
        if self.orientation.flip_ud:
            seen = seen[::-1]
        if self.orientation.flip_lr:
            seen = seen[:, ::-1]
        return np.ascontiguousarray(seen, np.uint8)

    def facts_for(self, options: Mapping[str, Any]) -> StackFacts:
        """Return the facts with the options of a layout."""
        return replace(self.facts, options=dict(options))

    def form(self, form: Form | None, byteorder: str = "|") -> Form | None:
        """Return the form that pixels without one have, None where they are as they are stored."""
        if form is not None or self.is_plain:
            return form
        dtype = self.facts.dtype if byteorder == "|" else self.facts.dtype.newbyteorder(byteorder)  # type: ignore[arg-type]
        outside: float | None = None
        if self.binning > 1:  # a sum with a gap in it is none
            outside = math.nan if dtype.kind == "f" else -1 if dtype.kind == "i" else int(np.iinfo(dtype.str).max)
        return Form(dtype.str, self.facts.shape[1:], gap=outside, bad=outside)

    def how(self, form: Form, code: Code | None = None) -> How:
        """Return what the kernels take for a form, and the codec that gets it.

        Raises
        ------
        LayoutError
            If the form is impossible for these pixels.
        """
        try:
            return how(form, self.core.source_dtype, None if code is None else code.codec)
        except ValueError as error:
            raise LayoutError(f"pixels cannot be written so: {error}", file=self.facts.url) from error

    def measure(self, frame: int, code: Code) -> tuple[int, ...]:
        """Return how large a frame becomes: bytes, and the counts that belong to it (the entries of Bruker's tables).

        Raises
        ------
        SourceError, DecodeError, LayoutError
            If the pixels cannot be read, or are beyond limits that are an error.
        """
        self.stack.prepare(frame, frame)
        return self.core.measure(frame, self.how(code.form, code))[: 1 + code.counts]

    def fingerprint(self) -> str:
        """Return a text that differs where the pixels that are seen differ, for the same HDF5 files."""
        mask = "none" if self.mask is None else hashlib.sha256(self.mask.tobytes()).hexdigest()
        return f"{self.facts.url} binning {self.binning} {self.orientation} mask {mask} {self.facts.dtype.str}"


def _binned_shape(shape: tuple[int, ...], n: int) -> tuple[int, int]:
    return shape[0] // n, shape[1] // n


def _binned_dtype(dtype: np.dtype[Any], n: int) -> np.dtype[Any]:
    if n == 1 or dtype.kind == "f":
        return dtype
    order = dtype.byteorder if dtype.byteorder in "<>" else "="
    return np.dtype(f"{order}{dtype.kind}{4 if dtype.itemsize <= 2 else 8}")


def _moved(stored: StackFacts, orientation: Orientation, n: int) -> Geometry:
    """The geometry of the seen pixels."""
    geometry = stored.geometry
    x_m, y_m = geometry.pixel_x_m, geometry.pixel_y_m
    x_m, y_m = (None if x_m is None else x_m * n), (None if y_m is None else y_m * n)
    if orientation.transpose:
        x_m, y_m = y_m, x_m
    beam_x, beam_y = geometry.beam_x_px, geometry.beam_y_px
    if n > 1 or orientation != AS_STORED:
        if beam_x is None or beam_y is None:  # half of a point cannot be turned
            beam_x = beam_y = None
        else:
            # squares share their outer edge with the first pixel, whose centre is half a pixel from it
            middle = (beam_y + 0.5) / n - 0.5, (beam_x + 0.5) / n - 0.5
            beam_y, beam_x = orientation.point(*middle, _binned_shape(stored.shape[1:], n))
    return replace(geometry, beam_x_px=beam_x, beam_y_px=beam_y, pixel_x_m=x_m, pixel_y_m=y_m)
