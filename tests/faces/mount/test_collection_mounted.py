# SPDX-License-Identifier: MIT
"""Folders with many HDF5 files in real mounts: what programs see, with the data elsewhere, and over the data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fabio
import h5py
import hdf5plugin  # noqa: F401 - registers the filters that h5py needs
import numpy as np
import pytest

from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.mounts import mounted

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("fuse")]

FRAMES = np.random.default_rng(5).poisson(3, (5, 12, 16)).astype("<u2")
LONG_S = 200
UNMOUNT = ["umount", "-f"] if os.geteuid() == 0 else ["fusermount", "-uz"]
FILES = ("a_0001", "b_0001", "c_0001")
SCANS = ("1.1", "2.1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three datasets of bliss, each in a folder of its own, and a damaged file."""
    folder = tmp_path / "RAW_DATA"
    for number, name in enumerate(FILES, 1):
        scans = {scan: FRAMES * number + i for i, scan in enumerate(SCANS)}
        bliss_dataset(folder / name, scans, moved={"rot": [0.0, 0.1, 0.2, 0.3, 0.4]}, name=f"{name}.h5")
    (folder / "broken.h5").write_bytes((folder / "a_0001" / "a_0001.h5").read_bytes()[:3000])
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, ns=(10**18, 10**18))
    return folder


def expected(data: Path) -> dict[str, np.ndarray]:
    """Path of each virtual file -> its frame, as h5py reads it."""
    found = {}
    for name in FILES:
        with h5py.File(data / name / f"{name}.h5") as file:
            for scan in SCANS:
                for i, frame in enumerate(file[f"{scan}/measurement/eiger"][:], 1):
                    found[f"{name}/{name}/{scan}/eiger/edf/{name}_{i:04d}.edf"] = frame
    return found


@contextmanager
def serving(*words: object) -> Iterator[Path]:
    folder = Path(str(words[-1]))
    # who waits for a mount that waits for itself cannot be killed, only freed
    free = threading.Timer(LONG_S, subprocess.run, ([*UNMOUNT, folder],), {"check": False})
    with mounted([sys.executable, "-m", "fastlegacy", "mount", *map(str, words)], folder) as where:
        free.start()
        try:
            yield where
        finally:
            free.cancel()
            free.join()


def run(*words: object) -> list[str]:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=LONG_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def assert_frames(folder: Path, frames: dict[str, np.ndarray]) -> None:
    for path, frame in frames.items():
        with fabio.open(str(folder / path)) as image:
            np.testing.assert_array_equal(image.data, frame, err_msg=path)


def test_a_folder_of_files_elsewhere(data: Path, tmp_path: Path) -> None:
    frames = expected(data)
    with serving(data, tmp_path / "legacy") as folder:
        assert sorted(os.listdir(folder)) == ["a_0001", "b_0001", "c_0001"]
        assert sorted(run("find", folder, "-type", "f", "-printf", "%P\n")) == sorted(frames)
        assert_frames(folder, frames)
        sizes = dict(line.split(" ") for line in run("find", folder, "-type", "f", "-printf", "%P %s\n"))
        assert {path: len((folder / path).read_bytes()) for path in frames} == {p: int(s) for p, s in sizes.items()}
    assert os.listdir(tmp_path / "legacy") == []


def test_formats_and_names_as_asked_for(data: Path, tmp_path: Path) -> None:
    options = ["--format", "edf,cbf", "--companions", "none", "--name", "{scan}/{format}/{stem}-###", "--scan", "2.1"]
    with serving(*options, data, tmp_path / "legacy") as folder:
        found = sorted(run("find", folder, "-type", "f", "-printf", "%P\n"))
        assert found == sorted(
            f"2.1/{format}/{name}-{i:03d}.{format}" for format in ("edf", "cbf") for name in FILES for i in range(1, 6)
        )
        with fabio.open(str(folder / "2.1/cbf/b_0001-004.cbf")) as image:
            np.testing.assert_array_equal(image.data, FRAMES[3] * 2 + 1)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--format", "cbf", "--companions", "none"],
        ["--remember", "data"],
        ["--remember", "data", "--format", "cbf", "--companions", "none"],
        ["--follow"],
    ],
    ids=" ".join,
)
def test_over_the_data_themselves(data: Path, tmp_path: Path, options: list[str]) -> None:
    frames = expected(data)
    real = sorted(str(path.relative_to(data)) for path in data.rglob("*"))
    suffix = "cbf" if "cbf" in options else "edf"
    frames = {path.replace("edf", suffix): frame for path, frame in frames.items()}
    with serving(*options, data, data) as folder:
        found = run("find", folder, "-name", ".fastlegacy-cache", "-prune", "-o", "-printf", "%P\n")
        virtual = set(frames) | {str(above) for path in frames for above in Path(path).parents}
        assert sorted(found) == sorted(({*real, ""} | virtual) - {"."})
        assert_frames(folder, frames)
        with h5py.File(folder / "a_0001" / "a_0001.h5") as file:
            np.testing.assert_array_equal(file["1.1/measurement/eiger"][:], FRAMES)
        (folder / "a_0001" / "notes.txt").write_text("saved while mounted")
    assert (data / "a_0001" / "notes.txt").read_text() == "saved while mounted"
    shutil.rmtree(data / ".fastlegacy-cache", ignore_errors=True)
    assert sorted(str(path.relative_to(data)) for path in data.rglob("*")) == sorted([*real, "a_0001/notes.txt"])


def test_masks_and_side_files_below_the_mount(data: Path) -> None:
    mask = np.zeros(FRAMES.shape[1:], "u1")
    mask[3, 4] = 1
    np.save(data / "mask.npy", mask)
    (data / "a_0001" / "fastlegacy.toml").write_text('[geometry]\ndistance = "150 mm"\n')
    (data / "all.toml").write_text('[geometry]\ndistance = "160 mm"\n')
    options = ["--mask", data / "mask.npy", "--mask-value", "7"]
    for more, distance in (([], "0.15"), (["--geometry", data / "all.toml"], "0.16")):
        path = data / "a_0001/a_0001/1.1/eiger/edf/a_0001_0002.edf"
        with serving(*options, *more, data, data), fabio.open(str(path)) as image:
            assert image.header["SampleDistance"] == distance
            assert image.data[3, 4] == 7


def test_a_scan_that_comes_is_shown_over_the_data(data: Path, wait: Callable[..., bool]) -> None:
    bliss_dataset(data.parent / "new", {"1.1": FRAMES * 9}, name="d_0001.h5")
    with serving("--follow", data, data) as folder:
        assert not (folder / "new").exists()
        shutil.copytree(data.parent / "new", folder / "new")
        path = folder / "new/d_0001/1.1/eiger/edf/d_0001_0003.edf"
        assert wait(path.exists, 100)
        with fabio.open(str(path)) as image:
            np.testing.assert_array_equal(image.data, FRAMES[2] * 9)
        assert sorted(os.listdir(folder / "new")) == ["d_0001", "d_0001.h5", "scan0001"]


def test_many_programs_at_once_over_the_data(data: Path) -> None:
    frames = expected(data)
    with serving(data, data) as folder:
        commands = [["md5sum", *(str(folder / path) for path in sorted(frames))] for _ in range(4)]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        outputs = {process.communicate(timeout=LONG_S)[0] for process in both}
        assert len(outputs) == 1
        assert outputs.pop().count("\n") == len(frames)


def test_what_cannot_be_opened_is_an_error_of_its_folder_only(data: Path, tmp_path: Path) -> None:
    frames = expected(data)
    shutil.rmtree(data / "b_0001" / "scan0001")
    with serving(data, tmp_path / "legacy") as folder:
        found = subprocess.run(
            ["find", folder, "-type", "f", "-printf", "%P\n"],
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
        )
        lost = "b_0001/b_0001/1.1/"
        assert sorted(found.stdout.splitlines()) == sorted(path for path in frames if not path.startswith(lost))
        assert found.stderr.count("\n") == 1
        assert "b_0001/b_0001/1.1/eiger/edf" in found.stderr
        assert_frames(folder, {path: frame for path, frame in frames.items() if not path.startswith(lost)})
