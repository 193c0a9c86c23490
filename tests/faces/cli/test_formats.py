# SPDX-License-Identifier: MIT
import json

import pytest

from fastlegacy.faces.cli.main import main
from fastlegacy.registry import plugins

LAYOUTS = plugins("fastlegacy.layouts", "LAYOUT")


def test_every_layout_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(LAYOUTS)
    assert all(layout.summary in line for layout, line in zip(LAYOUTS.values(), lines[1:], strict=True))


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found.keys() == LAYOUTS.keys()
    assert found["npy-stack"]["per_frame"] is False
    assert found["edf"]["suffix"] == ".edf"
