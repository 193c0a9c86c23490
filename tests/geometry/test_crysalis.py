# SPDX-License-Identifier: MIT
"""Parameter files of CrysAlisPro: those that the companion writes, and those that fabio writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabio.xcaliburimage import XcaliburImage

from fastlegacy.companions.crysalis import COMPANION
from fastlegacy.errors import UrlError
from fastlegacy.geometry.read import read_geometry
from fastlegacy.model import Geometry

Make = Callable[..., Any]
SAID = Geometry(
    start_deg=10.0,
    step_deg=0.25,
    wavelength_angstrom=0.7,
    distance_m=0.14,
    beam_x_px=100.25,
    beam_y_px=150.75,
    pixel_x_m=75e-6,
    pixel_y_m=75e-6,
)


def companion(scene: Any) -> bytes:
    return bytes(COMPANION.files(scene)["s.par"])


def test_what_the_companion_writes_is_the_same_geometry(make_scene: Make, write: Make) -> None:
    found = read_geometry(write("s.par", companion(make_scene(SAID))))
    assert set(found.origin) == {"distance_m", "wavelength_angstrom", "beam_x_px", "beam_y_px"}
    for name in found.origin:
        assert getattr(found, name) == pytest.approx(getattr(SAID, name), rel=1e-9), name
        assert found.origin[name] == "s.par"


def test_the_beam_in_a_padded_frame_is_told_for_the_stored_one(make_scene: Make, write: Make) -> None:
    scene = make_scene(SAID, (300, 256), (304, 304), (0, 24))
    path = write("s.par", companion(scene))
    found = read_geometry(path, (300, 256))
    assert (found.beam_x_px, found.beam_y_px) == pytest.approx((100.25, 150.75), rel=1e-9)
    assert read_geometry(path).beam_x_px == pytest.approx(124.25, rel=1e-9)
    with pytest.raises(UrlError, match=r"s\.par: line \d+, CCD PARAMETERS: it is for frames of 304 x 304 pixels"):
        read_geometry(path, (400, 256))


def test_what_fabio_writes(tmp_path: Path) -> None:
    image = XcaliburImage(data=np.zeros((1000, 1000), np.int32))
    image.save_par(str(tmp_path), "x", wavelength=0.41, distance=150.5, center_x=512.25, center_y=487.5)
    found = read_geometry(tmp_path / "x.par")
    assert found.wavelength_angstrom == 0.41
    assert found.distance_m == pytest.approx(0.1505, rel=1e-12)
    assert (found.beam_x_px, found.beam_y_px) == (512.25, 487.5)
    # 0.06 mm stands there, whatever the detector
    assert (found.pixel_x_m, found.pixel_y_m) == (None, None)


def test_of_a_doublet_the_mean_is_taken(write: Make) -> None:
    text = "\xa7XCALIBUR SYSTEM\r\nCRYSTALLOGRAPHY WAVELENGTH 0.70930 0.71359 0.71073\r\n"
    for encoding in ("latin-1", "utf-8"):
        assert read_geometry(write("mo.par", text.encode(encoding))).wavelength_angstrom == 0.71073


def test_a_tilt_is_told(make_scene: Make, write: Make, caplog: pytest.LogCaptureFixture) -> None:
    data = companion(make_scene(SAID))
    tilted = data.replace(b"DETECTORORIENTATION 0.000000", b"DETECTORORIENTATION 0.500000")
    assert read_geometry(write("s.par", tilted)).distance_m == pytest.approx(0.14)
    assert "tilted by 0.50 degrees" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"CCD PARAMETERS 1 1", b"CCD PARAMETERS 2 2", r"CCD PARAMETERS: frames are binned 2 x 2"),
        (b"140.000000", b"0", r"ROTATION DETECTORORIENTATION: '0' is not greater than zero"),
        (b"100.250000", b"left", r"ROTATION DETECTORORIENTATION: 'left' is no number"),
        (b"WAVELENGTH 0.700000 0.700000", b"WAVELENGTH", r"WAVELENGTH: there are 1 values, and three wavelengths"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    make_scene: Make, write: Make, old: bytes, new: bytes, message: str
) -> None:
    data = companion(make_scene(SAID))
    assert old in data
    with pytest.raises(UrlError, match=rf"s\.par: line \d+, .*{message}"):
        read_geometry(write("s.par", data.replace(old, new)))


def test_the_line_is_counted_as_an_editor_does(make_scene: Make, write: Make) -> None:
    data = companion(make_scene(SAID)).replace(b"140.000000", b"far")
    number = 1 + next(i for i, line in enumerate(data.split(b"\r\n")) if b"far" in line)
    with pytest.raises(UrlError, match=f"line {number}, "):
        read_geometry(write("s.par", data))
