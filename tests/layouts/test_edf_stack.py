# SPDX-License-Identifier: MIT
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from fastlegacy.errors import LayoutError
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.edf import LAYOUT as EDF
from fastlegacy.layouts.edf_stack import LAYOUT
from fastlegacy.model import Geometry, Literal, Pixels, StackFacts
from fastlegacy.pixels import PixelPolicy

TURNING = Geometry(start_deg=-90.0, step_deg=0.5, wavelength_angstrom=0.2854)


def facts(frames: int, **changes: Any) -> StackFacts:
    values = {
        "url": "/data/scan.h5::/x",
        "shape": (frames, 3, 5),
        "leading_shape": (frames,),
        "dtype": np.dtype("<u2"),
        "geometry": TURNING,
    }
    return StackFacts(**{**values, **changes})


def headers(of: StackFacts) -> list[bytes]:
    return [piece.data for piece in LAYOUT.pieces(of) if isinstance(piece, Literal)]


def test_a_header_byte_by_byte() -> None:
    text = (
        b"{\nEDF_DataBlockID = 12.Image.Psd ;\nEDF_BinarySize = 30 ;\nEDF_HeaderSize =   512 ;\n"
        b"ByteOrder = LowByteFirst ;\nDataType = UnsignedShort ;\nDim_1 = 5 ;\nDim_2 = 3 ;\n"
        b"Image = 12 ;\nHeaderID = EH:000012:000000:000000 ;\nSize = 30 ;\n"
        b"OmegaStep = 0.5 ;\nWaveLength = 2.854e-11 ;\nOmega = -84.50000000         ;\nFrameIndex = 11 ;\n"
        b"Source = /data/scan.h5::/x ;\n"
    )
    assert headers(facts(100))[11] == text.ljust(510) + b"}\n"


def test_header_and_pixels_in_turn() -> None:
    pieces = LAYOUT.pieces(facts(3))
    assert [type(piece) for piece in pieces] == [Literal, Pixels] * 3
    assert pieces[1::2] == (Pixels(0), Pixels(1), Pixels(2))


def test_the_first_block_is_the_file_of_the_first_frame() -> None:
    assert LAYOUT.pieces(facts(9))[:2] == EDF.pieces(facts(9), 0)


@pytest.mark.parametrize("room", range(160, 190))
def test_the_stride_is_constant_where_numbers_get_longer(room: int) -> None:
    sizes = {len(header) for header in headers(facts(1001, url="x" * room))}
    assert len(sizes) == 1
    assert sizes <= {512, 1024}


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", ">f4", "<u8"])
def test_fabio_reads_all_frames_and_their_headers(pixel_stack: Callable[..., Any], tmp_path: Path, dtype: str) -> None:
    stack = pixel_stack(shape=(3, 4, 7, 13), dtype=dtype, geometry=TURNING)
    path = tmp_path / "scan.edf"
    path.write_bytes(Tree(stack, LAYOUT, stem="scan")["scan.edf"].read())
    with fabio.open(str(path)) as images:
        assert images.nframes == 12
        for i in range(12):
            frame = images.get_frame(i)
            np.testing.assert_array_equal(frame.data, stack.pixels[i])
            assert frame.header["Image"] == str(i + 1)
            assert frame.header["EDF_DataBlockID"] == f"{i + 1}.Image.Psd"
            assert float(frame.header["Omega"]) == -90.0 + 0.5 * i
            assert frame.header["FrameIndex"].split() == [str(i // 4), str(i % 4)]


def test_a_stack_without_frames_is_an_empty_file() -> None:
    assert LAYOUT.pieces(facts(0)) == ()


def test_an_angle_that_does_not_fit_names_its_frame() -> None:
    with pytest.raises(LayoutError, match=r"frame 1:.*does not fit"):
        LAYOUT.pieces(facts(3, geometry=Geometry(start_deg=0.0, step_deg=1e12)))


def test_there_is_only_file_0() -> None:
    with pytest.raises(IndexError, match="only file 0"):
        LAYOUT.pieces(facts(3), 1)


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C."""
    counted = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


def test_a_long_scan_is_described_in_moments() -> None:
    short, long = (calls_of(lambda n=n: LAYOUT.pieces(facts(n))) for n in (100, 1100))
    assert len(LAYOUT.pieces(facts(10_000))) == 20_000
    assert long - short < 1000 * 40, "27 for a frame; what is called takes longer than all else"


def test_fabio_reads_motors_and_counters_of_each_frame(whole_file: Any, tmp_path: Path) -> None:
    frames = np.arange(60).reshape(4, 3, 5).astype("<u2")
    measured = Geometry(
        motors={"diffrz": [1.0, 22.0, 333.0, 4444.0], "d": 5.0},
        counters={"mon": np.array([1e9, -1e-9, 0, 7])},
        start_time="2026-01-01",
        period_s=1000.0,
    )
    path = tmp_path / "scan.edf"
    path.write_bytes(whole_file(LAYOUT, facts(4, geometry=measured), frames))
    with fabio.open(str(path)) as images:
        assert images.nframes == 4
        for i in range(4):
            found = images.get_frame(i).header
            assert found["motor_mne"].split() == ["diffrz", "d"]
            assert [float(word) for word in found["motor_pos"].split()] == [[1, 22, 333, 4444][i], 5]
            assert float(found["counter_pos"]) == [1e9, -1e-9, 0, 7][i]
            assert float(found["time_of_day"]) == 1767225600 + 1000 * i


def test_too_few_values_are_refused_by_name() -> None:
    with pytest.raises(LayoutError, match="the counter mon has 2 values for 3 frames"):
        LAYOUT.pieces(facts(3, geometry=Geometry(counters={"mon": [1.0, 2.0]})))


def test_blocks_follow_the_type_that_the_user_wants(whole_file: Any, tmp_path: Path) -> None:
    frames = np.array([[[0, 65535]], [[7, 65534]]], ">u2")
    of = facts(2, shape=frames.shape, dtype=frames.dtype, policy=PixelPolicy(dtype="i4"))
    path = tmp_path / "scan.edf"
    path.write_bytes(whole_file(LAYOUT, of, frames))
    with fabio.open(str(path)) as images:
        assert images.nframes == 2
        assert images.get_frame(0).data.tolist() == [[0, -1]]
        assert images.get_frame(1).data.tolist() == [[7, 65534]]
        assert images.get_frame(1).data.dtype == np.int32
