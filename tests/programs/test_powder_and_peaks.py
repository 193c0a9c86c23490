# SPDX-License-Identifier: MIT
"""pyFAI and ImageD11 on a mount: the curve and the peaks of the pixels in the HDF5 file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from .conftest import Mount, Run, Scan
from .scans import GEOMETRY

pytestmark = [pytest.mark.programs, pytest.mark.fuse]

# integrates what stands in an .npy file, with numbers that were not taken from a PONI file
INTEGRATE = """
import sys
import numpy
try:
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator
except ImportError:
    from pyFAI.azimuthalIntegrator import AzimuthalIntegrator
import fabio, pyFAI
poni, mask, image, frame, true_mask, out = sys.argv[1:]
how = {"npt": 800, "unit": "q_A^-1", "polarization_factor": 0.95, "error_model": "poisson"}
integrator = pyFAI.load(poni)
found = integrator.integrate1d(fabio.open(image).data, mask=fabio.open(mask).data, **how)
truth = AzimuthalIntegrator(dist=0.15, poni1=531.0 * 75e-6, poni2=514.75 * 75e-6, pixel1=75e-6, pixel2=75e-6,
                            wavelength=0.9e-10)
expected = truth.integrate1d(numpy.load(frame), mask=numpy.load(true_mask), **how)
numpy.save(out, numpy.array([[r.radial, r.intensity, r.sigma] for r in (found, expected)]))
"""


@pytest.mark.parametrize("kind", ["edf", "tiff", "npy"])
def test_pyfai_integrates_virtual_files_with_the_virtual_poni_and_mask(
    scan: Scan, mount: Mount, run: Run, python_with: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    python = python_with("pyFAI")
    np.save(tmp_path / "mask.npy", scan.mask != 0)
    with mount(scan.url, "--format", kind, "--companions", "poni,mask", *GEOMETRY) as folder:
        for i in (0, 5):
            np.save(tmp_path / "frame.npy", scan.frames[i].astype("f8"))
            (image,) = folder.glob(f"data{i + 1:04d}.*")
            companions = folder / "data.poni", folder / "data_mask.edf"
            run(python, "-c", INTEGRATE, *companions, image, "frame.npy", "mask.npy", "curves.npy")
            found, expected = np.load(tmp_path / "curves.npy")
            assert expected[1].max() > 5
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_pyfai_saxs_writes_its_curves_into_the_mount(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    """The same numbers come out for EDF files by fabio, in a folder on the disk."""
    saxs = program("pyFAI-saxs")
    real, unmounted = tmp_path / "real", tmp_path / "mount"
    real.mkdir()
    files = ("data0001.edf", "data0002.edf")
    words = ("-p", "data.poni", "-m", "data_mask.edf", *files)
    with mount(scan.url, "--format", "edf", "--companions", "poni,mask", *GEOMETRY) as folder:
        for name, frame in zip(files, scan.frames, strict=False):
            fabio.edfimage.EdfImage(data=frame).write(real / name)
        for name in ("data.poni", "data_mask.edf"):
            (real / name).write_bytes((folder / name).read_bytes())
        run(saxs, *words, cwd=folder)
    run(saxs, *words, cwd=real)
    assert sorted(path.name for path in unmounted.iterdir()) == ["data0001.dat", "data0002.dat"]
    for name in ("data0001.dat", "data0002.dat"):
        found, expected = (np.loadtxt(place / name) for place in (unmounted, real))
        assert len(expected) > 500
        assert 5 < expected[:, 1].max() < 1000  # and not that of gaps
        np.testing.assert_array_equal(found, expected)


def peaks(path: Path) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.loadtxt(path)
    return found


def test_imaged11_finds_the_same_peaks_as_in_files_by_fabio(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    search = program("peaksearch.py")
    real = tmp_path / "real"
    real.mkdir()
    for i, frame in enumerate(scan.marked(0, 0).astype("u4")):
        header = {"Omega": repr(-90 + 0.5 * i), "OmegaStep": "0.5"}
        fabio.edfimage.EdfImage(data=frame, header=header).write(real / f"data{i + 1:04d}.edf")
    with mount(scan.url, "--format", "edf", "--mask-value", "0", *GEOMETRY) as folder:
        for place, out in ((folder, "virtual.spt"), (real, "real.spt")):
            words = ("-F", ".edf", "-f", "1", "-l", str(len(scan.frames)), "-t", "50", "-t", "200", "-p", "Y")
            run(search, "-n", place / "data", *words, "--OmegaFromHeader", "-o", out)
    for threshold in (50, 200):
        found, expected = (peaks(tmp_path / f"{name}_t{threshold}.flt") for name in ("virtual", "real"))
        assert len(expected) > 100
        np.testing.assert_array_equal(found, expected)
    column = (tmp_path / "virtual_t50.flt").read_text().split("\n")[0].lstrip("#").split().index("omega")
    omegas = peaks(tmp_path / "virtual_t50.flt")[:, column]
    assert omegas.min() == pytest.approx(-90.0)
    assert omegas.max() == pytest.approx(-86.5)
