# SPDX-License-Identifier: MIT
"""Exact sizes of encoded frames: measured when they are asked for, ahead of a listing, and once for all mounts.

How large an encoded body is depends on every pixel, so the whole frame has to be decoded. A file that is opened costs
its own frame; a listing of the folder is noticed, and the frames that it will ask for are measured on all cores.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fastlegacy.hdf5.threads import cores
from fastlegacy.index.ahead import Ahead
from fastlegacy.index.crew import Crew
from fastlegacy.index.epoch import EPOCH
from fastlegacy.index.sidecar import Rows, SideFile
from fastlegacy.pixels import Coded

__all__ = ["Sizes"]

_log = logging.getLogger("fastlegacy.sizes")

_SAVE_EVERY_S = 10.0
_CLOSE_PATIENCE_S = 5.0
_FIRST_LINE_S = 2.0
_LINE_EVERY_S = 5.0

Clock = Callable[[], float]


class Sizes:
    """What was measured of the encoded bodies of one stack in one form. Safe for threads, and after a fork.

    Threads begin when frames are asked for in order, and end by themselves some seconds after the last of them, or
    by :meth:`close`, which the end of the interpreter calls as well.

    Parameters
    ----------
    measure : callable
        Returns the bytes and the counts of a frame's encoded body. Called on several threads at once; what it raises
        is raised by :meth:`get`.
    frames : int
        How many frames the stack has.
    counts : int
        How many counts belong to a size.
    what : str
        What is measured, for the log: ``"the cbf files of scan.h5::/data"``.
    side_file : SideFile, optional
        Where sizes are kept from mount to mount.
    known : ndarray (frames, 1 + counts), optional
        What is known by now, see :meth:`rows`.
    threads : int, optional
        How many measure ahead; by default as many as this process has cores. 0: nothing is measured ahead.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        measure: Callable[[int], tuple[int, ...]],
        frames: int,
        *,
        what: str,
        counts: int = 0,
        side_file: SideFile | None = None,
        known: Rows | None = None,
        threads: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._measure = measure
        self._frames = frames
        self._columns = 1 + counts
        self._what = what
        self._side_file = side_file
        self._threads = cores() if threads is None else threads
        self._clock = clock
        self._table: _Table | None = None if known is None else _Table(known)
        self._save_at: float | None = None
        self._closed = self._contradicted = False
        self._processes: dict[int, _Process] = {}
        self._at_exit = partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)
        weakref.finalize(self, atexit.unregister, self._at_exit).atexit = False

    def __repr__(self) -> str:
        return f"<Sizes of {self._what}: {self._table.known if self._table else 0} of {self._frames} frames>"

    def get(self, frame: int) -> Coded:
        """Return what is to be known of a frame's encoded body; measure it if need be.

        Raises
        ------
        IndexError
            If there is no such frame.
        FastlegacyError
            If the frame cannot be decoded or encoded. A later call tries again.
        """
        here = self._here(frame)
        text = None
        with here.lock:
            table = self._loaded()
            coded = table.get(frame)
            if table.known == self._frames:
                text = here.progress.finished()
            else:
                todo = [other for other in here.ahead.ask(frame) if not table.has(other) and other not in here.jobs]
                if todo:
                    here.crew.add((partial(self._measure_ahead, here, other) for other in todo), self._save)
        if text:
            _log.info("%s", text)
        return self._waited(here, frame) if coded is None else coded

    def known(self, frame: int) -> Coded | None:
        """Return what is known of a frame's encoded body, or None; nothing is measured.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        with self._here(frame).lock:
            return self._loaded().get(frame)

    def put(self, frame: int, coded: Coded) -> None:
        """Note what was learnt of a frame's encoded body by encoding it. Its digest is not kept.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        here = self._here(frame)
        news = Coded(coded.size, coded.counts)
        with here.lock:
            before = self._loaded().put(frame, news)
            is_contradiction = before not in (None, news) and not self._contradicted
            self._contradicted |= is_contradiction
        if before not in (None, news):
            EPOCH.advance()
        if is_contradiction:
            _log.warning(
                "frame %d of %s is not what was measured before: an HDF5 file has changed since; "
                "end the mount and mount again",
                *(frame, self._what),
            )
        self._save_sometimes(here)

    def rows_of(self, frames: Sequence[int]) -> Rows | None:
        """Return what is known of some frames, or None as long as there is any frame of which nothing is."""
        with self._here().lock:
            table = self._loaded()
            return table.rows[frames] if table.known == self._frames else None

    def rows(self, frames: int, valid: NDArray[np.bool_] | None = None) -> Rows:
        """Return what is known, for so many frames: bytes and counts of each, -1 for what is not known.

        Parameters
        ----------
        frames : int
        valid : ndarray of bool, optional
            What was measured of the other frames is left out.
        """
        rows = self._nothing_known(frames)
        with self._here().lock:
            kept = self._loaded().rows[:frames]
            rows[: len(kept)] = kept if valid is None else np.where(valid[: len(kept), None], kept, -1)
        return rows

    def close(self) -> None:
        """Stop measuring ahead, and keep what is new for the next mount.

        A frame that is being measured ahead is waited for, some seconds at most. Sizes can still be asked for.
        """
        self._closed = True
        atexit.unregister(self._at_exit)
        here = self._here()
        here.crew.stop(_CLOSE_PATIENCE_S)
        self._save()
        # it is loaded under the one lock, and saved under the other
        with here.saving, here.lock:
            if self._side_file is not None:
                self._side_file.close()

    # ------------------------------------------------------------------------------------ measuring

    def _here(self, frame: int | None = None) -> _Process:
        """Check a frame's number, and return what belongs to this process."""
        if frame is not None and not 0 <= frame < self._frames:
            raise IndexError(f"frame {frame} of {self._what}, which has {self._frames} frames")
        # A fork takes along neither threads nor, for certain, locks that are free: a child begins with its own.
        # Rows are written by one call of NumPy each, so the table itself is whole.
        pid = os.getpid()
        here = self._processes.get(pid)
        if here is None:
            new = _Process(self._frames, self._what, self._threads)
            here = self._processes.setdefault(pid, new)
        return here

    def _loaded(self) -> _Table:
        if self._table is None:
            rows = None if self._side_file is None else self._side_file.load((self._frames, self._columns))
            self._table = _Table(self._nothing_known(self._frames) if rows is None else rows)
        return self._table

    def _nothing_known(self, frames: int) -> Rows:
        return np.full((frames, self._columns), -1, np.int64)

    def _waited(self, here: _Process, frame: int) -> Coded:
        begin = self._clock()
        while True:
            with here.lock:
                table = self._loaded()
                coded = table.get(frame)
                if coded is not None:
                    # under the lock, so that the lines are in order
                    text = here.progress.waited(begin, self._clock(), table.known)
                    break
                job = here.jobs.get(frame)
                mine = job is None
                if job is None:
                    job = here.jobs[frame] = _Job()
            if mine:
                self._do(here, frame, job)
            else:
                job.done.wait()
                if job.error is not None:
                    raise job.error
        if text:
            _log.info("%s", text)
        self._save_sometimes(here)
        return coded

    def _measure_ahead(self, here: _Process, frame: int) -> None:
        with here.lock:
            if frame in here.jobs or self._loaded().has(frame):
                return
            job = here.jobs[frame] = _Job()
        try:
            self._do(here, frame, job)
        except Exception as error:
            # whoever asks for this frame is told; the others are not concerned
            _log.debug("frame %d of %s was not measured: %s", frame, self._what, error)
        if self._is_time_to_save(here):
            self._save()

    def _do(self, here: _Process, frame: int, job: _Job) -> None:
        try:
            size, *counts = self._measure(frame)
            with here.lock:
                self._loaded().put(frame, Coded(size, tuple(counts)))
        except Exception as error:
            job.error = error
            raise
        finally:
            # without an error and without a size (somebody pressed ctrl-c), those who wait measure it themselves
            with here.lock:
                del here.jobs[frame]
            job.done.set()

    # ------------------------------------------------------------------------------------ keeping

    def _is_time_to_save(self, here: _Process) -> bool:
        with here.lock:
            if self._closed or self._side_file is None or not self._loaded().new:
                return False
            now = self._clock()
            if self._save_at is None:
                self._save_at = now + _SAVE_EVERY_S
            if now < self._save_at:
                return False
            self._save_at = None
            return True

    def _save_sometimes(self, here: _Process) -> None:
        # not by the caller, who would wait for a disk
        if self._is_time_to_save(here):
            here.crew.add([self._save], self._save)

    def _save(self) -> None:
        if self._side_file is None:
            return
        here = self._here()
        with here.saving:
            with here.lock:
                table = self._table
                if table is None or not table.new:
                    return
                rows, new = table.rows.copy(), table.new
                table.new, self._save_at = 0, None
            union = self._side_file.save(rows)
            with here.lock:
                if union is None:
                    table.new += new
                else:
                    table.merge(union)


class _Job:
    """A frame that is being measured: those who want it wait for ``done``."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: Exception | None = None


class _Process:
    """What a child process cannot use of its parent's."""

    def __init__(self, frames: int, what: str, threads: int) -> None:
        self.lock = threading.Lock()
        self.saving = threading.Lock()
        self.jobs: dict[int, _Job] = {}
        self.ahead = Ahead(frames)
        self.crew = Crew(threads)
        self.progress = _Progress(what, frames)


class _Table:
    """One row for each frame: bytes and counts, -1 for what is not known."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.known = int(np.count_nonzero(self.rows[:, 0] >= 0))
        self.new = 0

    def get(self, frame: int) -> Coded | None:
        size, *counts = self.rows[frame].tolist()
        return None if size < 0 else Coded(size, tuple(counts))

    def has(self, frame: int) -> bool:
        """Tell whether a frame is known."""
        return bool(self.rows[frame, 0] >= 0)

    def put(self, frame: int, coded: Coded) -> Coded | None:
        """Write a row, and return what was there before."""
        row = (coded.size, *coded.counts)
        if coded.size < 0 or len(row) != self.rows.shape[1]:
            raise ValueError(f"{row} is no size of frame {frame}")
        before = self.get(frame)
        if before != coded:
            self.rows[frame] = row
            self.new += 1
            self.known += before is None
        return before

    def merge(self, other: Rows) -> None:
        """Take over what was not known."""
        self.rows = np.where(self.rows[:, :1] >= 0, self.rows, other)
        self.known = int(np.count_nonzero(self.rows[:, 0] >= 0))


class _Progress:
    """Makes lines for the log, as long as somebody waits for sizes more than half of the time."""

    def __init__(self, what: str, frames: int) -> None:
        self._what = what
        self._frames = frames
        self._start = self._end = self._waited = self._next = 0.0
        self._known = frames
        self._is_shown = False

    def waited(self, begin: float, end: float, known: int) -> str | None:
        """Note that somebody has waited, and how many sizes are known now; return a line if it is time for one."""
        if self._known >= known or begin - self._end > _FIRST_LINE_S:
            self._start, self._waited, self._next = begin, 0.0, begin + _FIRST_LINE_S
            self._known, self._is_shown = known - 1, False
        self._waited += end - begin
        self._end = max(self._end, end)
        took = end - self._start
        if known == self._frames:
            return self.finished()
        if end < self._next or 2 * self._waited < took:
            return None
        self._next, self._is_shown = end + _LINE_EVERY_S, True
        left = _text((self._frames - known) * took / (known - self._known))
        return f"sizes of {self._what}: {known} of {self._frames} measured, about {left} left"

    def finished(self) -> str | None:
        """Return the last line, if there was one before it; once."""
        is_shown, self._is_shown = self._is_shown, False
        took = _text(self._end - self._start)
        return f"sizes of {self._what}: all {self._frames} measured, in {took}" if is_shown else None


def _text(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _close_at_exit(sizes: weakref.ref[Sizes]) -> None:
    each = sizes()
    if each is not None:
        each.close()
