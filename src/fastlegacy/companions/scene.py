# SPDX-License-Identifier: MIT
"""What a companion may know of the frames that it stands beside, and what a companion is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fastlegacy.model import StackFacts

__all__ = ["Companion", "Scene"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The frames of one stack as files in a folder.

    Attributes
    ----------
    facts : StackFacts
        After binning and turning: its geometry counts pixels of the image, from the centre of the first one.
    layout, suffix : str
        Name of the layout of the frames, and the suffix of their names.
    stem : str
        What comes before the number in their names.
    digits : int
        Numbers are padded with zeros to so many digits (1: not padded).
    first, count : int
        Number of the first file, and how many files there are.
    frame_shape : tuple of int
        (ny, nx) of the frame in the files, at least that of the image.
    image_at : tuple of int
        Row and column of the frame where the image's first pixel is.
    mask : numpy.ndarray of shape (ny, nx), uint8, or None
        Of the image as the frames show it: 0 valid, 1 gap, 2 bad. None: nobody knows one.
    """

    facts: StackFacts
    layout: str
    suffix: str
    stem: str
    digits: int
    first: int
    count: int
    frame_shape: tuple[int, int]
    image_at: tuple[int, int] = (0, 0)
    mask: NDArray[np.uint8] | None = None

    @property
    def last(self) -> int:
        """Number of the last file."""
        return self.first + max(self.count, 1) - 1

    @property
    def base(self) -> str:
        """The stem without the separators at its end: ``scan_0001_`` is ``scan_0001``."""
        return self.stem.rstrip("_-. ") or "data"

    def template(self, placeholder: str) -> str | None:
        """Return the name of the files with one `placeholder` for each digit.

        None where the numbers have different lengths: programs that work with templates find no such files.
        """
        width = len(f"{self.first:0{self.digits}d}")
        if len(f"{self.last:0{self.digits}d}") != width:
            return None
        return f"{self.stem}{placeholder * width}{self.suffix}"


class Companion(Protocol):
    """A kind of files beside the frames. One file in ``fastlegacy.companions`` defines one, as ``COMPANION``.

    Attributes
    ----------
    name : str
        What the user types to ask for it.
    summary : str
        One line: what it is.
    readers : tuple of str
        Programs that read it.
    warns : bool
        Frames beside which it cannot be made have headers with neutral values, which is worth a warning.
    """

    name: str
    summary: str
    readers: tuple[str, ...]
    warns: bool

    def missing(self, scene: Scene) -> tuple[str, ...]:
        """Return what nobody said and the files cannot be without, in the user's words; empty: they can be made."""

    def files(self, scene: Scene) -> dict[str, bytes]:
        """Return the files, name -> content. Only to be called where nothing is missing."""
