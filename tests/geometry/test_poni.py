# SPDX-License-Identifier: MIT
"""PONI files: written by the companion and by pyFAI, whose own Fit2D values and angles say where the beam is."""

import io
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.companions.poni import COMPANION
from fastlegacy.errors import UrlError
from fastlegacy.geometry.poni import READER
from fastlegacy.geometry.read import read_geometry
from fastlegacy.model import Geometry

Make = Callable[..., Any]
VERSION_1 = """# Nota: C-Order, 1 refers to the Y axis, 2 to the X axis
PixelSize1: 0.0001
PixelSize2: 0.0002
Distance: 0.25
Poni1: 0.01
Poni2: 0.02
Rot1: 0
Rot2: 0.0
Rot3: 0.0
SplineFile: None
Wavelength: 1.5e-11
"""


@pytest.fixture
def pyfai() -> Iterator[ModuleType]:
    with warnings.catch_warnings():
        # pyFAI and what it imports warn of their own affairs
        warnings.simplefilter("ignore")
        module = pytest.importorskip("pyFAI")
        __import__("pyFAI.geometry")
        __import__("pyFAI.io.ponifile")
        yield module


def written(pyfai: Any, setup: Any, version: float) -> str:
    poni = pyfai.io.ponifile.PoniFile(setup)
    poni.API_VERSION = version
    out = io.StringIO()
    poni.write(out)
    return out.getvalue()


def test_version_1(write: Make) -> None:
    found = read_geometry(write("beam.poni", VERSION_1))
    assert found.distance_m == 0.25
    assert found.beam_y_px == pytest.approx(99.5, rel=1e-12)
    assert found.beam_x_px == pytest.approx(99.5, rel=1e-12)
    assert (found.pixel_y_m, found.pixel_x_m) == (1e-4, 2e-4)
    assert found.wavelength_angstrom == pytest.approx(0.15, rel=1e-12)
    assert set(found.origin.values()) == {"beam.poni"}
    assert {name for name in found.origin if getattr(found, name) is None} == set()


def test_the_last_line_of_a_key_counts(write: Make) -> None:
    assert read_geometry(write("beam.poni", VERSION_1 + "distance: 0.5\n")).distance_m == 0.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    beam=st.tuples(st.floats(-500, 5000), st.floats(-500, 5000)),
    sizes=st.tuples(st.floats(1e-6, 1e-3), st.floats(1e-6, 1e-3)),
    distance_m=st.floats(0.01, 5),
    wavelength_angstrom=st.floats(0.05, 10),
)
def test_what_the_companion_writes_is_the_same_geometry(
    make_scene: Make, write: Make, beam: Any, sizes: Any, distance_m: float, wavelength_angstrom: float
) -> None:
    said = Geometry(
        distance_m=distance_m,
        wavelength_angstrom=wavelength_angstrom,
        beam_x_px=beam[0],
        beam_y_px=beam[1],
        pixel_x_m=sizes[0],
        pixel_y_m=sizes[1],
    )
    ((name, data),) = COMPANION.files(make_scene(said)).items()
    found = read_geometry(write(name, data))
    for key in found.origin:
        assert getattr(found, key) == pytest.approx(getattr(said, key), rel=1e-9, abs=1e-6), key
    assert len(found.origin) == 6


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    place_m=st.tuples(st.floats(-0.1, 0.2), st.floats(-0.1, 0.2)),
    turns=st.tuples(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7), st.floats(-3, 3)),
    version=st.sampled_from([2, 2.1, 3]),
)
def test_beam_and_distance_of_a_tilted_detector_are_those_of_fit2d(
    pyfai: Any, write: Make, place_m: Any, turns: Any, version: float
) -> None:
    detector = pyfai.detectors.Detector(pixel1=1e-4, pixel2=2e-4, max_shape=(60, 80))
    names = dict(zip(("poni1", "poni2", "rot1", "rot2", "rot3"), (*place_m, *turns), strict=True))
    setup = pyfai.geometry.Geometry(dist=0.1, detector=detector, wavelength=1e-10, **names)
    fit2d = setup.getFit2D()
    found = read_geometry(write("beam.poni", written(pyfai, setup, version)))
    assert found.distance_m == pytest.approx(fit2d["directDist"] / 1e3, rel=1e-9)
    # FIT2D counts from the corner of the first pixel; pyFAI takes the smallest tilts for none
    assert found.beam_x_px == pytest.approx(fit2d["centerX"] - 0.5, rel=1e-9, abs=1e-4)
    assert found.beam_y_px == pytest.approx(fit2d["centerY"] - 0.5, rel=1e-9, abs=1e-4)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
@pytest.mark.parametrize("shape_from", ["file", "frames"])
def test_the_beam_is_in_the_pixel_with_the_smallest_angle_in_every_orientation(
    pyfai: Any, write: Make, orientation: int, shape_from: str
) -> None:
    detector = pyfai.detectors.Detector(pixel1=1e-4, pixel2=2e-4, max_shape=(60, 80), orientation=orientation)
    setup = pyfai.geometry.Geometry(
        dist=0.1, poni1=20.5e-4, poni2=10.5 * 2e-4, rot1=0.01, rot2=-0.004, detector=detector
    )
    angles = setup.center_array((60, 80), unit="2th_rad")
    y, x = np.unravel_index(angles.argmin(), angles.shape)
    text = written(pyfai, setup, 2.1)
    if shape_from == "frames":
        text = text.replace('"max_shape": [60, 80]', '"nothing": 0')
    found = read_geometry(write("beam.poni", text), (60, 80) if shape_from == "frames" else None)
    assert found.beam_y_px == pytest.approx(y, abs=0.5)
    assert found.beam_x_px == pytest.approx(x, abs=0.5)


def test_an_orientation_needs_the_shape(write: Make) -> None:
    config = 'Detector: Eiger4M\nDetector_config: {"orientation": 2}\n'
    path = write("beam.poni", VERSION_1.replace("PixelSize", "# ") + config)
    with pytest.raises(UrlError, match=r"beam\.poni: with orientation 2 .*max_shape"):
        read_geometry(path)
    assert read_geometry(path, (2167, 2070)).beam_y_px == pytest.approx(2166 - (0.01 / 75e-6 - 0.5))


def test_pixels_of_detectors_that_are_only_named_are_those_of_pyfai(pyfai: Any, write: Make) -> None:
    families = ("Eiger", "Pilatus", "Jungfrau", "Lambda", "Maxipix", "Titan")
    known = {name for name in dir(pyfai.detectors) if name.startswith(families)}
    assert len(known) > 30
    for name in known:
        detector = getattr(pyfai.detectors, name)()
        path = write("beam.poni", f"Detector: {name}\nDistance: 0.1\n")
        found = read_geometry(path)
        assert (found.pixel_y_m, found.pixel_x_m) == pytest.approx((detector.pixel1, detector.pixel2)), name


def test_the_sensor(write: Make) -> None:
    config = '{"pixel1": 7.5e-05, "pixel2": 7.5e-05, "sensor": {"material": "CdTe", "thickness": 0.00075}}'
    found = read_geometry(write("beam.poni", f"Detector: Detector\nDetector_config: {config}\n"))
    assert (found.sensor_material, found.sensor_thickness_m) == ("CdTe", 0.00075)


def test_a_detector_that_the_beam_never_meets_has_no_beam_centre(write: Make, caplog: pytest.LogCaptureFixture) -> None:
    found = read_geometry(write("beam.poni", VERSION_1.replace("Rot1: 0", f"Rot1: {math.pi / 2 + 0.1}")))
    assert (found.distance_m, found.beam_x_px, found.beam_y_px) == (None, None, None)
    assert found.pixel_x_m == 2e-4
    assert "tilted by 95.7" in caplog.text


def test_a_tilt_is_told(write: Make, caplog: pytest.LogCaptureFixture) -> None:
    read_geometry(write("beam.poni", VERSION_1))
    assert caplog.text == ""
    read_geometry(write("beam.poni", VERSION_1.replace("Rot1: 0", "Rot1: 0.01")))
    assert "beam.poni: the detector is tilted by 0.57 degrees" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Distance: 0.25", "Distance: far", r"line 4, Distance: 'far' is no number"),
        ("Distance: 0.25", "Distance: -1", r"line 4, Distance: '-1' is not greater than zero"),
        ("Rot1: 0", "Rot1: inf", r"line 7, Rot1: 'inf' is no number"),
        ("PixelSize1", "Pixel", r"the size of the pixels is not known here.*PixelSize1"),
        ("PixelSize1: 0.0001", "Detector: Camera", r"the pixels of the detector 'Camera' are not known"),
        ("SplineFile", "poni_version: 4\nSplineFile", r"line 10, poni_version: version 4 .* not known"),
        ("SplineFile", "Detector_config: {\nSplineFile", r"line 10, Detector_config: this is no JSON"),
        ("SplineFile", "Detector_config: 3\nSplineFile", r"line 10, Detector_config: this is no JSON object"),
        ("SplineFile", 'Detector_config: {"orientation": 9}\nSplineFile', r"the orientation 9 is not known"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: Make, old: str, new: str, message: str) -> None:
    path = write("beam.poni", VERSION_1.replace(old, new, 1))
    with pytest.raises(UrlError, match=message) as caught:
        read_geometry(path)
    assert caught.value.file == str(path)
    assert caught.value.hint


def test_it_is_recognised_under_another_name() -> None:
    assert READER.recognises(Path("calibration.txt"), b"# x\nDistance: 0.1\nPoni1: 0.1\n")
    assert not READER.recognises(Path("calibration.txt"), b"distance 0.1\n")
