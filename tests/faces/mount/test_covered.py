# SPDX-License-Identifier: MIT
"""FOLDER_real as a link: made, removed, and never in the place of something else."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import covered as module
from fastlegacy.faces.mount.covered import check_link, covered
from fastlegacy.faces.mount.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "kept").touch()
    return Places.of(tmp_path / "demo")


def test_the_link_leads_to_the_folder(places: Places) -> None:
    with covered(places) as fd:
        assert os.listdir(places.real) == ["kept"]
        assert os.path.samestat(os.stat(fd), os.stat(places.folder))
        with pytest.raises(MountError, match=f"process {os.getpid()} is about to serve"):
            check_link(places)
    assert not os.path.lexists(places.real)


@pytest.mark.parametrize("target", ["/proc/4194305/fd/3", "/proc/1/fd/99999"])
def test_a_stale_link_is_replaced(places: Places, target: str) -> None:
    os.symlink(target, places.real)
    check_link(places)
    with covered(places):
        assert os.readlink(places.real) != target
    assert not os.path.lexists(places.real)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_anything_else_is_not_touched(places: Places, kind: str) -> None:
    make = {"file": Path.touch, "folder": Path.mkdir, "link": lambda path: path.symlink_to("x")}[kind]
    make(Path(places.real))
    with pytest.raises(MountError, match="is there already"):
        check_link(places)
    with pytest.raises(MountError, match="somebody else"), covered(places):
        pytest.fail("it went on")
    assert os.path.lexists(places.real)


def test_without_permission_it_goes_on(
    places: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.os, "symlink", refuse)
    with caplog.at_level(logging.WARNING), covered(places) as fd:
        assert f"/fd/{fd}" in caplog.text
    assert not os.path.lexists(places.real)


def test_a_link_that_was_replaced_meanwhile_stays(places: Places) -> None:
    with covered(places):
        os.unlink(places.real)
        os.symlink("/proc/1/fd/3", places.real)
    assert os.readlink(places.real) == "/proc/1/fd/3"
