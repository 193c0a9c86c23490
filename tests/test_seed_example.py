# SPDX-License-Identifier: MIT
"""The example of the README, step by step, with the options written as there."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.mounts import is_mount_point, reason_for_no_mount

REASON = reason_for_no_mount()
README = Path(__file__).parents[1] / "README.md"


@pytest.mark.fuse
@pytest.mark.skipif(bool(REASON) and os.environ.get("FASTLEGACY_REQUIRE_FUSE") != "1", reason=str(REASON))
def test_the_steps(tmp_path):
    frames = detector_frames(5, (120, 110), "u4")
    written = bliss_scan(tmp_path, frames, name="sucrose_sx_1.h5")  # 1: find an HDF5 file
    file = written.partition("::")[0]
    with h5py.File(file, "r+") as master:  # 2: the third scan of it
        master["3.1"] = master["1.1"]
    folder = tmp_path / "demo"  # 3
    folder.mkdir()
    words = re.search(r"fastlegacy (mount /data/sucrose.*?)`", README.read_text(encoding="utf-8"))[1].split()
    command = [word.replace("/data/", f"{tmp_path}/") for word in words]
    assert command == ["mount", file, "3.1/measurement/eiger", str(folder), "--format=flat"]
    process = subprocess.Popen([sys.executable, "-m", "fastlegacy", *command], stdout=subprocess.DEVNULL)  # 4
    deadline = time.monotonic() + 100
    while not is_mount_point(folder):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for i, frame in enumerate(frames):  # 5 to 7: what a program does that imports flat binary files
        path = folder / f"data{i + 1:04d}.raw"
        slow, fast, header, dtype = re.fullmatch(
            rb"BINARY slow +(\d+) x fast +(\d+) header (\d+) bytes type (\w+) *\r\n\x1a", path.read_bytes()[:256]
        ).groups()
        pixels = np.fromfile(path, dtype.decode(), offset=int(header)).reshape(int(slow), int(fast))
        np.testing.assert_array_equal(pixels, frame)
    (folder / "peaks.txt").write_text("many")
    assert os.listdir(f"{folder}_real") == ["peaks.txt"]  # 9
    process.send_signal(signal.SIGINT)  # 10
    assert process.wait(100) == 0
    assert os.listdir(folder) == ["peaks.txt"]
