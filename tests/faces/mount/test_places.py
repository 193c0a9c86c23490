# SPDX-License-Identifier: MIT
"""Paths beside a mount, and whether processes live."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy.faces.mount import places as places_module
from fastlegacy.faces.mount.places import Places, is_alive, is_dead_mount, server_pid_of_link, started_at


@pytest.mark.parametrize("typed", ["demo", "demo/", "./demo//", "link", "link/", "../{}/demo"])
def test_however_the_folder_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "link").symlink_to("demo")
    monkeypatch.chdir(tmp_path)
    places = Places.of(typed.format(tmp_path.name))
    folder = os.path.realpath(tmp_path / "demo")
    assert places == Places(folder, f"{folder}_real", f"{folder}.fastlegacy.json")


@pytest.mark.parametrize(
    ("text", "pid"), [("/proc/123/fd/4", 123), ("/proc/self/fd/4", None), ("/proc/1/fd/4/x", None), ("elsewhere", None)]
)
def test_server_pid_of_link(tmp_path: Path, text: str, pid: int | None) -> None:
    (tmp_path / "link").symlink_to(text)
    assert server_pid_of_link(str(tmp_path / "link")) == pid
    assert server_pid_of_link(str(tmp_path / "nothing")) is None


def test_processes() -> None:
    mine = started_at(os.getpid())
    assert is_alive(os.getpid())
    assert is_alive(os.getpid(), mine)
    assert not is_alive(os.getpid(), (mine or 0) + 1), "a later process with the same number"
    child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(child.pid), "a zombie"
    child.wait()
    assert not is_alive(child.pid)


@pytest.mark.parametrize(("code", "dead"), [(errno.ENOTCONN, True), (errno.ECONNABORTED, True), (errno.EACCES, False)])
def test_which_errors_are_those_of_a_dead_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, dead: bool
) -> None:
    def fail(_path: str) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(places_module.os, "statvfs", fail)
    assert is_dead_mount(str(tmp_path)) == dead


def test_a_plain_folder_is_no_dead_mount(tmp_path: Path) -> None:
    assert not is_dead_mount(str(tmp_path))
    assert not is_dead_mount(str(tmp_path / "nothing"))
