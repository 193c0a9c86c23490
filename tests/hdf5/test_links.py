# SPDX-License-Identifier: MIT
"""Soft and external links, followed by HDF5's rules."""

import os

import h5py
import pytest

from fastlegacy.errors import FastlegacyError, NotAStackError, SourceError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import locate
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.virtual import external_chain, soft_links

FRAMES = counting_frames(4, (20, 24), "u2")


@pytest.mark.parametrize("links", [1, 2, 5])
def test_soft(tmp_path, same_as_h5py, links):
    same_as_h5py(soft_links(tmp_path / "a.h5", FRAMES, links=links))


@pytest.mark.parametrize("links", [1, 3])
def test_chain_of_external_links(tmp_path, same_as_h5py, links, monkeypatch):
    url = external_chain(tmp_path, FRAMES, links=links)
    same_as_h5py(url)
    monkeypatch.chdir(tmp_path)
    same_as_h5py(os.path.relpath(url))
    with Stack(url) as stack:
        assert stack.files()[-1] == str(tmp_path / f"level_{links}" / "file.h5")
        assert stack.url == url


def test_links_in_the_middle_of_a_path(tmp_path, same_as_h5py):
    write_stack(tmp_path / "data.h5", FRAMES, "/a/b/data")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["x/far"] = h5py.ExternalLink("data.h5", "/a")
        file["x/near"] = h5py.SoftLink("far/b")  # relative to the group that it is in
        file["again"] = h5py.SoftLink("/x/near")
        file["x/dot"] = h5py.SoftLink("./near")
        file["hard"] = file["x"]
    for path in ("/x/far/b/data", "/x/near/data", "/again/data", "/x/dot/data", "/hard/near/data", "//x//far/./b/data"):
        same_as_h5py(f"{tmp_path / 'm.h5'}::{path}")


def test_the_target_is_a_link_in_the_other_file(tmp_path, same_as_h5py):
    write_stack(tmp_path / "data.h5", FRAMES, "/a/data")
    with h5py.File(tmp_path / "data.h5", "r+") as file:
        file["soft"] = h5py.SoftLink("/a/data")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["d"] = h5py.ExternalLink("data.h5", "/soft")
    same_as_h5py(f"{tmp_path / 'm.h5'}::/d")
    assert locate(Context(), str(tmp_path / "m.h5"), "/d") == (str(tmp_path / "data.h5"), "/a/data")


def test_file_beside_a_link_to_the_master(tmp_path, same_as_h5py):
    """The master is opened by a symbolic link from elsewhere: its neighbours are found beside itself."""
    external_chain(tmp_path, FRAMES, links=1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "m.h5").symlink_to(tmp_path / "level_0" / "file.h5")
    same_as_h5py(f"{tmp_path / 'elsewhere' / 'm.h5'}::/group/data")


def test_absolute_name_of_a_file_that_was_moved_along(tmp_path, same_as_h5py):
    """HDF5 looks for the last part of an absolute name beside the file with the link, too."""
    write_stack(tmp_path / "data.h5", FRAMES, "/d")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["d"] = h5py.ExternalLink("/no/longer/there/data.h5", "/d")
    same_as_h5py(f"{tmp_path / 'm.h5'}::/d")


def test_prefix_of_the_environment(tmp_path, monkeypatch):
    (tmp_path / "far").mkdir()
    write_stack(tmp_path / "far" / "data.h5", FRAMES, "/d")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["d"] = h5py.ExternalLink("data.h5", "/d")
    monkeypatch.setenv("HDF5_EXT_PREFIX", f"/nowhere:{tmp_path / 'far'}")
    with Stack(tmp_path / "m.h5", "/d") as stack:
        assert stack[1].tobytes() == FRAMES[1].tobytes()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"names the file '\.\./level_3/file\.h5'.*missing") as caught:
        Stack(external_chain(tmp_path, FRAMES, missing=True))
    assert caught.value.file == str(tmp_path / "level_2" / "file.h5")


def test_circles(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"] = h5py.SoftLink("/two")
        file["two"] = h5py.SoftLink("/one")
        file["far"] = h5py.ExternalLink("b.h5", "/back")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["back"] = h5py.ExternalLink("a.h5", "/far")
    for path in ("/one", "/far"):
        with pytest.raises(SourceError, match="links one after the other"):
            Stack(tmp_path / "a.h5", path)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nothing", r"no 'nothing' in /.*holds: data, entry, lost, out"),
        ("/entry/nothing", r"no 'nothing' in /entry.*holds: data"),
        ("/entry/data/deeper", "is a dataset, not a group"),
        ("/lost", "no 'gone' in /"),
        ("/out", "no 'gone' in /"),
        ("/entry", "is a group"),
        ("/entry/data/data/..", "no"),
    ],
)
def test_nothing_of_that_name(tmp_path, path, says):
    write_stack(tmp_path / "a.h5", FRAMES, "/entry/data")
    write_stack(tmp_path / "b.h5", FRAMES, "/d")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["data"] = file["entry/data"]
        file["lost"] = h5py.SoftLink("/gone")
        file["out"] = h5py.ExternalLink("b.h5", "/gone")
    with pytest.raises(NotAStackError, match=says):
        Stack(tmp_path / "a.h5", path)


def test_external_link_to_what_is_no_hdf5(tmp_path):
    (tmp_path / "b.h5").write_text("hello")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = h5py.ExternalLink("b.h5", "/d")
    with pytest.raises(FastlegacyError, match=r"b\.h5: is not an HDF5 file"):
        Stack(tmp_path / "a.h5", "/d")
