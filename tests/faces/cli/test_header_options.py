# SPDX-License-Identifier: MIT
"""What headers tell, from words: units, texts, motors and counters."""

from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.header_options import headers
from fastlegacy.faces.cli.main import _joined_negatives, build_parser, main
from fastlegacy.faces.headers import with_values_of_frames
from fastlegacy.faces.library import open as open_stack
from fastlegacy.faces.library import tree as make_tree
from fastlegacy.model import Geometry
from fastlegacy.testing.files import write_stack


def parsed(*options: str) -> dict[str, object]:
    return headers(build_parser().parse_args(_joined_negatives(["export", "a.h5", "folder", *options])))


def test_nothing_said_is_nothing_known() -> None:
    assert parsed() == {}


def test_all_options_become_values_of_the_geometry() -> None:
    options = (
        "--startangle -90 --stepangle 0.1 --expotime 50ms --period 0.06 --wavelength 43.5keV --x0 1034.5 --y0 1081 "
        "--distance 140 --pixelsize 75 --run 3 --detector Eiger2 --sensor CdTe --thickness 750 --saturation 90000 "
        "--threshold 21.75keV --title sucrose --start-time 2026-03-01T12:00:00+01:00 --motor omega=-3 --motor chi=1e-1 "
        "--counter monitor=7"
    )
    values = parsed(*options.split())
    assert values == {
        "start_deg": -90.0,
        "step_deg": 0.1,
        "exposure_s": 0.05,
        "period_s": 0.06,
        "wavelength_angstrom": pytest.approx(0.28502114),
        "beam_x_px": 1034.5,
        "beam_y_px": 1081.0,
        "distance_m": 0.14,
        "pixel_x_m": 75e-6,
        "pixel_y_m": 75e-6,
        "run": 3,
        "detector": "Eiger2",
        "sensor_material": "CdTe",
        "sensor_thickness_m": 750e-6,
        "saturation_counts": 90000,
        "threshold_ev": 21750.0,
        "title": "sucrose",
        "start_time": "2026-03-01T12:00:00+01:00",
        "motors": {"omega": -3.0, "chi": 0.1},
        "counters": {"monitor": 7.0},
    }
    assert values.keys() | parsed("--angles", "/x").keys() == {field.name for field in fields(Geometry)} - {"origin"}


@pytest.mark.parametrize("text", ["-90", "-90deg", "-1e-3", "-.5", "-1.570796rad"])
def test_negative_values_with_and_without_units(text: str) -> None:
    assert parsed("--startangle", text, "--stepangle", "1")["start_deg"] < 0  # type: ignore[operator]


def test_bare_numbers_have_the_unit_that_the_help_says() -> None:
    assert parsed("--threshold", "8000")["threshold_ev"] == 8000.0
    assert parsed("--thickness", "0.45mm")["sensor_thickness_m"] == pytest.approx(450e-6)


@pytest.mark.parametrize(
    "options",
    [
        ["--distance", "far"],
        ["--wavelength", "0"],
        ["--startangle", "1"],
        ["--threshold", "-5"],
        ["--threshold", "5mm"],
        ["--saturation", "1e5"],
        ["--saturation", "-1"],
        ["--run", "two"],
        ["--start-time", "yesterday"],
        ["--title", " "],
        ["--motor", "omega"],
        ["--motor", "=3"],
        ["--counter", "mon="],
        ["--counter", "mon=nan"],
    ],
)
def test_values_that_are_not_understood(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UrlError, match=options[0]):
        parsed(*options)
    assert main(["export", "nothing.h5", "folder", *options]) == 2
    assert options[0] in capsys.readouterr().err


def test_paths_become_numbers_of_the_file(scan: Path) -> None:
    with h5py.File(scan, "r+") as file:
        file["/entry/rot"] = np.arange(5) * 0.1
        file["/entry/temperature"] = 290
    values = parsed("--motor", "rot=/entry/rot", "--motor", "x=2", "--counter", "T=entry/temperature", "--run", "1")
    with open_stack(scan) as stack:
        assert with_values_of_frames(values, stack) == {
            "run": 1,
            "motors": {"rot": [float(value) for value in np.arange(5) * 0.1], "x": 2.0},
            "counters": {"T": 290.0},
        }
    with open_stack(f"{scan}?path=/entry/data&slice=1:3") as stack:
        assert with_values_of_frames(values, stack)["motors"]["rot"] == [0.1, 0.2]


def test_a_path_that_leads_nowhere_says_which_option(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(scan, "r+") as file:
        file["/entry/short"] = np.arange(4)
    for value, says in [
        ("/entry/nothing", "there is no 'nothing'"),
        ("/entry/short", "has 4 numbers, and the stack 5"),
    ]:
        assert main(["export", f"{scan}::/entry/data", "folder", "--motor", f"rot={value}"]) == 2
        text = capsys.readouterr().err
        assert "--motor rot: " in text
        assert says in text


def test_the_help_says_the_units(capsys: pytest.CaptureFixture[str]) -> None:
    main(["mount", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "a bare number is in mm" in text
    assert "a bare number is in micrometres" in text
    assert "a bare number is in eV" in text
    assert "keV" in text


def test_angles_of_each_frame_come_from_the_file(tmp_path: Path) -> None:
    url = write_stack(tmp_path / "scan.h5", np.zeros((3, 4, 5), "u2"))
    with h5py.File(tmp_path / "scan.h5", "a") as h5:
        h5["rot"] = [10.0, 10.5, 11.5]
    with open_stack(url) as stack:
        values = with_values_of_frames(parsed("--angles", "/rot"), stack)
        assert values == {"angles_deg": (10.0, 10.5, 11.5), "start_deg": 10.0, "step_deg": 0.75}
        tree = make_tree(stack, "smv", **values)
    assert [b"OSC_START=   10.500000" in file.read() for file in tree.values()] == [False, True, False]
    with pytest.raises(UrlError, match="exclude"):
        parsed("--angles", "/rot", "--startangle", "0", "--stepangle", "1")


def test_a_side_file_goes_over_the_hdf5_file_and_under_the_options(tmp_path: Path) -> None:
    url = write_stack(tmp_path / "scan.h5", np.zeros((3, 4, 5), "u2"))
    (tmp_path / "fastlegacy.toml").write_text('[geometry]\ndistance = "140 mm"\nwavelength = "43.5 keV"\n')
    words = ["export", url, f"{tmp_path}/out", "--format", "cbf", "-q"]
    assert main([*words, "--geometry", f"{tmp_path}/fastlegacy.toml", "--distance", "141mm"]) == 0
    text = (tmp_path / "out" / "data0001.cbf").read_bytes()
    assert b"# Detector_distance 0.1410 m" in text
    assert b"# Wavelength 0.28502" in text
    assert main([*words, "--geometry", f"{tmp_path}/nothing.poni"]) == 1
