# SPDX-License-Identifier: MIT
"""The kernels that shuffle bits and bytes back, and the checksum: equal to their twins on every SIMD level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _codec
from fastlegacy.errors import UrlError

SIMD = _codec.simd_levels()
ITEMSIZES = [1, 2, 3, 4, 8, 16]

every_level = pytest.mark.parametrize("simd", SIMD)
every_itemsize = pytest.mark.parametrize("itemsize", ITEMSIZES)


@st.composite
def blocks(draw, largest=400):
    """Bytes: all random, or with few bits set, as detectors have them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(0, largest))
    data = rng.integers(0, 256, size, dtype=np.uint8)
    if draw(st.booleans()):
        data[rng.random(size) < 0.97] = 0
    return data


def unaligned(data, at=1):
    """The same bytes at an odd address, with guards on both sides."""
    room = np.full(data.size + 2 * at + 64, 0xA5, np.uint8)
    room[at : at + data.size] = data
    return room, room[at : at + data.size]


def test_levels_are_named_slowest_first():
    assert SIMD[0] == "portable"
    assert len(set(SIMD)) == len(SIMD)


@every_level
@every_itemsize
@settings(max_examples=25, deadline=None)
@given(data=blocks(), groups=st.integers(0, 300))
def test_unbitshuffle_is_its_twin(reference, simd, itemsize, data, groups):
    block = np.resize(data, groups * 8 * itemsize) if data.size else np.zeros(groups * 8 * itemsize, np.uint8)
    _, source = unaligned(block)
    room, out = unaligned(np.zeros_like(block), 3)
    _codec.unbitshuffle(source, out, itemsize, simd)
    assert out.tobytes() == reference.bit_unshuffle(block.tobytes(), itemsize)
    assert (room[:3] == 0xA5).all()
    assert (room[3 + block.size :] == 0xA5).all()


@every_level
@every_itemsize
@settings(max_examples=25, deadline=None)
@given(data=blocks(), n=st.integers(0, 300))
def test_unshuffle_is_its_twin(reference, simd, itemsize, data, n):
    block = np.resize(data, n * itemsize) if data.size else np.zeros(n * itemsize, np.uint8)
    _, source = unaligned(block)
    room, out = unaligned(np.zeros_like(block), 5)
    _codec.unshuffle(source, out, itemsize, simd)
    assert out.tobytes() == reference.unshuffle(block.tobytes(), itemsize)
    assert (room[:5] == 0xA5).all()
    assert (room[5 + block.size :] == 0xA5).all()


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_levels_agree_on_a_large_block(itemsize):
    data = np.random.default_rng(3).integers(0, 256, 8 * itemsize * 1021, dtype=np.uint8)
    for kernel in (_codec.unbitshuffle, _codec.unshuffle):
        results = []
        for simd in [*SIMD, None]:
            out = np.empty_like(data)
            kernel(data, out, itemsize, simd)
            results.append(out.tobytes())
        assert len(set(results)) == 1


@settings(max_examples=150, deadline=None)
@given(data=blocks(2000))
def test_fletcher32_is_its_twin(reference, data):
    assert _codec.fletcher32(data) == reference.fletcher32(data.tobytes())


@pytest.mark.parametrize("value", [0, 1, 255])
@pytest.mark.parametrize("size", [0, 1, 2, 719, 720, 721, 100_001])
def test_fletcher32_of_what_makes_the_sums_run_over(reference, value, size):
    data = bytes([value]) * size
    assert _codec.fletcher32(data) == reference.fletcher32(data)


@every_level
@pytest.mark.parametrize(
    ("size", "out_size", "itemsize"), [(15, 15, 1), (16, 8, 1), (16, 24, 1), (8, 8, 2), (16, 16, 0), (16, 16, -1)]
)
def test_unbitshuffle_refuses_wrong_sizes(simd, size, out_size, itemsize):
    with pytest.raises(ValueError, match="multiple of 8"):
        _codec.unbitshuffle(bytes(size), bytearray(out_size), itemsize, simd)


@every_level
@pytest.mark.parametrize(("size", "out_size", "itemsize"), [(15, 15, 2), (16, 8, 2), (16, 17, 1), (16, 16, 0)])
def test_unshuffle_refuses_wrong_sizes(simd, size, out_size, itemsize):
    with pytest.raises(ValueError, match="whole elements"):
        _codec.unshuffle(bytes(size), bytearray(out_size), itemsize, simd)


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match=r"it has.*portable"):
        _codec.unshuffle(b"", bytearray(), 1, "sse17")


@pytest.mark.parametrize("out", [b"12345678", None, np.zeros((8, 2), np.uint8)[:, 0]], ids=["bytes", "None", "stride"])
def test_memory_that_cannot_be_written_is_refused(out):
    with pytest.raises((TypeError, ValueError, BufferError)):
        _codec.unshuffle(b"12345678", out, 1)


@every_level
def test_the_environment_chooses_the_level(monkeypatch, simd):
    monkeypatch.setenv("FASTLEGACY_SIMD", simd)
    assert _codec.simd_in_use() == simd


def test_without_a_choice_it_is_the_best_level(monkeypatch):
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("FASTLEGACY_SIMD", raising=False)
        else:
            monkeypatch.setenv("FASTLEGACY_SIMD", value)
        assert _codec.simd_in_use() == SIMD[-1]


def test_a_level_that_this_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setenv("FASTLEGACY_SIMD", "altivec")
    for use in (_codec.simd_in_use, _codec.Pipeline):
        with pytest.raises(UrlError, match="no 'altivec' kernels; it has portable"):
            use()
    assert _codec.unshuffle(b"12", bytearray(2), 1, "portable") is None
