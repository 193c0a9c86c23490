# SPDX-License-Identifier: MIT
"""The usual way: the mount covers the folder itself, which stays at hand by a descriptor that was taken before.

Nothing on the disk changes but for one symbolic link, FOLDER_real, that leads through /proc to the covered folder. It
goes at the end; after a crash it leads nowhere, and the next mount replaces it.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from fastlegacy.errors import MountError
from fastlegacy.faces.mount.places import Places, is_alive, server_pid_of_link

__all__ = ["check_link", "covered", "remove_stale_link"]

_log = logging.getLogger("fastlegacy.mount")


def check_link(places: Places) -> None:
    """Raise MountError if FOLDER_real is there, unless it is a link that an earlier mount has left behind."""
    if not os.path.lexists(places.real):
        return
    pid = server_pid_of_link(places.real)
    if pid is None:
        hint = "rename it, or mount somewhere else; it is not touched"
        raise MountError(f"{places.real} is there already; the real folder is to be seen there", hint=hint)
    if is_alive(pid) and _is_same(places.real, places.folder):
        hint = f"wait until it has ended, or end it by kill {pid}"
        raise MountError(f"process {pid} is about to serve {places.folder}, or has not ended yet", hint=hint)


def remove_stale_link(places: Places) -> None:
    """Remove the link of an earlier mount, if there is one; :func:`check_link` has said that nobody uses it."""
    if server_pid_of_link(places.real) is not None:
        os.unlink(places.real)


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@contextmanager
def covered(places: Places) -> Iterator[int]:
    """Keep the folder at hand while it is covered, and show it as FOLDER_real.

    Yields
    ------
    int
        Descriptor of the real folder.
    """
    dirfd = os.open(places.folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    target = f"/proc/{os.getpid()}/fd/{dirfd}"
    try:
        _make_link(places, target)
        try:
            yield dirfd
        finally:
            _remove_link(places.real, target)
    finally:
        os.close(dirfd)


def _make_link(places: Places, target: str) -> None:
    remove_stale_link(places)
    try:
        os.symlink(target, places.real)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise MountError(f"{places.real} has just been made by somebody else", hint="try again") from error
        # whoever may not write beside the folder can mount all the same
        _log.warning("%s cannot be made (%s): the real folder is at %s", places.real, error.strerror, target)


def _remove_link(link: str, target: str) -> None:
    try:
        if os.readlink(link) == target:
            os.unlink(link)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # gone, or somebody else's by now
            _log.warning("the link %s cannot be removed: %s", link, error.strerror)
