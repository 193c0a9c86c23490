# SPDX-License-Identifier: MIT
"""The way by WinFsp, on a Windows that is played: see windows.py beside this file."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from fastlegacy.faces.mount.winfsp import winfsp_options

PROGRAM = Path(__file__).with_name("windows.py")
CASE_INSENSITIVE = 1 << 29

Play = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real file in it."""
    folder = tmp_path_factory.mktemp("windows") / "demo"
    folder.mkdir()
    (folder / "kept").write_text("mine")
    return folder


def play(folder: Path, scenario: str) -> subprocess.CompletedProcess[str]:
    """Mount there; return what the program has printed."""
    command = [sys.executable, "-X", "dev", str(PROGRAM), str(folder), scenario]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def is_as_before(folder: Path) -> bool:
    return os.listdir(folder.parent) == ["demo"] and os.listdir(folder) == ["kept"]


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Any]:
    """What WinFsp saw of a mount in which everything was asked for, and that was ended by Ctrl-C."""
    done = play(folder, "all")
    assert (done.returncode, done.stderr) == (0, "")
    assert is_as_before(folder)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_mount_point_is_free_and_the_journal_is_there(seen: dict[str, Any], folder: Path) -> None:
    assert seen["arguments"][-1] == str(folder)
    assert seen["mount point is free"]
    assert seen["journal"]
    assert seen["ready"]


def test_winfsp_gets_what_it_wants_first(seen: dict[str, Any]) -> None:
    assert seen["wants"] == CASE_INSENSITIVE
    assert seen["first questions"] == [0, 0, -errno.EINVAL]
    assert seen["free"] > 0
    assert {"uid=-1", "gid=-1"} <= set(seen["arguments"][seen["arguments"].index("-o") + 1].split(","))


def test_frames_are_read_by_names_in_capitals(seen: dict[str, Any], served: ModuleType) -> None:
    seconds = served.MTIME_NS // 10**9
    assert seen["stat"] == [0, stat.S_IFREG | 0o444, len(served.content(0)), seconds]
    assert seen["read"] == [True, True]
    assert seen["nothing"] == [-errno.ENOENT] * 4
    assert sorted(seen["names"]) == sorted([".", "..", "kept", *(f"data{n:04d}.img" for n in range(1, 13))])


def test_what_is_saved_is_written_as_it_is(seen: dict[str, Any]) -> None:
    """Line ends and Ctrl-Z too."""
    assert seen["new file"] == [0, 10, 3, 0, 10, 0, 0, True]
    assert seen["again"] == -errno.EEXIST
    assert seen["removed while open"] == [0, 1, -errno.ENOENT]
    assert seen["folders"] == [0, 0, 0]


def test_frames_are_read_only_but_can_be_replaced(seen: dict[str, Any]) -> None:
    assert seen["write into a frame"] == seen["unlink a frame"] == -errno.EROFS
    assert seen["rename"] == [0, 0, True, 0, True]


def test_winfsp_passes_over_who_owns_a_new_file(seen: dict[str, Any]) -> None:
    assert seen["chown"] == -errno.ENOSYS


def test_it_tells_of_itself(seen: dict[str, Any]) -> None:
    assert seen["status"]
    assert seen["calls"]["read"] > 10
    assert seen["errors"] == 0


def test_it_is_ended_by_a_signal_while_nothing_is_asked(folder: Path) -> None:
    assert play(folder, "break").returncode == 0
    assert is_as_before(folder)


def test_a_frame_that_cannot_be_read_is_an_error(folder: Path) -> None:
    done = play(folder, "damaged")
    assert json.loads(done.stdout)["damaged"] == -errno.EIO
    assert json.loads(done.stdout)["errors"] == 1
    assert "this chunk is broken" in done.stderr


def test_what_winfsp_cannot_mount_is_an_error_and_the_folder_has_its_name_back(folder: Path) -> None:
    done = play(folder, "fails")
    assert done.returncode == 1
    assert "MountError" in done.stderr
    assert is_as_before(folder)


def test_after_a_crash_the_next_start_gives_the_folder_its_name_back(folder: Path) -> None:
    done = play(folder, "crash")
    assert json.loads(done.stdout)["listed"] == ["demo", "demo.fastlegacy.json", "demo_real"]
    folder.rmdir()  # WinFsp's mount points go with the process that serves them
    assert os.listdir(folder.with_name("demo_real")) == ["kept"]
    done = play(folder, "break")
    assert done.returncode == 0
    assert "has its name back" in done.stderr
    assert is_as_before(folder)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("C:\\data\\a, scan.h5::/entry/data", "a__scan.h5"),
        ("/data/RAW_DATA", "RAW_DATA"),
        ("x" * 50, "x" * 32),
        ("/", "fastlegacy"),
    ],
)
def test_the_drive_has_the_name_of_what_is_shown(label: str, name: str) -> None:
    assert f"volname={name}" in winfsp_options(label, {})


def test_the_user_has_the_last_word() -> None:
    options = winfsp_options("x", {"volname": "mine", "FileInfoTimeout": "-1", "debug": None})
    assert "volname=mine" in options
    assert "debug" in options
    assert [text for text in options if text.startswith("volname")] == ["volname=mine"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with three frames."""
    path = tmp_path_factory.mktemp("file") / "s.h5"
    with h5py.File(path, "w") as made:
        made.create_dataset("x", data=np.arange(60, dtype="u2").reshape(3, 4, 5), chunks=(1, 4, 5), compression=1)
    return path


def command(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-X", "dev", str(PROGRAM), "command", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_mounts(folder: Path, file: Path) -> None:
    done = command("mount", f"{file}::/x", str(folder), "--format", "npy")
    assert json.loads(done.stdout.splitlines()[-1])["read"] == 128 + 2 * 4 * 5
    assert "0 reads failed" in done.stdout
    assert is_as_before(folder)


def test_what_needs_no_mount_works_too(file: Path, tmp_path: Path) -> None:
    assert command("export", f"{file}::/x", str(tmp_path / "out"), "--format", "edf").returncode == 0
    assert len(list((tmp_path / "out").glob("*.edf"))) == 3
    assert "all is well" in command("check", str(file.parent)).stdout
    assert "3 x 4 x 5" in command("ls", str(file.parent)).stdout


@pytest.mark.parametrize(
    "words",
    [("mounts",), ("umount", "x"), ("set", "x", "a=1"), ("mount", "--background", "a", "b")],
    ids=lambda words: words[0],
)
def test_what_is_not_for_windows_says_so(words: tuple[str, ...]) -> None:
    done = command(*words)
    assert "is not for Windows; " in done.stderr
    assert "Traceback" not in done.stderr


def test_other_users_are_not_for_winfsp_to_say(folder: Path, file: Path) -> None:
    done = command("mount", f"{file}::/x", str(folder), "--format", "npy", "--allow-other")
    assert "--allow-other is not for Windows" in done.stderr
    assert is_as_before(folder)
