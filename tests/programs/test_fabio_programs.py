# SPDX-License-Identifier: MIT
"""fabio-convert and cryio on a mount: what they read of virtual files are the pixels of the HDF5 file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fabio
import numpy as np
import pytest

from .conftest import Mount, Run, Scan
from .scans import GEOMETRY

pytestmark = [pytest.mark.programs, pytest.mark.fuse]

# options of the mount, and what gaps and bad pixels are in the files
KINDS = {
    "cbf": ((), -1, -2),
    "cbf constant": (("-O", "size=constant", "-O", "md5=yes"), -1, -2),
    "edf": (("--dtype", "i4"), -1, -1),
    "esperanto": ((), -1, -2),
    "esperanto packed": (("-O", "pixels=AGI_BITFIELD"), -1, -2),
    "sfrm": ((), 0, 0),
    "smv": ((), 0, 0),
    "tiff": (("--dtype", "i4"), -1, -1),
}


@pytest.mark.parametrize(("kind", "to"), [*((kind, "edf") for kind in KINDS), ("cbf", "tifimage"), ("edf", "cbf")])
def test_fabio_convert_writes_the_pixels(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path, kind: str, to: str
) -> None:
    """Esperanto has the last frame of a positive step first, and the image in the middle of the top of a square."""
    convert = program("fabio-convert")
    options, gap, bad = KINDS[kind]
    name = kind.split()[0]
    out = tmp_path / "out"
    out.mkdir()
    with mount(scan.url, "--format", name, "--companions", "none", *options, *GEOMETRY) as folder:
        files = sorted(folder.iterdir())
        assert len(files) == len(scan.frames)
        run(convert, "-F", to, "-o", out, *files[1:3])
    expected = scan.marked(gap, bad)
    if name == "esperanto":
        expected = np.pad(expected[::-1], ((0, 0), (0, 1064 - 1062), (18, 18)), constant_values=-1)
    written = sorted(out.iterdir())
    assert len(written) == 2
    for path, frame in zip(written, expected[1:3], strict=True):
        np.testing.assert_array_equal(fabio.open(path).data, frame)


CRYIO = """
import sys, numpy
from cryio import cbfimage
image = cbfimage.CbfImage(sys.argv[1])
numpy.save(sys.argv[2], image.array)
print([image.header[name] for name in ("Wavelength", "Detector_distance", "Exposure_time", "Start_angle",
                                        "Angle_increment", "Beam_x", "Beam_y")])
"""


@pytest.mark.parametrize("size", ["exact", "constant"])
def test_cryio_reads_pixels_and_header_of_cbf_with_digest(
    scan: Scan, mount: Mount, run: Run, python_with: Callable[[str], str], tmp_path: Path, size: str
) -> None:
    """It says of any CBF without a digest that it is corrupted."""
    python = python_with("cryio")
    with mount(scan.url, "--format", "cbf", "-O", "md5=yes", "-O", f"size={size}", *GEOMETRY) as folder:
        done = run(python, "-c", CRYIO, folder / "data0003.cbf", "pixels.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), scan.marked(-1, -2)[2])
    assert done.stdout.strip() == "[0.9, 0.15, 0.1, -89.0, 0.5, 514.75, 531.0]"
