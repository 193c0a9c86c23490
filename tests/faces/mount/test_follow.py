# SPDX-License-Identifier: MIT
"""``fastlegacy mount --follow``: files of frames appear as a detector at work writes them, and stay as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.testing.live import LiveScan
from fastlegacy.testing.mounts import mount_command, mounted
from tests.faces.mount.conftest import wait_for

FRAMES = np.random.default_rng(8).poisson(2, (12, 30, 40)).astype("u2")
PATIENCE_S = 100


@contextmanager
def following(source: Path, folder: Path, *options: str) -> Iterator[Path]:
    """Mount everything below a folder, and look for more."""
    command = mount_command(str(source), folder, "--follow", "--format", "npy", "--companions", "none", *options)
    with mounted(command, folder):
        yield folder


def names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".npy"))


def shown(folder: Path) -> Path | None:
    """The only folder with files of frames."""
    found = [Path(path) for path, _, files in os.walk(folder) if any(name.endswith(".npy") for name in files)]
    assert len(found) <= 1
    return found[0] if found else None


def has(folder: Path, count: int) -> bool:
    place = shown(folder)
    return (0 if place is None else len(names(place))) == count


@pytest.mark.parametrize("convention", ["bliss", "dectris", "swmr", "plain"])
def test_frames_appear_when_they_are_written(fuse: None, tmp_path: Path, convention: str) -> None:
    with LiveScan(tmp_path / "raw", FRAMES, convention) as scan:
        with following(tmp_path / "raw", tmp_path / "work") as work:
            seen: dict[str, tuple[int, int, bytes]] = {}
            for step in (1, 4, 3, 4):
                scan.write(step)
                there = int(np.count_nonzero(scan.written))
                assert wait_for(lambda there=there: has(work, there), PATIENCE_S), (there, list(os.walk(work)))
                place = shown(work)
                for number, name in enumerate(names(place) if place else []):
                    status = (place / name).stat()
                    data = (place / name).read_bytes()
                    assert np.array_equal(np.load(place / name), FRAMES[number])
                    # size, time and bytes stay what they were
                    assert seen.setdefault(name, (status.st_size, status.st_mtime_ns, data)) == (
                        status.st_size,
                        status.st_mtime_ns,
                        data,
                    )
            scan.finish()
        assert len(seen) == len(FRAMES)


def test_a_file_with_the_whole_scan_comes_when_it_is_finished(fuse: None, tmp_path: Path) -> None:
    with LiveScan(tmp_path / "raw", FRAMES, "bliss") as scan:
        scan.write(5)
        command = mount_command(str(tmp_path / "raw"), tmp_path / "work", "--follow", "--format", "npy,npy-stack")
        with mounted(command, tmp_path / "work"):
            frames, whole = (
                tmp_path / "work" / "sample_0001" / "1.1" / "eiger" / format for format in ("npy", "npy-stack")
            )
            assert wait_for(lambda: len(names(frames)) == 5, PATIENCE_S)
            assert names(whole) == []
            scan.write(7)
            scan.finish()
            assert wait_for(lambda: len(names(whole)) == 1, PATIENCE_S)
            assert np.array_equal(np.load(whole / names(whole)[0]), FRAMES)


def test_scans_appear_as_well(fuse: None, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with following(tmp_path / "raw", tmp_path / "work") as work:
        assert shown(work) is None
        for number in (1, 2):
            with LiveScan(tmp_path / "raw" / f"s{number}", FRAMES, "bliss") as scan:
                scan.write(12)
                scan.finish()
            place = work / f"s{number}" / "sample_0001" / "1.1" / "eiger" / "npy"
            assert wait_for(lambda place=place: place.is_dir() and len(names(place)) == 12, PATIENCE_S)
            assert np.array_equal(np.load(place / names(place)[7]), FRAMES[7])


def test_without_follow_nothing_appears_and_nothing_is_mixed_up(fuse: None, tmp_path: Path) -> None:
    with LiveScan(tmp_path / "raw", FRAMES, "plain") as scan:
        scan.write(3)
        command = mount_command(str(tmp_path / "raw"), tmp_path / "work", "--format", "npy", "--companions", "none")
        with mounted(command, tmp_path / "work"):
            place = shown(tmp_path / "work")
            assert place is not None
            assert len(names(place)) == 3
            scan.write(3)
            assert len(names(place)) == 3
            with pytest.raises(OSError, match="Input/output error"):
                (place / names(place)[2]).read_bytes()
        scan.finish()


def test_the_folder_that_is_written_to_may_be_the_mounted_one(fuse: None, tmp_path: Path) -> None:
    with LiveScan(tmp_path / "raw", FRAMES, "bliss") as scan:
        scan.write(2)
        with following(tmp_path / "raw", tmp_path / "raw") as work:
            place = work / "sample_0001" / "1.1" / "eiger" / "npy"
            assert wait_for(lambda: len(names(place)) == 2, PATIENCE_S)
            scan.write(4)
            assert wait_for(lambda: len(names(place)) == 6, PATIENCE_S)
            assert np.array_equal(np.load(place / names(place)[5]), FRAMES[5])
            scan.write(6)
            scan.finish()
