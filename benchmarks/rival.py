# SPDX-License-Identifier: MIT
"""What fastlegacy is measured against: the plain way to mount HDF5 data as legacy files.

A file system of refuse's `Operations` in Python, after the description of ID11DataDisk: the folder is renamed to
FOLDER_real and a union of it and the frames is mounted in its place. A frame is read with h5py (which decompresses
inside libhdf5), made into a whole EDF or flat file by fabio, and kept as a `BytesIO`, the last 64 of them; each read
cuts its part out of that. One global lock guards the table of open files and all that passes through to real files;
each operation is counted and timed for the statistics at the end. Mount options are libfuse's own.

    python rival.py FILE DATASET FOLDER [--format edf|flat]

ctrl-c ends it and renames the folder back. It is a yardstick, not a tool: it can do little more than what is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import io
import itertools
import os
import signal
import stat
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import fabio.edfimage
import h5py
import hdf5plugin  # noqa: F401  (its import registers the filters)
import refuse.high

_CACHED_FILES = 64


class Frames:
    """The frames of one dataset as whole files."""

    def __init__(self, file: str, dataset: str, format: str) -> None:
        self._dataset = h5py.File(file, "r", locking=False)[dataset]
        self._encode = {"edf": self._edf, "flat": self._flat}[format]
        suffix = {"edf": "edf", "flat": "raw"}[format]
        self.names = {f"data{i + 1:04d}.{suffix}": i for i in range(len(self._dataset))}
        self.blob = lru_cache(_CACHED_FILES)(self._blob)
        self.size = len(self.blob(0))

    def _blob(self, frame: int) -> memoryview:
        return io.BytesIO(self._encode(frame)).getbuffer()

    def _edf(self, frame: int) -> bytes:
        header = {"Omega": f"{frame * 0.05:.4f}", "OmegaStep": "0.0500"}
        image = fabio.edfimage.EdfImage(data=self._dataset[frame], header=header)
        first = image._frames[0]
        first._set_container(image, 0)  # as fabio's own `write` does it
        return bytes(first.get_edf_block())

    def _flat(self, frame: int) -> bytes:
        pixels = self._dataset[frame]
        slow, fast = pixels.shape
        text = f"BINARY slow {slow:5d} x fast {fast:5d} header 256 bytes type {pixels.dtype.name}"
        body: bytes = pixels.tobytes()
        return f"{text:<253s}\r\n\x1a".encode("ascii") + body


class Union(refuse.high.Operations):  # type: ignore[misc]  # refuse is not typed
    """The union of a real folder and the frames."""

    def __init__(self, frames: Frames, real: str) -> None:
        self.frames = frames
        self.real = real
        self._pass_through = threading.Lock()
        self.virtual: dict[int, int] = {}
        self.descriptors: dict[int, int] = {}
        self.handles = itertools.count(1)
        self.calls: Counter[str] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, operation: str, *args: Any) -> Any:
        """Count and time every operation."""
        self.calls[operation] += 1
        start = time.perf_counter()
        result = super().__call__(operation, *args)
        self.seconds[operation] += time.perf_counter() - start
        return result

    def _path(self, path: str) -> str:
        return os.path.join(self.real, path.lstrip("/"))

    def _frame(self, path: str) -> int | None:
        if os.path.lexists(self._path(path)):
            return None
        return self.frames.names.get(path.lstrip("/"))

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Attributes of a frame are those of the folder, but for type and size."""
        virtual = self._frame(path) is not None
        found = os.lstat(self.real if virtual else self._path(path))
        names = ("st_atime", "st_ctime", "st_gid", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")
        attributes = {name: getattr(found, name) for name in names}
        if virtual:
            attributes |= {"st_mode": stat.S_IFREG | 0o444, "st_size": self.frames.size}
        return attributes

    def readdir(self, path: str, fh: int) -> Iterator[str]:
        """Real names, and in the uppermost folder the frames."""
        yield from (".", "..", *os.listdir(self._path(path)))
        if path == "/":
            yield from self.frames.names

    def open(self, path: str, flags: int) -> int:
        """Open a frame, or the real file."""
        frame = self._frame(path)
        fh = next(self.handles)
        if frame is None:
            self.descriptors[fh] = os.open(self._path(path), flags)
        else:
            self.virtual[fh] = frame
        return fh

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        """Create a real file."""
        fh = next(self.handles)
        self.descriptors[fh] = os.open(self._path(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
        return fh

    def read(self, path: str, size: int, offset: int, fh: int) -> Any:
        """Cut a part out of a frame's file, or read the real file under the lock."""
        with self._pass_through:
            frame = self.virtual.get(fh)
            if frame is None:
                os.lseek(self.descriptors[fh], offset, os.SEEK_SET)
                return os.read(self.descriptors[fh], size)
        blob = self.frames.blob(frame)
        size = max(0, min(size, len(blob) - offset))
        return (ctypes.c_char * size).from_buffer(blob, min(offset, len(blob)))

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Write to the real file under the lock."""
        if fh in self.virtual:
            raise OSError(errno.EPERM, "a frame cannot be written")
        with self._pass_through:
            os.lseek(self.descriptors[fh], offset, os.SEEK_SET)
            return os.write(self.descriptors[fh], data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        """Cut the real file."""
        os.truncate(self._path(path), length)

    def flush(self, path: str, fh: int) -> None:
        """Bring a real file to the disk at each close."""
        if fh in self.descriptors:
            os.fsync(self.descriptors[fh])

    def release(self, path: str, fh: int) -> None:
        """Forget a handle."""
        if self.virtual.pop(fh, None) is None:
            os.close(self.descriptors.pop(fh))


@contextlib.contextmanager
def renamed(folder: str) -> Iterator[str]:
    """Give the folder's place to an empty one, and in the end back to it."""
    real = folder + "_real"
    os.rename(folder, real)
    try:
        os.mkdir(folder)
        yield real
    finally:
        os.rmdir(folder)
        os.rename(real, folder)


def main() -> None:
    """Mount until ctrl-c."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("dataset")
    parser.add_argument("folder")
    parser.add_argument("--format", choices=["edf", "flat"], default="edf")
    arguments = parser.parse_args()
    frames = Frames(arguments.file, arguments.dataset, arguments.format)
    with renamed(os.path.realpath(arguments.folder)) as real:
        union = Union(frames, real)
        refuse.high.FUSE(union, os.path.realpath(arguments.folder), foreground=True)
    for operation, calls in union.calls.items():
        print(operation, calls, union.seconds[operation])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
