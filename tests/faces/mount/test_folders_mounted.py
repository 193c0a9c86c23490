# SPDX-License-Identifier: MIT
"""Virtual folders in real mounts: what programs do with them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.fuse

Serve = Callable[..., Any]


@pytest.fixture
def mounted(folders: Path) -> Path:
    return folders


def tree_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_programs_walk_through_the_folders(mounted: Path, real: Path, served: ModuleType) -> None:
    expected = ["deep", "deep/pix", "img", *served.make_folder()]
    assert tree_of(mounted) == sorted(expected)
    found = subprocess.run(["find", ".", "-printf", "%y %P\n"], cwd=mounted, check=True, capture_output=True, text=True)
    kinds = dict(reversed(line.split(" ", 1)) for line in found.stdout.splitlines())
    del kinds[""]
    assert kinds == {path: "f" if "." in path else "d" for path in expected}
    for frame in (0, 5, served.FRAMES - 1):
        assert (mounted / f"img/data{frame + 1:04d}.img").read_bytes() == served.content(frame)
        assert (mounted / f"deep/pix/data{frame + 1:04d}.pix").read_bytes() == served.pixels(frame).tobytes()
    assert tree_of(real) == []


def test_a_folder_has_honest_attributes(mounted: Path, served: ModuleType) -> None:
    found = (mounted / "deep").stat()
    assert stat.S_ISDIR(found.st_mode)
    assert (found.st_nlink, found.st_mtime_ns, found.st_uid) == (3, served.MTIME_NS, os.geteuid())
    assert stat.S_IMODE(found.st_mode) == stat.S_IMODE(mounted.stat().st_mode)
    with os.scandir(mounted) as entries:
        inodes = {entry.name: entry.inode() for entry in entries if entry.is_dir(follow_symlinks=False)}
    assert inodes == {name: (mounted / name).stat().st_ino for name in ("deep", "img")}
    assert os.statvfs(mounted / "deep").f_blocks == os.statvfs(mounted).f_blocks
    assert os.access(mounted / "deep/pix", os.W_OK)


def test_what_is_saved_in_a_folder_is_in_the_real_one(mounted: Path, real: Path, served: ModuleType) -> None:
    (mounted / "deep/pix/result.txt").write_text("saved")
    assert tree_of(real) == ["deep", "deep/pix", "deep/pix/result.txt"]
    assert (real / "deep/pix/result.txt").read_text() == "saved"
    assert len(os.listdir(mounted / "deep/pix")) == served.FRAMES + 1
    (mounted / "part").write_text("whole")
    os.rename(mounted / "part", mounted / "img/done")
    os.makedirs(mounted / "img/a/b", exist_ok=True)
    os.makedirs(mounted / "img", exist_ok=True)
    os.link(mounted / "img/done", mounted / "img/a/hard")
    os.symlink("../data0001.img", mounted / "img/a/link")
    assert (mounted / "img/a/link").read_bytes() == served.content(0)
    assert {"img/done", "img/a/b", "img/a/hard"} < set(tree_of(real))
    with tempfile.NamedTemporaryFile(dir=mounted / "img") as file:
        file.write(b"x")
        file.flush()
        assert os.path.exists(real / "img" / Path(file.name).name)


def test_a_saved_file_hides_a_frame_until_it_is_removed(mounted: Path, real: Path, served: ModuleType) -> None:
    path = mounted / "img/data0003.img"
    assert path.read_bytes() == served.content(2)
    path.write_bytes(b"corrected")
    assert path.read_bytes() == (real / "img/data0003.img").read_bytes() == b"corrected"
    path.unlink()
    assert path.read_bytes() == served.content(2)
    assert tree_of(real) == ["img"]


def test_an_editor_saves_over_a_frame(mounted: Path, served: ModuleType) -> None:
    path = mounted / "deep/pix/data0001.pix"
    shutil.copyfile(path, path.with_name("copy"))
    os.replace(path.with_name("copy"), path)
    assert path.read_bytes() == served.pixels(0).tobytes()
    assert os.listdir(path.parent).count(path.name) == 1


def test_folders_cannot_be_removed_or_renamed(mounted: Path, real: Path) -> None:
    changes: dict[Callable[[], object], tuple[int, ...]] = {
        lambda: os.rmdir(mounted / "img"): (errno.EROFS,),
        lambda: os.rename(mounted / "img", mounted / "x"): (errno.EROFS,),
        lambda: os.chmod(mounted / "img", 0o700): (errno.EROFS,),
        lambda: os.utime(mounted / "img"): (errno.EROFS,),
        lambda: os.mkdir(mounted / "img"): (errno.EEXIST,),
        lambda: os.unlink(mounted / "img"): (errno.EISDIR,),
        lambda: os.unlink(mounted / "img/data0001.img"): (errno.EROFS,),
        lambda: open(mounted / "img", "wb"): (errno.EISDIR,),  # noqa: SIM115 - it fails
        lambda: shutil.rmtree(mounted / "img"): (errno.EROFS,),
    }
    for change, codes in changes.items():
        with pytest.raises(OSError, match=r".") as caught:
            change()
        assert caught.value.errno in codes
    assert tree_of(real) == []
    (mounted / "img/note").touch()
    (mounted / "mine").mkdir()
    with pytest.raises(OSError, match="not empty"):
        os.rmdir(mounted / "img")
    with pytest.raises(OSError, match="not empty"):
        os.rename(mounted / "mine", mounted / "img")
    with pytest.raises(OSError, match="Read-only"):
        os.rename(mounted / "img", mounted / "mine")
    os.chmod(mounted / "img", 0o700)
    assert stat.S_IMODE((real / "img").stat().st_mode) == 0o700


def test_a_folder_stays_the_same_one_when_something_is_saved_in_it(mounted: Path) -> None:
    fd = os.open(mounted / "img", os.O_RDONLY | os.O_DIRECTORY)
    try:
        before = os.fstat(fd)
        (mounted / "img/new").touch()
        after = os.stat(mounted / "img")
        assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
        assert "new" in os.listdir(fd)
    finally:
        os.close(fd)


def test_the_kernel_does_not_mix_up_pages_of_files_in_folders(mounted: Path, real: Path, served: ModuleType) -> None:
    path, other = mounted / "img/data0001.img", bytes(len(served.content(0)))
    for _ in range(3):
        assert path.read_bytes() == served.content(0)
        (real / "img").mkdir(exist_ok=True)
        (real / "img/data0001.img").write_bytes(other)
        assert path.read_bytes() == other
        (real / "img/data0001.img").unlink()
    assert path.read_bytes() == served.content(0)


def test_a_real_file_hides_a_folder(serve: Serve, tmp_path: Path, served: ModuleType) -> None:
    demo = tmp_path / "demo"
    (demo / "deep").mkdir(parents=True)
    (demo / "deep/kept").touch()
    (demo / "img").write_text("mine")
    mount = serve(folders=True)
    assert (demo / "img").read_text() == "mine"
    assert os.path.isdir(demo / "deep/pix")
    assert sorted(os.listdir(demo / "deep")) == ["kept", "pix"]
    os.rename(demo / "img", demo / "away")
    assert (demo / "img/data0001.img").read_bytes() == served.content(0)
    _, errors = mount.interrupt()
    assert errors == ""
    assert tree_of(demo) == ["away", "deep", "deep/kept"]


def test_copying_a_whole_folder(mounted: Path, tmp_path: Path, served: ModuleType) -> None:
    (mounted / "deep/note").write_text("x")
    subprocess.run(["cp", "-a", mounted, tmp_path / "copy"], check=True)
    assert set(tree_of(tmp_path / "copy")) == {"deep", "deep/note", "deep/pix", "img", *served.make_folder()}
    assert (tmp_path / "copy/deep/pix/data0012.pix").read_bytes() == served.pixels(11).tobytes()


def test_a_file_that_cannot_be_measured_is_an_error_of_that_file_only(
    serve: Serve, tmp_path: Path, served: ModuleType
) -> None:
    demo = tmp_path / "demo"
    mount = serve(folders=True, broken=True)
    broken = f"data{served.BROKEN_FRAME + 1:04d}.img"
    assert len(os.listdir(demo / "img")) == served.FRAMES
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output error"):
            os.stat(demo / "img" / broken)
    listed = subprocess.run(["ls", "-l", demo / "img"], check=False, capture_output=True, text=True)
    assert listed.returncode == 1
    assert listed.stdout.count(str(len(served.content(0)))) == served.FRAMES - 1
    assert (demo / "img/data0001.img").read_bytes() == served.content(0)
    _, errors = mount.interrupt()
    assert errors.count("\n") == 1
    assert f"getattr of /img/{broken}: scan.h5::/data frame 6: chunk 6 is damaged" in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be many users")
@pytest.mark.parametrize(("mode", "may_write"), [(0o777, True), (0o755, False)])
def test_who_may_write_into_the_folder_may_write_into_those_below_it(serve: Serve, mode: int, may_write: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "demo"
        folder.mkdir()
        folder.chmod(mode)
        mount = serve(folder, allow_other=True, folders=True)
        before = (folder / "deep/pix").stat()
        done = subprocess.run(["touch", "deep/pix/new"], cwd=folder, user=4321, group=8765, check=False, stderr=-3)
        assert done.returncode == (0 if may_write else 1)
        mount.interrupt()
        if may_write:
            assert [(folder / path).stat().st_uid for path in ("deep", "deep/pix", "deep/pix/new")] == [0, 0, 4321]
            assert (folder / "deep/pix").stat().st_mode == before.st_mode
        else:
            assert tree_of(folder) == []
