# SPDX-License-Identifier: MIT
"""LZ4 blocks: what the LZ4 library makes of them, whatever the bytes are; and rows that need not be written."""

import ctypes

import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _codec

SIMD = _codec.simd_levels()
every_level = pytest.mark.parametrize("simd", SIMD)

LIBRARY = ctypes.CDLL(hdf5plugin.get_config().registered_filters["bshuf"])
FAR = (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 512, 1000)


def library_decode(data, room):
    """What ``LZ4_decompress_safe`` makes of it, if it fills ``room`` bytes; else None."""
    out = ctypes.create_string_buffer(max(1, room))
    got = LIBRARY.LZ4_decompress_safe(bytes(data), out, len(data), room)
    return out.raw[:room] if got == room else None


def library_encode(data):
    out = ctypes.create_string_buffer(LIBRARY.LZ4_compressBound(len(data)))
    size = LIBRARY.LZ4_compress_default(bytes(data), out, len(data), len(out))
    return out.raw[:size]


def decode(data, room, simd, row=0):
    """All bytes, or None; equal rows are filled in."""
    guarded = np.full(room + 64, 0xA5, np.uint8)
    last = _codec.unlz4(bytes(data), guarded[:room], row, simd)
    assert (guarded[room:] == 0xA5).all()
    if last is None:
        return None
    for at in range((last + 1) * row, room, row or 1) if row else ():
        guarded[at : at + row] = guarded[last * row : (last + 1) * row]
    return guarded[:room].tobytes()


def length(n):
    """The bytes behind a nibble of 15."""
    return bytes([255] * ((n - 15) // 255) + [(n - 15) % 255]) if n >= 15 else b""


def sequence(literals, offset=None, match=4):
    """One sequence; without an offset the last one."""
    token = min(15, len(literals)) << 4 | (0 if offset is None else min(15, match - 4))
    out = bytes([token]) + length(len(literals)) + literals
    return out if offset is None else out + offset.to_bytes(2, "little") + length(match - 4)


@st.composite
def blocks(draw):
    """Blocks that are right in all but, perhaps, their end: (bytes, room)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    out, size = b"", 0
    for _ in range(draw(st.integers(0, 30))):
        n = draw(st.sampled_from([0, 0, 1, 2, 5, 14, 15, 16, 40, 300]) if size else st.integers(1, 600))
        size += n
        offset = draw(st.sampled_from([far for far in FAR if far <= size]))
        match = draw(st.sampled_from([4, 5, 15, 16, 17, 18, 19, 20, 33, 64, 65, 100, 273, 274, 275, 700, 5000]))
        out += sequence(rng.bytes(n), offset, match)
        size += match
    n = draw(st.sampled_from([0, 1, 4, 5, 6, 11, 12, 13, 14, 15, 100]))
    return out + sequence(rng.bytes(n)), size + n


def twin_decode(reference, data, room):
    try:
        out = reference.lz4_decode(bytes(data))
    except IndexError:
        return None
    return out if len(out) == room else None


def check(reference, simd, data, room):
    """Verdict and bytes are those of the twin; and those of the library for all that it takes, but for offsets of 0."""
    found, library = decode(data, room, simd), library_decode(data, room)
    assert found == twin_decode(reference, data, room)
    assert library in (None, found) or (found is None and b"\0\0" in data)


@every_level
@settings(max_examples=300, deadline=None)
@given(block=blocks(), more=st.sampled_from([0, 0, 0, -1, 1, 64, -64]))
def test_blocks_are_what_the_library_makes_of_them(reference, simd, block, more):
    check(reference, simd, block[0], max(0, block[1] + more))


@every_level
@settings(max_examples=300, deadline=None)
@given(block=blocks(), data=st.data())
def test_damage_is_judged_as_the_library_judges_it(reference, simd, block, data):
    damaged = bytearray(block[0])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    check(reference, simd, damaged[: data.draw(st.none() | st.integers(0, len(damaged)))], block[1])


@every_level
@settings(max_examples=300, deadline=None)
@given(junk=st.binary(max_size=200), room=st.integers(0, 600))
def test_junk_is_judged_as_the_library_judges_it(reference, simd, junk, room):
    check(reference, simd, junk, room)


@every_level
@pytest.mark.parametrize("near", [0, 60])
def test_an_offset_of_0_is_damage(simd, near):
    assert decode(sequence(b"abcd", 0, 4) + sequence(bytes(12 + near)), 20 + near, simd) is None


@every_level
@pytest.mark.parametrize("row", [1, 8, 32, 100, 256, 512])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), distinct=st.integers(0, 16), kind=st.sampled_from(["equal", "zero", "odd end"]))
def test_rows_that_are_not_there_are_equal_to_the_last_one(simd, row, seed, distinct, kind):
    rng = np.random.default_rng(seed)
    rows = np.zeros((16, row), np.uint8)
    rows[:distinct] = rng.integers(0, 256, (distinct, row)) * (rng.random((distinct, row)) < 0.3)
    if kind == "equal" and distinct:
        rows[distinct:] = rows[distinct - 1]
    if kind == "odd end":
        rows[15, -1 - seed % min(row, 6)] ^= 7
    data = rows.tobytes()
    assert decode(library_encode(data), len(data), simd, row) == data


@every_level
def test_equal_rows_are_not_written(simd):
    rows = np.zeros((16, 512), np.uint8)
    rows[:3] = np.random.default_rng(1).integers(0, 256, (3, 512))
    last = _codec.unlz4(library_encode(rows.tobytes()), np.empty(rows.size, np.uint8), 512, simd)
    assert 3 <= last <= 5


@every_level
@pytest.mark.parametrize("size", [5, 100, 8192, 100_000, 3_000_000])
@pytest.mark.parametrize("kind", ["zeros", "noise", "counts"])
def test_what_the_library_has_packed(simd, size, kind):
    rng = np.random.default_rng(size)
    data = {"zeros": bytes(size), "noise": rng.bytes(size), "counts": rng.poisson(0.1, size).astype("u1").tobytes()}[
        kind
    ]
    assert decode(library_encode(data), size, simd) == data


def test_rows_have_to_divide_the_room():
    with pytest.raises(ValueError, match="whole number of rows"):
        _codec.unlz4(b"", bytearray(10), 3)
