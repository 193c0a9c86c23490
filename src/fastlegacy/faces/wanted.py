# SPDX-License-Identifier: MIT
"""Which stacks, and which of their frames: in, what the user typed; out, yes or no, and slices."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastlegacy.errors import UrlError

if TYPE_CHECKING:
    from fastlegacy.hdf5.url import Selection
    from fastlegacy.sources.find import Found

__all__ = ["ALL", "Wanted", "frames_of_range", "frames_of_text"]

_THRESHOLD = re.compile(r"(?:.*_)?threshold_([0-9]+)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of all that was found.

    Attributes
    ----------
    scans, detectors : tuple of str
        Names, or patterns as a shell has them; none: all.
    thresholds : tuple of int
        Channels of detectors with several thresholds, counted from 1; stacks without are not concerned. None: all.
    frames : slice or None
        Of the frames of each stack, as Python has it.
    """

    scans: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    thresholds: tuple[int, ...] = ()
    frames: slice | None = None

    def has(self, found: Found) -> bool:
        """Tell whether a stack is wanted."""
        if not (_matches(found.scan, self.scans) and _matches(found.detector, self.detectors)):
            return False
        threshold = _THRESHOLD.fullmatch(found.detector)
        return not self.thresholds or threshold is None or int(threshold[1]) in self.thresholds

    def selection(self, of: Selection | None) -> Selection | None:
        """Return the slice of a dataset with the frames that are wanted in it.

        Parameters
        ----------
        of : tuple or None
            What belongs to the stack, such as one threshold; its first item is that of the frames.

        Raises
        ------
        UrlError
            If the selection takes away, or leaves out, the first axis.
        """
        if self.frames is None:
            return of
        first, *rest = of or (slice(None),)
        if first is ... or isinstance(first, int) or first != slice(None):
            raise UrlError(
                "frames cannot be selected twice", hint="select them in the url by slice=..., or by --frames"
            )
        return (self.frames, *rest)


ALL = Wanted()
"""Everything."""


def frames_of_text(text: str, what: str = "--frames") -> slice:
    """Return the slice of ``0:100:2``, counted from 0; a number alone is one frame.

    Raises
    ------
    UrlError
        If it is something else, or runs backwards.
    """
    words = text.split(":")
    try:
        numbers = [int(word) if word.strip() else None for word in words]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and numbers[0] is not None:
        one = numbers[0]
        return slice(one, one + 1 or None)
    if not 2 <= len(numbers) <= 3 or (len(numbers) == 3 and numbers[2] is not None and numbers[2] < 1):
        hint = "write START:STOP or START:STOP:STEP, counted from 0, such as 0:100:2"
        raise UrlError(f"{what}: {text!r} is not understood", hint=hint)
    return slice(*numbers)


def frames_of_range(text: str, first: int, what: str = "--image-range") -> tuple[slice, int]:
    """Return the slice of the files with the numbers ``1,100`` (both of them too), and the first number.

    Parameters
    ----------
    text : str
    first : int
        Number of the file of frame 0.

    Raises
    ------
    UrlError
        If it is something else, or a number is less than that of the first file.
    """
    try:
        numbers = [int(word) for word in re.split(r"[,:-]", text.strip())]
    except ValueError:
        numbers = []
    if len(numbers) != 2 or not first <= numbers[0] <= numbers[1]:
        hint = f"write FIRST,LAST, the numbers of files, {first} or more, such as {first},{first + 99}"
        raise UrlError(f"{what}: {text!r} is not understood", hint=hint)
    return slice(numbers[0] - first, numbers[1] - first + 1), numbers[0]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
