# SPDX-License-Identifier: MIT
"""Files as facilities write them: what a reader of the format's documentation would look for, read by h5py."""

from __future__ import annotations

from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest

from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.lambda_ import lambda_scan
from fastlegacy.testing.nxmx import CHANNELS, filewriter2_series, nxmx_scan

FRAMES = counting_frames(7, (20, 30), "u4")


def test_a_dectris_master_links_to_its_blocks(tmp_path: Path) -> None:
    file, _, group = dectris_series(tmp_path, FRAMES, blocks=(3, 4, 0), missing=[1], first=0).partition("::")
    with h5py.File(file) as h5:
        links = {name: h5[group].get(name, getlink=True).filename for name in h5[group]}
        block = h5[f"{group}/data_000000"]
        np.testing.assert_array_equal(block[()], FRAMES[:3])
        assert (block.attrs["image_nr_low"], block.attrs["image_nr_high"]) == (1, 3)
        assert h5["entry/instrument/detector/detectorSpecific/nimages"][()] == 7
    assert links == {f"data_{i:06d}": f"series_data_{i:06d}.h5" for i in range(3)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series_data_000000.h5", "series_master.h5"]


def test_fabio_takes_a_dectris_master_for_one(tmp_path: Path) -> None:
    file = dectris_series(tmp_path, FRAMES, blocks=(3, 4)).partition("::")[0]
    with fabio.open(file) as image:
        assert type(image).__name__ == "EigerImage"
        found = [image.getframe(i).data for i in range(image.nframes)]
    np.testing.assert_array_equal(found, FRAMES[: len(found)])


def test_values_of_a_master_can_be_left_out(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, detector={"count_time": None}, others={"sample": None, "title": "x"})
    with h5py.File(url.partition("::")[0]) as h5:
        assert "count_time" not in h5["entry/instrument/detector"]
        assert set(h5["entry"]) == {"data", "instrument", "title"}


def test_scans_of_bliss(tmp_path: Path) -> None:
    both = np.stack([FRAMES, FRAMES], axis=1)
    file = bliss_dataset(tmp_path, {"1.1": FRAMES, "2.1": both}, moved={"rot": range(7)}, positions={"dty": 2.0})
    with h5py.File(file) as h5:
        np.testing.assert_array_equal(h5["1.1/measurement/eiger"][()], FRAMES)
        np.testing.assert_array_equal(h5["2.1/measurement/eiger"][()], both)
        names = [source.file_name for source in h5["2.1/instrument/eiger/data"].virtual_sources()]
        assert list(h5["1.1/measurement/rot"]) == list(range(7))
        assert h5["2.1/instrument/positioners/dty"][()] == 2.0
    assert names == [f"scan0002/eiger_{i:04d}.h5" for i in range(4)]


def test_nxmx_and_filewriter2(tmp_path: Path) -> None:
    file, _, path = nxmx_scan(tmp_path / "a", FRAMES).partition("::")
    with h5py.File(file) as h5:
        np.testing.assert_array_equal(h5[path][()], FRAMES)
        assert h5["entry/instrument/detector/module/module_offset"].attrs["depends_on"].endswith("/det_z")
    both = np.stack([FRAMES, FRAMES + 1, FRAMES + 2], axis=1)
    file, _, path = filewriter2_series(tmp_path / "b", both).partition("::")
    with h5py.File(file) as h5:
        np.testing.assert_array_equal(h5[path][()], both)
        assert tuple(name.decode() for name in h5["entry/data/channel"]) == CHANNELS


@pytest.mark.parametrize("modules", [1, 2, 3])
def test_a_lambda_has_gaps_between_its_modules(tmp_path: Path, modules: int) -> None:
    file, _, path = lambda_scan(tmp_path, FRAMES, modules=modules, gap=4).partition("::")
    rows = (20 - 4 * (modules - 1)) // modules
    with h5py.File(file) as h5:
        found = h5[path][()]
    for module in range(modules):
        start = module * (rows + 4)
        np.testing.assert_array_equal(found[:, start : start + rows], FRAMES[:, start : start + rows])
        assert not found[:, start + rows : start + rows + 4].any()
