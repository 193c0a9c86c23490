# SPDX-License-Identifier: MIT
"""Rules for names and attributes: make, rename, remove, link; permissions, owners, times."""

from __future__ import annotations

import ctypes
import os
import stat
import time

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from union_machine.base import FIRST, Base, modes, names, paths
from union_machine.compare import Result, eventually, is_folder, outcome, read_whole, walk

__all__ = ["Names"]

_TARGETS = (b"a", b"b", b"d1", b"nowhere", b"../a")
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _UTIME_NOW, _UTIME_OMIT = -100, 0x100, (1 << 30) - 1, (1 << 30) - 2
_TICK_NS = 50_000_000
_PIPE = b"pipe"
_SOURCE = "user.fastlegacy.source"
_LIBC = ctypes.CDLL(None, use_errno=True)

times_ns = st.integers(0, 4_000_000_000_000_000_000)
attributes = st.sampled_from(("user.a", "user.b", "user.c\xe9", "nothing.x"))
values = st.one_of(st.binary(max_size=40), st.just(bytes(2000)))
marked = st.one_of(paths, st.just(_PIPE))


class Names(Base):
    """What is done to entries of folders."""

    @rule(path=paths, mode=modes)
    def mkdir(self, path: bytes, mode: int) -> None:
        """Make a folder."""
        self.same(path, lambda p: os.mkdir(p, mode & 0o777), if_virtual="EEXIST")

    @rule(path=paths)
    def rmdir(self, path: bytes) -> None:
        """Remove a folder; files that were removed while they are open would still be in it."""
        self.close_all()
        self.same(path, os.rmdir, if_virtual="ENOTDIR")

    @rule(path=paths)
    def unlink(self, path: bytes) -> None:
        """Remove a file, open or not."""
        self.same(path, os.unlink, if_virtual="EROFS")

    @rule(path=st.sampled_from((FIRST, b"data0007.img")), text=st.binary(min_size=1, max_size=100))
    def save_over_a_frame_and_remove(self, path: bytes, text: bytes) -> None:
        """A frame is back when what was saved over it is removed."""
        if self.is_virtual(path):
            at = os.path.join(self.at, path)
            with open(at, "wb") as file:
                file.write(text)
            os.unlink(at)
            assert eventually(lambda: read_whole(at) == self.virtual[path]), path

    @rule(old=paths, new=paths)
    def rename(self, old: bytes, new: bytes) -> None:
        """Rename files and folders, over others too, open or not."""
        self.do_rename(old, new)

    def do_rename(self, old: bytes, new: bytes) -> None:
        """Rename on both sides."""
        plain = [os.path.join(self.there, p) for p in (old, new)]
        # folders: what was removed while it is open would still be there. Two names of one file: libfuse parts them
        if any(is_folder(path) for path in plain) or any(handle.has_links() for handle in self.handles):
            self.close_all()
        here, there = (os.path.join(self.at, p) for p in (old, new))
        got = outcome(lambda: os.rename(here, there))
        assert got == self.renamed(old, new), (old, new, got)

    @precondition(lambda self: self.handles)
    @rule(old=names, which=st.integers(0, 6))
    def rename_over_what_is_open(self, old: bytes, which: int) -> None:
        """Whether it works or is refused, who has the other file open goes on."""
        self.do_rename(old, self.handles[which % len(self.handles)].path)

    def renamed(self, old: bytes, new: bytes) -> Result:
        """What a rename has to be."""
        plain = [os.path.join(self.there, p) for p in (old, new)]
        for path in (old, new):
            head, _, below = path.partition(b"/")
            if below and self.is_virtual(head):
                return self.first_fault(old, new)
        if self.is_virtual(old):
            if old == new:
                return "ok", None
            if os.path.dirname(new) and not os.path.isdir(os.path.dirname(plain[1])):
                return outcome(lambda: os.lstat(os.path.join(os.path.dirname(plain[1]), b"x")))
            return "error", "EISDIR" if is_folder(plain[1]) else "EROFS"
        if self.is_virtual(new) and is_folder(plain[0]):
            return "error", "ENOTDIR"
        return outcome(lambda: os.rename(*plain))

    def first_fault(self, old: bytes, new: bytes) -> Result:
        """The errno where a path goes through a file: that of the first path that leads nowhere."""
        for path in (old, new):
            head, _, below = path.partition(b"/")
            if below and self.is_virtual(head):
                return "error", "ENOTDIR"
            above = os.path.dirname(os.path.join(self.there, path))
            if not os.path.isdir(above):
                return outcome(lambda above=above: os.lstat(os.path.join(above, b"x")))  # type: ignore[misc]
        raise AssertionError("both paths lead somewhere")

    @rule(path=paths, text=st.sampled_from(_TARGETS))
    def symlink(self, path: bytes, text: bytes) -> None:
        """Make a symbolic link."""
        self.same(path, lambda p: os.symlink(text, p), if_virtual="EEXIST")

    @rule(path=paths)
    def readlink(self, path: bytes) -> None:
        """Text of a link."""
        self.same(path, os.readlink, if_virtual="EINVAL")

    @rule(old=names, new=paths)
    def link(self, old: bytes, new: bytes) -> None:
        """Give a file one more name. Its handles are closed: for the kernel each name is a file of its own."""
        self.close_all()
        work = [lambda root=root: _link(root, old, new) for root in (self.at, self.there)]  # type: ignore[misc]
        got = outcome(work[0])
        head, _, below = new.partition(b"/")
        if self.is_virtual(old):
            plain = os.path.join(self.there, new)
            if below and self.is_virtual(head):
                wanted: Result = ("error", "ENOTDIR")
            elif self.is_virtual(new) or os.path.lexists(plain):
                wanted = ("error", "EEXIST")
            elif not os.path.isdir(os.path.dirname(plain)):
                wanted = outcome(lambda: os.lstat(plain))
            else:
                wanted = ("error", "EROFS")
        elif not os.path.lexists(os.path.join(self.there, old)):
            wanted = ("error", "ENOENT")
        elif below and self.is_virtual(head):
            wanted = ("error", "ENOTDIR")
        elif self.is_virtual(new):
            wanted = ("error", "EEXIST")
        else:
            wanted = outcome(work[1])
        assert got == wanted, (old, new, got, wanted)

    # ---- attributes

    @rule(path=paths, mode=modes)
    def chmod(self, path: bytes, mode: int) -> None:
        """Set permissions."""
        self.same(path, lambda p: os.chmod(p, mode), if_virtual="EROFS")

    @rule(
        path=st.one_of(paths, st.just(b"caf\xe9\xff")),
        uid=st.sampled_from((-1, 12345)),
        gid=st.sampled_from((-1, 54321)),
    )
    def chown(self, path: bytes, uid: int, gid: int) -> None:
        """Set the owner, the group, or both; who is not root may not."""
        if (uid, gid) != (-1, -1):
            self.same(path, lambda p: os.chown(p, uid, gid, follow_symlinks=False), if_virtual="EROFS")

    @rule(path=paths, time_ns=times_ns)
    def utime(self, path: bytes, time_ns: int) -> None:
        """Set both times, to the nanosecond."""

        def set_and_see(p: bytes) -> tuple[int, int]:
            os.utime(p, ns=(time_ns, time_ns + 1), follow_symlinks=False)
            found = os.lstat(p)
            return (0 if stat.S_ISLNK(found.st_mode) else found.st_atime_ns, found.st_mtime_ns)

        self.same(path, set_and_see, if_virtual="EROFS")

    @rule(path=paths, time_ns=times_ns, which=st.sampled_from((0, 1)))
    def utime_of_one(self, path: bytes, time_ns: int, which: int) -> None:
        """Set the time of the last use or of the last change, and leave the other alone."""

        def set_and_see(p: bytes) -> tuple[bool, bool]:
            below = self.below_mount(p)
            before = _times(below) if os.path.lexists(below) else (0, 0)
            _set_one(p, time_ns, which)
            after = _times(below)
            return after[which] == time_ns, after[1 - which] == before[1 - which]

        got = self.same(path, set_and_see, if_virtual="EROFS")
        assert got[0] == "error" or got == ("ok", (True, True)), (path, which)

    @rule(path=paths, which=st.sampled_from((0, 1)))
    def utime_of_one_to_now(self, path: bytes, which: int) -> None:
        """Set one of the two times to what the clock says, and leave the other alone."""

        def set_and_see(p: bytes) -> tuple[bool, bool]:
            below = self.below_mount(p)
            before = _times(below) if os.path.lexists(below) else (0, 0)
            start_ns = time.time_ns()
            _set_one(p, None, which)
            after = _times(below)
            # the file system's clock goes by ticks
            is_now = start_ns - _TICK_NS <= after[which] <= time.time_ns() + _TICK_NS
            return is_now, after[1 - which] == before[1 - which]

        got = self.same(path, set_and_see, if_virtual="EROFS")
        assert got[0] == "error" or got == ("ok", (True, True)), (path, which)

    # ---- extended attributes

    @rule(path=marked, name=attributes, value=values, how=st.sampled_from((0, os.XATTR_CREATE, os.XATTR_REPLACE)))
    def set_xattr(self, path: bytes, name: str, value: bytes, how: int) -> None:
        """Set an attribute, whether it is there, only if it is not, or only if it is; look at all of them."""

        def set_and_see(p: bytes) -> list[tuple[str, bytes]]:
            os.setxattr(p, name, value, how, follow_symlinks=False)
            return all_xattrs(p)

        self.same(path, set_and_see, if_virtual="EROFS")

    @rule(path=marked, name=attributes)
    def remove_xattr(self, path: bytes, name: str) -> None:
        """Remove an attribute; look at those that are left."""

        def remove_and_see(p: bytes) -> list[tuple[str, bytes]]:
            os.removexattr(p, name, follow_symlinks=False)
            return all_xattrs(p)

        self.same(path, remove_and_see, if_virtual="EROFS")

    @rule()
    def xattrs_are_the_same(self) -> None:
        """All attributes of all entries, and that of each virtual file."""
        for path, _ in [*walk(self.there)]:
            self.same(path, all_xattrs, if_virtual="")
        for name in self.virtual:
            if self.is_virtual(name):
                assert [key for key, _ in all_xattrs(os.path.join(self.at, name))] == [_SOURCE], name

    # ---- pipes

    @rule(path=paths, mode=modes)
    def mkfifo(self, path: bytes, mode: int) -> None:
        """Make a pipe, and give it a name that nothing opens: to open a pipe is to wait for somebody else."""
        made = self.same(path, lambda p: os.mkfifo(p, mode & 0o777), if_virtual="EEXIST")
        if made[0] == "ok":
            for root in (self.at, self.there):
                os.rename(os.path.join(root, path), os.path.join(root, _PIPE))

    @rule()
    def unlink_pipe(self) -> None:
        """Remove a pipe."""
        self.same(_PIPE, os.unlink, if_virtual="")

    # as in `Files`
    set_xattr_2 = set_xattr_3 = set_xattr
    unlink_2 = unlink
    chown_2 = chown
    rename_2 = rename_3 = rename


def _link(root: bytes, old: bytes, new: bytes) -> None:
    os.link(os.path.join(root, old), os.path.join(root, new), follow_symlinks=False)


def _times(path: bytes) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_atime_ns, found.st_mtime_ns


def all_xattrs(path: bytes) -> list[tuple[str, bytes]]:
    """Names and values of the attributes of an entry."""
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]


def _set_one(path: bytes, time_ns: int | None, which: int) -> None:
    times = [0, _UTIME_OMIT, 0, _UTIME_OMIT]
    times[2 * which : 2 * which + 2] = (0, _UTIME_NOW) if time_ns is None else divmod(time_ns, 10**9)
    if _LIBC.utimensat(_AT_FDCWD, path, (ctypes.c_long * 4)(*times), _AT_SYMLINK_NOFOLLOW):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
