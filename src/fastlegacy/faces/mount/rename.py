# SPDX-License-Identifier: MIT
"""``--rename``: during the mount the real folder is called FOLDER_real, and FOLDER is an empty mount point.

A journal beside the folder is on the disk before anything is renamed, and goes after the folder has its name back.
Whatever ends the program, the next start finds the journal and puts things right. Nothing is ever removed but an
empty folder that was made here, and the journal.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fastlegacy.errors import MountError
from fastlegacy.faces.mount.places import Places, is_alive, started_at

__all__ = ["Journal", "moved_away", "recover", "renamed", "server_pid_of_journal"]

_NO_FOLLOW = int(getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))  # Windows has none of the two


@dataclass(frozen=True, slots=True)
class Journal:
    """What is written down before a folder is renamed.

    Attributes
    ----------
    pid, started : int
        The process that serves the mount, and when it began, in the system's own steps.
    host : str
        The machine that it runs on.
    folder, real : str
        The folder, and what it is called during the mount.
    device, inode : int
        Which folder on the disk it is, whatever it is called.
    time : str
        When, for people.
    """

    pid: int
    started: int
    host: str
    folder: str
    real: str
    device: int
    inode: int
    time: str

    def is_of(self, path: str) -> bool:
        """Tell whether the folder at a path is the one that this journal is about."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (self.device, self.inode)

    @property
    def is_served(self) -> bool:
        """The process that wrote it is still there."""
        return self.host == socket.gethostname() and is_alive(self.pid, self.started)


def _read(path: str) -> Journal | None:
    try:
        return Journal(**json.loads(Path(path).read_text(encoding="ascii")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        hint = "if FOLDER_real is there, rename it back to FOLDER by hand; then remove this file"
        raise MountError("this journal of a mount with --rename is damaged", file=path, hint=hint) from error
    except OSError as error:
        hint = "see whether this user may look into that folder"
        raise MountError(f"cannot be looked for ({error.strerror})", file=path, hint=hint) from error


def server_pid_of_journal(path: str) -> int | None:
    """Return the process that a journal names, if it still runs; None without a readable journal."""
    try:
        journal = _read(path)
    except MountError:
        return None
    return journal.pid if journal and journal.is_served else None


def recover(places: Places) -> bool:
    """Put right what a mount with ``--rename`` has left behind that was not ended in good order.

    Returns
    -------
    bool
        Something was put right.

    Raises
    ------
    MountError
        If the mount is still served, or if things are not as the journal says; nothing is touched then.
    """
    journal = _read(places.journal)
    if journal is None:
        return False
    if journal.host != socket.gethostname():
        hint = f"end that mount there; if {journal.host} has crashed, start fastlegacy there once more"
        raise MountError(f"{places.folder} is mounted with --rename by the machine {journal.host}", hint=hint)
    if journal.is_served:
        hint = f"fastlegacy umount {places.folder}"
        raise MountError(f"{places.folder} is mounted with --rename by process {journal.pid}", hint=hint)
    _rename_back(journal, places)
    return True


def _rename_back(journal: Journal, places: Places) -> None:
    """Give the real folder its name back, whichever step was the last that happened, and remove the journal."""
    if not journal.is_of(places.folder):
        if not journal.is_of(places.real):
            hint = f"rename it to {places.folder} by hand, then remove {places.journal}"
            raise MountError(f"the real folder is not at {places.real} any more", hint=hint)
        _remove_empty(places)
        try:
            os.rename(places.real, places.folder)
        except OSError as error:
            hint = "close what is open in it: the next start of fastlegacy gives it its name back"
            raise MountError(f"{places.real} cannot be renamed back ({error.strerror})", hint=hint) from error
        _sync_folder(os.path.dirname(places.folder))
    os.unlink(places.journal)


def _remove_empty(places: Places) -> None:
    try:
        os.rmdir(places.folder)
    except FileNotFoundError:
        return
    except OSError as error:
        hint = f"move what is in it to {places.real}, and start again: the folder then gets its name back"
        message = f"{places.folder}, the mount point, cannot be removed ({error.strerror})"
        raise MountError(message, hint=hint) from error


@contextmanager
def renamed(places: Places) -> Iterator[int]:
    """Rename the folder to FOLDER_real and make an empty FOLDER; at the end undo both.

    Yields
    ------
    int
        Descriptor of the real folder.
    """
    dirfd = os.open(places.folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = os.fstat(dirfd).st_mode & 0o7777
        with _noted(places):
            _move_away(places)
            _make_mount_point(places, mode)
            yield dirfd
    finally:
        os.close(dirfd)


@contextmanager
def moved_away(places: Places) -> Iterator[str]:
    """Rename the folder to FOLDER_real, so that there is no FOLDER: WinFsp makes its mount points itself.

    Yields
    ------
    str
        Path of the real folder.
    """
    with _noted(places):
        _move_away(places)
        yield places.real


@contextmanager
def _noted(places: Places) -> Iterator[None]:
    """Write down what is about to be done; at the end undo it."""
    found = os.stat(places.folder)
    journal = Journal(
        pid=os.getpid(),
        started=started_at(os.getpid()) or 0,
        host=socket.gethostname(),
        folder=places.folder,
        real=places.real,
        device=found.st_dev,
        inode=found.st_ino,
        time=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )
    _write(journal, places.journal)
    try:
        yield
    finally:
        _rename_back(journal, places)


def _move_away(places: Places) -> None:
    try:
        os.rename(places.folder, places.real)
    except OSError as error:
        raise _not_renamed(places, error) from error


def _make_mount_point(places: Places, mode: int) -> None:
    try:
        os.mkdir(places.folder)
        os.chmod(places.folder, mode)
    except OSError as error:
        raise _not_renamed(places, error) from error


def _not_renamed(places: Places, error: OSError) -> MountError:
    hint = "mount without --rename: the folder then keeps its name"
    if sys.platform == "win32":
        hint = "close what is open in it, also HDF5 files: Windows does not rename a folder that is in use"
    return MountError(f"{places.folder} cannot be renamed ({error.strerror})", hint=hint)


def _write(journal: Journal, path: str) -> None:
    """Write the journal down; it appears as a whole, or not at all."""
    text = json.dumps(asdict(journal), indent=1) + "\n"
    new = f"{path}.{journal.pid}"
    try:
        _remove_leftovers(path)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW, 0o644)
        try:
            with open(fd, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(fd)
            _put(new, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(new)
        _sync_folder(os.path.dirname(path))
    except OSError as error:
        hint = "mount without --rename: nothing is written beside the folder then"
        raise MountError(f"the journal cannot be written ({error.strerror})", file=path, hint=hint) from error


def _put(new: str, path: str) -> None:
    """Give a file its name, unless there is one of that name."""
    try:
        os.link(new, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise
        # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
        os.rename(new, path)


def _remove_leftovers(path: str) -> None:
    """Remove what processes have left that were killed before their journal had its name."""
    above, name = os.path.split(path)
    for found in os.listdir(above):
        pid = found.removeprefix(f"{name}.")
        if pid != found and pid.isdecimal() and not is_alive(int(pid)):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(above, found))


def _sync_folder(path: str) -> None:
    if sys.platform == "win32":
        return  # it keeps its folders by a journal of its own, and has no descriptors of them
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
