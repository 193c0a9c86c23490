# SPDX-License-Identifier: MIT
"""Whether a folder can be mounted on: everything is looked at before anything is touched."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import mountinfo
from fastlegacy.faces.mount.covered import check_link, remove_stale_link
from fastlegacy.faces.mount.ending import remove_dead, unmount_command
from fastlegacy.faces.mount.places import GONE, Places, looked
from fastlegacy.faces.mount.rename import recover

__all__ = ["make_ready", "remove_made"]

_log = logging.getLogger("fastlegacy.mount")


def make_ready(places: Places, *, rename: bool) -> list[str]:
    """Check that a mount is possible, put right what a crash has left behind, and make the folder if it is missing.

    Returns
    -------
    list of str
        The folders that were made, the uppermost first.

    Raises
    ------
    MountError
        If it is not possible; nothing was touched then, but for what a crashed mount of ours had left behind.
    """
    _check_mounts(places.folder)
    if recover(places):
        _log.warning("a mount with --rename had not ended in good order: %s has its name back", places.folder)
    check_link(places)
    _check_folder(places.folder)
    if rename:
        _check_parent(places.folder)
        remove_stale_link(places)
    made = _make(places.folder)
    _warn_of_those_inside(places.folder)
    return made


def remove_made(folders: list[str]) -> None:
    """Remove the folders that :func:`make_ready` has made, as far as they are empty."""
    with suppress(OSError):
        for folder in reversed(folders):
            os.rmdir(folder)


def _make(folder: str) -> list[str]:
    missing = []
    above = folder
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    missing.reverse()
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        remove_made(missing)
        raise MountError(f"the folder {folder} cannot be made ({error.strerror})") from error
    return missing


def _check_mounts(folder: str) -> None:
    if folder == os.path.sep:
        raise MountError("the root folder cannot be mounted over", hint="name a folder below it")
    mount = mountinfo.find(folder)
    if mount is None:
        return
    code = looked(folder)
    dead = code in GONE
    if mountinfo.find(folder) != mount:
        _check_mounts(folder)  # it was taken away meanwhile, by whoever watches over it
        return
    command = " ".join(unmount_command(folder, lazy=dead))
    if mount.is_ours and dead:
        _log.warning("the server of the mount on %s is gone: the dead mount is removed (%s)", folder, command)
        remove_dead(folder)
        _check_mounts(folder)  # there may be another one below
    elif mount.is_ours:
        hangs = "" if code is not None else ", which does not answer"
        hint = f"end it by: fastlegacy umount {'--lazy ' if hangs else ''}{folder}"
        raise MountError(f"{folder} is a mount of fastlegacy already (of {mount.source}){hangs}", hint=hint)
    elif dead:
        raise MountError(f"there is a dead mount on {folder} (type {mount.kind})", hint=f"remove it by: {command}")
    else:
        hint = "name a folder below it, or another one"
        raise MountError(f"{folder} is a mount point already (type {mount.kind})", hint=hint)


def _check_folder(folder: str) -> None:
    try:
        os.stat(folder)
    except FileNotFoundError:
        _check_can_be_made(folder)
        return
    except OSError as error:
        raise MountError(f"{folder} cannot be used: {error.strerror}") from error
    if not os.path.isdir(folder):
        raise MountError(f"{folder} is not a folder", hint="name the folder in which the files shall appear")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise MountError(f"{folder} must not be read by this user", hint=f"see ls -ld {folder}")


def _check_can_be_made(folder: str) -> None:
    above = os.path.dirname(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        raise MountError(f"the folder {folder} cannot be made: {above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise MountError(f"the folder {folder} cannot be made: {above} must not be written to by this user")


def _check_parent(folder: str) -> None:
    above = os.path.dirname(folder)
    if os.path.isdir(above) and not os.access(above, os.W_OK | os.X_OK):
        hint = "mount without --rename: the folder then keeps its name"
        raise MountError(f"{folder} cannot be renamed: {above} must not be written to by this user", hint=hint)


def _warn_of_those_inside(folder: str) -> None:
    pids = mountinfo.holders(folder, working_folder_only=True, but=os.getpid())
    if pids:
        _log.warning(
            "process %s works in %s since before the mount and sees only the real folder until it leaves it and "
            'comes back (in a shell: cd "$PWD")',
            ", ".join(map(str, pids)),
            folder,
        )
