# SPDX-License-Identifier: MIT
"""All is checked before anything is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import checks, mountinfo
from fastlegacy.faces.mount.checks import make_ready, remove_made
from fastlegacy.faces.mount.mountinfo import Mount
from fastlegacy.faces.mount.places import Places


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    places = Places.of(tmp_path / "a" / "b")
    made = make_ready(places, rename=False)
    assert made == [os.path.dirname(places.folder), places.folder]
    assert make_ready(places, rename=False) == []
    remove_made(made)
    assert os.listdir(tmp_path) == []


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    made = make_ready(Places.of(tmp_path / "a" / "b"), rename=False)
    (tmp_path / "a" / "file").touch()
    remove_made(made)
    assert os.listdir(tmp_path / "a") == ["file"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("/", "root folder"),
        ("/proc", "is a mount point already"),
        ("{}/file", "is not a folder"),
        ("{}/file/below", r"Not a directory|not a folder|cannot be"),
        ("{}/demo", "demo_real is there already"),
    ],
)
def test_impossible_folders(tmp_path: Path, folder: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "demo_real").mkdir()
    with pytest.raises(MountError, match=message):
        make_ready(Places.of(folder.format(tmp_path)), rename=False)
    assert sorted(os.listdir(tmp_path)) == ["demo_real", "file"]


@pytest.mark.parametrize(
    ("folder", "rename", "message"),
    [
        ("closed", False, "must not be read"),
        ("closed/new", False, "must not be written"),
        ("closed/in", True, "renamed"),
    ],
)
def test_missing_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, rename: bool, message: str
) -> None:
    (tmp_path / "closed" / "in").mkdir(parents=True)
    allowed = os.path.realpath(tmp_path / "closed" / "in")
    monkeypatch.setattr(checks.os, "access", lambda path, _mode: path == allowed)
    with pytest.raises(MountError, match=message):
        make_ready(Places.of(tmp_path / folder), rename=rename)


def test_a_dead_mount_that_is_taken_away_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By fusermount, which watches over a server that was killed: between two looks."""
    mounts = [Mount(1, "0:1", str(tmp_path), mountinfo.TYPE, "scan.h5")]
    monkeypatch.setattr(checks.mountinfo, "find", lambda _: mounts[0] if mounts else None)
    monkeypatch.setattr(checks, "looked", lambda _: mounts.clear() or 0)
    assert make_ready(Places.of(tmp_path), rename=False) == []


def test_rename_removes_a_stale_link(tmp_path: Path) -> None:
    places = Places.of(tmp_path / "demo")
    os.symlink("/proc/4194305/fd/3", places.real)
    make_ready(places, rename=True)
    assert not os.path.lexists(places.real)


def test_those_who_are_inside_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        make_ready(Places.of(tmp_path), rename=False)
        child.communicate(b"\n")
    assert str(child.pid) in caplog.text
