# SPDX-License-Identifier: MIT
"""The list of formats, in a terminal, as JSON and in the documentation."""

import json
import re
from pathlib import Path

import pytest

from fastlegacy.faces.cli.formats import markdown
from fastlegacy.faces.cli.main import main
from fastlegacy.registry import plugins

LAYOUTS = plugins("fastlegacy.layouts", "LAYOUT")
PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_every_format_has_a_line_and_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["formats"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    named = [line.split()[0] for line in text.splitlines() if not line.startswith(" ")]
    assert named == ["format", *LAYOUTS]
    for layout in LAYOUTS.values():
        assert layout.summary in words(text)
        assert all(reader in words(text) for reader in layout.readers)
        assert all(option in words(text) for option in layout.options)


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_format_in_full(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    layout = LAYOUTS[name]
    assert main(["formats", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{name}: {layout.summary}\n")
    for option in layout.options.values():
        assert option.help in text
    assert re.search(r"^  masked pixels +\S", text, re.MULTILINE)


def test_what_cbf_does_to_masked_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    main(["formats", "cbf"])
    text = words(capsys.readouterr().out)
    assert "masked pixels gaps -1, bad pixels -2" in text
    assert "beyond the limits 0 or 2147483645" in text
    assert "md5=no yes or no the header holds the MD5" in text


def test_a_format_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats", "papyrus"]) == 2
    assert "there is no format 'papyrus'; there are cbf, edf" in capsys.readouterr().err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found.keys() == LAYOUTS.keys()
    assert found["npy-stack"]["per_frame"] is False
    assert found["edf"]["suffix"] == ".edf"
    assert (found["cbf"]["encoded"], found["edf"]["encoded"]) == (True, False)
    assert found["cbf"]["options"]["md5"]["default"] is False
    assert found["cbf"]["options"]["size"]["choices"] == ["exact", "constant"]
    assert main(["formats", "cbf", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [found["cbf"]]


def test_the_documentation_is_what_the_formats_say() -> None:
    begin, end = "<!-- begin: fastlegacy formats --markdown -->\n", "<!-- end -->\n"
    text = PAGE.read_text(encoding="utf-8")
    found = text.partition(begin)[2].partition(end)[0]
    expected = markdown(LAYOUTS.values())
    assert found == expected, "put the output of `fastlegacy formats --markdown` between the marks of docs/formats.md"
