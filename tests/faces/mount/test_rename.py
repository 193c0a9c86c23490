# SPDX-License-Identifier: MIT
"""``--rename``: whatever step a crash comes after, the folder gets its name back and nothing is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import rename
from fastlegacy.faces.mount.places import Places
from fastlegacy.faces.mount.rename import moved_away, recover, renamed, server_pid_of_journal


@pytest.fixture
def places(tmp_path: Path) -> Places:
    folder = tmp_path / "demo"
    folder.mkdir(mode=0o750)
    (folder / "kept").write_text("data")
    return Places.of(folder)


def is_as_before(places: Places) -> bool:
    above = os.path.dirname(places.folder)
    return os.listdir(above) == ["demo"] and os.listdir(places.folder) == ["kept"]


def write_journal(places: Places, **changes: object) -> None:
    found = os.stat(places.folder)
    facts = {
        "pid": 2**22 + 1,  # more than Linux ever gives
        "started": 1,
        "host": rename.socket.gethostname(),
        "folder": places.folder,
        "real": places.real,
        "device": found.st_dev,
        "inode": found.st_ino,
        "time": "then",
    }
    Path(places.journal).write_text(json.dumps(facts | changes))


def test_there_and_back(places: Places) -> None:
    with renamed(places) as fd:
        assert os.listdir(places.real) == ["kept"]
        assert os.listdir(places.folder) == []
        assert os.stat(places.folder).st_mode == os.stat(places.real).st_mode
        assert os.stat(fd).st_ino == os.stat(places.real).st_ino
        assert server_pid_of_journal(places.journal) == os.getpid()
        with pytest.raises(MountError, match="by process"):
            recover(places)
    assert is_as_before(places)
    assert not recover(places)


def test_an_error_inside(places: Places) -> None:
    with pytest.raises(ZeroDivisionError), renamed(places):
        raise ZeroDivisionError
    assert is_as_before(places)


STEPS: dict[str, Callable[[Places], None]] = {
    "journal": lambda _: None,
    "journal, rename": lambda places: os.rename(places.folder, places.real),
    "journal, rename, mkdir": lambda places: (os.rename(places.folder, places.real), os.mkdir(places.folder))[0],
}


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_after_each_step(places: Places, step: str) -> None:
    write_journal(places)
    STEPS[step](places)
    assert recover(places)
    assert is_as_before(places)


def test_files_that_came_into_the_mount_point_are_not_lost(places: Places) -> None:
    write_journal(places)
    os.rename(places.folder, places.real)
    os.mkdir(places.folder)
    stray = Path(places.folder, "stray")
    stray.write_text("x")
    with pytest.raises(MountError, match="move what is in it"):
        recover(places)
    assert stray.exists()
    stray.rename(Path(places.real, "stray"))
    assert recover(places)
    assert sorted(os.listdir(places.folder)) == ["kept", "stray"]


def test_a_real_folder_that_is_gone(places: Places, tmp_path: Path) -> None:
    write_journal(places)
    os.rename(places.folder, tmp_path / "elsewhere")
    os.mkdir(places.folder)
    with pytest.raises(MountError, match=r"not at .*_real any more"):
        recover(places)
    assert os.path.isdir(places.folder)
    assert os.path.exists(places.journal)


def test_another_machine(places: Places) -> None:
    write_journal(places, host="somewhere.else")
    with pytest.raises(MountError, match=r"by the machine somewhere\.else"):
        recover(places)
    assert server_pid_of_journal(places.journal) is None


@pytest.mark.parametrize("text", ["", "{}", "not json", "[1]"])
def test_a_damaged_journal(places: Places, text: str) -> None:
    Path(places.journal).write_text(text)
    with pytest.raises(MountError, match="damaged"):
        recover(places)
    assert server_pid_of_journal(places.journal) is None


def test_a_journal_that_cannot_be_written(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rename.os, "fsync", full)
    with pytest.raises(MountError, match="No space left"), renamed(places):
        pytest.fail("it went on")
    assert is_as_before(places)


def test_a_folder_that_cannot_be_renamed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(rename.os, "rename", busy)
    with pytest.raises(MountError, match="without --rename"), renamed(places):
        pytest.fail("it went on")
    assert is_as_before(places)


def test_two_at_once(places: Places) -> None:
    with renamed(places), pytest.raises(MountError, match="journal cannot be written"), renamed(places):
        pytest.fail("it went on")
    assert is_as_before(places)


def test_without_a_mount_point(places: Places) -> None:
    """As WinFsp wants it."""
    with moved_away(places) as real:
        assert real == places.real
        assert os.listdir(real) == ["kept"]
        assert not os.path.lexists(places.folder)
        assert server_pid_of_journal(places.journal) == os.getpid()
    assert is_as_before(places)


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_mount_point_that_stays_is_removed_if_it_is_empty(places: Places, left_behind: bool) -> None:
    with moved_away(places):
        if left_behind:
            os.mkdir(places.folder)
    assert is_as_before(places)


def test_a_folder_that_is_in_use_keeps_its_name(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_use(*_paths: str) -> None:
        raise PermissionError(13, "it is used by another process")

    monkeypatch.setattr(rename.os, "rename", in_use)
    monkeypatch.setattr(rename, "started_at", lambda _pid: 1)
    monkeypatch.setattr(rename.sys, "platform", "win32")
    with pytest.raises(MountError, match=r"used by another process.*HDF5 files"), moved_away(places):
        pytest.fail("it was not renamed")
    assert is_as_before(places)


def test_a_folder_that_is_in_use_gets_its_name_back_at_the_next_start(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = os.rename
    with pytest.raises(MountError, match="cannot be renamed back"), moved_away(places):
        monkeypatch.setattr(rename.os, "rename", lambda *paths: os.listdir(os.path.join(*paths)))
    monkeypatch.setattr(rename.os, "rename", move)
    write_dead = json.loads(Path(places.journal).read_text()) | {"pid": 2**22 + 1}
    Path(places.journal).write_text(json.dumps(write_dead))
    assert recover(places)
    assert is_as_before(places)
