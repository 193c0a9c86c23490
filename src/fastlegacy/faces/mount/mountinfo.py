# SPDX-License-Identifier: MIT
"""Looks at the mounts of this machine. None of them is asked anything: it may be dead, or hang."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TYPE", "Mount", "find", "holders", "mounts", "ours", "resolved"]

TYPE = "fuse.fastlegacy"
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo.

    Attributes
    ----------
    ident : int
        The kernel's number of the mount.
    device : str
        ``major:minor``, as ``st_dev`` has it.
    folder : str
        Where it is mounted.
    kind : str
        Type of file system; ours is ``fuse.fastlegacy``.
    source : str
        What is mounted: for ours, the url of the stack.
    """

    ident: int
    device: str
    folder: str
    kind: str
    source: str

    @property
    def is_ours(self) -> bool:
        """Made by fastlegacy."""
        return self.kind == TYPE


def mounts(text: str | None = None) -> list[Mount]:
    """Return all mounts in the order in which they lie over each other.

    Parameters
    ----------
    text : str, optional
        What to read instead of /proc/self/mountinfo.
    """
    if text is None and sys.platform == "win32":
        return []  # Windows has no such list; what is served is known by its journal
    if text is None:
        text = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    return [_parsed(line) for line in text.split("\n") if line]


def _parsed(line: str) -> Mount:
    # optional fields, as many as there are, end with a lone dash
    left, _, right = line.partition(" - ")
    ident, _parent, device, _root, folder, *_ = left.split(" ")
    kind, source, *_ = right.split(" ")
    return Mount(int(ident), device, _unescaped(folder), _unescaped(kind), _unescaped(source))


def _unescaped(text: str) -> str:
    # the kernel writes spaces, tabs, line ends and backslashes as octal numbers
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def find(folder: str) -> Mount | None:
    """Return the topmost mount on a folder (an absolute path without links), None if it is no mount point."""
    return next((mount for mount in reversed(mounts()) if mount.folder == folder), None)


def ours() -> list[Mount]:
    """Return the mounts made by fastlegacy."""
    return [mount for mount in mounts() if mount.is_ours]


def resolved(path: str | os.PathLike[str]) -> str:
    """Return the absolute path, without links, of a folder as somebody has typed it; a mount on it is not asked."""
    typed = os.fspath(path)
    if ".." not in typed.split(os.path.sep):
        above, name = os.path.split(os.path.abspath(typed))
        at = os.path.join(os.path.realpath(above), name)
        if find(at) is not None:
            return at
    return os.path.realpath(typed)


def holders(folder: str, *, working_folder_only: bool = False, but: int | None = None) -> list[int]:
    """Return the processes that have a folder, or something below it, open or as working folder.

    Only those that this process is allowed to look into are found.
    """
    if sys.platform == "win32":
        return []
    below = folder.rstrip("/") + "/"
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return sorted(
        pid
        for pid in pids
        if pid != but and any((path + "/").startswith(below) for path in _used_by(pid, working_folder_only))
    )


def _used_by(pid: int, working_folder_only: bool) -> list[str]:
    links = [f"/proc/{pid}/cwd"]
    if not working_folder_only:
        links += [f"/proc/{pid}/root", f"/proc/{pid}/exe"]
        links += _listed(f"/proc/{pid}/fd") + _listed(f"/proc/{pid}/map_files")
    found = []
    for link in links:
        try:
            found.append(os.readlink(link))
        except OSError:  # the process has ended, or is somebody else's
            continue
    return found


def _listed(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:
        return []
