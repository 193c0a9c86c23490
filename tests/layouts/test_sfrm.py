# SPDX-License-Identifier: MIT
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastlegacy.errors import LayoutError
from fastlegacy.layouts.sfrm import LAYOUT
from fastlegacy.model import CodedPixels, Geometry, Literal, StackFacts
from fastlegacy.pixels import Coded, PixelPolicy

from ..core.reference_bruker import bruker100_encode

FULL = Geometry(
    start_deg=-90.0,
    step_deg=-0.25,
    exposure_s=0.05,
    wavelength_angstrom=0.2854,
    distance_m=0.14,
    beam_x_px=1034.5,
    beam_y_px=1081.0,
    pixel_x_m=75e-6,
    pixel_y_m=75e-6,
    run=3,
    saturation_counts=12345,
    title="lysozyme",
    start_time="2026-01-02T03:04:05",
    period_s=60.0,
)
HIGHEST = 2**31 - 1
EDGES = [0, 1, 254, 255, 256, 65534, 65535, 65536, HIGHEST]
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


def header(of: StackFacts, frame: int = 0, coded: Coded = Coded(15, (0, 0))) -> bytes:  # noqa: B008
    piece = LAYOUT.pieces(of, frame, coded)[0]
    assert isinstance(piece, Literal)
    return piece.data


def lines(data: bytes) -> list[str]:
    assert len(data) % 80 == 0
    return [data[at : at + 80].decode("ascii") for at in range(0, len(data), 80)]


def keys(of: StackFacts, frame: int = 0, coded: Coded = Coded(15, (0, 0))) -> dict[str, str]:  # noqa: B008
    split = (line.partition(":") for line in lines(header(of, frame, coded)) if ":" in line)
    return {key.strip(): value.strip() for key, _, value in split}


def read(data: bytes, path: Path) -> Any:
    path.write_bytes(data)
    with fabio.open(str(path)) as image:
        assert type(image).__name__ == "Bruker100Image"
        return image.data


def test_the_frame_of_the_header() -> None:
    data = header(facts())
    assert len(data) == 7680
    assert data.startswith(b"FORMAT :100 ")
    found = lines(data)
    assert found[2] == "HDRBLKS:15".ljust(80)
    known = [line for line in found if ":" in line]
    assert found[len(known) :] == ["\x1a\x04" + 78 * "."] * (96 - len(known))
    # so many of the first lines make a file a Bruker frame for dxtbx
    assert all(line[7] == ":" and line[:7].isupper() for line in found[:13])


def test_the_size_of_the_image_and_the_number_of_overflows() -> None:
    found = keys(facts(), coded=Coded(47, (12, 4)))
    assert found["NPIXELB"] == "1 1"
    assert found["NOVERFL"] == "-1 12 4"
    assert found["NOVER64"] == "4 0 0"
    assert (found["NROWS"], found["NCOLS"]) == ("3 1", "5 1")
    assert (found["WORDORD"], found["LONGORD"], found["LINEAR"]) == ("0", "0", "1.0 0.0")


def test_geometry_is_in_cm_and_pixels_from_the_corner() -> None:
    found = keys(facts(), 7)
    assert [float(word) for word in found["DISTANC"].split()] == [14.0, 14.0]
    assert [float(word) for word in found["WAVELEN"].split()] == [0.2854] * 3
    assert [float(word) for word in found["CENTER"].split()] == [1035.0, 1081.5] * 2
    assert float(found["DETTYPE"].split()[1]) == pytest.approx(5 / 0.075, abs=1e-6)
    assert found["DETTYPE"].split()[0] == "EIGER"
    assert found["CCDPARM"].split()[-1] == "12345"


def test_omega_turns() -> None:
    found = keys(facts(), 7)
    assert found["AXIS"] == "2"
    assert [float(found[key]) for key in ("START", "INCREME", "RANGE")] == [-91.75, -0.25, 0.25]
    assert [float(word) for word in found["ANGLES"].split()] == [0, -91.75, 0, 0]
    assert [float(word) for word in found["ENDING"].split()] == [0, -92.0, 0, 0]


def test_the_frame_is_counted_and_dated() -> None:
    found = keys(facts(), 7)
    assert (found["RUN"], found["NUMBER"], found["NFRAMES"]) == ("3", "8", "1000")
    assert found["CREATED"] == "2026-01-02 03:11:05"
    assert {float(found[key]) for key in ("CUMULAT", "ELAPSDR", "ELAPSDA")} == {0.05}
    assert found["FILENAM"] == "/data/scan.h5::/x"


def test_the_title_goes_over_eight_lines() -> None:
    title = "".join(chr(97 + i % 26) for i in range(600))
    found = [line[8:] for line in lines(header(facts(geometry=Geometry(title=title)))) if line.startswith("TITLE")]
    assert len(found) == 8
    assert "".join(found) == title[:576]


def test_neutral_values_where_nobody_said_anything() -> None:
    found = keys(facts(geometry=Geometry(), mtime_ns=0))
    assert [float(word) for word in found["CENTER"].split()] == [2.5, 1.5] * 2
    assert float(found["DISTANC"].split()[1]) == 10.0
    assert float(found["WAVELEN"].split()[0]) == 1.0
    assert (found["RUN"], found["CREATED"], float(found["INCREME"])) == ("0", "1970-01-01 00:00:00", 0.0)
    assert found["CCDPARM"].split()[-1] == "2147483647"


def test_the_user_names_the_detector() -> None:
    assert LAYOUT.options["dettype"].default == "EIGER"
    found = keys(facts(options={"dettype": "CMOS-PHOTONII"}))
    assert found["DETTYPE"].split()[0] == "CMOS-PHOTONII"
    assert keys(facts(options={"dettype": "a b"}))["DETTYPE"].split()[0] == "a%20b"


def test_lines_stay_where_they_are_from_frame_to_frame() -> None:
    first, other = lines(header(facts())), lines(header(facts(), 999, Coded(47, (12, 4))))
    changed = {a.split(":")[0].strip() for a, b in zip(first, other, strict=True) if a != b}
    assert changed == {"NOVERFL", "NOVER64", "CREATED", "START", "NUMBER", "ANGLES", "ENDING"}


def test_a_word_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LayoutError, match="DETTYPE takes more than the 72 characters"):
        header(facts(options={"dettype": "x" * 70}))
    with pytest.raises(LayoutError, match=r"frame 999.*does not fit"):
        header(facts(geometry=Geometry(start_deg=0.0, step_deg=1e4)), 999)
    with pytest.raises(LayoutError, match="not square"):
        header(facts(geometry=Geometry(pixel_x_m=75e-6, pixel_y_m=100e-6)))


def test_the_code_allows_no_negative_pixel() -> None:
    code = LAYOUT.code(facts())
    assert LAYOUT.encoded
    assert (code.codec, code.digest) == ("bruker100", False)
    form = code.form
    assert (form.dtype, form.shape, form.low, form.high, form.gap, form.bad) == ("<i4", (3, 5), 0, HIGHEST, 0, 0)


def test_a_negative_mask_value_is_refused() -> None:
    with pytest.raises(LayoutError, match="no negative pixels, and the mask value is -1"):
        LAYOUT.code(facts(policy=PixelPolicy(mask_value=-1)))
    assert LAYOUT.code(facts(policy=PixelPolicy(mask_value=7))).form.bad == 7


def test_lowest_bits_could_be_negative_and_are_refused() -> None:
    with pytest.raises(LayoutError, match="saturate keep"):
        LAYOUT.code(facts(policy=PixelPolicy(saturate="keep")))
    assert LAYOUT.code(facts(policy=PixelPolicy(saturate="error"))).form.saturate == "error"


def test_a_frame_has_to_be_measured_first() -> None:
    with pytest.raises(TypeError, match="frame 2 was not measured"):
        LAYOUT.pieces(facts(), 2)
    assert LAYOUT.pieces(facts(), 2, Coded(99, (1, 0)))[1] == CodedPixels(2, LAYOUT.code(facts()), 99)


def test_a_body_byte_by_byte() -> None:
    pixels = np.array([[254, 255, 256], [65534, 65535, HIGHEST]], np.int32)
    words = [255, 256, 65534, 65535, 65535]
    longs = [65535, HIGHEST]
    expected = bytes([254, 255, 255, 255, 255, 255])
    expected += b"".join(word.to_bytes(2, "little") for word in words) + bytes(6)
    expected += b"".join(long.to_bytes(4, "little") for long in longs) + bytes(8)
    assert bruker100_encode(pixels) == (expected, 5, 2)


def test_a_body_without_overflows_is_the_image() -> None:
    assert bruker100_encode(np.arange(254, dtype=np.int32)) == (bytes(range(254)), 0, 0)


def test_a_negative_pixel_has_no_code() -> None:
    with pytest.raises(ValueError, match="no negative pixels"):
        bruker100_encode(np.array([-1], np.int32))


@st.composite
def images(draw: st.DrawFn) -> Any:
    ny, nx = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    pixel = st.sampled_from(EDGES) | st.integers(0, 300) | st.integers(0, HIGHEST)
    return np.array(draw(st.lists(pixel, min_size=ny * nx, max_size=ny * nx)), "<i4").reshape(1, ny, nx)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(frames=images())
@example(frames=np.full((1, 4, 4), HIGHEST, "<i4"))
@example(frames=np.full((1, 3, 8), 255, "<i4"))
@example(frames=np.zeros((1, 1, 1), "<i4"))
def test_fabio_reads_every_pixel_that_the_twin_of_the_encoder_writes(
    whole_file: Any, facts_of: Callable[..., StackFacts], tmp_path: Path, frames: Any
) -> None:
    data = whole_file(LAYOUT, facts_of(frames), frames)
    found = read(data, tmp_path / "frame.sfrm")
    np.testing.assert_array_equal(found, frames[0])
    n16, n32 = int((frames >= 255).sum()), int((frames >= 65535).sum())
    assert len(data) == 7680 + frames.size + -(-2 * n16 // 16) * 16 + -(-4 * n32 // 16) * 16


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fabio_reads_pixels_of_all_types(
    whole_file: Any, facts_of: Callable[..., StackFacts], tmp_path: Path, dtype: str, shape: tuple[int, int, int]
) -> None:
    values = np.arange(np.prod(shape)) * (1 if np.dtype(dtype).itemsize == 1 else 150)
    frames = (values % 30_000 if np.dtype(dtype).itemsize > 1 else values % 120).reshape(shape).astype(dtype)
    of = facts_of(frames, geometry=replace(FULL, run=None))
    found = read(whole_file(LAYOUT, of, frames, 1), tmp_path / "data0002.sfrm")
    np.testing.assert_array_equal(found, frames[1])


def test_what_cannot_be_held_is_clipped_and_gaps_are_0(
    whole_file: Any, facts_of: Callable[..., StackFacts], tmp_path: Path
) -> None:
    frames = np.array([[[2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]]], ">u4")
    found = read(whole_file(LAYOUT, facts_of(frames), frames), tmp_path / "u4.sfrm")
    assert found.tolist() == [[HIGHEST, HIGHEST, HIGHEST, 0]]
    frames = np.array([[[-5, 3, 4]]], "<i4")
    found = read(whole_file(LAYOUT, facts_of(frames), frames, mask=np.array([[0, 1, 0]])), tmp_path / "i4.sfrm")
    assert found.tolist() == [[0, 0, 4]]
