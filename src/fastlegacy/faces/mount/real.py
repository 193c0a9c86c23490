# SPDX-License-Identifier: MIT
"""The real folder, reached only through a directory descriptor: its own path may be covered by the mount.

Every call is one of the ``*at`` family with a relative name. Symbolic links are never followed here: the kernel follows
them for the program that asks, with that program's rights.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from fastlegacy.faces.mount.draft import Draft, draft_in

__all__ = ["ACCESS_MODE", "Attributes", "Caller", "RealFolder", "attributes_of", "failure"]

Attributes = dict[str, int]
"""``st_*`` names and values as stat(2) has them; times are whole nanoseconds."""

ACCESS_MODE = 3
"""O_ACCMODE, which Python has not on Windows: O_RDONLY, O_WRONLY and O_RDWR are 0, 1 and 2 everywhere."""


def _flag(name: str) -> int:
    # what a system has not is left out: macOS has no O_PATH, Windows nearly nothing (real_paths.py is for it)
    return int(getattr(os, name, 0))


_FOLDER_FLAGS = _flag("O_DIRECTORY") | _flag("O_NOFOLLOW") | _flag("O_CLOEXEC")
_WALK_FLAGS = _FOLDER_FLAGS | _flag("O_PATH")
# O_DIRECT is not among them: libfuse's buffers are not aligned as it demands
_KEPT_FLAGS = ACCESS_MODE | os.O_APPEND | _flag("O_SYNC") | _flag("O_DSYNC") | os.O_TRUNC
_PAGE_BYTES = 4096
_UTIME_OMIT = (1 << 30) - 2
_AT_SYMLINK_NOFOLLOW = 0x100

# openat2(2) goes down a whole path in one call, links not followed. Linux has it since 5.6, by one number everywhere.
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 4, 8
# Links are told otherwise; not known, not allowed, longer than a path may be, or renamed meanwhile: without it
_BY_STEPS = (errno.ELOOP, errno.ENOSYS, errno.EPERM, errno.ENAMETOOLONG, errno.EAGAIN)


class Caller(NamedTuple):
    """Who asks: user and group of the process that made the call."""

    uid: int
    gid: int


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def failure(code: int, path: str) -> OSError:
    """Return the OSError (of the fitting subclass) for an errno."""
    return OSError(code, os.strerror(code), path)


def attributes_of(found: os.stat_result) -> Attributes:
    """Turn the result of stat into attributes, times in nanoseconds."""
    return {
        "st_mode": found.st_mode,
        "st_ino": found.st_ino,
        "st_nlink": found.st_nlink,
        "st_uid": found.st_uid,
        "st_gid": found.st_gid,
        "st_rdev": getattr(found, "st_rdev", 0),
        "st_size": found.st_size,
        # Windows has none of the two
        "st_blksize": getattr(found, "st_blksize", _PAGE_BYTES),
        "st_blocks": getattr(found, "st_blocks", -(-found.st_size // 512)),
        "st_atime": found.st_atime_ns,
        "st_mtime": found.st_mtime_ns,
        "st_ctime": found.st_ctime_ns,
    }


class RealFolder:
    """A folder and all below it, by paths such as ``/sub/name`` that are relative to it.

    Every method raises the OSError of the system call that failed.

    Parameters
    ----------
    dirfd : int
        Descriptor of the folder (``O_PATH`` is enough). It stays the caller's to close.
    give_away : bool
        New entries are given to the user who made them: for a server that runs as root.
    """

    def __init__(self, dirfd: int, *, give_away: bool) -> None:
        self.dirfd = dirfd
        self.give_away = give_away
        self._libc = ctypes.CDLL(None, use_errno=True)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield the descriptor of the folder that holds an entry, and the entry's name in it."""
        folders, _, name = path.strip("/").rpartition("/")
        if name == "..":
            raise failure(errno.ENOENT, path)
        if not folders:
            yield self.dirfd, name or "."
            return
        try:
            fd = self._walk(folders.split("/"))
        except FileNotFoundError as error:
            # in a virtual folder no file system is asked whether there can be such a name
            if len(os.fsencode(name)) > os.fstatvfs(self.dirfd).f_namemax:
                raise failure(errno.ENAMETOOLONG, path) from error
            raise
        try:
            yield fd, name
        finally:
            os.close(fd)

    def _walk(self, folders: list[str]) -> int:
        path = "/".join(folders)
        if {"", ".", ".."}.intersection(folders):
            raise failure(errno.ENOENT, path)
        how = _OpenHow(_WALK_FLAGS, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH)
        if sys.platform == "linux":
            fd = self._libc.syscall(_OPENAT2, self.dirfd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
            if fd >= 0:
                return int(fd)
            if ctypes.get_errno() not in _BY_STEPS:
                raise failure(ctypes.get_errno(), path)
        # one step at a time: O_NOFOLLOW speaks of the last name only
        fd = os.dup(self.dirfd)
        for folder in folders:
            try:
                below = os.open(folder, _WALK_FLAGS, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def attributes(self, path: str) -> Attributes:
        """Attributes of an entry (of the link itself if it is one)."""
        with self._parent(path) as (folder, name):
            return attributes_of(os.stat(name, dir_fd=folder, follow_symlinks=False))

    def exists(self, path: str) -> bool:
        """Tell whether there is an entry; an error other than "no such entry" is raised."""
        try:
            self.attributes(path)
        except FileNotFoundError:
            return False
        return True

    def check_access(self, path: str, mode: int) -> None:
        """Raise PermissionError unless this process may use an entry in this way (``os.R_OK`` and so on)."""
        with self._parent(path) as (folder, name):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not os.access(name, mode, dir_fd=folder, follow_symlinks=False):
                raise failure(errno.EACCES, path)

    def entries(self, fd: int) -> Iterator[os.DirEntry[str]]:
        """Iterate over the entries of an open folder."""
        with os.scandir(fd) as found:
            yield from found

    def inode_of_folder(self, fd: int) -> int:
        """Return the inode number of an open folder."""
        return os.fstat(fd).st_ino

    def sync_folder(self, fd: int) -> None:
        """Bring an open folder to the disk."""
        os.fsync(fd)

    def close_folder(self, fd: int) -> None:
        """Close a folder."""
        os.close(fd)

    def statistics(self) -> dict[str, int]:
        """Return size and free space of the file system as ``f_*`` names and values of statvfs(3)."""
        found = os.fstatvfs(self.dirfd)
        names = ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "flag", "namemax")
        return {f"f_{name}": getattr(found, f"f_{name}") for name in names}

    def open_folder(self, path: str) -> int:
        """Open a folder for listing; the descriptor is the caller's."""
        with self._parent(path) as (folder, name):
            return os.open(name, os.O_RDONLY | _FOLDER_FLAGS, dir_fd=folder)

    def open(self, path: str, flags: int, caller: Caller | None = None) -> int:
        """Open a file that is there; the descriptor is the caller's. O_APPEND, O_SYNC and O_TRUNC are kept."""
        with self._parent(path) as (folder, name):
            return self._opened(folder, name, flags & _KEPT_FLAGS, 0, caller)

    def _opened(self, folder: int, name: str, flags: int, mode: int, caller: Caller | None) -> int:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
        if flags & os.O_TRUNC and self.give_away and caller is not None and caller.uid != 0:
            # the kernel takes these bits away from what a user empties, but not from what root does
            before = os.fstat(fd).st_mode
            after = before & ~(stat.S_ISUID | (stat.S_ISGID if before & stat.S_IXGRP else 0))
            if after != before:
                os.fchmod(fd, stat.S_IMODE(after))
        return fd

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> int:
        """Open a file, which is made if it is not there; O_EXCL is kept too."""
        wanted = flags & _KEPT_FLAGS | os.O_CREAT
        with self._parent(path) as (folder, name):
            try:
                fd = self._opened(folder, name, wanted | os.O_EXCL, mode, None)
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
                return self._opened(folder, name, wanted, mode, caller)
            self._give(folder, name, caller, mode)
            return fd

    def make_node(self, path: str, mode: int, device: int, caller: Caller) -> None:
        """Make a plain file, pipe, socket or device."""
        with self._parent(path) as (folder, name):
            os.mknod(name, mode, device, dir_fd=folder)
            self._give(folder, name, caller, mode)

    def make_folder(self, path: str, mode: int, caller: Caller) -> None:
        """Make a folder."""
        with self._parent(path) as (folder, name):
            os.mkdir(name, mode, dir_fd=folder)
            self._give(folder, name, caller, 0)

    @contextmanager
    def parents_made(self, path: str) -> Iterator[None]:
        """Make the folders above an entry that are missing; if the body fails, they are removed again."""
        made: list[str] = []
        try:
            for folder in _folders_above(path):
                if not self.exists(folder):
                    self._make_inheriting(folder, made)
            yield
        except BaseException:
            with suppress(OSError):  # somebody has put something into one of them meanwhile
                for folder in reversed(made):
                    self.remove_folder(folder)
            raise

    def inherited(self, path: str) -> Attributes:
        """Permissions and owner of a folder that :meth:`parents_made` makes: those of the nearest folder above it."""
        above = self.attributes("/")
        for folder in _folders_above(path):
            with suppress(FileNotFoundError):
                above = self.attributes(folder)
        mode = stat.S_IMODE(above["st_mode"])
        keeps_group = self.give_away or mode & stat.S_ISGID
        return {
            "st_mode": mode,
            "st_uid": above["st_uid"] if self.give_away else os.geteuid(),
            "st_gid": above["st_gid"] if keeps_group else os.getegid(),
        }

    def make_link(self, path: str, text: str, caller: Caller) -> None:
        """Make a symbolic link that holds this text."""
        with self._parent(path) as (folder, name):
            os.symlink(text, name, dir_fd=folder)
            self._give(folder, name, caller, 0)

    def link(self, path: str, existing: str) -> None:
        """Give an existing file one more name."""
        with self._parent(existing) as (old_folder, old), self._parent(path) as (folder, name):
            os.link(old, name, src_dir_fd=old_folder, dst_dir_fd=folder, follow_symlinks=False)

    def read_link(self, path: str) -> str:
        """Text of a symbolic link."""
        with self._parent(path) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def rename(self, old_path: str, new_path: str) -> None:
        """Rename, over an existing entry too, atomically."""
        with self._parent(old_path) as (old_folder, old), self._parent(new_path) as (new_folder, new):
            os.rename(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder)

    def unlink(self, path: str) -> None:
        """Remove a name that is not a folder."""
        with self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        with self._parent(path) as (folder, name):
            os.rmdir(name, dir_fd=folder)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions."""
        with self._parent(path) as (folder, name):
            _chmod(folder, name, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one as it is."""
        with self._parent(path) as (folder, name):
            os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)

    @contextmanager
    def _entry(self, path: str) -> Iterator[str]:
        """Yield a path by which the system finds this very entry, and never what a link leads to."""
        with self._parent(path) as (folder, name), _by_descriptor(folder, name) as entry:
            yield entry

    def get_xattr(self, path: str, name: str) -> bytes:
        """Return the value of an extended attribute."""
        with self._entry(path) as entry:
            return os.getxattr(entry, name)

    def list_xattr(self, path: str) -> list[str]:
        """Return the names of the extended attributes."""
        with self._entry(path) as entry:
            return os.listxattr(entry)

    def set_xattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        """Set an extended attribute; flags are those of setxattr(2)."""
        with self._entry(path) as entry:
            os.setxattr(entry, name, value, flags)

    def remove_xattr(self, path: str, name: str) -> None:
        """Remove an extended attribute."""
        with self._entry(path) as entry:
            os.removexattr(entry, name)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file, or make it longer with zeros."""
        fd = self.open(path, os.O_WRONLY)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def set_times(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set the times, nanoseconds since 1970; None leaves one as it is."""
        # os.utime cannot leave one of the two alone
        times = (_TimeSpec * 2)(_timespec(atime_ns), _timespec(mtime_ns))
        with self._parent(path) as (folder, name):
            if self._libc.utimensat(folder, os.fsencode(name), times, _AT_SYMLINK_NOFOLLOW) != 0:
                raise failure(ctypes.get_errno(), path)

    @contextmanager
    def draft(self, path: str) -> Iterator[Draft]:
        """Make a file without a name in the nearest folder above a path, for :meth:`settle`."""
        nearest = "/"
        for folder in _folders_above(path):
            nearest = folder if self.exists(folder) else nearest
        with self._parent(f"{nearest.rstrip('/')}/x") as (fd, _), draft_in(fd) as made:
            yield made

    def settle(self, draft: Draft, path: str, like: Attributes) -> None:
        """Put a draft in its place, with these permissions, owner and times, unless there is an entry by now."""
        with suppress(PermissionError):  # as in _give
            if self.give_away:
                os.chown(draft.fd, like["st_uid"], like["st_gid"])
        with suppress(PermissionError):
            os.chmod(draft.fd, stat.S_IMODE(like["st_mode"]))
        os.utime(draft.fd, ns=(like["st_atime"], like["st_mtime"]))
        with self._parent(path) as (folder, name), suppress(FileExistsError):
            draft.settle(folder, name)

    def _make_inheriting(self, path: str, made: list[str]) -> None:
        like = self.inherited(path)
        with self._parent(path) as (folder, name):
            try:
                os.mkdir(name, 0o700, dir_fd=folder)
            except FileExistsError:
                return
            made.append(path)
            # as in _give: a file system without owners or permissions decides by itself
            if self.give_away:
                with suppress(PermissionError):
                    os.chown(name, like["st_uid"], like["st_gid"], dir_fd=folder, follow_symlinks=False)
            with suppress(PermissionError):
                _chmod(folder, name, like["st_mode"])

    def _give(self, folder: int, name: str, caller: Caller, mode: int) -> None:
        if not self.give_away or caller == (os.geteuid(), os.getegid()):
            return
        gid = -1 if os.stat(folder).st_mode & stat.S_ISGID else caller.gid
        # A file system without owners (vfat, a squashed NFS) refuses; the entry then belongs to whom it says.
        with suppress(PermissionError):
            os.chown(name, caller.uid, gid, dir_fd=folder, follow_symlinks=False)
            if mode & (stat.S_ISUID | stat.S_ISGID):
                _chmod(folder, name, stat.S_IMODE(mode))  # chown has taken these bits away


def _folders_above(path: str) -> list[str]:
    """Return the paths of the folders above an entry, without the root, the uppermost first."""
    names = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(names[: depth + 1]) for depth in range(len(names))]


@contextmanager
def _by_descriptor(folder: int, name: str) -> Iterator[str]:
    # this link of /proc leads to the very entry that was opened, also where that is a link itself
    fd = os.open(name, os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", 0), dir_fd=folder)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _chmod(folder: int, name: str, mode: int) -> None:
    # Linux has no fchmodat that leaves links alone
    with _by_descriptor(folder, name) as entry:
        os.chmod(entry, stat.S_IMODE(mode))


def _timespec(time_ns: int | None) -> _TimeSpec:
    return _TimeSpec(0, _UTIME_OMIT) if time_ns is None else _TimeSpec(*divmod(time_ns, 10**9))
