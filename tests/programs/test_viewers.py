# SPDX-License-Identifier: MIT
"""ImageJ and Octave open virtual files: each number that they show is a pixel of the HDF5 file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames

from .conftest import Mount, Run

pytestmark = [pytest.mark.programs, pytest.mark.fuse]

DTYPES = ("u1", "u2", "u4", "i2", "i4", "f4")
SHAPE = (49, 61)
Stack = tuple[str, np.ndarray[Any, Any]]

IMAGEJ = Path("/usr/share/java/ij.jar")
# four words for each file: the file, how it is imported, the bytes before the pixels, and where the numbers go
MACRO = f"""
words = split(getArgument(), ",");
for (k = 0; k < words.length; k += 4) {{
  if (words[k + 1] == "tiff") open(words[k]);
  else run("Raw...", "open=" + words[k] + " image=[" + words[k + 1] + "] offset=" + words[k + 2]
           + " width={SHAPE[1]} height={SHAPE[0]} little-endian");
  out = File.open(words[k + 3]);
  for (y = 0; y < getHeight(); y++) {{
    row = newArray(getWidth());
    for (x = 0; x < row.length; x++) row[x] = d2s(getPixel(x, y), 4);
    print(out, String.join(row, " "));
  }}
  File.close(out);
  close();
}}
"""
RAW_TYPES = {
    "u1": "8-bit",
    "u2": "16-bit Unsigned",
    "u4": "32-bit Unsigned",
    "i2": "16-bit Signed",
    "i4": "32-bit Signed",
    "f4": "32-bit Real",
}


@pytest.fixture(params=DTYPES)
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Stack:
    """Return the url and the pixels of a small stack."""
    dtype = request.param
    frames = detector_frames(1, SHAPE, "f8" if dtype == "f4" else dtype)
    if dtype == "f4":
        frames = np.where(frames > 1e30, np.nan, frames / 7).astype("f4")
    if dtype in ("i2", "i4"):
        frames[:, 3, 5:7] = -1, np.iinfo(dtype).min
    return write_stack(tmp_path / "stack.h5", frames, filters="bslz4"), frames


def test_imagej_opens_tiff_flat_and_raw(
    stack: Stack, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    """ImageJ shifts 16 signed bits by 32768, and takes 32 unsigned ones of any TIFF for signed."""
    if not IMAGEJ.exists():
        pytest.skip("ImageJ is not installed")
    java, xvfb, _ = program("java"), program("xvfb-run"), program("xauth")
    url, (frame,) = stack
    (tmp_path / "macro.ijm").write_text(MACRO)
    tifffile.imwrite(tmp_path / "real.tif", frame, photometric="minisblack")
    code = f"{frame.dtype.kind}{frame.dtype.itemsize}"
    with mount(url, "--format", "tiff,flat,raw") as folder:
        files = [
            (folder / "tiff/data0001.tif", "tiff", 0, tmp_path / "tiff"),
            (tmp_path / "real.tif", "tiff", 0, tmp_path / "real"),
            (folder / "flat/data0001.raw", RAW_TYPES[code], 256, tmp_path / "flat"),
            (folder / "raw/data0001.bin", RAW_TYPES[code], 0, tmp_path / "raw"),
        ]
        words = ",".join(str(word) for file in files for word in file)
        run(xvfb, "-a", java, "-cp", IMAGEJ, "ij.ImageJ", "-batch", tmp_path / "macro.ijm", words)
    found = {name: np.loadtxt(tmp_path / name) for name in ("tiff", "real", "flat", "raw")}
    np.testing.assert_array_equal(found["tiff"], found["real"])
    np.testing.assert_array_equal(found["flat"], found["raw"])
    shown = frame.astype("i4") if code == "u4" else frame
    shown = shown.astype("f4") + (32768 if code == "i2" else 0)
    np.testing.assert_allclose(found["tiff"], shown, rtol=1e-6, atol=1e-4)
    unsigned = frame.astype("f4") if code == "u4" else shown
    np.testing.assert_allclose(found["raw"], unsigned, rtol=1e-6, atol=1e-4)


OCTAVE = """
image = imread(argv(){1});
fid = fopen(argv(){2}, "w");
fwrite(fid, double(image'), "double");
fclose(fid);
"""


def test_octave_reads_raw_pixels_and_8_and_16_bits_of_tiff(
    stack: Stack, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    """``imread`` of Octave is GraphicsMagick, which has 16 bits; ``fread`` has all."""
    octave = program("octave-cli")
    url, (frame,) = stack
    name = frame.dtype.name.replace("float32", "single")
    (tmp_path / "tiff.m").write_text(OCTAVE)
    read = 'fid = fopen(argv(){1}); image = fread(fid, Inf, argv(){3}, 0, "ieee-le"); fclose(fid); '
    (tmp_path / "raw.m").write_text(OCTAVE.replace("image = imread(argv(){1});", read))
    with mount(url, "--format", "tiff,raw") as folder:
        run(octave, "-q", "raw.m", folder / "raw/data0001.bin", "raw.f8", name)
        if name in ("uint8", "uint16"):
            run(octave, "-q", "tiff.m", folder / "tiff/data0001.tif", "tiff.f8")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "raw.f8").reshape(SHAPE), frame)
    if name in ("uint8", "uint16"):
        np.testing.assert_array_equal(np.fromfile(tmp_path / "tiff.f8").reshape(SHAPE), frame)


def test_gnuplot_reads_raw_pixels(mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path) -> None:
    gnuplot = program("gnuplot")
    frames = detector_frames(1, SHAPE, "u2")
    url = write_stack(tmp_path / "stack.h5", frames, filters="bslz4")
    ny, nx = SHAPE
    with mount(url, "--format", "raw") as folder:
        source = f"'{folder}/data0001.bin' binary array=({nx},{ny}) format='%uint16' endian=little"
        run(gnuplot, "-e", f"set table 'table.txt'; plot {source} with image")
    rows = [line.split() for line in (tmp_path / "table.txt").read_text().splitlines() if line.strip()[:1].isdigit()]
    found = np.zeros(SHAPE)
    for x, y, value, *_ in rows:
        found[int(float(y)), int(float(x))] = float(value)
    np.testing.assert_array_equal(found, frames[0])
