# SPDX-License-Identifier: MIT
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from fastlegacy.errors import LayoutError
from fastlegacy.layouts.ge import LAYOUT
from fastlegacy.model import Geometry, Literal, Pixels, StackFacts
from fastlegacy.pixels import PixelPolicy

FULL = Geometry(exposure_s=0.25, title="nickel \u00e9", start_time="2026-01-02T03:04:05+02:00", period_s=1.0)
DTYPES = ["u1", "<u2", ">u2", "<u4", ">u8", "i1", ">i2", "<i4", ">i8", "<f4", ">f8"]
SHAPES = [(3, 7, 13), (3, 1, 9), (3, 9, 1), (1, 4, 4)]


def facts(**changes: Any) -> StackFacts:
    shape = changes.pop("shape", (6, 3, 5))
    values = {
        "url": "/data/scan.h5::/x",
        "shape": shape,
        "leading_shape": shape[:1],
        "dtype": np.dtype("<u2"),
        "mtime_ns": 1_600_000_000_999_999_999,
        "geometry": FULL,
    }
    return StackFacts(**{**values, **changes})


def header(of: StackFacts) -> bytes:
    piece = LAYOUT.pieces(of)[0]
    assert isinstance(piece, Literal)
    return piece.data


def test_the_header_byte_by_byte() -> None:
    data = header(facts())
    expected = b"ADEPT\0\0\0\0\0" + struct.pack("<HIHIHHHH", 8001, 8192, 0, 0, 6, 3, 5, 16)
    expected += b"2026-01-02".ljust(20, b"\0") + b"01:04:05".ljust(20, b"\0")
    expected = expected.ljust(220, b"\0") + b"nickel %C3%A9"
    expected = expected.ljust(280, b"\0") + struct.pack("<HH", 3, 5)
    expected = expected.ljust(696, b"\0") + struct.pack("<f", 250.0)
    expected = expected.ljust(3132, b"\0") + b"/data/scan.h5::/x"
    assert data == expected.ljust(8192, b"\0")


def test_all_frames_are_one_piece() -> None:
    pieces = LAYOUT.pieces(facts())
    assert [type(piece) for piece in pieces] == [Literal, Pixels]
    assert (pieces[1].first, pieces[1].frames) == (0, 6)


def test_what_nobody_said_is_empty_or_0() -> None:
    data = header(facts(geometry=Geometry(), mtime_ns=0))
    assert data[30:70] == b"1970-01-01".ljust(20, b"\0") + b"00:00:00".ljust(20, b"\0")
    assert data[220:260] == bytes(40)
    assert data[696:700] == bytes(4)


@pytest.mark.parametrize("exposure_s", [1e300, float("inf"), float("nan")])
def test_an_exposure_that_32_bits_cannot_hold_is_left_out(exposure_s: float) -> None:
    assert header(facts(geometry=Geometry(exposure_s=exposure_s)))[696:700] == bytes(4)


def test_long_texts_are_cut_before_their_last_zero() -> None:
    data = header(facts(url="x" * 1000, geometry=Geometry(title="t" * 1000)))
    assert data[220:260] == b"t" * 39 + b"\0"
    assert data[3132:3332] == b"x" * 199 + b"\0"
    assert data[3332:] == bytes(8192 - 3332)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fabio_reads_all_frames(
    whole_file: Any, facts_of: Callable[..., StackFacts], tmp_path: Path, dtype: str, shape: tuple[int, int, int]
) -> None:
    frames = (np.arange(np.prod(shape)) % 120).reshape(shape).astype(dtype)
    path = tmp_path / "scan.ge"
    path.write_bytes(whole_file(LAYOUT, facts_of(frames, geometry=FULL), frames))
    with fabio.open(str(path)) as image:
        assert type(image).__name__ == "GeImage"
        assert image.nframes == shape[0]
        for i in range(shape[0]):
            frame = image.getframe(i)
            assert frame.data.dtype == np.uint16
            np.testing.assert_array_equal(frame.data, frames[i])
        assert image.header["ExposureTimeInMillisecs"] == 250.0
        assert image.header["AcquisitionName"].rstrip(b"\0") == b"nickel %C3%A9"
        assert image.header["Comment"].rstrip(b"\0") == b"/data/scan.h5::/x"
        assert (image.header["OriginalNumberOfRows"], image.header["OriginalNumberOfColumns"]) == shape[1:]


def test_pixels_are_clipped_and_gaps_are_0(whole_file: Any, facts_of: Callable[..., StackFacts]) -> None:
    frames = np.array([[[0, 65535, 65536]], [[2**31, 2**32 - 1, 5]]], ">u4")
    data = whole_file(LAYOUT, facts_of(frames), frames)
    assert np.frombuffer(data, "<u2", offset=8192).tolist() == [0, 65535, 65535, 65535, 0, 5]
    data = whole_file(LAYOUT, facts_of(frames, policy=PixelPolicy(mask_value=7)), frames)
    assert np.frombuffer(data, "<u2", offset=8192).tolist() == [0, 65535, 65535, 65535, 7, 5]


@pytest.mark.parametrize(
    ("shape", "what"), [((65536, 1, 1), "frames"), ((1, 65536, 1), "rows"), ((1, 1, 65536), "columns")]
)
def test_what_16_bits_cannot_count_is_refused(shape: tuple[int, int, int], what: str) -> None:
    with pytest.raises(LayoutError, match=f"at most 65535 {what}, and here are 65536"):
        header(facts(shape=shape))
    assert len(header(facts(shape=tuple(min(n, 65535) for n in shape)))) == 8192


def test_a_stack_without_frames_is_a_header() -> None:
    data = header(facts(shape=(0, 3, 5)))
    assert struct.unpack_from("<H", data, 22) == (0,)
    assert LAYOUT.pieces(facts(shape=(0, 3, 5)))[1].frames == 0


def test_there_is_only_file_0() -> None:
    with pytest.raises(IndexError, match="only file 0"):
        LAYOUT.pieces(facts(), 1)
