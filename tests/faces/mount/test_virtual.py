# SPDX-License-Identifier: MIT
"""The virtual layer: attributes without making files, and inode numbers."""

from __future__ import annotations

import stat
from types import ModuleType

import pytest

from fastlegacy.faces.mount.virtual import VirtualEntries


@pytest.fixture
def entries(served: ModuleType) -> VirtualEntries:
    return VirtualEntries(served.make_tree(), label="file::/data", uid=12, gid=34)


def test_attributes(entries: VirtualEntries, served: ModuleType) -> None:
    found = entries.attributes("/data0003.img")
    size = len(served.content(2))
    assert found is not None
    assert stat.S_ISREG(found["st_mode"])
    assert stat.S_IMODE(found["st_mode"]) == 0o444
    assert (found["st_uid"], found["st_gid"], found["st_nlink"], found["st_size"]) == (12, 34, 1, size)
    assert found["st_mtime"] == found["st_ctime"] == served.MTIME_NS
    assert (found["st_blocks"] - 1) * 512 < size <= found["st_blocks"] * 512


@pytest.mark.parametrize("path", ["/", "/data0000.img", "/data0013.img", "/sub/data0001.img", "/data0001.img/x"])
def test_what_is_not_there(entries: VirtualEntries, path: str) -> None:
    assert path not in entries
    assert entries.attributes(path) is None
    with pytest.raises(KeyError):
        entries.file(path)


def test_names_are_in_the_root_only(entries: VirtualEntries, served: ModuleType) -> None:
    assert len(list(entries.files("/"))) == served.FRAMES
    assert not [*entries.files("/sub"), *entries.folders("/sub")]


def test_a_file_is_made_only_to_be_opened(
    entries: VirtualEntries, served: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a virtual file was made")

    monkeypatch.setattr("fastlegacy.index.tree.Tree.__getitem__", fail)
    assert entries.attributes("/data0001.img")
    with pytest.raises(AssertionError):
        entries.file("/data0001.img")


def test_inode_numbers(served: ModuleType) -> None:
    tree = served.make_tree(20_000)
    one, same, other = (VirtualEntries(tree, label=url, uid=0, gid=0) for url in ("a", "a", "b"))
    numbers = [one.inode(f"/{name}") for name in tree]
    assert numbers == [same.inode(f"/{name}") for name in tree]
    assert numbers != [other.inode(f"/{name}") for name in tree]
    assert min(numbers) > 0
    assert max(numbers) < 2**32, "stat() of a 32-bit program would fail"
    four_digits = numbers[:9999]
    assert len(set(four_digits)) == len(four_digits)


def test_inode_numbers_of_folders(served: ModuleType) -> None:
    entries = VirtualEntries(served.make_folder(), label="a", uid=0, gid=0)
    flat = VirtualEntries(served.make_tree(), label="a", uid=0, gid=0)
    assert flat.inode("/data0001.img") == entries.inode("/data0001.img"), "what is shown beside it does not matter"
    paths = ["/img", "/deep", "/deep/pix"]
    for folder in paths:
        found = {name: inode for name, _, inode in (*entries.folders(folder), *entries.files(folder))}
        assert found == {name: entries.inode(f"{folder}/{name}") for name in found}
        assert found
    numbers = [entries.inode(path) for path in [*paths, *(f"/img/{name}" for name in served.make_tree())]]
    assert len(set(numbers)) == len(numbers)


def test_folders_have_no_file_attributes_and_files_no_folder_attributes(served: ModuleType) -> None:
    entries = VirtualEntries(served.make_folder(), label="a", uid=0, gid=0)
    for path in ("/", "/img", "/deep", "/deep/pix"):
        assert entries.is_folder(path)
        assert entries.folder_attributes(path)
        assert entries.attributes(path) is None
        assert path not in entries
    for path in ("/img/data0001.img", "/nothing", "/img/nothing", "/img/"):
        assert not entries.is_folder(path)
        assert entries.folder_attributes(path) is None
        assert not [*entries.files(path), *entries.folders(path)]
        assert entries.folders_in(path) == 0
    assert [entries.folders_in(path) for path in ("/", "/img", "/deep")] == [2, 0, 1]
