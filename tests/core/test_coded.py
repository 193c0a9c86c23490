# SPDX-License-Identifier: MIT
"""Frames through codecs: sizes that are counted without encoding, and any range of what is encoded."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _core, _encode, _view
from fastlegacy._codec import simd_levels
from fastlegacy.errors import SourceError
from fastlegacy.index.conversion import how
from fastlegacy.pixels import Form, Orientation

from .reference_bruker import bruker100_encode
from .reference_pixels import classes, develop
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


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(700, 300), (2, 70_000), (65_540, 3), (1, 65_536), (1, 65_537)], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_a_frame_of_more_rows_than_are_encoded_at_a_time(codec: str, shape: tuple[int, int], turned: bool) -> None:
    frames = frames_of("<i4", (1, *shape))
    frames[0, :: max(1, shape[0] // 50)] >>= 20  # differences of all sizes, where one part ends and the next begins too
    orientation = Orientation(transpose=turned)
    form = form_of(codec, orientation.shape(shape))
    view = view_of(frames, orientation=orientation)
    data, counts = encoded(codec, develop(frames[0], form, orientation=orientation))
    way = how(form, view.source_dtype, codec)  # type: ignore[arg-type]
    assert view.measure(0, way) == (len(data), *counts)
    assert bytes(view.encoded(0, len(data), way)) == data


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


def test_that_error_says_which_frame_it_is_also_when_the_frame_is_in_the_cache() -> None:
    view = view_of(frames_of("<u2"))
    way = how(form_of("byte_offset", (7, 13)), "u2", "byte_offset")
    size = view.measure(1, way)[0]
    view.encoded(1, size, way)
    with pytest.raises(SourceError, match=r"scan\.h5::/data frame 1: the frame is not the one that was measured"):
        view.encoded(1, size + 1, way)


ENDS = [0, 1, 126, 127, 128, 254, 255, 256, 32766, 32767, 32768, 65533, 65534, 65535]
LARGE_ENDS = [*ENDS, 65536, 2**31 - 4, 2**31 - 3, 2**31 - 2, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]


@pytest.mark.parametrize("simd", simd_levels())
@pytest.mark.parametrize("source", ["<u2", ">u2", "<u4", ">u4", "<u1"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        Form("<i4", (9, 8000), gap=-1, bad=-2, high=2**31 - 3),
        Form("<i4", (9, 8000), gap=-1, bad=-2, high=127),
        Form("<i4", (9, 8000), gap=-1, bad=-2, high=32767),
        Form("<i4", (9, 8000), gap=-1, low=3),
        Form("<i4", (9, 8000), gap=-1, add=40),
        Form("<i4", (9, 8000), gap=-2),
        Form("<i4", (9, 8000), bad=-(2**31)),
        Form("<i4", (9, 8000), gap=-1, saturate="keep"),
        Form("<i4", (9, 8000), gap=-1, add=2**31 - 100, saturate="keep"),
        Form("<i4", (9, 8001), gap=-1, high=2**31 - 3, pad=-1),
        Form("<i4", (9, 8001), gap=-1, high=2**31 - 3, pad=-(2**31)),
    ],
    ids=str,
)
def test_counted_as_they_are_stored_or_as_they_are_written(simd: str, source: str, masked: bool, form: Form) -> None:
    ends = np.array([n for n in LARGE_ENDS if n <= np.iinfo(source).max], source)
    rng = np.random.default_rng(5)
    frames = rng.choice(ends, (1, 9, 8000))  # more than is decoded at a time
    frames[0, 2:] = np.where(rng.random((7, 8000)) < 0.01, frames[0, 2:], rng.poisson(50, (7, 8000)))
    mask = rng.choice(3, (9, 8000), p=(0.98, 0.01, 0.01)).astype(np.uint8) if masked else None
    view = view_of(frames, mask=mask, simd=simd)
    way = how(form, view.source_dtype, "byte_offset")
    expected = _encode.byte_offset_encode(_written(frames[0], form, mask))
    assert view.measure(0, way) == (len(expected), 0, 0)


def _written(frame: Any, form: Form, mask: Any) -> Any:
    """The twin for many pixels at once: each number that occurs is developed once, in a frame of its own."""
    native = frame.astype(frame.dtype.newbyteorder("="))
    kinds = classes(frame, mask)
    out = np.full(form.shape, form.pad, "<i4")
    for kind in range(3):
        numbers, places = np.unique(native, return_inverse=True)
        alone = np.full((1, len(numbers)), kind, np.uint8)
        written = develop(numbers[None], replace(form, shape=(1, len(numbers))), mask=alone)[0][
            places.reshape(frame.shape)
        ]
        out[:, : frame.shape[1]][kinds == kind] = written[kinds == kind]
    return out


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


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("source", ["<u2", "<i4", ">u4"])
def test_the_beginning_of_a_frame_is_that_of_the_whole_and_is_not_kept(codec: str, source: str) -> None:
    frames = frames_of(source, (1, 90, 60))
    view = view_of(frames, cache_bytes=10**6)
    way = how(form_of(codec, (90, 60), room=(2, 0)), view.source_dtype, codec)  # type: ignore[arg-type]
    size = view.measure(0, way)[0]
    whole = bytes(view_of(frames).encoded(0, size, way))
    for start, stop in [(0, 1), (0, 4), (0, 5), (3, 100), (150, 300), (0, 660), (0, 700)]:
        buffer = bytearray(stop - start)
        assert _view.PieceFile(view, [("coded", 0, size, way)]).read_into(buffer, start) == stop - start
        assert buffer == whole[start:stop]
    rest = bytearray(size)
    file = _view.PieceFile(view, [("coded", 0, size, way)])
    for start in range(0, size, 500):  # from its beginning on, as programs read
        file.read_into(memoryview(rest)[start : start + 500], start)
    assert rest == whole


def test_a_frame_that_was_read_to_its_end_is_not_kept() -> None:
    frames = frames_of("<u2", (1, 400, 500))
    cache = _core.Cache(10**8)
    view = view_of(frames, cache=cache)
    way = how(form_of("byte_offset", (400, 500)), "u2", "byte_offset")
    size = view.measure(0, way)[0]
    file = _view.PieceFile(view, [("coded", 0, size, way)])
    for start in range(0, size, 20_000):
        before = cache.misses
        file.read_into(bytearray(min(20_000, size - start)), start)
        assert (cache.misses > before) == (start == 20_000)  # the beginning goes past the cache
    before = cache.misses
    file.read_into(bytearray(100), size - 100)
    assert cache.misses > before


def test_many_readers_of_a_frame_let_it_be_encoded_once() -> None:
    frames = frames_of("<u2", (1, 700, 800))
    cache = _core.Cache(10**8)
    view = view_of(frames, cache=cache)
    way = how(form_of("byte_offset", (700, 800)), "u2", "byte_offset")
    size = view.measure(0, way)[0]
    whole = bytes(view_of(frames).encoded(0, size, way))
    before = cache.misses
    together = threading.Barrier(8)
    right: list[bool] = []

    def read(number: int) -> None:
        file = _view.PieceFile(view, [("coded", 0, size, way)])
        start = size // 2 + 1000 * number
        buffer = bytearray(1000)
        together.wait()
        file.read_into(buffer, start)
        right.append(buffer == whole[start : start + 1000])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 8
    assert cache.misses == before + 1
