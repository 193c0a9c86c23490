# SPDX-License-Identifier: MIT
"""Which files a virtual dataset names."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import pytest

from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.virtual import source_files


def written(path: Path, *sources: str, frames: int = 1) -> str:
    """Write a virtual dataset ``/d`` with a frame from each file."""
    layout = h5py.VirtualLayout((len(sources), 2, 3), "u2")
    for i, name in enumerate(sources):
        layout[i : i + 1] = h5py.VirtualSource(name, "x", (frames, 2, 3), "u2")[:1]
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("d", layout)
    return str(path)


def touch(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_each_file_once_in_the_order_of_the_frames_there_or_not(tmp_path: Path) -> None:
    there = [touch(tmp_path / "scan" / f"{i}.h5") for i in (1, 0)]
    file = written(tmp_path / "m.h5", "scan/1.h5", "scan/0.h5", "scan/1.h5", "scan/9.h5")
    assert source_files(Context(), file, "/d") == (*there, str(tmp_path / "scan" / "9.h5"))


def test_files_are_found_by_the_rules_of_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = written(tmp_path / "real" / "m.h5", "near.h5", "beside_the_link.h5", "far.h5", "/gone/moved.h5", "here.h5")
    touch(tmp_path / "real" / "near.h5")
    touch(tmp_path / "link" / "beside_the_link.h5")
    touch(tmp_path / "prefix" / "far.h5")
    touch(tmp_path / "real" / "moved.h5")
    touch(tmp_path / "work" / "here.h5")
    os.symlink(real, tmp_path / "link" / "m.h5")
    monkeypatch.setenv("HDF5_VDS_PREFIX", str(tmp_path / "prefix"))
    monkeypatch.chdir(tmp_path / "work")
    found = source_files(Context(), str(tmp_path / "link" / "m.h5"), "/d")
    names = ("real/near.h5", "link/beside_the_link.h5", "prefix/far.h5", "real/moved.h5", "work/here.h5")
    assert found == tuple(str(tmp_path / name) for name in names)


def test_a_missing_file_has_the_place_where_it_would_be_looked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "m.h5", "a.h5", "/gone/b.h5")
    assert source_files(Context(), file, "/d") == (str(tmp_path / "a.h5"), "/gone/b.h5")
    monkeypatch.setenv("HDF5_VDS_PREFIX", "/far")
    assert source_files(Context(), file, "/d") == ("/far/a.h5", "/gone/b.h5")


def test_numbered_files_are_those_that_are_there(tmp_path: Path) -> None:
    names = [touch(tmp_path / f"f{i}%.h5") for i in (0, 1, 2, 4)]
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        space, source = h5py.h5s.create_simple((4, 2, 3), (h5py.h5s.UNLIMITED, 2, 3)), h5py.h5s.create_simple((1, 2, 3))
        space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 1, 1), (1, 2, 3))
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_virtual(space, b"f%b%%.h5", b"x", source)
        h5py.h5d.create(file.id, b"d", h5py.h5t.STD_U16LE, space, dcpl=properties)
        properties.set_virtual(space, b"no%b.h5", b"x", source)
        h5py.h5d.create(file.id, b"none", h5py.h5t.STD_U16LE, space, dcpl=properties)
    assert source_files(Context(), str(tmp_path / "m.h5"), "/d") == tuple(names[:3])
    assert source_files(Context(), str(tmp_path / "m.h5"), "/none") == tuple(names[:3])


def test_links_are_followed_first(tmp_path: Path) -> None:
    written(tmp_path / "data" / "m.h5", "a.h5")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["scan"] = h5py.ExternalLink("data/m.h5", "/")
        file["soft"] = h5py.SoftLink("/scan/d")
    assert source_files(Context(), str(tmp_path / "all.h5"), "/soft") == (str(tmp_path / "data" / "a.h5"),)


def test_other_things_name_no_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["g/d"] = [[1, 2], [3, 4]]
        layout = h5py.VirtualLayout((1, 2, 2), "i8")
        layout[0] = h5py.VirtualSource(file["g/d"])
        file.create_virtual_dataset("v", layout)
    for path in ("/g", "/g/d", "/v"):
        assert source_files(Context(), str(tmp_path / "a.h5"), path) == ()
    with pytest.raises(NotAStackError):
        source_files(Context(), str(tmp_path / "a.h5"), "/nothing")
    with pytest.raises(SourceError):
        source_files(Context(), str(tmp_path / "nothing.h5"), "/d")


def test_a_thousand_files_are_named_and_none_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"scan/{i:04d}.h5" for i in range(1000)]
    for name in names[::2]:
        touch(tmp_path / name)  # empty: HDF5 could not open one
    file = written(tmp_path / "m.h5", *names)
    opened: list[str] = []
    context = Context()
    monkeypatch.setattr(context, "open_h5", lambda path, real=context.open_h5: opened.append(path) or real(path))
    assert source_files(context, file, "/d") == tuple(str(tmp_path / name) for name in names)
    assert set(opened) == {file}
