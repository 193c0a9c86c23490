# SPDX-License-Identifier: MIT
"""Writes the files of an export with several threads: many files side by side, or few large ones in segments."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastlegacy.errors import DecodeError, ExportError, FastlegacyError, SourceError
from fastlegacy.faces.placing import Part, Parts, export_error, place, remove_leftovers
from fastlegacy.model import Pixels, piece_size

if TYPE_CHECKING:
    from fastlegacy._view import PieceFile
    from fastlegacy.faces.export_plan import Plan, TreePlan
    from fastlegacy.index.tree import VirtualFile

__all__ = ["Report", "Writer", "segments"]

SEGMENT_BYTES = 16 * 2**20
WHOLE_BYTES = 64 * 2**20

Report = Callable[[int, int], None]
_Jobs = Iterable["Future[int]"]


@dataclass(frozen=True, slots=True)
class _Target:
    """A file to write.

    Attributes
    ----------
    file : VirtualFile
    path : Path
        Where to.
    parts : Parts
        Makes hidden files in the folder of that path.
    is_one_frame : bool
        The file is of one frame that is encoded: it is made as a whole.
    """

    file: VirtualFile
    path: Path
    parts: Parts
    is_one_frame: bool


class Writer:
    """Writes files into a folder, which is made.

    A frame that cannot be read does not stop the others; what the file system refuses does.
    """

    def __init__(self, folder: Path, overwrite: bool, threads: int, progress: Report | None) -> None:
        self._folder = folder
        self._overwrite = overwrite
        self._threads = threads
        self._progress = progress
        self._stop = threading.Event()
        self._local = threading.local()
        self._bytes = 0
        self._failures = 0
        self._first_failure: FastlegacyError | None = None

    def run(self, plan: Plan) -> int:
        """Write what the plan says; return how many bytes that was.

        Raises
        ------
        ExportError
            At once when the file system refuses, at the end when frames could not be read.
        FilterError
            If a compression filter is missing.
        """
        parts = [part for part in plan.trees if part.has_something_to_write]
        for part in parts:
            _make_ready(self._folder / part.path)
        targets = (target for part in parts for target in self._targets(part))
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="fastlegacy-export")
        try:
            if plan.to_write < self._threads:
                self._write_one_by_one(pool, targets)
            else:
                self._drain((pool.submit(self._write_file, target) for target in targets), self._file_done)
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        if self._first_failure is not None:
            raise self._failure_error(plan.to_write)
        return self._bytes

    def _targets(self, part: TreePlan) -> Iterator[_Target]:
        """Iterate over what is to be written of one tree."""
        folder = self._folder / part.path
        parts = Parts(folder)
        is_one_frame = part.tree.layout.encoded and part.tree.layout.per_frame
        return (_Target(part.tree[name], folder / name, parts, is_one_frame) for name in part.to_write())

    def _write_one_by_one(self, pool: ThreadPoolExecutor, targets: Iterable[_Target]) -> None:
        for target in targets:
            try:
                self._write_in_segments(pool, target)
            except (DecodeError, SourceError) as error:
                self._note_failure(error)

    def _write_in_segments(self, pool: ThreadPoolExecutor, target: _Target) -> None:
        """Write one file with all threads."""
        with _as_export_error(target.path), target.parts.create() as part:
            opened = target.file.open()
            ranges = _ranges(target, opened.size, SEGMENT_BYTES)
            self._drain((pool.submit(self._copy, target, opened, part, *ends) for ends in ranges), self._segment_done)
            self._finish(part, target)
        self._report(1, 0)

    def _write_file(self, target: _Target) -> int:
        """Write one file in the thread that this is called in."""
        with _as_export_error(target.path), target.parts.create() as part:
            opened = target.file.open()
            for start, end in _ranges(target, opened.size, WHOLE_BYTES):
                self._copy(target, opened, part, start, end)
            self._finish(part, target)
        return opened.size

    def _copy(self, target: _Target, opened: PieceFile, part: Part, start: int, end: int) -> int:
        if self._stop.is_set():
            return 0
        view = self._buffer(end - start)
        done = opened.read_into(view, start)
        if done != end - start:
            message = f"{target.file.name} ends after {start + done} bytes"
            raise SourceError(message, hint="did the HDF5 file change?")
        part.write(view, start)
        return done

    def _buffer(self, size: int) -> memoryview:
        buffer: bytearray | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = self._local.buffer = bytearray(size)
        return memoryview(buffer)[:size]

    def _finish(self, part: Part, target: _Target) -> None:
        if self._stop.is_set():
            return  # segments are missing
        part.close()
        os.utime(part.path, ns=(target.file.mtime_ns, target.file.mtime_ns))
        place(part.path, target.path, overwrite=self._overwrite)

    def _drain(self, jobs: _Jobs, done: Callable[[Future[int]], None]) -> None:
        """Run jobs, of which only a few wait at any time."""
        waiting: set[Future[int]] = set()
        try:
            for job in jobs:
                waiting.add(job)
                if len(waiting) >= 2 * self._threads:
                    waiting = _wait_for_some(waiting, done)
            while waiting:
                waiting = _wait_for_some(waiting, done)
        except BaseException as error:
            if not isinstance(error, (DecodeError, SourceError)):
                self._stop.set()  # each thread ends after the segment it is at
            for job in waiting:
                job.cancel()
            wait(waiting)  # nobody may write into a file that the caller is about to close
            raise

    def _file_done(self, job: Future[int]) -> None:
        try:
            self._report(1, job.result())
        except (DecodeError, SourceError) as error:
            self._note_failure(error)

    def _segment_done(self, job: Future[int]) -> None:
        self._report(0, job.result())

    def _report(self, files: int, size: int) -> None:
        self._bytes += size
        if self._progress is not None:
            self._progress(files, size)

    def _note_failure(self, error: FastlegacyError) -> None:
        self._failures += 1
        self._first_failure = self._first_failure or error

    def _failure_error(self, total: int) -> ExportError:
        error = ExportError(
            f"{self._failures} of {total} files could not be written, the first because of: {self._first_failure}",
            file=self._folder,
            hint="the other files are complete; the same command tries again only what is missing",
        )
        error.__cause__ = self._first_failure
        return error


def _ranges(target: _Target, size: int, whole: int) -> Iterator[tuple[int, int]]:
    """Cut a file into what is read in one go: all of it up to `whole` bytes, segments of a larger one."""
    if target.is_one_frame:
        return segments(size, WHOLE_BYTES)
    if size <= whole:
        return segments(size, whole)
    head, frame = _head_and_frame(target.file)
    return segments(size, SEGMENT_BYTES, head, frame)


def _head_and_frame(file: VirtualFile) -> tuple[int, int]:
    """Return how many bytes come before the pixels, and how many a frame has; 0 where there are no frames."""
    head = 0
    for piece in file.pieces:
        size = piece_size(piece, file.facts)
        if isinstance(piece, Pixels):
            return head, size // max(piece.frames, 1)
        head += size
    return 0, 0


def segments(size: int, limit: int, head: int = 0, frame: int = 0) -> Iterator[tuple[int, int]]:
    """Cut a file into ranges of at most `limit` bytes; between two frames where several frames fit into one.

    Parameters
    ----------
    size, limit : int
        Of the file, and of a range, bytes.
    head, frame : int
        Bytes before the first frame, and of a frame; 0 where that does not matter.
    """
    first = step = limit
    if size > limit and 0 < frame <= limit // 2:
        step = (limit // frame - 1) * frame
        # without its header a file begins with a frame, so all cuts after the first are between frames
        first = step + (head if head <= frame else 0)
    start, end = 0, min(first, size)
    while start < size:
        yield start, end
        start, end = end, min(end + step, size)


def _make_ready(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    except OSError as error:
        raise export_error(error, folder) from error


def _wait_for_some(waiting: set[Future[int]], done: Callable[[Future[int]], None]) -> set[Future[int]]:
    # with a timeout, because without one Ctrl-C is not seen on Windows
    ready, rest = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
    for job in ready:
        done(job)
    return rest


@contextmanager
def _as_export_error(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a file into an ExportError; our own errors pass."""
    try:
        yield
    except FastlegacyError:
        raise
    except OSError as error:
        raise export_error(error, path) from error
