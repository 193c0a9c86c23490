# SPDX-License-Identifier: MIT
"""All stacks of some files and folders: paths in, entries out, each stack once; what was learnt is kept in a file.

A file that others lead to is shown by whoever knows most of it: LImA's files by the scan of bliss that their frames
belong to, Dectris' blocks by their master; a file of a collection or a proposal leads to scans that have a file of
their own, which is where they are shown.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastlegacy import __version__
from fastlegacy.errors import SourceError
from fastlegacy.index.crawl import Record, Stored, Told, look_into_all
from fastlegacy.index.store import (
    Signature,
    Source,
    close_folder,
    open_folder,
    read,
    seal,
    signature_of,
    tidy,
    unseal,
    write,
)
from fastlegacy.registry import plugins
from fastlegacy.sources.find import PLAIN_RANK, SUFFIXES, source_named

__all__ = ["Catalogue", "Entry", "Memory"]

_log = logging.getLogger("fastlegacy.catalogue")

_MAGIC = b"fastlegacy catalogue 1\n"
_SUFFIX = ".catalogue"
_FILES_MAX = 200
_BYTES_MAX = 256 * 2**20
_PART = re.compile(r"_(data_)?[0-9]{4,}\.[^./]*$")  # names that are those of parts: this is only about speed
_TOO_NEW_NS = 2_000_000_000  # a file may change again within the time that its file system tells apart


Listings = dict[str, tuple[int, list[str], list[str]]]
"""Folder -> its modification time, and the names of the HDF5 files and of the folders in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stack.

    Attributes
    ----------
    file : str
        Absolute path of the HDF5 file.
    name : str
        Path of the file relative to where it was looked for, without its suffix; no other file has it.
    stored : Stored
        What was found there.
    mtime_ns : int
        Of the file, when it was looked into.
    """

    file: str
    name: str
    stored: Stored
    mtime_ns: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return self.file, self.stored.found.path, str(self.stored.found.selection)


class Memory:
    """Keeps records from mount to mount, in a file of a cache folder.

    Parameters
    ----------
    folder : pathlib.Path
        It is made, if it is not there.
    key : str
        Whose records these are.

    Raises
    ------
    OSError
        If there is no such folder, and it cannot be made.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}{_SUFFIX}"
        self._label = {"key": key, "by": [__version__, *sorted(plugins("fastlegacy.sources", "SOURCE"))]}
        self._warned = False
        self._folder = open_folder(folder)

    def load(self) -> tuple[list[Record], Listings]:
        """Return what was kept: records, and what is in folders. Nothing where the file is damaged: it is removed."""
        try:
            body = unseal(read(self._folder, self.path.name), _MAGIC)
            kept = json.loads(bytes(body[len(_MAGIC) :]))
            if {name: kept[name] for name in self._label} != self._label:
                return [], {}
            listings = {str(path): _listing_from_json(plain) for path, plain in kept["folders"].items()}
            return [Record.from_json(plain) for plain in kept["records"]], listings
        except FileNotFoundError:
            return [], {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.debug("%s is not used: %s", self.path, error)
            with suppress(OSError):
                os.unlink(self.path.name, dir_fd=self._folder)
            return [], {}

    def save(self, records: Iterable[Record], listings: Listings) -> None:
        """Keep these, in the place of what was kept; a warning says where that is not possible."""
        plain = {**self._label, "records": [record.to_json() for record in records], "folders": listings}
        try:
            write(self._folder, self.path.name, seal(_MAGIC + json.dumps(plain).encode("ascii")))
            tidy(self._folder, self.path.name, _SUFFIX, _FILES_MAX, _BYTES_MAX)
        except OSError as error:
            text = error.strerror or error
            level = logging.DEBUG if self._warned else logging.WARNING
            _log.log(level, "what is in the files cannot be remembered in %s (%s)", self.path.parent, text)
            self._warned = True

    def close(self) -> None:
        """Let go of the folder."""
        close_folder(self._folder)
        self._folder = -1


class Catalogue:
    """The stacks of files and folders.

    Parameters
    ----------
    roots : sequence of str
        HDF5 files, and folders in which and below which they are looked for. Links to folders, and folders whose name
        begins with a dot, are not followed.
    memory : Memory, optional
    told : callable, optional
        Is told how many of how many files were looked into.
    real_path : callable, optional
        By which path a file is opened: another one while a mount covers it.
    guard : callable
        Raises SourceError where this process would not survive to look into a file.

    Raises
    ------
    SourceError
        If a root is not there, or a file that is one cannot be read.
    """

    def __init__(
        self,
        roots: Sequence[str],
        *,
        memory: Memory | None = None,
        told: Told | None = None,
        real_path: Callable[[str], str] = lambda path: path,
        guard: Callable[[str], None] = lambda file: None,
    ) -> None:
        self._guard = guard
        self.roots = [os.path.realpath(root) for root in roots]
        self.real_path = real_path
        self._memory = memory
        self._told = told
        self._listings: Listings = {}
        self._closed: set[str] = set()
        self._named: dict[str, str] = {}
        self._records: dict[str, Record] = {}
        self.entries: tuple[Entry, ...] = ()
        kept: dict[str, Record] = {}
        if memory is not None:
            records, self._listings = memory.load()
            kept = {record.file: record for record in records}
        self._look(kept)
        self._told = None  # later looks are short, and nobody waits for them
        for root in self.roots:
            if (record := self._records.get(root)) is not None and record.error:
                raise SourceError(record.error)

    @property
    def files(self) -> Mapping[str, Record]:
        """What was found in each file."""
        return dict(self._records)

    def look(self) -> bool:
        """Look again; tell whether anything is different. Only what has changed is read."""
        return self._look(self._records)

    def _look(self, known: Mapping[str, Record]) -> bool:
        signatures = _Signatures(self.real_path)
        files = dict.fromkeys(file for root in self.roots for file in self._files_of(root))
        records = {file: known[file] for file in files if file in known and signatures.are_still(known[file].sources)}
        news = 0
        fed = {feed for record in records.values() for feed in _fed_by(record)}
        for wave in _waves([file for file in files if file not in records]):
            # what is a part of a stack that is known by now need not be looked into
            for record in look_into_all(
                [file for file in wave if file not in fed], self._told, real_path=self.real_path, guard=self._guard
            ):
                records[record.file] = record
                fed.update(_fed_by(record))
                news += 1
        if not news and records.keys() == self._records.keys():
            return False
        self._records = {file: records[file] for file in files if file in records}
        self.entries = tuple(self._entries())
        if news and self._memory is not None:
            limit = time.time_ns() - _TOO_NEW_NS
            # an error may be one of this moment, or of permissions, of which no signature tells
            sure = (each for each in self._records.values() if not each.error)
            old = (each for each in sure if all(mtime < limit for _, _, mtime, _ in each.sources))
            self._memory.save(old, {path: listing for path, listing in self._listings.items() if listing[0] >= 0})
        return True

    # ------------------------------------------------------------------------------------ files

    def _files_of(self, root: str) -> Iterator[str]:
        there = self.real_path(root)
        if not os.path.isdir(there):
            if not os.path.exists(there):
                raise SourceError("is not there", file=root, hint="check the path and the mount")
            yield root
            return
        yield from self._files_in(root)

    def _files_in(self, folder: str) -> Iterator[str]:
        try:
            files, folders = self._listing(folder)
        except OSError as error:
            if folder not in self._closed:
                _log.warning("%s cannot be looked into: %s", folder, error.strerror or error)
            self._closed.add(folder)
            return
        yield from (os.path.join(folder, name) for name in files)
        for name in folders:
            yield from self._files_in(os.path.join(folder, name))

    def _listing(self, folder: str) -> tuple[list[str], list[str]]:
        """HDF5 files and folders in a folder, in order; from memory where the folder has not changed."""
        real = self.real_path(folder)
        now = os.stat(real).st_mtime_ns
        known = self._listings.get(folder)
        if known is not None and known[0] == now:
            return known[1], known[2]
        files, folders = [], []
        with os.scandir(real) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith("."):
                        folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES):
                    if entry.is_file():
                        files.append(entry.name)
                    else:
                        now = -1  # a link to what is not there yet: nothing tells when it comes
        # one that was changed just now may change once more in the same moment
        self._listings[folder] = (now if time.time_ns() - now > _TOO_NEW_NS else -1, sorted(files), sorted(folders))
        return sorted(files), sorted(folders)

    # ------------------------------------------------------------------------------------ entries

    def _entries(self) -> Iterator[Entry]:
        shown = _shown(self._records)
        there = [file for file in self._records if shown.get(file)]
        names = self._named = _names(
            self.roots, there, {file: self._named[file] for file in there if file in self._named}
        )
        for file, stacks in shown.items():
            mtime_ns = next(mtime for path, _, mtime, _ in self._records[file].sources if path == file)
            for stored in stacks:
                yield Entry(file, names[file], stored, mtime_ns)


class _Signatures:
    """What files are now, each looked at once."""

    def __init__(self, real_path: Callable[[str], str]) -> None:
        self._real_path = real_path
        self._known: dict[str, Signature] = {}

    def of(self, path: str) -> Signature:
        if path not in self._known:
            self._known[path] = signature_of(self._real_path(path))
        return self._known[path]

    def are_still(self, sources: Iterable[Source]) -> bool:
        return all(self.of(path) == tuple(rest) for path, *rest in sources)


def _listing_from_json(plain: Any) -> tuple[int, list[str], list[str]]:
    mtime_ns, files, folders = plain
    return int(mtime_ns), [str(name) for name in files], [str(name) for name in folders]


def _fed_by(record: Record) -> Iterator[str]:
    """Files whose stacks are all better known by the file of this record: blocks, and what is behind a scan of bliss.

    A virtual dataset of another convention may show one of several scans of a file.
    """
    best = min(source.rank for source in plugins("fastlegacy.sources", "SOURCE").values())
    return (
        feed for stored in record.stacks if stored.found.blocks or _rank(stored.source) <= best for feed in stored.feeds
    )


@cache
def _rank(source: str) -> int:
    rank: int = source_named(source).rank
    return rank


def _waves(files: Iterable[str]) -> Iterator[list[str]]:
    """Files that may be looked into at the same time: as a rule, what leads to others comes before them."""
    waves: dict[tuple[int, bool], list[str]] = {}
    for file in files:
        waves.setdefault((file.count("/"), _PART.search(file) is not None), []).append(file)
    return (waves[key] for key in sorted(waves))


def _shown(records: Mapping[str, Record]) -> dict[str, list[Stored]]:
    """The stacks that are shown of each file: those that no other file shows better."""
    fed: dict[str, int] = {}  # path -> the best rank of those elsewhere that take their pixels from there
    best: dict[str, tuple[int, bool, str]] = {}  # place -> who knows most of it, by rank, then where it really is
    for file, record in records.items():
        for stored in record.stacks:
            rank = _rank(stored.source)
            for place in stored.places:
                owner = (rank, place.rpartition("::")[0] != file, file)
                best[place] = min(best.get(place, owner), owner)
            for feed in stored.feeds:
                fed[feed] = min(fed.get(feed, PLAIN_RANK + 1), rank)
    found: dict[str, list[Stored]] = {}
    for file, record in records.items():
        feeds_rank = fed.get(os.path.realpath(file), PLAIN_RANK + 1)
        found[file] = [
            stored
            for stored in record.stacks
            if _rank(stored.source) < feeds_rank
            and (not stored.places or any(best[place][2] == file for place in stored.places))
        ]
    return found


def _names(roots: Sequence[str], files: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """A name for each file: its path below its root, without suffix; with it, or more folders, where it takes them.

    Names that were given stay: a file that comes later is the one with the longer name.
    """
    taken = set(given.values())
    below = {file: _relative(roots, file) for file in files if file not in given}
    named = {file: os.path.splitext(path)[0] for file, path in below.items()}
    for again in range(64):
        counts = Counter(named.values())
        twice = {name for name, count in counts.items() if count > 1 or name in taken}
        if not twice:
            break
        for file in [file for file, name in named.items() if name in twice]:
            if not again:
                named[file] = below[file]
                continue
            depth = named[file].count("/") + 2
            named[file] = "/".join(file.strip("/").split("/")[-depth:])
    return {**given, **named}


def _relative(roots: Sequence[str], file: str) -> str:
    for root in roots:
        if file == root:
            return os.path.basename(file)
        if file.startswith(root.rstrip("/") + "/"):
            return os.path.relpath(file, root)
    return os.path.basename(file)
