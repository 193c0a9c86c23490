# SPDX-License-Identifier: MIT
"""Filter pipelines: stored chunks to pixels, and stored chunks that are damaged."""

import bz2
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _codec
from fastlegacy.errors import DecodeError
from fastlegacy.hdf5.filters import codec_function, libdeflate, zstd

PLAIN, LZ4, ZSTD = 0, 2, 3
SIMD = _codec.simd_levels()
GUARD = 0xA5


def bitshuffle(itemsize, block=0, compression=LZ4, simd=None):
    pipeline = _codec.Pipeline(simd)
    pipeline.add_bitshuffle(itemsize, block, compression, zstd() if compression == ZSTD else ())
    return pipeline


def deflate(itemsize=2):
    """Shuffle, deflate, fletcher32: masks 1, 2 and 4."""
    pipeline = _codec.Pipeline()
    pipeline.add_shuffle(itemsize)
    pipeline.add_codec("deflate", codec_function(1))
    pipeline.add_fletcher32()
    return pipeline


COMPRESS = {
    "deflate": zlib.compress,
    "libdeflate": zlib.compress,
    "bzip2": bz2.compress,
    "zstd": "zstd_raw",
    "lz4": "lz4_filter",
}


def codec(name, simd=None, before=0):
    """A codec for whole chunks, behind so many checksums."""
    pipeline = _codec.Pipeline(simd)
    for _ in range(before):
        pipeline.add_fletcher32()
    if name == "lz4":
        pipeline.add_lz4()
        return pipeline
    if name == "libdeflate":
        if not libdeflate():
            pytest.skip("nobody has libdeflate here")
        pipeline.add_libdeflate(*libdeflate())
        return pipeline
    if name == "zstd":
        pipeline.add_zstd(*zstd())
        return pipeline
    pipeline.add_codec(name, codec_function({"deflate": 1, "bzip2": 307}[name]))
    return pipeline


def decode(pipeline, data, size, mask=0):
    """Decode into guarded memory; what stands around it must not change."""
    room = np.full(size + 128, GUARD, np.uint8)
    try:
        pipeline.decode(data, room[64 : 64 + size], mask)
    finally:
        assert (room[:64] == GUARD).all()
        assert (room[64 + size :] == GUARD).all()
    return room[64 : 64 + size].tobytes()


@pytest.mark.parametrize("simd", SIMD)
@pytest.mark.parametrize("compression", [PLAIN, LZ4, ZSTD])
@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 8, 16])
@settings(max_examples=15, deadline=None)
@given(n=st.integers(0, 700), block=st.sampled_from([8, 16, 64, 256, 4096]), seed=st.integers(0, 99))
def test_bitshuffle_undoes_its_twin(reference, simd, compression, itemsize, n, block, seed):
    data = np.random.default_rng(seed).bytes(n * itemsize)
    stream = reference.bitshuffle_stream(data, itemsize, block, compression)
    assert decode(bitshuffle(itemsize, block, compression, simd), stream, len(data)) == data


@pytest.mark.parametrize("rest", range(18))
@pytest.mark.parametrize("itemsize", [1, 2, 4])
def test_last_block_and_tail(reference, itemsize, rest):
    data = np.random.default_rng(rest).bytes((128 + rest) * itemsize)
    stream = reference.bitshuffle_stream(data, itemsize, 64)
    assert decode(bitshuffle(itemsize), stream, len(data)) == data


@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 8, 16, 100])
def test_block_size_of_its_own_choice(reference, itemsize):
    data = np.random.default_rng(5).bytes(20_000 // itemsize * itemsize)
    stream = reference.bitshuffle_stream(data, itemsize, reference.default_block(itemsize), PLAIN)
    assert decode(bitshuffle(itemsize, 0, PLAIN), stream, len(data)) == data
    unsaid = bytearray(reference.bitshuffle_stream(data, itemsize, reference.default_block(itemsize)))
    unsaid[8:12] = bytes(4)
    assert decode(bitshuffle(itemsize), bytes(unsaid), len(data)) == data


@pytest.mark.parametrize("mask", range(8))
@pytest.mark.parametrize("n", [0, 1, 2, 37, 5000])
def test_filter_masks(reference, mask, n):
    data = b"".join(int(i % 300).to_bytes(2, "little") for i in range(n))
    stored = data if mask & 1 else reference.shuffle(data, 2)
    stored = stored if mask & 2 else zlib.compress(stored)
    stored = stored if mask & 4 else reference.with_fletcher32(stored)
    assert decode(deflate(), stored, len(data), mask) == data


def test_mask_of_a_bitshuffle_chunk():
    assert decode(bitshuffle(2), b"12345678", 8, 1) == b"12345678"


def test_bitshuffle_behind_another_filter(reference):
    data = np.random.default_rng(7).bytes(2 * 1003)
    pipeline = bitshuffle(2)
    pipeline.add_fletcher32()
    stored = reference.with_fletcher32(reference.bitshuffle_stream(data, 2, 64))
    assert decode(pipeline, stored, len(data)) == data
    assert decode(pipeline, stored[:-4], len(data), mask=2) == data


def test_old_byte_order_of_the_checksum_is_read_too(reference):
    sum_ = reference.with_fletcher32(b"0123456789")[-4:]
    pipeline = _codec.Pipeline()
    pipeline.add_fletcher32()
    old = bytes([sum_[1], sum_[0], sum_[3], sum_[2]])
    assert decode(pipeline, b"0123456789" + old, 10) == b"0123456789"
    with pytest.raises(DecodeError, match="checksum"):
        decode(pipeline, b"0123456789" + sum_[::-1], 10)


def test_checksum_of_each_damaged_byte_disagrees(reference):
    pipeline = _codec.Pipeline()
    pipeline.add_fletcher32()
    stored = reference.with_fletcher32(bytes(range(40)))
    for at in range(len(stored)):
        damaged = bytearray(stored)
        damaged[at] ^= 0x10
        with pytest.raises(DecodeError, match="checksum"):
            decode(pipeline, bytes(damaged), 40)


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("size", [0, 1, 999, 100_000, 2_000_000])
def test_codecs_for_whole_chunks(reference, name, size):
    data = np.random.default_rng(size).integers(0, 20, size, dtype=np.uint8).tobytes()
    compress = getattr(reference, COMPRESS[name]) if isinstance(COMPRESS[name], str) else COMPRESS[name]
    assert decode(codec(name), compress(data), size) == data


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("times", [1, 12])
def test_data_that_grew_before_they_were_packed(reference, name, times):
    """Filters before this one may have made more of the data than a chunk has: here by 4 bytes each."""
    data, grown = bytes(range(8)) * 32, bytes(range(8)) * 32
    pipeline = codec(name, before=times)
    for _ in range(times):
        grown += reference.fletcher32(grown).to_bytes(4, "little")
    compress = getattr(reference, COMPRESS[name]) if isinstance(COMPRESS[name], str) else COMPRESS[name]
    assert decode(pipeline, compress(grown), len(data)) == data


@pytest.mark.parametrize("size", [0, 7, 9, 4000])
def test_another_size_than_the_chunk_has_is_damage(size):
    with pytest.raises(DecodeError, match="size of the chunk"):
        decode(codec("deflate"), zlib.compress(bytes(size)), 8)


# ---------------------------------------------------------------------------------------------------- damage


STREAMS = ["lz4", "plain", "blocks of zstd", "bzip2", "zstd", "lz4 filter", "deflate"]


def streams(reference):
    data = np.random.default_rng(11).integers(0, 9, 1003, dtype="<u2").tobytes()
    yield bitshuffle(2), reference.bitshuffle_stream(data, 2, 64), len(data)
    yield bitshuffle(2, 64, PLAIN), reference.bitshuffle_stream(data, 2, 64, PLAIN), len(data)
    yield bitshuffle(2, 0, ZSTD), reference.bitshuffle_stream(data, 2, 64, ZSTD), len(data)
    yield codec("bzip2"), bz2.compress(data), len(data)
    yield codec("zstd"), reference.zstd_raw(data), len(data)
    yield codec("lz4"), reference.lz4_filter(data, 300), len(data)
    yield deflate(), reference.with_fletcher32(zlib.compress(reference.shuffle(data, 2))), len(data)


@pytest.mark.parametrize("which", STREAMS)
def test_every_shorter_stream_is_refused(reference, which):
    pipeline, stream, size = list(streams(reference))[STREAMS.index(which)]
    for length in range(len(stream)):
        with pytest.raises(DecodeError):
            decode(pipeline, stream[:length], size)


@pytest.mark.parametrize("which", STREAMS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_gives_pixels(reference, which, data):
    """Nothing else: no crash, no other exception, no byte outside of the memory that was given."""
    pipeline, stream, size = list(streams(reference))[STREAMS.index(which)]
    damaged = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(40, len(stream) - 1)) | st.integers(0, len(stream) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(stream)))
    size += data.draw(st.sampled_from([0, 0, 0, 1, -1, 2, 1000, -1000]))
    mask = data.draw(st.sampled_from([0, 0, 0, 1, 2, 4, 7]))
    with suppress(DecodeError):
        decode(pipeline, bytes(damaged[:cut]), size, mask)


@pytest.mark.parametrize("which", STREAMS)
@settings(max_examples=150, deadline=None)
@given(junk=st.binary(max_size=300), size=st.integers(0, 500))
def test_junk_is_refused_or_gives_pixels(reference, which, junk, size):
    pipeline, _, _ = list(streams(reference))[STREAMS.index(which)]
    with suppress(DecodeError):
        assert len(decode(pipeline, junk, size)) == size


@pytest.mark.parametrize("stated", [0, 15, 17, 2**31, 2**63, 2**64 - 1])
def test_another_stated_size_is_refused(reference, stated):
    stream = bytearray(reference.bitshuffle_stream(bytes(16), 2, 8))
    stream[:8] = stated.to_bytes(8, "big")
    with pytest.raises(DecodeError, match="another size"):
        decode(bitshuffle(2), bytes(stream), 16)
    behind = bitshuffle(2)
    behind.add_fletcher32()
    with pytest.raises(DecodeError):
        decode(behind, reference.with_fletcher32(bytes(stream)), 16)


@pytest.mark.parametrize("block", [1, 7, 15, 2**32 - 1, 2**31, 24 * 2 + 2])
def test_an_impossible_block_size_is_refused(reference, block):
    stream = bytearray(reference.bitshuffle_stream(bytes(2000), 2, 64))
    stream[8:12] = block.to_bytes(4, "big")
    with pytest.raises(DecodeError, match="block"):
        decode(bitshuffle(2), bytes(stream), 2000)


def test_a_block_that_reaches_beyond_the_chunk_is_refused(reference):
    stream = bytearray(reference.bitshuffle_stream(bytes(2000), 2, 64))
    for size in (2**32 - 1, len(stream), len(stream) - 15):
        stream[12:16] = size.to_bytes(4, "big")
        with pytest.raises(DecodeError):
            decode(bitshuffle(2), bytes(stream), 2000)


def test_missing_last_elements_are_refused(reference):
    stream = reference.bitshuffle_stream(bytes(range(30)), 2, 8)
    with pytest.raises(DecodeError, match="last elements"):
        decode(bitshuffle(2), stream[:-1], 30)


def test_sizes_of_zero(reference):
    assert decode(bitshuffle(2), reference.bitshuffle_stream(b"", 2, 8), 0) == b""
    assert decode(_codec.Pipeline(), b"", 0) == b""
    assert decode(deflate(), reference.with_fletcher32(zlib.compress(b"")), 0) == b""
    for pipeline in (bitshuffle(2), deflate(), bitshuffle(2, 0, PLAIN)):
        with pytest.raises(DecodeError):
            decode(pipeline, b"", 16)


# ---------------------------------------------------------------------------------------------------- arguments


def test_impossible_filters_are_refused():
    pipeline = _codec.Pipeline()
    for itemsize, block, compression, decoder in [(0, 0, 0, ()), (2, -8, 0, ()), (2, 0, 1, zstd()), (2, 0, ZSTD, ())]:
        with pytest.raises(ValueError, match=r"impossible|unknown"):
            pipeline.add_bitshuffle(itemsize, block, compression, decoder)
    with pytest.raises(ValueError, match="no decoder"):
        pipeline.add_zstd(1, 0, 1)
    with pytest.raises(ValueError, match="no decoder"):
        pipeline.add_libdeflate(0, 1, 1)
    with pytest.raises(ValueError, match=r"no decoder|unknown"):
        pipeline.add_codec("deflate", 0)
    with pytest.raises(ValueError, match="impossible"):
        pipeline.add_shuffle(0)
    with pytest.raises(ValueError, match="no filter function"):
        pipeline.add_plugin(32001, 0, ())
    with pytest.raises(ValueError, match="too many"):
        pipeline.add_plugin(32001, 1, range(65))
    assert len(pipeline) == 0


def test_more_filters_than_hdf5_allows_are_refused():
    pipeline = _codec.Pipeline()
    for _ in range(32):
        pipeline.add_fletcher32()
    assert len(pipeline) == 32
    with pytest.raises(ValueError, match="more filters"):
        pipeline.add_fletcher32()


@pytest.mark.parametrize("simd", SIMD)
@pytest.mark.parametrize("block", [1, 7, 64, 100, 4096, 1 << 20])
@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 5000), seed=st.integers(0, 99))
def test_the_filter_lz4_undoes_its_twin(reference, simd, block, n, seed):
    data = np.random.default_rng(seed).integers(0, 3, n, dtype=np.uint8).tobytes()
    assert decode(codec("lz4", simd), reference.lz4_filter(data, block), n) == data


def test_blocks_of_nothing_are_damage(reference):
    stored = bytearray(reference.lz4_filter(bytes(100), 64))
    stored[8:12] = bytes(4)
    with pytest.raises(DecodeError, match="LZ4"):
        decode(codec("lz4"), bytes(stored), 100)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_libdeflate_judges_damage_as_zlib_does(data):
    plain = np.random.default_rng(3).integers(0, 9, 3000, dtype=np.uint8).tobytes()
    damaged = bytearray(zlib.compress(plain))
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    found = []
    for name in ("deflate", "libdeflate"):
        try:
            found.append(decode(codec(name), bytes(damaged), len(plain)))
        except DecodeError:
            found.append(None)
    assert found[0] == found[1]
