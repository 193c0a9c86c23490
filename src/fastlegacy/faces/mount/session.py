# SPDX-License-Identifier: MIT
"""The life of a mount: check, mount, serve in the foreground, clean up, tell what was served."""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fastlegacy.errors import FastlegacyError, MountError
from fastlegacy.faces.mount import _refuse
from fastlegacy.faces.mount._loop import Requests
from fastlegacy.faces.mount.any_case import AnyCase
from fastlegacy.faces.mount.checks import make_ready, remove_made
from fastlegacy.faces.mount.control import Control
from fastlegacy.faces.mount.covered import covered
from fastlegacy.faces.mount.inside import About, with_inside
from fastlegacy.faces.mount.logbook import kept_log
from fastlegacy.faces.mount.native import NativeNames
from fastlegacy.faces.mount.opens import Opens
from fastlegacy.faces.mount.operations import Operations
from fastlegacy.faces.mount.options import mount_options, parsed, remembered_s
from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.places import Places
from fastlegacy.faces.mount.rarely import Rarely
from fastlegacy.faces.mount.real import RealFolder
from fastlegacy.faces.mount.rename import renamed
from fastlegacy.faces.mount.signals import Signals, main_in_steps
from fastlegacy.faces.mount.statistics import summary
from fastlegacy.faces.mount.virtual import VirtualEntries
from fastlegacy.faces.mount.watch import Watch, done
from fastlegacy.faces.shown import Shown
from fastlegacy.hdf5.files import default_context
from fastlegacy.index.folder import Folder

if TYPE_CHECKING:
    from fastlegacy._serve import Handles
    from fastlegacy.index.tree import Tree

__all__ = ["READ_TIMEOUT_S", "mount"]

_log = logging.getLogger("fastlegacy.mount")
_SWITCH_S = 0.0002
_SILENT_S = 2.0  # so long the end of a mount waits for a source
_LONGEST_S = 1e6

READ_TIMEOUT_S = 60.0
"""For how long a read waits for the file system of a source, unless the user says something else: seconds."""

_left: list[object] = []
"""What threads still use that wait for a source: it must never be freed."""


def mount(
    shown: Tree | Folder | Shown,
    folder: str | os.PathLike[str],
    *,
    rename: bool = False,
    allow_other: bool = False,
    ignore_case: bool = False,
    options: str | Iterable[str] | None = (),
    prefetch: int | None = None,
    xattr: bool = True,
    copy_up: bool = False,
    read_timeout_s: float = READ_TIMEOUT_S,
    settings: Mapping[str, Any] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Show the union of a folder and virtual files at that folder, until somebody ends it.

    It ends by ctrl-c, SIGTERM, SIGHUP or unmounting. The folder is the real one again then, with everything that was
    saved in it.

    Parameters
    ----------
    shown : Tree, Folder or Collection
        The virtual files, and the folders that they are in.
    folder : path
        The real folder; it is made if it is not there.
    rename : bool
        Rename the folder to FOLDER_real during the mount. Otherwise it is covered, and FOLDER_real is a link to it.
    allow_other : bool
        Let other users look in (who is not root needs ``user_allow_other`` in /etc/fuse.conf for it).
    ignore_case : bool
        Find names in any case, as programs of Windows ask for them.
    options : str or iterable of str
        More mount options, ``"name"`` or ``"name=value"``.
    prefetch : int, optional
        Threads that decode what a program that reads in order will ask for next; 0: none. By default one less than
        there are cores, but one at least. What they decode counts as part of the cache.
    xattr : bool
        Real files have their extended attributes, and virtual ones tell by one where they are from. Without, small
        writes take less time, as the kernel asks for an attribute before each.
    copy_up : bool
        A virtual file that a program wants to change becomes a real one first.
    read_timeout_s : float
        A read that waits for the file system of an HDF5 file for so many seconds ends in an error (EIO); 0: never.
    settings : mapping, optional
        What was chosen, by name: it is shown in the file ``.fastlegacy/settings``.
    on_ready : callable, optional
        Called once, in a thread of its own, as soon as the mount answers.

    Returns
    -------
    dict
        What was served, see :func:`fastlegacy.faces.mount.statistics.summary`.

    Raises
    ------
    MountError
        If the mount cannot be made. Nothing was touched or lost then.
    """
    user = parsed(options)
    if ignore_case:
        user.setdefault("entry_timeout", "0")  # a name that is changed by one spelling is another one by all at once
    allow_other = allow_other or "allow_other" in user
    high = _refuse.load()
    _refuse.check_device()
    if threading.current_thread() is not threading.main_thread():
        hint = "mount from the main thread, or from a process of its own"
        raise MountError("a mount can be ended by signals only in the main thread of a program", hint=hint)
    if not 0 <= read_timeout_s <= _LONGEST_S:
        raise MountError(f"no time limit: {read_timeout_s} s", hint="give seconds, such as 60, or 0 to wait for ever")
    places = Places.of(folder)
    made = make_ready(places, rename=rename)
    kernel_checks = allow_other or os.geteuid() == 0
    if not isinstance(shown, Shown):
        root = Folder.of(shown)
        shown = Shown(root, root.stacks[0].facts.url if root.stacks else "no stack")
    texts = mount_options(shown.label, kernel_checks=kernel_checks, allow_other=allow_other, user=user)
    kept_s = remembered_s(user)
    served: list[_Server] = []
    try:
        with (
            Signals() as signals,
            # before the folder is covered: its socket may be below
            Control(places.folder, shown, lambda: served[0].statistics() if served else {}),
            _many_open_files(),
            _quick_switches(),
            (renamed if rename else covered)(places) as dirfd,
            _redirected(shown, places.folder, dirfd),
            _patience(read_timeout_s),
            _no_umask() as umask,
            kept_log() as log,
        ):
            checks: dict[str, Any] = {"kernel_checks": kernel_checks, "umask": umask, "kept_s": kept_s}
            checks |= {"ignore_case": ignore_case, "xattr": xattr, "copy_up": copy_up}
            about = About(places.folder, shown.label, {"folder": places.folder, **(settings or {})}, log)
            served.append(_Server(high, shown, about, dirfd, signals, **checks))
            with _prefetching(served[0].handles, prefetch):
                return served[0].serve(texts, on_ready)
    except MountError:
        remove_made(made)
        raise


class _Server:
    """Puts the parts of one mount together and runs them."""

    def __init__(
        self,
        high: ModuleType,
        shown: Shown,
        about: About,
        dirfd: int,
        signals: Signals,
        *,
        kernel_checks: bool,
        umask: int,
        kept_s: float,
        ignore_case: bool,
        xattr: bool,
        copy_up: bool,
    ) -> None:
        from fastlegacy._serve import Handles

        self._high = high
        self._signals = signals
        self._folder = about.folder
        self._shown = shown
        self.handles = Handles()
        self._rarely = Rarely()
        self._requests = Requests(self.handles, default_context().files, self._leave_late)
        self._ready = threading.Event()
        self._errors: _refuse.StandardError | None = None
        self._start = time.monotonic()
        root = with_inside(lambda: shown.root, about, self.statistics)
        new_file_mode = 0o666 & ~umask
        mode = 0o444 | (new_file_mode if copy_up else 0)  # else who looks at permissions would not even try
        virtual = VirtualEntries(root, label=shown.label, uid=os.geteuid(), gid=os.getegid(), mode=mode)
        real = RealFolder(dirfd, give_away=os.geteuid() == 0)
        kind = AnyCase if ignore_case else Overlay
        overlay = kind(real, virtual, new_file_mode=new_file_mode, copies_up=copy_up)
        names = NativeNames(virtual, real)
        self.handles.serve(names.names, xattr=xattr)
        self._operations = Operations(
            overlay,
            self.handles,
            high.fuse_get_context,
            kernel_checks=kernel_checks,
            on_init=self._on_init,
            version=lambda: shown.version,
            remembered_s=kept_s,
            names=names,
            on_open=lambda path, file: self._opens.opened(path, file),
            xattr=xattr,
            rarely=self._rarely,
        )
        self._opens = Opens(self.handles, self._operations.pages, virtual.file)

    def _leave_late(self) -> None:
        self._operations.is_over = True

    def _on_init(self) -> None:
        if self._errors is not None:
            self._errors.restore(replay=True)
        self._ready.set()

    def serve(self, options: list[str], on_ready: Callable[[], None] | None) -> dict[str, Any]:
        """Mount and serve until the end; return the statistics."""
        self._start = time.monotonic()

        def ready() -> None:
            if on_ready is not None:
                on_ready()
            self._fetch_chunk_maps()

        poll = self._shown.poll
        with (
            Watch(self._folder, self.handles, self._ready, ready, poll, _source_hangs, self._rarely),
            self._opens,
        ):
            try:
                self._run(options)
            except MountError:
                if "auto_unmount" not in options:
                    raise
                # not every fusermount can do it for everybody; it is only a comfort
                self._run([text for text in options if text != "auto_unmount"])
        return self.statistics()

    def statistics(self) -> dict[str, Any]:
        """What was served up to now."""
        return summary(self._operations.counters, self.handles.statistics(), time.monotonic() - self._start)

    def _fetch_chunk_maps(self) -> None:
        """Look up where all chunks are while nobody waits for it, rather than when a file is opened first."""
        for stack in self._shown.root.stacks:
            try:
                stack.prepare(0, stack.facts.shape[0] - 1)
            except FastlegacyError as error:
                _log.warning("%s", error)  # the frames concerned are errors when they are read; the others go on

    def _run(self, options: list[str]) -> None:
        sys.stderr.flush()
        self._errors = _refuse.StandardError()
        try:
            with main_in_steps(self._high, self._signals, self._requests):
                _refuse.serve(self._high, self._operations, self._folder, options)
        except RuntimeError as error:
            text = self._errors.restore(replay=False)
            if self._ready.is_set():
                _log.error("the mount on %s ended with an error of libfuse (%s)", self._folder, error)
                return
            hint = "fastlegacy doctor says what is missing on this machine"
            why = " ".join(text.split()) or "libfuse does not say why"
            raise MountError(f"{self._folder} cannot be mounted: {why}", hint=hint) from error
        finally:
            self._errors.restore(replay=True)
            if self._requests.left:
                _left.append(self)
                _log.warning("%d reads still wait for a source, which does not answer", self._requests.left)


@contextmanager
def _prefetching(handles: Handles, threads: int | None) -> Iterator[None]:
    """Let some threads read ahead of who reads in order."""
    most_bytes = default_context().cache.ahead_max_bytes
    handles.prefetch(max(1, len(os.sched_getaffinity(0)) - 1) if threads is None else threads, most_bytes)
    try:
        yield
    finally:
        handles.end_prefetch()


@contextmanager
def _redirected(shown: Shown, folder: str, dirfd: int) -> Iterator[None]:
    """Let HDF5 files that lie in the folder be read past the mount: through it they would wait for us."""
    shown.redirect(folder, f"/proc/self/fd/{dirfd}")
    try:
        yield
    finally:
        if not done(lambda: shown.end_redirect(folder), _source_hangs):
            _left.append(shown)
            _log.warning("a source does not answer: what waits for it is left behind")


def _source_hangs() -> bool:
    return default_context().files.waiting_s > _SILENT_S


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let nobody wait for a source that others wait for in vain."""
    context = default_context()
    before, context.patience_s = context.patience_s, seconds
    try:
        yield
    finally:
        context.patience_s = before


@contextmanager
def _no_umask() -> Iterator[int]:
    """Let new files have the permissions that the kernel says: it has applied the caller's umask already."""
    before = os.umask(0)
    try:
        yield before
    finally:
        os.umask(before)


@contextmanager
def _quick_switches() -> Iterator[None]:
    """Let a busy thread in Python hand over at once when the kernel asks something: each call waits for that."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _many_open_files() -> Iterator[None]:
    """Raise the soft limit on open files as far as it goes: each file open in the mount is one here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
