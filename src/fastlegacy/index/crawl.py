# SPDX-License-Identifier: MIT
"""Looks into HDF5 files for their stacks: paths in, one record for each file out, on all cores where there are many.

HDF5 does one thing at a time in a process, so other processes help: ``python -m fastlegacy.index.crawl`` reads paths
from its standard input and writes records to its standard output, a line of JSON for each.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import h5py

from fastlegacy.errors import FastlegacyError, SourceError
from fastlegacy.hdf5.blocks import Block
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.url import Selection
from fastlegacy.hdf5.virtual import source_files
from fastlegacy.index.store import Source, sources_of
from fastlegacy.sources.find import Claim, Found, claims, places_of, source_named

__all__ = [
    "CRASHES",
    "DEADLY",
    "Record",
    "Stored",
    "helper",
    "limit_work",
    "look_closely",
    "look_into",
    "look_into_all",
]

_log = logging.getLogger("fastlegacy.catalogue")

_FEW = 12  # files that are looked into sooner than another Python begins
_MOST_HELPERS = 16
_END_S = 5.0
_START_S = 30.0  # until a new process is there, on a busy machine
_CLOSELY = "--closely"
CRASHES = {
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGXCPU")
    if hasattr(signal, name)  # Windows has not all of them
}
"""Signals that a process dies of by its own fault."""

_LIMIT_S = 300.0  # for one file: HDF5 may never come back from a damaged one

DEADLY = "HDF5 crashes or hangs when it reads it: its structure is damaged"
"""What is said of a file at which a process has died."""

Told = Callable[[int, int], None]
"""Is told how many of how many files are done."""

RealPath = Callable[[str], str]
"""By which path a file is opened: another one while a mount covers it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stack as a record holds it.

    Attributes
    ----------
    found : Found
    source : str
        Name of the convention.
    places : tuple of str
        ``file::path`` where its datasets really are.
    feeds : tuple of str
        Other files that its pixels come from.
    finished : bool
        It is known that nothing will be added to it.
    """

    found: Found
    source: str
    places: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    finished: bool = True

    @property
    def claim(self) -> Claim:
        """The stack, with the convention that knows it."""
        return Claim(source_named(self.source), self.found)


@dataclass(frozen=True, slots=True)
class Record:
    """What was found in a file.

    Attributes
    ----------
    file : str
    sources : tuple of Source
        What this depends on: the file, and the files that its links lead to, there or not.
    stacks : tuple of Stored
    error : str
        Why nothing could be found out.
    """

    file: str
    sources: tuple[Source, ...]
    stacks: tuple[Stored, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        stacks = [_stored_to_json(stack) for stack in self.stacks]
        return {"file": self.file, "sources": self.sources, "stacks": stacks, "error": self.error}

    @classmethod
    def from_json(cls, plain: Any) -> Record:
        """Return the record of plain types; KeyError, TypeError or ValueError where they are something else."""
        try:
            sources = tuple((str(path), int(size), int(mtime), int(ino)) for path, size, mtime, ino in plain["sources"])
            stacks = tuple(_stored_from_json(stack) for stack in plain["stacks"])
        except OverflowError as exc:
            raise ValueError("a number is infinite") from exc
        return cls(str(plain["file"]), sources, stacks, str(plain["error"]))


class _Traced(Context):
    """A context that knows which files were looked for."""

    def __init__(self, real_path: RealPath) -> None:
        super().__init__()
        self.asked: set[str] = set()
        self._real_path = real_path

    def real_path(self, path: str) -> str:
        self.asked.add(path)
        return self._real_path(path)


def look_into(file: str, real_path: RealPath = lambda path: path) -> Record:
    """Find the stacks of a file: those that a convention knows, or, where there is none, all images in it."""
    context = _Traced(real_path)
    # what is learnt while the file is being changed belongs to what it was before
    before = {source[0]: source for source in sources_of([file], real_path)}
    try:
        with context.no_h5_left():
            found = claims(context, file, plain="else")
            stacks = tuple(_stored(context, file, claim) for claim in found)
            error = ""
    except FastlegacyError as exc:
        stacks, error = (), str(exc)
    sources = tuple(before.get(source[0], source) for source in sources_of({file, *context.asked}, real_path))
    return Record(file, sources, stacks, error)


def limit_work(seconds: int) -> None:
    """Let this process die of SIGXCPU when it has worked for so long from now on: a slow file system is no hang."""
    import resource  # Windows has none

    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def look_closely(place: str) -> Record:
    """Look into a file, and read all of its structure that is read before its pixels are.

    Parameters
    ----------
    place : str
        ``file`` or ``file::dataset``, where it is known which one is wanted.
    """
    file, _, dataset = place.partition("::") if not os.path.exists(place) else (place, "", "")
    record = look_into(file)
    context = Context()
    if dataset:
        with suppress(Exception), context.no_h5_left():
            source_files(context, file, dataset)
    for stored in record.stacks:
        with suppress(Exception), context.no_h5_left():
            stored.claim.source.geometry(context, file, stored.found)
    return record


def _stored(context: Context, file: str, claim: Claim) -> Stored:
    found = claim.found
    places = sorted(f"{place}::{path}" for place, path in places_of(context, file, found))
    feeds = {place.rpartition("::")[0] for place in places} if found.blocks else set()
    try:
        feeds.update(() if found.blocks else source_files(context, file, found.path))
    except FastlegacyError as exc:
        _log.debug("%s: its sources are not known: %s", file, exc)
    feeds = {os.path.realpath(feed) for feed in feeds} - {os.path.realpath(file)}
    finished = claim.source.finished(context, file, found) if hasattr(claim.source, "finished") else False
    return Stored(found, claim.source.name, tuple(places), tuple(sorted(feeds)), finished)


# ------------------------------------------------------------------------------------------------- many files


def look_into_all(
    files: Sequence[str],
    told: Told | None = None,
    helpers: int | None = None,
    real_path: RealPath = lambda path: path,
    guard: Callable[[str], None] = lambda file: None,
) -> Iterator[Record]:
    """Look into many files, in any order.

    Parameters
    ----------
    files : sequence of str
    told : callable, optional
        Called after each file with how many are done, and how many there are.
    helpers : int, optional
        How many processes; by default as many as there are cores, and none for a few files.
    real_path : callable
        By which path a file is opened; no other process knows of it.
    guard : callable
        Raises SourceError where this process would not survive to look into a file.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    helpers = min(cores, _MOST_HELPERS, len(files) // _FEW) if helpers is None else helpers
    if any(real_path(file) != file for file in files):
        helpers = 0
    records = _by_helpers(files, helpers) if helpers > 1 else (_guarded(file, real_path, guard) for file in files)
    for done, record in enumerate(records, 1):
        yield record
        if told is not None:
            told(done, len(files))


def _guarded(file: str, real_path: RealPath, guard: Callable[[str], None]) -> Record:
    try:
        guard(file)
    except SourceError as exc:
        return Record(file, tuple(sources_of([file], real_path)), (), str(exc))
    return look_into(file, real_path)


def _by_helpers(files: Sequence[str], helpers: int) -> Iterator[Record]:
    todo = iter(files)
    done: list[Record] = []
    news = threading.Condition()
    running = helpers

    def work() -> None:
        nonlocal running
        try:
            file = _next(todo, news)
            while file is not None:
                with helper() as ask:
                    is_alive = True
                    while file is not None and is_alive:
                        record = look_into(file) if ask is None else ask(file)
                        is_alive = record is not None
                        with news:
                            done.append(record or _deadly(file))
                            news.notify()
                        file = _next(todo, news)
        finally:
            with news:
                running -= 1
                news.notify()

    threads = [threading.Thread(target=work, name=f"fastlegacy-crawl-{i}", daemon=True) for i in range(helpers)]
    for thread in threads:
        thread.start()
    try:
        while True:
            with news:
                news.wait_for(lambda: done or not running)
                ready, done[:] = list(done), []
                if not ready and not running:
                    break
            yield from ready
    finally:
        todo = iter(())  # who stops listening stops the helpers
        for thread in threads:
            thread.join()


def _next(todo: Iterator[str], news: threading.Condition) -> str | None:
    with news:
        return next(todo, None)


def _deadly(file: str) -> Record:
    """The record of a file at which another process has died, or stood still: this one must not try it."""
    return Record(file, tuple(sources_of([file])), (), f"{file}: {DEADLY}")


@contextmanager
def helper(
    limit_s: float = _LIMIT_S, *, closely: bool = False, work_s: int = 0
) -> Iterator[Callable[[str], Record | None] | None]:
    """Start another process; yield what asks it for the record of a file (None: no process can be started).

    What asks returns None where the process has died at the file, or did not answer in time: it has ended then. HDF5
    itself may do either where a file is damaged.

    Parameters
    ----------
    limit_s : float
        How long it may take for a file.
    closely : bool
        Let it read the rest of the structure, too.
    work_s : int
        How much of the processor's time it may take for a file; 0: as much as it likes.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "fastlegacy.index.crawl", *([_CLOSELY] if closely else []), str(work_s)]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    except OSError as exc:
        _log.debug("no other process can be started: %s", exc)
        yield None
        return
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    start_s = _START_S

    def ask(file: str) -> Record | None:
        nonlocal start_s
        patience_s, start_s = limit_s + start_s, 0.0
        try:
            if process.poll() is not None:
                return look_into(file)
            stdin.write(json.dumps(file).encode() + b"\n")
            stdin.flush()
            if not select.select([stdout], [], [], patience_s)[0]:
                process.kill()
                return None
            return Record.from_json(json.loads(stdout.readline()))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            _log.debug("the process that looks into files has ended at %s: %s", file, exc)
        with suppress(OSError):  # what it did not take is tried once more, and it may be dead
            stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        process.kill()
        # what was ended by somebody else says nothing of the file
        return None if -process.wait() in CRASHES else look_into(file)

    with process:
        try:
            yield ask
        finally:
            with suppress(OSError):  # what it did not take is still to be written if it has died
                stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _serve() -> None:
    """Answer until the standard input ends."""
    # ctrl-c at the terminal is for the process that asks, which then closes the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    h5py._errors.silence_errors()
    look = look_closely if _CLOSELY in sys.argv else look_into
    work_s = int(sys.argv[-1]) if len(sys.argv) > 1 else 0
    for line in sys.stdin.buffer:
        if work_s:
            limit_work(work_s)
        record = look(json.loads(line))
        sys.stdout.buffer.write(json.dumps(record.to_json()).encode() + b"\n")
        sys.stdout.buffer.flush()


# -------------------------------------------------------------------------------------------------- plain types


def _stored_to_json(stored: Stored) -> dict[str, Any]:
    found = stored.found
    return {
        "path": found.path,
        "why": found.why,
        "scan": found.scan,
        "detector": found.detector,
        "blocks": [[block.path, block.frames] for block in found.blocks],
        "selection": None if found.selection is None else [_item_to_json(item) for item in found.selection],
        "source": stored.source,
        "places": stored.places,
        "feeds": stored.feeds,
        "finished": stored.finished,
    }


def _stored_from_json(plain: Any) -> Stored:
    selection: Selection | None = None
    if plain["selection"] is not None:
        selection = tuple(_item_from_json(item) for item in plain["selection"])
    found = Found(
        path=str(plain["path"]),
        why=str(plain["why"]),
        scan=str(plain["scan"]),
        detector=str(plain["detector"]),
        blocks=tuple(Block(str(path), None if frames is None else int(frames)) for path, frames in plain["blocks"]),
        selection=selection,
    )
    places, feeds = (tuple(map(str, plain[name])) for name in ("places", "feeds"))
    return Stored(found, str(plain["source"]), places, feeds, bool(plain["finished"]))


def _item_to_json(item: Any) -> Any:
    if isinstance(item, slice):
        return [item.start, item.stop, item.step]
    return "..." if item is ... else int(item)


def _item_from_json(plain: Any) -> Any:
    if isinstance(plain, list):
        start, stop, step = (None if each is None else int(each) for each in plain)
        return slice(start, stop, step)
    return ... if plain == "..." else int(plain)


if __name__ == "__main__":
    _serve()
