# SPDX-License-Identifier: MIT
"""``import fastlegacy``: what a program writes."""

import zlib

import h5py
import numpy as np
import pytest

import fastlegacy
from fastlegacy.errors import DecodeError, FilterError, LayoutError, SourceError, UrlError
from fastlegacy.hdf5.files import default_context
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.filters import filter_arguments, filter_names
from fastlegacy.testing.frames import counting_frames, plain_frames
from fastlegacy.testing.storage import stored_chunk

FRAMES = counting_frames(4, (20, 30), "<u2")


@pytest.fixture
def url(tmp_path):
    return write_stack(tmp_path / "a.h5", FRAMES, "/e/d", filters="bslz4")


def test_names_of_the_package():
    assert set(fastlegacy.__all__) <= set(dir(fastlegacy))
    assert all(getattr(fastlegacy, name) is not None for name in fastlegacy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastlegacy.nothing  # noqa: B018  (the look-up is what is tested)


def test_open(url, tmp_path):
    for words in ([url], [tmp_path / "a.h5", "/e/d"], [tmp_path / "a.h5", "e/d"], [tmp_path / "a.h5"]):
        with fastlegacy.open(*words) as stack:
            assert stack.url == url
            assert np.array_equal(stack[3], FRAMES[3])
    with fastlegacy.open(f"{tmp_path / 'a.h5'}?path=/e/d&slice=1:3,::2") as stack:
        assert stack.shape == (2, 10, 30)
    with pytest.raises(SourceError):
        fastlegacy.open(tmp_path / "b.h5")
    with pytest.raises(UrlError):
        fastlegacy.open("")


def test_memory_is_one_bound_for_all(url):
    before = default_context().cache.max_bytes
    try:
        with fastlegacy.open(url, memory_bytes=12_345):
            assert default_context().cache.max_bytes == 12_345
        with fastlegacy.open(url):
            assert default_context().cache.max_bytes == 12_345
    finally:
        default_context().cache.max_bytes = before


def test_stacks(url, tmp_path):
    assert [info.url for info in fastlegacy.stacks(tmp_path)] == [url]
    assert [info.url for info in fastlegacy.stacks(tmp_path / "a.h5")] == [url]
    with pytest.raises(SourceError):
        fastlegacy.stacks(tmp_path / "nothing")


@pytest.mark.parametrize("format", fastlegacy.formats())
def test_tree(url, format):
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(stack, format=format, stem="scan", first=0)
        names = list(tree)
        assert len(names) == len(tree) == (4 if tree.layout.per_frame else 1)
        assert names[0].startswith("scan")
        if tree.layout.per_frame:
            assert names[0] == f"scan0000{tree.layout.suffix}"
        whole = tree[names[-1]].read()
        bodies = FRAMES[-1:] if tree.layout.per_frame else FRAMES
        assert all(body.tobytes() in whole for body in bodies)
        assert tree[names[-1]].read(10, 20) == whole[10:30]


def test_tree_with_values_for_the_headers(url):
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(stack, start_deg=-10, step_deg=0.5)
        assert b"-9.0" in tree["data0003.edf"].read(0, 1024)
        assert tree.stack.geometry.origin == {"start_deg": "caller", "step_deg": "caller"}
        assert stack.geometry.start_deg is None
        with pytest.raises(TypeError, match=r"'wavelenght' is no value of a header; there are .*wavelength_angstrom"):
            fastlegacy.tree(stack, wavelenght=1.0)
        with pytest.raises(TypeError, match="'origin'"):
            fastlegacy.tree(stack, origin=1.0)
        with pytest.raises(LayoutError, match=r"no format 'papyrus'; there are .*edf"):
            fastlegacy.tree(stack, format="papyrus")


# ---------------------------------------------------------------------------------------------------- decode


@pytest.mark.parametrize(
    ("written", "filters"),
    [
        ("bslz4", ["bitshuffle+lz4"]),
        ("bslz4", [32008]),
        ("bslz4-block64", ["bitshuffle+lz4"]),
        ("bszstd", ["bitshuffle+zstd"]),
        ("bitshuffle", ["bitshuffle"]),
        ("gzip", ["deflate"]),
        ("gzip", ["gzip"]),
        ("gzip", [1]),
        ("shuffle+gzip", ["shuffle", "deflate"]),
        ("shuffle+gzip+fletcher32", [2, 1, 3]),
        ("shuffle+gzip+fletcher32", [(2, (4,)), (1, (2,)), "fletcher32"]),
        ("lz4", ["lz4"]),
        ("zstd", ["zstd"]),
        ("blosc-lz4", ["blosc"]),
        ("bzip2", ["bzip2"]),
        ("shuffle+lz4", ["shuffle", "lz4"]),
        ("none", []),
    ],
)
def test_decode(written, filters):
    chunk = plain_frames(3, (17, 23), "<i4")
    raw = stored_chunk(chunk, written)
    result = fastlegacy.decode(raw, shape=chunk.shape, dtype="<i4", filters=filters)
    assert result.dtype == chunk.dtype
    assert np.array_equal(result, chunk)
    for kind in (bytearray(raw), memoryview(raw), np.frombuffer(raw, np.uint8)):
        assert np.array_equal(fastlegacy.decode(kind, shape=chunk.shape, dtype="<i4", filters=filters), chunk)


@pytest.mark.parametrize("name", [name for name in filter_names("f4") if name not in ("lzf", "szip", "shuffle+lzf")])
def test_decode_with_the_client_data_of_a_file(tmp_path, name):
    path = write_stack(tmp_path / "a.h5", plain_frames(1, (32, 40), "f4"), "/d", filters=name, chunks=(1, 32, 40))
    with h5py.File(path.partition("::")[0]) as file:
        properties = file["d"].id.get_create_plist()
        found = [properties.get_filter(i) for i in range(properties.get_nfilters())]
        mask, raw = file["d"].id.read_direct_chunk((0, 0, 0))
        expected = file["d"][()]
    filters = [(number, values) for number, _, values, _ in found]
    result = fastlegacy.decode(raw, shape=(1, 32, 40), dtype="f4", filters=filters, filter_mask=mask)
    assert result.tobytes() == expected.tobytes()


def test_decode_of_frames_of_bitshuffle_is_the_default():
    frame = counting_frames(1, (64, 70), "u2")
    assert np.array_equal(fastlegacy.decode(stored_chunk(frame, "bslz4"), shape=frame.shape, dtype="u2"), frame)


@pytest.mark.parametrize("mask", range(4))
def test_decode_with_a_filter_mask(mask):
    chunk = counting_frames(2, (8, 9), "u4")
    raw = stored_chunk(chunk, "shuffle+gzip", mask)
    result = fastlegacy.decode(raw, shape=chunk.shape, dtype="u4", filters=["shuffle", "deflate"], filter_mask=mask)
    assert np.array_equal(result, chunk)


def test_decode_into_memory_of_the_caller():
    chunk = counting_frames(1, (8, 9), ">u4")
    raw = stored_chunk(chunk, "bslz4")
    out = np.empty((8, 9), ">u4")
    assert fastlegacy.decode(raw, shape=(8, 9), dtype=">u4", out=out) is out
    assert np.array_equal(out, chunk[0])
    for other in (np.empty((9, 8), ">u4"), np.empty((8, 9), "<u4"), np.empty((9, 8), ">u4").T):
        with pytest.raises(ValueError, match=r"C-contiguous array of shape \(8, 9\) and dtype >u4"):
            fastlegacy.decode(raw, shape=(8, 9), dtype=">u4", out=other)


def test_decode_of_damaged_bytes():
    raw = stored_chunk(counting_frames(1, (64, 70), "u2"), "bslz4")
    for damaged in (b"", raw[:-1], raw[:11], b"\xff" * 100):
        with pytest.raises(DecodeError):
            fastlegacy.decode(damaged, shape=(64, 70), dtype="u2")
    for shape in [(64, 71), (63, 70), (0,), ()]:
        with pytest.raises(DecodeError):
            fastlegacy.decode(raw, shape=shape, dtype="u2")
    with pytest.raises(DecodeError):
        fastlegacy.decode(zlib.compress(bytes(10)), shape=(11,), dtype="u1", filters=["deflate"])
    with pytest.raises(DecodeError):
        fastlegacy.decode(bytes(10), shape=(11,), dtype="u1", filters=[])


def test_decode_with_filters_that_cannot_be_used():
    for filters, says in [
        (["rot13"], "there is no filter 'rot13'; there are bitshuffle,"),
        ([305], "305"),
        (["shuffle", 6], "only HDF5 itself"),
    ]:
        with pytest.raises(FilterError, match=says):
            fastlegacy.decode(b"1234", shape=(2,), dtype="u2", filters=filters)
    assert "bslz4" in filter_names()
    assert filter_arguments("none") == {}
