# SPDX-License-Identifier: MIT
"""Filter functions of hdf5plugin's libraries, called without HDF5: right for good chunks, safe for damaged ones.

Left out of the damage are zfp, which takes any bits for numbers, and sz, sz3 and sperr, whose own code ends the process
on some damaged chunks, in HDF5 as here.
"""

import os
import subprocess
import sys
import threading
from contextlib import suppress

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy.errors import DecodeError
from fastlegacy.hdf5.filters import make_plan, read_filters
from fastlegacy.testing.filters import filter_arguments, filter_names
from fastlegacy.testing.frames import plain_frames
from fastlegacy.testing.storage import stored_chunk

PLUGINS = {
    "zstd": "u4",
    "blosc-lz4": "u4",
    "blosc-zstd-bitshuffle": "u2",
    "blosc-zlib": "f4",
    "blosc2-zstd": "u4",
    "bzip2": "u4",
    "zfp-reversible": "f4",
    "sz": "f4",
    "sz3": "f4",
    "sperr": "f4",
    "fcidecomp": "u2",
}
BY_PLUGIN = ("blosc2-zstd", "zfp-reversible", "sz", "sz3", "sperr", "fcidecomp")
SAFE = [name for name in PLUGINS if name not in ("zfp-reversible", "sz", "sz3", "sperr")]

not_under_sanitizers = pytest.mark.skipif(
    "FASTLEGACY_SANITIZED" in os.environ,
    reason="the libraries have faults of their own: c-blosc2 reads beyond damaged input",
)


def written(name, dtype):
    """The filters of one chunk, its stored bytes, and what HDF5 makes of them."""
    frames = plain_frames(1, (32, 40), dtype)
    raw = stored_chunk(frames, name)
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("d", frames.shape, dtype, chunks=frames.shape, **filter_arguments(name))
        data.id.write_direct_chunk((0, 0, 0), raw)
        return read_filters(data.id.get_create_plist()), raw, data[()]


@pytest.mark.parametrize("name", PLUGINS)
def test_no_gil_and_no_hdf5_is_needed(name):
    if name not in filter_names(PLUGINS[name]):
        pytest.fail(f"{name} cannot be written here")
    filters, raw, expected = written(name, PLUGINS[name])
    plan = make_plan(filters, expected.itemsize)
    assert plan.by == ("plugin" if name in BY_PLUGIN else "kernel",)
    out = np.empty_like(expected)
    plan.pipeline.decode(raw, out.reshape(-1).view(np.uint8))
    assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["zstd", "bzip2", "blosc-lz4", "sz", "zfp-reversible"])
def test_from_several_threads(name):
    filters, raw, expected = written(name, PLUGINS[name])
    plan = make_plan(filters, expected.itemsize)
    wrong = []

    def work():
        out = np.empty(expected.nbytes, np.uint8)
        for _ in range(30):
            plan.pipeline.decode(raw, out)
            if out.tobytes() != expected.tobytes():
                wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@not_under_sanitizers
@pytest.mark.parametrize("name", [name for name in SAFE if name != "bzip2"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_gives_pixels(name, data):
    filters, raw, expected = written(name, PLUGINS[name])
    plan = make_plan(filters, expected.itemsize)
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, min(24, len(raw) - 1)) | st.integers(0, len(raw) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.none() | st.integers(0, len(raw)))])
    room = np.full(expected.nbytes + 64, 0xA5, np.uint8)
    with suppress(DecodeError):
        plan.pipeline.decode(damaged, room[: expected.nbytes])
    assert (room[expected.nbytes :] == 0xA5).all()


@not_under_sanitizers
@pytest.mark.parametrize("name", ["zstd", "bzip2", "blosc2-zstd"])
def test_a_chunk_that_is_cut_short_is_refused(name):
    """In a process of its own: a decoder that waits for more bytes that never come would stop the tests."""
    filters, raw, expected = written(name, PLUGINS[name])
    program = f"""
import numpy as np
from fastlegacy.errors import DecodeError
from fastlegacy.hdf5.filters import Filter, make_plan
plan = make_plan({filters!r}, {expected.itemsize})
raw, out = {raw!r}, np.zeros({expected.nbytes}, np.uint8)
for left in (0.0, 0.1, 0.5, 0.9):
    try:
        plan.pipeline.decode(raw[: int(len(raw) * left)], out)
    except DecodeError:
        continue
    raise SystemExit(f"{{left}} of the chunk was decoded")
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
