# SPDX-License-Identifier: MIT
"""PONI files: the beam is where the user said, by arithmetic and by pyFAI itself where it is installed."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.companions.poni import COMPANION

Make = Callable[..., Any]


def parsed(scene: Any) -> dict[str, Any]:
    (data,) = COMPANION.files(scene).values()
    lines = [line.split(": ", 1) for line in data.decode("ascii").splitlines() if not line.startswith("#")]
    return {key: json.loads(value) if key != "Detector" else value for key, value in lines}


def test_lengths_are_in_metres_and_the_slow_axis_comes_first(make_scene: Make) -> None:
    assert parsed(make_scene()) == {
        "poni_version": 2,
        "Detector": "Detector",
        "Detector_config": {"pixel1": 172e-6, "pixel2": 75e-6, "max_shape": [300, 256]},
        "Distance": 0.14,
        "Poni1": pytest.approx(151.25 * 172e-6, rel=1e-11),
        "Poni2": pytest.approx(100.75 * 75e-6, rel=1e-11),
        "Rot1": 0.0,
        "Rot2": 0.0,
        "Rot3": 0.0,
        "Wavelength": 0.7e-10,
    }


def test_pixels_count_from_the_corner_of_the_padded_frame(make_scene: Make) -> None:
    poni = parsed(make_scene(frame_shape=(320, 320), image_at=(2, 32)))
    assert poni["Poni1"] == pytest.approx(153.25 * 172e-6, rel=1e-11)
    assert poni["Poni2"] == pytest.approx(132.75 * 75e-6, rel=1e-11)
    assert poni["Detector_config"]["max_shape"] == [320, 320]


def test_it_is_named_by_the_stem(make_scene: Make) -> None:
    assert list(COMPANION.files(make_scene(stem="data_"))) == ["data.poni"]


def test_a_wavelength_that_nobody_said_is_left_out(make_scene: Make) -> None:
    scene = make_scene(wavelength_angstrom=None)
    assert COMPANION.missing(scene) == ()
    assert "Wavelength" not in parsed(scene)


def test_distance_beam_and_pixel_size_are_needed(make_scene: Make) -> None:
    scene = make_scene(distance_m=None, beam_y_px=None, pixel_x_m=None)
    assert COMPANION.missing(scene) == ("distance", "direct beam", "pixel size")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(x=st.floats(-500, 5000), y=st.floats(-500, 5000), row=st.integers(0, 50), column=st.integers(0, 50))
def test_pyfai_finds_the_beam_where_it_was_said_to_be(
    make_scene: Make, tmp_path: Path, x: float, y: float, row: int, column: int
) -> None:
    with warnings.catch_warnings():
        # pyFAI and what it imports warn of their own affairs
        warnings.simplefilter("ignore")
        pyFAI = pytest.importorskip("pyFAI")
        scene = make_scene(beam_x_px=x, beam_y_px=y, frame_shape=(400, 400), image_at=(row, column))
        ((name, data),) = COMPANION.files(scene).items()
        (tmp_path / name).write_bytes(data)
        beam = pyFAI.load(str(tmp_path / name)).getFit2D()
    # FIT2D counts from the corner of the first pixel, too
    assert beam["centerX"] == pytest.approx(x + column + 0.5, abs=1e-6)
    assert beam["centerY"] == pytest.approx(y + row + 0.5, abs=1e-6)
    assert beam["directDist"] == pytest.approx(140)
