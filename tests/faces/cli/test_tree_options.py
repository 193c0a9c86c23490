# SPDX-License-Identifier: MIT
from dataclasses import fields

import pytest

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.main import _joined_negatives, build_parser, main
from fastlegacy.faces.cli.tree_options import geometry
from fastlegacy.model import Geometry


def parsed(*options: str) -> dict[str, object]:
    return geometry(build_parser().parse_args(_joined_negatives(["export", "a.h5", "folder", *options])))


def test_nothing_said_is_nothing_known() -> None:
    assert parsed() == {}


def test_all_options_become_values_of_the_geometry() -> None:
    options = (
        "--startangle -90 --stepangle 0.1 --expotime 50ms --wavelength 43.5keV --x0 1034.5 --y0 1081 "
        "--distance 140 --pixelsize 75 --run 3"
    )
    values = parsed(*options.split())
    assert values == {
        "start_deg": -90.0,
        "step_deg": 0.1,
        "exposure_s": 0.05,
        "wavelength_angstrom": pytest.approx(0.28502114),
        "beam_x_px": 1034.5,
        "beam_y_px": 1081.0,
        "distance_m": 0.14,
        "pixel_x_m": 75e-6,
        "pixel_y_m": 75e-6,
        "run": 3,
    }
    assert values.keys() == {field.name for field in fields(Geometry)} - {"origin"}


@pytest.mark.parametrize("text", ["-90", "-90deg", "-1e-3", "-.5", "-1.570796rad"])
def test_negative_values_with_and_without_units(text: str) -> None:
    assert parsed("--startangle", text, "--stepangle", "1")["start_deg"] < 0  # type: ignore[operator]


@pytest.mark.parametrize("options", [["--distance", "far"], ["--wavelength", "0"], ["--startangle", "1"]])
def test_values_that_are_not_understood(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UrlError, match=options[0]):
        parsed(*options)
    assert main(["export", "nothing.h5", "folder", *options]) == 2
    assert options[0] in capsys.readouterr().err


def test_the_help_says_the_units(capsys: pytest.CaptureFixture[str]) -> None:
    main(["mount", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "a bare number is in mm" in text
    assert "a bare number is in micrometres" in text
    assert "keV" in text
