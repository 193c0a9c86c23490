# SPDX-License-Identifier: MIT
"""The union of a real folder and virtual files and folders, by three rules; it knows nothing of FUSE.

1. A real entry always wins over a virtual one of the same name, but for folders: a real and a virtual one are one
   folder with the entries of both. Where something else than a folder has the name of a virtual folder, that folder
   and all below it are hidden.
2. Nothing that is written is lost or faked: it reaches the real folder, or the call fails with an honest errno.
3. What is put into a virtual folder makes the real one (and those above it) in that moment.

So a virtual file or folder cannot be changed, renamed or removed (EROFS). To write a new file under a virtual file's
name (opening with O_TRUNC, renaming a real file over it) makes a real file that hides it; when that is removed, the
virtual one is back.

With copying up, a virtual file can be changed: its bytes become a real file first. It cannot be renamed or removed all
the same, as it would be back at once.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastlegacy.faces.mount.draft import write_all
from fastlegacy.faces.mount.inside import FOLDER as INSIDE
from fastlegacy.faces.mount.real import ACCESS_MODE, Attributes, Caller, RealFolder, failure
from fastlegacy.faces.mount.virtual import Entry, VirtualEntries

if TYPE_CHECKING:
    from fastlegacy.index.tree import VirtualFile

__all__ = ["SOURCE_XATTR", "Overlay"]

SOURCE_XATTR = "user.fastlegacy.source"
"""The extended attribute of a virtual file."""

_TYPES = ((os.DirEntry.is_file, stat.S_IFREG), (os.DirEntry.is_dir, stat.S_IFDIR))


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
    copies_up : bool
        A virtual file that is to be changed becomes a real one first.
    """

    def __init__(
        self, real: RealFolder, virtual: VirtualEntries, *, new_file_mode: int = 0o644, copies_up: bool = False
    ) -> None:
        self._real = real
        self._virtual = virtual
        self._new_file_mode = new_file_mode
        self._copies_up = copies_up
        self._making = threading.Lock()

    # ---- looking

    def is_virtual_name(self, path: str) -> bool:
        """Tell whether there is a virtual file of this name, seen or hidden by a real one."""
        return path in self._virtual

    def attributes(self, path: str) -> Attributes:
        """Attributes of an entry, times in nanoseconds."""
        try:
            found = self._real.attributes(path)
        except FileNotFoundError:
            # only this error uncovers the layer below: one that says "not allowed" must not
            below = self._virtual.attributes(path) or self._virtual_folder(path)
            if below is None:
                raise
            return below
        if stat.S_ISDIR(found["st_mode"]):
            self._merge(path, found)
        return found

    def _virtual_folder(self, path: str) -> Attributes | None:
        """Return the attributes of a folder without a real one: with those that the real one would have."""
        found = self._virtual.folder_attributes(path)
        if found is not None:
            like = self._real.inherited(path)
            found |= like | {"st_mode": stat.S_IFDIR | like["st_mode"]}
        return found

    def _merge(self, path: str, found: Attributes) -> None:
        if path != "/" and self._virtual.is_folder(path):
            # programs that walk through folders look whether one is still the same, and the real one may be new
            found["st_ino"] = self._virtual.inode(path)
        if self._virtual.folders_in(path):
            found["st_nlink"] = 1  # which says that nobody has counted the folders in it

    def virtual_attributes(self, path: str, size: int) -> Attributes:
        """Attributes of an open virtual file, whatever may hide it by now."""
        found = self._virtual.attributes(path, size)
        if found is None:
            raise failure(errno.ENOENT, path)
        return found

    def check_access(self, path: str, mode: int) -> None:
        """Raise OSError unless this process may use an entry in this way (``os.R_OK`` and so on)."""
        try:
            self._real.check_access(path, mode)
        except FileNotFoundError:
            if self._virtual.is_folder(path):
                self.check_access(path.rpartition("/")[0] or "/", mode)  # it would be a folder like the one above it
                return
            if path not in self._virtual:
                raise
            if mode & os.W_OK:
                if not self._copies_up:
                    raise failure(errno.EROFS, path) from None
                self.check_access(path.rpartition("/")[0] or "/", os.W_OK)  # it would be put there
            if mode & os.X_OK:
                raise failure(errno.EACCES, path) from None

    def read_link(self, path: str) -> str:
        """Text of a symbolic link."""
        try:
            return self._real.read_link(path)
        except FileNotFoundError:
            if path in self._virtual or self._virtual.is_folder(path):
                raise failure(errno.EINVAL, path) from None
            raise

    def get_xattr(self, path: str, name: str) -> bytes:
        """Value of an extended attribute: a virtual file has one, which says where its pixels are from."""
        try:
            return self._real.get_xattr(path, name)
        except FileNotFoundError:
            source = self._source(path)
        if source is None or name != SOURCE_XATTR:
            # `ls -l` asks for labels and ACLs of each file, until it is told that there are none here
            never = name.startswith(("security.", "system."))
            raise failure(errno.EOPNOTSUPP if never else errno.ENODATA, path)
        return os.fsencode(source)

    def list_xattr(self, path: str) -> list[str]:
        """Names of the extended attributes."""
        try:
            return self._real.list_xattr(path)
        except FileNotFoundError:
            return [] if self._source(path) is None else [SOURCE_XATTR]

    def _source(self, path: str) -> str | None:
        """Where the pixels of an entry without a real one are from; FileNotFoundError if there is no entry."""
        if path in self._virtual:
            return self._virtual.source(path)
        if not self._virtual.is_folder(path):
            raise failure(errno.ENOENT, path)
        return None

    def statistics(self) -> dict[str, int]:
        """Return size and free space of the real folder's file system (``f_*`` as in statvfs)."""
        return self._real.statistics()

    def open_folder(self, path: str) -> int | None:
        """Open a folder for :meth:`entries`.

        Returns
        -------
        int or None
            Descriptor of the real folder (the caller's to close); None where there is only a virtual one.
        """
        try:
            return self._real.open_folder(path)
        except FileNotFoundError:
            if not self._virtual.is_folder(path):
                raise
            return None

    def entries(self, fd: int | None, path: str) -> Iterator[Entry]:
        """Iterate over ``.`` and the entries of an open folder, each name once."""
        seen: set[str] = set()
        yield from self.entries_but_files(fd, path, seen)
        for entry in self._virtual.files(path):
            if entry[0] not in seen:
                yield entry

    def entries_but_files(self, fd: int | None, path: str, seen: set[str]) -> Iterator[Entry]:
        """Iterate over what :meth:`entries` does, but for virtual files.

        Parameters
        ----------
        fd, path : int or None, str
            From :meth:`open_folder`.
        seen : set of str
            To be filled with the names of all real entries: they hide virtual files.
        """
        is_virtual = path != "/" and self._virtual.is_folder(path)
        own = self._virtual.inode(path) if is_virtual or fd is None else self._real.inode_of_folder(fd)
        yield ".", stat.S_IFDIR, own
        for name, kind, inode in () if fd is None else self._real_entries(fd):
            seen.add(name)
            child = f"{path.rstrip('/')}/{name}"
            is_merged = kind == stat.S_IFDIR and self._virtual.is_folder(child)
            yield name, kind, self._virtual.inode(child) if is_merged else inode
        for entry in self._virtual.folders(path):
            if entry[0] not in seen:
                yield entry

    def _real_entries(self, fd: int) -> Iterator[Entry]:
        for entry in self._real.entries(fd):
            yield entry.name, _type_of(entry), entry.inode()

    def sync_folder(self, fd: int) -> None:
        """Bring a real folder that is open to the disk."""
        self._real.sync_folder(fd)

    def close_folder(self, fd: int) -> None:
        """Close a real folder."""
        self._real.close_folder(fd)

    # ---- opening

    def open(self, path: str, flags: int, caller: Caller) -> int | VirtualFile:
        """Open a file that is there.

        Returns
        -------
        int or VirtualFile
            Descriptor of a real file (the caller's to close), or the virtual file.
        """
        try:
            return self._real.open(path, flags, caller)
        except FileNotFoundError:
            if self._virtual.is_folder(path):
                raise failure(errno.EISDIR, path) from None
            if path not in self._virtual:
                raise
        if flags & os.O_TRUNC:
            with self._real_parents(path):
                return self._real.create(path, flags, self._new_file_mode, caller)
        if flags & ACCESS_MODE != os.O_RDONLY:
            self._become_real(path)
            return self._real.open(path, flags)
        return self._virtual.file(path)

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> int | VirtualFile:
        """Open a file that is made if it is not there; returns what :meth:`open` returns."""
        if self._is_only_virtual(path):
            if flags & os.O_EXCL:
                raise failure(errno.EEXIST, path)
            return self.open(path, flags, caller)
        with self._real_parents(path):
            return self._real.create(path, flags, mode, caller)

    # ---- making

    def _must_be_free(self, path: str) -> None:
        # a real entry need not be looked for: the system call that follows finds it
        if path in self._virtual or self._virtual.is_folder(path):
            raise failure(errno.EEXIST, path)

    @contextmanager
    def _real_parents(self, path: str) -> Iterator[None]:
        """Let an entry be put into a virtual folder: from now on there is a real one behind it."""
        above = path.rpartition("/")[0]
        if not above or not self._virtual.is_folder(above):
            yield
            return
        if above == f"/{INSIDE}" and not self._real.exists(above):
            raise failure(errno.EROFS, path)  # what a mount tells of itself is not to stay behind in the real folder
        # one at a time: what one has made is removed if it fails, and another one must not count on it
        with self._making, self._real.parents_made(path):
            yield

    def make_node(self, path: str, mode: int, device: int, caller: Caller) -> None:
        """Make a plain file, pipe, socket or device."""
        self._must_be_free(path)
        with self._real_parents(path):
            self._real.make_node(path, mode, device, caller)

    def make_folder(self, path: str, mode: int, caller: Caller) -> None:
        """Make a folder."""
        self._must_be_free(path)
        with self._real_parents(path):
            self._real.make_folder(path, mode, caller)

    def make_link(self, path: str, text: str, caller: Caller) -> None:
        """Make a symbolic link that holds this text."""
        self._must_be_free(path)
        with self._real_parents(path):
            self._real.make_link(path, text, caller)

    def link(self, path: str, existing: str) -> None:
        """Give an existing real file one more name."""
        self._must_be_free(path)
        self._become_real(existing)
        with self._real_parents(path):
            self._real.link(path, existing)

    # ---- changing

    def _is_only_virtual(self, path: str) -> bool:
        return (path in self._virtual or self._virtual.is_folder(path)) and not self._real.exists(path)

    def _is_seen_folder(self, path: str) -> bool:
        """Tell whether a virtual folder of this name is seen: alone, or together with a real one."""
        if not self._virtual.is_folder(path):
            return False
        return not self._real.exists(path) or self._is_real_folder(path)

    def _is_real_folder(self, path: str) -> bool:
        return stat.S_ISDIR(self._real.attributes(path)["st_mode"])

    def _must_be_real(self, path: str) -> None:
        if self._is_only_virtual(path):
            raise failure(errno.EROFS, path)

    def _become_real(self, path: str) -> None:
        """Copy what is only virtual into the real folder, if that is wished; EROFS else, and for folders."""
        if not self._is_only_virtual(path):
            return
        if not self._copies_up or path not in self._virtual:
            raise failure(errno.EROFS, path)
        file = self._virtual.file(path)
        like = self.virtual_attributes(path, file.size)
        with self._real.draft(path) as draft:
            write_all(draft.fd, file)
            with self._real_parents(path):
                self._real.settle(draft, path, like)

    def rename(self, old: str, new: str) -> None:
        """Rename a real entry, over a real or a virtual one too."""
        self._must_be_real(old)
        if self._is_seen_folder(old):
            raise failure(errno.EROFS, old)  # the virtual part of it would stay behind
        if self._is_seen_folder(new):
            raise failure(errno.ENOTEMPTY if self._is_real_folder(old) else errno.EISDIR, new)
        if self._is_only_virtual(new) and self._is_real_folder(old):
            raise failure(errno.ENOTDIR, new)
        with self._real_parents(new):
            self._real.rename(old, new)

    def unlink(self, path: str) -> None:
        """Remove a real name; a virtual file of that name is seen again."""
        if self._is_seen_folder(path):
            raise failure(errno.EISDIR, path)
        self._must_be_real(path)
        self._real.unlink(path)

    def remove_folder(self, path: str) -> None:
        """Remove an empty real folder."""
        if self._is_seen_folder(path):
            # what is virtual in a merged folder cannot be removed, so the folder cannot become empty
            raise failure(errno.ENOTEMPTY if self._real.exists(path) else errno.EROFS, path)
        if self._is_only_virtual(path):
            raise failure(errno.ENOTDIR, path)
        self._real.remove_folder(path)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions."""
        self._become_real(path)
        self._real.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one as it is, and both change only the time of the last change."""
        if uid == gid == -1 and self._is_only_virtual(path):
            return
        self._become_real(path)
        self._real.chown(path, uid, gid)

    def set_xattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        """Set an extended attribute; flags are those of setxattr(2)."""
        self._become_real(path)
        self._real.set_xattr(path, name, value, flags)

    def remove_xattr(self, path: str, name: str) -> None:
        """Remove an extended attribute."""
        self._become_real(path)
        self._real.remove_xattr(path, name)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file, or make it longer with zeros."""
        self._become_real(path)
        self._real.truncate(path, size)

    def set_times(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set the times, nanoseconds since 1970; None leaves one as it is."""
        self._become_real(path)
        self._real.set_times(path, atime_ns, mtime_ns)


def _type_of(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    for test, kind in _TYPES:
        if test(entry, follow_symlinks=False):
            return kind
    return 0
