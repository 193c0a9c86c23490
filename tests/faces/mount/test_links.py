# SPDX-License-Identifier: MIT
"""Hard links: names of one file are one file, and tell the same at once."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.fuse


def test_names_of_one_file_tell_the_same_at_once(mounted: Path, real: Path) -> None:
    """The kernel has an inode for each name: it is told not to remember what it knows of them."""
    one, other = mounted / "one", mounted / "other"
    one.write_bytes(b"text")
    before = one.stat()
    os.link(one, other)
    assert one.stat().st_nlink == other.stat().st_nlink == 2
    assert one.stat().st_ino == other.stat().st_ino == before.st_ino
    other.chmod(0o600)
    assert one.stat().st_mode & 0o777 == 0o600
    for size in (11, 5000, 3):
        other.write_bytes(bytes(size))
        assert one.stat().st_size == size
        assert one.read_bytes() == bytes(size)
    os.utime(one, ns=(5, 7))
    assert other.stat().st_mtime_ns == 7
    third = mounted / "third"
    os.link(other, third)
    assert {path.stat().st_nlink for path in (one, other, third)} == {3}
    os.rename(third, mounted / "moved")
    other.unlink()
    assert one.stat().st_nlink == 2
    one.unlink()
    assert (mounted / "moved").stat().st_nlink == 1
    assert os.listdir(real) == ["moved"]


def test_names_of_what_is_no_plain_file(mounted: Path) -> None:
    os.mkfifo(mounted / "pipe")
    os.mknod(mounted / "socket", stat.S_IFSOCK | 0o600)
    os.symlink("nothing", mounted / "link")
    for kind in ("pipe", "socket", "link"):
        one, other = mounted / kind, mounted / f"{kind} too"
        assert one.lstat().st_nlink == 1
        os.link(one, other, follow_symlinks=False)
        assert one.lstat().st_nlink == other.lstat().st_nlink == 2
        one.unlink()
        assert other.lstat().st_nlink == 1


def test_chown_to_nobody(mounted: Path) -> None:
    """The kernel asks for no change, which libfuse would not hear of."""
    (mounted / "one").touch()
    for path in (mounted / "one", mounted):
        before = path.stat()
        time.sleep(0.02)  # the clock of the kernel's times has steps
        os.chown(path, -1, -1)
        after = path.stat()
        assert after.st_ctime_ns > before.st_ctime_ns
        assert (after.st_mtime_ns, after.st_uid) == (before.st_mtime_ns, before.st_uid)
    frame = mounted / "data0001.img"
    before = frame.stat()
    os.chown(frame, -1, -1)
    assert frame.stat() == before
    with pytest.raises(OSError, match="Read-only"):
        os.chown(frame, os.getuid() + 1, -1)


def test_a_tree_with_links_is_copied_with_them(mounted: Path, tmp_path: Path) -> None:
    (mounted / "tree").mkdir()
    for number in range(20):
        (mounted / "tree" / f"{number}").write_text("x")
        os.link(mounted / "tree" / f"{number}", mounted / "tree" / f"{number} too")
    subprocess.run(["cp", "-a", str(mounted / "tree"), str(tmp_path / "copy")], check=True)
    for number in range(20):
        assert (tmp_path / "copy" / f"{number}").samefile(tmp_path / "copy" / f"{number} too")
