# SPDX-License-Identifier: MIT
"""The paths of one mount: the folder, and what stands beside it while the mount is there."""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from fastlegacy.faces.mount.mountinfo import resolved
from fastlegacy.faces.mount.win32 import process_started

__all__ = ["GONE", "Places", "is_alive", "is_dead_mount", "looked", "server_pid_of_link", "started_at"]

# what a look at a mount fails with whose server is gone, or goes just then
GONE = {errno.ENOTCONN, errno.ECONNABORTED}

_PATIENCE_S = 5.0
_LINK_TARGET = re.compile(r"/proc/(\d+)/fd/\d+")


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths, links resolved.

    Attributes
    ----------
    folder : str
        Where the mount is.
    real : str
        ``FOLDER_real``, which leads to the real folder during the mount.
    journal : str
        What ``--rename`` writes before it renames.
    """

    folder: str
    real: str
    journal: str

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Places:
        """Return the places for a folder as the user has typed it (trailing slashes, relative, through links)."""
        return cls.at(resolved(folder))

    @classmethod
    def at(cls, path: str) -> Places:
        """Return the places for a folder whose path is absolute and without links."""
        return cls(path, f"{path}_real", f"{path}.fastlegacy.json")


def looked(folder: str, patience_s: float = _PATIENCE_S) -> int | None:
    """Return the errno of a look at a folder, 0 if it is well, None if its server does not answer in time."""
    codes: list[int] = []

    def look() -> None:
        try:
            os.stat(folder)
            os.statvfs(folder)  # which the kernel never answers from what it remembers
        except OSError as error:
            codes.append(error.errno or errno.EIO)
        else:
            codes.append(0)

    # a thread that waits for a mount does not keep the program from ending
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(patience_s)
    return codes[0] if codes else None


def is_dead_mount(folder: str) -> bool:
    """Tell whether a mount is there whose server is gone."""
    return looked(folder) in GONE


def server_pid_of_link(link: str) -> int | None:
    """Return the process that a link made by a mount leads into; None if the path is no such link."""
    try:
        match = _LINK_TARGET.fullmatch(os.readlink(link))
    except OSError:
        return None
    return int(match[1]) if match else None


def is_alive(pid: int, started: int | None = None) -> bool:
    """Tell whether a process runs; with ``started``, whether it is still the same one and not a later namesake."""
    now = started_at(pid)
    return now is not None and started in (None, now)


def started_at(pid: int) -> int | None:
    """Return when a process began, in the system's own steps; None if it does not run (or is a zombie).

    On Linux these are clock ticks since boot.
    """
    if sys.platform == "win32":
        return process_started(pid)
    try:
        # the second field, the program's name in brackets, may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
