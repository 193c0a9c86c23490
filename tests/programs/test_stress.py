# SPDX-License-Identifier: MIT
"""Programs that test file systems, on a mount: what fio writes is what it reads, and stress-ng finds nothing wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames

from .conftest import Mount, Program, Run

pytestmark = [pytest.mark.programs, pytest.mark.fuse]

JOBS = {
    "sequential": "--rw=write --ioengine=psync --bs=64k",
    "random": "--rw=randwrite --ioengine=libaio --iodepth=8 --bs=4k",
    "mixed": "--rw=randrw --ioengine=psync --bsrange=512-32k",
    "mapped": "--rw=randwrite --ioengine=mmap --bs=4k",
    "overwritten": "--rw=write --ioengine=psync --bs=16k --overwrite=1 --loops=3",
}
STRESSORS = [
    *("access", "chdir", "chmod", "chown", "copy-file", "dentry", "dir", "dirdeep", "dup", "fallocate", "fcntl"),
    *("filename", "flock", "fpunch", "fstat", "hdd", "iomix", "link", "locka", "lockf", "lockofd", "mknod", "open"),
    *("readahead", "rename", "seek", "sendfile", "splice", "symlink", "sync-file", "touch", "utime", "xattr"),
]
GROUP = 6  # stressors that run beside each other


@pytest.fixture
def url(tmp_path: Path) -> str:
    return write_stack(tmp_path / "scan.h5", detector_frames(16, (64, 72), "u4"), filters="bslz4")


def images(folder: Path) -> list[np.ndarray]:
    return [np.load(folder / f"data{number:04d}.npy") for number in range(1, 17)]


@pytest.mark.parametrize("job", JOBS)
def test_fio_reads_what_it_has_written(mount: Mount, url: str, program: Program, run: Run, job: str) -> None:
    fio = program("fio")
    with mount(url, "--format", "npy") as folder:
        words = "--size=6m --verify=crc32c --do_verify=1 --verify_fatal=1 --output-format=json"
        done = run(fio, f"--name={job}", f"--directory={folder}", *words.split(), *JOBS[job].split())
        (told,) = json.loads(done.stdout[done.stdout.index("{") :])["jobs"]
        assert told["error"] == 0
        assert told["write"]["io_bytes"] > 0
        assert told["read"]["io_bytes"] >= told["write"]["io_bytes"] // 3, "all was read and verified"
        np.testing.assert_array_equal(images(folder), detector_frames(16, (64, 72), "u4"))
    (left,) = (path for path in folder.iterdir() if path.stat().st_size)
    assert left.name.startswith(job)


@pytest.mark.parametrize("first", range(0, len(STRESSORS), GROUP))
def test_stress_ng_finds_nothing_wrong(mount: Mount, url: str, program: Program, run: Run, first: int) -> None:
    stress = program("stress-ng")
    with mount(url, "--format", "npy") as folder:
        words = [word for name in STRESSORS[first : first + GROUP] for word in (f"--{name}", "1")]
        done = run(stress, *words, "--verify", "--timeout", "2s", "--temp-path", folder, cwd=folder)
        told = done.stdout + done.stderr
        assert "successful run completed" in told
        assert "fail:" not in told
        np.testing.assert_array_equal(images(folder), detector_frames(16, (64, 72), "u4"))
        left = [name for name in os.listdir(folder) if not name.startswith("data")]
        assert left == [], "it has removed what it made, and could"
