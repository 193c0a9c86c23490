# SPDX-License-Identifier: MIT
"""Parameter files of ImageD11: a file as it writes them, and the values that pyFAI computes for ImageD11."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from fastlegacy.errors import UrlError
from fastlegacy.geometry.read import read_geometry

Make = Callable[..., Any]
# as ImageD11 2.1.3 writes it
PARAMETERS = """cell__a 4.04
cell_lattice_[P,A,B,C,I,F,R] F
chi 0.0
distance 294662.658
fit_tolerance 0.2
o11 -1
o12 0
o21 0
o22 -1
omegasign 1.0
t_x None
tilt_x 0.0
tilt_y 0.0002
tilt_z 0.0
wavelength 0.2846
wedge 0.0
y_center 1031.4
y_size 75.0
z_center 1078.9
z_size 172.0
"""


def test_lengths_are_micrometres_and_z_is_the_slow_axis(write: Make, caplog: pytest.LogCaptureFixture) -> None:
    found = read_geometry(write("beam.par", PARAMETERS))
    assert found.distance_m == pytest.approx(0.294662658, rel=1e-12)
    assert (found.beam_x_px, found.beam_y_px) == (1031.4, 1078.9)
    assert (found.pixel_x_m, found.pixel_y_m) == pytest.approx((75e-6, 172e-6), rel=1e-12)
    assert found.wavelength_angstrom == 0.2846
    assert found.origin == dict.fromkeys(found.origin, "beam.par")
    assert len(found.origin) == 6
    assert caplog.text == ""


@pytest.mark.parametrize("flips", [(1, 0, 0, -1), (-1, 0, 0, 1), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_flips_change_neither_beam_nor_pixels(write: Make, flips: Any) -> None:
    # as in ImageD11's compute_xyz_lab: a peak at (z_center, y_center) is on the beam, whatever the flips
    text = PARAMETERS
    for name, value in zip(("o11 -1", "o12 0", "o21 0", "o22 -1"), flips, strict=True):
        text = text.replace(name, f"{name[:3]} {value}")
    assert read_geometry(write("flipped.par", text)).beam_y_px == 1078.9
    assert read_geometry(write("flipped.par", text)).pixel_x_m == pytest.approx(75e-6)


@pytest.mark.parametrize("turns", [(0, 0, 0), (0.02, -0.03, 0.1), (-0.2, 0.1, 0.0)])
def test_pyfai_finds_the_same_beam_for_a_tilted_detector(write: Make, turns: Any) -> None:
    with warnings.catch_warnings():
        # pyFAI and what it imports warn of their own affairs
        warnings.simplefilter("ignore")
        pytest.importorskip("pyFAI")
        from pyFAI.detectors import Detector
        from pyFAI.geometry import Geometry
        from pyFAI.geometry.imaged11 import convert_to_ImageD11

        detector = Detector(pixel1=1e-4, pixel2=2e-4, max_shape=(60, 80))
        rot1, rot2, rot3 = turns
        setup = Geometry(
            dist=0.1, poni1=2e-3, poni2=3e-3, rot1=rot1, rot2=rot2, rot3=rot3, detector=detector, wavelength=5e-11
        )
        values = convert_to_ImageD11(setup, wavelength_unit="A")._asdict()
        setup.save(str(write("same.poni", "")))
    text = "".join(f"{name} {value}\n" for name, value in values.items() if name not in ("spline", "shape"))
    by_imaged11 = read_geometry(write("same.par", text))
    by_pyfai = read_geometry(write("same.par", text).with_suffix(".poni"))
    assert set(by_imaged11.origin) == set(by_pyfai.origin)
    for name in by_imaged11.origin:
        assert getattr(by_imaged11, name) == pytest.approx(getattr(by_pyfai, name), rel=1e-6, abs=1e-6), name


def test_a_tilt_is_told(write: Make, caplog: pytest.LogCaptureFixture) -> None:
    read_geometry(write("beam.par", PARAMETERS.replace("tilt_z 0.0", "tilt_z -0.01")))
    assert "tilted by 0.57 degrees" in caplog.text


def test_old_files_have_hyphens_and_negative_sizes(write: Make) -> None:
    text = "# fit\ndistance 100000 # um\ny-center 10\nz-center 20\ny-size 50\nz-size -47.5\n"
    found = read_geometry(write("old.prm", text))
    assert (found.beam_x_px, found.beam_y_px) == (10, 20)
    assert found.pixel_y_m == pytest.approx(47.5e-6)
    assert found.wavelength_angstrom is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("y_size 75.0", "y_size 0", "line 18, y_size: a pixel has no size of zero"),
        ("wavelength 0.2846", "wavelength 0.0", r"line 15, wavelength: '0\.0' is not greater than zero"),
        ("z_center 1078.9", "z_center middle", "line 19, z_center: 'middle' is no number"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: Make, old: str, new: str, message: str) -> None:
    with pytest.raises(UrlError, match=rf"beam\.par: {message}"):
        read_geometry(write("beam.par", PARAMETERS.replace(old, new)))
