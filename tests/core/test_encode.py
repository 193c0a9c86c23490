# SPDX-License-Identifier: MIT
"""Byte offset and AGI_BITFIELD, both ways: equal to their twins and to fabio's on every SIMD level."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from fabio.compression import agi_bitfield, compByteOffset, decByteOffset
from fabio.ext import _agi_bitfield
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastlegacy import _encode
from fastlegacy._codec import simd_levels
from fastlegacy.errors import DecodeError
from fastlegacy.testing.beside import module_at

GUARD = 0x5AA5A55A
LOW, HIGH = -(2**31), 2**31 - 1
WIDTHS = [*range(1, 71), 256, 2164]
EDGES = [d + sign * s for s in (0, 63, 64, 126, 127, 128, 32766, 32767, 32768) for sign in (-1, 1) for d in (-1, 0, 1)]
EXTREMES = [LOW, LOW + 1, -2, -1, 0, 1, HIGH - 2, HIGH - 1, HIGH]

every_level = pytest.mark.parametrize("simd", simd_levels())


@pytest.fixture(scope="module")
def twin():
    """The twins of these codecs."""
    return module_at(Path(__file__).with_name("reference_encode.py"))


def counts(random, shape):
    """What a detector sees: background, a few peaks, gaps at -1."""
    image = random.poisson(2.0, shape)
    image[random.random(shape) < 0.02] += 5000
    image[random.random(shape) < 0.05] = -1
    return image


def steps(random, shape):
    """Neighbours whose differences are the limits of each width, summed from anywhere."""
    jumps = random.choice(EDGES, shape)
    jumps.reshape(-1)[0] = random.integers(LOW, HIGH)
    return jumps.reshape(-1).cumsum().reshape(shape)


KINDS = {
    "zero": lambda random, shape: np.zeros(shape, np.int64),
    "counts": counts,
    "steps": steps,
    "extremes": lambda random, shape: random.choice(EXTREMES, shape),
    "few extremes": lambda random, shape: np.where(random.random(shape) < 0.03, random.choice(EXTREMES, shape), 7),
    "narrow noise": lambda random, shape: random.integers(0, 64, shape),
    "noise of 9 bits": lambda random, shape: random.integers(0, 400, shape),
    "noise of 16 bits": lambda random, shape: random.integers(0, 65536, shape),
    "noise": lambda random, shape: random.integers(LOW, HIGH, shape, endpoint=True),
}


def make(kind, shape, seed=0):
    """An image of int32; what does not fit wraps."""
    return KINDS[kind](np.random.default_rng(seed), shape).astype(np.int32)


@st.composite
def images(draw, widths=tuple(WIDTHS), most_rows=9):
    width = draw(st.sampled_from(widths))
    rows = draw(st.integers(1, most_rows if width < 100 else 2))
    return make(draw(st.sampled_from(list(KINDS))), (rows, width), draw(st.integers(0, 2**32)))


def pairs(*pixels):
    return np.array([pixels], np.int32)


def decoded(decode, data, shape, simd=None, at=3):
    """Decode into guarded memory at an odd place, all of the data; what stands around it must not change."""
    number = shape[0] * shape[1]
    room = np.full(number + 2 * at + 70, GUARD, np.int32)
    out = room[at : at + number].reshape(shape)
    try:
        used = decode(data, out, simd)
    finally:
        assert (room[:at] == GUARD).all()
        assert (room[at + number :] == GUARD).all()
    assert used == len(data)
    return out


def survives(decode, data, shape, simd):
    """Whether damaged data were taken for an image. If not, a DecodeError says so; nothing else may happen."""
    try:
        decoded(decode, data, shape, simd)
    except DecodeError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------ byte offset


@every_level
@settings(max_examples=120, deadline=None)
@given(image=images())
@example(image=pairs(HIGH, -1))
@example(image=pairs(LOW))
@example(image=pairs(HIGH, LOW, HIGH, 0, LOW))
@example(image=make("extremes", (2, 2164)))
def test_byte_offset_is_its_twin(twin, simd, image):
    data = _encode.byte_offset_encode(image, simd)
    assert data == twin.byte_offset_encode(image)
    assert _encode.byte_offset_size(image, simd) == len(data)
    np.testing.assert_array_equal(decoded(_encode.byte_offset_decode, data, image.shape, simd), image)


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_byte_offset_of_a_large_image(twin, simd, kind):
    image = make(kind, (23, 997))
    data = _encode.byte_offset_encode(image, simd)
    assert data == twin.byte_offset_encode(image)
    assert _encode.byte_offset_size(image, simd) == len(data)
    np.testing.assert_array_equal(decoded(_encode.byte_offset_decode, data, image.shape, simd), image)


@every_level
@pytest.mark.parametrize("wide", [300, -32767, -32768, 128 * 256, 70000, LOW, HIGH])
def test_byte_offset_of_escapes_at_each_place(twin, simd, wide):
    # of a vector register, with another escape before or behind
    for near in (-40, -3, -2, -1, 1, 2, 3):
        for place in range(60, 130):
            image = np.zeros((1, 300), np.int32)
            image[0, place:] = wide
            image[0, place + near :] += 130  # may wrap, which makes it wider still
            data = _encode.byte_offset_encode(image, simd)
            assert data == twin.byte_offset_encode(image)
            np.testing.assert_array_equal(decoded(_encode.byte_offset_decode, data, image.shape, simd), image)


@pytest.mark.parametrize("before", [0, 1, 5, 15, 16, 17])
@pytest.mark.parametrize("pair", [(HIGH, -1), (HIGH, LOW), (LOW, HIGH), (-1, HIGH), (HIGH, -2), (0, LOW)])
def test_byte_offset_of_differences_beyond_32_bits(before, pair):
    # fabio's and cryio's int32 encoders damage these; fabio's encoder for int64 and both decoders for int64 do not
    image = np.concatenate([np.zeros(before, np.int32), np.array(pair, np.int32), np.zeros(40, np.int32)])
    data = _encode.byte_offset_encode(image)
    assert data == compByteOffset(image.astype(np.int64))
    np.testing.assert_array_equal(np.asarray(decByteOffset(data, image.size)), image)
    out = np.empty_like(image)
    _encode.byte_offset_decode(data, out)
    np.testing.assert_array_equal(out, image)


@every_level
@settings(max_examples=60, deadline=None)
@given(image=images())
def test_byte_offset_and_fabio_read_each_other(simd, image):
    # by fabio's functions for int64: those for int32 fail where a difference has more than 32 bits
    data = _encode.byte_offset_encode(image, simd)
    np.testing.assert_array_equal(np.reshape(decByteOffset(data, image.size), image.shape), image)
    theirs = compByteOffset(image.astype(np.int64))
    np.testing.assert_array_equal(decoded(_encode.byte_offset_decode, theirs, image.shape, simd), image)


@pytest.mark.parametrize("kind", ["zero", "counts", "narrow noise", "noise of 9 bits", "noise of 16 bits"])
def test_byte_offset_and_fabio_for_int32(kind):
    image = make(kind, (57, 211))
    data = _encode.byte_offset_encode(image)
    assert data == compByteOffset(image)
    theirs = decByteOffset(data, image.size, dtype="int32")
    np.testing.assert_array_equal(np.reshape(theirs, image.shape), image)


@every_level
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400), n=st.integers(1, 300), often=st.booleans())
def test_byte_offset_of_any_bytes(twin, simd, data, n, often):
    data = data.replace(b"\x01", b"\x80\x00\x80") if often else data
    out = np.empty(n, np.int32)
    try:
        expected = twin.byte_offset_decode(data, n)
    except struct.error:
        expected = [2**31]
    if all(LOW <= pixel <= HIGH for pixel in expected):
        assert _encode.byte_offset_decode(data, out, simd) <= len(data)
        assert out.tolist() == expected
    else:
        with pytest.raises(DecodeError, match=r"image does|no signed 32-bit number"):
            _encode.byte_offset_decode(data, out, simd)


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_byte_offset_of_truncated_data(simd, kind):
    image = make(kind, (3, 37))
    data = _encode.byte_offset_encode(image)
    for size in range(len(data)):
        assert not survives(_encode.byte_offset_decode, data[:size], image.shape, simd)


def test_byte_offset_says_where_the_image_ends():
    image = make("counts", (20, 30))
    data = _encode.byte_offset_encode(image)
    out = np.empty_like(image)
    assert _encode.byte_offset_decode(data + b"\x80" * 40, out) == len(data)
    np.testing.assert_array_equal(out, image)


@every_level
@pytest.mark.parametrize("sign", [-1, 1])
def test_byte_offset_of_a_pixel_beyond_32_bits(simd, sign):
    # one step too far, in the middle of a long run of single bytes
    start = HIGH - 127 * 100 if sign > 0 else LOW + 127 * 100
    data = struct.pack("<BHIb", 0x80, 0x8000, start & 0xFFFFFFFF, 0)[:7] + struct.pack("b", sign * 127) * 200
    out = np.empty(100, np.int32)
    _encode.byte_offset_decode(data, out, simd)
    assert out[-1] == start + sign * 127 * 99
    with pytest.raises(DecodeError, match="no signed 32-bit number"):
        _encode.byte_offset_decode(data, np.empty(150, np.int32), simd)


def test_byte_offset_of_nothing():
    nothing = np.empty(0, np.int32)
    assert _encode.byte_offset_size(nothing) == 0
    assert _encode.byte_offset_encode(nothing) == b""
    assert _encode.byte_offset_decode(b"", nothing) == 0


# ----------------------------------------------------------------------------------------------------- AGI_BITFIELD


@every_level
@settings(max_examples=120, deadline=None)
@given(image=images())
@example(image=pairs(HIGH, -1))
@example(image=pairs(LOW))
@example(image=np.resize(pairs(HIGH, LOW, -1, 0), (2, 70)))
@example(image=make("extremes", (2, 2164)))
def test_agi_is_its_twin(twin, simd, image):
    data = _encode.agi_encode(image, simd)
    assert data == twin.agi_encode(image)
    assert _encode.agi_size(image, simd) == len(data)
    np.testing.assert_array_equal(decoded(_encode.agi_decode, data, image.shape, simd), image)


@every_level
@pytest.mark.parametrize("difference", sorted(set(EDGES)))
def test_agi_of_each_limit(twin, simd, difference):
    # in either field of a group, at the start of a row and in its rest
    image = np.zeros((4, 40), np.int32)
    image[0, 3:], image[1, 12:], image[2, :], image[3, 38:] = difference, difference, difference, difference
    assert _encode.agi_encode(image, simd) == twin.agi_encode(image)
    assert _encode.agi_size(image, simd) == len(twin.agi_encode(image))


@settings(max_examples=80, deadline=None)
@given(side=st.integers(2, 70), kind=st.sampled_from(list(KINDS)), seed=st.integers(0, 2**32))
@example(side=256, kind="counts", seed=0)
@example(side=264, kind="extremes", seed=0)
def test_agi_and_fabio_write_the_same(side, kind, seed):
    # not of one pixel: fabio's own buffer is too small for that
    image = make(kind, (side, side), seed)
    data = _encode.agi_encode(image)
    assert data == _agi_bitfield.compress(image)
    theirs = agi_bitfield.decompress(data, image.shape)  # its sums are of 64 bits, and have to be wrapped
    np.testing.assert_array_equal(theirs.astype(np.int32), image)


@every_level
@settings(max_examples=60, deadline=None)
@given(image=images(), cuts=st.lists(st.integers(1, 9), max_size=3))
def test_agi_of_blocks_of_rows(simd, image, cuts):
    bounds = sorted({0, len(image), *(c for c in cuts if c < len(image))})
    rows = table = b""
    for first, last in itertools.pairwise(bounds):
        block, starts = _encode.agi_encode_rows(image[first:last], len(rows), simd)
        rows, table = rows + block, table + starts
    assert struct.pack("<I", len(rows)) + rows + table == _encode.agi_encode(image, simd)


@every_level
def test_agi_reads_fields_of_no_bits(simd):
    # other programs may write them: eight times the same pixel
    row = bytes([127 + 5, 0x10]) + b"\xff" + bytes([0x00]) + bytes([127 + 2])
    data = struct.pack("<I", len(row)) + row + struct.pack("<I", 0)
    image = decoded(_encode.agi_decode, data, (1, 34), simd)
    assert image.tolist() == [[5] * 9 + [6, 7, 8, 9, 10, 11, 12, 13] + [13] * 16 + [15]]


@every_level
@settings(max_examples=200, deadline=None)
@given(image=images(widths=(1, 2, 16, 17, 33, 70)), seed=st.integers(0, 2**32))
def test_agi_of_flipped_bits(simd, image, seed):
    random = np.random.default_rng(seed)
    data = bytearray(_encode.agi_encode(image))
    for at in random.integers(0, len(data), random.integers(1, 4)):
        data[at] ^= 1 << random.integers(8)
    survives(_encode.agi_decode, bytes(data), image.shape, simd)


@every_level
@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.binary(max_size=150), min_size=1, max_size=4), width=st.sampled_from(WIDTHS[:-2]))
def test_agi_of_any_bytes(simd, rows, width):
    starts = np.cumsum([0, *map(len, rows)])
    data = struct.pack("<I", starts[-1]) + b"".join(rows) + starts[:-1].astype("<u4").tobytes()
    survives(_encode.agi_decode, data, (len(rows), width), simd)


@every_level
@pytest.mark.parametrize("kind", KINDS)
def test_agi_of_truncated_data(simd, kind):
    image = make(kind, (3, 37))
    data = _encode.agi_encode(image)
    for size in range(len(data)):
        assert not survives(_encode.agi_decode, data[:size], image.shape, simd)


@every_level
@pytest.mark.parametrize("kind", ["zero", "counts", "extremes"])
def test_agi_rows_that_are_too_short_or_too_long(simd, kind):
    image = make(kind, (1, 64))
    whole = _encode.agi_encode(image)[4:-4]
    for row in [*(whole[:n] for n in range(len(whole))), whole + b"\x7f"]:
        data = struct.pack("<I", len(row)) + row + struct.pack("<I", 0)
        with pytest.raises(DecodeError, match="row 0 is not what its bytes say"):
            decoded(_encode.agi_decode, data, image.shape, simd)


@pytest.mark.parametrize("width_byte", [0x91, 0x19, 0xF1, 0xFF])
def test_agi_of_impossible_widths(width_byte):
    image = make("counts", (1, 17))
    data = bytearray(_encode.agi_encode(image))
    data[4 + 1] = width_byte
    assert data[4] < 254  # so that the widths do stand there
    with pytest.raises(DecodeError, match="row 0"):
        decoded(_encode.agi_decode, bytes(data), image.shape)


@pytest.mark.parametrize("table", [(1, 20, 40), (0, 40, 20), (0, 20, 2**32 - 1), (0, 21, 40), (0, 0, 40)])
def test_agi_of_a_wrong_table_of_rows(table):
    image = np.zeros((3, 97), np.int32)  # each row: 1 byte, then 6 groups of 3, then nothing
    data = _encode.agi_encode(image)
    assert struct.unpack("<3I", data[-12:]) == (0, 19, 38)
    with pytest.raises(DecodeError, match=r"table of rows|row \d is not"):
        decoded(_encode.agi_decode, data[:-12] + struct.pack("<3I", *table), image.shape)


def test_agi_says_where_the_image_ends():
    image = make("counts", (20, 30))
    data = _encode.agi_encode(image)
    out = np.empty_like(image)
    assert _encode.agi_decode(data + b"more", out) == len(data)
    np.testing.assert_array_equal(out, image)


@pytest.mark.parametrize("start", [2**32 - 1, 2**32, 2**64 - 1])
def test_agi_ends_at_4_gib(start):
    with pytest.raises(ValueError, match="4 GiB"):
        _encode.agi_encode_rows(np.zeros((1, 4), np.int32), start)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_agi_refuses_images_without_pixels(shape):
    image = np.empty(shape, np.int32)
    for call in (_encode.agi_size, _encode.agi_encode, _encode.agi_encode_rows):
        with pytest.raises(ValueError, match="at least one row and one column"):
            call(image)
    with pytest.raises(ValueError, match="at least one row and one column"):
        _encode.agi_decode(b"", image)


# ---------------------------------------------------------------------------------------------------- what they take

READERS = [_encode.byte_offset_size, _encode.byte_offset_encode, _encode.agi_size, _encode.agi_encode]
WRITERS = [_encode.byte_offset_decode, _encode.agi_decode]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint32),
        np.zeros((4, 4), ">i4"),
        np.zeros((4, 4), np.int64),
        np.zeros((4, 8), np.int32)[:, ::2],
    ],
    ids=["uint32", "big-endian", "int64", "stride"],
)
def test_other_arrays_are_refused(image):
    for call in READERS:
        with pytest.raises(ValueError, match=r"mismatch|Big-endian|contiguous|one piece"):
            call(image)
    for call in WRITERS:
        with pytest.raises(ValueError, match=r"mismatch|Big-endian|contiguous|one piece"):
            call(b"12345678", image)


def test_memory_that_cannot_be_written_is_refused():
    image = np.zeros((2, 2), np.int32)
    image.flags.writeable = False
    assert len(_encode.byte_offset_encode(image)) == 4
    assert len(_encode.agi_encode(image)) == 4 + 4 + 8
    for call in WRITERS:
        with pytest.raises(ValueError, match="read-only"):
            call(b"1234", image)


def test_unknown_level_is_refused():
    for call in READERS:
        with pytest.raises(ValueError, match=r"it has.*portable"):
            call(np.zeros((1, 1), np.int32), "sse17")


def test_byte_offset_takes_any_shape():
    image = make("counts", (2, 3, 5))
    data = _encode.byte_offset_encode(image)
    assert data == _encode.byte_offset_encode(image.reshape(-1)) == _encode.byte_offset_encode(image[0:2])
    out = np.empty_like(image)
    _encode.byte_offset_decode(data, out)
    np.testing.assert_array_equal(out, image)
