# SPDX-License-Identifier: MIT
"""Parts of an export: every file is in exactly one of them, and all together are the export."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.main import main
from fastlegacy.faces.shard import Shard
from fastlegacy.testing.bliss import bliss_dataset

FRAMES = np.random.default_rng(5).poisson(2, (7, 16, 20)).astype("u2")


@given(st.integers(0, 200), st.integers(1, 12), st.integers(0, 30))
def test_every_file_is_in_one_shard(count: int, of: int, turn: int) -> None:
    parts = [Shard(number, of).files(count, turn) for number in range(1, of + 1)]
    assert sorted(index for part in parts for index in part) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(0, 100), st.integers(1, 12))
def test_every_stack_is_somewhere_and_with_all_of_its_files_only_once(count: int, of: int) -> None:
    found = [Shard(number, of).stacks(range(count)) for number in range(1, of + 1)]
    (whole,) = {has_all for _, has_all in found}
    if whole:
        assert sorted(stack for stacks, _ in found for stack in stacks) == list(range(count))
    else:
        assert all(stacks == list(range(count)) for stacks, _ in found)


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "a/b", "1/0", "1/4/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UrlError, match="3/8"):
        Shard.parse(text)


def test_it_is_written_as_it_is_read() -> None:
    assert str(Shard.parse(" 3 / 8 ")) == "3/8"


def files(folder: Path) -> set[str]:
    return {os.path.relpath(Path(path, name), folder) for path, _, names in os.walk(folder) for name in names}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with a file of three scans."""
    bliss_dataset(tmp_path / "raw", {f"{i}.1": FRAMES for i in (1, 2, 3)})
    return tmp_path / "raw"


def assert_equal(one: Path, other: Path) -> None:
    names = files(one)
    assert names
    assert files(other) == names
    assert filecmp.cmpfiles(one, other, names, shallow=False) == (sorted(names), [], []) or all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )


@pytest.mark.parametrize("of", [2, 5])
def test_all_shards_together_are_the_export(data: Path, tmp_path: Path, of: int) -> None:
    options = ["--format", "cbf,npy-stack", "-q"]
    assert main(["export", str(data), str(tmp_path / "whole"), *options]) == 0
    for number in range(1, of + 1):
        before = files(tmp_path / "parts") if number > 1 else set()
        assert main(["export", str(data), str(tmp_path / "parts"), "--shard", f"{number}/{of}", *options]) == 0
        assert files(tmp_path / "parts") > before
    assert_equal(tmp_path / "whole", tmp_path / "parts")


def test_a_shard_does_not_mind_what_another_has_written(data: Path, tmp_path: Path) -> None:
    command = ["export", str(data), str(tmp_path / "out"), "-q", "--shard"]
    assert main([*command, "1/2"]) == 0
    first = files(tmp_path / "out")
    for name in first:
        (tmp_path / "out" / name).write_bytes(b"something else")
    assert main([*command, "2/2"]) == 0
    assert main([*command, "1/2"]) == 1  # its own are in the way


def test_dry_run_of_a_shard(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(data), str(tmp_path / "out"), "--dry-run", "--shard", "2/3"]) == 0
    assert "7 files to write" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
