# SPDX-License-Identifier: MIT
"""``--ignore-case``: names are found in any case, without a mount and with one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fastlegacy.faces.mount.any_case import AnyCase, RealNames
from fastlegacy.faces.mount.real import Caller, RealFolder
from fastlegacy.faces.mount.virtual import VirtualEntries

VIRTUAL = "/data0001.img"


@pytest.fixture
def union(tmp_path: Path, served: ModuleType) -> Iterator[SimpleNamespace]:
    """The union of an empty folder with the folders ``img`` and ``deep/pix`` of virtual files."""
    folder = tmp_path / "demo"
    folder.mkdir()
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    real = RealFolder(fd, give_away=False)
    virtual = VirtualEntries(served.make_folder(), label="u", uid=12, gid=34)
    yield SimpleNamespace(overlay=AnyCase(real, virtual), folder=folder, real=real)
    os.close(fd)


def written(overlay: AnyCase, path: str, data: bytes, flags: int, me: Caller) -> None:
    fd = overlay.create(path, os.O_WRONLY | os.O_CREAT | flags, 0o644, me)
    assert isinstance(fd, int)
    os.write(fd, data)
    os.close(fd)


def content_of(overlay: AnyCase, path: str, me: Caller) -> bytes:
    opened = overlay.open(path, os.O_RDONLY, me)
    if isinstance(opened, int):
        with open(opened, "rb") as file:
            return file.read()
    return opened.read()


@pytest.mark.parametrize("path", ["/img/DATA0001.IMG", "/IMG/data0001.img", "/Img/Data0001.imG"])
def test_a_virtual_file_is_found_in_any_case(union: SimpleNamespace, served: ModuleType, me: Caller, path: str) -> None:
    exact = union.overlay.attributes("/img/data0001.img")
    assert union.overlay.attributes(path) == exact
    assert union.overlay.virtual_attributes(path, exact["st_size"]) == exact
    assert union.overlay.is_virtual_name(path)
    assert content_of(union.overlay, path, me) == served.content(0)


@pytest.mark.parametrize("path", ["/img/DATA00001.IMG", "/img/DATA9999.IMG", "/DATA0001.IMG", "/img/DATA0001.IMG/x"])
def test_what_differs_in_more_than_case_is_not_there(union: SimpleNamespace, path: str) -> None:
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        union.overlay.attributes(path)


def test_a_virtual_folder_is_found_in_any_case(union: SimpleNamespace) -> None:
    assert union.overlay.attributes("/DEEP/Pix")["st_ino"] == union.overlay.attributes("/deep/pix")["st_ino"]
    names = [name for name, _, _ in union.overlay.entries(union.overlay.open_folder("/DEEP/PIX"), "/DEEP/PIX")]
    assert "data0001.pix" in names


def test_a_real_file_is_found_in_any_case(union: SimpleNamespace, me: Caller) -> None:
    (union.folder / "Sub").mkdir()
    (union.folder / "Sub" / "Notes.TXT").write_bytes(b"mine")
    assert content_of(union.overlay, "/sUB/nOTES.txt", me) == b"mine"
    (union.folder / "Sub" / "Notes.TXT").rename(union.folder / "Sub" / "Other.txt")
    with pytest.raises(FileNotFoundError):
        union.overlay.attributes("/Sub/notes.txt")
    assert union.overlay.attributes("/SUB/OTHER.TXT")["st_size"] == 4


def test_the_exact_name_counts_first_and_then_the_first_by_bytes(union: SimpleNamespace, me: Caller) -> None:
    for name in ("ab.txt", "aB.txt", "Ab.txt"):
        (union.folder / name).write_text(name)
    for name in ("ab.txt", "aB.txt", "Ab.txt"):
        assert content_of(union.overlay, f"/{name}", me).decode() == name
    assert content_of(union.overlay, "/AB.TXT", me).decode() == "Ab.txt"


def test_letters_that_are_no_pair_are_different(union: SimpleNamespace, me: Caller) -> None:
    (union.folder / "Maß Ärger").write_bytes(b"1")
    assert content_of(union.overlay, "/mAß äRGER", me) == b"1"
    with pytest.raises(FileNotFoundError):
        union.overlay.attributes("/MASS ÄRGER")


def test_a_name_that_is_no_utf8_is_found(union: SimpleNamespace, me: Caller) -> None:
    (Path(os.fsdecode(os.fsencode(union.folder) + b"/caf\xe9.txt"))).write_bytes(b"1")
    assert content_of(union.overlay, "/CAF\udce9.TXT", me) == b"1"


def test_a_new_file_in_other_case_is_the_one_that_is_there(union: SimpleNamespace, me: Caller) -> None:
    (union.folder / "Result.txt").write_bytes(b"a long text")
    written(union.overlay, "/RESULT.TXT", b"new", os.O_TRUNC, me)
    assert os.listdir(union.folder) == ["Result.txt"]
    assert (union.folder / "Result.txt").read_bytes() == b"new"
    with pytest.raises(FileExistsError):
        union.overlay.create("/result.TXT", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, me)
    for make in (
        lambda: union.overlay.make_folder("/RESULT.txt", 0o755, me),
        lambda: union.overlay.make_link("/RESULT.txt", "x", me),
        lambda: union.overlay.make_folder("/IMG", 0o755, me),
    ):
        with pytest.raises(FileExistsError):
            make()


def test_a_new_file_in_other_case_replaces_a_frame(union: SimpleNamespace, served: ModuleType, me: Caller) -> None:
    written(union.overlay, "/IMG/DATA0001.IMG", b"mine", os.O_TRUNC, me)
    assert (union.folder / "img" / "data0001.img").read_bytes() == b"mine"
    (union.folder / "tmp").write_bytes(b"again")
    union.overlay.rename("/TMP", "/Img/Data0001.Img")
    assert (union.folder / "img" / "data0001.img").read_bytes() == b"again"
    union.overlay.unlink("/IMG/DATA0001.IMG")
    assert content_of(union.overlay, "/img/data0001.img", me) == served.content(0)
    with pytest.raises(OSError, match="Read-only"):
        union.overlay.unlink("/IMG/DATA0001.IMG")


def test_what_is_new_has_the_case_it_was_given(union: SimpleNamespace, me: Caller) -> None:
    union.overlay.make_folder("/Deep/Below", 0o755, me)
    written(union.overlay, "/DEEP/BELOW/New.Txt", b"1", os.O_EXCL, me)
    assert (union.folder / "deep" / "Below" / "New.Txt").read_bytes() == b"1"


def test_only_the_case_of_a_name_can_be_changed(union: SimpleNamespace) -> None:
    (union.folder / "Sub").mkdir()
    (union.folder / "Sub" / "one.txt").write_bytes(b"1")
    union.overlay.rename("/SUB/ONE.txt", "/sub/One.TXT")
    assert os.listdir(union.folder / "Sub") == ["One.TXT"]
    union.overlay.rename("/sub", "/SUB")
    assert os.listdir(union.folder) == ["SUB"]


def test_who_opens_what_has_just_gone_makes_the_kernel_ask_again(union: SimpleNamespace, me: Caller) -> None:
    with pytest.raises(OSError, match="Stale") as caught:
        union.overlay.open("/nothing", os.O_RDONLY, me)
    assert caught.value.errno == errno.ESTALE


def test_a_listing_is_kept_until_the_folder_changes(union: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    (union.folder / "One").touch()
    listed: list[int] = []
    entries = union.real.entries
    monkeypatch.setattr(union.real, "entries", lambda fd: listed.append(fd) or entries(fd))
    now_ns = [0]
    names = RealNames(union.real, clock_ns=lambda: union.folder.stat().st_mtime_ns + now_ns[0])
    for expected in (1, 2):  # whatever is put there in the same moment has to be seen
        assert names.alike("/", "one") == ["One"]
        assert len(listed) == expected
    now_ns[0] = 10 * 10**9
    for _ in range(3):
        assert names.alike("/", "ONE") == ["One"]
    assert len(listed) == 3
    (union.folder / "oNE").touch()
    os.utime(union.folder, ns=(1, 1))
    assert sorted(names.alike("/", "ONE")) == ["One", "oNE"]


def test_in_a_folder_that_cannot_be_listed_names_are_exact(
    union: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, me: Caller
) -> None:
    (union.folder / "One").write_bytes(b"1")

    def refused(_path: str) -> int:
        raise PermissionError(errno.EACCES, "it must not be listed")

    monkeypatch.setattr(union.real, "open_folder", refused)
    assert content_of(union.overlay, "/One", me) == b"1"
    assert content_of(union.overlay, "/IMG/DATA0001.IMG", me)
    with pytest.raises(FileNotFoundError):
        union.overlay.attributes("/ONE")


def test_names_are_not_kept_without_end(union: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlegacy.faces.mount.any_case._NAMES_MAX", 5)
    names = RealNames(union.real, clock_ns=lambda: 2**62)
    for folder in "abc":
        (union.folder / folder).mkdir()
        for number in range(3):
            (union.folder / folder / f"file{number}").touch()
        assert names.alike(f"/{folder}", "FILE1") == ["file1"]
    assert names._count == 3
    assert list(names._known) == ["/c"]


# ---------------------------------------------------------------------------------------------------- mounted


@pytest.fixture
def mounted(serve: Callable[..., Any]) -> Path:
    """A mount that ignores case, of virtual files in the folder itself."""
    mount = serve(ignore_case=True)
    assert mount.first_line == "ready", mount.fails()
    return mount.folder


def test_programs_find_frames_in_any_case(mounted: Path, served: ModuleType) -> None:
    os.listdir(mounted)  # from now on C knows the names
    for name in ("data0001.img", "DATA0001.IMG", "Data0001.iMg"):
        found = (mounted / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_ino) == (0o444, (mounted / "data0001.img").stat().st_ino)
        with open(mounted / name, "rb") as file:
            assert os.fstat(file.fileno()).st_size == len(served.content(0))
            assert file.read() == served.content(0)
    assert not (mounted / "DATA0099.IMG").exists()
    assert len(os.listdir(mounted)) == served.FRAMES


def test_names_are_the_same_at_once_however_they_are_spelled(mounted: Path) -> None:
    real = mounted.with_name("demo_real")
    for _ in range(20):
        (mounted / "Result.txt").write_bytes(b"first")
        assert (mounted / "RESULT.TXT").read_bytes() == b"first"
        (mounted / "RESULT.TXT").write_bytes(b"and a second")
        assert (mounted / "Result.txt").stat().st_size == 12
        assert (mounted / "result.txt").read_bytes() == b"and a second"
        os.rename(mounted / "result.txt", mounted / "RESULT.txt")
        assert os.listdir(real) == ["RESULT.txt"]
        (mounted / "result.TXT").unlink()
        with pytest.raises(FileNotFoundError):
            (mounted / "RESULT.TXT").read_bytes()
        (mounted / "Folder").mkdir()
        (mounted / "FOLDER" / "x").touch()
        (mounted / "folder" / "X").unlink()
        (mounted / "FOLDER").rmdir()
        assert os.listdir(real) == []


def test_a_frame_is_replaced_by_any_spelling_and_comes_back(mounted: Path, served: ModuleType) -> None:
    (mounted / "new.tmp").write_bytes(b"mine")
    os.rename(mounted / "NEW.TMP", mounted / "DATA0002.IMG")
    assert os.listdir(mounted.with_name("demo_real")) == ["data0002.img"]
    assert (mounted / "data0002.img").read_bytes() == (mounted / "Data0002.img").read_bytes() == b"mine"
    (mounted / "DATA0002.img").unlink()
    for name in ("data0002.img", "Data0002.img", "DATA0002.IMG"):
        assert (mounted / name).read_bytes() == served.content(1)


def test_without_it_names_are_exact(serve: Callable[..., Any]) -> None:
    folder = serve().folder
    assert (folder / "data0001.img").exists()
    assert not (folder / "DATA0001.IMG").exists()
