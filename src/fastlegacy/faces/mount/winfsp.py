# SPDX-License-Identifier: MIT
"""The life of a mount on Windows, by WinFsp: check, rename the folder, serve, give it its name back.

WinFsp wants a mount point that does not exist. So the real folder is FOLDER_real as long as the mount is there, and is
reached by that path; the journal of :mod:`rename` is beside it. Names are found in any case: Windows asks a file system
that is mounted on a folder for ``FILENAME``. All requests are answered by Python; pixels are decoded by the kernels as
everywhere.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from fastlegacy.errors import FastlegacyError, MountError, UrlError
from fastlegacy.faces.mount import _refuse
from fastlegacy.faces.mount.any_case import AnyCase
from fastlegacy.faces.mount.checks import make_ready, remove_made
from fastlegacy.faces.mount.console import ConsoleSignals
from fastlegacy.faces.mount.inside import About, with_inside
from fastlegacy.faces.mount.logbook import kept_log
from fastlegacy.faces.mount.operations import Operations
from fastlegacy.faces.mount.options import parsed
from fastlegacy.faces.mount.places import Places
from fastlegacy.faces.mount.plain_handles import PlainHandles
from fastlegacy.faces.mount.real_paths import RealPaths
from fastlegacy.faces.mount.rename import moved_away
from fastlegacy.faces.mount.statistics import summary
from fastlegacy.faces.mount.virtual import VirtualEntries
from fastlegacy.faces.mount.watch import Watch
from fastlegacy.faces.mount.win32 import open_shared
from fastlegacy.faces.shown import Shown
from fastlegacy.index.folder import Folder

if TYPE_CHECKING:
    from fastlegacy._serve import Handles
    from fastlegacy.index.tree import Tree

__all__ = ["mount", "winfsp_options"]

_log = logging.getLogger("fastlegacy.mount")
_POLL_S = 0.05
_LABEL_MAX = 32  # characters of the name of a drive


def mount(
    shown: Tree | Folder | Shown,
    folder: str | os.PathLike[str],
    *,
    rename: bool = True,
    allow_other: bool = False,
    ignore_case: bool = True,
    xattr: bool = False,
    copy_up: bool = False,
    prefetch: int | None = None,
    read_timeout_s: float = 0.0,
    options: str | Iterable[str] | None = (),
    settings: Mapping[str, Any] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Show the union of a folder and virtual files at that folder, until Ctrl-C or Ctrl-Break.

    Parameters and result are those of :func:`fastlegacy.faces.mount.session.mount`. The folder is always renamed and
    names are always found in any case, whatever is said.

    Raises
    ------
    MountError
        If the mount cannot be made. Nothing was touched or lost then.
    UrlError
        If other users are to see it: that is not for WinFsp to say, but for the permissions of the folder.
    """
    del rename, ignore_case, xattr, prefetch, read_timeout_s
    if copy_up:
        raise UrlError("--copy-up is not for Windows", hint="leave it out, and rename a new file over the frame")
    if allow_other:
        raise UrlError("--allow-other is not for Windows", hint="leave it out, or share the folder that is mounted")
    texts = parsed(options)
    high = _refuse.load()
    if threading.current_thread() is not threading.main_thread():
        raise MountError("a mount can be ended by Ctrl-C only in the main thread of a program")
    places = Places.of(folder)
    made = make_ready(places, rename=True)
    if not isinstance(shown, Shown):
        root = Folder.of(shown)
        shown = Shown(root, root.stacks[0].facts.url if root.stacks else "no stack")
    try:
        with ConsoleSignals() as signals, moved_away(places) as real, kept_log() as log:
            shown.redirect(places.folder, real)
            try:
                about = About(places.folder, shown.label, {"folder": places.folder, **(settings or {})}, log)
                server = _Server(high, shown, about, real, signals)
                return server.serve(winfsp_options(shown.label, texts), on_ready)
            finally:
                shown.end_redirect(places.folder)
    except MountError:
        remove_made(made)
        raise


def winfsp_options(label: str, user: Mapping[str, str | None]) -> list[str]:
    """Return the options for WinFsp; the user has the last word.

    Parameters
    ----------
    label : str
        What is shown: the name of the drive is made from it.
    user : mapping
        What :func:`fastlegacy.faces.mount.options.parsed` returned.
    """
    chosen: dict[str, str | None] = {
        # everything belongs to whoever mounts: Windows knows no numbers of users
        "uid": "-1",
        "gid": "-1",
        "volname": _drive_name(label),
        "FileSystemName": "fastlegacy",
        "attr_timeout": "1",
    }
    return [_refuse.option(name, value) for name, value in (chosen | dict(user)).items()]


def _drive_name(label: str) -> str:
    """Return the name of the file that is shown, without what has a meaning in options."""
    name = re.split(r"[/\\]", label.partition("::")[0])[-1]
    return re.sub(r"[^\w.-]", "_", name)[:_LABEL_MAX] or "fastlegacy"


class _Server:
    """Puts the parts of one mount together and runs them."""

    def __init__(self, high: ModuleType, shown: Shown, about: About, real: str, signals: ConsoleSignals) -> None:
        self._high = high
        self._shown = shown
        self._signals = signals
        self._folder = about.folder
        self._handles = PlainHandles()
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._start = time.monotonic()
        root = with_inside(lambda: shown.root, about, self.statistics)
        virtual = VirtualEntries(root, label=shown.label, uid=0, gid=0)
        opener = open_shared if sys.platform == "win32" else os.open
        overlay = AnyCase(RealPaths(real, opener=opener), virtual, asks_again=False)
        self._operations = Operations(
            overlay,
            # the same methods, but no final class of Cython can be derived from
            cast("Handles", self._handles),
            lambda: (0, 0, 0),  # who asks is not known: so nobody is asked to try again when headers have changed
            kernel_checks=True,
            xattr=False,
            on_init=lambda: None,
            version=lambda: shown.version,
        )

    def statistics(self) -> dict[str, Any]:
        """What was served up to now."""
        return summary(self._operations.counters, self._handles.statistics(), time.monotonic() - self._start)

    def serve(self, options: list[str], on_ready: Callable[[], None] | None) -> dict[str, Any]:
        """Mount and serve until the end; return the statistics."""
        looks = threading.Thread(target=self._look, name="fastlegacy-ready", daemon=True)
        with Watch(self._folder, cast("Handles", self._handles), self._ready, on_ready, self._shown.poll):
            looks.start()
            try:
                self._run(options)
            finally:
                self._ended.set()
                self._signals.end_by(None)
                looks.join()
        return self.statistics()

    def _look(self) -> None:
        """Wait until the mount point is there: WinFsp asks its first questions before that."""
        while not self._ended.wait(_POLL_S):
            if os.path.isdir(self._folder):
                self._ready.set()
                self._fetch_chunk_maps()
                return

    def _fetch_chunk_maps(self) -> None:
        for stack in self._shown.root.stacks:
            try:
                stack.prepare(0, stack.facts.shape[0] - 1)
            except FastlegacyError as error:
                _log.warning("%s", error)

    def _run(self, options: list[str]) -> None:
        if self._signals.wanted:
            return
        try:
            _refuse.serve_winfsp(self._high, self._operations, self._folder, options, self._signals.end_by)
        except RuntimeError as error:
            if self._ready.is_set():
                _log.error("the mount on %s ended with an error of WinFsp (%s)", self._folder, error)
                return
            hint = "what WinFsp has printed says why; `fastlegacy doctor` says whether it is there"
            raise MountError(f"{self._folder} cannot be mounted", hint=hint) from error
