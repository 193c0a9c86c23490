# SPDX-License-Identifier: MIT
"""DIALS on a mount: geometry as on the command line, and the spots that it finds in the HDF5 file itself.

Three ways to the same pixels: virtual files; real CBF files that fabio has written; and the NXmx file, which dxtbx
reads with HDF5 and masks by its own rules. Tables of reflections have to be equal in every number.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from .conftest import Mount, Run, Scan
from .scans import CELL_ANGSTROM, GAP, GEOMETRY

pytestmark = [pytest.mark.programs, pytest.mark.fuse, pytest.mark.timeout(600)]

COLUMNS = """
import sys
from dials.array_family import flex
import numpy
table = flex.reflection_table.from_file(sys.argv[1])
columns = {"bbox": "bbox", "n_signal": "n", "intensity.sum.value": "i", "intensity.sum.variance": "v",
           "xyzobs.px.value": "xyz", "xyzobs.px.variance": "xyz_v"}
numpy.savez(sys.argv[2], **{short: numpy.array(list(table[name])) for name, short in columns.items()})
"""
Spots = Callable[..., dict[str, Any]]


@pytest.fixture
def experiment(run: Run, program: Callable[[str], str], tmp_path: Path) -> Callable[..., Path]:
    """Return ``experiment(name, files)``: a folder with ``imported.expt``."""
    dials_import = program("dials.import")

    def make(name: str, *files: Path | str) -> Path:
        folder = tmp_path / f"dials_{name}"
        folder.mkdir()
        run(dials_import, *sorted(files), cwd=folder)
        return folder

    return make


@pytest.fixture
def spots(experiment: Callable[..., Path], run: Run, program: Callable[[str], str]) -> Spots:
    """Return ``spots(name, files, *words)``: columns of what ``dials.find_spots`` finds."""
    python = dials_python(program)

    def find(name: str, files: list[Path | str], *words: str) -> dict[str, Any]:
        folder = experiment(name, *files)
        run(program("dials.find_spots"), "imported.expt", "nproc=1", *words, cwd=folder)
        run(python, "-c", COLUMNS, "strong.refl", "columns.npz", cwd=folder)
        with np.load(folder / "columns.npz") as columns:
            return dict(columns)

    return find


def dials_python(program: Callable[[str], str]) -> str:
    """Return the Python that runs DIALS."""
    return Path(program("dials.import")).read_text().splitlines()[0].removeprefix("#!").strip()


def models(folder: Path) -> dict[str, Any]:
    """Return what DIALS has imported."""
    found: dict[str, Any] = json.loads((folder / "imported.expt").read_text())
    return found


def assert_same_spots(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert len(expected["i"]) > 100
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def write_with_fabio(folder: Path, virtual: list[Path], frames: Any) -> list[Path]:
    """Write CBF files with the header texts of the virtual files, and these frames."""
    folder.mkdir()
    for path, frame in zip(virtual, frames, strict=True):
        text = fabio.open(path).header["_array_data.header_contents"]
        header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": text}
        fabio.cbfimage.CbfImage(data=frame.astype(np.int32), header=header).write(folder / path.name)
    return sorted(folder.glob("*.cbf"))


@pytest.mark.parametrize("kind", ["cbf", "smv", "mccd"])
def test_the_geometry_is_that_of_the_command_line(
    scan: Scan, mount: Mount, experiment: Callable[..., Path], kind: str
) -> None:
    with mount(scan.url, "--format", kind, *GEOMETRY) as folder:
        found = models(experiment(kind, *folder.glob("data0*")))
    truth = models(experiment("truth", scan.file))
    (panel,), (true_panel,) = (each["detector"][0]["panels"] for each in (found, truth))
    padded = kind == "mccd"  # a square
    assert panel["image_size"] == ([1062, 1062] if padded else true_panel["image_size"])
    assert panel["pixel_size"] == pytest.approx([0.075, 0.075])
    assert panel["origin"] == pytest.approx(true_panel["origin"], abs=1e-4)
    assert (panel["fast_axis"], panel["slow_axis"]) == (true_panel["fast_axis"], true_panel["slow_axis"])
    assert found["beam"][0]["wavelength"] == pytest.approx(0.9)
    assert found["beam"][0]["direction"] == pytest.approx(truth["beam"][0]["direction"])
    (sequence,), (true_sequence,) = found["scan"], truth["scan"]
    assert sequence["image_range"] == true_sequence["image_range"] == [1, len(scan.frames)]
    assert sequence["oscillation"] == pytest.approx([-90.0, 0.5])
    assert sequence["exposure_time"] == pytest.approx(true_sequence["exposure_time"])
    axes = [each["goniometer"][0]["rotation_axis"] for each in (found, truth)]
    assert axes[0] == pytest.approx(axes[1])
    if kind == "cbf":
        assert (panel["material"], panel["trusted_range"]) == ("Si", [-1.0, 60000.0])
        assert panel["thickness"] == pytest.approx(0.45)


def test_spots_in_virtual_cbf_are_those_in_the_hdf5_file_and_in_files_by_fabio(
    scan: Scan, mount: Mount, spots: Spots, tmp_path: Path
) -> None:
    truth = spots("nxmx", [scan.file])
    with mount(scan.url, "--format", "cbf", *GEOMETRY) as folder:
        virtual = sorted(folder.glob("*.cbf"))
        real = write_with_fabio(tmp_path / "real", virtual, scan.marked(-1, -2))
        found = spots("virtual", virtual)
    assert_same_spots(found, truth)
    assert_same_spots(found, spots("real", real))


def test_spots_in_virtual_cbf_of_constant_size_with_digests_are_the_same(
    scan: Scan, mount: Mount, spots: Spots
) -> None:
    with mount(scan.url, "--format", "cbf", "-O", "size=constant", "-O", "md5=yes", *GEOMETRY) as folder:
        found = spots("virtual", list(folder.glob("*.cbf")))
    assert_same_spots(found, spots("nxmx", [scan.file]))


def test_spots_in_virtual_smv_are_the_same_where_masked_pixels_are_overloads(
    scan: Scan, mount: Mount, spots: Spots
) -> None:
    """DIALS 3.12 trusts zeros of SMV; it wants six pixels of a spot there, and three of photon counting detectors."""
    with mount(scan.url, "--format", "smv", "--mask-value", "65535", *GEOMETRY) as folder:
        found = spots("virtual", list(folder.glob("*.img")), "min_spot_size=3")
    assert_same_spots(found, spots("nxmx", [scan.file]))


def test_spots_in_virtual_smv_as_it_is_are_those_in_files_by_fabio(
    scan: Scan, mount: Mount, spots: Spots, tmp_path: Path
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    with mount(scan.url, "--format", "smv", *GEOMETRY) as folder:
        virtual = sorted(folder.glob("*.img"))
        for path, frame in zip(virtual, scan.marked(0, 0).clip(0, 65535), strict=True):
            header = fabio.open(path).header
            fabio.dtrekimage.DtrekImage(data=frame.astype("<u2"), header=header).write(real / path.name)
        found = spots("virtual", virtual)
    assert_same_spots(found, spots("real", list(real.iterdir())))


FAST = ("nproc=1", "indexing.method=fft1d", "n_macro_cycles=2")
INTEGRATED = """
import sys
from dials.array_family import flex
import numpy
table = flex.reflection_table.from_file(sys.argv[1])
names = {"miller_index": "hkl", "intensity.sum.value": "i", "intensity.prf.value": "prf", "xyzcal.px": "xyz"}
numpy.savez(sys.argv[2], **{short: numpy.array(list(table[name])) for name, short in names.items()})
"""


def test_a_crystal_is_indexed_and_integrated_from_virtual_cbf_as_from_the_hdf5_file(
    scan: Scan, mount: Mount, experiment: Callable[..., Path], run: Run, program: Callable[[str], str]
) -> None:
    python = dials_python(program)

    def process(name: str, *files: Path | str) -> tuple[list[float], dict[str, Any]]:
        folder = experiment(name, *files)
        run(program("dials.find_spots"), "imported.expt", "nproc=1", cwd=folder)
        run(program("dials.index"), "imported.expt", "strong.refl", *FAST, cwd=folder)
        run(program("dials.integrate"), "indexed.expt", "indexed.refl", "nproc=1", cwd=folder)
        run(python, "-c", INTEGRATED, "integrated.refl", "columns.npz", cwd=folder)
        crystal = json.loads((folder / "integrated.expt").read_text())["crystal"][0]
        with np.load(folder / "columns.npz") as columns:
            return [float(np.linalg.norm(crystal[f"real_space_{axis}"])) for axis in "abc"], dict(columns)

    with mount(scan.url, "--format", "cbf", *GEOMETRY) as folder:
        cell, found = process("virtual", *folder.glob("*.cbf"))
    true_cell, expected = process("nxmx", scan.file)
    assert cell == pytest.approx(true_cell, rel=1e-6)
    assert cell == pytest.approx([CELL_ANGSTROM] * 3, rel=1e-2)
    assert len(expected["hkl"]) > 200
    np.testing.assert_array_equal(found["hkl"], expected["hkl"])
    np.testing.assert_array_equal(found["i"], expected["i"])
    np.testing.assert_allclose(found["xyz"], expected["xyz"], atol=1e-3)
    np.testing.assert_allclose(found["prf"], expected["prf"], rtol=1e-3, atol=1e-3)


def test_dials_merge_cbf_adds_virtual_frames(scan: Scan, mount: Mount, run: Run, program: Callable[[str], str]) -> None:
    merge = program("dials.merge_cbf")
    with mount(scan.url, "--format", "cbf", *GEOMETRY) as folder:
        run(merge, *sorted(folder.glob("*.cbf")), f"output.image_prefix={folder}/sum_", "merge_n_images=4")
    sums = [fabio.open(path).data for path in sorted(folder.glob("sum_*.cbf"))]
    valid = scan.frames[0] != GAP
    for found, frames in zip(sums, (scan.frames[:4], scan.frames[4:]), strict=True):
        np.testing.assert_array_equal(found[valid], frames.sum(0)[valid])
        assert set(np.unique(found[~valid])) == {-1, -2}
