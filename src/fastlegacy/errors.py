# SPDX-License-Identifier: MIT
"""The errors of fastlegacy: one sentence that says what is wrong and where, and what to do next.

Every error keeps the parts it speaks of (``file``, ``dataset``, ``frame``) and an ``errno`` for the mount,
and is also one of Python's own errors, the one that a caller would catch anyway.
"""

from __future__ import annotations

import errno as _errno
import os

__all__ = [
    "DecodeError",
    "ExportError",
    "FastlegacyError",
    "FilterError",
    "LayoutError",
    "MountError",
    "NoFramesError",
    "NotAStackError",
    "SilentSourceError",
    "SourceError",
    "UrlError",
]


class FastlegacyError(Exception):
    """Base of all errors that fastlegacy raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence.
    file, dataset : str or os.PathLike, optional
        The HDF5 file and the dataset in it that are concerned.
    frame : int, optional
        The frame concerned, counted from 0.
    hint : str, optional
        What the user can do next.
    """

    errno: int = _errno.EIO

    def __init__(
        self,
        message: str,
        *,
        file: str | os.PathLike[str] | None = None,
        dataset: str | None = None,
        frame: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else os.fspath(file)
        self.dataset = dataset
        self.frame = frame
        self.hint = hint

    def __str__(self) -> str:
        where = self.file or ""
        if self.dataset:
            where += f"::{self.dataset}"
        if self.frame is not None:
            where += f" frame {self.frame}"
        text = f"{where.strip()}: {self.message}" if where else self.message
        if not self.hint:
            return text
        return f"{text}{'' if text.endswith(('.', '!', '?')) else ';'} {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own __reduce__ calls the class with its positional arguments only
        return _rebuild, (type(self), self.message, self.file, self.dataset, self.frame, self.hint)


def _rebuild(
    cls: type[FastlegacyError],
    message: str,
    file: str | None,
    dataset: str | None,
    frame: int | None,
    hint: str | None,
) -> FastlegacyError:
    return cls(message, file=file, dataset=dataset, frame=frame, hint=hint)


class UrlError(FastlegacyError, ValueError):
    """The text does not name a dataset, or an option's value cannot be understood."""

    errno = _errno.EINVAL


class NoFramesError(UrlError):
    """Of the frames that were asked for, a stack has none."""


class SourceError(FastlegacyError, OSError):
    """A file is missing, is not HDF5, is cut short, or changed while it was in use."""

    errno = _errno.EIO


class SilentSourceError(SourceError):
    """The file system with a file does not answer; others wait for it in vain."""


class NotAStackError(FastlegacyError, ValueError):
    """The dataset exists, but it is not a series of 2D frames of a supported dtype."""

    errno = _errno.EINVAL


class FilterError(FastlegacyError, OSError):
    """A compression filter is not available on this machine."""

    errno = _errno.ENOTSUP


class DecodeError(FastlegacyError, OSError):
    """Stored bytes are not what their filter pipeline says they are."""

    errno = _errno.EIO


class LayoutError(FastlegacyError, ValueError):
    """A legacy format cannot hold what it is asked to hold."""

    errno = _errno.EINVAL


class MountError(FastlegacyError, OSError):
    """The mount cannot be made, or not be ended."""

    errno = _errno.EIO


class ExportError(FastlegacyError, OSError):
    """A file cannot be written where it should go."""

    errno = _errno.EEXIST
