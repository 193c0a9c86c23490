# SPDX-License-Identifier: MIT
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
import tifffile
from fabio import marccdimage
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy.errors import LayoutError
from fastlegacy.layouts.mccd import LAYOUT
from fastlegacy.model import Geometry, Literal, StackFacts
from fastlegacy.pixels import PixelPolicy

FULL = Geometry(
    start_deg=-90.0,
    step_deg=0.25,
    exposure_s=0.05,
    wavelength_angstrom=0.2854,
    distance_m=0.14,
    beam_x_px=1034.5,
    beam_y_px=1081.0,
    pixel_x_m=75e-6,
    pixel_y_m=100e-6,
    saturation_counts=12345,
    title="lysozyme",
    start_time="2026-01-02T03:04:05",
    period_s=60.0,
)
DTYPES = ["u1", "<u2", ">u2", "<u4", ">u8", "i1", ">i2", "<i4", ">i8", "<f4", ">f8"]
SHAPES = [(2, 7, 13), (2, 1, 9), (2, 9, 1), (2, 6, 6)]


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


def number(data: bytes, offset: int) -> int:
    return struct.unpack_from("<i", data, offset)[0]


def text(data: bytes, offset: int, size: int) -> bytes:
    return data[offset : offset + size].rstrip(b"\0")


def pixels(data: bytes, side: int) -> Any:
    return np.frombuffer(data, "<u2", offset=4096).reshape(side, side)


def fields(data: bytes) -> dict[str, Any]:
    """Return marccd's record by the C declaration that fabio has of it (fabio.open shows that of the TIFF only)."""
    return marccdimage.interpret_header(data[1024:4096], marccdimage.HEADER_FORMAT, marccdimage.HEADER_NAMES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("header_type", 2),
        ("header_byte_order", 1234),
        ("data_byte_order", 1234),
        ("header_size", 3072),
        ("nfast", 5),
        ("nslow", 5),
        ("depth", 2),
        ("record_length", 10),
        ("signif_bits", 16),
        ("data_type", 16),
        ("saturated_value", 12345),
        ("nimages", 1),
        ("origin", 0),
        ("orientation", 0),
        ("view_direction", 0),
        ("xtal_to_detector", 140_000),
        ("beam_x", 1_035_000),
        ("beam_y", 1_081_500),
        ("integration_time", 50),
        ("exposure_time", 50),
        ("start_omega", 0),
        ("start_phi", -88_250),
        ("start_xtal_to_detector", 140_000),
        ("end_omega", 0),
        ("end_phi", -88_000),
        ("end_xtal_to_detector", 140_000),
        ("rotation_axis", 4),
        ("rotation_range", 250),
        ("detector_rotx", 0),
        ("detector_roty", 0),
        ("detector_rotz", 0),
        ("pixelsize_x", 75_000),
        ("pixelsize_y", 100_000),
        ("mean_bias", 0),
        ("source_wavelength", 28_540),
    ],
)
def test_fabio_finds_each_number(name: str, expected: int) -> None:
    assert fields(header(facts(), 7))[name] == expected


def test_numbers_are_where_the_documentation_of_marccd_has_them() -> None:
    data = header(facts(), 7)
    places = [(1104, 5), (1128, 12345), (1664, 140_000), (1668, 1_035_000), (1708, -88_250), (1756, 4), (1932, 28_540)]
    assert [(offset, number(data, offset)) for offset, _ in places] == places


def test_texts_are_where_the_documentation_of_marccd_has_them() -> None:
    data = header(facts(), 1)
    assert text(data, 1028, 16) == b"MMX"
    assert text(data, 2048, 128) == b"lysozyme"
    assert {text(data, offset, 32) for offset in (2368, 2400, 2432)} == {b"010203052026.05"}
    assert text(data, 2464, 512) == b"fastlegacy: /data/scan.h5::/x"


def test_long_texts_are_cut_before_their_last_zero() -> None:
    data = header(facts(url="x" * 1000, geometry=replace(FULL, title="\u00e9" * 100)))
    assert data[2048:2176] == (b"%C3%A9" * 100)[:127] + b"\0"
    assert data[2464:2976].endswith(b"xx\0")
    assert data[2976:] == bytes(4096 - 2976)


def test_the_header_has_one_length_and_only_angles_and_times_differ() -> None:
    first, last = header(facts(), 0), header(facts(), 999)
    assert len(first) == len(last) == 4096
    changed = {at & ~3 for at in range(4096) if first[at] != last[at]}
    assert {at for at in changed if at < 2048} <= {1708, 1740}
    assert {at & ~31 for at in changed if at >= 2048} <= {2368, 2400, 2432}


def test_neutral_values_where_nobody_said_anything() -> None:
    data = header(facts(geometry=Geometry(), mtime_ns=0))
    assert [number(data, at) for at in (1664, 1668, 1672, 1796, 1932)] == [100_000, 2500, 1500, 100_000, 100_000]
    assert [number(data, at) for at in (1128, 1680, 1708, 1740, 1760)] == [65535, 0, 0, 0, 0]
    assert text(data, 2368, 32) == b"010100001970.00"
    assert text(data, 2048, 128) == b""


@pytest.mark.parametrize("name", ["start_deg", "distance_m", "beam_x_px", "wavelength_angstrom", "exposure_s"])
def test_what_32_bits_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(LayoutError, match="does not fit into 32 bits"):
        header(facts(geometry=replace(FULL, **{name: 1e9})))


def test_squares_of_4_gib_are_refused() -> None:
    assert len(header(facts(shape=(1, 46339, 1)))) == 4096
    with pytest.raises(LayoutError, match="4 GiB"):
        header(facts(shape=(1, 1, 46341)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_others_read_the_image_at_the_top_left_of_a_square(
    whole_file: Any, facts_of: Callable[..., StackFacts], tmp_path: Path, dtype: str, shape: tuple[int, int, int]
) -> None:
    frames = (1 + np.arange(np.prod(shape)) % 120).reshape(shape).astype(dtype)
    side = max(shape[1:])
    square = np.zeros((side, side), np.uint16)
    square[: shape[1], : shape[2]] = frames[1]
    path = tmp_path / "data0002.mccd"
    path.write_bytes(whole_file(LAYOUT, facts_of(frames, geometry=FULL), frames, 1))
    with fabio.open(str(path)) as image:
        assert type(image).__name__ == "MarccdImage"
        np.testing.assert_array_equal(image.data.reshape(side, side), square)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray().reshape(side, side), square)
        assert page.tags["StripOffsets"].value == (4096,)
        assert page.tags["DateTime"].value == "2020:09:13 12:26:40"
        assert page.tags["XResolution"].value == (400, 3)
        assert page.tags["Software"].value == "fastlegacy"


def test_pixels_are_clipped_gaps_are_0_and_a_pedestal_lifts_the_others(
    whole_file: Any, facts_of: Callable[..., StackFacts]
) -> None:
    frames = np.array([[[0, 65535, 65536], [2**31, 2**32 - 1, 5]]], "<u4")
    plain = whole_file(LAYOUT, facts_of(frames), frames)
    assert pixels(plain, 3).tolist() == [[0, 65535, 65535], [65535, 0, 5], [0, 0, 0]]
    lifted = whole_file(LAYOUT, facts_of(frames, options={"pedestal": 10}), frames)
    assert pixels(lifted, 3).tolist() == [[10, 65535, 65535], [65535, 0, 15], [0, 0, 0]]
    assert number(lifted, 1804) == 10_000


def test_what_is_beside_the_image_is_0_whatever_gaps_are(whole_file: Any, facts_of: Callable[..., StackFacts]) -> None:
    frames = np.array([[[65535, 5]]], "<u2")
    data = whole_file(LAYOUT, facts_of(frames, policy=PixelPolicy(mask_value=65535)), frames)
    assert pixels(data, 2).tolist() == [[65535, 5], [0, 0]]


def test_a_pedestal_without_room_is_refused() -> None:
    with pytest.raises(LayoutError, match="pedestal 70000 is not possible"):
        header(facts(options={"pedestal": 70_000}))


@settings(max_examples=200, deadline=None)
@given(
    start_deg=st.floats(-2000, 2000),
    step_deg=st.floats(-10, 10),
    distance_m=st.floats(1e-3, 2000),
    beam_px=st.floats(-1e4, 1e4),
    frame=st.integers(0, 999),
)
def test_every_number_is_the_nearest_one(
    start_deg: float, step_deg: float, distance_m: float, beam_px: float, frame: int
) -> None:
    known = {"start_deg": start_deg, "step_deg": step_deg, "distance_m": distance_m, "beam_y_px": beam_px}
    data = header(facts(geometry=Geometry(**known)), frame)
    assert number(data, 1708) == pytest.approx(1e3 * (start_deg + frame * step_deg), abs=0.5001)
    assert number(data, 1740) == pytest.approx(1e3 * (start_deg + (frame + 1) * step_deg), abs=0.5001)
    assert number(data, 1664) == pytest.approx(1e6 * distance_m, abs=0.5001)
    assert number(data, 1672) == pytest.approx(1e3 * (beam_px + 0.5), abs=0.5001)
