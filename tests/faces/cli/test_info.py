# SPDX-License-Identifier: MIT
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.faces.cli.main import main
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.frames import counting_frames


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


def test_the_geometry_with_its_units_and_origins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = counting_frames(4, (20, 30), "u2")
    file = bliss_dataset(tmp_path, {"1.1": frames}, moved={"rot": [1.0, 1.5, 2.0, 2.5]}, positions={"dty": 3.0})
    assert main(["info", file]) == 0
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    lima = f"{tmp_path}/scan0001/eiger_0000.h5::/entry_0000/ESRF-ID11/eiger/detector_information"
    assert re.search("found as +bliss: scan 1.1, detector eiger, a scan of bliss\n", text)
    assert ["start", "1", "deg", "/1.1/measurement/rot"] in lines
    assert ["angles", "1", "to", "2.5", "deg,", "4", "values", "/1.1/measurement/rot"] in lines
    assert ["pixel", "x", "7.5e-05", "m", f"{lima}/pixel_size/xsize"] in lines
    assert ["motors", "2", "(rot,", "dty)", "/1.1/instrument/positioners"] in lines
    assert main(["info", file, "--json"]) == 0
    known = json.loads(capsys.readouterr().out)["geometry"]
    assert known["step_deg"] == {"value": 0.5, "origin": f"{file}::/1.1/measurement/rot"}
    assert known["motors"]["value"] == {"rot": [1.0, 1.5, 2.0, 2.5], "dty": 3.0}
    assert "beam_x_px" not in known


def test_a_file_that_says_nothing_of_the_geometry(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{scan}::/entry/data"]) == 0
    assert "the file says nothing of the geometry" in capsys.readouterr().out


def test_the_mask_of_a_dectris_master(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = counting_frames(4, (20, 30), "u2")
    mask = np.zeros((20, 30), "u4")
    mask[:2] = 1
    url = dectris_series(tmp_path, frames, blocks=(3, 1), detector={"detectorSpecific/pixel_mask": mask})
    assert main(["info", url, "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["mask"]["gaps"] == 60
    assert (info["source"], info["shape"], len(info["files"])) == ("dectris", [4, 20, 30], 3)
