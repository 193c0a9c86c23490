# SPDX-License-Identifier: MIT
"""Starting and ending programs that mount."""

import sys
from pathlib import Path

import pytest

from fastlegacy.testing.mounts import is_mount_point, mount_command, mounted


def test_the_kernel_s_list_is_asked(tmp_path):
    assert is_mount_point(Path("/"))
    assert not is_mount_point(tmp_path)


def test_command_takes_the_url_apart():
    command = mount_command("/a b/c.h5::/entry/data", Path("work"), "--format", "npy")
    assert command[1:] == ["-m", "fastlegacy", "mount", "/a b/c.h5", "/entry/data", "work", "--format", "npy"]


def test_what_a_failing_program_says_is_kept(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such dataset')"]
    with pytest.raises(RuntimeError, match="no such dataset"), mounted(command, tmp_path):
        pytest.fail("nothing is mounted, so the body must not run")
