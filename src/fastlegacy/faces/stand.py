# SPDX-License-Identifier: MIT
"""One stack of a collection and its files: in, what was found in a file; out, a slot for each format.

The stack is opened when the files of one of the formats are first looked for, and shared by all of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fastlegacy.errors import FastlegacyError, UrlError
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

__all__ = ["Kitchen", "Stand", "Subject"]

_QUIET_NS = 30_000_000_000


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
    headed : callable
        (stack with what its file says, folders of its files) -> the stack with all that is known of it.
    """

    recipe: Recipe
    shelf: Shelf
    context: Context
    missing: Missing
    follow: bool
    exact: bool
    alone: bool
    headed: Callable[[Stack, tuple[str, ...]], Stack]


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
        for slot in self.slots.values():
            slot.renew()

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
            self._take(self._opened())
            now = self._live
        if now.finished != before.finished or not np.array_equal(now.frames, before.frames):
            for slot in self.slots.values():
                slot.renew()
        return int(np.count_nonzero(now.frames)) - int(np.count_nonzero(before.frames))

    def finish(self, subject: Subject) -> None:
        """Note what is known of the stack by now.

        Raises
        ------
        FastlegacyError
            If it cannot be opened.
        """
        with self._lock:
            was_live = self.is_live and self._stack is not None
            self.subject = subject
            if not was_live or self.is_live:
                return
            self._take(self._opened())
        for slot in self.slots.values():
            slot.renew()

    # ------------------------------------------------------------------------------------ making

    def _opened(self) -> Stack:
        if not self.is_live:
            return self._open_as(growing=False)
        stack = self._open_as(growing=True)
        # of some datasets it cannot be told what is written before their writer has ended
        return self._open_as(growing=False) if _is_quiet(stack) else stack

    def _open_as(self, *, growing: bool) -> Stack:
        subject, kitchen = self.subject, self._kitchen
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

    def _living(self, stack: Stack) -> Live:
        there = stack.written()
        times = np.full(len(there), stack.facts.mtime_ns, np.int64)
        before = self._live
        if before is not None:
            n = min(len(there), len(before.frames))
            times[:n] = np.where(before.frames[:n], before.times_ns[:n], times[:n])
            there[:n] |= before.frames[:n]
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
        return self.is_live or (isinstance(error, UrlError) and not self._kitchen.alone)

    def _let_go(self) -> None:
        with self._lock:
            if all(slot.now is None for slot in self.slots.values()):
                self._stack = self._view = None


def _is_quiet(stack: Stack) -> bool:
    """Tell whether nobody has written to a stack's files for so long that its scan has ended, as far as one can see."""
    return time.time_ns() - stack.facts.mtime_ns > _QUIET_NS
