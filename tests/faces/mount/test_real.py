# SPDX-License-Identifier: MIT
"""The real folder behind a descriptor: no way out of it, links never followed, what is written is there."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlegacy.faces.mount import real as module
from fastlegacy.faces.mount.real import Caller, RealFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    (inside / "sub" / "deep").mkdir(parents=True)
    (inside / "sub" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (inside / "out").symlink_to(tmp_path)
    (inside / "link").symlink_to("sub/file")
    return inside


@pytest.fixture
def real(folder: Path) -> Iterator[RealFolder]:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    yield RealFolder(fd, give_away=False)
    os.close(fd)


@pytest.fixture(params=[True, False], ids=["at once", "in steps"])
def walks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways down to a folder: the second one is that of kernels that do not know openat2."""
    if not request.param:
        monkeypatch.setattr(module, "_OPENAT2", 99_999)


@pytest.mark.usefixtures("walks")
@pytest.mark.parametrize("path", ["/../secret", "/sub/../../secret", "/..", "/sub/..", "/./sub", "/sub//file"])
def test_no_way_out_by_dots(real: RealFolder, path: str) -> None:
    if path == "/./sub":
        with pytest.raises(FileNotFoundError):
            real.attributes("/./sub/file")
        return
    with pytest.raises(FileNotFoundError):
        real.attributes(path)


@pytest.mark.usefixtures("walks")
@pytest.mark.parametrize("path", ["/out/secret", "/link/x", "/out/deeper/secret"])
def test_no_way_through_a_link(real: RealFolder, path: str) -> None:
    with pytest.raises(NotADirectoryError):
        real.attributes(path)
    with pytest.raises(NotADirectoryError):
        real.open(path, os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        real.open_folder("/out")


@pytest.mark.usefixtures("walks")
def test_deep_folders_and_what_is_not_there(real: RealFolder, folder: Path) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "b" / "c" / "file").write_text("deep")
    (folder / "a" / "loop").symlink_to("loop")
    assert real.attributes("/a/b/c/file")["st_size"] == 4
    for path, error in {
        "/a/x/c/file": FileNotFoundError,
        "/a/b/c/file/x": NotADirectoryError,
        "/a/loop/x": NotADirectoryError,
        f"/a/{'n' * 300}/x": OSError,
    }.items():
        with pytest.raises(error) as found:
            real.attributes(path)
        assert error is not OSError or found.value.errno == errno.ENAMETOOLONG


def test_a_link_itself_is_not_followed(real: RealFolder, folder: Path, me: Caller) -> None:
    assert stat.S_ISLNK(real.attributes("/link")["st_mode"])
    assert real.read_link("/link") == "sub/file"
    for call in (lambda: real.open("/link", os.O_RDONLY), lambda: real.truncate("/link", 0)):
        with pytest.raises(OSError, match="symbolic links"):
            call()
    with pytest.raises(FileExistsError):
        real.create("/link", os.O_EXCL, 0o600, me)
    real.set_times("/link", 1, 2)
    assert os.stat(folder / "sub" / "file").st_mtime_ns != 2
    assert os.lstat(folder / "link").st_mtime_ns == 2


def test_it_works_while_the_folder_has_moved(real: RealFolder, folder: Path, tmp_path: Path, me: Caller) -> None:
    folder.rename(tmp_path / "elsewhere")
    os.close(real.create("/sub/new", os.O_WRONLY, 0o600, me))
    assert (tmp_path / "elsewhere" / "sub" / "new").exists()


def test_attributes_are_those_of_stat(real: RealFolder, folder: Path) -> None:
    path = folder / "sub" / "file"
    os.utime(path, ns=(10**18 + 1, 10**18 + 7))
    found, expected = real.attributes("/sub/file"), path.stat()
    assert found["st_mtime"] == 10**18 + 7
    for name in ("st_mode", "st_ino", "st_nlink", "st_size", "st_blocks", "st_uid", "st_gid"):
        assert found[name] == getattr(expected, name)


def test_times_can_be_left_alone(real: RealFolder, folder: Path) -> None:
    path = folder / "sub" / "file"
    real.set_times("/sub/file", 5_000_000_001, -1_500_000_000)
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (5_000_000_001, -1_500_000_000)
    real.set_times("/sub/file", None, 7)
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (5_000_000_001, 7)
    real.set_times("/sub/file", 8, None)
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (8, 7)
    with pytest.raises(FileNotFoundError):
        real.set_times("/nothing", 1, 1)


def test_changes(real: RealFolder, folder: Path, me: Caller) -> None:
    real.make_folder("/new", 0o750, me)
    real.make_node("/new/pipe", stat.S_IFIFO | 0o600, 0, me)
    real.make_link("/new/link", "any text", me)
    real.link("/new/hard", "/sub/file")
    real.rename("/sub/file", "/new/moved")
    real.chmod("/new/moved", 0o4711)
    real.truncate("/new/moved", 3)
    assert stat.S_ISFIFO((folder / "new/pipe").stat().st_mode)
    assert os.readlink(folder / "new/link") == "any text"
    assert (folder / "new/hard").read_text() == "ins"
    assert stat.S_IMODE((folder / "new/moved").stat().st_mode) == 0o4711
    for name in ("pipe", "link", "hard", "moved"):
        real.unlink(f"/new/{name}")
    real.remove_folder("/new")
    assert not (folder / "new").exists()


def test_flags_of_open_are_kept(real: RealFolder, folder: Path, me: Caller) -> None:
    fd = real.create("/log", os.O_WRONLY | os.O_APPEND, 0o600, me)
    (folder / "log").write_text("from outside ")
    os.pwrite(fd, b"appended", 0)
    os.close(fd)
    assert (folder / "log").read_text() == "from outside appended"
    with pytest.raises(FileExistsError):
        real.create("/log", os.O_WRONLY | os.O_EXCL, 0o600, me)
    os.close(real.open("/log", os.O_WRONLY | os.O_TRUNC | os.O_DIRECT))
    assert (folder / "log").read_text() == ""


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC, 0])
def test_a_file_is_opened_to_be_synced_as_it_is_written(real: RealFolder, me: Caller, flag: int) -> None:
    for fd in (real.create("/synced", os.O_WRONLY | flag, 0o600, me), real.open("/synced", os.O_RDWR | flag)):
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_SYNC == flag
        os.close(fd)


def test_free_space_is_that_of_the_file_system(real: RealFolder, folder: Path) -> None:
    assert real.statistics()["f_blocks"] == os.statvfs(folder).f_blocks > 0


def test_access(real: RealFolder) -> None:
    real.check_access("/sub/file", os.R_OK | os.W_OK)
    with pytest.raises(PermissionError):
        real.check_access("/sub/file", os.X_OK)
    with pytest.raises(FileNotFoundError):
        real.check_access("/nothing", os.F_OK)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
class TestRootGivesAway:
    caller = Caller(4321, 8765)

    @pytest.fixture
    def giving(self, real: RealFolder) -> RealFolder:
        return RealFolder(real.dirfd, give_away=True)

    def test_new_entries_belong_to_the_caller(self, giving: RealFolder, folder: Path) -> None:
        os.close(giving.create("/file", os.O_WRONLY, 0o4755, self.caller))
        giving.make_folder("/folder", 0o755, self.caller)
        giving.make_link("/symlink", "text", self.caller)
        giving.make_node("/node", stat.S_IFIFO | 0o644, 0, self.caller)
        for name in ("file", "folder", "symlink", "node"):
            found = os.lstat(folder / name)
            assert (found.st_uid, found.st_gid) == self.caller
        assert stat.S_IMODE((folder / "file").stat().st_mode) & stat.S_ISUID

    def test_but_for_the_group_of_a_setgid_folder(self, giving: RealFolder, folder: Path) -> None:
        os.chown(folder / "sub", 0, 777)
        os.chmod(folder / "sub", 0o2775)
        os.close(giving.create("/sub/file2", os.O_WRONLY, 0o644, self.caller))
        found = (folder / "sub/file2").stat()
        assert (found.st_uid, found.st_gid) == (4321, 777)

    def test_a_file_that_is_there_stays_whose_it_is(self, giving: RealFolder, folder: Path) -> None:
        os.close(giving.create("/sub/file", os.O_WRONLY, 0o644, self.caller))
        assert (folder / "sub/file").stat().st_uid == 0
