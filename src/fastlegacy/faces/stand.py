# SPDX-License-Identifier: MIT
"""One stack of a collection and its files: in, what was found in a file; out, a slot for each format.

The stack is opened when the files of one of the formats are first looked for, and shared by all of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fastlegacy.errors import FastlegacyError, NoFramesError, NotAStackError, SourceError
from fastlegacy.faces.recipe import Recipe
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.hdf5.virtual import Missing
from fastlegacy.index.folder import Shelf, Slot
from fastlegacy.index.template import Place
from fastlegacy.index.tree import Live, Tree
from fastlegacy.index.view import View
from fastlegacy.model import Geometry
from fastlegacy.sources.find import Claim, open_claim

__all__ = ["Kitchen", "Stand", "Subject", "Trust"]

_QUIET_NS = 600_000_000_000  # a refill or an alignment is no end of a scan


@dataclass(frozen=True, slots=True)
class Subject:
    """A stack that is to be shown.

    Attributes
    ----------
    named : DataUrl
        The dataset, or the group of its blocks, with the slice that is wanted.
    name : str
        What the file is called in the tree.
    claim : Claim or None
        The convention that knows it; None: a dataset that only its path names.
    mtime_ns : int
        Of the file.
    finished : bool
        It is known that no frames will be added.
    """

    named: DataUrl
    name: str
    claim: Claim | None = None
    mtime_ns: int = 0
    finished: bool = True

    @property
    def scan(self) -> str:
        """Name of its scan, perhaps empty."""
        return "" if self.claim is None else self.claim.found.scan

    @property
    def detector(self) -> str:
        """Name of its detector, perhaps empty."""
        return "" if self.claim is None else self.claim.found.detector


Trust = Callable[[str, str | None], None]
"""Raises SourceError if HDF5 would not survive to open a dataset of a file."""


@dataclass(frozen=True, slots=True)
class Kitchen:
    """What all stands of a collection share.

    Attributes
    ----------
    recipe : Recipe
    shelf : Shelf
    context : Context
    missing : {"error", "fill"}
    follow : bool
        Stacks that are not finished are being written.
    exact : bool
        Formats may not change what names begin with.
    alone : bool
        There is one stack only: what is missing for its headers is worth a warning.
    changed : callable
        Called when headers have changed, or frames are gone that were there: what the kernel has kept is not right.
    headed : callable
        (stack with what its file says, folders of its files) -> the stack with all that is known of it.
    guard : callable
        (file, dataset): raises SourceError if HDF5 would not survive to open it.
    """

    recipe: Recipe
    shelf: Shelf
    context: Context
    missing: Missing
    follow: bool
    exact: bool
    alone: bool
    changed: Callable[[], None]
    headed: Callable[[Stack, tuple[str, ...]], Stack]
    guard: Trust


class Stand:
    """The files of one stack. Safe for threads.

    Parameters
    ----------
    subject : Subject
    places : mapping of str to Place
        Where the files of each format are.
    kitchen : Kitchen

    Attributes
    ----------
    slots : dict of str to Slot
        By format.
    folders : tuple of str
        Where they are in the tree.
    changed_ns : int
        When the headers were changed.
    shared : set of str
        Formats whose folder holds other files too: there are no companions there, whose names would meet.
    """

    def __init__(self, subject: Subject, places: Mapping[str, Place], kitchen: Kitchen) -> None:
        self.subject = subject
        self.places = dict(places)
        self.folders = tuple("/".join(place.folder) for place in places.values())
        self.changed_ns = 0
        self.shared: set[str] = set()
        self._kitchen = kitchen
        self._stack: Stack | None = None
        self._geometry = Geometry()
        self._view: View | None = None
        self._live: Live | None = None
        self._sure = np.zeros(0, bool)
        self._lock = threading.RLock()
        self.slots = {
            format: Slot(
                self._maker(format),
                kitchen.shelf,
                mtime_ns=subject.mtime_ns,
                gone=self._let_go,
                may_come=self._may_come,
            )
            for format in places
        }

    @property
    def stack(self) -> Stack | None:
        """The stack with all that is known of it, if it is open."""
        return self._stack

    @property
    def is_live(self) -> bool:
        """Frames may still be added, and are looked for."""
        return self._kitchen.follow and not self.subject.finished

    def open(self) -> Stack:
        """Return the stack; open it if need be.

        Raises
        ------
        FastlegacyError
            If it cannot be opened.
        """
        with self._lock:
            if self._stack is None:
                self._take(self._opened())
            assert self._stack is not None
            return self._stack

    def wake(self) -> Stack:
        """Open the stack as a look at its files does, so that it is let go of later; return it.

        Raises
        ------
        FastlegacyError
            If it cannot be opened.
        """
        next(iter(self.slots.values())).found()
        return self.open()

    def renew(self, changed_ns: int) -> None:
        """Make what is open anew, with the headers that hold now.

        Raises
        ------
        FastlegacyError
            If a header cannot be made; then all is as it was.
        """
        with self._lock:
            self.changed_ns = changed_ns
            if self._stack is None:
                return
            headed = self._kitchen.headed(self._stack.with_geometry(self._geometry), self.folders)
            if self._view is not None:
                self._view = self._view.of(headed)
            self._stack = headed
        self._renew_slots(tell=False)

    def look(self) -> int:
        """Look for frames that were written since; return how many there are more. What is not open is not looked at.

        Raises
        ------
        FastlegacyError
            If the files cannot be read just now.
        """
        with self._lock:
            if not self.is_live or self._stack is None or self._live is None:
                return 0
            if not self._stack.changed() and (self._live.finished or not _is_quiet(self._stack)):
                return 0
            before = self._live
            is_new = self._take_again()
            now = self._live
        if is_new or now.finished != before.finished or not np.array_equal(now.frames, before.frames):
            self._renew_slots(tell=is_new)
        return int(np.count_nonzero(now.frames)) - int(np.count_nonzero(before.frames))

    def finish(self, subject: Subject) -> None:
        """Note what is known of the stack by now.

        Raises
        ------
        FastlegacyError
            If it cannot be opened.
        """
        with self._lock:
            was_live, old = self.is_live and self._stack is not None, self.subject
            self.subject = subject
            if not was_live or self.is_live:
                return
            try:
                is_new = self._take_again()
            except BaseException:
                self.subject = old  # so that it is tried again
                raise
        self._renew_slots(tell=is_new)

    # ------------------------------------------------------------------------------------ making

    def _opened(self) -> Stack:
        if not self.is_live:
            return self._open_as(growing=False)
        stack = self._open_as(growing=True)
        # of some datasets it cannot be told what is written before their writer has ended
        return self._open_as(growing=False) if _is_quiet(stack) else stack

    def _open_as(self, *, growing: bool) -> Stack:
        subject, kitchen = self.subject, self._kitchen
        kitchen.guard(subject.named.file, subject.named.dataset)
        before = self._stack if growing and self._stack is not None and self._stack.growing else None
        return open_claim(
            subject.claim,
            subject.named,
            missing="fill" if growing or self._live is not None else kitchen.missing,
            context=kitchen.context,
            growing=growing,
            after=before,
        )

    def _take(self, stack: Stack) -> None:
        """Show a stack that was opened just now."""
        if self.is_live or self._live is not None:
            self._live = self._living(stack)
        self._geometry = stack.geometry
        self._stack = self._kitchen.headed(stack, self.folders)
        self._view = None

    def _take_again(self) -> bool:
        """Show the stack as it is by now; tell whether something is not what it was, besides what there is more."""
        old, before = self._stack, self._live
        self._take(self._opened())
        assert self._stack is not None
        n = 0 if before is None or self._live is None else min(len(before.frames), len(self._live.frames))
        is_less = n > 0 and bool((before.frames[:n] & ~self._live.frames[:n]).any())  # type: ignore[union-attr]
        if not is_less and (old is None or _begin_alike(old.geometry, self._stack.geometry)):
            return False
        self.changed_ns = time.time_ns()
        return True

    def _renew_slots(self, *, tell: bool) -> None:
        # before and after: who opens a file in between may see either
        if tell:
            self._kitchen.changed()
        for slot in self.slots.values():
            slot.renew()
        if tell:
            self._kitchen.changed()

    def _living(self, stack: Stack) -> Live:
        there = stack.written()
        times = np.full(len(there), stack.facts.mtime_ns, np.int64)
        sure = np.zeros(len(there), bool)
        n = min(len(there), len(self._sure))
        sure[:n] = self._sure[:n]
        if stack.growing:
            # what was seen because nobody wrote any more is not there as long as somebody does again
            sure |= there
            self._sure, there = sure, sure.copy()
        else:
            there |= sure
        before = self._live
        if before is not None:
            n = min(len(there), len(before.frames))
            times[:n] = np.where(before.frames[:n] & there[:n], before.times_ns[:n], times[:n])
        return Live(there, times, finished=self.subject.finished or not stack.growing)

    def _maker(self, format: str) -> Callable[[Tree | None], Tree]:
        def make(before: Tree | None) -> Tree:
            with self._lock, self._kitchen.context.no_h5_left():
                stack = self.open()
                recipe = self._kitchen.recipe
                if self._view is None:
                    self._view = recipe.view(stack)
                tree = recipe.tree(
                    self._view,
                    format,
                    self.places[format],
                    exact=self._kitchen.exact,
                    live=self._live,
                    like=before,
                    changed_ns=self.changed_ns,
                )
                if format not in self.shared:
                    level = logging.WARNING if self._kitchen.alone else logging.INFO
                    recipe.add_companions([tree], level=level if before is None else logging.DEBUG)
                # under the lock: who lets go of the stack must see that it has a tree
                self.slots[format].keep(tree)
                return tree

        return make

    def _may_come(self, error: FastlegacyError) -> bool:
        # of many stacks some have no frames of the numbers that were asked for
        if isinstance(error, NoFramesError):
            return not self._kitchen.alone
        return self.is_live and isinstance(error, SourceError | NotAStackError)

    def _let_go(self) -> None:
        with self._lock:
            if all(slot.now is None for slot in self.slots.values()):
                self._stack = self._view = None


def _begin_alike(old: Geometry, new: Geometry) -> bool:
    """Tell whether the frames of an old geometry have the same headers by a new one, which may speak of more."""
    for name in (each.name for each in fields(Geometry) if each.name != "origin"):
        was, now = getattr(old, name), getattr(new, name)
        if isinstance(was, Mapping):
            if was.keys() != now.keys() or not all(_begins(now[key], value) for key, value in was.items()):
                return False
        elif not _begins(now, was):
            return False
    return True


def _begins(now: Any, was: Any) -> bool:
    if isinstance(was, Sequence) and not isinstance(was, str):
        return isinstance(now, Sequence) and list(now[: len(was)]) == list(was)
    return bool(now == was)


def _is_quiet(stack: Stack) -> bool:
    """Tell whether nobody has written to a stack's files for so long that its scan has ended, as far as one can see."""
    return time.time_ns() - stack.facts.mtime_ns > _QUIET_NS
