# SPDX-License-Identifier: MIT
import json
import re
from pathlib import Path

import h5py
import numpy as np
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


def test_the_mask_of_the_detector(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["info", f"{scan}::/entry/data"]
    assert main(words) == 0
    assert re.search("mask +none found\n", capsys.readouterr().out)
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mask"] is None
    with h5py.File(scan, "r+") as file:
        file["/entry/instrument/detector/pixel_mask"] = np.arange(48).reshape(8, 6) % 3
    assert main(words) == 0
    where = f"{scan}::/entry/instrument/detector/pixel_mask"
    assert f"{where}: 16 pixels of gaps, 16 bad ones (67 %)" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mask"] == {"where": where, "gaps": 16, "bad": 16}


def test_a_selection_of_frames(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{scan}?path=/entry/data&slice=1:3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [2, 8, 6]
