# SPDX-License-Identifier: MIT
"""Looks at the mounts of this machine, and ends ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastlegacy.errors import MountError
from fastlegacy.faces.mount.places import Places, is_alive, is_dead_mount, server_pid_of_link
from fastlegacy.faces.mount.rename import server_pid_of_journal

__all__ = ["TYPE", "Mount", "find", "holders", "mounts", "ours", "remove_dead", "umount", "unmount_command"]

TYPE = "fuse.fastlegacy"
_OCTAL = re.compile(r"\\([0-7]{3})")
_POLL_S = 0.02


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


def unmount_command(folder: str, *, lazy: bool = False) -> list[str]:
    """Return the command that unmounts a folder on this machine."""
    for program in ("fusermount", "fusermount3"):
        if shutil.which(program):
            return [program, "-uz" if lazy else "-u", "--", folder]
    return ["umount", *(["-l"] if lazy else []), "--", folder]


def umount(folder: str | os.PathLike[str], timeout_s: float = 10, lazy: bool = False) -> None:
    """End the mount on a folder, and wait until its server has cleaned up behind itself.

    Parameters
    ----------
    folder : path
        Where the mount is.
    timeout_s : float
        How long to wait, seconds.
    lazy : bool
        Take the mount away even while it is in use; programs that have files open there get errors.

    Raises
    ------
    MountError
        If there is no mount of fastlegacy, if it is in use, or if the server has not ended in time.
    """
    places = Places.of(folder)
    _check_ours(places.folder)
    pid = server_pid_of_link(places.real) or server_pid_of_journal(places.journal)
    dead = is_dead_mount(places.folder)
    _run_unmount(places.folder, lazy=lazy or dead, server=pid)
    if pid is None or dead:
        return

    def has_ended() -> bool:
        return not is_alive(pid) or not (os.path.lexists(places.real) or os.path.lexists(places.journal))

    if not _wait_for(has_ended, timeout_s):
        raise MountError(
            f"{places.folder} is unmounted, but its server (process {pid}) has not ended after {timeout_s:g} s",
            hint=f"it ends as soon as nobody uses the mount any more; kill {pid} ends it by force",
        )


def remove_dead(folder: str) -> None:
    """Take away a mount of ours whose server is gone; programs that still have files open there keep their errors."""
    _run_unmount(folder, lazy=True, server=None)


def _check_ours(folder: str) -> None:
    mount = find(folder)
    if mount is None:
        where = ", ".join(found.folder for found in ours())
        raise MountError(f"{folder} is not a mount point", hint=f"mounts of fastlegacy: {where or 'none'}")
    if not mount.is_ours:
        raise MountError(f"{folder} is a mount of type {mount.kind}, not one of fastlegacy", hint="nothing was done")


def _run_unmount(folder: str, *, lazy: bool, server: int | None) -> None:
    before = find(folder)
    command = unmount_command(folder, lazy=lazy)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise MountError(f"{folder} cannot be unmounted: {error}", hint="install the system package fuse3") from error
    # fusermount may say no when the server, or what it has left behind, was just faster in unmounting by itself
    if done.returncode == 0 or before is None or _wait_for(lambda: find(folder) != before, 0.2):
        return
    if "busy" not in done.stderr:
        raise MountError(f"{folder} cannot be unmounted: {done.stderr.strip()}")
    pids = ", ".join(str(pid) for pid in holders(folder, but=server))
    users = f"process {pids}" if pids else "a process that this user may not see"
    raise MountError(
        f"{folder} is in use by {users}",
        hint="close the files that are open there and leave the folder, or use --lazy",
    )


def _wait_for(condition: Callable[[], bool], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True
