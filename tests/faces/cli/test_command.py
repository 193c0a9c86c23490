# SPDX-License-Identifier: MIT
import json
from pathlib import Path
from types import MappingProxyType

import pytest

from fastlegacy.faces.cli.command import print_json, print_table


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("a", "bbb", "c"), ("aaaa", "b", "cc")])
    assert capsys.readouterr().out == "a     bbb  c\naaaa  b    cc\n"


def test_an_empty_table_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([])
    assert capsys.readouterr().out == ""


def test_json_of_what_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("/x"), "map": MappingProxyType({"a": (1, 2)})})
    assert json.loads(capsys.readouterr().out) == {"path": "/x", "map": {"a": [1, 2]}}
