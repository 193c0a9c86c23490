# SPDX-License-Identifier: MIT
"""Writes the files of an export with several threads: many files side by side, or few large ones in segments."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastlegacy.errors import DecodeError, ExportError, FastlegacyError, SourceError
from fastlegacy.faces.export_plan import FileState, Plan
from fastlegacy.faces.placing import Part, Parts, export_error, place
from fastlegacy.model import Literal

if TYPE_CHECKING:
    from fastlegacy.index.tree import Tree, VirtualFile

__all__ = ["Report", "Writer", "segments"]

SEGMENT_BYTES = 16 * 2**20
WHOLE_BYTES = 64 * 2**20

Report = Callable[[int, int], None]
_Jobs = Iterable["Future[int]"]


class Writer:
    """Writes files of a tree into a folder that exists.

    A frame that cannot be read does not stop the others; what the file system refuses does.
    """

    def __init__(self, tree: Tree, folder: Path, overwrite: bool, threads: int, progress: Report | None) -> None:
        self._tree = tree
        self._folder = folder
        self._overwrite = overwrite
        self._threads = threads
        self._progress = progress
        self._parts = Parts(folder)
        self._stop = threading.Event()
        self._local = threading.local()
        self._failures = 0
        self._first_failure: FastlegacyError | None = None

    def run(self, plan: Plan) -> None:
        """Write what the plan says.

        Raises
        ------
        ExportError
            At once when the file system refuses, at the end when frames could not be read.
        FilterError
            If a compression filter is missing.
        """
        files = (self._tree[name] for i, name in enumerate(self._tree) if plan.states[i] == FileState.TO_WRITE)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="fastlegacy-export")
        try:
            if plan.to_write < self._threads:
                self._write_one_by_one(pool, files)
            else:
                self._drain((pool.submit(self._write_file, file) for file in files), self._file_done)
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        if self._first_failure is not None:
            raise self._failure_error(plan.to_write)

    def _write_one_by_one(self, pool: ThreadPoolExecutor, files: Iterable[VirtualFile]) -> None:
        for file in files:
            try:
                self._write_in_segments(pool, file)
            except (DecodeError, SourceError) as error:
                self._note_failure(error)

    def _write_in_segments(self, pool: ThreadPoolExecutor, file: VirtualFile) -> None:
        """Write one file with all threads."""
        final = self._folder / file.name
        with _as_export_error(final), self._parts.create() as part:
            ranges = segments(file, SEGMENT_BYTES)
            self._drain((pool.submit(self._copy, file, part, *ends) for ends in ranges), self._segment_done)
            self._finish(part, final, file)
        self._report(1, 0)

    def _write_file(self, file: VirtualFile) -> int:
        """Write one file in the thread that this is called in."""
        final = self._folder / file.name
        limit = WHOLE_BYTES if file.size <= WHOLE_BYTES else SEGMENT_BYTES
        with _as_export_error(final), self._parts.create() as part:
            for start, end in segments(file, limit):
                self._copy(file, part, start, end)
            self._finish(part, final, file)
        return file.size

    def _copy(self, file: VirtualFile, part: Part, start: int, end: int) -> int:
        if self._stop.is_set():
            return 0
        view = self._buffer(end - start)
        done = file.read_into(view, start)
        if done != end - start:
            raise SourceError(f"{file.name} ends after {start + done} bytes", hint="did the HDF5 file change?")
        part.write(view, start)
        return done

    def _buffer(self, size: int) -> memoryview:
        buffer: bytearray | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = self._local.buffer = bytearray(size)
        return memoryview(buffer)[:size]

    def _finish(self, part: Part, final: Path, file: VirtualFile) -> None:
        if self._stop.is_set():
            return  # segments are missing
        part.close()
        os.utime(part.path, ns=(file.mtime_ns, file.mtime_ns))
        place(part.path, final, overwrite=self._overwrite)

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


def segments(file: VirtualFile, limit: int) -> Iterator[tuple[int, int]]:
    """Cut a file into ranges of at most `limit` bytes; between two frames where several frames fit into one."""
    first = step = limit
    frame = file.facts.frame_bytes
    if file.size > limit and 0 < frame <= limit // 2:
        step = (limit // frame - 1) * frame
        head = file.pieces[0]
        # without its header a file begins with a frame, so all cuts after the first are between frames
        first = step + (len(head.data) if isinstance(head, Literal) and len(head.data) <= frame else 0)
    start, end = 0, min(first, file.size)
    while start < file.size:
        yield start, end
        start, end = end, min(end + step, file.size)


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
