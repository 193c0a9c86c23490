# SPDX-License-Identifier: MIT
"""A scan of bliss and LImA."""

import h5py
import numpy as np

from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import counting_frames


def test_frames_repeat_and_the_rest_is_not_written(tmp_path):
    frames = counting_frames(3, (20, 24), "u4")
    url = bliss_scan(tmp_path / "scan", frames, files=3, frames_per_file=4, written=10)
    path, _, dataset = url.partition("::")
    with h5py.File(path) as file:
        shown = file[dataset][()]
        sources = {source.file_name for source in file[dataset].virtual_sources()}
        assert file["/1.1/measurement/rot"].shape == (12,)
    for i in range(10):
        np.testing.assert_array_equal(shown[i], frames[i % 3])
    np.testing.assert_array_equal(shown[10:], 0)
    assert sources == {f"scan0001/eiger_{i:04d}.h5" for i in range(3)}
    with h5py.File(tmp_path / "scan/scan0001/eiger_0002.h5") as file:
        assert file["/entry_0000/measurement/data"].id.get_num_chunks() == 2


def test_default_holds_each_frame_once(tmp_path):
    frames = counting_frames(5, (20, 24), "u2")
    path, _, dataset = bliss_scan(tmp_path, frames, detector="frelon").partition("::")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file[dataset][()], frames)
