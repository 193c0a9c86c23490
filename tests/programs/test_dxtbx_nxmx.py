# SPDX-License-Identifier: MIT
"""An NXmx file as dxtbx reads it, and our CBF files of it as dxtbx reads those: the same, and nobody typed a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastlegacy
from fastlegacy.testing.experiment import Experiment
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.nxmx import nxmx_scan

from .conftest import Mount, Run, Scan

pytestmark = pytest.mark.programs

READER = """
import json, sys
import dxtbx
found = []
for path in sys.argv[1:]:
    image = dxtbx.load(path)
    panel, beam, scan = image.get_detector()[0], image.get_beam(), image.get_scan()
    first, last = scan.get_array_range()
    for number in range(first, last):
        start, end = scan.get_image_oscillation(number + 1)[0], sum(scan.get_image_oscillation(number + 1))
        found.append({
            "format": type(image).__name__,
            "wavelength": beam.get_wavelength(),
            "direction": beam.get_sample_to_source_direction(),
            "distance_mm": panel.get_distance(),
            "beam_mm": panel.get_ray_intersection(beam.get_s0()),
            "pixel_mm": panel.get_pixel_size(),
            "image_size": panel.get_image_size(),
            "origin_mm": panel.get_origin(),
            "fast": panel.get_fast_axis(),
            "slow": panel.get_slow_axis(),
            "start_deg": start,
            "end_deg": end,
            "exposure": scan.get_exposure_times()[number - first],
            "axis": image.get_goniometer().get_rotation_axis(),
        })
print(json.dumps(found))
"""
TRUTH = Experiment(detector="Simulated", serial_number=None, sensor_material="Si", sensor_thickness_m=0.00045)
CASES = {
    "as it is": TRUTH,
    "another beam": replace(TRUTH, wavelength_angstrom=0.97625, distance_m=0.2893, corner_x_px=3.125, corner_y_px=18.5),
    "pixels of 172 um": replace(TRUTH, pixel_x_m=1.72e-4, pixel_y_m=1.72e-4, step_deg=0.1, start_deg=270.0),
    "pixels that are not square": replace(TRUTH, pixel_y_m=5e-05),
    "CdTe": replace(TRUTH, sensor_material="CdTe", sensor_thickness_m=0.00075),
}


def seen(python: str, run: Run, *paths: Path | str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(python, "-c", READER, *paths).stdout)
    return found


def assert_alike(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs) > 1
    for image, truth in zip(ours, theirs, strict=True):
        assert "CBF" in image["format"]
        assert "CBF" not in truth["format"]
        for key in truth.keys() - {"format"}:
            assert image[key] == pytest.approx(truth[key], rel=1e-7, abs=1e-6), key


@pytest.mark.parametrize("case", CASES)
def test_dxtbx_reads_the_same_from_an_nxmx_file_and_from_our_cbf_of_it(
    tmp_path: Path, case: str, run: Run, python_with: Callable[[str], str]
) -> None:
    python = python_with("dxtbx")
    truth = CASES[case]
    url = nxmx_scan(tmp_path, counting_frames(4, (20, 32), "u2"), experiment=truth)
    paths = []
    with fastlegacy.open(url) as stack:
        for name, file in fastlegacy.tree(stack, "cbf", companions=()).items():
            paths.append(tmp_path / name)
            paths[-1].write_bytes(file.read())
    ours, theirs = seen(python, run, *paths), seen(python, run, url.partition("::")[0])
    assert_alike(ours, theirs)
    # and both are what the file was given
    for i, image in enumerate(ours):
        assert truth.start_deg is not None
        assert truth.step_deg is not None
        assert image["start_deg"] == pytest.approx(truth.start_deg + i * truth.step_deg)
        assert image["end_deg"] - image["start_deg"] == pytest.approx(truth.step_deg)
        # DIALS takes the time from frame to frame for that of a frame, of both
        assert (image["wavelength"], image["exposure"]) == (truth.wavelength_angstrom, truth.period_s)
        assert image["distance_mm"] == pytest.approx(1000 * (truth.distance_m or 0))
        corner_px = np.divide(image["beam_mm"], image["pixel_mm"])
        assert corner_px == pytest.approx([truth.corner_x_px, truth.corner_y_px])


def test_dxtbx_reads_the_same_from_files_that_nobody_here_has_laid_out(
    scan: Scan, tmp_path: Path, run: Run, python_with: Callable[[str], str]
) -> None:
    """The file of the other tests with DIALS, whose groups fastlegacy's own builders do not make."""
    python = python_with("dxtbx")
    with fastlegacy.open(scan.url) as stack:
        files = fastlegacy.tree(stack, "cbf", companions=())
        for name in files:
            (tmp_path / name).write_bytes(files[name].read())
        paths = [tmp_path / name for name in files]
    assert_alike(seen(python, run, *paths), seen(python, run, scan.file))


@pytest.mark.fuse
@pytest.mark.timeout(300)
def test_dials_imports_a_virtual_folder_of_cbf_as_one_sweep_though_nobody_typed_a_number(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    dials_import = program("dials.import")
    with mount(scan.url, "--format", "cbf", "--companions", "none") as folder:
        run(dials_import, folder, "output.experiments=virtual.expt", cwd=tmp_path)
        run(dials_import, f"template={folder}/data####.cbf", "output.experiments=template.expt", cwd=tmp_path)
    run(dials_import, scan.file, "output.experiments=truth.expt", cwd=tmp_path)
    truth = json.loads((tmp_path / "truth.expt").read_text())
    for name in ("virtual.expt", "template.expt"):
        found = json.loads((tmp_path / name).read_text())
        assert [len(found[part]) for part in ("experiment", "scan", "imageset", "beam", "detector")] == [1] * 5
        (sweep,), (true_sweep,) = found["scan"], truth["scan"]
        assert found["imageset"][0]["__id__"] == "ImageSequence"
        assert sweep["image_range"] == true_sweep["image_range"] == [1, len(scan.frames)]
        assert sweep["oscillation"] == pytest.approx(true_sweep["oscillation"])
        assert sweep["oscillation"] == pytest.approx([-90.0, 0.5])
        assert found["beam"][0]["wavelength"] == pytest.approx(truth["beam"][0]["wavelength"])
        assert found["goniometer"][0]["rotation_axis"] == pytest.approx(truth["goniometer"][0]["rotation_axis"])
        (panel,), (true_panel,) = (each["detector"][0]["panels"] for each in (found, truth))
        assert panel["origin"] == pytest.approx(true_panel["origin"], abs=1e-4)
