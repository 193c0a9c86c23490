# SPDX-License-Identifier: MIT
"""Ending mounts: what is refused, and by which command. More in ``test_session`` and ``test_life``."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import ending


def test_a_folder_that_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="is not a mount point"):
        ending.umount(tmp_path)


def test_a_mount_that_is_not_ours() -> None:
    with pytest.raises(MountError, match="not one of fastlegacy"):
        ending.umount("/proc")


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending.shutil, "which", lambda name: name == "fusermount3" or None)
    assert ending.unmount_command("/a b", lazy=True) == ["fusermount3", "-uz", "--", "/a b"]
    monkeypatch.setattr(ending.shutil, "which", lambda name: None)
    assert ending.unmount_command("/x") == ["umount", "--", "/x"]
