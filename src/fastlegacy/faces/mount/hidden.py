# SPDX-License-Identifier: MIT
"""Files that are removed or replaced while somebody has them open: libfuse hides them until they are closed.

libfuse 2 finds an open file by a path, so it asks for a rename to ``.fuse_hidden...`` before it removes or replaces it.
Taken at its word, that loses files: when the rename that was to follow fails, the file that it was to replace is gone.
And as the kernel tells of a close a moment later than the program goes on, files that nobody has open any more would
stay behind in their folders.
"""

from __future__ import annotations

import errno
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from fastlegacy.faces.mount.real import RealFolder

__all__ = ["HiddenFiles", "is_hidden_name"]

_PREFIX = ".fuse_hidden"
_CLOSING_S = 0.1  # how long a file that was closed may take to be released
_STEP_S = 0.0005
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EACCES)

Users = Callable[[int, int], tuple[int, int]]
"""Device and inode number of a file -> how many have it open, and how many of these have begun to close it."""


def is_hidden_name(path: str) -> bool:
    """Tell whether libfuse gives such names to files that were removed while they were open."""
    return path.rpartition("/")[2].startswith(_PREFIX)


def _somebody(_device: int, _inode: int) -> tuple[int, int]:
    return 1, 0


class HiddenFiles:
    """What libfuse has hidden. Safe for threads.

    Parameters
    ----------
    real : RealFolder
    users : callable, optional
        Tells who has a real file open.
    """

    def __init__(self, real: RealFolder, users: Users = _somebody) -> None:
        self._real = real
        self._users = users
        self._lock = threading.Lock()
        self._files: set[str] = set()
        self._frames: dict[str, str] = {}

    def hide(self, path: str, hidden: str, *, is_replaced: bool) -> None:
        """Give a real file, which is open, a hidden name.

        Parameters
        ----------
        path, hidden : str
            The two names, in one folder.
        is_replaced : bool
            Another file is about to take the name, and may fail to: so it is kept until then. Else the name goes.
        """
        if not self.is_open(path):
            if not is_replaced:
                self._real.unlink(path)
            return
        if is_replaced:
            try:
                self._real.link(hidden, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return  # it cannot be found by a name then; those who have it open go on
        else:
            self._real.rename(path, hidden)
        with self._lock:
            self._files.add(hidden)

    def hide_frame(self, path: str, hidden: str) -> None:
        """Let a hidden name stand for a virtual file that a real one is about to replace."""
        with self._lock:
            self._frames[hidden] = path

    def frame(self, hidden: str) -> str | None:
        """Return the virtual file for which a name stands, None if for none."""
        return self._frames.get(hidden) if self._frames else None

    def forget(self, path: str) -> None:
        """Note that a name is gone, hidden or not."""
        with self._lock:
            self._files.discard(path)
            self._frames.pop(path, None)

    def is_open(self, path: str) -> bool:
        """Tell whether somebody has a real file open; one that is just being closed is waited for."""
        try:
            found = self._real.status(path)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode):
            return True  # nobody counts those who use pipes and devices
        end = time.monotonic() + _CLOSING_S
        while True:
            users, closing = self._users(found.st_dev, found.st_ino)
            if users == 0 or closing < users or time.monotonic() > end:
                return users > 0
            time.sleep(_STEP_S)

    def sweep(self, folder: str) -> None:
        """Remove what is hidden in a folder and not open any more."""
        for path in self._known():
            if (path.rpartition("/")[0] or "/") == folder and not self.is_open(path):
                self._remove(path)

    def remove_all(self) -> None:
        """Remove the files that were removed while they were open, and whose release never came."""
        for path in self._known():
            self._remove(path)

    def _known(self) -> Iterator[str]:
        with self._lock:
            return iter(tuple(self._files))

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._real.unlink(path)
        self.forget(path)
