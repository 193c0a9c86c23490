# SPDX-License-Identifier: MIT
"""Files that are damaged: one clear error for the frames concerned, the right pixels for the others."""

import os
from contextlib import suppress

import h5py
import numpy as np
import pytest

from fastlegacy.errors import DecodeError, FastlegacyError, FilterError, SourceError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import create_file, write_stack
from fastlegacy.testing.frames import counting_frames, detector_frames
from fastlegacy.testing.virtual import virtual_series

FRAMES = detector_frames(6, (40, 50), "u4")


def chunk_place(path, frame, dataset="/entry/data/data"):
    with h5py.File(path, locking=False) as file:
        info = file[dataset].id.get_chunk_info_by_coord((frame, 0, 0))
        return info.byte_offset, info.size


def overwrite(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize(
    "filters", ["bslz4", "bszstd", "gzip", "zstd", "lz4", "blosc-lz4", "blosc2-zstd", "lzf", "gzip+fletcher32"]
)
def test_a_damaged_chunk_spoils_its_frame_only(tmp_path, filters):
    if "FASTLEGACY_SANITIZED" in os.environ and filters == "blosc2-zstd":
        pytest.skip("the plug-in library believes what damaged chunks state")
    url = write_stack(tmp_path / "a.h5", FRAMES, filters=filters)
    at, size = chunk_place(tmp_path / "a.h5", 2)
    overwrite(tmp_path / "a.h5", at, b"\xff" * min(size, 300))
    with Stack(url) as stack:
        with pytest.raises(DecodeError) as caught:
            stack[2]
        error = caught.value
        assert (error.file, error.dataset, error.frame) == (str(tmp_path / "a.h5"), "/entry/data/data", 2)
        assert error.hint
        for frame in (0, 1, 3, 4, 5):
            assert np.array_equal(stack[frame], FRAMES[frame])
        with pytest.raises(DecodeError, match="frame 2"):
            stack.read_frames(0, 6, threads=2)
        assert stack._context.cache.used_bytes <= stack._context.cache.max_bytes


def test_number_of_the_chunk_is_named(tmp_path):
    frames = counting_frames(6, (40, 50), "u4")
    url = write_stack(tmp_path / "a.h5", frames, filters="bslz4", chunks=(2, 20, 50))
    with h5py.File(tmp_path / "a.h5", locking=False) as file:
        info = file["/entry/data/data"].id.get_chunk_info_by_coord((2, 20, 0))
    overwrite(tmp_path / "a.h5", info.byte_offset, bytes(8))
    with Stack(url) as stack:
        with pytest.raises(DecodeError, match=r"frame 3: chunk 3: .*damaged.*states another size"):
            stack[3]
        out = np.empty(20 * 50, "<u4")
        stack.core.read(3 * 2000, out.view(np.uint8))  # the rows above lie in a chunk that is well
        assert np.array_equal(out, frames[3, :20].reshape(-1))


def test_only_the_blocks_that_are_needed_are_decoded(tmp_path):
    """A fault in the last block does no harm to whoever reads the first."""
    frames = detector_frames(1, (200, 100), "<u2")
    url = write_stack(tmp_path / "a.h5", frames, filters="bslz4")
    at, size = chunk_place(tmp_path / "a.h5", 0)
    overwrite(tmp_path / "a.h5", at + size - 400, b"\xff" * 300)
    with Stack(url) as stack:
        out = np.empty(4096, "<u2")
        stack.core.read(0, out.view(np.uint8))
        assert np.array_equal(out, frames.reshape(-1)[:4096])
        with pytest.raises(DecodeError, match=r"LZ4 block|reaches beyond"):
            stack[0]


def test_checksum(tmp_path):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="fletcher32", chunks=(1, 40, 50))
    at, _ = chunk_place(tmp_path / "a.h5", 1)
    overwrite(tmp_path / "a.h5", at + 100, b"\x77")
    with Stack(url) as stack:
        with pytest.raises(DecodeError, match=r"frame 1: .*checksum \(fletcher32\)"):
            stack[1]
        assert np.array_equal(stack[2], FRAMES[2])


def test_a_source_of_a_virtual_dataset(tmp_path):
    url = virtual_series(tmp_path, FRAMES)
    at, _ = chunk_place(tmp_path / "master_0001.h5", 1, "/entry_0000/measurement/data")
    overwrite(tmp_path / "master_0001.h5", at, b"\xff" * 40)
    with Stack(url) as stack:
        with pytest.raises(DecodeError) as caught:
            stack[3]
        assert caught.value.file == str(tmp_path / "master_0001.h5")
        assert caught.value.frame == 3
        assert np.array_equal(stack[2], FRAMES[2])


# ---------------------------------------------------------------------------------------------------- whole files


@pytest.mark.parametrize("left", [0, 1, 100, 0.5, -1])
def test_a_file_that_is_cut_short(tmp_path, left):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    size = (tmp_path / "a.h5").stat().st_size
    os.truncate(tmp_path / "a.h5", size - 1 if left == -1 else int(size * left) if isinstance(left, float) else left)
    with pytest.raises(SourceError, match=r"cut short|not an HDF5 file") as caught:
        Stack(url)
    assert caught.value.file == str(tmp_path / "a.h5")


def test_a_file_that_is_cut_short_while_it_is_open(tmp_path):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    at, size = chunk_place(tmp_path / "a.h5", 3)
    with Stack(url) as stack:
        assert np.array_equal(stack[0], FRAMES[0])
        os.truncate(tmp_path / "a.h5", at + size // 2)
        with pytest.raises(SourceError, match=r"frame 3: .*truncated"):
            stack[3]
        with pytest.raises(SourceError, match="has changed since it was opened"):
            stack[1]


def test_a_file_that_is_written_anew_while_it_is_open(tmp_path):
    """In the same place, with the same inode: what was learnt of it is worth nothing any more."""
    url = write_stack(tmp_path / "a.h5", FRAMES)
    with Stack(url) as stack:
        assert np.array_equal(stack[0], FRAMES[0])
        status = (tmp_path / "a.h5").stat()
        with open(tmp_path / "a.h5", "r+b") as file:
            file.write(bytes(status.st_size))
        os.utime(tmp_path / "a.h5", ns=(1, status.st_mtime_ns + 1))
        with pytest.raises(SourceError, match="has changed since it was opened"):
            stack[0]


def test_what_is_no_hdf5_file(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "empty.h5").touch()
    for name, says in {
        "text.h5": "not an HDF5",
        "empty.h5": "not an HDF5",
        "none.h5": "No such file",
        ".": "is a folder",
    }.items():
        with pytest.raises(SourceError, match=says):
            Stack(tmp_path / name, "/d")


def test_a_replaced_file(tmp_path):
    """The chunk map of another file is never used on this one, nor the other way round."""
    url = write_stack(tmp_path / "a.h5", FRAMES, "/one", chunks=(1, 40, 50))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_dataset("two", data=FRAMES, chunks=(1, 40, 50))
    context = Context()
    first, second = Stack(url, context=context), Stack(url.replace("one", "two"), context=context)
    assert np.array_equal(first[0], FRAMES[0])  # the plain file is open now, the map of the other dataset not yet read
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["before"] = np.zeros(5000, "u1")
        for name in ("one", "two"):
            file.create_dataset(name, data=FRAMES + 1, chunks=(1, 40, 50))
    os.replace(tmp_path / "new.h5", tmp_path / "a.h5")
    with pytest.raises(SourceError, match="changed"):
        second[0]
    with Stack(url, context=context) as third:
        assert np.array_equal(third[0], FRAMES[0] + 1)


def test_a_replaced_file_that_h5py_keeps_open(tmp_path):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="lzf")
    context = Context()
    old = Stack(url, context=context)
    assert np.array_equal(old[0], FRAMES[0])
    write_stack(tmp_path / "new.h5", counting_frames(3, (20, 30), "u2"), filters="lzf")
    os.replace(tmp_path / "new.h5", tmp_path / "a.h5")
    with Stack(url, context=context) as new:
        assert new.shape == (3, 20, 30)
        assert np.array_equal(new[2], counting_frames(3, (20, 30), "u2")[2])
    with pytest.raises(FastlegacyError, match="changed"):
        old[1]


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_of_the_structure(tmp_path, seed):
    """Whatever HDF5 makes of it: an error of ours, or frames."""
    url = write_stack(tmp_path / "a.h5", FRAMES[:2], filters="bslz4", libver=("earliest", "latest")[seed % 2])
    data = bytearray((tmp_path / "a.h5").read_bytes())
    rng = np.random.default_rng(seed)
    at, size = chunk_place(tmp_path / "a.h5", 0)
    for place in rng.integers(8, len(data), 12):
        if not at <= place < at + size:
            data[place] ^= 1 << rng.integers(0, 8)
    (tmp_path / "a.h5").write_bytes(data)
    with suppress(FastlegacyError), Stack(url) as stack:
        for frame in stack:
            assert frame.dtype == stack.dtype


def test_an_index_that_leads_two_frames_to_one_chunk(tmp_path):
    """The bytes are whole, but those of another frame: the B-tree of chunks has no checksum."""
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4", libver="earliest")
    (one, _), (other, _) = chunk_place(tmp_path / "a.h5", 1), chunk_place(tmp_path / "a.h5", 3)
    data = (tmp_path / "a.h5").read_bytes()
    assert data.count(one.to_bytes(8, "little")) == 1
    overwrite(tmp_path / "a.h5", data.index(one.to_bytes(8, "little")), other.to_bytes(8, "little"))
    with Stack(url) as stack, pytest.raises(SourceError, match="index is damaged: two chunks share bytes"):
        stack[1]


def test_an_index_that_puts_a_chunk_outside(tmp_path):
    """Its frame would count as never written, and its pixels be zeros."""
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4", libver="earliest")
    one, size = chunk_place(tmp_path / "a.h5", 2)
    data = (tmp_path / "a.h5").read_bytes()
    at = data.index(one.to_bytes(8, "little")) - 40  # the key before the address: size, mask, and four numbers
    assert data[at : at + 8] == size.to_bytes(8, "little")
    overwrite(tmp_path / "a.h5", at + 8, (1002).to_bytes(8, "little"))
    with Stack(url) as stack, pytest.raises(SourceError, match="index is damaged: a chunk lies outside"):
        stack[2]


# ---------------------------------------------------------------------------------------------------- filters


@pytest.fixture
def unknown_filter(tmp_path):
    """A file whose dataset has a filter that nobody knows: 305, from the range for tests."""
    with create_file(tmp_path / "a.h5") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 4, 5))
        properties.set_filter(305, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        space = h5py.h5s.create_simple((2, 4, 5))
        dataset = h5py.h5d.create(file.id, b"d", h5py.h5t.STD_U16LE, space, properties)
        dataset.write_direct_chunk((0, 0, 0), b"12345")
        dataset.write_direct_chunk((1, 0, 0), bytes(40), filter_mask=1)
    return f"{tmp_path / 'a.h5'}::/d"


def test_a_filter_that_is_not_installed(unknown_filter, tmp_path):
    with pytest.raises(FilterError, match=r"HDF5 filter 305 .*is not installed") as caught:
        Stack(unknown_filter)
    assert caught.value.file == str(tmp_path / "a.h5")
    assert caught.value.dataset == "/d"
    assert "fastlegacy doctor" in str(caught.value)
