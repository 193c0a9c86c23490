# SPDX-License-Identifier: MIT
"""Where a mount and its clients meet: the path of a mount in, a socket in a folder that is the user's alone out."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fastlegacy.errors import MountError
from fastlegacy.faces.mount.mountinfo import Mount, mounts, ours, resolved
from fastlegacy.faces.mount.places import Places

__all__ = ["MeetingPoint", "connected", "meeting_point", "mount_above", "owner_of", "run_folder"]

_FOLDER = "FASTLEGACY_RUN"
_OWNER = re.compile(r"(?:^|,)user_id=(\d+)(?:,|$)")
_CLIENTS_WAITING = 16


@dataclass(frozen=True, slots=True)
class MeetingPoint:
    """A socket that listens.

    Attributes
    ----------
    socket : socket.socket
    folder : int
        Descriptor of the folder that it is in, whatever may be mounted over that by now.
    name : str
    """

    socket: socket.socket
    folder: int
    name: str

    def remove(self) -> None:
        """Take the socket's name away, and let go of the folder."""
        with suppress(OSError):
            os.unlink(self.name, dir_fd=self.folder)
        os.close(self.folder)


def _name_of(folder: str) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]


def _folders(uid: int) -> list[str]:
    """Return where sockets of a user may be, the best first."""
    if chosen := os.environ.get(_FOLDER):
        return [os.path.abspath(chosen)]
    by_system = os.environ.get("XDG_RUNTIME_DIR", "") if uid == os.geteuid() else ""
    return [
        *([f"{by_system}/fastlegacy"] if by_system.startswith("/") else []),
        f"{tempfile.gettempdir()}/fastlegacy-{uid}",
    ]


def _folders_to_look_into(uid: int) -> list[str]:
    # the server may have been started with another environment: in a desktop, by a batch system, by cron
    usual = [f"/run/user/{uid}/fastlegacy", f"/tmp/fastlegacy-{uid}"]
    return list(dict.fromkeys([*_folders(uid), *usual]))


# ---- the server's side


def run_folder() -> str:
    """Return a folder for what is there as long as a mount is: it is this user's, and closed to others.

    Raises
    ------
    MountError
        If there is none.
    """
    errors: list[str] = []
    for place in _folders(os.geteuid()):
        try:
            os.close(_own_folder(place))
        except (MountError, OSError) as error:
            errors.append(str(error))
        else:
            return place
    raise MountError("; ".join(errors), hint=f"{_FOLDER}=/some/folder says where sockets and pid files shall be")


def meeting_point(folder: str) -> MeetingPoint:
    """Listen at the place for a mount.

    Parameters
    ----------
    folder : str
        Where the mount will be: an absolute path without links.

    Raises
    ------
    MountError, OSError
        If there is no place for it.
    """
    errors: list[str] = []
    for place in _folders(os.geteuid()):
        try:
            fd = _own_folder(place)
        except (MountError, OSError) as error:
            errors.append(str(error))
            continue
        try:
            with _alone(fd):
                return _listening(fd, _name_of(folder))
        except BaseException:
            os.close(fd)
            raise
    raise MountError("; ".join(errors), hint=f"{_FOLDER}=/some/folder says where sockets shall be")


def _own_folder(path: str) -> int:
    """Make a folder, if it is not there, and open it; it has to be this user's, and closed to others."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        os.close(fd)
        raise MountError(f"{path} is not a folder that only this user may use")
    return fd


@contextmanager
def _alone(fd: int) -> Iterator[None]:
    """Let nobody else replace a socket in the folder meanwhile."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _listening(fd: int, name: str) -> MeetingPoint:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # by the descriptor: the path of a socket has at most 107 bytes
    path = f"/proc/self/fd/{fd}/{name}"
    try:
        try:
            server.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if _is_answered(path):
                raise MountError("another server listens for this folder already") from error
            os.unlink(name, dir_fd=fd)  # of a server that was killed
            server.bind(path)
        server.listen(_CLIENTS_WAITING)
    except BaseException:
        server.close()
        raise
    return MeetingPoint(server, fd, name)


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(0)
        try:
            client.connect(path)
        except BlockingIOError:
            return True  # so many wait already
        except OSError:
            return False
    return True


# ---- the client's side


def mount_above(path: str | os.PathLike[str]) -> tuple[Mount, str] | None:
    """Return the mount of fastlegacy that a path is in, and the path in it (``""``: the mount itself); or None."""
    real = resolved(path)
    found: dict[str, Mount] = {mount.folder: mount for mount in mounts()}  # of several on one folder the topmost
    above = real
    while above not in found and above != "/":
        above = os.path.dirname(above)
    mount = found.get(above)
    if mount is None or not mount.is_ours:
        return None
    return mount, real[len(above) :].strip("/")


def owner_of(mount: Mount) -> int | None:
    """Return the user who has made a mount, None if it is gone."""
    for line in os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).split("\n"):
        if line.startswith(f"{mount.ident} ") and (match := _OWNER.search(line.rpartition(" ")[2])):
            return int(match[1])
    return None


def connected(mount: Mount, owner: int) -> socket.socket | None:
    """Return a connection to the server of a mount, None if it does not listen anywhere."""
    name = _name_of(mount.folder)
    for folder in _folders_to_look_into(owner):
        for place in (folder, *_behind_mounts(folder)):
            client = _connection(place, name)
            if client is not None:
                return client
    return None


def _behind_mounts(folder: str) -> Iterator[str]:
    """Yield the paths of a folder behind mounts of ours that cover it: through a mount, nobody meets a socket."""
    for mount in ours():
        if f"{folder}/".startswith(f"{mount.folder}/"):
            yield f"{Places.at(mount.folder).real}{folder[len(mount.folder) :]}"


def _connection(folder: str, name: str) -> socket.socket | None:
    try:
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(f"/proc/self/fd/{fd}/{name}")
    except OSError:
        client.close()
        return None
    finally:
        os.close(fd)
    return client
