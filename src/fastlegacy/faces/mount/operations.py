# SPDX-License-Identifier: MIT
"""Answers the kernel's questions about names, attributes and folders; bytes go through native functions.

An object of :class:`Operations` is what refuse calls. A slot that is None is absent from libfuse's table, a slot that
is a number is the address of a C function; the others are methods.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from fastlegacy.errors import FastlegacyError, LayoutError, SilentSourceError
from fastlegacy.faces.mount.native import NativeNames
from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.pages import KernelPages, Use
from fastlegacy.faces.mount.rarely import Rarely
from fastlegacy.faces.mount.real import ACCESS_MODE, Attributes, Caller, attributes_of, failure
from fastlegacy.faces.mount.statistics import Counters
from fastlegacy.faces.mount.virtual import Entry

if TYPE_CHECKING:
    from fastlegacy._names import Listing
    from fastlegacy._serve import Handles
    from fastlegacy.index.tree import VirtualFile

__all__ = ["FileInfo", "Operations"]

_log = logging.getLogger("fastlegacy.mount")

DirectoryEntry = tuple[str, Attributes, int]


class FileInfo(Protocol):
    """libfuse's ``struct fuse_file_info``, as far as it is used here."""

    flags: int
    fh: int
    keep_cache: int
    direct_io: int


@dataclass(slots=True)
class _OpenFolder:
    """A folder that somebody lists, the descriptor of the real one if there is any, and how far C lists it."""

    path: str
    fd: int | None
    listing: Listing | None = None


class Operations:
    """The operations of one mount, by the names and with the arguments that refuse uses (``raw_fi=True``).

    Parameters
    ----------
    overlay : Overlay
        What is shown.
    handles : fastlegacy._serve.Handles
        Open files; gives the addresses of the native read, write, flush and release.
    caller : callable
        Returns (uid, gid, pid) of the process whose call is being answered.
    kernel_checks : bool
        The kernel checks permissions (option ``default_permissions``); else the ``access`` operation does.
    on_init : callable
        Called when the kernel has accepted the mount; must not touch the mount and must return at once.
    version : callable, optional
        Returns a number that has grown when any header has changed. It grows after the new headers can be seen, or
        before and after that.
    remembered_s : float
        How long the kernel keeps attributes and names (the options ``attr_timeout`` and ``entry_timeout``), seconds.
    names : NativeNames, optional
        Lets C answer what it can without Python.
    on_open : callable, optional
        Is told (path, file) of each virtual file that Python has opened; must return at once.
    xattr : bool
        There are extended attributes. The kernel asks for one of them before each write then.
    rarely : Rarely, optional
        What keeps the log short.

    Attributes
    ----------
    pages : KernelPages
    """

    use_ns = True
    flag_nopath = flag_nullpath_ok = flag_utime_omit_ok = 1

    # bmap, ioctl: no meaning here. lock: the kernel keeps locks by itself, among all users of the mount.
    bmap = ioctl = lock = None

    def __init__(
        self,
        overlay: Overlay,
        handles: Handles,
        caller: Callable[[], tuple[int, int, int]],
        *,
        kernel_checks: bool,
        on_init: Callable[[], None],
        version: Callable[[], int] = lambda: 0,
        remembered_s: float = 1.0,
        names: NativeNames | None = None,
        on_open: Callable[[str, VirtualFile], None] = lambda path, file: None,
        xattr: bool = True,
        rarely: Rarely | None = None,
    ) -> None:
        self._names = names
        self.is_over = False  # the mount has ended, and who comes late must not go back to libfuse
        self.native_before = None if names is None else handles.before
        self._overlay = overlay
        self._handles = handles
        self._context = caller
        self._on_init = on_init
        self.counters = Counters()
        self.read = handles.read_address
        self.write = handles.write_address
        self.flush = handles.flush_address
        self.release = handles.release_address
        self.fallocate = handles.fallocate_address
        self.access = None if kernel_checks else self._access
        self.getxattr = self._getxattr if xattr else None
        self.listxattr = self._listxattr if xattr else None
        self.setxattr = self._setxattr if xattr else None
        self.removexattr = self._removexattr if xattr else None
        self._folders: dict[int, _OpenFolder] = {}
        self._folder_numbers = count(1)
        self.pages = KernelPages(handles, version, remembered_s=remembered_s)
        self._on_open = on_open
        self._rarely = rarely or Rarely()

    def __call__(self, operation: str, *arguments: Any) -> Any:
        """Run an operation: count it, and let nothing but an OSError with an errno out."""
        start = time.perf_counter_ns()
        try:
            return getattr(self, operation)(*arguments)
        except FastlegacyError as error:
            self._tell(operation, arguments, error)
            # whether a layout can hold the stack was found out before the mount: what it says now is about pixels
            code = errno.EIO if isinstance(error, LayoutError) else error.errno
            raise OSError(code, str(error)) from error
        except OSError as error:
            if error.errno is not None and error.errno > 0:
                raise
            raise self._internal(operation, error) from error
        except BaseException as error:  # SystemExit in a callback would end the whole mount
            raise self._internal(operation, error) from error
        finally:
            self.counters.add(operation, time.perf_counter_ns() - start)
            if self.is_over and operation not in ("destroy", "init"):
                threading.Event().wait()

    def _tell(self, operation: str, arguments: tuple[Any, ...], error: FastlegacyError) -> None:
        if isinstance(error, SilentSourceError):  # of all that is on it
            self._log_rarely(str(error))
            return
        of = f" of {arguments[0]}" if arguments and isinstance(arguments[0], str) else ""
        self._log_rarely(f"{operation}{of}: {error}")

    def _internal(self, operation: str, error: BaseException) -> OSError:
        if self._log_rarely(f"internal error in {operation}: {type(error).__name__}: {error}"):
            _log.debug("traceback of the internal error", exc_info=error)
        return OSError(errno.EIO, os.strerror(errno.EIO))

    def _log_rarely(self, message: str) -> bool:
        """Log what fails, which programs ask for again and again; tell whether it was worth a line."""
        lines = self._rarely.lines([message])
        for line in lines:
            _log.error("%s", line)
        return bool(lines)

    def _caller(self) -> Caller:
        uid, gid, _ = self._context()
        return Caller(uid, gid)

    def init(self, _path: str) -> None:
        """Say that the kernel has accepted the mount."""
        self._on_init()

    def destroy(self, _path: str) -> None:
        """Nothing is left to do at the end; WinFsp calls it all the same."""

    # ---- names and attributes

    def getattr(self, path: str | None, info: FileInfo | None = None) -> Attributes:
        """Answer stat (by path) and fstat (by handle)."""
        if not info:
            return self._attributes(_given(path))
        fd = self._handles.fd(info.fh)
        if fd >= 0:
            return attributes_of(os.fstat(fd))
        opened = self._handles.name(info.fh)  # fstat comes without a path
        self.pages.check(info.fh, opened)
        return self._overlay.virtual_attributes(opened, self._handles.size(info.fh))

    def _attributes(self, path: str) -> Attributes:
        while True:
            version = self.pages.version()
            found = self._overlay.attributes(path)
            if stat.S_ISREG(found["st_mode"]):
                self.pages.tell_size(path, version, found["st_size"])
            if self.pages.version() == version:
                break
        if self._names is not None:
            self._names.tell(path.rpartition("/")[0] or "/", self.pages.version)
        return found

    def _access(self, path: str, mode: int) -> None:
        self._overlay.check_access(path, mode)

    def _getxattr(self, path: str, name: str, _position: int = 0) -> bytes:
        return self._overlay.get_xattr(path, name)

    def _listxattr(self, path: str) -> list[str]:
        names = self._overlay.list_xattr(path)
        # the kernel lets only root see these, and asks as the server's user, who may be root
        return names if self._caller().uid == 0 else [name for name in names if not name.startswith("trusted.")]

    def _setxattr(self, path: str, name: str, value: bytes, flags: int, _position: int = 0) -> None:
        self._overlay.set_xattr(path, name, value, flags)

    def _removexattr(self, path: str, name: str) -> None:
        self._overlay.remove_xattr(path, name)

    def readlink(self, path: str) -> str:
        """Text of a symbolic link."""
        return self._overlay.read_link(path)

    def statfs(self, _path: str) -> dict[str, int]:
        """Free space and the like, of the real folder."""
        return self._overlay.statistics()

    def opendir(self, path: str) -> int:
        """Open a folder; its handle is a number, as a virtual one has no descriptor."""
        handle = next(self._folder_numbers)
        self._folders[handle] = _OpenFolder(path, self._overlay.open_folder(path))
        return handle

    def readdir(self, _path: str | None, handle: int, into: tuple[int, int, int] | None = None) -> list[DirectoryEntry]:
        """All entries of a folder, with what readdir(3) tells of each: name, type, inode number.

        Parameters
        ----------
        handle : int
        into : (int, int, int), optional
            Addresses of libfuse's function that takes entries, and of its buffer, and the place in the listing. Where C
            knows the files of the folder, it lists some of them there, and the list is empty.
        """
        filler, buffer, place = into or (0, 0, 0)
        if place and (listing := self._folders[handle].listing) is not None:
            listing.fill(filler, buffer, place)
            return []
        folder = self._listed(handle)
        if self._names is not None and into is not None:
            self._names.tell(folder.path, self.pages.version, make=True)
            seen: set[str] = set()
            entries = list(self._with_dots(folder.path, self._overlay.entries_but_files(folder.fd, folder.path, seen)))
            folder.listing = self._names.names.listing(folder.path, entries, seen)
            if folder.listing is not None:
                folder.listing.fill(filler, buffer, 0)
                return []
        found = self._with_dots(folder.path, self._overlay.entries(folder.fd, folder.path))
        return [(name, {"st_mode": kind, "st_ino": inode}, 0) for name, kind, inode in found]

    def _with_dots(self, path: str, entries: Iterator[Entry]) -> Iterator[Entry]:
        own = next(entries)
        yield own
        try:
            above = int(self._overlay.attributes(path.rpartition("/")[0] or "/")["st_ino"])
        except FileNotFoundError:
            above = own[2]  # both are removed
        # programs do not see entries with the number 0
        yield "..", stat.S_IFDIR, above
        yield from entries

    def _listed(self, handle: int) -> _OpenFolder:
        folder = self._folders[handle]
        if folder.fd is None:  # somebody may have put something into it meanwhile
            folder.fd = self._overlay.open_folder(folder.path)
        return folder

    def releasedir(self, _path: str | None, handle: int) -> None:
        """Close a folder."""
        folder = self._folders.pop(handle)
        if folder.fd is not None:
            self._overlay.close_folder(folder.fd)

    def fsyncdir(self, _path: str | None, _data_only: int, handle: int) -> None:
        """Bring a folder to the disk."""
        fd = self._folders[handle].fd
        if fd is not None:
            self._overlay.sync_folder(fd)

    # ---- open files

    def open(self, path: str, info: FileInfo) -> None:
        """Open a file that is there."""
        self._open(path, info, lambda: self._overlay.open(path, info.flags, self._caller()))

    def create(self, path: str, mode: int, info: FileInfo) -> None:
        """Open a file, which is made if it is not there."""
        self._open(path, info, lambda: self._overlay.create(path, info.flags, mode, self._caller()))

    def _open(self, path: str, info: FileInfo, open_it: Callable[[], int | VirtualFile]) -> None:
        entered = looked = None
        stays = steady = True
        while entered is None:
            version = self.pages.version()
            opened = open_it()
            if isinstance(opened, int):
                if self._overlay.is_virtual_name(path):
                    self.pages.shadow(path)
                    self._let_readers_follow(path)
                info.fh = self._handles.open_real(opened, writes=info.flags & ACCESS_MODE != os.O_RDONLY)
                return
            if looked is None:
                looked = self.pages.looked_at(path, self._context()[2])
            if looked is None:
                raise failure(errno.ESTALE, path)
            entered, stays = self.pages.enter(path, version, looked, opened.open()), opened.stays
            steady = opened.tree.is_steady
            self._on_open(path, opened)
        info.fh, use = entered
        info.keep_cache = int(use is Use.KEEP and stays)
        if use is Use.BYPASS or not steady:
            info.direct_io = 1  # what is read ends where the bytes end, whatever the kernel takes for the size

    def _let_readers_follow(self, path: str) -> None:
        """Show who has the virtual file open what it has become: the kernel has one cache for them all."""
        if not self._handles.follow(-1):
            return
        with suppress(OSError):  # it may be written, but not read: then they go on as before
            fd = self._overlay.open(path, os.O_RDONLY, self._caller())
            if isinstance(fd, int):
                self._handles.follow(fd)
                os.close(fd)

    def fsync(self, _path: str | None, data_only: int, info: FileInfo) -> None:
        """Bring a file to the disk."""
        fd = self._handles.fd(info.fh)
        if fd >= 0:
            (os.fdatasync if data_only and hasattr(os, "fdatasync") else os.fsync)(fd)

    def truncate(self, path: str | None, size: int, info: FileInfo | None = None) -> None:
        """Answer truncate (by path) and ftruncate (by handle)."""
        if not info:
            self._overlay.truncate(_given(path), size)
            return
        fd = self._handles.fd(info.fh)
        if fd < 0:
            raise failure(errno.EROFS, self._handles.name(info.fh))
        os.ftruncate(fd, size)

    # ---- changes

    def mknod(self, path: str, mode: int, device: int) -> None:
        """Make a plain file, pipe, socket or device."""
        self._overlay.make_node(path, mode, device, self._caller())

    def mkdir(self, path: str, mode: int) -> None:
        """Make a folder."""
        self._overlay.make_folder(path, mode, self._caller())

    def symlink(self, path: str, text: str) -> None:
        """Make a symbolic link."""
        self._overlay.make_link(path, text, self._caller())

    def link(self, path: str, existing: str) -> None:
        """Give a file one more name."""
        self._overlay.link(path, existing)

    def unlink(self, path: str) -> None:
        """Remove a name that is not a folder."""
        self._overlay.unlink(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        self._overlay.remove_folder(path)

    def rename(self, old: str, new: str) -> None:
        """Rename."""
        self._overlay.rename(old, new)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions."""
        self._overlay.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group."""
        self._overlay.chown(path, uid, gid)

    def utimens(self, path: str, times: tuple[int | None, int | None] | None = None) -> None:
        """Set the times."""
        now = time.time_ns()
        self._overlay.set_times(path, *((now, now) if times is None else times))


def _given(path: str | None) -> str:
    if path is None:  # libfuse leaves it out only where there is a handle
        raise failure(errno.ESTALE, "")
    return path
