# SPDX-License-Identifier: MIT
"""``fastlegacy set``: its words and what it prints. What it does to a mount is tested with real mounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.errors import MountError, UrlError
from fastlegacy.faces.cli.main import main
from fastlegacy.faces.mount import ask as ask_module


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the mount is asked for; under ``answer`` or ``error`` what comes back."""
    found: dict[str, Any] = {"answer": []}

    def ask(path: str, what: str, **more: Any) -> Any:
        found.update(path=path, what=what, **more)
        if "error" in found:
            raise found["error"]
        return found["answer"]

    monkeypatch.setattr(ask_module, "ask", ask)
    return found


def test_texts_reach_the_mount_as_they_are(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    asked["answer"] = ["a: distance 0.14 m -> 0.141 m", "a: title -> x = y"]
    assert main(["set", "/m/a", "distance=141mm", "beam=1024.5,1022", "startangle=-90deg", "title=x = y", "x0="]) == 0
    assert (asked["path"], asked["what"]) == ("/m/a", "set")
    wanted = {"distance": "141mm", "beam": "1024.5,1022", "startangle": "-90deg", "title": "x = y", "x0": ""}
    assert asked["values"] == wanted
    assert capsys.readouterr().out == "a: distance 0.14 m -> 0.141 m\na: title -> x = y\n"


def test_changes_as_json(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    asked["answer"] = ["one"]
    assert main(["set", "--json", "/m", "distance=1"]) == 0
    assert json.loads(capsys.readouterr().out) == {"changes": ["one"]}


def test_it_says_that_nothing_was_to_be_changed(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", "/m", "distance=1"]) == 0
    assert capsys.readouterr().out == "nothing was to be changed\n"


def test_without_values_it_prints_a_table(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    asked["answer"] = [["", "distance", "141 mm", "set"], ["scan/1.1", "beam", "1024.5,1022 px", "scan.h5::/entry"]]
    assert main(["set", "/m"]) == 0
    assert asked["what"] == "headers"
    assert capsys.readouterr().out == (
        ".         distance  141 mm          set\nscan/1.1  beam      1024.5,1022 px  scan.h5::/entry\n"
    )
    assert main(["set", "/m", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == {"folder": "", "name": "distance", "value": "141 mm", "origin": "set"}
    assert second["folder"] == "scan/1.1"


def test_without_any_value_it_says_so(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", "/m"]) == 0
    assert capsys.readouterr().out == "no header of this folder has a value\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UrlError("distanze is no value of a header", hint="there are distance, beam"), 2),
        (MountError("the mount on /m belongs to the user eva", hint="ask that user, or root"), 1),
    ],
)
def test_what_the_mount_says_is_one_sentence(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    asked["error"] = error
    assert main(["set", "/m", "distanze=1"]) == code
    assert capsys.readouterr().err == f"fastlegacy: {error}\n"


def test_a_folder_that_is_not_in_a_mount(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", str(tmp_path), "distance=1"]) == 1
    text = capsys.readouterr().err
    assert text.startswith(f"fastlegacy: {tmp_path} is not in a mount; mounts of fastlegacy: ")
    assert text.count("\n") == 1
