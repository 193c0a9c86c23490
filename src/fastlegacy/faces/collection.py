# SPDX-License-Identifier: MIT
"""All that a mount or an export shows: in, files and folders and the user's choices; out, a folder of trees.

A stack is opened when its files are first looked for. What changes while a mount runs (headers that are set, a side
file that is edited, scans that are being written) changes here: trees are made anew, and take along what is still true.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from fastlegacy.errors import FastlegacyError, NotAStackError, UrlError
from fastlegacy.faces.arrange import folder_of, places_of_many, places_of_one
from fastlegacy.faces.beside import require_made
from fastlegacy.faces.geometry_text import geometry_rows
from fastlegacy.faces.headers import Headers, check_headers, parse_headers, said, say_the_same
from fastlegacy.faces.recipe import Recipe
from fastlegacy.faces.shown import MOST_TOLD, Row, Shown, is_below
from fastlegacy.faces.stand import Kitchen, Stand, Subject, Trust
from fastlegacy.faces.wanted import ALL, Wanted
from fastlegacy.geometry.read import over
from fastlegacy.hdf5.files import default_context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import DataUrl, parse_url
from fastlegacy.hdf5.virtual import Missing
from fastlegacy.index.catalogue import Catalogue, Entry, Memory
from fastlegacy.index.crawl import Told
from fastlegacy.index.folder import Folder, Shelf
from fastlegacy.index.names import Names
from fastlegacy.index.store import signature_of
from fastlegacy.index.template import Template
from fastlegacy.model import Geometry
from fastlegacy.sources.find import claim_of

__all__ = ["Collection"]

_log = logging.getLogger("fastlegacy.mount")

_POLL_S = 0.5
_POLL_SHARE = 10  # looking for news takes no more than a tenth of the time
_REST_NS = 2_000_000_000
_SHOWN_AS = "shown below {}"

Said = tuple[str, Mapping[str, str]]
"""A folder of the tree, and what was set for it: name -> text."""


class Collection(Shown):
    """The files of many stacks, or of one.

    Parameters
    ----------
    sources : sequence of str or DataUrl
        Datasets, HDF5 files, and folders with such files. One dataset, or one file with one stack, is shown in the
        root; everything else in ``<file>/<scan>/<detector>/<format>/``.
    recipe : Recipe
        What the files look like.
    wanted : Wanted
        Which stacks and frames are shown.
    template : Template, optional
        Where the files are, and what they are called.
    stem : str, optional
        What stands for ``{stem}``: by default ``data`` of one stack, and the name of its file of many.
    headers : Headers
        What headers tell, besides what HDF5 files do.
    missing : {"error", "fill"}
        What to do about files that are not there: see :func:`fastlegacy.open`.
    follow : bool
        Look for scans and frames that are being written.
    memory : pathlib.Path or None
        Folder where it is remembered what is in the files; None: nowhere.
    told : callable, optional
        Is told how many of how many files were looked into.
    guard : callable
        (file, dataset): raises SourceError if HDF5 would not survive to open it.

    Raises
    ------
    FastlegacyError
        If a source is not there, or cannot be shown as the recipe says.

    Attributes
    ----------
    root : Folder
        What is shown; another one when scans were added.
    label : str
    version : int
        Grows with each change of any header.
    """

    def __init__(
        self,
        sources: Sequence[str | DataUrl],
        recipe: Recipe,
        *,
        wanted: Wanted = ALL,
        template: Template | None = None,
        stem: str | None = None,
        headers: Headers | None = None,
        missing: Missing = "error",
        follow: bool = False,
        memory: Path | None = None,
        told: Told | None = None,
        guard: Trust = lambda file, dataset: None,
    ) -> None:
        super().__init__(Folder(), "")
        if stem:
            Names(stem, "", 0)  # refused where it is no name
        self.follows = follow
        self._recipe = recipe
        self._wanted = wanted
        self._template = template
        self._stem = stem
        self._headers = headers or Headers()
        self._said: list[Said] = []
        self._side_files: dict[str, tuple[int, int, int]] = {}
        self._lock = threading.RLock()
        self._next_poll = 0.0
        self._is_behind = False
        self._named_are: list[tuple[int, int, int]] = []  # what the files with the datasets that were named are now
        self._told_once: set[str] = set()
        self._covered: dict[str, str] = {}
        self._stands: dict[str, Stand] = {}
        self._context = default_context()
        named = [source if isinstance(source, DataUrl) else parse_url(source) for source in sources]
        for each in named:
            if not os.path.isdir(each.file):
                guard(each.file, each.dataset)
        self._named = [each for each in named if each.dataset is not None]
        roots = [os.path.realpath(each.file) for each in named if each.dataset is None]
        self._memory = _memory(memory, roots)
        self._catalogue: Catalogue | None = None
        if roots:
            real_path = self._context.real_path
            with _many_objects():
                self._catalogue = Catalogue(
                    roots, memory=self._memory, told=told, real_path=real_path, guard=lambda file: guard(file, None)
                )
        self._is_one = len(named) == 1 and not (roots and os.path.isdir(roots[0])) and self._has_one()
        self._warn_of_unreadable()
        self._kitchen = Kitchen(
            recipe,
            Shelf(),
            self._context,
            missing,
            follow,
            template is not None,
            self._is_one,
            self._outdated,
            self._headed,
            guard,
        )
        self.label = ", ".join([*(str(each) for each in self._named), *roots])
        with _many_objects():
            self._rebuild()
        if not self._stands and not follow:
            raise self._nothing(roots)
        if self._is_one and self._stands:
            (only,) = self._stands.values()
            trees = [slot.found() for slot in only.slots.values()]
            require_made([tree for tree in trees if tree is not None], recipe.companions)
            self.label = str(only.subject.named)

    def __repr__(self) -> str:
        return f"<Collection of {len(self._stands)} stacks of {self.label}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def summary(self) -> str:
        """Return in a few words what is shown: nothing is opened for it."""
        if self._is_one and self._stands:
            first = next(iter(self.root), None)
            return f"{len(self.root)} virtual files ({first} and on)" if first else "no files"
        files = len({stand.subject.named.file for stand in self.stands})
        return f"{_counted(len(self._stands), 'stack')} in {_counted(files, 'HDF5 file')}"

    @property
    def stands(self) -> tuple[Stand, ...]:
        """The stacks that are shown."""
        return tuple(self._stands.values())

    def close(self) -> None:
        """End what runs in the background, and close all stacks."""
        super().close()
        for stand in self.stands:
            if stand.stack is not None:
                stand.stack.close()
        if self._memory is not None:
            self._memory.close()

    # ------------------------------------------------------------------------------------ what is shown

    def _nothing(self, roots: Sequence[str]) -> FastlegacyError:
        file = roots[0] if len(roots) == 1 else None
        if self._catalogue is not None and self._catalogue.entries:
            names = sorted({entry.stored.found.scan for entry in self._catalogue.entries if entry.stored.found.scan})
            there = f"there are the scans {', '.join(names[:8])}" if names else "`fastlegacy ls` says what there is"
            return UrlError("no stack is left by the selection", file=file, hint=there)
        return NotAStackError("holds no stack of images", file=file, hint="`fastlegacy ls` says what is in a file")

    def _subjects(self) -> list[Subject]:
        found = [self._subject_of_url(named) for named in self._named]
        if self._catalogue is not None:
            found += [self._subject_of_entry(entry) for entry in self._catalogue.entries if self._has(entry)]
        return found

    def _has_one(self) -> bool:
        """Tell whether there is one stack, and will be no other."""
        if self._catalogue is None:
            return True
        entries = [entry for entry in self._catalogue.entries if self._has(entry)]
        # where one scan is, others may follow
        return len(entries) == 1 and not (self.follows and entries[0].stored.found.scan)

    def _warn_of_unreadable(self) -> None:
        records = [] if self._catalogue is None else list(self._catalogue.files.values())
        errors = [record.error for record in records if record.error]
        if errors:
            _log.warning(
                "%s of %d cannot be read, such as %s", _counted(len(errors), "HDF5 file"), len(records), errors[0]
            )

    def _has(self, entry: Entry) -> bool:
        return self._wanted.has(entry.stored.found)

    def _subject_of_entry(self, entry: Entry) -> Subject:
        found = entry.stored.found
        named = DataUrl(entry.file, found.path, self._wanted.selection(found.selection))
        return Subject(named, entry.name, entry.stored.claim, entry.mtime_ns, entry.stored.finished)

    def _subject_of_url(self, named: DataUrl) -> Subject:
        file = os.path.realpath(named.file)
        with self._context.no_h5_left():
            claim = claim_of(self._context, named)
        whole = DataUrl(os.path.abspath(named.file), named.dataset, self._wanted.selection(named.selection))
        name = os.path.splitext(os.path.basename(file))[0]
        finished = not self.follows
        if self.follows and claim is not None and hasattr(claim.source, "finished"):
            with self._context.no_h5_left():
                finished = claim.source.finished(self._context, file, claim.found)
        return Subject(whole, name, claim, signature_of(file)[1], finished)

    def _rebuild(self) -> list[str]:
        """Make the folders anew; stands of stacks that were there stay. Return what is new."""
        subjects = self._subjects()
        one = self._is_one and len(subjects) == 1
        layouts, template, stem = self._recipe.layouts, self._template, self._stem
        if one:
            places = [places_of_one(subjects[0], layouts, template, stem)]
        else:
            places = places_of_many(subjects, layouts, template, stem)
        before, stands = self._stands, {}
        here = Counter(place.folder for where in places for place in where.values())
        news = []
        for subject, where in zip(subjects, places, strict=True):
            key = str(subject.named)
            stand = before.get(key)
            if stand is None or stand.places != where:
                stand = Stand(subject, where, self._kitchen)
                news.append(f"{subject.named} is {_SHOWN_AS.format(stand.folders[0] or 'the root')}")
            elif stand.subject != subject:
                try:
                    stand.finish(subject)
                except FastlegacyError as error:
                    _log.debug("not now: %s", error)
                    self._is_behind = True  # it is tried again with the next look
            stand.shared = {format for format, place in where.items() if here[place.folder] > 1}
            stands[key] = stand
        pairs = [
            ("/".join(stand.places[format].folder), slot)
            for stand in stands.values()
            for format, slot in stand.slots.items()
        ]
        self.root, self._stands = folder_of(pairs), stands
        return news

    def _outdated(self) -> None:
        """Note that headers have changed."""
        self.version += 1

    # ------------------------------------------------------------------------------------ covered folders

    def redirect(self, prefix: str, replacement: str) -> None:
        """Read files below a folder by another path to it from now on: a mount is about to cover it.

        Raises
        ------
        MountError
            If HDF5 itself would read a file through the mount.
        """
        with self._lock:
            self._covered[prefix] = replacement
            for stand in self.stands:
                if stand.stack is not None:
                    stand.stack.must_not_need(prefix)
            self._context.redirect(prefix, replacement)

    def end_redirect(self, prefix: str) -> None:
        """Read files below a folder by their own paths again."""
        with self._lock:
            self._covered.pop(prefix, None)
            self._context.end_redirect(prefix)

    # ------------------------------------------------------------------------------------ headers

    def _headed(self, stack: Stack, folders: tuple[str, ...]) -> Stack:
        """Return a stack with all that is known of it: what was set, options, side file, HDF5, in this order."""
        for prefix in self._covered:
            stack.must_not_need(prefix)
        real_path = self._context.real_path
        side_file = self._headers.side_file_path(stack)  # one that is not there may come
        self._side_files[side_file] = signature_of(real_path(side_file))
        stack = self._headers.over(stack, self._context)
        values = self._set_values(folders)
        return stack.with_geometry(over(said(values, "set while mounted"), stack.geometry)) if values else stack

    def _set_values(self, folders: tuple[str, ...]) -> dict[str, Any]:
        texts: dict[str, str] = {}
        for path, words in self._said:
            if any(is_below(folder, path) for folder in folders):
                for name, text in words.items():
                    is_said = texts.pop(name, "") != ""  # of two words for the same thing the later one holds
                    if text:
                        texts[name] = text
                    elif not is_said:  # it was said by another word
                        for other in [other for other in texts if say_the_same(name, other)]:
                            del texts[other]
        values: dict[str, Any] = {}
        for name, text in texts.items():
            if text:
                values.update(parse_headers({name: text}))
        return values

    def set_headers(self, path: str, texts: Mapping[str, str]) -> list[str]:
        """Change headers of the files below a folder of the tree.

        Parameters
        ----------
        path : str
            The folder; ``""``: all files.
        texts : mapping
            Names of the options of headers -> values as on the command line; an empty text takes back what was set.

        Returns
        -------
        list of str
            What was changed, for the log: of stacks that are open, each value.

        Raises
        ------
        UrlError
            If a name or a value is not understood, or there is no such folder; nothing is changed then.
        LayoutError
            If a header cannot be made with these values; nothing is changed then.
        """
        path = path.strip("/")
        check_headers(texts)
        with self._lock:
            folder = self._folder_at(path)
            if folder is None:
                raise UrlError(f"there is no virtual folder {path!r}", hint="name a folder of the mount")
            path = folder
            concerned = [stand for stand in self.stands if any(is_below(folder, path) for folder in stand.folders)]
            if concerned and not any(stand.stack for stand in concerned):
                with suppress(FastlegacyError):  # what no header can hold shows with one of them, if it can be opened
                    concerned[0].wake()
            self._said.append((path, dict(texts)))
            before = {id(stand): stand.stack.geometry for stand in concerned if stand.stack is not None}
            try:
                self._renew(concerned)
            except BaseException:
                self._said.pop()
                self._renew(concerned)
                raise
            lines = [
                line
                for stand in concerned
                if id(stand) in before and stand.stack is not None
                for line in _changes(stand, before[id(stand)], stand.stack.geometry)
            ]
            closed = len(concerned) - len(before)
            if closed:
                words = ", ".join(f"{name}={text}" for name, text in texts.items())
                nobody = f"{_counted(closed, 'stack')} that nobody has opened yet"
                lines.append(f"{path or 'all files'}: {words} holds for {nobody}")
            return lines

    def _renew(self, stands: Sequence[Stand]) -> None:
        now = time.time_ns()
        # who opens a file in between may see the old header or the new one: in both cases it is looked at again
        self.version += 1
        first: FastlegacyError | None = None
        for stand in stands:
            try:
                stand.renew(now)
            except FastlegacyError as error:  # a fault in one side file does not concern the others
                first = first or error
        self.version += 1
        if first is not None:
            raise first

    def headers(self, path: str) -> list[Row]:
        """Return what is known of the stacks below a folder, of the first ones where there are many.

        Returns
        -------
        list of (folder, name, value with its unit, origin)

        Raises
        ------
        FastlegacyError
            If a stack cannot be opened.
        """
        path = path.strip("/")
        top = self._folder_at(path)
        if top is None:
            return []
        found = [stand for stand in self.stands if any(is_below(folder, top) for folder in stand.folders)]
        rows: list[Row] = []
        for stand in found[:MOST_TOLD]:
            geometry = stand.wake().geometry
            rows += [(stand.folders[0], *row) for row in geometry_rows(geometry, stand.subject.named.file)]
        return rows

    # ------------------------------------------------------------------------------------ news

    def poll(self) -> list[str]:
        """Look for an edited side file, and for scans and frames that were written; return these, for the log."""
        lines: list[str] = []
        with self._lock:
            now = time.monotonic()
            if now >= self._next_poll:
                self._look_at_side_files()
                if self.follows:
                    lines += self._look_for_frames()
                self._next_poll = time.monotonic() + max(_POLL_S, _POLL_SHARE * (time.monotonic() - now))
        return lines

    def _look_at_side_files(self) -> None:
        """Make headers anew where a side file has changed: that is worth a line in every log."""
        real_path = self._context.real_path
        changed = [path for path, known in list(self._side_files.items()) if signature_of(real_path(path)) != known]
        if not changed:
            return
        for path in changed:
            self._side_files[path] = signature_of(real_path(path))
        names = ", ".join(changed)
        try:
            self._renew(self.stands)
        except FastlegacyError as error:
            _log.warning("%s has changed, and is not used: %s", names, error)
        else:
            _log.warning("%s has changed: headers are made anew", names)

    def _look_for_frames(self) -> list[str]:
        lines: list[str] = []
        try:
            was_behind, self._is_behind = self._is_behind, False
            if self._is_news() or was_behind:
                lines += self._rebuild()[:MOST_TOLD]
        except UrlError as error:
            if str(error) not in self._told_once:
                _log.warning("what is new is not shown: %s", error)
                self._told_once.add(str(error))
        except FastlegacyError as error:
            _log.debug("not now: %s", error)
            self._is_behind = True
        for stand in self.stands:
            try:
                more = stand.look()
            except FastlegacyError as error:
                _log.debug("not now: %s", error)  # a file that is being written may be unreadable for a moment
                continue
            if more:
                lines.append(f"{stand.folders[0] or 'the root'}: {more} more frames")
        return lines

    def _is_news(self) -> bool:
        """Tell whether any of the files has changed: only then is one read."""
        real_path = self._context.real_path
        now = [signature_of(real_path(os.path.abspath(named.file))) for named in self._named]
        # what was written a moment ago may be written again without its time telling
        is_other = now != self._named_are or any(time.time_ns() - mtime_ns < _REST_NS for _, mtime_ns, _ in now)
        self._named_are = now
        return (self._catalogue is not None and self._catalogue.look()) or is_other


@contextmanager
def _many_objects() -> Iterator[None]:
    """Make many small objects that stay: Python's search for rings among them would find none, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _common(folders: Sequence[str]) -> str:
    """The folder of all formats of a stack."""
    return os.path.commonpath(folders) if len(folders) > 1 and all(folders) else folders[0]


def _changes(stand: Stand, before: Geometry, after: Geometry) -> list[str]:
    """What has changed, a sentence for each value."""
    file, folder = stand.subject.named.file, _common(stand.folders)
    old, new = ({name: (text, where) for name, text, where in geometry_rows(each, file)} for each in (before, after))
    unknown = ("unknown", "")
    lines = []
    for name in dict.fromkeys([*old, *new]):
        (was, origin), (now, _) = old.get(name, unknown), new.get(name, unknown)
        if was != now:
            lines.append(f"{folder or 'all files'}: {name} {was}{f' ({origin})' if origin else ''} -> {now}")
    return lines


def _memory(folder: Path | None, roots: Sequence[str]) -> Memory | None:
    if folder is None or not roots:
        return None
    try:
        return Memory(folder / "catalogues", "\n".join(roots))
    except OSError as error:
        _log.warning("what is in the files cannot be remembered in %s (%s)", folder, error.strerror or error)
        return None
