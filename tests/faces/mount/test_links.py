# SPDX-License-Identifier: MIT
"""Hard links: names of one file are one file, and tell the same at once."""

from __future__ import annotations

import os
import subprocess
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


def test_a_tree_with_links_is_copied_with_them(mounted: Path, tmp_path: Path) -> None:
    (mounted / "tree").mkdir()
    for number in range(20):
        (mounted / "tree" / f"{number}").write_text("x")
        os.link(mounted / "tree" / f"{number}", mounted / "tree" / f"{number} too")
    subprocess.run(["cp", "-a", str(mounted / "tree"), str(tmp_path / "copy")], check=True)
    for number in range(20):
        assert (tmp_path / "copy" / f"{number}").samefile(tmp_path / "copy" / f"{number} too")
