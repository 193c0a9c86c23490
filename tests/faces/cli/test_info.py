# SPDX-License-Identifier: MIT
import json
import re
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.faces.cli.main import main
from fastlegacy.faces.cli.unsaid import _OTHERS, _SAID
from fastlegacy.model import Geometry
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.nxmx import nxmx_scan


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
    assert ["motor", "rot", "1", "to", "2.5,", "4", "values", "/1.1/instrument/positioners"] in lines
    assert ["motor", "dty", "3", "/1.1/instrument/positioners"] in lines
    assert main(["info", file, "--json"]) == 0
    known = json.loads(capsys.readouterr().out)["geometry"]
    assert known["step_deg"] == {"value": 0.5, "origin": f"{file}::/1.1/measurement/rot"}
    assert known["motors"]["value"] == {"rot": [1.0, 1.5, 2.0, 2.5], "dty": 3.0}
    assert "beam_x_px" not in known


def test_a_file_that_says_nothing_of_the_geometry(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{scan}::/entry/data"]) == 0
    assert "  nothing is known of the geometry\n" in capsys.readouterr().out


def test_the_mask_of_a_dectris_master(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = counting_frames(4, (20, 30), "u2")
    mask = np.zeros((20, 30), "u4")
    mask[:2] = 1
    url = dectris_series(tmp_path, frames, blocks=(3, 1), detector={"detectorSpecific/pixel_mask": mask})
    assert main(["info", url, "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["mask"]["gaps"] == 60
    assert (info["source"], info["shape"], len(info["files"])) == ("dectris", [4, 20, 30], 3)


# ---------------------------------------------------------------------------------------------------- what is missing

ALL = "distance (--distance), wavelength (--wavelength), direct beam (--x0, --y0), pixel size (--pixelsize), "
ALL += "start angle (--startangle), step angle (--stepangle)"
SAID = {
    "--distance": "140mm",
    "--wavelength": "43.5keV",
    "--x0": "3.5",
    "--y0": "2px",
    "--pixelsize": "75um",
    "--startangle": "0",
    "--stepangle": "0.25",
    "--expotime": "0.1",
    "--saturation": "65000",
}


def missing(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[dict[str, str], dict[str, str]]:
    """What ``info`` says is missing, by the names of formats and of companions."""
    assert main(["info", *map(str, words)]) == 0
    parts: dict[str, dict[str, str]] = {"missing in headers": {}, "missing for companions": {}}
    part = ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  ") and line[2] != " ":
            part = next((name for name in parts if line.strip().startswith(name)), "")
        elif part:
            names, _, text = line.strip().partition(":")
            parts[part] |= dict.fromkeys(names.split(", "), text.strip())
    return parts["missing in headers"], parts["missing for companions"]


def test_what_nobody_said_for_each_format_with_the_options_that_say_it(
    scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    formats, companions = missing(capsys, f"{scan}::/entry/data")
    for name in ("cbf", "smv", "mccd", "sfrm", "esperanto"):
        assert formats[name] == f"{ALL}, exposure (--expotime), saturation (--saturation)"
    for name in ("edf", "edf-stack", "tiff"):
        assert formats[name] == f"{ALL}, exposure (--expotime)"
    assert formats["ge"] == "exposure (--expotime)"
    assert {"flat", "npy", "npy-stack", "raw"}.isdisjoint(formats)
    assert companions == {
        **dict.fromkeys(("crysalis", "xds"), ALL),
        "dials": ALL.partition(", pixel")[0],
        "poni": "distance (--distance), direct beam (--x0, --y0), pixel size (--pixelsize)",
        "mask": "mask (--mask)",
    }


def test_formats_with_equal_lists_are_on_one_line(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{scan}::/entry/data"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert sum(line.startswith("cbf, esperanto, mccd, sfrm, smv:") for line in lines) == 1
    assert sum(line.startswith("crysalis, xds:") for line in lines) == 1


@pytest.mark.parametrize("option", SAID)
def test_what_an_option_says_is_missing_no_more(scan: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for other, value in SAID.items() if other != option for word in (f"{other}={value}",)]
    if option in ("--startangle", "--stepangle"):  # they go together
        given = [word for word in given if "angle=" not in word]
    formats, _ = missing(capsys, f"{scan}::/entry/data", *given)
    assert option in formats["cbf"]
    assert formats["cbf"].count("--") == (2 if "angle" in option else 1)


def test_nothing_is_missing_where_all_is_said(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(scan, "r+") as file:
        file["/entry/instrument/detector/pixel_mask"] = np.zeros((8, 6), "u4")
    words = ["info", f"{scan}::/entry/data", *(word for said in SAID.items() for word in said)]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "  nothing is missing for any format\n" in text
    assert "missing in headers" not in text
    rows = {line.split("  ")[2]: line.split()[-3:] for line in text.splitlines() if line.endswith("command line")}
    assert rows.keys() >= {"distance", "wavelength", "beam x", "beam y", "pixel x", "start", "step", "exposure"}
    assert main([*words, "--json"]) == 0
    unsaid = json.loads(capsys.readouterr().out)["unsaid"]
    assert all(not words for part in unsaid.values() for words in part.values())
    assert {"cbf", "raw", "edf-stack"} <= unsaid["formats"].keys()
    assert {"xds", "poni", "mask"} <= unsaid["companions"].keys()


def test_json_has_what_is_missing_as_a_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = bliss_dataset(tmp_path, {"1.1": counting_frames(4, (20, 30), "u2")}, moved={"rot": [1.0, 1.5, 2.0, 2.5]})
    assert main(["info", file, "--json", "--x0", "4"]) == 0
    unsaid = json.loads(capsys.readouterr().out)["unsaid"]
    assert unsaid["formats"]["edf"] == {
        "distance": ["--distance"],
        "wavelength": ["--wavelength"],
        "direct beam": ["--y0"],
    }
    assert unsaid["formats"]["raw"] == {}
    assert unsaid["companions"]["mask"] == {"mask": ["--mask"]}


def test_angles_one_by_one_have_a_start_but_no_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = bliss_dataset(tmp_path, {"1.1": counting_frames(4, (20, 30), "u2")}, moved={"rot": [1.0, 1.7, 20.0, 20.5]})
    formats, companions = missing(capsys, file)
    assert "step angle (--stepangle)" in formats["tiff"]
    assert "start angle" not in formats["tiff"]
    assert "start angle (--startangle), step angle (--stepangle)" in companions["xds"]


def test_command_line_then_side_file_then_hdf5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = nxmx_scan(tmp_path, counting_frames(4, (20, 30), "u2"))
    side = tmp_path / "fastlegacy.toml"
    side.write_text('[geometry]\ndistance = "140 mm"\nwavelength = "0.5 A"\n[motors]\ndty = 2.5\n')
    words = ["info", url, "--geometry", str(side), "--distance", "141mm", "--motor", "dtz=1", "--json"]
    assert main(words) == 0
    known = json.loads(capsys.readouterr().out)["geometry"]
    assert known["distance_m"] == {"value": 0.141, "origin": "command line"}
    assert known["wavelength_angstrom"] == {"value": 0.5, "origin": side.name}
    file = url.partition("::")[0]
    assert known["exposure_s"] == {"value": 0.004, "origin": f"{file}::/entry/instrument/detector/count_time"}
    assert known["motors"]["value"].keys() == {"phi", "dty", "dtz"}
    assert known["motors"]["origin"] == f"command line, {side.name}, {file}::/entry/sample"


def test_a_value_that_is_not_understood_is_told_before_a_file_is_opened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "nowhere.h5", "--distance", "far"]) == 2
    assert "--distance" in capsys.readouterr().err


def test_many_motors_are_not_all_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    positions = {f"motor{i}": float(i) for i in range(20)}
    file = bliss_dataset(tmp_path, {"1.1": counting_frames(4, (20, 30), "u2")}, positions=positions)
    assert main(["info", file]) == 0
    text = capsys.readouterr().out
    assert re.search(r"motor motor0 +0 +/1\.1", text)
    assert re.search(r"motors +and 8 more \(--json lists them\)", text)


def test_every_value_has_an_option_that_info_takes_too(capsys: pytest.CaptureFixture[str]) -> None:
    names = {field.name for field in fields(Geometry)} - {"origin"}
    assert _SAID.keys() == names
    assert main(["info", "--help"]) == 0
    info = set(re.findall(r"--[a-z0-9-]+", capsys.readouterr().out))
    assert {option for _, option in _SAID.values()} <= info
    assert main(["mount", "--help"]) == 0
    mount = set(re.findall(r"--[a-z0-9-]+", capsys.readouterr().out))
    assert {option for options in _OTHERS.values() for option in options} <= mount
