# SPDX-License-Identifier: MIT
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.errors import LayoutError
from fastlegacy.layouts.smv import LAYOUT
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
    pixel_y_m=75e-6,
    saturation_counts=12345,
    start_time="2026-01-01T00:30:00+01:00",
    period_s=60.0,
)
EXPECTED = b"""{
HEADER_BYTES=  512;
DIM=2;
BYTE_ORDER=little_endian;
TYPE=unsigned_short;
SIZE1=5;
SIZE2=3;
PIXEL_SIZE=0.075000;
BIN=none;
DETECTOR_SN=0;
DISTANCE=140.0000;
TWOTHETA=0.0;
WAVELENGTH=0.2854000;
BEAM_CENTER_X=81.11250;
BEAM_CENTER_Y=77.62500;
TIME=0.050000;
OSC_RANGE=0.250000;
PHI=  -88.250000;
OSC_START=  -88.250000;
DATE=Wed Dec 31 23:37:00 2025;
CCD_IMAGE_SATURATION=12345;
IMAGE_PEDESTAL=0;
GAIN=1;
}
\x0c
"""
DTYPES = ["u1", "<u2", ">u2", "<u4", ">u8", "i1", ">i2", "<i4", ">i8", "<f4", ">f8"]
SHAPES = [(2, 7, 13), (2, 1, 9), (2, 9, 1)]


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


def keys(of: StackFacts, frame: int = 0) -> dict[str, str]:
    lines = header(of, frame).decode("ascii").partition("}")[0].splitlines()[1:]
    return {key: value.removesuffix(";").strip() for key, _, value in (line.partition("=") for line in lines)}


def pixels(data: bytes, shape: tuple[int, ...]) -> Any:
    return np.frombuffer(data, "<u2", offset=512).reshape(shape)


def test_the_header_byte_by_byte() -> None:
    assert header(facts(), 7) == EXPECTED.ljust(512)


def test_every_line_that_readers_need_is_there_where_nobody_said_anything() -> None:
    found = keys(facts(geometry=Geometry(), mtime_ns=0))
    assert float(found["WAVELENGTH"]) == 1.0
    assert float(found["DISTANCE"]) == 100.0
    assert float(found["PIXEL_SIZE"]) == 0.1
    assert (float(found["BEAM_CENTER_X"]), float(found["BEAM_CENTER_Y"])) == (0.15, 0.25)
    assert [float(found[key]) for key in ("TIME", "PHI", "OSC_START", "OSC_RANGE")] == [0, 0, 0, 0]
    assert found["DATE"] == "Thu Jan  1 00:00:00 1970"
    assert found["CCD_IMAGE_SATURATION"] == "65535"


def test_one_pixel_size_stands_for_both() -> None:
    assert keys(facts(geometry=Geometry(pixel_y_m=172e-6)))["PIXEL_SIZE"] == "0.172000"


def test_beam_x_is_along_the_slow_axis_from_the_corner_of_the_first_pixel() -> None:
    found = keys(facts(geometry=Geometry(beam_x_px=-0.5, beam_y_px=9.5, pixel_x_m=1e-4)))
    assert (float(found["BEAM_CENTER_X"]), float(found["BEAM_CENTER_Y"])) == (1.0, 0.0)


def test_a_still_at_an_angle_keeps_it_for_all_frames() -> None:
    found = keys(facts(geometry=Geometry(start_deg=33.0)), 999)
    assert (float(found["PHI"]), float(found["OSC_RANGE"])) == (33.0, 0.0)


def test_lines_stay_where_they_are_from_frame_to_frame() -> None:
    of = facts(geometry=replace(FULL, start_deg=-9.5, step_deg=1.0))
    first, *others = [header(of, frame).split(b"\n") for frame in (0, 5, 10, 120, 999)]
    for other in others:
        assert [len(line) for line in other] == [len(line) for line in first]
        changed = {a.partition(b"=")[0] for a, b in zip(first, other, strict=True) if a != b}
        assert changed == {b"PHI", b"OSC_START", b"DATE"}


def test_the_date_is_that_of_the_files_where_no_start_is_known() -> None:
    assert keys(facts(geometry=Geometry(period_s=60.0)), 5)["DATE"] == "Sun Sep 13 12:26:40 2020"


def test_the_date_is_understood_as_a_time() -> None:
    found = datetime.strptime(keys(facts(), 1)["DATE"], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    assert found == datetime(2025, 12, 31, 23, 31, tzinfo=UTC)


def test_pixels_that_are_not_square_are_refused() -> None:
    with pytest.raises(LayoutError, match=r"0\.075 mm x 0\.1 mm are not square"):
        header(facts(geometry=Geometry(pixel_x_m=75e-6, pixel_y_m=100e-6)))
    assert header(facts(geometry=Geometry(pixel_x_m=75e-6, pixel_y_m=75.01e-6)))


@pytest.mark.parametrize(
    "known",
    [
        {"wavelength_angstrom": 0.0},
        {"distance_m": -1.0},
        {"pixel_x_m": 0.0},
        {"beam_x_px": float("nan")},
        {"exposure_s": float("inf")},
    ],
    ids=str,
)
def test_a_geometry_that_no_program_can_use_is_refused(known: dict[str, float]) -> None:
    with pytest.raises(LayoutError, match="cannot be"):
        header(facts(geometry=Geometry(**known)))


def test_an_angle_that_does_not_fit_names_its_frame() -> None:
    with pytest.raises(LayoutError, match=r"frame 999.*does not fit.*OSC_START"):
        header(facts(geometry=Geometry(start_deg=0.0, step_deg=1e4)), 999)


def test_a_header_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"the header takes \d+ bytes, and SMV has 512"):
        header(facts(geometry=Geometry(distance_m=1e150, exposure_s=1e150)))


def test_a_pedestal_lifts_pixels_and_not_gaps(whole_file: Any, facts_of: Callable[..., StackFacts]) -> None:
    frames = np.array([[[0, 1, 65494], [65495, 65534, 65535]]], "<u2")
    of = facts_of(frames, options={"pedestal": 40}, geometry=Geometry(saturation_counts=1000))
    data = whole_file(LAYOUT, of, frames)
    assert pixels(data, (2, 3)).tolist() == [[40, 41, 65534], [65535, 65535, 0]]
    assert b"\nIMAGE_PEDESTAL=40;\n" in data[:512]
    assert b"\nCCD_IMAGE_SATURATION=1040;\n" in data[:512]


def test_with_a_pedestal_no_pixel_looks_like_a_gap(whole_file: Any, facts_of: Callable[..., StackFacts]) -> None:
    frames = np.array([[[-100, -10, -9, 0]]], "<i4")
    data = whole_file(LAYOUT, facts_of(frames, options={"pedestal": 10}), frames)
    assert pixels(data, (1, 4)).tolist() == [[1, 1, 1, 10]]


@pytest.mark.parametrize("pedestal", [-1, 65535])
def test_a_pedestal_without_room_is_refused(pedestal: int) -> None:
    with pytest.raises(LayoutError, match=f"pedestal {pedestal} is not possible"):
        header(facts(options={"pedestal": pedestal}))


def test_the_pedestal_is_an_option_and_0_by_default() -> None:
    assert LAYOUT.options["pedestal"].default == 0


def test_unsigned_32_bit_pixels_are_clipped_and_not_wrapped(
    whole_file: Any, facts_of: Callable[..., StackFacts]
) -> None:
    frames = np.array([[[65534, 65535, 65536], [2**31 - 1, 2**31, 2**32 - 1]]], ">u4")
    data = whole_file(LAYOUT, facts_of(frames), frames)
    assert pixels(data, (2, 3)).tolist() == [[65534, 65535, 65535], [65535, 65535, 0]]


def test_gaps_and_bad_pixels_are_0_unless_the_user_says_else(
    whole_file: Any, facts_of: Callable[..., StackFacts]
) -> None:
    frames = np.array([[[7, 8, 9]]], "<i4")
    mask = np.array([[0, 1, 2]])
    assert pixels(whole_file(LAYOUT, facts_of(frames), frames, mask=mask), (3,)).tolist() == [7, 0, 0]
    of = facts_of(frames, policy=PixelPolicy(mask_value=65535))
    assert pixels(whole_file(LAYOUT, of, frames, mask=mask), (3,)).tolist() == [7, 65535, 65535]
    with pytest.raises(LayoutError, match=r"mask value -1 is no pixel.*from 0 to 65535"):
        LAYOUT.pieces(facts_of(frames, policy=PixelPolicy(mask_value=-1)), 0)


def test_what_is_too_large_may_be_kept_or_be_an_error() -> None:
    for saturate in ("clip", "keep", "error"):
        form = LAYOUT.pieces(facts(policy=PixelPolicy(saturate=saturate)), 0)[1].form
        assert (form.saturate, form.low, form.high) == (saturate, 0, 65535)


def test_floats_are_rounded(whole_file: Any, facts_of: Callable[..., StackFacts]) -> None:
    frames = np.array([[[-1.0, 0.4, 1.6, 1e9, np.inf, np.nan]]], ">f4")
    data = whole_file(LAYOUT, facts_of(frames), frames)
    assert pixels(data, (6,)).tolist() == [0, 0, 2, 65535, 65535, 0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fabio_reads_pixels_and_header(
    whole_file: Any, facts_of: Callable[..., StackFacts], tmp_path: Path, dtype: str, shape: tuple[int, int, int]
) -> None:
    frames = (np.arange(np.prod(shape)) % 120).reshape(shape).astype(dtype)
    path = tmp_path / "data0002.img"
    path.write_bytes(whole_file(LAYOUT, facts_of(frames, geometry=FULL), frames, 1))
    with fabio.open(str(path)) as image:
        assert type(image).__name__ == "DtrekImage"
        assert image.data.dtype == np.uint16
        np.testing.assert_array_equal(image.data, frames[1])
        assert (image.header["SIZE1"], image.header["SIZE2"]) == (str(shape[2]), str(shape[1]))
        assert float(image.header["OSC_START"]) == -89.75
        assert float(image.header["WAVELENGTH"]) == 0.2854
        assert float(image.header["DISTANCE"]) == 140.0
        assert image.header["BYTE_ORDER"] == "little_endian"


positive = st.floats(1e-3, 1e4)
geometries = st.builds(
    Geometry,
    start_deg=st.none() | st.floats(-360, 360),
    step_deg=st.none() | st.floats(-10, 10),
    exposure_s=st.none() | st.floats(0, 1e4),
    wavelength_angstrom=st.none() | positive,
    distance_m=st.none() | positive,
    beam_x_px=st.none() | st.floats(-1e4, 1e4),
    beam_y_px=st.none() | st.floats(-1e4, 1e4),
    pixel_x_m=st.none() | st.floats(1e-6, 1e-3),
    start_time=st.none() | st.datetimes(datetime(1000, 1, 1)).map(datetime.isoformat) | st.text(),
    period_s=st.none() | st.floats(0, 1e4),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(geometry=geometries, frame=st.integers(0, 999))
def test_every_header_has_512_bytes_and_says_what_the_geometry_says(geometry: Geometry, frame: int) -> None:
    data = header(facts(geometry=geometry), frame)
    assert len(data) == 512
    assert data.startswith(b"{\nHEADER_BYTES=  512;\n")
    assert data.rstrip(b" ").endswith(b"\n}\n\x0c\n")
    found = keys(facts(geometry=geometry), frame)
    angle_deg = (geometry.start_deg or 0) + frame * (geometry.step_deg or 0)
    assert float(found["OSC_START"]) == float(found["PHI"]) == pytest.approx(angle_deg, abs=1e-6)
    if geometry.wavelength_angstrom is not None:
        assert float(found["WAVELENGTH"]) == pytest.approx(geometry.wavelength_angstrom, abs=1e-7)
    if geometry.distance_m is not None:
        assert float(found["DISTANCE"]) == pytest.approx(1e3 * geometry.distance_m, abs=1e-3)
    assert len(found["DATE"]) == 24
