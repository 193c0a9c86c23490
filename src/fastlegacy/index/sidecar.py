# SPDX-License-Identifier: MIT
"""Sizes of encoded frames across mounts: a table of integers, kept in a file in the user's cache folder.

Such a file is a line with the version, a line of JSON with all that the sizes depend on, the table (little-endian
64-bit integers), and the SHA-256 of all this. Whatever is not exactly as it should be is not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlegacy.index.store import (
    Source,
    cache_folder,
    close_folder,
    locked,
    open_folder,
    read,
    seal,
    tidy,
    unseal,
    write,
)

__all__ = ["Rows", "SideFile", "side_file"]

_log = logging.getLogger("fastlegacy.sizes")

Rows = NDArray[np.int64]
"""A row for each frame: bytes, and the counts where there are any; -1 is "not known"."""

_MAGIC = b"fastlegacy sizes 2\n"
_STORED = np.dtype("<i8")

_FILES_MAX = 1000
_BYTES_MAX = 64 * 2**20


def side_file(
    key: str,
    sources: Callable[[], Sequence[Source]],
    environment: Mapping[str, str] = os.environ,
    *,
    folder: Path | None = None,
) -> SideFile | None:
    """Return the side file of a key in a folder, by default the user's cache folder; None where there is to be none.

    See :class:`SideFile` for the parameters. Where no file is behind the stack, nothing would tell that its pixels
    have changed: then there is none either.
    """
    folder = folder or cache_folder(environment)
    found = sources() if folder is not None else ()
    if folder is None or not found:
        return None
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    return SideFile(folder / "sizes" / f"{name}.sizes", key, found)


class SideFile:
    """A file with the table of one stack in one form.

    The folder is made and opened here and now. It is used through its descriptor from then on, so that a mount may
    cover it: through the mount, the process that serves it would wait for itself.

    Parameters
    ----------
    path : pathlib.Path
    key : str
        Everything that the sizes depend on, except the contents of the files.
    sources : sequence of Source
        The files behind the stack as they were before the first frame was measured. What is measured after a file has
        changed is then kept under a signature that is never seen again.
    """

    def __init__(self, path: Path, key: str, sources: Sequence[Source]) -> None:
        self.path = path
        self._name = path.name
        self._label = {"key": key, "sources": [list(source) for source in sources]}
        self._warned = False
        self._folder = -1
        self._trouble: OSError | None = None
        try:
            self._folder = open_folder(path.parent)
        except OSError as error:
            self._trouble = error
        self._finalizer = weakref.finalize(self, close_folder, self._folder)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        return f"<SideFile {self.path}>"

    def load(self, shape: tuple[int, int]) -> Rows | None:
        """Return the table of this shape, or None where there is none that is valid. What is not valid is removed."""
        if self._folder < 0:
            return None
        try:
            data = read(self._folder, self._name)
            rows = _rows(data, self._header(shape), shape)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.debug("%s is not used: %s", self.path, error)
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
            return None
        # files that were not used for the longest time are the first to be removed
        with suppress(OSError):
            os.utime(self._name, dir_fd=self._folder, follow_symlinks=False)
        return rows

    def save(self, rows: Rows) -> Rows | None:
        """Keep a table, and return it together with what other processes have kept meanwhile.

        Returns
        -------
        ndarray (frames, numbers of each) or None
            None: it could not be kept, or another process has kept one of newer files.
        """
        try:
            if self._trouble is not None:
                raise self._trouble
            if self._folder < 0:
                return None
            with locked(self._folder):
                return self._saved(rows)
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "sizes cannot be kept in %s (%s): they are measured again by the next mount",
                    self.path.parent,
                    error.strerror or error,
                )
            return None

    def close(self) -> None:
        """Let go of the folder. Nothing is loaded or saved after this."""
        self._folder, self._trouble = -1, None
        self._finalizer()

    def _header(self, shape: tuple[int, ...]) -> bytes:
        return _MAGIC + json.dumps({"shape": shape, **self._label}, sort_keys=True).encode("ascii") + b"\n"

    def _saved(self, rows: Rows) -> Rows | None:
        header = self._header(rows.shape)
        is_new = False
        try:
            data = read(self._folder, self._name)
        except FileNotFoundError:
            is_new, data = True, bytearray()
        try:
            kept = _rows(data, header, rows.shape)
        except ValueError:
            if _newest(data) > _newest_source(self._label["sources"]):
                return None
        else:
            rows = np.where(rows[:, :1] >= 0, rows, kept)
            if np.array_equal(rows, kept):
                return rows
        body = header + rows.astype(_STORED).tobytes()
        write(self._folder, self._name, seal(body))
        if is_new:
            tidy(self._folder, self._name, ".sizes", _FILES_MAX, _BYTES_MAX)
        return rows


# ------------------------------------------------------------------------------------------------------- the content


def _rows(data: bytearray, header: bytes, shape: tuple[int, ...]) -> Rows:
    """Return the table in a file that has this header, in the memory of `data`; ValueError: it cannot be used."""
    body = unseal(data, _MAGIC)
    if body[: len(header)] != header:
        raise ValueError("it is of another stack, another form, or of files that have changed since")
    return np.frombuffer(body, _STORED, offset=len(header)).astype(np.int64, copy=False).reshape(shape)


def _newest(data: bytearray) -> int:
    """Return the newest modification time in a file's header; -1 for a file that is not valid at all."""
    try:
        label = json.loads(bytes(unseal(data, _MAGIC)[len(_MAGIC) :]).split(b"\n", 1)[0])
        return _newest_source(label["sources"])
    except (ValueError, KeyError, TypeError, IndexError):
        return -1


def _newest_source(sources: Any) -> int:
    return max((int(mtime_ns) for _, _, mtime_ns, _ in sources), default=-1)
