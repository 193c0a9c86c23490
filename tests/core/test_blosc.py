# SPDX-License-Identifier: MIT
"""Blosc's chunks: as the twin and c-blosc write them, whole and in parts, and damaged."""

from __future__ import annotations

import itertools
import os
import struct
from contextlib import suppress
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _codec
from fastlegacy.errors import DecodeError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.filters import BLOSC, Filter, codec_function, libdeflate, make_plan, plugin_function, zstd
from fastlegacy.hdf5.stack import Stack

from .reference_blosc import (
    AS_IS,
    BITS,
    BLOSCLZ,
    BYTES,
    CODECS,
    LZ4,
    NONE,
    NOT_SPLIT,
    SNAPPY,
    ZLIB,
    ZSTD,
    blosc,
    blosc_decode,
    blosclz,
    expand,
    head,
    snappy,
)

SIMD = _codec.simd_levels()
GUARD = 0xA5
BLOCK = 65536
CNAMES = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")
not_under_sanitizers = pytest.mark.skipif("FASTLEGACY_SANITIZED" in os.environ, reason="c-blosc reads beyond damage")


def pipeline_of(simd: str | None = None) -> _codec.Pipeline:
    pipeline = _codec.Pipeline(simd)
    pipeline.add_blosc(libdeflate(), codec_function(1), zstd())
    return pipeline


def decode(chunk: bytes, size: int, pipeline: _codec.Pipeline | None = None) -> bytes:
    """Decode into guarded memory; what stands around it must not change."""
    room = np.full(size + 128, GUARD, np.uint8)
    try:
        (pipeline or pipeline_of()).decode(chunk, room[64 : 64 + size])
    finally:
        assert (room[:64] == GUARD).all()
        assert (room[64 + size :] == GUARD).all()
    return room[64 : 64 + size].tobytes()


def counts(n: int, seed: int = 0) -> bytes:
    """Bytes that can be made smaller."""
    return np.random.default_rng(seed).poisson(0.5, n).astype(np.uint8).tobytes()


# ------------------------------------------------------------------------------------------------ whole chunks


@pytest.mark.parametrize("simd", SIMD)
@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_chunk_of_the_twin(simd: str, codec: int, data: st.DataObject) -> None:
    itemsize = data.draw(st.sampled_from([1, 2, 3, 4, 8, 16, 17, 255]))
    block = data.draw(st.integers(1, 40) | st.sampled_from([128, 136, 300, 1024])) * itemsize
    plain = counts(data.draw(st.integers(0, 3 * block)), data.draw(st.integers(0, 9)))
    block = min(block, max(1, len(plain)))
    flags = data.draw(st.sampled_from([NONE, BYTES, BITS, BYTES | BITS]))
    flags |= data.draw(st.sampled_from([0, NOT_SPLIT, AS_IS]))
    order = data.draw(st.permutations(range(-(-len(plain) // block))))
    if len(plain) >= block and block % itemsize:
        flags |= NOT_SPLIT
    chunk = blosc(plain, codec, flags, itemsize, block, order)
    assert decode(chunk, len(plain), pipeline_of(simd)) == plain


@settings(max_examples=150, deadline=None)
@given(data=st.data(), wide=st.booleans())
def test_streams_of_blosclz_and_snappy(data: st.DataObject, wide: bool) -> None:
    operations: list[bytes | tuple[int, int]] = [data.draw(st.binary(min_size=1, max_size=200))]
    size = len(operations[0])
    for _ in range(data.draw(st.integers(0, 12))):
        if data.draw(st.booleans()):
            operations.append(data.draw(st.binary(min_size=1, max_size=80) | st.just(counts(9000))))
        else:
            length = data.draw(st.integers(4, 40) | st.sampled_from([8, 9, 263, 264, 265, 600]))
            distance = data.draw(st.integers(1, min(size, 73000)) | st.integers(max(1, size - 20), size))
            operations.append((min(distance, 73000), length))
        size = len(expand(operations))
    operations.append(b"the end")
    plain = expand(operations)
    for codec, stream in ((BLOSCLZ, blosclz(operations)), (SNAPPY, snappy(operations, wide=wide))):
        if len(stream) == len(plain) or (codec == BLOSCLZ and len(stream) > len(plain)):
            continue  # it would be stored as it is
        size = 20 + 4 + len(stream)
        chunk = head(codec, NOT_SPLIT, 1, len(plain), len(plain), size) + struct.pack("<Ii", 20, len(stream)) + stream
        assert decode(chunk, len(plain)) == plain
        for wrong in {len(plain) - 1, len(plain) + 1} - {len(stream)}:  # a stream of its own size is stored as it is
            with pytest.raises(DecodeError):
                decode(head(codec, NOT_SPLIT, 1, wrong, wrong, size) + chunk[16:], wrong)


def written(plain: np.ndarray[Any, Any], **choices: Any) -> tuple[bytes, int]:
    """A chunk as c-blosc stores it, and its filter mask."""
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("d", data=plain, chunks=plain.shape, **hdf5plugin.Blosc(**choices))
        mask, raw = data.id.read_direct_chunk((0,) * plain.ndim)
        return bytes(raw), mask


@pytest.mark.parametrize("cname", CNAMES)
@pytest.mark.parametrize("shuffle", [0, 1, 2])
@settings(max_examples=15, deadline=None)
@given(
    clevel=st.integers(0, 9),
    dtype=st.sampled_from(["u1", "<u2", ">u2", "<u4", "<f8", "<c16", "S3", "S20"]),
    n=st.integers(1, 3000) | st.sampled_from([32768, 70001, 131072, 140_007]),
    seed=st.integers(0, 9),
    simd=st.sampled_from(SIMD),
)
def test_a_chunk_of_c_blosc(cname: str, shuffle: int, clevel: int, dtype: str, n: int, seed: int, simd: str) -> None:
    plain = counts(n * np.dtype(dtype).itemsize, seed)
    raw, mask = written(np.frombuffer(plain, dtype), cname=cname, clevel=clevel, shuffle=shuffle)
    if mask == 0:
        assert decode(raw, len(plain), pipeline_of(simd)) == plain
        if cname in ("zlib", "lz4") and n < 1000:
            assert blosc_decode(raw) == plain


@pytest.mark.parametrize("shuffle", [0, 1, 2])
def test_snappy_makes_more_of_what_cannot_be_made_less(shuffle: int, tmp_path: Any) -> None:
    plain = np.random.default_rng(0).integers(0, 1 << 16, 200_000).astype("<u2")
    plain[:100_000] = 7  # else the whole chunk is stored as it is
    raw, _ = written(plain, cname="snappy", clevel=1, shuffle=shuffle)
    starts = [*struct.unpack_from(f"<{-(-plain.nbytes // struct.unpack_from('<I', raw, 8)[0])}I", raw, 16), len(raw)]
    block = struct.unpack_from("<I", raw, 8)[0]
    assert max(b - a for a, b in itertools.pairwise(sorted(starts))) > block + 8, "a block larger than its bytes"
    assert decode(raw, plain.nbytes) == plain.tobytes()
    url = stack_file(tmp_path / "a.h5", plain[None], (1, plain.size), cname="snappy", clevel=1, shuffle=shuffle)
    with Stack(url) as stack:
        for first in (90_000, 150_000, 199_990):
            out = np.empty(10, "<u2")
            stack.core.read(first, out.view(np.uint8))
            np.testing.assert_array_equal(out, plain[first : first + 10])


def test_without_its_codecs_the_plugin_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Filter(BLOSC, (2, 2, 2, 100, 5, 1, 1))
    assert make_plan([found], 2).by == ("kernel",)
    monkeypatch.setattr("fastlegacy.hdf5.filters.zstd", tuple)
    assert make_plan([found], 2).by == ("plugin",)


def test_blosc_between_other_filters(reference: Any) -> None:
    plain = counts(5000)
    pipeline = _codec.Pipeline()
    pipeline.add_shuffle(4)
    pipeline.add_blosc((), codec_function(1), zstd())
    pipeline.add_fletcher32()
    chunk = reference.with_fletcher32(blosc(reference.shuffle(plain, 4), ZLIB, NONE, 4, 1000))
    assert decode(chunk, len(plain), pipeline) == plain
    with pytest.raises(ValueError, match="no decoder"):
        pipeline.add_blosc((), 0, zstd())
    with pytest.raises(ValueError, match="no decoder"):
        pipeline.add_blosc(libdeflate(), 0, ())


# ------------------------------------------------------------------------------------------------ parts of chunks


def stack_file(path: Any, frames: np.ndarray[Any, Any], chunks: tuple[int, ...], **choices: Any) -> str:
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=frames, chunks=chunks, **hdf5plugin.Blosc(**choices))
    return f"{path}::/d"


@pytest.mark.parametrize("cname", CNAMES)
@pytest.mark.parametrize(("clevel", "shuffle"), [(0, 0), (1, 1), (5, 1), (5, 2), (9, 0)])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_parts_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, cname: str, clevel: int, shuffle: int, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(["u1", "<u2", "<u4", "<f8"]))
    ny, nx = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 700))
    chunks = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, ny)), data.draw(st.integers(1, nx)))
    chunks = data.draw(st.sampled_from([chunks, (1, ny, nx), (3, ny, nx)]))
    frames = np.frombuffer(counts(3 * ny * nx * 8, 3), np.uint8)[: 3 * ny * nx].reshape(3, ny, nx).astype(dtype)
    path = tmp_path_factory.mktemp("parts") / "a.h5"
    with Stack(stack_file(path, frames, chunks, cname=cname, clevel=clevel, shuffle=shuffle)) as stack:
        flat = frames.reshape(-1)
        for _ in range(6):
            first = data.draw(st.integers(0, flat.size - 1))
            n = data.draw(st.integers(1, flat.size - first) | st.integers(1, min(500, flat.size - first)))
            out = np.full(n, 99, dtype)
            stack.core.read(first, out.view(np.uint8))
            np.testing.assert_array_equal(out, flat[first : first + n])


def big_frame(path: Any) -> tuple[str, np.ndarray[Any, Any], int, int]:
    """A stack of one frame in blocks of BLOCK bytes, and where its chunk is."""
    frames = np.random.default_rng(4).poisson(2.0, (1, 500, 600)).astype("<u2")
    url = stack_file(path, frames, frames.shape, cname="zstd", clevel=2, shuffle=2)
    with h5py.File(path) as file:
        info = file["d"].id.get_chunk_info(0)
    return url, frames, info.byte_offset, info.size


def test_only_the_blocks_that_are_needed_are_decoded(tmp_path: Any) -> None:
    """A fault in the last block does no harm to whoever reads the others."""
    url, frames, at, size = big_frame(tmp_path / "a.h5")
    with open(tmp_path / "a.h5", "r+b") as file:
        file.seek(at + size - 2000)
        file.write(b"\xff" * 1500)
    with Stack(url) as stack:
        out = np.empty(40_000, "<u2")
        stack.core.read(1000, out.view(np.uint8))
        np.testing.assert_array_equal(out, frames.reshape(-1)[1000:41_000])
        with pytest.raises(DecodeError, match="blosc"):
            stack[0]
        with pytest.raises(DecodeError, match="blosc"):
            stack.core.read(frames.size - 40_000, out.view(np.uint8))


def test_who_reads_a_part_does_not_pay_for_the_chunk(tmp_path: Any) -> None:
    url, frames, _, _ = big_frame(tmp_path / "a.h5")
    context = Context()
    with Stack(url, context=context) as stack:
        out = np.empty(1000, "<u2")
        stack.core.read(7, out.view(np.uint8))
        np.testing.assert_array_equal(out, frames.reshape(-1)[7:1007])
        assert BLOCK < context.cache.used_bytes < frames.nbytes


def test_a_block_that_was_asked_for_in_full_is_given_up(tmp_path: Any) -> None:
    url, frames, _, _ = big_frame(tmp_path / "a.h5")
    context = Context()
    with Stack(url, context=context) as stack:
        step, misses = 5000, 1 + -(-frames.nbytes // BLOCK)  # what is before the blocks, and each block once
        for times in (1, 2):
            found = []
            for first in range(0, frames.size, step):
                out = np.empty(step, "<u2")
                stack.core.read(first, out.view(np.uint8))
                found.append(out)
            np.testing.assert_array_equal(np.concatenate(found), frames.reshape(-1))
            assert context.cache.misses == times * misses


# ------------------------------------------------------------------------------------------------ damage


def plugin() -> _codec.Pipeline:
    """Blosc by c-blosc itself."""
    pipeline = _codec.Pipeline()
    pipeline.add_plugin(BLOSC, plugin_function(BLOSC), (2, 2, 2, 100, 5, 1, 1))
    return pipeline


@pytest.mark.parametrize("cname", CNAMES)
@pytest.mark.parametrize("shuffle", [0, 1, 2])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_gives_what_c_blosc_gives(cname: str, shuffle: int, data: st.DataObject) -> None:
    plain = counts(2 * 40_003, 8)
    raw, _ = written(np.frombuffer(plain, "<u2"), cname=cname, clevel=5, shuffle=shuffle)
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 40) | st.integers(0, len(raw) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    chunk = bytes(damaged[: data.draw(st.none() | st.integers(0, len(raw)))])
    found = theirs = None
    with suppress(DecodeError):
        found = decode(chunk, len(plain))
    if "FASTLEGACY_SANITIZED" not in os.environ and found is not None:  # c-blosc reads beyond what is damaged
        with suppress(DecodeError):
            theirs = decode(chunk, len(plain), plugin())
    assert theirs in (None, found)


@pytest.mark.parametrize("codec", CODECS)
def test_every_shorter_chunk_is_refused(codec: int) -> None:
    plain = counts(1000)
    chunk = blosc(plain, codec, BYTES, 2, 400)
    for length in range(len(chunk)):
        with pytest.raises(DecodeError):
            decode(chunk[:length], len(plain))


@pytest.mark.parametrize("codec", CODECS)
def test_every_shorter_stream_is_refused(codec: int) -> None:
    plain = counts(900) + bytes(300)
    chunk = blosc(plain, codec, NOT_SPLIT, 1, len(plain))
    stream = chunk[24:] if len(chunk) < len(plain) else b""
    for length in range(len(stream)):
        lead = head(codec, NOT_SPLIT, 1, len(plain), len(plain), 24 + length) + struct.pack("<Ii", 20, length)
        with pytest.raises(DecodeError):
            decode(lead + stream[:length], len(plain))


@settings(max_examples=300, deadline=None)
@given(junk=st.binary(max_size=300), size=st.integers(0, 500), codec=st.sampled_from(CODECS), flags=st.integers(0, 31))
def test_junk_is_refused_or_gives_pixels(junk: bytes, size: int, codec: int, flags: int) -> None:
    with suppress(DecodeError):
        assert len(decode(junk, size)) == size
    made = head(codec, flags, 2, size, max(1, size), 16 + 4 + len(junk)) + struct.pack("<I", 20) + junk
    with suppress(DecodeError):
        assert len(decode(made, size)) == size


@pytest.mark.parametrize(
    ("at", "form", "value", "message"),
    [
        (0, "B", 1, "version"),
        (0, "B", 3, "version"),
        (1, "B", 2, "version"),
        (2, "B", 8, "version"),
        (2, "B", 5 << 5, "codec"),
        (3, "B", 0, "impossible"),
        (4, "I", 1001, "size of the chunk|larger|states another|more blocks"),
        (4, "I", 2**32 - 1, "impossible"),
        (8, "I", 0, "impossible"),
        (8, "I", 1, "more blocks"),
        (8, "I", 1001, "larger than the chunk"),
        (8, "I", 2**31, "impossible"),
        (12, "I", 15, "another size"),
        (12, "I", 2**32 - 1, "another size"),
        (16, "I", 0, "outside"),
        (16, "I", 2**31, "outside"),
        (16, "I", 2**32 - 1, "outside"),
        (20, "I", 2**32 - 1, "outside"),
        (28, "i", -1, "beyond"),
        (28, "i", 401, "beyond"),
        (28, "i", 2**31 - 1, "beyond"),
    ],
)
def test_an_impossible_number_is_refused(at: int, form: str, value: int, message: str) -> None:
    chunk = bytearray(blosc(counts(1000), ZLIB, BYTES | NOT_SPLIT, 2, 400))
    struct.pack_into("<" + form, chunk, at, value)
    with pytest.raises(DecodeError, match=message):
        decode(bytes(chunk), 1000)


def test_a_chunk_as_it_is_has_the_size_that_it_states() -> None:
    chunk = blosc(b"12345678", LZ4, AS_IS, 2, 8)
    assert decode(chunk, 8) == b"12345678"
    for wrong in (7, 9):
        with pytest.raises(DecodeError, match="another size"):
            decode(head(LZ4, AS_IS, 2, wrong, wrong, 24) + b"12345678", wrong)


def test_a_block_that_cannot_be_split_is_refused() -> None:
    chunk = blosc(counts(1001), ZSTD, NOT_SPLIT, 1, 1001)
    with pytest.raises(DecodeError, match="cannot be split"):
        decode(head(ZSTD, NONE, 2, 1001, 1001, len(chunk)) + chunk[16:], 1001)


def test_blocks_over_each_other_are_refused() -> None:
    """The second begins in the middle of the first."""
    chunk = bytearray(blosc(np.random.default_rng(0).bytes(800), ZLIB, NONE, 1, 400))
    (first,) = struct.unpack_from("<I", chunk, 16)
    struct.pack_into("<I", chunk, 20, first + 50)
    with pytest.raises(DecodeError, match="beyond its end"):
        decode(bytes(chunk), 800)
