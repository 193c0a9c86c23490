# SPDX-License-Identifier: MIT
"""Lets another process look into an HDF5 file first: HDF5 itself crashes or hangs on some damage, but not here.

While a program begins, a child of its own does it, which costs some ms. Later, when there are threads, it is a process
that is started once, and asked about file after file.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack, suppress

from fastlegacy.errors import SourceError
from fastlegacy.hdf5.files import default_context
from fastlegacy.index.crawl import CRASHES, DEADLY, Record, helper, limit_work, look_closely

__all__ = ["Guard"]

_LIMIT_S = 20  # of the processor's time
_PATIENCE_S = 300.0  # for a process that stands still for another reason
_MOST_KNOWN = 1000

Signature = tuple[int, int, int]


class Guard:
    """Knows which files HDF5 can be trusted with. Safe for threads.

    Parameters
    ----------
    limit_s : int
        So long HDF5 may work on the structure of one file.
    """

    def __init__(self, limit_s: int = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[Signature, bool]] = OrderedDict()
        self._ends = ExitStack()
        self._ask: Callable[[str], Record | None] | None = None
        self._is_started = False

    def __call__(self, file: str, dataset: str | None = None) -> None:
        """Look into a file, unless it is one that is known and has not changed.

        Parameters
        ----------
        file : str
        dataset : str, optional
            What is wanted of it.

        Raises
        ------
        SourceError
            If HDF5 crashes or hangs when it reads the structure of the file. What else is wrong with it is not said.
        """
        if not hasattr(os, "fork"):
            return  # on Windows
        file = os.path.abspath(file)
        context = default_context()
        context.expect_answer(file, deep=True)
        real = context.real_path(file)
        signature = _signature(real)
        if signature is None:
            return
        end = f"::{dataset}" if dataset else ""
        with self._lock:
            before = self._known.get(file + end)
            is_well = before[1] if before is not None and before[0] == signature else self._looked(real + end)
            self._known[file + end] = (signature, is_well)
            self._known.move_to_end(file + end)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        if not is_well:
            context.expect_answer(file, deep=True)  # or it is no fault of the file
            hint = "copy it again from its source; `fastlegacy check` tells which other files are damaged"
            raise SourceError(DEADLY, file=file, hint=hint)

    def close(self) -> None:
        """End the other process, if there is one."""
        with self._lock:
            self._end()

    def _looked(self, real: str) -> bool:
        if threading.active_count() == 1:
            return _survived(real, self._limit_s)
        if not self._is_started:
            self._ask = self._ends.enter_context(helper(_PATIENCE_S, closely=True, work_s=self._limit_s))
            self._is_started = True
        if self._ask is None:
            return True  # no process can be started: then it is as if nobody had looked
        # a folder that is covered by a mount is reached by a descriptor of this process
        if self._ask(real.replace("/proc/self/", f"/proc/{os.getpid()}/", 1)) is None:
            self._end()
            return False
        return True

    def _end(self) -> None:
        self._ends.close()
        self._is_started = False


def _signature(path: str) -> Signature | None:
    try:
        found = os.stat(path)
    except OSError:
        return None  # whoever opens it says what is wrong
    return found.st_size, found.st_mtime_ns, found.st_ino


def _survived(path: str, limit_s: int) -> bool:
    """Look into a file in a child; tell whether HDF5 lets it live."""
    try:
        child = os.fork()
    except OSError:
        return True
    if child == 0:
        try:
            _look(path, limit_s)
        finally:
            os._exit(0)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    # what was ended by somebody else says nothing of the file
    return not os.WIFSIGNALED(status) or os.WTERMSIG(status) not in CRASHES


def _look(path: str, limit_s: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    import resource  # not where there is no fork

    limit_work(limit_s)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    look_closely(path)
