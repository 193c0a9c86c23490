# SPDX-License-Identifier: MIT
"""Real mounts: how they begin and end, and that nothing is ever lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import ending, mountinfo, session
from fastlegacy.faces.mount.session import mount

pytestmark = pytest.mark.fuse

Serve = Callable[..., Any]
Wait = Callable[..., bool]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    return folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return tmp_path / "demo_real"


def is_over(folder: Path, real: Path) -> bool:
    return mountinfo.find(os.path.realpath(folder)) is None and not os.path.lexists(real)


def test_the_union_is_seen(serve: Serve, demo: Path, real: Path, served: ModuleType) -> None:
    mount = serve()
    names = sorted(os.listdir(demo))
    assert names == sorted(["kept.txt", *served.make_tree()])
    assert os.listdir(real) == ["kept.txt"]
    for frame in (0, 5, served.FRAMES - 1):
        path = demo / f"data{frame + 1:04d}.img"
        assert path.read_bytes() == served.content(frame)
        found = path.stat()
        assert (found.st_size, found.st_mtime_ns) == (len(served.content(0)), served.MTIME_NS)
        assert (found.st_mode & 0o777, found.st_nlink, found.st_uid) == (0o444, 1, os.geteuid())
    statistics, errors = mount.interrupt()
    assert errors == ""
    assert statistics["operations"]["read"]["bytes"] >= 3 * len(served.content(0))
    assert statistics["operations"]["open"]["calls"] == 3


@pytest.mark.parametrize("rename", [False, True])
@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM", "SIGHUP", "umount", "umount of a link"])
def test_every_end_leaves_the_real_folder(
    serve: Serve, demo: Path, real: Path, tmp_path: Path, rename: bool, way: str
) -> None:
    mount = serve(rename=rename)
    (demo / "new.txt").write_text("saved")
    assert (real / "new.txt").read_text() == "saved"
    if way.startswith("umount"):
        (tmp_path / "link").symlink_to(demo)
        ending.umount(f"{demo}/" if way == "umount" else tmp_path / "link")
        assert is_over(demo, real), "umount waits until all is clean"
    else:
        mount.process.send_signal(getattr(signal, way))
    statistics, errors = mount.end()
    assert errors == ""
    assert statistics["operations"]["create"]["calls"] == 1
    assert is_over(demo, real)
    assert sorted(os.listdir(demo)) == ["kept.txt", "new.txt"]
    assert not os.path.lexists(f"{demo}.fastlegacy.json")


@pytest.mark.parametrize("rename", [False, True])
def test_a_missing_folder_is_made_and_stays(serve: Serve, tmp_path: Path, rename: bool) -> None:
    folder = tmp_path / "a" / "new folder"
    mount = serve(folder, rename=rename)
    (folder / "result").write_text("x")
    mount.interrupt()
    assert os.listdir(tmp_path / "a") == ["new folder"]
    assert os.listdir(folder) == ["result"]


def test_impatient_ctrl_c(serve: Serve, demo: Path, real: Path) -> None:
    mount = serve(rename=True)
    for _ in range(20):
        mount.process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    mount.end()
    assert is_over(demo, real)
    assert os.listdir(demo) == ["kept.txt"]


def test_two_mounts_on_one_folder(serve: Serve, demo: Path) -> None:
    first = serve()
    message = serve().fails()
    assert "is a mount of fastlegacy already" in message
    assert "Traceback" not in message
    assert (demo / "data0001.img").exists()
    first.interrupt()


@pytest.mark.parametrize("rename", [False, True])
def test_a_folder_named_real_is_not_touched(serve: Serve, demo: Path, real: Path, rename: bool) -> None:
    real.mkdir()
    message = serve(rename=rename).fails()
    assert "demo_real is there already" in message
    assert "Traceback" not in message
    assert os.listdir(demo) == ["kept.txt"]
    assert real.is_dir()


def test_a_mount_that_fails_leaves_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    message = serve(tmp_path / "new", options="no_such_option").fails()
    assert "unknown option" in message
    assert "Traceback" not in message
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="auto_unmount is for root")
def test_kill_leaves_nothing_to_repair(serve: Serve, wait: Wait, demo: Path, real: Path) -> None:
    mount = serve()
    (demo / "new.txt").write_text("saved")
    mount.process.kill()
    # fusermount takes the dead mount away by itself, but on a busy machine not always
    if not wait(lambda: mountinfo.find(os.path.realpath(demo)) is None):
        ending.umount(demo, timeout_s=100)
    assert sorted(os.listdir(demo)) == ["kept.txt", "new.txt"]
    assert real.is_symlink(), "harmless, and replaced by the next mount"
    serve().interrupt()
    assert is_over(demo, real)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting without fusermount is for root")
@pytest.mark.parametrize("rename", [False, True])
def test_a_dead_mount_of_ours_is_cleaned(serve: Serve, demo: Path, real: Path, rename: bool) -> None:
    mount = serve(environment={"PATH": "/nonexistent"}, rename=rename)
    (demo / "new.txt").write_text("saved")
    mount.process.kill()
    mount.process.wait()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(demo)
    again = serve(rename=rename)
    assert sorted(os.listdir(real)) == ["kept.txt", "new.txt"]
    _, errors = again.interrupt()
    assert "the dead mount is removed" in errors
    assert is_over(demo, real)
    assert sorted(os.listdir(demo)) == ["kept.txt", "new.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting without fusermount is for root")
def test_umount_of_a_dead_mount(serve: Serve, demo: Path) -> None:
    mount = serve(environment={"PATH": "/nonexistent"})
    mount.process.kill()
    mount.process.wait()
    ending.umount(demo, timeout_s=100)
    assert os.listdir(demo) == ["kept.txt"]


def test_a_mount_in_use(serve: Serve, demo: Path, real: Path) -> None:
    mount = serve()
    with open(demo / "data0001.img", "rb") as file:
        with pytest.raises(MountError, match=f"in use by process {os.getpid()}"):
            ending.umount(demo, timeout_s=100)
        assert file.read(8) == b"a header"
    ending.umount(demo, timeout_s=100)
    mount.end()
    assert is_over(demo, real)


def test_a_lazy_end_in_use(serve: Serve, demo: Path, real: Path, wait: Wait) -> None:
    mount = serve()
    with open(demo / "data0001.img", "rb"):
        with pytest.raises(MountError, match=r"has not ended after 0\.2 s"):
            ending.umount(demo, lazy=True, timeout_s=0.2)
        assert os.listdir(demo) == ["kept.txt"]
    mount.end()
    assert is_over(demo, real)


def test_ctrl_c_while_in_use(serve: Serve, demo: Path, real: Path) -> None:
    mount = serve()
    (demo / "gone").write_text("x")
    gone, virtual = (os.open(demo / name, os.O_RDONLY) for name in ("gone", "data0001.img"))
    os.unlink(demo / "gone")
    assert os.read(gone, 9) == b"x"
    assert os.listdir(real) == ["kept.txt"]
    mount.interrupt()
    assert is_over(demo, real)
    assert os.listdir(demo) == ["kept.txt"]
    for fd in (gone, virtual):
        with pytest.raises(OSError, match="not connected"):
            os.close(fd)


@pytest.mark.parametrize("rename", [False, True])
@pytest.mark.parametrize("through_link", [False, True])
def test_the_hdf5_file_may_lie_in_the_folder(
    serve: Serve, demo: Path, tmp_path: Path, served: ModuleType, rename: bool, through_link: bool
) -> None:
    with h5py.File(demo / "scan.h5", "w") as file:
        data = file.create_dataset(
            "x", (3, served.NY, served.NX), "<u2", chunks=(1, served.NY, served.NX), compression=1
        )
        for frame in range(3):
            data[frame] = served.pixels(frame)
    (tmp_path / "link").symlink_to(demo)
    folder = tmp_path / "link" if through_link else demo
    mount = serve(folder, rename=rename, url=f"{folder}/scan.h5::/x")
    for frame in range(3):
        assert (demo / f"data{frame + 1:04d}.img").read_bytes() == served.content(frame)
    assert (demo / "scan.h5").stat().st_size > 0
    statistics, errors = mount.interrupt()
    assert errors == ""
    assert statistics["errors"] == 0
    assert sorted(os.listdir(demo)) == ["kept.txt", "scan.h5"]


def test_a_broken_frame_is_an_error_of_that_file_only(serve: Serve, demo: Path, served: ModuleType) -> None:
    mount = serve(broken=True)
    path = demo / f"data{served.BROKEN_FRAME + 1:04d}.img"
    assert path.stat().st_size == len(served.content(0))
    with pytest.raises(OSError, match="Input/output error"):
        path.read_bytes()
    assert (demo / "data0001.img").read_bytes() == served.content(0)
    statistics, errors = mount.interrupt()
    assert statistics["errors"] >= 1
    assert path.name in errors
    assert "this chunk is broken" in errors
    assert "Traceback" not in errors


def test_many_files_are_listed(serve: Serve, demo: Path) -> None:
    serve(frames=100_000)
    assert sum(entry.is_file() for entry in os.scandir(demo)) == 100_001


def test_only_in_the_main_thread(fuse: None, served: ModuleType, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool, pytest.raises(MountError, match="main thread"):
        pool.submit(mount, served.make_tree(), tmp_path / "demo").result()
    assert os.listdir(tmp_path) == []


def test_busy_threads_hand_over_quickly_as_long_as_there_is_a_mount() -> None:
    before = sys.getswitchinterval()
    with session._quick_switches():
        assert sys.getswitchinterval() < 0.001
    assert sys.getswitchinterval() == before
