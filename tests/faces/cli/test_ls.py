# SPDX-License-Identifier: MIT
import json
from pathlib import Path

import h5py
import pytest

from fastlegacy.faces.cli.main import main


def test_text(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(scan)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{scan}::/entry/data\n")
    assert "5 x 8 x 6 uint16, chunks 1 x 8 x 6, filters bitshuffle+lz4" in text
    assert "of 480 B (ratio" in text
    assert "frames 4 of 5" in text


def test_json(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--json", str(scan)]) == 0
    (info,) = json.loads(capsys.readouterr().out)
    assert info["url"] == f"{scan}::/entry/data"
    assert info["shape"] == [5, 8, 6]
    assert (info["frames"], info["frames_stored"]) == (5, 4)
    assert info["ratio"] == info["nbytes"] / info["stored_bytes"]


def test_nothing_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["title"] = "nothing"
    assert main(["ls", str(tmp_path / "empty.h5")]) == 1
    assert "no stack of frames in" in capsys.readouterr().err
