# SPDX-License-Identifier: MIT
"""Each call, by each user, on each kind of entry, with each owner and mode: a mount answers as a plain folder does.

The cases are drawn from all combinations. Compared are the result or errno, and of each entry in the folder then: type,
permissions, owner, links, size, content, and which of its times have changed.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import multiprocessing
import os
import random
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users"),
]

OWNER, OTHER, GROUP, STRANGE_GROUP = 65531, 65532, 65530, 65529
USERS = {"root": (0, [0]), "owner": (OWNER, [OWNER, GROUP]), "other": (OTHER, [OTHER])}
BATCH = 250  # cases between two looks at the clock, which has to be seen to go on


class Case(NamedTuple):
    """A call by a user, and the entry ``x`` and its folder before."""

    call: str
    kind: str
    mode: int
    owner: int
    folder: tuple[int, int, int]  # owner, group, mode
    user: str
    umask: int


# ---------------------------------------------------------------------------------------------- calls


def opened(path: str, flags: int, then: Callable[[int], Any] = lambda fd: None, mode: int = 0o640) -> Any:
    fd = os.open(path, flags | os.O_NONBLOCK, mode)
    try:
        return then(fd)
    finally:
        os.close(fd)


def beside(path: str, name: str) -> str:
    return os.path.join(os.path.dirname(path), name)


def copied(path: str, copy: Callable[[int, int], int]) -> Any:
    """Copy something from a file into an entry."""
    return opened(path, os.O_RDWR, lambda to: opened(beside(path, "file"), os.O_RDONLY, lambda fd: copy(to, fd)))


def through_memory(fd: int) -> None:
    with mmap.mmap(fd, 10) as memory:
        memory[0:1] = b"M"
        memory.flush()


def bound(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)


def unlinked(path: str) -> Any:
    """What a file tells that is open and has no name."""

    def tell(fd: int) -> Any:
        os.unlink(path)
        written = os.write(fd, b"abc")
        found = os.fstat(fd)
        return written, found.st_nlink, found.st_size, found.st_mode

    return opened(path, os.O_RDWR, tell)


def linked(path: str) -> Any:
    """Numbers of links, before and after one of two names is gone."""
    os.link(path, f"{path}2", follow_symlinks=False)
    both = os.lstat(path).st_nlink
    os.unlink(path)
    return both, os.lstat(f"{path}2").st_nlink


def written(path: str) -> Any:
    """Permissions after something was written: the bits that give rights may be gone."""
    return opened(path, os.O_WRONLY, lambda fd: (os.write(fd, b"Z"), os.fstat(fd).st_mode, os.stat(path).st_mode))


def size_of(path: str) -> int:
    found = os.stat(path)
    return 0 if stat.S_ISDIR(found.st_mode) else found.st_size


def gone_into(path: str) -> None:
    os.chdir(path)
    os.chdir("/")


_TIMES = (123456789_123456789, 987654321_987654321)

OPENING: dict[str, Callable[[str], Any]] = {
    "read": lambda x: opened(x, os.O_RDONLY, lambda fd: os.read(fd, 3)),
    "write": lambda x: opened(x, os.O_WRONLY, lambda fd: os.write(fd, b"Z")),
    "write at": lambda x: opened(x, os.O_RDWR, lambda fd: os.pwrite(fd, b"Z", 20)),
    "open to write": lambda x: opened(x, os.O_WRONLY),
    "append": lambda x: opened(x, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"Z")),
    "empty": lambda x: opened(x, os.O_WRONLY | os.O_TRUNC),
    "empty to read": lambda x: opened(x, os.O_RDONLY | os.O_TRUNC),
    "create": lambda x: opened(x, os.O_WRONLY | os.O_CREAT),
    "create with bits": lambda x: opened(x, os.O_WRONLY | os.O_CREAT, mode=0o6777),
    "create read-only": lambda x: opened(x, os.O_RDWR | os.O_CREAT, lambda fd: os.ftruncate(fd, 7), 0o444),
    "create without rights": lambda x: opened(x, os.O_RDWR | os.O_CREAT, lambda fd: os.ftruncate(fd, 7), 0),
    "create or empty": lambda x: opened(x, os.O_RDWR | os.O_CREAT | os.O_TRUNC),
    "open no link": lambda x: opened(x, os.O_RDONLY | os.O_NOFOLLOW),
    "create no link": lambda x: opened(x, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT),
    "O_NOATIME": lambda x: opened(x, os.O_RDONLY | os.O_NOATIME),
    "ftruncate": lambda x: opened(x, os.O_RDWR, lambda fd: os.ftruncate(fd, 5)),
    "ftruncate to its size": lambda x: opened(x, os.O_RDWR, lambda fd: os.ftruncate(fd, 10)),
    "fchmod": lambda x: opened(x, os.O_RDONLY, lambda fd: os.fchmod(fd, 0o2751)),
    "fchown": lambda x: opened(x, os.O_RDONLY, lambda fd: os.fchown(fd, -1, GROUP)),
    "futimens": lambda x: opened(x, os.O_RDONLY, os.utime),
    "fallocate": lambda x: opened(x, os.O_RDWR, lambda fd: os.posix_fallocate(fd, 5, 100)),
    "mmap": lambda x: opened(x, os.O_RDWR, through_memory),
    "write and look": written,
    "unlink an open one": unlinked,
    "replace an open one": lambda x: opened(
        x, os.O_RDWR, lambda fd: (os.rename(beside(x, "file"), x), os.fstat(fd).st_nlink, os.fstat(fd).st_size)
    ),
    "copy_file_range": lambda x: copied(x, lambda to, fd: os.copy_file_range(fd, to, 4)),
    "sendfile": lambda x: copied(x, lambda to, fd: os.sendfile(to, fd, 0, 4)),
}
"""Calls that open what is there: a device must not be opened here, and a pipe's times are not FUSE's."""

CALLS: dict[str, Callable[[str], Any]] = OPENING | {
    "create alone": lambda x: opened(x, os.O_RDWR | os.O_CREAT | os.O_EXCL),
    "O_DIRECTORY": lambda x: opened(x, os.O_RDONLY | os.O_DIRECTORY),
    "O_PATH": lambda x: opened(x, os.O_PATH),
    "mkdir": lambda x: os.mkdir(x, 0o751),
    "mkdir with bits": lambda x: os.mkdir(x, 0o7777),
    "mkdir/": lambda x: os.mkdir(f"{x}/"),
    "rmdir": os.rmdir,
    "rmdir/.": lambda x: os.rmdir(f"{x}/."),
    "rmdir/..": lambda x: os.rmdir(f"{x}/.."),
    "unlink": os.unlink,
    "unlink/": lambda x: os.unlink(f"{x}/"),
    "mkfifo": lambda x: os.mkfifo(x, 0o6751),
    "mknod, file": lambda x: os.mknod(x, 0o6751 | stat.S_IFREG),
    "mknod, socket": lambda x: os.mknod(x, 0o751 | stat.S_IFSOCK),
    "mknod, characters": lambda x: os.mknod(x, 0o751 | stat.S_IFCHR, os.makedev(1, 3)),
    "mknod, blocks": lambda x: os.mknod(x, 0o751 | stat.S_IFBLK, os.makedev(7, 200)),
    "bind": bound,
    "symlink": lambda x: os.symlink("somewhere", x),
    "symlink, no text": lambda x: os.symlink("", x),
    "symlink, long": lambda x: os.symlink("a" * 4095, x),
    "link": lambda x: os.link(x, beside(x, "new"), follow_symlinks=False),
    "link what it leads to": lambda x: os.link(x, beside(x, "new")),
    "link onto it": lambda x: os.link(beside(x, "file"), x),
    "link and look": linked,
    "rename": lambda x: os.rename(x, beside(x, "new")),
    "rename into a folder": lambda x: os.rename(x, beside(x, "folder/new")),
    "rename onto a file": lambda x: os.rename(x, beside(x, "file")),
    "rename onto a folder": lambda x: os.rename(x, beside(x, "folder")),
    "rename onto a full folder": lambda x: os.rename(x, beside(x, "full")),
    "rename onto itself": lambda x: os.rename(x, x),
    "rename into itself": lambda x: os.rename(x, f"{x}/in"),
    "rename from/": lambda x: os.rename(f"{x}/", beside(x, "new")),
    "rename to/": lambda x: os.rename(x, beside(x, "new/")),
    "rename from/.": lambda x: os.rename(f"{x}/.", beside(x, "new")),
    "rename a file onto it": lambda x: os.rename(beside(x, "file"), x),
    "rename a folder onto it": lambda x: os.rename(beside(x, "folder"), x),
    "rename a full folder onto it": lambda x: os.rename(beside(x, "full"), x),
    "rename what is in a folder onto it": lambda x: os.rename(beside(x, "full/in"), x),
    "rename what is in it": lambda x: os.rename(f"{x}/in", f"{x}/out"),
    "rename a folder into it": lambda x: os.rename(beside(x, "folder"), f"{x}/folder"),
    "rename onto what is in it": lambda x: os.rename(beside(x, "file"), f"{x}/in"),
    "chmod, user bit": lambda x: os.chmod(x, 0o4711),
    "chmod, group bit": lambda x: os.chmod(x, 0o2711),
    "chmod, sticky": lambda x: os.chmod(x, 0o1711),
    "chmod": lambda x: os.chmod(x, 0o644),
    "chown to nobody": lambda x: os.chown(x, -1, -1),
    "chown to the owner": lambda x: os.chown(x, OWNER, -1),
    "chown to a group": lambda x: os.chown(x, -1, GROUP),
    "chown to a strange group": lambda x: os.chown(x, -1, STRANGE_GROUP),
    "chown to another": lambda x: os.chown(x, OTHER, -1),
    "chown to another and a group": lambda x: os.chown(x, OTHER, GROUP),
    "chown to the owner and a group": lambda x: os.chown(x, OWNER, GROUP),
    "lchown to a group": lambda x: os.lchown(x, -1, GROUP),
    "lchown to nobody": lambda x: os.lchown(x, -1, -1),
    "truncate, 0": lambda x: os.truncate(x, 0),
    "truncate, its size": lambda x: os.truncate(x, 10),
    "truncate, longer": lambda x: os.truncate(x, 99),
    "truncate, below 0": lambda x: os.truncate(x, -1),
    "utimensat, now": os.utime,
    "utimensat": lambda x: os.utime(x, ns=_TIMES),
    "utimensat of the link": lambda x: os.utime(x, ns=_TIMES, follow_symlinks=False),
    "utimensat, before 1970": lambda x: os.utime(x, ns=(-5, -7)),
    "access to read": lambda x: os.access(x, os.R_OK),
    "access to write": lambda x: os.access(x, os.W_OK),
    "access to go on": lambda x: os.access(x, os.X_OK),
    "stat": size_of,
    "stat/": lambda x: size_of(f"{x}/"),
    "stat what is in it": lambda x: size_of(f"{x}/in"),
    "stat, long name": lambda x: size_of(beside(x, "n" * 256)),
    "stat, long path": lambda x: size_of(f"{x}/." * 2000),
    "create, longest name": lambda x: opened(beside(x, "n" * 255), os.O_RDWR | os.O_CREAT),
    "create, too long a name": lambda x: opened(beside(x, "n" * 256), os.O_RDWR | os.O_CREAT),
    "create in it": lambda x: opened(f"{x}/in2", os.O_RDWR | os.O_CREAT, mode=0o2777),
    "mkdir in it": lambda x: os.mkdir(f"{x}/in2"),
    "unlink in it": lambda x: os.unlink(f"{x}/in"),
    "readlink": os.readlink,
    "list": lambda x: sorted(os.listdir(x)),
    "list its folder": lambda x: sorted(os.listdir(os.path.dirname(x))),
    "chdir": gone_into,
    "openat": lambda x: opened(x, os.O_RDONLY | os.O_DIRECTORY, lambda fd: os.stat("in", dir_fd=fd).st_size),
    "setxattr": lambda x: os.setxattr(x, "user.a", b"1"),
    "lsetxattr": lambda x: os.setxattr(x, "user.a", b"1", follow_symlinks=False),
    "setxattr, another value": lambda x: os.setxattr(x, "user.a", b"1", os.XATTR_REPLACE),
    "setxattr of root's": lambda x: os.setxattr(x, "trusted.a", b"1"),
    "getxattr": lambda x: os.getxattr(x, "user.a"),
    "listxattr": lambda x: sorted(os.listxattr(x)),
    "removexattr": lambda x: os.removexattr(x, "user.a"),
    "exec": lambda x: os.spawnv(os.P_WAIT, x, ["x"]),
    "statvfs": lambda x: os.statvfs(x).f_namemax,
}


def result_of(call: str, path: str) -> Any:
    try:
        return CALLS[call](path)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


# ---------------------------------------------------------------------------------------------- before

MAKERS: dict[str, Callable[[str], object]] = {
    "nothing": lambda x: None,
    "file": lambda x: Path(x).write_bytes(b"0123456789"),
    "file with two names": lambda x: (Path(x).write_bytes(b"0123456789"), os.link(x, beside(x, "second"))),
    "empty file": lambda x: Path(x).touch(),
    "folder": os.mkdir,
    "full folder": lambda x: (os.mkdir(x), Path(x, "in").write_bytes(b"in"), os.chown(f"{x}/in", OTHER, OTHER)),
    "pipe": os.mkfifo,
    "socket": lambda x: os.mknod(x, stat.S_IFSOCK | 0o600),
    "device": lambda x: os.mknod(x, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "link to a file": lambda x: os.symlink("file", x),
    "link to a folder": lambda x: os.symlink("full", x),
    "link to nothing": lambda x: os.symlink("nothing", x),
    "link to itself": lambda x: os.symlink("x", x),
}
MODES = (0o644, 0o600, 0o666, 0o6755, 0o6777, 0o2770, 0o000, 0o755, 0o1777, 0o4711, 0o060, 0o006)
FOLDERS = (
    *((OWNER, OWNER, mode) for mode in (0o755, 0o555, 0o1777)),
    *((OTHER, OTHER, mode) for mode in (0o755, 0o777, 0o1777)),
    (OWNER, GROUP, 0o2775),
    (OTHER, STRANGE_GROUP, 0o2777),
    (OTHER, GROUP, 0o770),
)
CASES = [
    Case(*each)
    for each in itertools.product(CALLS, MAKERS, MODES, (OWNER, OTHER), FOLDERS, USERS, (0, 0o022))
    if each[0] not in OPENING or each[1] not in ("pipe", "device")
]


def make(folder: str, case: Case) -> None:
    """Make a folder with an entry ``x`` and some others."""
    os.mkdir(folder)
    x = f"{folder}/x"
    MAKERS["file"](beside(x, "file"))
    MAKERS["folder"](beside(x, "folder"))
    MAKERS["full folder"](beside(x, "full"))
    for name in ("file", "folder", "full"):
        os.chown(beside(x, name), case.owner, GROUP)
    os.chmod(beside(x, "file"), 0o6775)
    MAKERS[case.kind](x)
    if case.kind != "nothing":
        os.lchown(x, case.owner, GROUP)
        if not os.path.islink(x):
            os.chmod(x, case.mode)
    owner, group, mode = case.folder
    os.chown(folder, owner, group)
    os.chmod(folder, mode)


def entries(folder: str) -> Iterator[str]:
    yield folder
    for above, folders, files in os.walk(folder):
        yield from (os.path.join(above, name) for name in folders + files)


def times_of(folder: str) -> dict[int, tuple[int, int]]:
    """Times of change of each file in there."""
    found = map(os.lstat, entries(folder))
    return {each.st_ino: (each.st_ctime_ns, each.st_mtime_ns) for each in found}


def told_of(path: str, before: dict[int, tuple[int, int]]) -> tuple[Any, ...]:
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    changed = before.get(found.st_ino, (0, 0))
    content: bytes | str | None = None
    if stat.S_ISREG(kind):
        content = Path(path).read_bytes()
    elif stat.S_ISLNK(kind):
        content = os.readlink(path)
    return (
        oct(found.st_mode),
        (found.st_uid, found.st_gid),
        found.st_nlink,
        found.st_rdev,
        0 if stat.S_ISDIR(kind) else found.st_size,
        f"ctime changed: {found.st_ctime_ns != changed[0]}, mtime changed: {found.st_mtime_ns != changed[1]}",
        found.st_mtime_ns if found.st_mtime_ns < 10**18 else "now",
        content,
    )


# ---------------------------------------------------------------------------------------------- both


class User:
    """A process that makes calls as another user."""

    def __init__(self, name: str) -> None:
        self._here, there = multiprocessing.Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._here.close()
                self._work(there, *USERS[name])
            finally:
                os._exit(0)
        there.close()

    def _work(self, there: Connection, uid: int, groups: list[int]) -> None:
        os.setgroups(groups)
        os.setgid(uid)
        os.setuid(uid)
        while asked := there.recv():
            call, path, mask = asked
            os.umask(mask)
            there.send(result_of(call, path))

    def does(self, case: Case, folder: str) -> Any:
        self._here.send((case.call, f"{folder}/x", case.umask))
        assert self._here.poll(60), f"{case} is not answered"
        return self._here.recv()

    def end(self) -> None:
        self._here.send(None)
        os.waitpid(self._pid, 0)


@pytest.fixture
def users() -> Iterator[dict[str, User]]:
    made = {name: User(name) for name in USERS}
    yield made
    for user in made.values():
        user.end()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that all users may go through; pytest's are closed to them."""
    made = Path(tempfile.mkdtemp(prefix="fastlegacy-users-"))
    made.chmod(0o755)
    before = os.umask(0)
    yield made
    os.umask(before)
    shutil.rmtree(made)


def differences(cases: list[Case], roots: tuple[Path, Path], users: dict[str, User]) -> Iterator[str]:
    """Make each call in both folders; tell what is not the same."""
    folders = [[f"{root}/{number}" for root in roots] for number in range(len(cases))]
    for pair, case in zip(folders, cases, strict=True):
        for folder in pair:
            make(folder, case)
    time.sleep(0.02)  # the clock of the kernel's times has steps
    for pair, case in zip(folders, cases, strict=True):
        answers, trees = [], []
        for folder in pair:
            before = times_of(folder)
            answers.append(users[case.user].does(case, folder))
            trees.append({os.path.relpath(path, folder): told_of(path, before) for path in entries(folder)})
        if answers[0] != answers[1]:
            yield f"{case}: {answers[0]} in a folder, {answers[1]} in a mount"
        for name in trees[0].keys() | trees[1].keys():
            if (one := trees[0].get(name)) != (other := trees[1].get(name)):
                yield f"{case}, {name} then: {one} in a folder, {other} in a mount"
    for folder in itertools.chain(*folders):
        shutil.rmtree(folder)


def compare(count: int, seed: int, place: Path, users: dict[str, User], serve: Callable[..., Any]) -> None:
    cases = random.Random(seed).sample(CASES, count)
    roots = (place / "plain", place / "demo")
    roots[0].mkdir()
    mount = serve(roots[1], allow_other=True)
    found: list[str] = []
    for at in range(0, count, BATCH):
        found += differences(cases[at : at + BATCH], roots, users)
    assert found == []
    _, log = mount.interrupt()
    assert log == ""


@pytest.mark.parametrize("seed", range(3))
def test_each_call_by_each_user(seed: int, place: Path, users: dict[str, User], serve: Callable[..., Any]) -> None:
    compare(2 * BATCH, seed, place, users, serve)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_more_calls_by_each_user(place: Path, users: dict[str, User], serve: Callable[..., Any]) -> None:
    compare(len(CASES) // 20, time.time_ns(), place, users, serve)


def test_they_are_told_from_a_folder_that_differs(place: Path, users: dict[str, User]) -> None:
    """Two plain folders, and one of them is of another user's: the comparison can fail."""
    roots = (place / "plain", place / "other")
    for root in roots:
        root.mkdir()
    roots[1].chmod(0o700)
    cases = random.Random(0).sample(CASES, 50)
    assert len(list(differences(cases, roots, users))) > 10
    roots[1].chmod(0o755)
    assert list(differences(cases, roots, users)) == []
