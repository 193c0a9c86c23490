# SPDX-License-Identifier: MIT
"""What other users can do in a mount: nothing, unless it was made for them; and then what permissions allow."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastlegacy.faces.mount import ending, mountinfo
from fastlegacy.testing.beside import errno_of

NOBODY = 65534

Serve = Callable[..., Any]

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]


@pytest.fixture
def demo() -> Iterator[Path]:
    """A folder that other users can come to; pytest's own are closed to them."""
    above = Path(tempfile.mkdtemp(prefix="fastlegacy-security-"))
    above.chmod(0o755)
    (above / "demo").mkdir(mode=0o755)
    (above / "demo" / "kept.txt").write_text("kept")
    yield above / "demo"
    while mountinfo.find(str(above / "demo")):
        ending.umount(above / "demo", lazy=True)
    shutil.rmtree(above)


def as_nobody(use: Callable[[], object]) -> int:
    """Do something as another user; return the errno that it ends with, 0 if it does not."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            use()
            code = 0
        except OSError as error:
            code = error.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def write(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, b"x")
    os.close(fd)


def test_nobody_else_looks_into_a_mount(serve: Serve, demo: Path) -> None:
    mount = serve(demo)
    for use in (
        lambda: os.stat(demo),
        lambda: os.listdir(demo),
        lambda: os.open(demo / "data0001.img", os.O_RDONLY),
        lambda: os.open(demo / ".fastlegacy" / "status", os.O_RDONLY),
        lambda: write(demo / "new"),
    ):
        assert as_nobody(use) == errno.EACCES
    mount.interrupt()


@pytest.mark.parametrize("way", [{"allow_other": True}, {"options": "allow_other"}])
def test_a_mount_for_all_has_permissions_checked_by_the_kernel(serve: Serve, demo: Path, way: dict[str, Any]) -> None:
    mount = serve(demo, **way)
    (line,) = (line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {demo} " in line)
    assert {"allow_other", "default_permissions"} <= set(line.rpartition(" ")[2].split(","))
    mount.interrupt()


def test_others_may_do_in_a_mount_for_all_what_permissions_allow(serve: Serve, demo: Path, served: ModuleType) -> None:
    (demo / "secret").write_text("of root")
    (demo / "secret").chmod(0o600)
    (demo / "link").symlink_to("/etc/shadow")
    (demo / "theirs").mkdir()
    (demo / "theirs").chmod(0o777)
    mount = serve(demo, allow_other=True)
    denied = {
        "read a secret": lambda: os.open(demo / "secret", os.O_RDONLY),
        "read a secret elsewhere": lambda: os.open(demo / "link", os.O_RDONLY),
        "make a file": lambda: write(demo / "new"),
        "replace a frame": lambda: write(demo / "data0001.img"),
        "remove a file": lambda: os.unlink(demo / "kept.txt"),
        "change permissions": lambda: os.chmod(demo / "secret", 0o666),
    }
    codes = {what: as_nobody(use) for what, use in denied.items()}
    assert set(codes.values()) <= {errno.EACCES, errno.EPERM}, codes
    assert as_nobody(lambda: write(demo / "theirs" / "new")) == 0
    assert (demo / "theirs" / "new").stat().st_uid == NOBODY
    assert as_nobody(lambda: os.read(os.open(demo / "data0001.img", os.O_RDONLY), 8)) == 0
    mount.interrupt()
    assert sorted(os.listdir(demo)) == ["kept.txt", "link", "secret", "theirs"]
    assert (demo / "secret").stat().st_mode & 0o777 == 0o600


def test_who_may_not_write_a_frame_is_told_so_before_that_it_is_read_only(serve: Serve, demo: Path) -> None:
    demo.chmod(0o777)
    mount = serve(demo, allow_other=True)
    frame = demo / "data0001.img"
    changes: dict[str, tuple[Callable[[], object], int, int]] = {
        "write": (lambda: os.open(frame, os.O_RDWR), errno.EACCES, errno.EROFS),
        "empty": (lambda: os.open(frame, os.O_WRONLY | os.O_TRUNC), errno.EACCES, 0),
        "cut": (lambda: os.truncate(frame, 1), errno.EACCES, errno.EROFS),
        "remove": (lambda: os.unlink(frame), errno.EROFS, errno.EROFS),
        "rename": (lambda: os.rename(frame, demo / "other"), errno.EROFS, errno.EROFS),
        "permissions": (lambda: os.chmod(frame, 0o666), errno.EPERM, errno.EROFS),
    }
    assert {what: as_nobody(use) for what, (use, _, _) in changes.items()} == {
        what: code for what, (_, code, _) in changes.items()
    }
    assert not as_nobody(lambda: require(os.access(frame, os.R_OK) and not os.access(frame, os.W_OK)))
    assert {what: errno_of(use) for what, (use, _, _) in changes.items() if what != "empty"} == {
        what: code for what, (_, _, code) in changes.items() if what != "empty"
    }
    mount.interrupt()


def require(holds: bool) -> None:
    if not holds:
        raise OSError(errno.EINVAL, "it does not hold")


def test_set_user_bits_go_when_a_user_empties_a_file(serve: Serve, demo: Path) -> None:
    modes = {0o6755: 0o755, 0o4711: 0o711, 0o2740: 0o2740, 0o2750: 0o750}
    for mode in modes:
        (demo / oct(mode)).write_text("before")
        os.chown(demo / oct(mode), NOBODY, NOBODY)
        (demo / oct(mode)).chmod(mode)
    (demo / "root").write_text("before")
    (demo / "root").chmod(0o6777)
    mount = serve(demo, allow_other=True)
    for mode in modes:
        assert as_nobody(lambda mode=mode: os.open(demo / oct(mode), os.O_WRONLY | os.O_TRUNC)) == 0  # type: ignore[misc]
    os.close(os.open(demo / "root", os.O_WRONLY | os.O_TRUNC))
    assert {mode: (demo / oct(mode)).stat().st_mode & 0o7777 for mode in modes} == modes
    assert (demo / "root").stat().st_mode & 0o7777 == 0o6777
    assert as_nobody(lambda: write(demo / "root")) == 0
    mount.interrupt()
    assert (demo / "root").stat().st_mode & 0o7777 == 0o777


def test_extended_attributes_of_others(serve: Serve, demo: Path) -> None:
    (demo / "secret").write_text("of root")
    (demo / "secret").chmod(0o600)
    os.setxattr(demo / "secret", "user.a", b"1")
    os.setxattr(demo / "kept.txt", "trusted.a", b"1")
    (demo / "kept.txt").chmod(0o644)
    (demo / "theirs").touch()
    os.chown(demo / "theirs", NOBODY, NOBODY)
    mount = serve(demo, allow_other=True)

    def list_for_nobody() -> int:
        assert "trusted.a" not in os.listxattr(demo / "kept.txt")
        return 0

    acl = b"".join(
        struct.pack("<HHi", *entry) for entry in ((1, 6, -1), (2, 6, NOBODY), (4, 4, -1), (16, 6, -1), (32, 4, -1))
    )
    acl = struct.pack("<I", 2) + acl  # read and write for the other user, as in acl(5)
    assert "trusted.a" in os.listxattr(demo / "kept.txt")
    assert as_nobody(list_for_nobody) == 0
    denied = {
        "read a secret": lambda: os.getxattr(demo / "secret", "user.a"),
        "set on what is another's": lambda: os.setxattr(demo / "kept.txt", "user.a", b"1"),
        "set on a frame": lambda: os.setxattr(demo / "data0001.img", "user.a", b"1"),
        "read what is root's": lambda: os.getxattr(demo / "kept.txt", "trusted.a"),
        "set what is root's": lambda: os.setxattr(demo / "theirs", "trusted.a", b"1"),
        "get the rights of root": lambda: os.setxattr(demo / "theirs", "security.capability", bytes(20)),
        "allow oneself": lambda: os.setxattr(demo / "kept.txt", "system.posix_acl_access", acl),
    }
    codes = {what: as_nobody(use) for what, use in denied.items()}
    assert set(codes.values()) <= {errno.EACCES, errno.EPERM, errno.ENODATA, errno.EINVAL}, codes
    assert as_nobody(lambda: os.setxattr(demo / "theirs", "user.mine", b"1")) == 0
    mount.interrupt()
    assert os.listxattr(demo / "theirs") == ["user.mine"]
    assert os.listxattr(demo / "kept.txt") == ["trusted.a"]


def test_set_user_and_device_bits_have_no_power_in_a_mount(serve: Serve, demo: Path) -> None:
    mount = serve(demo, allow_other=True)
    (line,) = (line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {demo} " in line)
    assert {"nosuid", "nodev"} <= set(line.split(" ")[5].split(","))
    mount.interrupt()
