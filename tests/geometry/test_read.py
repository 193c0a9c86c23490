# SPDX-License-Identifier: MIT
"""What every reader must do, how one is chosen, and geometries over each other."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.errors import FastlegacyError, SourceError, UrlError
from fastlegacy.geometry.read import over, read_geometry, readers
from fastlegacy.model import Geometry

Make = Callable[..., Any]
SAMPLES = {
    "crysalis": ("a.par", b"\xa7XCALIBUR SYSTEM\r\nCRYSTALLOGRAPHY WAVELENGTH 0.5 0.5 0.5\r\n"),
    "fastlegacy": ("a.toml", b"[geometry]\nwavelength_angstrom = 0.5\n"),
    "imaged11": ("a.par", b"o11 1\nwavelength 0.5\n"),
    "poni": ("a.poni", b"PixelSize1: 1e-4\nPixelSize2: 1e-4\nDistance: 0.1\nWavelength: 0.5e-10\n"),
}


@pytest.mark.parametrize("name", readers())
def test_each_sample_is_recognised_by_one_reader_alone(name: str, write: Make) -> None:
    path = write(*SAMPLES[name])
    assert [reader.name for reader in readers().values() if reader.recognises(path, path.read_bytes())] == [name]
    found = read_geometry(str(path))
    assert found.wavelength_angstrom == pytest.approx(0.5, rel=1e-12)
    assert found.origin["wavelength_angstrom"] == path.name


@pytest.mark.parametrize("name", readers())
def test_it_says_what_it_is(name: str) -> None:
    reader = readers()[name]
    assert reader.name == name
    assert reader.summary == reader.summary.strip() != ""
    assert "\n" not in reader.summary


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(name=st.sampled_from(sorted(SAMPLES)), data=st.data())
def test_a_damaged_file_is_an_error_of_fastlegacy_or_read(name: str, data: Any, write: Make) -> None:
    file, content = SAMPLES[name]
    at = data.draw(st.integers(0, len(content)))
    damaged = content[:at] + data.draw(st.binary(max_size=6)) + content[at + data.draw(st.integers(0, 9)) :]
    path = write(file, damaged)
    with suppress(FastlegacyError):
        assert read_geometry(path).origin


def test_a_file_of_another_kind(write: Make) -> None:
    with pytest.raises(UrlError, match=r"scan\.h5: this is no file with a geometry .*CrysAlisPro.*pyFAI"):
        read_geometry(write("scan.h5", b"\x89HDF\r\n\x1a\n"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no\.poni: the geometry cannot be read: No such file"):
        read_geometry(tmp_path / "no.poni")
    with pytest.raises(SourceError, match="Is a directory"):
        read_geometry(tmp_path)


def test_the_upper_geometry_counts_and_the_lower_one_fills_in() -> None:
    upper = Geometry(distance_m=0.1, motors={"x": 1.0}, origin={"distance_m": "beam.poni", "motors": "beam.poni"})
    origin = {"distance_m": "HDF5", "wavelength_angstrom": "HDF5"}
    lower = Geometry(distance_m=0.2, wavelength_angstrom=1.0, motors={"x": 2.0, "y": 3.0}, origin=origin)
    found = over(upper, lower)
    assert (found.distance_m, found.wavelength_angstrom) == (0.1, 1.0)
    assert found.motors == {"x": 1.0, "y": 3.0}
    assert found.origin == {"distance_m": "beam.poni", "wavelength_angstrom": "HDF5", "motors": "beam.poni"}
    assert over(Geometry(), lower) == lower
    assert over(lower, Geometry()) == lower


def test_start_and_step_put_recorded_angles_out_of_use() -> None:
    recorded = Geometry(angles_deg=(0.0, 2.0), origin={"angles_deg": "HDF5"})
    found = over(Geometry(start_deg=5.0, step_deg=1.0, origin={"start_deg": "a", "step_deg": "a"}), recorded)
    assert found.angle_deg(1) == 6.0
    assert "angles_deg" not in found.origin
    assert over(recorded, Geometry(start_deg=5.0, step_deg=1.0)).angle_deg(1) == 2.0
