# SPDX-License-Identifier: MIT
import json
from pathlib import Path

import h5py
import pytest

from fastlegacy.faces.cli.check import ranges
from fastlegacy.faces.cli.main import main


def damage(scan: Path, frame: int) -> None:
    """Write over the beginning of a frame's chunk."""
    with h5py.File(scan) as file:
        at = file["/entry/data"].id.get_chunk_info_by_coord((frame, 0, 0)).byte_offset
    with open(scan, "r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 8)


def test_all_is_well(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(scan)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == f"{scan}::/entry/data: good, 5 frames, 1 never written"
    assert shown.out.splitlines()[-1].endswith("all is well")
    assert shown.err == ""  # no bar where nobody looks


def test_damage_is_told_by_file_dataset_chunk_and_frame(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(scan, 1)
    damage(scan, 3)
    assert main(["check", "--threads", "2", f"{scan}::/entry/data"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{scan}::/entry/data: FAULTS, 5 frames, 1 never written, 2 damaged: 1, 3"
    assert lines[1].startswith(f"  damaged: {scan}::/entry/data chunk 1 (frames 1): the stored bytes are damaged")
    assert lines[2].startswith(f"  damaged: {scan}::/entry/data chunk 3 (frames 3): ")
    assert lines[-1].endswith("1 of 1 with faults")


def test_json(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(scan, 2)
    (scan.parent / "empty.h5").touch()
    assert main(["check", str(scan.parent), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["good"] is False
    assert told["stacks"][0]["damaged_frames"] == [2]
    assert told["stacks"][0]["damages"][0]["chunk"] == 2
    assert told["unreadable"] == [{"where": str(scan.parent / "empty.h5"), "text": "is not an HDF5 file"}]


def test_nothing_to_check_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 1
    assert "no stack of frames" in capsys.readouterr().err


def test_threads_are_one_at_least(scan: Path) -> None:
    assert main(["check", "--threads", "0", str(scan)]) == 2


def test_numbers_in_runs() -> None:
    assert ranges([]) == ""
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
