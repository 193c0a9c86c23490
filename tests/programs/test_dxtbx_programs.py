# SPDX-License-Identifier: MIT
"""SMV, marccd and Bruker frames as DIALS sees them: dxtbx of the system's Python, and ``dials.import``.

Debian has both in the package ``dials``. They run as programs of their own, so that nothing of them is needed here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlegacy.layouts.mccd import LAYOUT as MCCD
from fastlegacy.layouts.sfrm import LAYOUT as SFRM
from fastlegacy.layouts.smv import LAYOUT as SMV
from fastlegacy.model import Geometry, Layout, StackFacts
from fastlegacy.pixels import PixelPolicy

from ..whole_files import file_bytes

PYTHON = "/usr/bin/python3"
DIALS_IMPORT = Path("/usr/bin/dials.import")

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(not DIALS_IMPORT.exists(), reason="DIALS of the system is not installed"),
]

READER = """
import json, sys
import dxtbx
found = []
for path in sys.argv[1:]:
    image = dxtbx.load(path)
    panel = image.get_detector()[0]
    raw = image.get_raw_data()
    raw = raw[0] if isinstance(raw, tuple) else raw
    scan = image.get_scan()
    found.append({
        "format": type(image).__name__,
        "shape": raw.all(),
        "pixels": [int(pixel) for pixel in raw],
        "trusted": [bool(pixel) for pixel in panel.get_trusted_range_mask(raw)],
        "beam_px": panel.get_ray_intersection_px(image.get_beam().get_s0()),
        "pixel_mm": panel.get_pixel_size(),
        "distance_mm": panel.get_distance(),
        "gain": panel.get_gain(),
        "pedestal": panel.get_pedestal(),
        "wavelength": image.get_beam().get_wavelength(),
        "oscillation": scan.get_oscillation(),
        "exposure": scan.get_exposure_times()[0],
        "epoch": scan.get_epochs()[0],
        "axis": image.get_goniometer().get_rotation_axis(),
    })
print(json.dumps(found))
"""

# DIALS 3.12 estimates the gain of a PHOTON II from the wavelength, and knows none below 0.5 Angstrom
GEOMETRY = Geometry(
    start_deg=-90.0,
    step_deg=0.25,
    exposure_s=0.05,
    wavelength_angstrom=0.7107,
    distance_m=0.14,
    beam_x_px=6.25,
    beam_y_px=3.0,
    pixel_x_m=75e-6,
    pixel_y_m=75e-6,
    start_time="2026-01-01T00:00:00Z",
    period_s=10.0,
)
EPOCH = 1767225600
SHAPE = (3, 7, 13)


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., list[Path]]:
    """Return a maker of the files of a stack: ``images(layout, frames, ...)``, whose names count from 1."""

    def make(layout: Layout, frames: np.ndarray[Any, Any], **changes: Any) -> list[Path]:
        facts = StackFacts(
            **{
                "url": "/data/scan.h5::/x",
                "shape": frames.shape,
                "leading_shape": frames.shape[:1],
                "dtype": frames.dtype,
                "geometry": GEOMETRY,
                **changes,
            }
        )
        paths = [tmp_path / f"data_{i + 1:04d}{layout.suffix}" for i in range(len(frames))]
        for i, path in enumerate(paths):
            path.write_bytes(file_bytes(layout, facts, frames, i))
        return paths

    return make


def run(*command: str | Path, where: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def seen(paths: list[Path]) -> list[dict[str, Any]]:
    return json.loads(run(PYTHON, "-c", READER, *paths, where=paths[0].parent))


def imported(paths: list[Path]) -> dict[str, Any]:
    """Return the experiments of ``dials.import``."""
    where = paths[0].parent
    run(DIALS_IMPORT, *paths, "output.experiments=found.expt", where=where)
    return json.loads((where / "found.expt").read_text())


def counting(dtype: str = "<u2") -> Any:
    return (1 + np.arange(np.prod(SHAPE))).reshape(SHAPE).astype(dtype)


def assert_geometry(image: dict[str, Any], frame: int) -> None:
    """The direct beam of dxtbx counts pixels from the corner of the first one, x first."""
    assert image["beam_px"] == pytest.approx([6.75, 3.5])
    assert image["pixel_mm"] == pytest.approx([0.075, 0.075])
    assert image["distance_mm"] == pytest.approx(140.0)
    assert image["wavelength"] == pytest.approx(0.7107)
    assert image["oscillation"] == pytest.approx([-90.0 + 0.25 * frame, 0.25])


def test_smv_has_the_pixels_and_the_geometry(images: Callable[..., list[Path]]) -> None:
    frames = counting()
    for i, image in enumerate(seen(images(SMV, frames))):
        assert image["format"] == "FormatSMVADSCSN"
        assert image["shape"] == [7, 13]
        assert image["pixels"] == frames[i].reshape(-1).tolist()
        assert all(image["trusted"])
        assert_geometry(image, i)
        assert (image["exposure"], image["epoch"], image["gain"]) == (0.05, EPOCH + 10 * i, 1.0)


def test_smv_where_nobody_said_anything_is_a_still(images: Callable[..., list[Path]]) -> None:
    (image,) = seen(images(SMV, counting()[:1], geometry=Geometry()))
    assert (image["wavelength"], image["distance_mm"], image["oscillation"]) == (1.0, 100.0, [0.0, 0.0])
    assert image["beam_px"] == pytest.approx([6.5, 3.5])


def test_smv_overloads_are_not_trusted_whatever_gaps_are(images: Callable[..., list[Path]]) -> None:
    frames = np.full((1, 1, 4), 5, "<u4")
    frames[0, 0, :3] = 70_000, 2**32 - 1, 65_534
    (image,) = seen(images(SMV, frames))
    assert image["pixels"] == [65535, 0, 65534, 5]
    assert image["trusted"][0] is False
    assert image["trusted"][2:] == [True, True]


def test_smv_gaps_that_the_user_makes_overloads_are_not_trusted(images: Callable[..., list[Path]]) -> None:
    frames = np.array([[[5, 65535, 0, 65534]]], "<u2")
    (image,) = seen(images(SMV, frames, policy=PixelPolicy(mask_value=65535)))
    assert image["pixels"] == [5, 65535, 0, 65534]
    assert (image["trusted"][0], image["trusted"][1]) == (True, False)


def test_smv_tells_its_pedestal(images: Callable[..., list[Path]]) -> None:
    frames = np.array([[[0, 65535, 3]]], "<u2")
    (image,) = seen(images(SMV, frames, options={"pedestal": 40}))
    assert image["pixels"] == [40, 0, 43]
    assert image["pedestal"] == 40


def test_mccd_has_the_pixels_in_a_square_and_the_geometry(images: Callable[..., list[Path]]) -> None:
    frames = counting()
    for i, image in enumerate(seen(images(MCCD, frames))):
        square = np.zeros((13, 13), int)
        square[:7] = frames[i]
        assert image["format"] == "FormatTIFFRayonix"
        assert image["shape"] == [13, 13]
        assert image["pixels"] == square.reshape(-1).tolist()
        assert image["trusted"] == (square > 0).reshape(-1).tolist()
        assert_geometry(image, i)
        assert image["exposure"] == 0.05


def test_mccd_without_a_geometry_is_read(images: Callable[..., list[Path]]) -> None:
    (image,) = seen(images(MCCD, counting()[:1], geometry=Geometry()))
    assert (image["wavelength"], image["distance_mm"]) == (1.0, 100.0)


def test_mccd_tells_a_pixel_without_counts_from_a_gap_by_its_pedestal(images: Callable[..., list[Path]]) -> None:
    frames = np.array([[[0, 65535], [3, 70_000]]], "<u4")
    frames[0, 0, 1] = 2**32 - 1
    (image,) = seen(images(MCCD, frames, options={"pedestal": 10}))
    assert image["pixels"] == [0, -10, 3, 65525]
    assert image["trusted"] == [True, False, True, False]


def test_sfrm_has_the_pixels_and_the_geometry(images: Callable[..., list[Path]]) -> None:
    frames = counting("<u4")
    frames[:, 0, :6] = 254, 255, 256, 65534, 65535, 65536
    frames[:, 6, 12] = 2**31 - 1
    frames[:, 6, 11] = 2**32 - 1
    expected = frames.astype(np.int64)
    expected[:, 6, 11] = 0
    paths = images(SFRM, frames, options={"dettype": "CMOS-PHOTONII"})
    for i, image in enumerate(seen(paths)):
        assert image["format"] in ("FormatBrukerPhotonII", "FormatBrukerModern")
        assert image["shape"] == [7, 13]
        assert image["pixels"] == expected[i].reshape(-1).tolist()
        assert_geometry(image, i)


@pytest.mark.parametrize("layout", [SMV, MCCD, SFRM], ids=lambda layout: layout.name)
def test_dials_imports_all_files_as_one_sweep(images: Callable[..., list[Path]], layout: Layout) -> None:
    options = {"dettype": "CMOS-PHOTONII"} if layout is SFRM else {}
    found = imported(images(layout, counting(), options=options))
    (scan,) = found["scan"]
    assert scan["image_range"] == [1, 3]
    assert scan["oscillation"] == pytest.approx([-90.0, 0.25])
    (panel,) = found["detector"][0]["panels"]
    assert panel["image_size"] == ([13, 13] if layout is MCCD else [13, 7])
