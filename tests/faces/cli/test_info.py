# SPDX-License-Identifier: MIT
import json
from pathlib import Path

import pytest

from fastlegacy.faces.cli.main import main


@pytest.mark.parametrize("words", [["{}::/entry/data"], ["{}", "/entry/data"]])
def test_text(scan: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", *(word.format(scan) for word in words)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{scan}::/entry/data\n")
    assert "bitshuffle+lz4" in text
    assert f"{scan}::/entry/data: native, by fastlegacy's own kernels" in text


def test_json(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{scan}::/entry/data", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["decoded"] == [{"dataset": f"{scan}::/entry/data", "by": "kernel"}]
    assert info["files"] == [str(scan)]
    assert info["shape"] == [5, 8, 6]


def test_a_selection_of_frames(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{scan}?path=/entry/data&slice=1:3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [2, 8, 6]
