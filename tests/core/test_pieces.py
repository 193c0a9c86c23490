# SPDX-License-Identifier: MIT
"""Virtual files: any range of their bytes is the slice of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _core, _view


def stack_of(array):
    files, cache = _core.Files(1), _core.Cache(1000)
    dataset = _core.Dataset(
        "m::/d", array.shape, array.shape, bytes(array.itemsize), files, cache, "memory", memory=array.tobytes()
    )
    axes = [(0, 1, n, k, 0, 1) for k, n in enumerate(array.shape)]
    return _core.Stack(array.shape, bytes(array.itemsize), [(dataset, axes, (0,) * array.ndim)])


ARRAYS = {
    code: np.random.default_rng(1).integers(0, 256, 5 * 3 * 7 * int(code[1:]), np.uint8)
    for code in ("u1", "u2", "u4", "f8")
}
ARRAYS = {code: flat.view(f"<{code}").reshape(5, 3, 7) for code, flat in ARRAYS.items()}


def whole(array, pieces):
    out = b""
    for kind, *rest in pieces:
        if kind == "literal":
            out += rest[0]
        elif kind == "padding":
            out += bytes([rest[1]]) * rest[0]
        else:
            frames = array[rest[0] : rest[0] + rest[1]]
            out += (frames.byteswap() if rest[2] else frames).tobytes()
    return out


@st.composite
def piece(draw):
    kind = draw(st.sampled_from(["literal", "pixels", "padding"]))
    if kind == "literal":
        return kind, draw(st.binary(max_size=40))
    if kind == "padding":
        return kind, draw(st.integers(0, 40)), draw(st.integers(0, 255))
    first = draw(st.integers(0, 5))
    return kind, first, draw(st.integers(0, 5 - first)), draw(st.booleans())


@settings(max_examples=300, deadline=None)
@given(code=st.sampled_from(sorted(ARRAYS)), pieces=st.lists(piece(), max_size=6), data=st.data())
def test_every_range_is_the_slice_of_the_whole(code, pieces, data):
    array = ARRAYS[code]
    file = _view.PieceFile(stack_of(array), pieces)
    expected = whole(array, pieces)
    assert file.size == len(expected)
    start = data.draw(st.integers(0, len(expected) + 5))
    size = data.draw(st.integers(0, len(expected) + 5))
    room = bytearray(b"\xa5" * (size + 16))
    n = file.read_into(memoryview(room)[8 : 8 + size], start)
    assert room[8 : 8 + n] == expected[start : start + size]
    assert room[:8] + room[8 + n :] == b"\xa5" * (size + 16 - n)


def test_every_byte_alone():
    """Pixels that are cut in two, in both byte orders."""
    array = ARRAYS["u4"]
    pieces = [("literal", b"abc"), ("pixels", 1, 2, True), ("padding", 2, 9), ("pixels", 0, 1, False)]
    file = _view.PieceFile(stack_of(array), pieces)
    one = bytearray(1)
    result = b""
    for at in range(file.size):
        assert file.read_into(one, at) == 1
        result += one
    assert result == whole(array, pieces)
    assert file.read_into(one, file.size) == 0
    assert file.read_into(one, 2**62) == 0
    assert file.read_into(bytearray(), 0) == 0


def test_no_pieces():
    file = _view.PieceFile(stack_of(ARRAYS["u1"]), [])
    assert file.size == 0
    assert file.read_into(bytearray(4)) == 0


@pytest.mark.parametrize("frames", [(-1, 1), (5, 1), (0, 6), (3, 3), (0, -1), (2, -3)])
def test_frames_that_are_not_there(frames):
    with pytest.raises(IndexError, match="of a stack of 5"):
        _view.PieceFile(stack_of(ARRAYS["u2"]), [("pixels", *frames, False)])


@pytest.mark.parametrize(
    "piece",
    [
        ("padding", -1, 0),
        ("padding", 4, 256),
        ("padding", 4),
        ("nothing",),
        ("literal", "text"),
        ("literal",),
        ("pixels", 0),
        (),
    ],
)
def test_pieces_that_are_none(piece):
    with pytest.raises((ValueError, TypeError, OverflowError, IndexError)):
        _view.PieceFile(stack_of(ARRAYS["u2"]), [("literal", b"good"), piece])


def test_an_offset_before_the_start():
    file = _view.PieceFile(stack_of(ARRAYS["u2"]), [("literal", b"good")])
    with pytest.raises(ValueError, match="before the start"):
        file.read_into(bytearray(4), -1)
    with pytest.raises((ValueError, BufferError, TypeError)):
        file.read_into(b"1234")


def test_the_stack_lives_as_long_as_its_files():
    array = ARRAYS["u2"]
    file = _view.PieceFile(stack_of(array), [("pixels", 0, 5, False)])
    out = bytearray(file.size)
    assert file.read_into(out) == array.nbytes
    assert out == array.tobytes()
    assert isinstance(file.source, _core.Stack)
