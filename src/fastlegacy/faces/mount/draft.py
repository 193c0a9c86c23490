# SPDX-License-Identifier: MIT
"""New files that nobody sees before they are complete and on the disk."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastlegacy.index.tree import VirtualFile

__all__ = ["Draft", "draft_in", "write_all"]

_STEP_BYTES = 8 << 20

_NO_UNNAMED = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}  # open(2), "O_TMPFILE"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is being made.

    Attributes
    ----------
    fd : int
        Its descriptor, for reading and writing.
    folder : int
        Descriptor of the folder that it is in.
    name : str or None
        Where the file system has no files without a name: its name until it has the right one.
    """

    fd: int
    folder: int
    name: str | None

    def settle(self, folder: int, name: str) -> None:
        """Give it a name, with its contents on the disk before and the name afterwards.

        Raises
        ------
        FileExistsError
            If there is something of this name by now, which stays.
        """
        os.fsync(self.fd)
        try:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=folder, follow_symlinks=True)
        except OSError as error:
            if error.errno not in _NO_LINKS or self.name is None:
                raise
            # a file system without hard links: one that is made in this very moment would be lost
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=folder, follow_symlinks=False)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
            os.rename(self.name, name, src_dir_fd=self.folder, dst_dir_fd=folder)
        _sync(folder)


def _sync(folder: int) -> None:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not know it for folders
            raise
    finally:
        os.close(fd)


def write_all(fd: int, file: VirtualFile) -> None:
    """Write the bytes of a virtual file.

    Raises
    ------
    FastlegacyError
        If its pixels cannot be read.
    OSError
        If they cannot be written.
    """
    buffer = memoryview(bytearray(min(file.size, _STEP_BYTES)))
    at = 0
    while at < file.size:
        some = buffer[: file.read_into(buffer[: file.size - at], at)]
        if not some:
            raise OSError(errno.EIO, os.strerror(errno.EIO), file.name)
        at += len(some)
        while some:
            some = some[os.write(fd, some) :]


@contextmanager
def draft_in(folder: int) -> Iterator[Draft]:
    """Make a file in a folder that has no name; unless it was settled, it is gone at the end.

    Parameters
    ----------
    folder : int
        A descriptor.
    """
    name = None
    try:
        fd = os.open(".", getattr(os, "O_TMPFILE", os.O_DIRECTORY) | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_UNNAMED:
            raise
        name = f".fastlegacy-{secrets.token_hex(8)}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        yield Draft(fd, folder, name)
    finally:
        os.close(fd)
        if name is not None:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
