# SPDX-License-Identifier: MIT
"""What several layouts ask of a stack before they describe a file."""

from __future__ import annotations

from fastlegacy.errors import LayoutError
from fastlegacy.model import StackFacts

__all__ = ["ALL_DTYPES", "require_dtype", "require_frame", "require_only_file"]

ALL_DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")


def require_dtype(facts: StackFacts, name: str, dtypes: tuple[str, ...]) -> None:
    """Raise LayoutError unless the pixels have one of the dtypes (NumPy codes without byte order)."""
    if facts.dtype.str[1:] not in dtypes:
        raise LayoutError(
            f"the format {name} cannot hold pixels of type {facts.dtype}",
            file=facts.url,
            hint=f"it holds {', '.join(dtypes)}: convert them (--dtype), or see what 'fastlegacy formats' lists",
        )


def require_frame(facts: StackFacts, frame: int) -> None:
    """Raise IndexError unless the stack has the frame (counted from 0)."""
    if not 0 <= frame < facts.shape[0]:
        raise IndexError(f"frame {frame} of a stack of {facts.shape[0]} frames")


def require_only_file(frame: int) -> None:
    """Raise IndexError unless the one file of a whole-stack format is asked for, which is file 0."""
    if frame != 0:
        raise IndexError(f"file {frame} of a whole-stack format, which has only file 0")
