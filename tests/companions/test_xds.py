# SPDX-License-Identifier: MIT
"""XDS.INP, read by a parser that follows the rules of its documentation."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlegacy.companions.xds import COMPANION

Make = Callable[..., Any]

NOTHING = dict.fromkeys(("distance_m", "wavelength_angstrom", "beam_x_px", "pixel_y_m", "start_deg", "step_deg"))


def parsed(scene: Any) -> dict[str, list[str]]:
    """Return keyword -> values; a keyword ends with its equal sign, and a comment begins with an exclamation mark."""
    assert COMPANION.missing(scene) == ()
    ((name, data),) = COMPANION.files(scene).items()
    assert name == "XDS.INP"
    found: dict[str, list[str]] = {}
    for line in data.decode().splitlines():
        words = re.split(r"([^\s=]+=)", line.split("!", 1)[0].strip())
        assert words[0] == ""
        for keyword, value in zip(words[1::2], words[2::2], strict=True):
            assert value.strip()
            found.setdefault(keyword, []).append(" ".join(value.split()))
    return found


def value(scene: Any, keyword: str) -> str:
    (only,) = parsed(scene)[f"{keyword}="]
    return only


def test_it_says_what_xds_has_to_know(make_scene: Make) -> None:
    assert {keyword: values for keyword, (*values,) in parsed(make_scene()).items()} == {
        "JOB=": ["XYCORR INIT COLSPOT IDXREF DEFPIX INTEGRATE CORRECT"],
        "NAME_TEMPLATE_OF_DATA_FRAMES=": ["lyso_1_????.cbf"],
        "DATA_RANGE=": ["1 5"],
        "SPOT_RANGE=": ["1 3"],
        "STARTING_FRAME=": ["1"],
        "STARTING_ANGLE=": ["10"],
        "OSCILLATION_RANGE=": ["0.25"],
        "X-RAY_WAVELENGTH=": ["0.7"],
        "DETECTOR_DISTANCE=": ["140"],
        "ORGX=": ["101.25"],
        "ORGY=": ["151.75"],
        "DETECTOR=": ["PILATUS"],
        "MINIMUM_VALID_PIXEL_VALUE=": ["0"],
        "OVERLOAD=": ["65534"],
        "NX=": ["256"],
        "NY=": ["300"],
        "QX=": ["0.075"],
        "QY=": ["0.172"],
        "ROTATION_AXIS=": ["1 0 0"],
        "INCIDENT_BEAM_DIRECTION=": ["0 0 1"],
        "DIRECTION_OF_DETECTOR_X-AXIS=": ["1 0 0"],
        "DIRECTION_OF_DETECTOR_Y-AXIS=": ["0 1 0"],
        "FRACTION_OF_POLARIZATION=": ["0.99"],
        "POLARIZATION_PLANE_NORMAL=": ["0 1 0"],
        "SPACE_GROUP_NUMBER=": ["0"],
    }


def test_the_beam_counts_from_the_corner_of_the_padded_frame(make_scene: Make) -> None:
    scene = make_scene(frame_shape=(320, 320), image_at=(2, 32))
    assert (value(scene, "ORGX"), value(scene, "ORGY")) == ("133.25", "153.75")
    assert (value(scene, "NX"), value(scene, "NY")) == ("320", "320")


def test_a_scan_that_goes_back_turns_about_the_opposite_axis(make_scene: Make) -> None:
    scene = make_scene(step_deg=-0.5)
    assert value(scene, "ROTATION_AXIS") == "-1 0 0"
    assert value(scene, "STARTING_ANGLE") == "-10"
    assert value(scene, "OSCILLATION_RANGE") == "0.5"


def test_file_0_is_left_out_because_images_count_from_1(make_scene: Make) -> None:
    scene = make_scene(first=0)
    assert value(scene, "DATA_RANGE") == "1 4"
    assert value(scene, "STARTING_FRAME") == "1"
    assert value(scene, "STARTING_ANGLE") == "10.25"
    assert COMPANION.missing(make_scene(first=0, count=1)) == ("numbers from 1 on",)


@pytest.mark.parametrize(
    ("layout", "detector", "expected"),
    [
        ("cbf", None, "PILATUS"),
        ("cbf", "Dectris EIGER2 CdTe 4M, E-08-0000", "EIGER"),
        ("cbf", "Eiger", "EIGER"),
        ("smv", "Dectris EIGER2 CdTe 4M, E-08-0000", "ADSC"),
        ("mccd", None, "CCDCHESS"),
    ],
)
def test_the_detector_follows_from_the_format(
    make_scene: Make, layout: str, detector: str | None, expected: str
) -> None:
    assert value(make_scene(layout=layout, detector=detector), "DETECTOR") == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"dtype": "<u2"}, 65534),
        ({"dtype": "<u4"}, 2**30 - 2),
        ({"dtype": "<i4"}, 2**30 - 2),
        ({"dtype": "<i2"}, 32766),
        ({"dtype": "|u1"}, 254),
        ({"dtype": "<f4"}, 2**30 - 2),
        ({"dtype": "<u4", "saturation_counts": 120_000}, 120_000),
        ({"dtype": "<u4", "saturation_counts": 2**40}, 2**30 - 2),
        ({"dtype": "<u4", "layout": "smv"}, 65534),
        ({"dtype": "<u4", "layout": "smv", "saturation_counts": 120_000}, 65534),
        ({"dtype": "<u4", "layout": "mccd", "saturation_counts": 5000, "options": {"pedestal": 10}}, 5010),
        ({"dtype": "<u4", "layout": "cbf", "saturation_counts": 5000, "options": {"pedestal": 10}}, 5000),
    ],
)
def test_what_cannot_be_trusted_is_an_overload(make_scene: Make, said: dict[str, Any], expected: int) -> None:
    assert value(make_scene(**said), "OVERLOAD") == str(expected)


@pytest.mark.parametrize(
    ("layout", "pedestal", "lowest"), [("cbf", 0, 0), ("smv", 0, 0), ("smv", 10, 1), ("mccd", 1, 1)]
)
def test_zero_stands_for_a_gap_only_where_valid_pixels_have_a_pedestal(
    make_scene: Make, layout: str, pedestal: int, lowest: int
) -> None:
    scene = make_scene(layout=layout, options={"pedestal": pedestal})
    assert value(scene, "MINIMUM_VALID_PIXEL_VALUE") == str(lowest)


def untrusted(scene: Any) -> Any:
    """Return the pixels, as XDS counts them, that lie between the limits of a rectangle."""
    ny, nx = scene.frame_shape
    y, x = np.mgrid[1 : ny + 1, 1 : nx + 1]
    inside = np.zeros((ny, nx), bool)
    for rectangle in parsed(scene).get("UNTRUSTED_RECTANGLE=", []):
        x1, x2, y1, y2 = map(int, rectangle.split())
        inside |= (x1 < x) & (x < x2) & (y1 < y) & (y < y2)
    return inside


def test_gaps_between_modules_are_untrusted(make_scene: Make, eiger_mask: Any) -> None:
    scene = make_scene(mask=eiger_mask)
    assert parsed(scene)["UNTRUSTED_RECTANGLE="] == ["0 257 100 113", "50 54 0 301", "255 257 0 301"]
    expected = eiger_mask != 0
    # a single bad pixel is no band; the frames mark it
    expected[200, 120] = False
    np.testing.assert_array_equal(untrusted(scene), expected)


def test_what_surrounds_the_image_is_untrusted(make_scene: Make) -> None:
    scene = make_scene(shape=(20, 10), frame_shape=(24, 24), image_at=(0, 7))
    expected = np.ones((24, 24), bool)
    expected[:20, 7:17] = False
    np.testing.assert_array_equal(untrusted(scene), expected)


def test_a_mask_in_pieces_gives_a_bounded_number_of_rectangles(make_scene: Make) -> None:
    mask = np.zeros((4000, 3), np.uint8)
    mask[::2] = 1
    mask[3001] = 1
    found = parsed(make_scene(shape=mask.shape, mask=mask))["UNTRUSTED_RECTANGLE="]
    assert len(found) == 500
    assert "0 4 3000 3004" in found


def test_a_sensor_is_said_and_another_material_than_silicon_remarked(make_scene: Make) -> None:
    silicon = make_scene(sensor_thickness_m=450e-6, sensor_material="Si")
    telluride = make_scene(sensor_thickness_m=750e-6, sensor_material="CdTe")
    assert value(silicon, "SENSOR_THICKNESS") == "0.45"
    assert value(telluride, "SENSOR_THICKNESS") == "0.75"
    assert b"SILICON=" not in COMPANION.files(silicon)["XDS.INP"]
    assert b"! the sensor is not silicon: SILICON=" in COMPANION.files(telluride)["XDS.INP"]


def test_all_that_nobody_said_is_named(make_scene: Make) -> None:
    words = ("distance", "wavelength", "direct beam", "pixel size", "start angle", "step angle")
    assert COMPANION.missing(make_scene(**NOTHING)) == words


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"layout": "edf"}, "frames as cbf or smv or mccd"),
        ({"step_deg": 0.0}, "step angle other than 0"),
        ({"digits": 1, "count": 10}, "numbers of one length in the names"),
        ({"stem": "my scan"}, "stem without blanks and special characters"),
        ({"stem": "what?"}, "stem without blanks and special characters"),
        ({"stem": "caf\udce9"}, "stem without blanks and special characters"),
        ({"stem": "new\nline"}, "stem without blanks and special characters"),
    ],
)
def test_frames_that_xds_cannot_read_have_no_xds_inp(make_scene: Make, said: dict[str, Any], word: str) -> None:
    assert COMPANION.missing(make_scene(**said)) == (word,)
