# SPDX-License-Identifier: MIT
"""fastlegacy.toml: numbers under full names, texts with units under short ones, and what is said of mistakes."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from fastlegacy.errors import UrlError
from fastlegacy.geometry.read import read_geometry
from fastlegacy.model import Geometry

Make = Callable[..., Any]
WITH_UNITS = """
[geometry]
distance = "140 mm"
wavelength = "43.5 keV"
beam_x = "1034.2 px"
beam_y = "1080.7px"
pixel_x = "75 um"
pixel_y = "0.075 mm"
start = "-90 deg"
step = "1.5707963267948966 mrad"
exposure = "100 ms"
period = "0.1 s"
sensor_thickness = "750 um"
threshold = "20 keV"
"""
WITH_NUMBERS = """
[geometry]
distance_m = 0.14
wavelength_angstrom = 0.28502114582344886
beam_x_px = 1034.2
beam_y_px = 1080.7
pixel_x_m = 75e-6
pixel_y_m = 75e-6
start_deg = -90
step_deg = 0.09
exposure_s = 0.1
period_s = 0.1
sensor_thickness_m = 750e-6
threshold_ev = 20000
"""


@pytest.mark.parametrize("text", [WITH_UNITS, WITH_NUMBERS])
def test_the_same_with_units_and_with_numbers(write: Make, text: str) -> None:
    found = read_geometry(write("fastlegacy.toml", text))
    expected = {
        "distance_m": 0.14,
        "wavelength_angstrom": 12.398419843320026 / 43.5,
        "beam_x_px": 1034.2,
        "beam_y_px": 1080.7,
        "pixel_x_m": 75e-6,
        "pixel_y_m": 75e-6,
        "start_deg": -90.0,
        "step_deg": 0.09,
        "exposure_s": 0.1,
        "period_s": 0.1,
        "sensor_thickness_m": 750e-6,
        "threshold_ev": 20000.0,
    }
    assert found.origin == dict.fromkeys(expected, "fastlegacy.toml")
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-12)


def test_texts_whole_numbers_and_series(write: Make) -> None:
    text = """
[geometry]
run = 3
saturation_counts = 65000
detector = "EIGER2 CdTe 4M"
sensor_material = "CdTe"
title = "lysozyme, 2nd crystal"
start_time = 2026-03-01T12:00:00+01:00
angles_deg = [0, 0.1, 0.25]
[motors]
phi = 12.5
dty = [1, 2.5, 3]
[counters]
"mon 1" = [100, 101]
"""
    found = read_geometry(write("my.toml", text))
    assert (found.run, found.saturation_counts) == (3, 65000)
    assert (found.detector, found.sensor_material) == ("EIGER2 CdTe 4M", "CdTe")
    assert found.title == "lysozyme, 2nd crystal"
    assert found.start_time == "2026-03-01T12:00:00+01:00"
    assert found.angles_deg == (0.0, 0.1, 0.25)
    assert (found.start_deg, found.step_deg) == (0.0, 0.125)
    assert found.motors == {"phi": 12.5, "dty": [1.0, 2.5, 3.0]}
    assert found.counters == {"mon 1": [100.0, 101.0]}
    assert found.origin["motors"] == found.origin["counters"] == "my.toml"


@pytest.mark.parametrize("table", ["[geometry]\nangles_deg", "[motors]\nphi", "[counters]\nmon"])
def test_lists_have_a_number_for_each_frame(write: Make, table: str) -> None:
    path = write("a.toml", f"{table} = [1, 2, 3]")
    assert read_geometry(path, frames=3) == read_geometry(path)
    with pytest.raises(UrlError, match=r"a\.toml: (angles_deg|phi|mon): there are 3 numbers, and 4 frames"):
        read_geometry(path, frames=4)


def test_a_time_may_be_a_text(write: Make) -> None:
    path = write("a.toml", '[geometry]\nstart_time = "2026-03-01T12:00:00"')
    assert read_geometry(path).start_time == "2026-03-01T12:00:00"


def test_every_attribute_of_a_geometry_has_a_key(write: Make) -> None:
    with pytest.raises(UrlError) as caught:
        read_geometry(write("a.toml", "[geometry]\nxyz = 1"))
    known = set(caught.value.hint.removeprefix("there are ").split(", "))
    assert {field.name for field in fields(Geometry)} - known == {"motors", "counters", "origin"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[geometry]\ndistnace = "140 mm"',
            r"\[geometry\] has no key 'distnace'; did you mean 'distance'\? There are ",
        ),
        ("[geometrie]\nrun = 1", r"the file has no key 'geometrie'; did you mean 'geometry'\?"),
        ("distance_m = 0.14", r"distance_m: it stands outside of a table; write \[geometry\]"),
        ("geometry = 3", r"geometry: this is the name of a table"),
        ("[geometry]\ndistance = 140", r"distance: 140 has no unit; write distance_m = "),
        ('[geometry]\ndistance = "140"', r"distance: '140' has no unit"),
        ('[geometry]\ndistance_m = "140"', r"distance_m: '140' has no unit"),
        ('[geometry]\ndistance = "140 parsec"', r"distance: '140 parsec' is not understood; .*mm"),
        ('[geometry]\ndistance = "-1 mm"', r"distance: '-1 mm' is out of range"),
        ("[geometry]\ndistance_m = -1.0", r"distance_m: -1\.0 is out of range"),
        ("[geometry]\ndistance_m = nan", r"distance_m: nan is not understood"),
        ("[geometry]\ndistance_m = true", r"distance_m: True is not understood"),
        ('[geometry]\ndistance_m = 1.0\ndistance = "1 m"', r"distance: the value of distance_m stands there twice"),
        ("[geometry]\nstart_deg = 1.0", r"start_deg and step_deg: one of them"),
        ("[geometry]\nbeam_y_px = 1.0", r"beam_x_px and beam_y_px: one of them"),
        ("[geometry]\nrun = 1.5", r"run: 1\.5 is not understood"),
        ("[geometry]\nrun = true", r"run: True is not understood"),
        ("[geometry]\nrun = -1", r"run: -1 is not understood"),
        ("[geometry]\ntitle = 5", r"title: 5 is no text"),
        ('[geometry]\ntitle = " "', r"title: ' ' is no text"),
        ('[geometry]\nstart_time = "noon"', r"start_time: 'noon' is not understood; .*ISO 8601"),
        ("[geometry]\nangles_deg = 5", r"angles_deg: this is no list"),
        ('[geometry]\nangles_deg = [0, "x"]', r"angles_deg: this is no list of numbers"),
        ("[geometry]\nangles_deg = [5]\nstart_deg = 5\nstep_deg = 1", r"angles_deg: start and step say the same"),
        ("[motors]\nphi = []", r"motors\.phi: this is no list of numbers"),
        ('[motors]\nphi = "/1.1/phi"', r"motors\.phi: '/1\.1/phi' is not understood"),
        ("[geometry]\nrun = = 1", r"this is no TOML: .*line 2"),
        ("[geometry]", r"the file says nothing of the geometry"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(write: Make, text: str, message: str) -> None:
    with pytest.raises(UrlError, match=rf"fastlegacy\.toml: {message}") as caught:
        read_geometry(write("fastlegacy.toml", text))
    assert caught.value.hint


def test_bytes_that_are_no_text(write: Make) -> None:
    with pytest.raises(UrlError, match="this is no TOML"):
        read_geometry(write("fastlegacy.toml", b"\xff\xfe\x00"))
