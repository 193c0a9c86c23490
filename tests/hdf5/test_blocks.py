# SPDX-License-Identifier: MIT
"""Datasets that follow one another as one stack, compared with h5py's frames one after the other."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.blocks import Block
from fastlegacy.hdf5.inventory import stored_bytes, written_frames
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.virtual import virtual_series

FRAMES = counting_frames(12, (10, 14), "<u2")


def write(path: Path, lengths: list[int], **options: Any) -> tuple[Block, ...]:
    """Write blocks of some lengths into one file, each with its own chunks."""
    at = 0
    with h5py.File(path, "w") as file:
        for number, length in enumerate(lengths):
            part = FRAMES[at : at + length]
            chunks = (min(length, 1 + number % 3), 10, 14)
            file.create_dataset(f"blocks/b{number}", data=part, chunks=chunks, compression="gzip", **options)
            at += length
    return tuple(Block(f"/blocks/b{number}") for number in range(len(lengths)))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=5).filter(lambda n: sum(n) <= 12), data=st.data())
def test_frames_and_ranges_of_any_blocks(tmp_path: Path, lengths: list[int], data: st.DataObject) -> None:
    blocks = write(tmp_path / "a.h5", lengths)
    expected = FRAMES[: sum(lengths)]
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, expected.size)] * 2)))
    with Stack(f"{tmp_path / 'a.h5'}::/blocks", blocks=blocks) as stack:
        np.testing.assert_array_equal(stack.read_frames(0, len(stack)), expected)
        out = np.zeros((stop - start) * 2, np.uint8)
        stack.core.read(start, out)
        assert out.tobytes() == expected.reshape(-1)[start:stop].tobytes()
        assert written_frames(stack).all()


def test_each_block_may_be_virtual_or_behind_a_link(tmp_path: Path) -> None:
    virtual = virtual_series(tmp_path, FRAMES[:6], files=2)
    write_stack(tmp_path / "plain.h5", FRAMES[6:10], "/d", filters="bslz4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/one"] = h5py.ExternalLink("master.h5", virtual.partition("::")[2])
        file["x/two"] = h5py.ExternalLink("plain.h5", "/d")
        file["x/three"] = FRAMES[10]
    blocks = tuple(Block(f"/x/{name}") for name in ("one", "two", "three"))
    with Stack(f"{tmp_path / 'a.h5'}::/x", blocks=blocks) as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 11), FRAMES[:11])
        assert [Path(file).name for file in stack.files()] == ["a.h5", "master_0000.h5", "master_0001.h5", "plain.h5"]
        assert stored_bytes(stack) > 0
        assert stack.stored_shape == (11, 10, 14)


def test_blocks_with_channels(tmp_path: Path) -> None:
    both = np.stack([FRAMES, FRAMES + 100], axis=1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/one"], file["x/two"] = both[:5], both[5:]
    blocks = (Block("/x/one"), Block("/x/two"))
    with Stack(f"{tmp_path / 'a.h5'}?path=/x&slice=2:,1", blocks=blocks) as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 10), both[2:, 1])


def test_missing_blocks_are_errors_or_fill(tmp_path: Path) -> None:
    blocks = list(write(tmp_path / "a.h5", [3, 4], fillvalue=7))
    blocks = [Block("/blocks/lost", 2), blocks[0], Block("", 1), blocks[1], Block("/blocks/gone")]
    url = f"{tmp_path / 'a.h5'}::/blocks"
    with pytest.raises(SourceError, match="/blocks/lost, with the frames 0 to 1, is missing"):
        Stack(url, blocks=blocks)
    with pytest.raises(SourceError, match="no block has frame 3"):
        Stack(url, blocks=blocks[1:])
    with pytest.raises(SourceError, match="/blocks/gone, with the frames from 7 on"):
        Stack(url, blocks=[blocks[1], blocks[3], blocks[4]])
    with Stack(url, blocks=blocks, missing="fill") as stack, pickle.loads(pickle.dumps(stack)) as other:
        expected = np.full((10, 10, 14), 7, "u2")
        expected[2:5], expected[6:] = FRAMES[:3], FRAMES[3:7]
        for each in (stack, other):
            np.testing.assert_array_equal(each.read_frames(0, 10), expected)
            assert len(each.missing_sources) == 3
        assert written_frames(stack).tolist() == [False] * 2 + [True] * 3 + [False] + [True] * 4


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (FRAMES[:, :9], "9 x 14 <u2, and"),
        (FRAMES.astype("<u4"), "10 x 14 <u4, and"),
        (FRAMES.astype(">u2"), "10 x 14 >u2, and"),
        (FRAMES[:, None], "1 x 10 x 14 <u2, and"),
    ],
)
def test_blocks_that_are_not_one_series(tmp_path: Path, other: np.ndarray, says: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/one"], file["x/two"] = FRAMES, other
    with pytest.raises(SourceError) as caught:
        Stack(f"{tmp_path / 'a.h5'}::/x", blocks=(Block("/x/one"), Block("/x/two")))
    text = str(caught.value)
    assert says in text
    assert "/x/two" in text
    assert "a.h5::/x/one of 10 x 14 <u2" in text


def test_what_is_no_frames_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/one"], file["x/two"] = [1, 2], [3]
    with pytest.raises(NotAStackError):
        Stack(f"{tmp_path / 'a.h5'}::/x", blocks=(Block("/x/one"), Block("/x/two")))


def test_the_dataset_beside_which_a_mask_is_looked_for(tmp_path: Path) -> None:
    blocks = write(tmp_path / "a.h5", [3, 4])
    file = tmp_path / "a.h5"
    cases = {
        f"{file}::/blocks": f"{file}::/blocks/b0",
        f"{file}?path=/blocks&slice=2": f"{file}?path=/blocks/b0&slice=...,:,:",
        f"{file}?path=/blocks&slice=2:4,1:,...": f"{file}?path=/blocks/b0&slice=...,1:,:",
        f"{file}?path=/blocks&slice=:,3": f"{file}::/blocks/b0",
    }
    for url, expected in cases.items():
        with Stack(url, blocks=blocks) as stack:
            assert str(stack.frames_url) == expected
    with Stack(f"{file}::/blocks/b1") as stack:
        assert str(stack.frames_url) == stack.url
