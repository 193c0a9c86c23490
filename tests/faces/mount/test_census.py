# SPDX-License-Identifier: MIT
"""The list of all mounts: those that are served, that are dead, that hang, and those of others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.faces.cli.main import main
from fastlegacy.faces.mount import census as module
from fastlegacy.faces.mount import mountinfo
from fastlegacy.faces.mount.census import State, census
from fastlegacy.faces.mount.figures import Figures
from fastlegacy.faces.mount.mountinfo import Mount

Serve = Callable[..., Any]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no mount that hangs."""
    monkeypatch.setattr(module, "_ANSWER_S", 100)
    monkeypatch.setattr(module, "_LOOK_S", 100)


def found(folder: Path) -> Any:
    where = os.path.join(os.path.realpath(folder.parent), folder.name)  # the mount itself may hang
    (only,) = (each for each in census() if each.folder == where)
    return only


@pytest.mark.fuse
def test_what_a_served_mount_says(serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = time.monotonic()
    mount = serve()
    folder = tmp_path / "demo"
    size = len((folder / "data0001.img").read_bytes())
    only = found(folder)
    assert (only.state, only.pid, only.user) == (
        State.SERVED,
        mount.process.pid,
        "root" if os.geteuid() == 0 else only.user,
    )
    assert only.source == "/data/a, scan.h5::/entry/data"
    assert (only.figures.files, only.figures.read_bytes, only.figures.errors) == (1, size, 0)
    assert 0 < only.figures.seconds <= time.monotonic() - before
    assert found(folder).figures.seconds > only.figures.seconds
    since = datetime.fromisoformat(only.since)
    assert 0 <= (datetime.now(UTC) - since).total_seconds() <= time.monotonic() - before + 2, "whole seconds"
    assert main(["mounts", "--stats"]) == 0
    text = capsys.readouterr().out
    assert f"{folder}: 1 file opened, " in text
    assert only.source in text
    assert main(["mounts", "--json"]) == 0
    (plain,) = (each for each in json.loads(capsys.readouterr().out) if each["folder"] == str(folder))
    assert plain["figures"]["read_bytes"] == size
    mount.interrupt()
    assert [each for each in census() if each.folder == str(folder)] == []


@pytest.mark.fuse
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting without fusermount is for root")
def test_a_dead_mount_is_shown_with_what_to_do(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mount = serve(environment={"PATH": "/nonexistent"})
    mount.process.kill()
    mount.process.wait()
    folder = tmp_path / "demo"
    assert found(folder).state == State.DEAD
    assert main(["mounts"]) == 0
    assert f"{folder}: fastlegacy umount {folder}; nothing is lost" in capsys.readouterr().out
    assert main(["umount", str(folder)]) == 0
    assert mountinfo.find(str(folder)) is None


@pytest.mark.fuse
def test_a_mount_that_hangs_keeps_nobody_waiting_for_long(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = serve()
    monkeypatch.setattr(module, "_ANSWER_S", 0.2)
    monkeypatch.setattr(module, "_LOOK_S", 0.2)
    with mount.stopped():
        only = found(tmp_path / "demo")
    assert only.state == State.SILENT
    assert "it hangs" in only.advice
    assert only.pid == mount.process.pid, "by its link to the real folder"
    mount.interrupt()


@pytest.mark.fuse
def test_a_mount_that_cannot_be_asked_is_shown(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mount = serve(environment={"FASTLEGACY_RUN": str(tmp_path_factory.mktemp("run"))})
    only = found(tmp_path / "demo")
    assert only.state == State.SILENT
    assert "it works" in only.advice
    mount.interrupt()


def test_a_mount_of_another_user_is_shown_and_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ours", lambda: [Mount(1, "0:1", "/nowhere", mountinfo.TYPE, "scan.h5")])
    monkeypatch.setattr(module, "owner_of", lambda _: 4_000_000)
    monkeypatch.setattr(module.os, "geteuid", lambda: 1)
    (only,) = census()
    assert (only.user, only.state, only.advice) == ("4000000", State.OF_ANOTHER_USER, "ask 4000000, or root")
    assert only.figures is None


def test_nothing_is_mounted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "ours", list)
    assert main(["mounts"]) == 0
    assert capsys.readouterr().out == "nothing is mounted by fastlegacy\n"


def test_figures_of_nothing() -> None:
    assert Figures.of({}) == Figures(0, 0, 0, 0, 0, 0, 0)


@pytest.mark.fuse
def test_lazy_end_by_the_command(serve: Serve, tmp_path: Path) -> None:
    mount = serve()
    folder = tmp_path / "demo"
    with open(folder / "data0001.img", "rb"):
        assert main(["umount", str(folder)]) == 1
    assert main(["umount", "--lazy", str(folder)]) == 0
    mount.end()
    assert mountinfo.find(str(folder)) is None
