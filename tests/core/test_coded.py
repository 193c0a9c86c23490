# SPDX-License-Identifier: MIT
"""Frames through codecs: sizes that are counted without encoding, and any range of what is encoded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _encode, _view
from fastlegacy.errors import SourceError
from fastlegacy.index.conversion import how
from fastlegacy.pixels import Form, Orientation

from .reference_bruker import bruker100_encode
from .reference_pixels import develop
from .test_view import TURNS, frames_of, view_of

CODECS = ["byte_offset", "agi_bitfield", "bruker100"]
SOURCES = ["<u2", ">u4", "<i4", "<f4", "<u1"]


def form_of(codec: str, shape: tuple[int, int], room: tuple[int, int] = (0, 0)) -> Form:
    masked = {"gap": 0, "bad": 0, "low": 0} if codec == "bruker100" else {"gap": -1, "bad": -2, "high": 2**31 - 3}
    return Form("<i4", (shape[0] + 2 * room[0], shape[1] + 2 * room[1]), at=room, **masked)  # type: ignore[arg-type]


def encoded(codec: str, pixels: Any) -> tuple[bytes, tuple[int, int]]:
    if codec == "bruker100":
        data, n16, n32 = bruker100_encode(pixels)
        return data, (n16, n32)
    return (_encode.byte_offset_encode if codec == "byte_offset" else _encode.agi_encode)(pixels), (0, 0)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("orientation", TURNS, ids=str)
def test_measured_encoded_and_read(codec: str, source: str, orientation: Orientation) -> None:
    frames = frames_of(source, (2, 31, 200))  # several blocks of rows
    form = form_of(codec, orientation.shape((31, 200)), room=(1, 3))
    view = view_of(frames, orientation=orientation)
    with np.errstate(over="ignore"):
        data, counts = encoded(codec, develop(frames[1], form, orientation=orientation))
    way = how(form, view.source_dtype, codec)  # type: ignore[arg-type]
    assert view.measure(1, way) == (len(data), *counts)
    assert bytes(view.encoded(1, len(data), way)) == data
    file = _view.PieceFile(view, [("literal", b"x"), ("coded", 1, len(data), way), ("literal", b"yz")])
    whole = bytearray(file.size)
    assert file.read_into(whole, 0) == file.size
    assert whole == b"x" + data + b"yz"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_range_is_the_slice_of_the_whole(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(CODECS))
    frames = frames_of("<i4", (1, 5, 7), data.draw(st.integers(0, 999)))
    view = view_of(frames, cache_bytes=data.draw(st.sampled_from([0, 10**6])))
    way = how(form_of(codec, (5, 7)), "i4", codec)
    size = view.measure(0, way)[0]
    whole = bytes(view.encoded(0, size, way))
    file = _view.PieceFile(view, [("coded", 0, size, way)])
    for _ in range(8):
        start, n = data.draw(st.integers(0, size)), data.draw(st.integers(1, size))
        buffer = bytearray(n)
        done = file.read_into(buffer, start)
        assert bytes(buffer[:done]) == whole[start : start + n]


@pytest.mark.parametrize(("codec", "off"), list(itertools.product(CODECS, [-1, 1, 100])))
def test_a_frame_that_is_not_the_one_that_was_measured_is_an_error(codec: str, off: int) -> None:
    view = view_of(frames_of("<u2"))
    way = how(form_of(codec, (7, 13)), "u2", codec)  # type: ignore[arg-type]
    size = view.measure(0, way)[0]
    file = _view.PieceFile(view, [("coded", 0, size + off, way)])
    for _ in range(2):
        with pytest.raises(SourceError, match=r"scan\.h5::/data frame 0: the frame is not the one that was measured"):
            file.read_into(bytearray(8), 0)
    assert _view.PieceFile(view, [("coded", 0, size, way)]).read_into(bytearray(8), 0) == 8


def test_a_frame_is_encoded_once_for_all_who_have_it_open() -> None:
    frames = frames_of("<u2", (1, 100, 100))
    view = view_of(frames, cache_bytes=10**7)
    way = how(form_of("byte_offset", (100, 100)), "u2", "byte_offset")
    size = view.measure(0, way)[0]
    one, other = (_view.PieceFile(view, [("coded", 0, size, way)]) for _ in range(2))
    first, second = bytearray(size), bytearray(size)
    assert one.read_into(memoryview(first)[:10], 0) == 10
    assert other.read_into(second, 0) == size
    one.read_into(first, 0)
    assert first == second
