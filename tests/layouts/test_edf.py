# SPDX-License-Identifier: MIT
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from fastlegacy.errors import LayoutError
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.edf import LAYOUT
from fastlegacy.model import Geometry, Literal, StackFacts

FULL = Geometry(
    start_deg=-90.0,
    step_deg=0.1,
    exposure_s=0.05,
    wavelength_angstrom=0.2854,
    distance_m=0.14,
    beam_x_px=1034.5,
    beam_y_px=1081.0,
    pixel_x_m=75e-6,
    pixel_y_m=75e-6,
    run=3,
)


def facts(**changes: Any) -> StackFacts:
    shape = changes.pop("shape", (1000, 3, 5))
    values = {
        "url": "/data/scan.h5::/1.1/measurement/eiger",
        "shape": shape,
        "leading_shape": shape[:1],
        "dtype": np.dtype("<u2"),
        "geometry": FULL,
    }
    return StackFacts(**{**values, **changes})


def header(of: StackFacts, frame: int = 0) -> bytes:
    piece = LAYOUT.pieces(of, frame)[0]
    assert isinstance(piece, Literal)
    return piece.data


def keys(of: StackFacts, frame: int = 0) -> dict[str, str]:
    lines = header(of, frame).decode("ascii").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.rstrip(" ;").partition("=") for line in lines[1:-1])}


def test_the_frame_of_the_header() -> None:
    data = header(facts())
    assert data.startswith(b"{\nEDF_DataBlockID = 1.Image.Psd ;\n")
    assert data.endswith(b" }\n")
    assert len(data) % 512 == 0
    assert keys(facts())["EDF_HeaderSize"] == str(len(data))
    assert re.search(rb"EDF_HeaderSize = [ 0-9]{5} ;\n", data)
    assert data.count(b"{") == data.count(b"}") == 1


def test_the_keys_that_describe_the_image() -> None:
    assert list(keys(facts()).items())[:10] == [
        ("EDF_DataBlockID", "1.Image.Psd"),
        ("EDF_BinarySize", "30"),
        ("EDF_HeaderSize", "512"),
        ("ByteOrder", "LowByteFirst"),
        ("DataType", "UnsignedShort"),
        ("Dim_1", "5"),
        ("Dim_2", "3"),
        ("Image", "1"),
        ("HeaderID", "EH:000001:000000:000000"),
        ("Size", "30"),
    ]


def test_geometry_is_in_metres_and_pixels_from_the_corner() -> None:
    found = keys(facts(), 7)
    assert float(found["Omega"]) == pytest.approx(-89.3)
    assert float(found["OmegaStep"]) == 0.1
    assert float(found["ExposureTime"]) == 0.05
    assert float(found["WaveLength"]) == pytest.approx(2.854e-11, rel=1e-12)
    assert float(found["SampleDistance"]) == 0.14
    assert (float(found["Center_1"]), float(found["Center_2"])) == (1035.0, 1081.5)
    assert (float(found["PSize_1"]), float(found["PSize_2"])) == (75e-6, 75e-6)
    assert found["Run"] == "3"
    assert found["FrameIndex"] == "7"


def test_what_nobody_said_is_not_written() -> None:
    found = keys(facts(geometry=Geometry()))
    assert not found.keys() & {"Omega", "OmegaStep", "WaveLength", "Center_1", "PSize_2", "Run", "ExposureTime"}


def test_a_step_without_a_start_says_nothing_of_omega() -> None:
    assert not keys(facts(geometry=Geometry(step_deg=1.0))).keys() & {"Omega", "OmegaStep"}


def test_all_leading_axes_are_named() -> None:
    of = facts(shape=(240, 3, 5), leading_shape=(2, 12, 10))
    assert keys(of, 0)["FrameIndex"].split() == ["0", "0", "0"]
    assert keys(of, 239)["FrameIndex"].split() == ["1", "11", "9"]
    assert len(header(of, 0)) == len(header(of, 239))


def test_a_2d_dataset_has_no_index() -> None:
    assert "FrameIndex" not in keys(facts(shape=(1, 3, 5), leading_shape=()))


@pytest.mark.parametrize("url", ["/data/\u00e9;{a}%\n.h5::/x", "/data/\udcff.h5::/x"])
def test_the_source_is_safe_for_a_header(url: str) -> None:
    data = header(facts(url=url))
    line = next(line for line in data.split(b"\n") if line.startswith(b"Source"))
    value = line.removeprefix(b"Source = ").removesuffix(b" ;")
    assert value.isascii()
    assert not set(b";{}\n") & set(value)
    from urllib.parse import unquote

    assert unquote(value.decode(), errors="surrogateescape") == url


def test_a_long_url_makes_a_longer_header() -> None:
    data = header(facts(url="/" + "x" * 3000 + ".h5::/a"))
    assert len(data) % 512 == 0
    assert keys(facts(url="/" + "x" * 3000 + ".h5::/a"))["EDF_HeaderSize"] == str(len(data))


@pytest.mark.parametrize("room", range(20, 45))
def test_the_header_is_a_multiple_of_512_wherever_its_text_ends(room: int) -> None:
    data = header(facts(url="x" * room))
    assert len(data) in (512, 1024)
    assert data.endswith(b";\n" + b" " * data.count(b" ", data.rindex(b";")) + b"}\n")


@pytest.mark.parametrize("step_deg", [1e12, float("inf"), float("nan")])
def test_an_angle_that_does_not_fit_is_an_error(step_deg: float) -> None:
    with pytest.raises(LayoutError, match=r"frame 999.*does not fit"):
        header(facts(geometry=Geometry(start_deg=0.0, step_deg=step_deg)), 999)


@pytest.mark.parametrize("dtype", ["<u1", "<i1", "<u2", ">u2", "<i4", ">i4", "<u8", ">i8", "<f4", ">f4", "<f8"])
def test_fabio_reads_the_same_pixels(pixel_stack: Callable[..., Any], tmp_path: Path, dtype: str) -> None:
    stack = pixel_stack(dtype=dtype, geometry=FULL)
    file = Tree(stack, LAYOUT)["data0003.edf"]
    path = tmp_path / file.name
    path.write_bytes(file.read())
    with fabio.open(str(path)) as image:
        np.testing.assert_array_equal(image.data, stack.pixels[2])
        assert image.data.dtype == np.dtype(dtype).newbyteorder("=")
        assert image.nframes == 1
        assert float(image.header["Omega"]) == pytest.approx(-89.8)
        assert image.header["Source"] == "/data/scan.h5::/entry/data"


def test_blocks_one_after_another_are_a_multi_frame_edf(pixel_stack: Callable[..., Any], tmp_path: Path) -> None:
    stack = pixel_stack(shape=(3, 4, 4))
    path = tmp_path / "all.edf"
    path.write_bytes(b"".join(file.read() for file in Tree(stack, LAYOUT).values()))
    with fabio.open(str(path)) as images:
        assert images.nframes == 3
        np.testing.assert_array_equal(images.get_frame(2).data, stack.pixels[2])
