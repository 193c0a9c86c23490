# SPDX-License-Identifier: MIT
"""CBF files in the hands of DIALS and CBFlib, where they are installed."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastlegacy import _encode
from fastlegacy.layouts.cbf import LAYOUT
from fastlegacy.model import CodedPixels, Geometry, Literal, Padding, StackFacts
from fastlegacy.pixels import Coded

DIALS = shutil.which("dials.import")
CIF2CBF = shutil.which("cif2cbf")
pytestmark = pytest.mark.programs
needs_dials = pytest.mark.skipif(DIALS is None, reason="DIALS is not installed")
needs_cbflib = pytest.mark.skipif(CIF2CBF is None, reason="CBFlib is not installed")

SCAN = {
    "start_deg": -90.0,
    "step_deg": 0.25,
    "exposure_s": 0.0999,
    "period_s": 0.1,
    "wavelength_angstrom": 0.2854,
    "distance_m": 0.15,
    "beam_x_px": 200.25,
    "beam_y_px": 100.5,
    "pixel_x_m": 75e-6,
    "pixel_y_m": 75e-6,
    "saturation_counts": 130000,
    "start_time": "2026-01-01T00:00:00",
    "title": "sensor; 1:2 \u00fc",
}
EIGER = Geometry(detector="Dectris EIGER2 CdTe 500K", sensor_material="CdTe", sensor_thickness_m=750e-6, **SCAN)
PILATUS = Geometry(detector="PILATUS 100K", sensor_material="Si", sensor_thickness_m=320e-6, **SCAN)
# as fastlegacy has it, the class of dxtbx that should read it, (ny, nx), how many gaps are between modules
CASES = {
    "eiger": (EIGER, "FormatCBFMiniEiger", (512, 1028), 0),
    "eiger 1M": (EIGER, "FormatCBFMiniEiger", (1062, 1028), 1),
    "binned eiger": (EIGER, "FormatCBFMini", (256, 514), 0),
    "turned eiger": (EIGER, "FormatCBFMini", (1028, 1062), 0),
    "pilatus": (PILATUS, "FormatCBFMiniPilatus", (407, 487), 1),
    "odd": (Geometry(detector="Jungfrau", **SCAN), "FormatCBFMini", (7, 13), 0),
    "unknown": (Geometry(), "FormatCBFMini", (7, 13), 0),
    "unknown pilatus": (Geometry(), "FormatCBFMiniPilatus", (195, 487), 0),
}
OPTIONS: dict[str, dict[str, Any]] = {"exact": {}, "constant": {"size": "constant", "md5": True}}
# prints the class that reads a file and saves the pixels
READ = """
import sys, dxtbx, numpy
for path in sys.argv[1:]:
    image = dxtbx.load(path)
    numpy.save(path + ".npy", image.get_raw_data().as_numpy_array())
    print(type(image).__name__)
"""


def write_series(folder: Path, geometry: Geometry, shape: tuple[int, int], options: dict[str, Any]) -> NDArray[Any]:
    """Write three files, and return the pixels that should be in them."""
    frames = np.random.default_rng(1).poisson(0.7, (3, *shape)).astype("<u4")
    frames[:, 2, 3:6] = (2**32 - 1, 70_000, 2**32 - 2)
    facts = StackFacts("/data/scan.h5::/x", frames.shape, (3,), frames.dtype, 0, geometry, options=options)
    form = LAYOUT.code(facts).form
    expected = np.where(frames == 2**32 - 1, form.gap, frames.astype(np.int64).clip(form.low, form.high))
    for index, frame in enumerate(expected.astype(np.int32)):
        body = _encode.byte_offset_encode(frame)
        parts = []
        for piece in LAYOUT.pieces(facts, index, Coded(len(body), md5=hashlib.md5(body).digest())):
            match piece:
                case Literal(data):
                    parts.append(data)
                case Padding(size, value):
                    parts.append(bytes([value]) * size)
                case CodedPixels():
                    parts.append(body)
        (folder / f"data_{index + 1:04d}.cbf").write_bytes(b"".join(parts))
    return expected


def run(folder: Path, *words: str | Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def python_of_dials() -> str:
    first = Path(str(DIALS)).read_text().splitlines()[0]
    return first.removeprefix("#!").strip()


@needs_dials
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", CASES)
def test_dxtbx_reads_the_pixels_with_the_class_for_their_shape(tmp_path: Path, case: str, options: str) -> None:
    geometry, format_class, shape, _ = CASES[case]
    expected = write_series(tmp_path, geometry, shape, OPTIONS[options])
    files = sorted(tmp_path.glob("*.cbf"))
    assert run(tmp_path, python_of_dials(), "-c", READ, *files).split() == [format_class] * 3
    for path, pixels in zip(files, expected, strict=True):
        np.testing.assert_array_equal(np.load(f"{path}.npy"), pixels)


@needs_dials
@pytest.mark.parametrize("case", CASES)
def test_dials_imports_the_geometry(tmp_path: Path, case: str) -> None:
    geometry, _, (ny, nx), gaps = CASES[case]
    write_series(tmp_path, geometry, (ny, nx), {})
    run(tmp_path, str(DIALS), *sorted(tmp_path.glob("*.cbf")))
    found = json.loads((tmp_path / "imported.expt").read_text())
    (panel,) = found["detector"][0]["panels"]
    known = geometry.distance_m is not None
    pixel_mm, distance_mm = (0.075, 150.0) if known else (0.1, 100.0)
    x, y = (200.75, 101.0) if known else (nx / 2, ny / 2)
    assert panel["image_size"] == [nx, ny]
    assert panel["pixel_size"] == pytest.approx([pixel_mm, pixel_mm])
    assert panel["origin"] == pytest.approx([-x * pixel_mm, y * pixel_mm, -distance_mm])
    assert panel["trusted_range"][1] == (130000 if known else 2**31 - 3)
    material = {"CdTe": ("CdTe", 0.75), "Si": ("Si", 0.32)}.get(geometry.sensor_material or "", ("", 0))
    assert (panel["material"], panel["thickness"]) == (material[0], pytest.approx(material[1]))
    assert len(panel["mask"]) == gaps
    assert found["beam"][0]["wavelength"] == pytest.approx(0.2854 if known else 1.0)
    if known:
        (scan,) = found["scan"]  # one sweep, and not one for each file
        assert (scan["image_range"], scan["oscillation"]) == ([1, 3], [-90.0, 0.25])
        assert scan["exposure_time"] == pytest.approx([0.1] * 3)
        assert np.diff(scan["epochs"]) == pytest.approx([0.1] * 2, abs=1e-5)


@needs_cbflib
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", ["eiger", "odd", "unknown"])
def test_cbflib_reads_the_pixels_and_warns_of_nothing(tmp_path: Path, case: str, options: str) -> None:
    geometry, _, shape, _ = CASES[case]
    expected = write_series(tmp_path, geometry, shape, OPTIONS[options])
    words = ("-c", "none", "-e", "none", "data_0002.cbf", "plain.cbf")
    assert "warning" not in run(tmp_path, str(CIF2CBF), *words).lower()
    data = (tmp_path / "plain.cbf").read_bytes()
    start = data.index(b"\x0c\x1a\x04\xd5") + 4
    pixels = np.frombuffer(data, "<i4", expected[1].size, start)
    np.testing.assert_array_equal(pixels.reshape(shape), expected[1])
