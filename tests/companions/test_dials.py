# SPDX-License-Identifier: MIT
"""``dials.phil``, read by a parser for the part of the phil syntax that it is in."""

from collections.abc import Callable
from typing import Any

import pytest

from fastlegacy.companions.dials import COMPANION

Make = Callable[..., Any]


def parsed(scene: Any) -> dict[str, str]:
    """Return full name of a parameter -> its value."""
    assert COMPANION.missing(scene) == ()
    ((name, data),) = COMPANION.files(scene).items()
    assert name == "dials.phil"
    scopes: list[str] = []
    found = {}
    for line in data.decode().splitlines():
        text = line.split("#", 1)[0].strip() if line.startswith("#") else line.strip()
        if text.endswith("{"):
            scopes.append(text[:-1].strip())
        elif text == "}":
            scopes.pop()
        elif text:
            key, value = text.split(" = ")
            found[".".join([*scopes, key])] = value
    assert scopes == []
    return found


def test_it_says_what_the_headers_may_say_wrongly(make_scene: Make) -> None:
    assert parsed(make_scene()) == {
        "input.template": '"lyso_1_####.cbf"',
        "geometry.beam.wavelength": "0.7",
        "geometry.detector.distance": "140",
        "geometry.detector.fast_slow_beam_centre": "100.75 151.25",
        "geometry.scan.oscillation": "10 0.25",
    }


def test_the_beam_counts_from_the_corner_of_the_padded_frame(make_scene: Make) -> None:
    phil = parsed(make_scene(frame_shape=(320, 320), image_at=(2, 32)))
    assert phil["geometry.detector.fast_slow_beam_centre"] == "132.75 153.25"


def test_a_scan_that_goes_back_turns_about_the_opposite_axis(make_scene: Make) -> None:
    phil = parsed(make_scene(step_deg=-0.25))
    assert phil["geometry.scan.oscillation"] == "-10 0.25"
    assert phil["geometry.goniometer.axis"] == "-1 0 0"


@pytest.mark.parametrize("said", [{"step_deg": 0.0}, {"step_deg": None}, {"start_deg": None}])
def test_stills_have_no_oscillation(make_scene: Make, said: dict[str, Any]) -> None:
    assert "geometry.scan.oscillation" not in parsed(make_scene(**said))


@pytest.mark.parametrize(
    "said",
    [{"digits": 1, "count": 10}, {"stem": "a#"}, {"stem": "$a"}, {"stem": 'a"'}, {"stem": "a\nb"}, {"stem": "\udce9"}],
)
def test_names_without_a_template_are_given_by_the_user(make_scene: Make, said: dict[str, Any]) -> None:
    scene = make_scene(**said)
    assert "input.template" not in parsed(scene)
    assert b"give them after dials.phil" in COMPANION.files(scene)["dials.phil"]


def test_all_that_nobody_said_is_named(make_scene: Make) -> None:
    scene = make_scene(layout="edf", distance_m=None, wavelength_angstrom=None, beam_x_px=None)
    assert COMPANION.missing(scene) == ("frames as cbf or smv or mccd", "distance", "wavelength", "direct beam")
