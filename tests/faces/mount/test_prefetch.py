# SPDX-License-Identifier: MIT
"""Decoding ahead in a mount: it happens, it is told, and it can be left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.mounts import mount_command, mounted

SHAPE = (300, 260)
FRAME_BYTES = 300 * 260 * 4


def metrics(folder: Path) -> dict[str, float]:
    lines = (folder / ".fastlegacy" / "metrics").read_text().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize(("options", "least"), [([], 1), (["--prefetch", "0"], 0)])
def test_in_a_mount(tmp_path: Path, fuse: None, options: list[str], least: int, wait: Callable[..., bool]) -> None:
    frames = detector_frames(12, SHAPE, "u4")
    url = write_stack(tmp_path / "scan.h5", frames, filters="gzip", chunks=(1, *SHAPE))
    work = tmp_path / "work"
    work.mkdir()
    with mounted(mount_command(url, work, *options), work):
        for number, frame in enumerate(frames):
            data = (work / f"data{number + 1:04d}.edf").read_bytes()
            np.testing.assert_array_equal(np.frombuffer(data, "<u4", offset=len(data) - FRAME_BYTES), frame.ravel())
            if number == 4 and least:  # on a busy machine the reader may be quicker than who is ahead of it
                assert wait(lambda: metrics(work)["fastlegacy_prefetched_frames_total"] >= 1)
        found = metrics(work)["fastlegacy_prefetched_frames_total"]
    assert found >= 1 if least else found == 0
