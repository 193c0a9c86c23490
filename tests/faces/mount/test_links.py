# SPDX-License-Identifier: MIT
"""Hard links: names of one file are one file, and tell the same as soon as the kernel asks again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.fuse

Wait = Callable[..., bool]


def test_names_of_one_file_tell_the_same_after_a_second(mounted: Path, wait: Wait) -> None:
    """The kernel has an inode for each name, and asks for the attributes of each after a second."""
    one, other = mounted / "one", mounted / "other"
    one.write_bytes(b"text")
    before = one.stat()
    os.link(one, other)
    assert (other.stat().st_ino, other.stat().st_nlink) == (before.st_ino, 2)
    assert wait(lambda: one.stat().st_nlink == 2, timeout_s=5)
    other.chmod(0o600)
    assert other.stat().st_mode & 0o777 == 0o600
    assert wait(lambda: one.stat().st_mode & 0o777 == 0o600, timeout_s=5)
    other.write_bytes(b"longer text")
    assert wait(lambda: one.stat().st_size == 11, timeout_s=5)
    assert one.read_bytes() == b"longer text"
    other.unlink()
    assert wait(lambda: one.stat().st_nlink == 1, timeout_s=5)
    assert os.listdir(mounted.with_name("demo_real")) == ["one"]
