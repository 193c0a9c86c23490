# SPDX-License-Identifier: MIT
"""What programs do in a mount: reading, saving, replacing, removing."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.fuse

Serve = Callable[..., Any]


@pytest.fixture
def virtual(mounted: Path) -> Path:
    return mounted / "data0001.img"


@pytest.mark.parametrize("mode", ["r+b", "ab"])
def test_a_virtual_file_is_read_only(virtual: Path, mode: str) -> None:
    with pytest.raises(OSError, match=r"Read-only|Permission"), open(virtual, mode):
        pytest.fail("it was opened")


def test_other_changes_of_a_virtual_file(virtual: Path, served: ModuleType) -> None:
    changes: list[Callable[[], object]] = [
        lambda: os.unlink(virtual),
        lambda: os.rename(virtual, virtual.with_name("x")),
        lambda: os.truncate(virtual, 0),
        lambda: os.chmod(virtual, 0o644),
        lambda: os.utime(virtual),
        lambda: os.link(virtual, virtual.with_name("x")),
    ]
    for change in changes:
        with pytest.raises(OSError, match=r".") as caught:
            change()
        assert caught.value.errno in (errno.EROFS, errno.EPERM)
    for change in (
        lambda: os.mkdir(virtual),
        lambda: os.mkfifo(virtual),
        lambda: os.close(os.open(virtual, os.O_CREAT | os.O_EXCL)),
    ):
        with pytest.raises(FileExistsError):
            change()
    assert virtual.read_bytes() == served.content(0)


def test_replaced_by_writing_and_back(virtual: Path, real: Path, served: ModuleType) -> None:
    assert virtual.read_bytes() == served.content(0)
    virtual.write_bytes(b"new")
    assert virtual.stat().st_size == 3
    assert virtual.read_bytes() == (real / virtual.name).read_bytes() == b"new"
    assert os.listdir(virtual.parent).count(virtual.name) == 1
    virtual.unlink()
    assert virtual.read_bytes() == served.content(0)


def test_replaced_by_renaming_and_back(virtual: Path, served: ModuleType) -> None:
    saved = virtual.with_name("saved.tmp")
    saved.write_bytes(b"saved")
    os.replace(saved, virtual)
    assert virtual.read_bytes() == b"saved"
    os.rename(virtual, saved)
    assert virtual.read_bytes() == served.content(0)
    assert saved.read_bytes() == b"saved"


def test_same_size_replaced_behind_the_mount(virtual: Path, real: Path, served: ModuleType) -> None:
    # the kernel keeps pages of virtual files: they must not be mixed up with those of a real one
    other = bytes(len(served.content(0)))
    for _ in range(3):
        assert virtual.read_bytes() == served.content(0)
        (real / virtual.name).write_bytes(other)
        assert virtual.read_bytes() == other
        (real / virtual.name).unlink()
    assert virtual.read_bytes() == served.content(0)


def test_in_sub_folders_are_no_virtual_files(mounted: Path) -> None:
    (mounted / "sub").mkdir()
    assert os.listdir(mounted / "sub") == []
    assert not (mounted / "sub" / "data0001.img").exists()


def test_memory_maps(virtual: Path, mounted: Path, served: ModuleType) -> None:
    offset = len(served.HEADER)
    found = np.memmap(virtual, "<u2", "r", offset, (served.NY, served.NX))
    assert np.array_equal(found, served.pixels(0))
    out = np.memmap(mounted / "out", "<u2", "w+", shape=(100, 100))
    out[:] = 7
    out.flush()
    assert (np.fromfile(mounted / "out", "<u2") == 7).all()


def test_reads_at_odd_places(virtual: Path, served: ModuleType) -> None:
    expected = served.content(0)
    with open(virtual, "rb", buffering=0) as file:
        for at, size in [(0, 1), (60, 10), (len(expected) - 3, 100), (len(expected), 10), (10**12, 10), (1, 4000)]:
            assert os.pread(file.fileno(), size, at) == expected[at : at + size]
        assert os.fstat(file.fileno()).st_size == file.seek(0, os.SEEK_END) == len(expected)


def test_saving_appending_truncating(mounted: Path, real: Path) -> None:
    path = mounted / "log"
    with open(path, "a") as file:
        file.write("one ")
        file.flush()
        with open(real / "log", "a") as outside:
            outside.write("two ")
        file.write("three")
    assert (real / "log").read_text() == "one two three"
    os.truncate(path, 3)
    with open(path, "r+") as file:
        file.truncate(2)
        os.fsync(file.fileno())
    assert (real / "log").read_text() == "on"
    data = os.urandom(1 << 20)
    (mounted / "big").write_bytes(data)
    assert (real / "big").read_bytes() == (mounted / "big").read_bytes() == data


def test_sparse_file_beyond_4_gib(mounted: Path, real: Path) -> None:
    with open(mounted / "sparse", "wb") as file:
        file.seek(5 << 30)
        file.write(b"end")
    assert (mounted / "sparse").stat().st_size == (real / "sparse").stat().st_size == (5 << 30) + 3
    assert (mounted / "sparse").stat().st_blocks < 100


def test_removed_while_open(mounted: Path, real: Path, wait: Callable[..., bool]) -> None:
    with open(mounted / "temporary", "w+") as file:
        os.unlink(mounted / "temporary")
        file.write("still there")
        file.flush()
        assert os.fstat(file.fileno()).st_size == 11
        file.seek(0)
        assert file.read() == "still there"
        assert [name for name in os.listdir(mounted) if "fuse" in name] == []
    # the kernel does not wait for the answer to the last close
    assert wait(lambda: os.listdir(real) == [])


def test_names_that_are_not_utf8(mounted: Path, real: Path) -> None:
    raw = os.fsencode(mounted) + b"/\xff\xfe odd, name"
    with open(raw, "wb") as file:
        file.write(b"x")
    os.symlink(b"\xfd", raw + b".link")
    assert sorted(os.listdir(os.fsencode(real))) == [b"\xff\xfe odd, name", b"\xff\xfe odd, name.link"]
    assert os.path.basename(raw) in os.listdir(os.fsencode(mounted))
    assert os.readlink(raw + b".link") == b"\xfd"


def test_links_times_modes_pipes(mounted: Path, real: Path) -> None:
    path = mounted / "file"
    path.write_text("x")
    (mounted / "absolute").symlink_to(mounted / "data0002.img")
    assert (mounted / "absolute").read_bytes() == (mounted / "data0002.img").read_bytes()
    os.link(path, mounted / "hard")
    assert path.stat().st_ino == (mounted / "hard").stat().st_ino == (real / "file").stat().st_ino
    os.chmod(path, 0o4700)
    os.utime(path, ns=(1, 10**18 + 3))
    found = (real / "file").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns, found.st_nlink) == (0o4700, 10**18 + 3, 2)
    subprocess.run(["touch", "-m", "-d", "@5.25", path], check=True)
    found = (real / "file").stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (1, 5_250_000_000)
    os.mkfifo(mounted / "pipe")
    assert stat.S_ISFIFO((real / "pipe").stat().st_mode)


@pytest.mark.parametrize("mapped_by", [os.O_RDWR, os.O_RDWR | os.O_APPEND])
def test_a_map_of_a_file_that_is_open_for_appending_is_written_in_place(
    mounted: Path, real: Path, mapped_by: int
) -> None:
    path = mounted / "log"
    path.write_bytes(b"0" * 10_000)
    mapping, appending = os.open(path, mapped_by), os.open(path, os.O_RDWR | os.O_APPEND)
    with mmap.mmap(mapping, 10_000) as view:
        view[5:9] = b"here"
        view.flush()
    os.write(appending, b"end")
    os.close(mapping)
    os.close(appending)
    assert (real / "log").read_bytes() == path.read_bytes() == b"0" * 5 + b"here" + b"0" * 9991 + b"end"


def test_copying_a_whole_folder(mounted: Path, tmp_path: Path, served: ModuleType) -> None:
    (mounted / "note").write_text("x")
    shutil.copytree(mounted, tmp_path / "copy")
    assert len(os.listdir(tmp_path / "copy")) == served.FRAMES + 1
    assert (tmp_path / "copy" / "data0012.img").read_bytes() == served.content(11)


def test_free_space_is_that_of_the_real_folder(mounted: Path, real: Path) -> None:
    assert os.statvfs(mounted).f_blocks == os.statvfs(real).f_blocks


def test_permissions_of_new_files(mounted: Path, real: Path) -> None:
    before = os.umask(0o027)
    try:
        (mounted / "file").write_text("x")
        (mounted / "folder").mkdir()
    finally:
        os.umask(before)
    assert stat.S_IMODE((real / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((real / "folder").stat().st_mode) == 0o750


def test_a_full_disk_is_told(serve: Serve, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        mount = serve(disk / "demo")
        with pytest.raises(OSError, match="No space left"):
            (disk / "demo" / "big").write_bytes(bytes(2 << 20))
        mount.interrupt()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be many users")
def test_new_files_belong_to_who_made_them(serve: Serve) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "demo"
        folder.mkdir()
        folder.chmod(0o777)
        mount = serve(folder, allow_other=True)
        script = "touch new && mkdir sub && ln -s x link && ! echo > data0001.img && cat data0001.img > /dev/null"
        subprocess.run(["sh", "-c", script], cwd=folder, user=4321, group=8765, check=True, stderr=subprocess.DEVNULL)
        for entry in ("new", "sub", "link"):
            found = os.lstat(folder / entry)
            assert (found.st_uid, found.st_gid) == (4321, 8765)
        mount.interrupt()
