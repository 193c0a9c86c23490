# SPDX-License-Identifier: MIT
"""Reading the list of mounts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy.faces.mount import mountinfo

TEXT = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:37 / /data/with\040space rw,nosuid - fuse.fastlegacy /data/a,\040b.h5::/x rw,user_id=0
41 22 0:38 / /data/two rw master:1 propagate_from:2 - fuse.sshfs host:\134x rw
42 41 0:39 / /data/two rw - fuse.fastlegacy one.h5 rw
"""


def test_parsing() -> None:
    found = mountinfo.mounts(TEXT)
    assert [mount.folder for mount in found] == ["/", "/data/with space", "/data/two", "/data/two"]
    assert [mount.is_ours for mount in found] == [False, True, False, True]
    assert found[1] == mountinfo.Mount(40, "0:37", "/data/with space", "fuse.fastlegacy", "/data/a, b.h5::/x")
    assert found[2].source == "host:\\x"


def test_the_topmost_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = mountinfo.mounts(TEXT)
    monkeypatch.setattr(mountinfo, "mounts", lambda: found)
    top = mountinfo.find("/data/two")
    assert top is not None
    assert top.is_ours
    assert mountinfo.find("/data") is None
    assert len(mountinfo.ours()) == 2


def test_this_machine_has_mounts() -> None:
    assert mountinfo.find("/") is not None


def test_holders(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "sub").mkdir()
    folder = os.path.realpath(tmp_path)
    with open(tmp_path / "file"):
        assert os.getpid() in mountinfo.holders(folder)
        assert os.getpid() not in mountinfo.holders(folder, but=os.getpid())
        assert os.getpid() not in mountinfo.holders(folder, working_folder_only=True)
        assert os.getpid() not in mountinfo.holders(f"{folder}/fil")
    assert os.getpid() not in mountinfo.holders(folder)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], cwd=tmp_path / "sub", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        assert child.pid in mountinfo.holders(folder, working_folder_only=True)
        child.communicate(b"\n")


def test_a_mount_is_not_asked_for_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real" / "work").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "to").symlink_to("real/work")
    folder = os.path.join(os.path.realpath(tmp_path), "real", "work")
    asked: list[str] = []
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **more: (asked.append(os.fspath(path)), lstat(path, **more))[1])
    monkeypatch.chdir(tmp_path / "real" / "work")
    ways = (tmp_path / "link" / "work", f"{folder}/", f"{folder}/.", ".")
    assert [mountinfo.resolved(way) for way in ways] == 4 * [folder]
    assert folder in asked
    asked.clear()
    mounted = [mountinfo.Mount(1, "0:1", folder, mountinfo.TYPE, "scan.h5")]
    monkeypatch.setattr(mountinfo, "mounts", lambda: mounted)
    assert [mountinfo.resolved(way) for way in ways] == 4 * [folder]
    assert folder not in asked
    assert mountinfo.resolved(tmp_path / "to" / ".." / "work") == folder
    assert mountinfo.resolved(tmp_path / "to") == folder
