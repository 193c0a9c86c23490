# SPDX-License-Identifier: MIT
"""The union of a real folder and virtual files, by two rules; it knows nothing of FUSE.

1. A real entry always wins over a virtual one of the same name.
2. Nothing that is written is lost or faked: it reaches the real folder, or the call fails with an honest errno.

So a virtual file cannot be changed, renamed or removed (EROFS). To write a new file under its name (opening with
O_TRUNC, renaming a real file over it) makes a real file that hides it; when that is removed, the virtual one is back.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from fastlegacy.faces.mount.real import Attributes, Caller, RealFolder, failure
from fastlegacy.faces.mount.virtual import OpenableFile, VirtualEntries

__all__ = ["Entry", "Overlay"]

_HIDDEN = ".fuse_hidden"  # libfuse's name for a file that was removed while somebody had it open
_TYPES = ((os.DirEntry.is_file, stat.S_IFREG), (os.DirEntry.is_dir, stat.S_IFDIR))

Entry = tuple[str, int, int]
"""Name, type (the ``S_IFMT`` bits; 0: not known) and inode number of an entry of a folder."""


class Overlay:
    """The union, by paths that begin with a slash.

    Every method raises OSError with the errno that the calling program shall see.

    Parameters
    ----------
    real : RealFolder
        The upper layer, which takes all writes.
    virtual : VirtualEntries
        The lower layer, read-only.
    new_file_mode : int
        Permissions of a real file that takes the place of a virtual one: the kernel does not tell
        which ones the program would have given to a new file, as for the kernel it is not new.
    """

    def __init__(self, real: RealFolder, virtual: VirtualEntries, *, new_file_mode: int = 0o644) -> None:
        self._real = real
        self._virtual = virtual
        self._new_file_mode = new_file_mode
        self._hidden: set[str] = set()

    # ---- looking

    def is_virtual_name(self, path: str) -> bool:
        """Tell whether there is a virtual file of this name, seen or hidden by a real one."""
        return path in self._virtual

    def attributes(self, path: str) -> Attributes:
        """Attributes of an entry, times in nanoseconds."""
        try:
            return self._real.attributes(path)
        except FileNotFoundError:
            # only this error uncovers the layer below: one that says "not allowed" must not
            found = self._virtual.attributes(path)
            if found is None:
                raise
            return found

    def virtual_attributes(self, path: str) -> Attributes:
        """Attributes of the virtual file of this name, whatever may hide it by now."""
        found = self._virtual.attributes(path)
        if found is None:
            raise failure(errno.ENOENT, path)
        return found

    def check_access(self, path: str, mode: int) -> None:
        """Raise OSError unless this process may use an entry in this way (``os.R_OK`` and so on)."""
        try:
            self._real.check_access(path, mode)
        except FileNotFoundError:
            if path not in self._virtual:
                raise
            if mode & os.W_OK:
                raise failure(errno.EROFS, path) from None
            if mode & os.X_OK:
                raise failure(errno.EACCES, path) from None

    def read_link(self, path: str) -> str:
        """Text of a symbolic link."""
        try:
            return self._real.read_link(path)
        except FileNotFoundError:
            if path in self._virtual:
                raise failure(errno.EINVAL, path) from None
            raise

    def statistics(self) -> dict[str, int]:
        """Return size and free space of the real folder's file system (``f_*`` as in statvfs)."""
        return self._real.statistics()

    def open_folder(self, path: str) -> int:
        """Open a folder for :meth:`entries`; the descriptor is the caller's."""
        return self._real.open_folder(path)

    def entries(self, fd: int, path: str) -> Iterator[Entry]:
        """Iterate over the entries of a folder, each name once, ``.`` and ``..`` left out."""
        seen = set()
        with os.scandir(fd) as found:
            for entry in found:
                seen.add(entry.name)
                if not entry.name.startswith(_HIDDEN):
                    yield entry.name, _type_of(entry), entry.inode()
        for name in self._virtual.names(path):
            if name not in seen:
                yield name, stat.S_IFREG, self._virtual.inode(name)

    # ---- opening

    def open(self, path: str, flags: int, caller: Caller) -> int | OpenableFile:
        """Open a file that is there.

        Returns
        -------
        int or OpenableFile
            Descriptor of a real file (the caller's to close), or the virtual file.
        """
        try:
            return self._real.open(path, flags)
        except FileNotFoundError:
            if path not in self._virtual:
                raise
        if flags & os.O_TRUNC:
            return self._real.create(path, flags, self._new_file_mode, caller)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise failure(errno.EROFS, path)
        return self._virtual.file(path)

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> int | OpenableFile:
        """Open a file that is made if it is not there; returns what :meth:`open` returns."""
        if path in self._virtual and not self._real.exists(path):
            if flags & os.O_EXCL:
                raise failure(errno.EEXIST, path)
            return self.open(path, flags, caller)
        return self._real.create(path, flags, mode, caller)

    # ---- making

    def _must_be_free(self, path: str) -> None:
        # a real entry need not be looked for: the system call that follows finds it
        if path in self._virtual:
            raise failure(errno.EEXIST, path)

    def make_node(self, path: str, mode: int, device: int, caller: Caller) -> None:
        """Make a plain file, pipe, socket or device."""
        self._must_be_free(path)
        self._real.make_node(path, mode, device, caller)

    def make_folder(self, path: str, mode: int, caller: Caller) -> None:
        """Make a folder."""
        self._must_be_free(path)
        self._real.make_folder(path, mode, caller)

    def make_link(self, path: str, text: str, caller: Caller) -> None:
        """Make a symbolic link that holds this text."""
        self._must_be_free(path)
        self._real.make_link(path, text, caller)

    def link(self, path: str, existing: str) -> None:
        """Give an existing real file one more name."""
        self._must_be_real(existing)
        self._must_be_free(path)
        self._real.link(path, existing)

    # ---- changing

    def _must_be_real(self, path: str) -> None:
        if path in self._virtual and not self._real.exists(path):
            raise failure(errno.EROFS, path)

    def rename(self, old: str, new: str) -> None:
        """Rename a real entry, over a real or a virtual one too."""
        self._must_be_real(old)
        if new in self._virtual and not self._real.exists(new) and self._is_real_folder(old):
            raise failure(errno.ENOTDIR, new)
        self._real.rename(old, new)
        self._hidden.discard(old)
        if new.rpartition("/")[2].startswith(_HIDDEN):
            self._hidden.add(new)

    def _is_real_folder(self, path: str) -> bool:
        return stat.S_ISDIR(self._real.attributes(path)["st_mode"])

    def unlink(self, path: str) -> None:
        """Remove a real name; a virtual file of that name is seen again."""
        self._must_be_real(path)
        self._real.unlink(path)
        self._hidden.discard(path)

    def remove_folder(self, path: str) -> None:
        """Remove an empty real folder."""
        if path in self._virtual and not self._real.exists(path):
            raise failure(errno.ENOTDIR, path)
        self._real.remove_folder(path)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions."""
        self._must_be_real(path)
        self._real.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one as it is."""
        self._must_be_real(path)
        self._real.chown(path, uid, gid)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file, or make it longer with zeros."""
        self._must_be_real(path)
        self._real.truncate(path, size)

    def set_times(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set the times, nanoseconds since 1970; None leaves one as it is."""
        self._must_be_real(path)
        self._real.set_times(path, atime_ns, mtime_ns)

    def remove_hidden(self) -> None:
        """Remove the files that were removed while they were open, and whose release never came."""
        for path in tuple(self._hidden):
            if self._real.exists(path):
                self._real.unlink(path)
            self._hidden.discard(path)


def _type_of(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    for test, kind in _TYPES:
        if test(entry, follow_symlinks=False):
            return kind
    return 0
