# SPDX-License-Identifier: MIT
"""Mounts like ``served.py``, with a fault that the environment variable FASTLEGACY_FAULT names.

What compares a mount with a folder has to find each of them: `test_the_machine_itself.py`.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any

import served

from fastlegacy.faces.mount import operations, real
from fastlegacy.faces.mount.operations import Operations
from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.real import RealFolder
from fastlegacy.faces.mount.virtual import VirtualEntries

FAULTS: dict[str, Callable[[], None]] = {}


def fault(work: Callable[[], None]) -> Callable[[], None]:
    """Note a fault by its name."""
    FAULTS[work.__name__] = work
    return work


def without_c(slot: str | None = None, method: Callable[..., Any] | None = None) -> None:
    """Let Python answer what C does, so that faults can be put there: attributes and names, or one slot."""
    before = Operations.__init__

    def begin(self: Operations, *arguments: Any, **keywords: Any) -> None:
        before(self, *arguments, **(keywords | {"names": None}))
        if slot is not None:
            setattr(self, slot, None if method is None else method.__get__(self))

    Operations.__init__ = begin  # type: ignore[method-assign]


# ---- bytes


@fault
def appending_is_forgotten() -> None:
    """O_APPEND is not kept."""
    real._KEPT_FLAGS &= ~os.O_APPEND


@fault
def emptying_is_forgotten() -> None:
    """O_TRUNC is not kept."""
    real._KEPT_FLAGS &= ~os.O_TRUNC


@fault
def sizes_are_rounded() -> None:
    """Files are cut to whole blocks."""
    before = RealFolder.truncate
    RealFolder.truncate = lambda self, path, size: before(self, path, -(-size // 512) * 512)  # type: ignore[method-assign]


@fault
def cutting_an_open_file_is_forgotten() -> None:
    """Answer ftruncate without doing it, where it makes a file longer."""

    def truncate(self: Operations, path: str | None, size: int, info: Any = None) -> None:
        if not info:
            self._overlay.truncate(path or "", size)
        elif self._handles.fd(info.fh) < 0:
            raise real.failure(errno.EROFS, "")
        else:
            fd = self._handles.fd(info.fh)
            os.ftruncate(fd, min(size, os.fstat(fd).st_size))

    Operations.truncate = truncate  # type: ignore[method-assign]


@fault
def what_is_written_is_kept_in_memory() -> None:
    """Bytes reach the disk when the file is closed."""
    waiting: dict[int, list[tuple[bytes, int]]] = {}

    def write(self: Operations, _path: str | None, data: bytes, at: int, info: Any) -> int:
        if self._handles.fd(info.fh) < 0:
            raise OSError(errno.EBADF, "")
        waiting.setdefault(info.fh, []).append((data, at))
        return len(data)

    def flush(self: Operations, _path: str | None, info: Any) -> None:
        for data, at in waiting.pop(info.fh, []):
            os.pwrite(self._handles.fd(info.fh), data, at)

    without_c("write", write)
    without_c("flush", flush)


@fault
def offsets_have_32_bits() -> None:
    """Far parts of large files are written elsewhere."""

    def write(self: Operations, _path: str | None, data: bytes, at: int, info: Any) -> int:
        if self._handles.fd(info.fh) < 0:
            raise OSError(errno.EBADF, "")
        return os.pwrite(self._handles.fd(info.fh), data, at & 0xFFFFFFFF)

    without_c("write", write)


@fault
def what_was_mapped_is_not_written() -> None:
    """Bytes that the kernel writes of its own accord are dropped."""

    def write(self: Operations, _path: str | None, data: bytes, at: int, info: Any) -> int:
        if self._handles.fd(info.fh) < 0:
            raise OSError(errno.EBADF, "")
        return len(data) if info.writepage else os.pwrite(self._handles.fd(info.fh), data, at)

    without_c("write", write)


@fault
def holes_are_filled() -> None:
    """Long files have no holes: here only a part of them, for the disk's sake."""
    before = RealFolder.truncate

    def truncate(self: RealFolder, path: str, size: int) -> None:
        before(self, path, size)
        if size > 1 << 30:
            fd = self.open(path, os.O_WRONLY)
            os.pwrite(fd, b"\0" * 4096, size - 8192)
            os.truncate(fd, size + 1)
            os.close(fd)

    RealFolder.truncate = truncate  # type: ignore[method-assign]


@fault
def readers_get_each_others_files() -> None:
    """Which frame is opened is noted where all threads see it."""
    last: list[str] = [""]
    before = VirtualEntries.file

    def file(self: VirtualEntries, path: str) -> Any:
        last[0] = path
        threading.Event().wait(0.001)
        return before(self, last[0])

    VirtualEntries.file = file  # type: ignore[method-assign]


@fault
def maps_of_appending_handles_are_appended() -> None:
    """What was changed by way of a map is written by whatever handle there is, as that one writes."""

    def write(self: Operations, _path: str | None, data: bytes, at: int, info: Any) -> int:
        if self._handles.fd(info.fh) < 0:
            raise OSError(errno.EBADF, "")
        return os.pwrite(self._handles.fd(info.fh), data, at)

    without_c("write", write)


# ---- names


@fault
def exclusive_making_is_forgotten() -> None:
    """O_EXCL is not kept."""

    def create(self: RealFolder, path: str, flags: int, mode: int, caller: real.Caller) -> int:
        wanted = flags & real._KEPT_FLAGS | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._parent(path) as (folder, name):
            return os.open(name, wanted, mode, dir_fd=folder)

    RealFolder.create = create  # type: ignore[method-assign]


@fault
def renaming_is_done_later() -> None:
    """A rename returns before it has replaced anything."""
    before = RealFolder.rename
    RealFolder.rename = lambda self, old, new: threading.Timer(0.05, before, (self, old, new)).start()  # type: ignore[method-assign]


@fault
def renaming_removes_first() -> None:
    """A file that is replaced is missing for a moment."""
    before = RealFolder.rename

    def rename(self: RealFolder, old: str, new: str) -> None:
        if self.exists(new) and stat.S_ISREG(self.attributes(new)["st_mode"]) and self.exists(old):
            self.unlink(new)
            threading.Event().wait(0.02)  # on a busy machine too somebody else has his turn
        before(self, old, new)

    RealFolder.rename = rename  # type: ignore[method-assign]


@fault
def what_was_saved_over_stays_hidden() -> None:
    """A virtual file is not seen again when what was saved over it is removed."""
    removed: set[str] = set()
    before, attributes = Overlay.unlink, Overlay.attributes

    def unlink(self: Overlay, path: str) -> None:
        before(self, path)
        removed.add(path)

    def look(self: Overlay, path: str) -> Any:
        if path in removed and self._is_only_virtual(path):
            raise real.failure(errno.ENOENT, path)
        return attributes(self, path)

    without_c()
    Overlay.unlink, Overlay.attributes = unlink, look  # type: ignore[method-assign]


@fault
def names_are_listed_twice() -> None:
    """A real file does not hide the virtual one of its name in listings."""
    before = Overlay.entries_but_files
    without_c()

    def entries(self: Overlay, fd: int | None, path: str, seen: set[str]) -> Iterator[Any]:
        yield from before(self, fd, path, seen)
        seen.clear()

    Overlay.entries_but_files = entries  # type: ignore[method-assign]


@fault
def odd_names_are_mended() -> None:
    """Names that are no UTF-8 are changed."""
    before = RealFolder.make_link
    RealFolder.make_link = lambda self, path, text, caller: before(  # type: ignore[method-assign]
        self, os.fsencode(path).decode(errors="ignore"), text, caller
    )


@fault
def links_are_copies() -> None:
    """A hard link is a file of its own."""

    def link(self: RealFolder, path: str, existing: str) -> None:
        with self._parent(existing) as (old_folder, old), self._parent(path) as (folder, name):
            if stat.S_ISLNK(os.lstat(f"/proc/self/fd/{old_folder}/{old}").st_mode):
                os.link(old, name, src_dir_fd=old_folder, dst_dir_fd=folder, follow_symlinks=False)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=folder))
                shutil.copy2(f"/proc/self/fd/{old_folder}/{old}", f"/proc/self/fd/{folder}/{name}")

    RealFolder.link = link  # type: ignore[method-assign]


@fault
def a_wrong_errno_for_virtual_files() -> None:
    """To remove a virtual file is EPERM."""

    def must_be_real(self: Overlay, path: str) -> None:
        if self._is_only_virtual(path):
            raise real.failure(errno.EPERM, path)

    Overlay._must_be_real = must_be_real  # type: ignore[method-assign]


# ---- attributes


@fault
def times_are_whole_seconds() -> None:
    """Times of change have no fractions."""
    before = real.attributes_of

    def rounded(found: os.stat_result) -> dict[str, int]:
        return before(found) | {"st_mtime": found.st_mtime_ns // 10**9 * 10**9}

    without_c()
    real.attributes_of = operations.attributes_of = rounded


@fault
def the_other_time_is_not_left_alone() -> None:
    """Who sets one time sets the other as well."""
    before = RealFolder.set_times
    RealFolder.set_times = lambda self, path, atime_ns, mtime_ns: before(  # type: ignore[method-assign]
        self, path, mtime_ns if atime_ns is None else atime_ns, atime_ns if mtime_ns is None else mtime_ns
    )


@fault
def special_permissions_are_dropped() -> None:
    """Of permissions only those to read, write and execute are set."""
    before = RealFolder.chmod
    RealFolder.chmod = lambda self, path, mode: before(self, path, mode & ~0o7000)  # type: ignore[method-assign]


@fault
def sizes_are_remembered() -> None:
    """What another program appends is seen when something is done through the mount only."""
    known: dict[str, Any] = {}
    before, looked = Operations.__call__, Overlay.attributes

    def call(self: Operations, operation: str, *arguments: Any) -> Any:
        if operation not in ("getattr", "readdir", "opendir", "releasedir", "access"):
            known.clear()
        return before(self, operation, *arguments)

    def attributes(self: Overlay, path: str) -> Any:
        found = looked(self, path)
        return known.setdefault(path, found) if stat.S_ISREG(found["st_mode"]) else found

    without_c()
    Operations.__call__ = call  # type: ignore[method-assign]
    Overlay.attributes = attributes  # type: ignore[method-assign]


@fault
def attributes_are_set_whatever_is_there() -> None:
    """The flags of setxattr are forgotten."""
    before = RealFolder.set_xattr
    RealFolder.set_xattr = lambda self, path, name, value, flags: before(self, path, name, value, 0)  # type: ignore[method-assign]


@fault
def pipes_are_plain_files() -> None:
    """Whatever is made is a plain file."""
    before = RealFolder.make_node
    RealFolder.make_node = lambda self, path, mode, device, caller: before(  # type: ignore[method-assign]
        self, path, stat.S_IFREG | stat.S_IMODE(mode), 0, caller
    )


@fault
def symbolic_links_are_followed() -> None:
    """The owner of what a link leads to is changed."""
    RealFolder.chown = lambda self, path, uid, gid: os.chown(  # type: ignore[method-assign]
        path.strip("/"), uid, gid, dir_fd=self.dirfd
    )


@fault
def descriptors_are_not_closed() -> None:
    """Each listing leaves a descriptor open."""
    before = RealFolder.open
    RealFolder.open = lambda self, path, flags: (before(self, path, os.O_RDONLY), before(self, path, flags))[1]  # type: ignore[method-assign]


if __name__ == "__main__":
    FAULTS[os.environ["FASTLEGACY_FAULT"]]()
    served.main()
