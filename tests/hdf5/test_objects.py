# SPDX-License-Identifier: MIT
"""Looks at objects by low-level calls: the same as h5py itself sees."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.errors import NotAStackError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import locate, place_of
from fastlegacy.hdf5.objects import (
    EXTERNAL,
    HARD,
    SOFT,
    is_written,
    link_kind,
    link_target,
    members,
    numbers,
    open_object,
    series_shape,
    shape_of,
    short_list,
)


@pytest.mark.parametrize("track_order", [True, False])
def test_members_are_listed_as_h5py_lists_them(tmp_path: Path, track_order: bool) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("g", track_order=track_order)
        for name in ("z", "a", "µ m", "k"):
            group[name] = 1
        group["soft"] = h5py.SoftLink("/nowhere")
        group["far"] = h5py.ExternalLink("other.h5", "/x/y")
        kinds = dict(members(group.id))
        assert list(kinds) == list(group)
        assert [name for name, kind in kinds.items() if kind != HARD] == (
            ["soft", "far"] if track_order else ["far", "soft"]
        )
        assert (kinds["soft"], kinds["far"]) == (SOFT, EXTERNAL)
        assert link_target(group.id, "soft") == ("", "/nowhere")
        assert link_target(file.id, "g/far") == ("other.h5", "/x/y")
        assert members(file["g/z"].id) == []


def test_kinds_of_links_along_a_path(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/d"] = 1
        file["g/s"] = h5py.SoftLink("/nowhere")
        found = {path: link_kind(file.id, path) for path in ("g", "g/d", "g/s", "g/x", "x/y", "g/d/x", "g/s/x")}
    assert found == {"g": HARD, "g/d": HARD, "g/s": SOFT, "g/x": None, "x/y": None, "g/d/x": None, "g/s/x": None}


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (np.zeros((2, 3, 4), "u1"), (2, 3, 4)),
        (np.zeros((1, 2, 3, 4), ">f8"), (1, 2, 3, 4)),
        (np.zeros((3, 4)), None),
        (np.zeros((2, 3, 1)), None),
        (np.zeros((0, 3, 4)), None),
        (np.zeros((2, 3, 4), bool), None),
        (np.zeros((2, 3, 4), "c8"), None),
        (np.zeros((2, 3, 4), "f2"), None),
        (np.zeros((2, 3, 4), "S3"), None),
        (h5py.Empty("f4"), None),
        ("text", None),
        (3, None),
    ],
    ids=repr,
)
def test_series_are_numbers_with_three_axes(tmp_path: Path, data: object, shape: tuple[int, ...] | None) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = data
        assert shape_of(file["d"].id) == file["d"].shape
        assert series_shape(file["d"].id) == shape
        assert series_shape(file.id) is None


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "u8", "f2", "<f4", ">f4", ">f8", "<f8"])
def test_numbers_of_every_type(tmp_path: Path, dtype: str) -> None:
    values = np.array([0, 1, 75, 100], dtype) / np.array(1 if dtype[-2] in "ui" else 1e3, dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = values.astype(dtype)
        found = numbers(open_object(file.id, "d"), (4,))
    assert found is not None
    assert found.dtype == np.float64
    if dtype[-2:] == "f4":
        assert found.tolist() == [0.0, 0.001, 0.075, 0.1]  # the shortest decimals
    else:
        assert found.tolist() == values.astype(dtype).astype(float).tolist()


def test_what_is_no_number(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, data in {"text": "7", "truth": np.array([True]), "pair": np.array([1j])}.items():
            file[name] = data
            assert numbers(file[name].id, file[name].shape) is None


def test_short_lists(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        contents = {"alone": 3.5, "one": [3.5], "five": range(5), "two": [1, 2], "flat": np.ones((1, 5)), "text": "x"}
        for name, data in contents.items():
            file[name] = data
        file.create_group("group")
        file["empty"] = h5py.Empty("f8")
        found = {name: short_list(file.id, name, {1, 5}) for name in file}
    lists = {name: values.tolist() for name, values in found.items() if values is not None}
    assert lists == {"alone": 3.5, "one": [3.5], "five": [0, 1, 2, 3, 4]}


def test_what_is_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunked = file.create_dataset("c", (5, 4, 6), "u2", chunks=(2, 4, 4))
        plain = file.create_dataset("p", (5, 4, 6), "u2")
        assert (is_written(chunked.id), is_written(plain.id)) == (False, False)
        chunked[:4] = plain[:1] = 1
        assert (is_written(chunked.id), is_written(plain.id)) == (False, True)
        chunked[4:, :, 3:] = 1
        file.flush()
        assert is_written(chunked.id)


def test_where_a_path_leads_or_nowhere(tmp_path: Path) -> None:
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        file["g/d"] = 1
        file["s"] = h5py.SoftLink("g")
        file["lost"] = h5py.SoftLink("/g/x")
    assert place_of(Context(), path, "/s/d") == locate(Context(), path, "/s/d") == (path, "/g/d")
    for nothing in ("/g/x", "/lost", "/x/y", "/g/d/x"):
        assert place_of(Context(), path, nothing) is None
        with pytest.raises(NotAStackError):
            locate(Context(), path, nothing)
