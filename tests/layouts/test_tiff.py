# SPDX-License-Identifier: MIT
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fabio
import numpy as np
import pytest
import tifffile
from PIL import Image

from fastlegacy.errors import LayoutError
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.tiff import LAYOUT
from fastlegacy.model import Geometry, Literal, StackFacts
from fastlegacy.pixels import PixelPolicy

FULL = Geometry(
    start_deg=-90.0,
    step_deg=0.1,
    exposure_s=0.05,
    wavelength_angstrom=0.2854,
    distance_m=0.14,
    beam_x_px=1034.5,
    beam_y_px=1081.0,
    pixel_x_m=75e-6,
    pixel_y_m=100e-6,
)
LINES = (
    b"# Pixel_size 75e-6 m x 100e-6 m\r\n"
    b"# Exposure_time 0.05 s\r\n"
    b"# Wavelength 0.2854 A\r\n"
    b"# Detector_distance 0.14 m\r\n"
    b"# Beam_xy (1035, 1081.5) pixels\r\n"
    b"# Start_angle -89.30000000 deg.        \r\n"
    b"# Angle_increment 0.1 deg.\r\n"
    b"# Image_path: /data/scan.h5::/x\r\n\0"
)
SECOND_NS = 10**9


def facts(**changes: Any) -> StackFacts:
    shape = changes.pop("shape", (1000, 3, 5))
    values = {
        "url": "/data/scan.h5::/x",
        "shape": shape,
        "leading_shape": shape[:1],
        "dtype": np.dtype("<u2"),
        "mtime_ns": 1_600_000_000_999_999_999,
        "geometry": FULL,
    }
    return StackFacts(**{**values, **changes})


def header(of: StackFacts, frame: int = 0) -> bytes:
    piece = LAYOUT.pieces(of, frame)[0]
    assert isinstance(piece, Literal)
    return piece.data


def tags(data: bytes) -> dict[int, tuple[int, int, int]]:
    """Return tag -> (type, count, value) by the words of TIFF 6.0, without a library."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [struct.unpack_from("<HHII", data, start + 2 + 12 * i) for i in range(count)]
    return {tag: rest for tag, *rest in entries}  # type: ignore[misc]


def text(data: bytes, tag: int) -> bytes:
    _, count, offset = tags(data)[tag]
    return data[offset : offset + count]


def test_the_header_byte_by_byte() -> None:
    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    expected = b"II\x2a\x00\x82\x00\x00\x00" + struct.pack("<4I", 400, 3, 100, 1)
    expected += b"2020:09:13 12:26:40\0" + b"fastlegacy\0"
    expected = expected.ljust(130, b"\0") + b"\x10\x00"
    expected += entry(256, 4, 1, 5) + entry(257, 4, 1, 3) + entry(258, 3, 1, 16) + entry(259, 3, 1, 1)
    expected += entry(262, 3, 1, 1) + entry(270, 2, len(LINES), 328) + entry(273, 4, 1, 4096) + entry(277, 3, 1, 1)
    expected += entry(278, 4, 1, 3) + entry(279, 4, 1, 30) + entry(282, 5, 1, 8) + entry(283, 5, 1, 16)
    expected += entry(296, 3, 1, 3) + entry(305, 2, 11, 44) + entry(306, 2, 20, 24) + entry(339, 3, 1, 1)
    expected += bytes(4)
    assert len(expected) == 328
    assert header(facts(), 7) == (expected + LINES).ljust(4096, b"\0")


@pytest.mark.parametrize(
    ("dtype", "bits", "sample_format"),
    [("u1", 8, 1), ("<u2", 16, 1), (">u4", 32, 1), ("<i2", 16, 2), (">i4", 32, 2), ("<f4", 32, 3)],
)
def test_bits_and_sample_format(dtype: str, bits: int, sample_format: int) -> None:
    found = tags(header(facts(dtype=np.dtype(dtype))))
    assert (found[258], found[339]) == ([3, 1, bits], [3, 1, sample_format])


def test_what_nobody_said_is_not_written() -> None:
    data = header(facts(geometry=Geometry()))
    assert text(data, 270) == b"# Image_path: /data/scan.h5::/x\r\n\0"
    assert (data[8:24], tags(data)[296]) == (struct.pack("<4I", 1, 1, 1, 1), [3, 1, 1])


@pytest.mark.parametrize(
    "known", [{"pixel_x_m": 75e-6}, {"beam_y_px": 3.0}, {"step_deg": 1.0}, {"start_deg": 1.0}], ids=str
)
def test_half_of_a_pair_says_nothing(known: dict[str, float]) -> None:
    assert text(header(facts(geometry=Geometry(**known))), 270).count(b"#") == 1


@pytest.mark.parametrize("pixel_m", [0.0, -75e-6, 1e-30, 1e30, float("nan")])
def test_a_pixel_size_that_no_rational_can_hold_is_no_resolution(pixel_m: float) -> None:
    data = header(facts(geometry=Geometry(pixel_x_m=pixel_m, pixel_y_m=75e-6)))
    assert (data[8:24], tags(data)[296]) == (struct.pack("<4I", 1, 1, 1, 1), [3, 1, 1])


def test_the_description_has_one_length_for_all_angles() -> None:
    of = facts(geometry=Geometry(start_deg=-5.0, step_deg=1.0))
    assert {tags(header(of, frame))[270][1] for frame in (0, 5, 14, 104, 999)} == {tags(header(of))[270][1]}


@pytest.mark.parametrize("url", ["/data/\u00e9%\r\n.h5::/x", "/data/\udcff\0.h5::/x"])
def test_the_place_is_one_line_of_ascii(url: str) -> None:
    last = text(header(facts(url=url)), 270).removesuffix(b"\r\n\0").split(b"\r\n")[-1]
    assert unquote(last.removeprefix(b"# Image_path: ").decode("ascii"), errors="surrogateescape") == url


@pytest.mark.parametrize(
    ("mtime_ns", "expected"),
    [
        (0, b"1970:01:01 00:00:00\0"),
        (-1, b"1969:12:31 23:59:59\0"),
        (-62135596800 * SECOND_NS, b"0001:01:01 00:00:00\0"),
        (10**12 * SECOND_NS, b"    :  :     :  :  \0"),
        (-(10**12) * SECOND_NS, b"    :  :     :  :  \0"),
    ],
)
def test_the_time_is_utc_and_always_20_bytes(mtime_ns: int, expected: bytes) -> None:
    assert text(header(facts(mtime_ns=mtime_ns)), 306) == expected


def test_the_longest_path_that_fits_and_one_more() -> None:
    room = 4096 - 328 - len("# Image_path: \r\n\0")
    assert header(facts(geometry=Geometry(), url="x" * room)).endswith(b"xx\r\n\0")
    with pytest.raises(LayoutError, match=r"4097 bytes.*shorter path"):
        header(facts(geometry=Geometry(), url="x" * (room + 1)))


def test_files_of_4_gib_are_refused() -> None:
    assert tags(header(facts(shape=(1, 2**20 - 2, 4096), dtype=np.dtype("u1"))))[279][2] == 2**32 - 2 * 4096
    with pytest.raises(LayoutError, match="4 GiB"):
        header(facts(shape=(1, 2**20 - 1, 4096), dtype=np.dtype("u1")))
    with pytest.raises(LayoutError, match="4 GiB"):
        header(facts(shape=(1, 0, 2**32)))


def test_an_angle_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(LayoutError, match=r"frame 999.*does not fit.*Start_angle"):
        header(facts(geometry=Geometry(start_deg=0.0, step_deg=1e12)), 999)


@pytest.mark.parametrize("shape", [(2, 7, 13), (2, 1, 9), (2, 9, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<u4", ">u4", "<i2", ">i2", "<i4", ">i4", "<f4", ">f4"])
def test_others_read_pixels_and_header(
    pixel_stack: Callable[..., Any], tmp_path: Path, dtype: str, shape: tuple[int, int, int]
) -> None:
    stack = pixel_stack(dtype=dtype, geometry=FULL, shape=shape)
    path = tmp_path / "data0002.tif"
    path.write_bytes(Tree(stack, LAYOUT)[path.name].read())
    native = np.dtype(dtype).newbyteorder("=")
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        pixels = page.asarray()
        assert pixels.dtype == native
        np.testing.assert_array_equal(pixels, stack.pixels[1])
        assert page.description.splitlines()[0] == "# Pixel_size 75e-6 m x 100e-6 m"
        assert page.tags["DateTime"].value == "2020:09:13 12:26:40"
        assert page.tags["XResolution"].value == (400, 3)
    if native.str[1:] != "u4":  # which Pillow takes for signed
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), stack.pixels[1])
    with fabio.open(str(path)) as image:
        np.testing.assert_array_equal(image.data.reshape(shape[1:]), stack.pixels[1])
        assert image.data.dtype == native
        assert type(image).__name__ == "PilatusImage"
        assert image.header["Start_angle"] == "-89.90000000 deg."
        assert image.header["Beam_xy"] == "(1035, 1081.5) pixels"


@pytest.mark.parametrize("stored", ["<u4", ">u4"])
@pytest.mark.parametrize(
    ("wanted", "bits", "sample_format", "expected"),
    [
        ("u2", 16, 1, [0, 65535, 65535, 65535]),
        ("i4", 32, 2, [0, 65536, 2**31 - 1, -1]),
        ("i2", 16, 2, [0, 2**15 - 1, 2**15 - 1, -1]),
        ("f4", 32, 3, [0, 65536, 2**32, np.nan]),
        ("u1", 8, 1, [0, 255, 255, 255]),
    ],
)
def test_the_tags_follow_the_type_that_the_user_wants(
    whole_file: Any, tmp_path: Path, stored: str, wanted: str, bits: int, sample_format: int, expected: list[float]
) -> None:
    frames = np.array([[[0, 65536], [2**32 - 2, 2**32 - 1]]], stored)
    of = facts(shape=frames.shape, dtype=frames.dtype, policy=PixelPolicy(dtype=wanted))
    data = whole_file(LAYOUT, of, frames)
    found = tags(data)
    assert (found[258], found[339]) == ([3, 1, bits], [3, 1, sample_format])
    assert found[279] == [4, 1, 4 * bits // 8]
    assert len(data) == 4096 + 4 * bits // 8
    path = tmp_path / "data0001.tif"
    path.write_bytes(data)
    wanted_pixels = np.array(expected, wanted).reshape(2, 2)
    np.testing.assert_array_equal(tifffile.imread(path), wanted_pixels)
    with fabio.open(str(path)) as image:
        assert image.data.dtype == np.dtype(wanted)
        np.testing.assert_array_equal(image.data, wanted_pixels)


def test_unsigned_32_bit_pixels_that_pillow_takes_for_negative_ones(whole_file: Any, tmp_path: Path) -> None:
    frames = np.array([[[7, 2**31 - 1, 2**31, 2**32 - 1]]], "<u4")
    path = tmp_path / "data0001.tif"
    path.write_bytes(whole_file(LAYOUT, facts(shape=frames.shape, dtype=frames.dtype), frames))
    np.testing.assert_array_equal(tifffile.imread(path), frames[0])
    with fabio.open(str(path)) as image:
        np.testing.assert_array_equal(image.data.reshape(1, 4), frames[0])
    # the same as signed pixels is read by Pillow, too
    of = facts(shape=frames.shape, dtype=frames.dtype, policy=PixelPolicy(dtype="i4"))
    path.write_bytes(whole_file(LAYOUT, of, frames))
    with Image.open(path) as image:
        assert np.asarray(image).tolist() == [[7, 2**31 - 1, 2**31 - 1, -1]]


def test_the_limit_of_4_gib_is_that_of_the_written_type() -> None:
    large = facts(shape=(1, 2**20 - 2, 2048), dtype=np.dtype("u2"), policy=PixelPolicy(dtype="u1"))
    assert tags(header(large))[279][2] == (2**20 - 2) * 2048
    with pytest.raises(LayoutError, match="4 GiB"):
        header(facts(shape=(1, 2**20 - 2, 2048), dtype=np.dtype("u2"), policy=PixelPolicy(dtype="f4")))
