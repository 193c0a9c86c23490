# SPDX-License-Identifier: MIT
"""Virtual folders in the union, without a mount."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.real import Caller, RealFolder

IMG, DEEP, PIX = "/img", "/deep", "/deep/pix"
FILE, DEEP_FILE = "/img/data0001.img", "/deep/pix/data0002.pix"


def listed(union: SimpleNamespace, path: str) -> dict[str, tuple[int, int]]:
    """Name -> (type, inode number)."""
    fd = union.overlay.open_folder(path)
    try:
        entries = list(union.overlay.entries(fd, path))
    finally:
        if fd is not None:
            os.close(fd)
    assert len({name for name, _, _ in entries}) == len(entries)
    return {name: (kind, inode) for name, kind, inode in entries}


def names(union: SimpleNamespace, path: str) -> list[str]:
    return sorted(listed(union, path))


def tree_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def put(overlay: Overlay, path: str, me: Caller) -> None:
    made = overlay.create(path, os.O_WRONLY, 0o600, me)
    assert isinstance(made, int)
    os.close(made)


# ---- looking


def test_folders_are_listed_with_what_is_in_them(nested: SimpleNamespace, served: ModuleType) -> None:
    files = [f"data{i + 1:04d}" for i in range(served.FRAMES)]
    assert names(nested, "/") == [".", "deep", "img"]
    assert names(nested, IMG) == [".", *(f"{file}.img" for file in files)]
    assert names(nested, DEEP) == [".", "pix"]
    assert names(nested, PIX) == [".", *(f"{file}.pix" for file in files)]
    for path in ("/img/deep", "/pix", FILE):
        with pytest.raises(OSError, match=r"No such file"):
            nested.overlay.open_folder(path)


def test_types_and_inodes_in_listings_are_those_of_the_entries(nested: SimpleNamespace) -> None:
    (nested.folder / "img").mkdir()
    (nested.folder / "img" / "real").mkdir()
    for path in ("/", IMG, DEEP, PIX):
        found = listed(nested, path)
        for name, (kind, inode) in found.items():
            attributes = nested.overlay.attributes(path if name == "." else f"{path.rstrip('/')}/{name}")
            assert (kind, inode) == (stat.S_IFMT(attributes["st_mode"]), attributes["st_ino"])


def test_files_are_found_in_their_folders_only(nested: SimpleNamespace, served: ModuleType, me: Caller) -> None:
    assert nested.overlay.attributes(FILE)["st_size"] == len(served.content(0))
    assert nested.overlay.attributes(DEEP_FILE)["st_size"] == served.pixels(1).nbytes
    opened = nested.overlay.open(DEEP_FILE, os.O_RDONLY, me)
    assert opened.read() == served.pixels(1).tobytes()
    for path in ("/data0001.img", "/deep/data0002.pix", "/deep/pix/data0001.img"):
        with pytest.raises(FileNotFoundError):
            nested.overlay.attributes(path)


def test_attributes_of_a_folder(nested: SimpleNamespace, served: ModuleType) -> None:
    (nested.folder / "deep").mkdir()
    os.chmod(nested.folder, 0o2751)
    img = nested.overlay.attributes(IMG)
    assert img["st_mode"] == stat.S_IFDIR | 0o2751, "it is as open to others as the folder that it is in"
    assert (img["st_uid"], img["st_gid"]) == (os.geteuid(), nested.folder.stat().st_gid)
    assert img["st_mtime"] == img["st_atime"] == img["st_ctime"] == served.MTIME_NS
    assert img["st_nlink"] == 2
    os.rmdir(nested.folder / "deep")
    assert nested.overlay.attributes(DEEP)["st_nlink"] == 3


def test_inode_numbers_do_not_change_when_a_folder_becomes_real(nested: SimpleNamespace, me: Caller) -> None:
    before = {path: nested.overlay.attributes(path)["st_ino"] for path in (IMG, DEEP, PIX, FILE)}
    assert len(set(before.values())) == len(before)
    put(nested.overlay, "/img/a", me)
    put(nested.overlay, "/deep/pix/a", me)
    assert {path: nested.overlay.attributes(path)["st_ino"] for path in before} == before


def test_links_of_a_merged_folder_are_not_counted(nested: SimpleNamespace) -> None:
    (nested.folder / "deep").mkdir()
    (nested.folder / "img").mkdir()
    assert nested.overlay.attributes(DEEP)["st_nlink"] == nested.overlay.attributes("/")["st_nlink"] == 1
    assert nested.overlay.attributes(IMG)["st_nlink"] == (nested.folder / "img").stat().st_nlink


def test_a_real_folder_of_the_same_name_is_merged(nested: SimpleNamespace, served: ModuleType, me: Caller) -> None:
    (nested.folder / "img").mkdir(0o700)
    (nested.folder / "img" / "notes").touch()
    (nested.folder / "img" / "data0001.img").write_bytes(b"mine")
    assert names(nested, IMG) == sorted([".", "notes", *served.make_tree()])
    assert nested.overlay.attributes(FILE)["st_size"] == 4
    assert nested.overlay.attributes("/img/data0002.img")["st_size"] == len(served.content(1))
    assert stat.S_IMODE(nested.overlay.attributes(IMG)["st_mode"]) == 0o700
    nested.overlay.unlink(FILE)
    assert nested.overlay.attributes(FILE)["st_size"] == len(served.content(0))


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_hides_a_virtual_folder_and_all_below_it(
    nested: SimpleNamespace, me: Caller, kind: str
) -> None:
    for name in ("img", "deep"):
        if kind == "file":
            (nested.folder / name).write_text("mine")
        else:
            (nested.folder / name).symlink_to("..")
    expected = stat.S_IFREG if kind == "file" else stat.S_IFLNK
    assert listed(nested, "/")["img"][0] == stat.S_IFMT(nested.overlay.attributes(IMG)["st_mode"]) == expected
    looks: list[Callable[[], object]] = [
        lambda: nested.overlay.attributes(FILE),
        lambda: nested.overlay.attributes(PIX),
        lambda: nested.overlay.attributes(DEEP_FILE),
        lambda: nested.overlay.open(FILE, os.O_RDONLY, me),
        lambda: nested.overlay.open_folder(IMG),
        lambda: nested.overlay.create("/img/new", os.O_WRONLY, 0o600, me),
        lambda: nested.overlay.make_folder("/deep/new", 0o755, me),
    ]
    for look in looks:
        with pytest.raises(NotADirectoryError):
            look()
    nested.overlay.rename(IMG, "/away")
    nested.overlay.unlink(DEEP)
    assert stat.S_ISDIR(nested.overlay.attributes(IMG)["st_mode"])
    assert stat.S_ISDIR(nested.overlay.attributes(PIX)["st_mode"])
    assert tree_of(nested.folder) == ["away"]


def test_access_to_a_folder_is_that_to_the_real_one_above(
    nested: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested.overlay.check_access(PIX, os.R_OK | os.W_OK | os.X_OK)
    monkeypatch.setattr("fastlegacy.faces.mount.real.os.access", lambda *_, **__: False)
    with pytest.raises(PermissionError):
        nested.overlay.check_access(PIX, os.W_OK)


def test_the_newest_time_of_what_is_in_it_is_that_of_a_folder(served: ModuleType, tmp_path: Path) -> None:
    from fastlegacy.faces.mount.virtual import VirtualEntries
    from fastlegacy.index.folder import Folder

    older, newer = served.make_tree(), served.make_tree()
    newer = served.Tree(served.MemoryStack(mtime_ns=served.MTIME_NS + 5), served.PixelsOnly())
    virtual = VirtualEntries(Folder({"a": older, "b": Folder({"c": newer})}), label="u", uid=0, gid=0)
    times = {path: virtual.folder_attributes(path) for path in ("/", "/a", "/b", "/b/c")}
    assert {path: found and found["st_mtime"] - served.MTIME_NS for path, found in times.items()} == {
        "/": 5,
        "/a": 0,
        "/b": 5,
        "/b/c": 5,
    }
    assert virtual.attributes("/b/c/data0001.pix") is not None


# ---- writing into them

MAKERS: dict[str, Callable[[Overlay, Caller, str], object]] = {
    "create": lambda o, me, path: put(o, path, me),
    "mknod": lambda o, me, path: o.make_node(path, stat.S_IFIFO | 0o600, 0, me),
    "mkdir": lambda o, me, path: o.make_folder(path, 0o755, me),
    "symlink": lambda o, me, path: o.make_link(path, "text", me),
    "link": lambda o, me, path: o.link(path, "/existing"),
    "rename": lambda o, me, path: o.rename("/existing", path),
    "rename a folder": lambda o, me, path: o.rename("/folder", path),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_put_into_a_folder_makes_the_real_one(nested: SimpleNamespace, me: Caller, name: str) -> None:
    (nested.folder / "existing").touch()
    (nested.folder / "folder").mkdir()
    MAKERS[name](nested.overlay, me, "/deep/pix/new")
    assert set(tree_of(nested.folder)) - {"existing", "folder"} == {"deep", "deep/pix", "deep/pix/new"}
    assert "new" in names(nested, PIX)
    assert "data0001.pix" in names(nested, PIX)
    MAKERS["create"](nested.overlay, me, "/deep/pix/second")
    assert {"new", "second"} < set(names(nested, PIX))


@pytest.mark.parametrize("name", ["link", "rename", "rename a folder"])
def test_a_failure_leaves_no_real_folder_behind(nested: SimpleNamespace, me: Caller, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        MAKERS[name](nested.overlay, me, "/deep/pix/new")
    assert tree_of(nested.folder) == []


@pytest.mark.parametrize("name", MAKERS)
def test_a_name_that_is_too_long_leaves_no_real_folder_behind(nested: SimpleNamespace, me: Caller, name: str) -> None:
    (nested.folder / "existing").touch()
    (nested.folder / "folder").mkdir()
    with pytest.raises(OSError, match="too long"):
        MAKERS[name](nested.overlay, me, f"{PIX}/{'x' * 300}")
    assert tree_of(nested.folder) == ["existing", "folder"]


def test_a_failure_leaves_what_others_have_put_there(
    nested: SimpleNamespace, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        (nested.folder / "deep" / "theirs").touch()
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(RealFolder, "make_node", fail)
    with pytest.raises(OSError, match="full"):
        nested.overlay.make_node("/deep/pix/new", stat.S_IFIFO, 0, me)
    assert tree_of(nested.folder) == ["deep", "deep/theirs"]


def test_replacing_a_file_makes_the_real_folder(nested: SimpleNamespace, me: Caller) -> None:
    fd = nested.overlay.open(DEEP_FILE, os.O_WRONLY | os.O_TRUNC, me)
    os.write(fd, b"new")
    os.close(fd)
    assert (nested.folder / "deep/pix/data0002.pix").read_bytes() == b"new"
    nested.overlay.unlink(DEEP_FILE)
    assert nested.overlay.attributes(DEEP_FILE)["st_size"] > 3
    assert tree_of(nested.folder) == ["deep", "deep/pix"]


def test_a_new_real_folder_looks_as_the_virtual_one_did(nested: SimpleNamespace, me: Caller) -> None:
    os.chmod(nested.folder, 0o2770)
    kept = ("st_mode", "st_uid", "st_gid")
    before = {path: nested.overlay.attributes(path) for path in (DEEP, PIX)}
    put(nested.overlay, "/deep/pix/new", me)
    for path, attributes in before.items():
        assert {name: nested.overlay.attributes(path)[name] for name in kept} == {n: attributes[n] for n in kept}
        assert stat.S_IMODE((nested.folder / path[1:]).stat().st_mode) == 0o2770


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_where_root_mounts_a_new_real_folder_belongs_to_whom_the_one_above_does(nested: SimpleNamespace) -> None:
    os.chown(nested.folder, 4321, 8765)
    overlay = Overlay(RealFolder(nested.fd, give_away=True), nested.virtual)
    assert (overlay.attributes(PIX)["st_uid"], overlay.attributes(PIX)["st_gid"]) == (4321, 8765)
    put(overlay, "/deep/pix/new", Caller(1111, 2222))
    found = [(nested.folder / name).stat() for name in ("deep", "deep/pix", "deep/pix/new")]
    assert [(entry.st_uid, entry.st_gid) for entry in found] == [(4321, 8765), (4321, 8765), (1111, 2222)]


def test_many_write_into_one_new_folder_at_once(nested: SimpleNamespace, me: Caller) -> None:
    together = threading.Barrier(8)
    failures: list[OSError] = []

    def work(number: int) -> None:
        together.wait()
        try:
            put(nested.overlay, f"/deep/pix/{number}", me)
            with pytest.raises(FileNotFoundError):
                nested.overlay.rename("/nothing", f"/img/{number}")
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert tree_of(nested.folder) == ["deep", "deep/pix", *(f"deep/pix/{number}" for number in range(8))]


# ---- changing them

FAILURES: dict[str, tuple[int, int, Callable[[Overlay, Caller], object]]] = {
    # errno without a real folder behind it, errno with one
    "rmdir": (errno.EROFS, errno.ENOTEMPTY, lambda o, me: o.remove_folder(IMG)),
    "rename": (errno.EROFS, errno.EROFS, lambda o, me: o.rename(IMG, "/x")),
    "rename to a virtual folder": (errno.EROFS, errno.EROFS, lambda o, me: o.rename(IMG, PIX)),
    "rename a file over it": (errno.EISDIR, errno.EISDIR, lambda o, me: o.rename("/existing", IMG)),
    "rename a folder over it": (errno.ENOTEMPTY, errno.ENOTEMPTY, lambda o, me: o.rename("/folder", IMG)),
    "unlink": (errno.EISDIR, errno.EISDIR, lambda o, me: o.unlink(IMG)),
    "mkdir": (errno.EEXIST, errno.EEXIST, lambda o, me: o.make_folder(IMG, 0o755, me)),
    "mknod": (errno.EEXIST, errno.EEXIST, lambda o, me: o.make_node(IMG, stat.S_IFIFO, 0, me)),
    "symlink": (errno.EEXIST, errno.EEXIST, lambda o, me: o.make_link(IMG, "x", me)),
    "link": (errno.EEXIST, errno.EEXIST, lambda o, me: o.link(IMG, "/existing")),
    "open to write": (errno.EISDIR, errno.EISDIR, lambda o, me: o.open(IMG, os.O_WRONLY, me)),
    "create": (errno.EISDIR, errno.EISDIR, lambda o, me: o.create(IMG, os.O_WRONLY, 0o600, me)),
    "create a new one": (errno.EEXIST, errno.EEXIST, lambda o, me: o.create(IMG, os.O_WRONLY | os.O_EXCL, 0o600, me)),
    "readlink": (errno.EINVAL, errno.EINVAL, lambda o, me: o.read_link(IMG)),
    "rename a file below it": (errno.EROFS, errno.EROFS, lambda o, me: o.rename(FILE, "/x")),
    "unlink a file below it": (errno.EROFS, errno.EROFS, lambda o, me: o.unlink(FILE)),
}


@pytest.mark.parametrize("with_real", [False, True])
@pytest.mark.parametrize("name", FAILURES)
def test_a_virtual_folder_cannot_be_changed(nested: SimpleNamespace, me: Caller, name: str, with_real: bool) -> None:
    (nested.folder / "existing").touch()
    (nested.folder / "folder").mkdir()
    if with_real:
        (nested.folder / "img").mkdir()
    before = tree_of(nested.folder)
    *codes, call = FAILURES[name]
    with pytest.raises(OSError, match=r".") as caught:
        call(nested.overlay, me)
    assert caught.value.errno == codes[with_real]
    assert tree_of(nested.folder) == before


ATTRIBUTES: dict[str, Callable[[Overlay], object]] = {
    "chmod": lambda o: o.chmod(IMG, 0o711),
    "chown": lambda o: o.chown(IMG, os.geteuid(), -1),
    "utimens": lambda o: o.set_times(IMG, 5, 6),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_those_of_the_real_folder_if_there_is_one(nested: SimpleNamespace, name: str) -> None:
    with pytest.raises(OSError, match="Read-only"):
        ATTRIBUTES[name](nested.overlay)
    (nested.folder / "img").mkdir(0o755)
    ATTRIBUTES[name](nested.overlay)
    found = nested.overlay.attributes(IMG)
    assert name != "chmod" or stat.S_IMODE(found["st_mode"]) == 0o711
    assert name != "utimens" or found["st_mtime"] == 6


def test_real_folders_below_a_virtual_one_are_like_all_others(nested: SimpleNamespace, me: Caller) -> None:
    nested.overlay.make_folder("/img/sub", 0o755, me)
    put(nested.overlay, "/img/sub/x", me)
    assert names(nested, "/img/sub") == [".", "x"]
    nested.overlay.rename("/img/sub", "/img/other")
    nested.overlay.unlink("/img/other/x")
    nested.overlay.remove_folder("/img/other")
    assert tree_of(nested.folder) == ["img"]
