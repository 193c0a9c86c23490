# SPDX-License-Identifier: MIT
"""The twins themselves, against files that HDF5 and hdf5plugin write: who checks the kernels has to be right."""

import h5py
import numpy as np
import pytest

from fastlegacy.testing.filters import filter_arguments
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.storage import stored_chunk


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f8"])
@pytest.mark.parametrize(("name", "block"), [("bslz4", 0), ("bslz4-block64", 64), ("bitshuffle", 0)])
@pytest.mark.parametrize("shape", [(1, 40, 50), (1, 37, 53), (1, 1, 7)])
def test_block_stream(reference, dtype, name, block, shape):
    frames = detector_frames(1, shape[1:], dtype)
    compression = reference.PLAIN if name == "bitshuffle" else reference.LZ4
    raw = stored_chunk(frames, name)
    decoded = reference.bitshuffle_decode(raw, frames.itemsize, frames.nbytes, block, compression)
    assert decoded == frames.tobytes()


def test_elements_of_three_bytes(reference):
    data = np.frombuffer(np.random.default_rng(2).bytes(3 * 1003), "V3")
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        stored = file.create_dataset("d", data=data, chunks=data.shape, **filter_arguments("bitshuffle"))
        raw = stored.id.read_direct_chunk((0,))[1]
    assert reference.bitshuffle_decode(raw, 3, data.nbytes, 0, reference.PLAIN) == data.tobytes()


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8"])
def test_shuffle(reference, dtype):
    frames = detector_frames(1, (11, 13), dtype)
    raw = stored_chunk(frames, "shuffle")
    assert reference.unshuffle(raw, frames.itemsize) == frames.tobytes()
    assert reference.shuffle(frames.tobytes(), frames.itemsize) == raw


@pytest.mark.parametrize("shape", [(1, 3, 5), (1, 37, 53), (1, 100, 301)])
@pytest.mark.parametrize("fill", [None, 0, 255])
def test_fletcher32(reference, shape, fill):
    frames = detector_frames(1, shape[1:], "u1") if fill is None else np.full(shape, fill, "u1")
    assert stored_chunk(frames, "fletcher32") == reference.with_fletcher32(frames.tobytes())


def test_there_and_back(reference):
    data = np.random.default_rng(1).bytes(16 * 203)
    for itemsize in (1, 2, 3, 4, 8, 16):
        cut = data[: len(data) // (8 * itemsize) * 8 * itemsize]
        assert reference.bit_unshuffle(reference.bit_shuffle(cut, itemsize), itemsize) == cut
        assert reference.unshuffle(reference.shuffle(data, itemsize), itemsize) == data
        stream = reference.bitshuffle_stream(cut, itemsize, 64)
        assert reference.bitshuffle_decode(stream, itemsize, len(cut)) == cut
