# SPDX-License-Identifier: MIT
"""Every dtype, chunk shape, filter and file version that h5py can write: all pairs of them, and the rare storages."""

import ctypes
from itertools import combinations

import h5py
import numpy as np
import pytest

from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import LIBVERS, write_stack
from fastlegacy.testing.filters import filter_names
from fastlegacy.testing.frames import counting_frames, plain_frames
from fastlegacy.testing.storage import (
    CHUNK_INDEXES,
    write_compact,
    write_external_raw,
    write_indexed,
    write_masked,
    write_unfiltered_edges,
)

SHAPE = (5, 19, 31)
DTYPES = [order + code for code in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8") for order in "<>"]
CHUNKS = {
    "one frame": (1, 19, 31),
    "several frames": (2, 19, 31),
    "all frames": (5, 19, 31),
    "some rows": (1, 8, 31),
    "tiles": (1, 8, 12),
    "blocks": (3, 7, 10),
    "columns": (2, 19, 5),
}
WHOLE_IMAGES = ("zfp-reversible", "sz", "sz3", "sperr", "fcidecomp")  # codecs of images or volumes, not of scraps
VERSIONS = ("earliest", "latest")


def possible_chunks(name):
    return list(CHUNKS)[: 2 if name in WHOLE_IMAGES else None]


def selection():
    """Each filter with each dtype that it knows; chunk shapes and versions take turns."""
    turn = dict.fromkeys([*filter_names(), *DTYPES], 0)
    for name in filter_names():
        for dtype in (dtype for dtype in DTYPES if name in filter_names(dtype)):
            chunks = possible_chunks(name)
            chunk = chunks[(turn[name] + turn[dtype] // 2) % len(chunks)]
            version = VERSIONS[(turn[name] // len(chunks) + turn[name] + turn[dtype]) % 2]
            turn[name] += 1
            turn[dtype] += 1
            yield name, dtype, chunk, version


SELECTION = list(selection())


@pytest.mark.parametrize(("name", "dtype", "chunk", "version"), SELECTION)
def test_selection(tmp_path, same_as_h5py, name, dtype, chunk, version):
    frames = plain_frames(SHAPE[0], SHAPE[1:], dtype, seed=len(name))
    url = write_stack(tmp_path / "a.h5", frames, filters=name, chunks=CHUNKS[chunk], libver=version)
    same_as_h5py(url)


def test_selection_covers_all_pairs():
    covered = {(i, j, row[i], row[j]) for row in SELECTION for i, j in combinations(range(4), 2)}
    wanted = {
        (i, j, row[i], row[j])
        for name in filter_names()
        for dtype in DTYPES
        if name in filter_names(dtype)
        for chunk in possible_chunks(name)
        for version in VERSIONS
        for row in [(name, dtype, chunk, version)]
        for i, j in combinations(range(4), 2)
    }
    assert wanted - covered == set()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", LIBVERS)
def test_contiguous_and_compact(tmp_path, same_as_h5py, dtype, version):
    frames = plain_frames(3, (9, 14), dtype)
    assert same_as_h5py(write_stack(tmp_path / "a.h5", frames, libver=version)) == {"stored"}
    assert same_as_h5py(write_compact(tmp_path / "b.h5", frames, libver=version)) == {"stored"}


@pytest.mark.parametrize("filters", ["none", "bslz4", "shuffle+gzip+fletcher32"])
@pytest.mark.parametrize("index", CHUNK_INDEXES)
@pytest.mark.parametrize("chunks", [None, (2, 7, 11)], ids=["frames", "blocks"])
def test_every_chunk_index(tmp_path, same_as_h5py, index, filters, chunks):
    if index == "implicit" and filters != "none":
        return  # HDF5 knows no such file
    frames = counting_frames(7, (20, 31), "<u2")
    same_as_h5py(write_indexed(tmp_path / "a.h5", frames, index, filters=filters, chunks=chunks))


@pytest.mark.parametrize("version", LIBVERS)
@pytest.mark.parametrize("filters", ["none", "bslz4"])
def test_user_block(tmp_path, same_as_h5py, filters, version):
    frames = counting_frames(3, (20, 31), "<u4")
    for chunks in (None, (1, 20, 31)):
        url = write_stack(tmp_path / "a.h5", frames, filters=filters, chunks=chunks, userblock=2048, libver=version)
        same_as_h5py(url)
    same_as_h5py(write_compact(tmp_path / "c.h5", frames))


@pytest.mark.parametrize("fillvalue", [None, 0, 77, 513])
@pytest.mark.parametrize("written", [slice(0, 0), slice(1, 3)])
@pytest.mark.parametrize(
    ("filters", "chunks"), [("none", None), ("none", (1, 20, 31)), ("bslz4", (2, 8, 31)), ("gzip", (1, 20, 31))]
)
def test_what_was_never_written(tmp_path, same_as_h5py, filters, chunks, written, fillvalue):
    frames = counting_frames(4, (20, 31), ">u2")
    url = write_stack(tmp_path / "a.h5", frames, filters=filters, chunks=chunks, fillvalue=fillvalue, written=written)
    same_as_h5py(url)


@pytest.mark.parametrize("chunks", [None, (2, 8, 9)])
@pytest.mark.parametrize(
    ("filters", "masks"),
    [
        ("bslz4", [0, 1]),
        ("bslz4+fletcher32", [0, 1, 2, 3]),
        ("shuffle+gzip", [0, 1, 2, 3]),
        ("shuffle+gzip+fletcher32", [0, 1, 2, 4, 5, 7]),
        ("shuffle+lz4", [0, 1, 2, 3]),
    ],
)
def test_filters_that_were_skipped(tmp_path, same_as_h5py, filters, masks, chunks):
    same_as_h5py(write_masked(tmp_path / "a.h5", counting_frames(8, (20, 31), "u4"), filters, masks, chunks=chunks))


@pytest.mark.parametrize("filters", ["gzip", "bslz4", "shuffle+gzip+fletcher32"])
@pytest.mark.parametrize("chunks", [(1, 16, 16), (2, 20, 16), (2, 16, 30), (1, 20, 30)])
def test_edges_without_filter(tmp_path, same_as_h5py, filters, chunks):
    same_as_h5py(write_unfiltered_edges(tmp_path / "a.h5", counting_frames(3, (20, 30), "u2"), filters, chunks))


def test_raw_files_beside_it(tmp_path, same_as_h5py):
    frames = counting_frames(4, (20, 31), ">u2")
    assert same_as_h5py(write_external_raw(tmp_path / "a.h5", frames, files=3)) == {"h5py"}


@pytest.mark.parametrize("shape", [(20, 31), (2, 3, 20, 31), (2, 2, 3, 20, 31), (2, 1, 2, 1, 3, 7, 9)])
@pytest.mark.parametrize("filters", ["none", "bslz4", "lzf"])
def test_axes_before_the_frame(tmp_path, same_as_h5py, shape, filters):
    frames = np.arange(np.prod(shape), dtype="<u4").reshape(shape)
    same_as_h5py(write_stack(tmp_path / "a.h5", frames, filters=filters))
    chunks = tuple(max(1, n - 1) for n in shape)
    same_as_h5py(write_stack(tmp_path / "b.h5", frames, filters=filters, chunks=chunks))


def test_dataset_that_was_resized(tmp_path, same_as_h5py):
    """Chunks beyond the new end may still be listed; chunks at the old edge become inner ones."""
    frames = counting_frames(6, (20, 31), "u2")
    url = write_stack(tmp_path / "a.h5", frames, filters="bslz4", chunks=(2, 8, 31), maxshape=(None, None, None))
    for shape in [(3, 20, 31), (5, 12, 31), (7, 30, 40)]:
        with h5py.File(tmp_path / "a.h5", "r+", locking=False) as file:
            file["/entry/data/data"].resize(shape)
        same_as_h5py(url)


def test_bits_that_do_not_fill_their_bytes(tmp_path, same_as_h5py):
    """12 bits in 16, packed by HDF5's filter nbit."""
    kind = h5py.h5t.STD_U16LE.copy()
    kind.set_precision(12)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, 20, 31))
    library = ctypes.CDLL(h5py.h5z.__file__)
    assert library.H5Pset_nbit(ctypes.c_int64(properties.id)) >= 0
    frames = counting_frames(3, (20, 31), "u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, more in (("packed", properties), ("plain", None)):
            dataset = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(frames.shape), more)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, frames)
    assert same_as_h5py(f"{tmp_path / 'a.h5'}::/packed") == {"h5py"}
    assert same_as_h5py(f"{tmp_path / 'a.h5'}::/plain") == {"h5py"}


def test_numbers_with_names(tmp_path, same_as_h5py):
    """Enumerations are numbers."""
    kind = h5py.enum_dtype({"good": 0, "dead": 1}, "u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("plain", data=np.eye(20, 31, dtype="u1")[None], dtype=kind)
        file.create_dataset(
            "packed", data=np.eye(20, 31, dtype="u1")[None], dtype=kind, chunks=True, compression="gzip"
        )
    for name in ("plain", "packed"):
        same_as_h5py(f"{tmp_path / 'a.h5'}::/{name}")


def test_who_decodes(tmp_path, same_as_h5py):
    frames = plain_frames(2, (32, 40), "u2")
    expected = {
        "none": {"stored"},
        "bslz4": {"kernel"},
        "bszstd": {"kernel"},
        "shuffle+gzip+fletcher32": {"kernel"},
        "blosc-lz4": {"kernel"},
        "shuffle+lz4": {"kernel"},
        "lzf": {"h5py"},
        "scaleoffset": {"h5py"},
    }
    for filters, by in expected.items():
        url = write_stack(tmp_path / "a.h5", frames, filters=filters, chunks=(1, 32, 40))
        assert (filters, same_as_h5py(url)) == (filters, by)


def test_a_large_frame(tmp_path, same_as_h5py):
    """Blocks in the middle, partial last block, tail: what one detector frame has."""
    frames = plain_frames(2, (517, 1031), "<u4")
    same_as_h5py(write_stack(tmp_path / "a.h5", frames, filters="bslz4"))
    with Stack(f"{tmp_path / 'a.h5'}::/entry/data/data") as stack:
        one = np.empty(1, "<u4")
        for pixel in (0, 2047, 2048, 517 * 1031 - 1, 517 * 1031, 2 * 517 * 1031 - 1):
            stack.core.read(pixel, one.view(np.uint8))
            assert one[0] == frames.reshape(-1)[pixel]
