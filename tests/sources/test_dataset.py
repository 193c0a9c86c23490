# SPDX-License-Identifier: MIT
"""The plainest convention: which datasets of a file are taken for stacks."""

import h5py
import numpy as np
import pytest

from fastlegacy.hdf5.files import Context
from fastlegacy.sources.dataset import SOURCE, reason
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.virtual import external_chain, virtual_series

FRAMES = counting_frames(4, (20, 30), "u2")


def found(path):
    return [found.path for found in SOURCE.find(Context(), str(path))]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (np.zeros((3, 4, 5), "u2"), "3 axes"),
        (np.zeros((2, 3, 4, 5), "f4"), "4 axes"),
        (np.zeros((1, 2, 2), ">i8"), "3 axes"),
        (np.zeros((32, 32), "u1"), "2D"),
        (np.zeros((32, 31), "u1"), None),
        (np.zeros((1000, 3)), None),
        (np.zeros((10, 4, 1)), None),
        (np.zeros((10, 0, 4)), None),
        (np.zeros(10), None),
        (np.uint8(1), None),
        (np.zeros((3, 4, 5), "f2"), None),
        (np.zeros((3, 4, 5), bool), None),
        (np.zeros((3, 4, 5), "c8"), None),
        (np.zeros((3, 4, 5), "S4"), None),
        (h5py.Empty("u2"), None),
        ("text", None),
    ],
)
def test_what_is_taken_for_a_stack(tmp_path, data, says):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = data
        why = reason(file["d"].id)
        assert reason(file.id) is None
    assert (why is None) if says is None else why.startswith(says)
    assert found(tmp_path / "a.h5") == ([] if says is None else ["/d"])


def test_each_once_and_soft_links_not(tmp_path):
    write_stack(tmp_path / "a.h5", FRAMES, "/entry/deep/er/data")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["entry/again"] = file["entry/deep/er/data"]
        file["soft"] = h5py.SoftLink("/entry/deep/er/data")
        file["lost"] = h5py.SoftLink("/nothing")
        file["entry/circle"] = file["entry"]
        file["kind"] = np.dtype("u2")
    assert found(tmp_path / "a.h5") == ["/entry/again"]


def test_behind_external_links(tmp_path):
    url = external_chain(tmp_path, FRAMES, links=2)
    file = url.partition("::")[0]
    with h5py.File(file, "r+") as master:
        master["again"] = h5py.ExternalLink("../level_2/file.h5", "/group/data")
        master["gone"] = h5py.ExternalLink("nothing.h5", "/group")
        master["nowhere"] = h5py.ExternalLink("../level_2/file.h5", "/nothing")
        (tmp_path / "level_0" / "text.h5").write_text("hello")
        master["text"] = h5py.ExternalLink("text.h5", "/x")
    assert found(file) == ["/again"]


def test_files_that_lead_to_each_other(tmp_path):
    """Many links between few files: each group is walked once, or this would take for ever."""
    for i in range(4):
        write_stack(tmp_path / f"{i}.h5", FRAMES, "/d")
        with h5py.File(tmp_path / f"{i}.h5", "r+") as file:
            for j in range(4):
                file[f"to{j}"] = h5py.ExternalLink(f"{j}.h5", "/")
    paths = found(tmp_path / "0.h5")
    assert len(paths) == 4
    assert all(path.endswith("/d") for path in paths)


def test_virtual(tmp_path):
    url = virtual_series(tmp_path, FRAMES, files=2, missing=[1])
    assert found(url.partition("::")[0]) == ["/1.1/measurement/detector"]


def test_very_deep(tmp_path):
    write_stack(tmp_path / "a.h5", FRAMES, "/x" * 20 + "/d")
    assert found(tmp_path / "a.h5") == ["/x" * 20 + "/d"]
