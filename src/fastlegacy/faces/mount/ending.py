# SPDX-License-Identifier: MIT
"""Ends mounts of ours: those that are served, that are dead, and that hang."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import mountinfo
from fastlegacy.faces.mount.places import Places, is_alive, is_dead_mount, server_pid_of_link
from fastlegacy.faces.mount.rename import server_pid_of_journal

__all__ = ["remove_dead", "server_pid", "umount", "unmount_command"]

_POLL_S = 0.02


def unmount_command(folder: str, *, lazy: bool = False) -> list[str]:
    """Return the command that unmounts a folder on this machine."""
    for program in ("fusermount", "fusermount3"):
        if shutil.which(program):
            return [program, "-uz" if lazy else "-u", "--", folder]
    return ["umount", *(["-l"] if lazy else []), "--", folder]


def server_pid(places: Places) -> int | None:
    """Return the process that is noted beside a mount as its server, None if there is none. The mount is not asked."""
    return server_pid_of_link(places.real) or server_pid_of_journal(places.journal)


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
    pid = server_pid(places)
    # a mount is looked at only where nobody is known to serve it: if it hangs, the look itself would keep it in use
    served = pid is not None and is_alive(pid) and os.path.exists(places.real)
    dead = not served and is_dead_mount(places.folder)
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
    mount = mountinfo.find(folder)
    if mount is None:
        where = ", ".join(found.folder for found in mountinfo.ours())
        raise MountError(f"{folder} is not a mount point", hint=f"mounts of fastlegacy: {where or 'none'}")
    if not mount.is_ours:
        raise MountError(f"{folder} is a mount of type {mount.kind}, not one of fastlegacy", hint="nothing was done")


def _run_unmount(folder: str, *, lazy: bool, server: int | None) -> None:
    before = mountinfo.find(folder)
    command = unmount_command(folder, lazy=lazy)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise MountError(f"{folder} cannot be unmounted: {error}", hint="install the system package fuse3") from error
    # fusermount may say no when the server, or what it has left behind, was just faster in unmounting by itself
    if done.returncode == 0 or before is None or _wait_for(lambda: mountinfo.find(folder) != before, 0.2):
        return
    if "busy" not in done.stderr:
        raise MountError(f"{folder} cannot be unmounted: {done.stderr.strip()}")
    pids = ", ".join(str(pid) for pid in mountinfo.holders(folder, but=server))
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
