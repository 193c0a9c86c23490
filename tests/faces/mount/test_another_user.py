# SPDX-License-Identifier: MIT
"""A mount by somebody who is not root, and who alone may look into it.

The interpreter of these tests may lie where only root can read. So the other users are forks of this process that have
changed their user after everything was imported.
"""

from __future__ import annotations

import encodings.ascii  # noqa: F401  (Python looks for it when it is first needed: where the fork cannot)
import errno
import os
import pickle
import shutil
import signal
import stat
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastlegacy
from fastlegacy.errors import MountError
from fastlegacy.faces.library import tree
from fastlegacy.faces.mount import _refuse, meeting, mountinfo
from fastlegacy.faces.mount.ask import ask
from fastlegacy.faces.mount.session import mount
from fastlegacy.testing.beside import module_at
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames

NOBODY = 65534
SHAPE = (64, 72)

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.usefixtures("fuse"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]


@pytest.fixture
def device_for_all() -> Iterator[None]:
    """Let everybody use /dev/fuse, as it is on most machines."""
    before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    yield
    os.chmod("/dev/fuse", before)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the other user's; pytest's own are closed to him."""
    home = Path(tempfile.mkdtemp(prefix="fastlegacy-nobody-"))
    os.chown(home, NOBODY, NOBODY)
    yield home
    shutil.rmtree(home)


def become(user: int) -> None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def start_as_nobody(work: Callable[[], Any], user: int = NOBODY) -> tuple[int, int]:
    """Do the work in a fork of another user; return its pid and where its answer comes from."""
    answer, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        return pid, answer
    code = 1
    try:
        os.close(answer)
        become(user)
        os.write(tell, pickle.dumps(work()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(pid: int, answer: int) -> Any:
    with os.fdopen(answer, "rb") as pipe:
        data = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0
    return pickle.loads(data)


def as_nobody(work: Callable[[], Any], user: int = NOBODY) -> Any:
    return finish(*start_as_nobody(work, user))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_mounted(folder: Path) -> bool:
    return mountinfo.find(str(folder)) is not None


@pytest.mark.parametrize("rename", [False, True])
@pytest.mark.usefixtures("device_for_all")
def test_who_is_not_root_mounts_reads_and_saves(home: Path, rename: bool) -> None:
    _refuse.load()
    frames = detector_frames(5, SHAPE, "u4")
    url = write_stack(home / "scan.h5", frames, filters="bslz4")
    folder = home / "work"

    def make() -> None:
        folder.mkdir()
        (folder / "mine.txt").write_text("before")

    def serve() -> Any:
        with fastlegacy.open(url) as stack:
            return mount(tree(stack, format="npy"), folder, rename=rename)

    def use() -> Any:
        images = [np.load(folder / f"data{i:04d}.npy") for i in range(1, 6)]
        (folder / "result.txt").write_text("saved")
        return images, sorted(os.listdir(folder)), os.stat(folder / "result.txt").st_uid

    as_nobody(make)
    pid, answer = start_as_nobody(serve)
    try:
        wait_for(lambda: is_mounted(folder))
        images, names, owner = as_nobody(use)
        with pytest.raises(PermissionError):
            os.listdir(folder)  # not even root looks into it
    finally:
        os.kill(pid, signal.SIGTERM)
        statistics = finish(pid, answer)
    np.testing.assert_array_equal(images, frames)
    assert names == [*(f"data{i:04d}.npy" for i in range(1, 6)), "mine.txt", "result.txt"]
    assert owner == NOBODY
    assert statistics
    assert not is_mounted(folder)
    assert sorted(os.listdir(folder)) == ["mine.txt", "result.txt"]
    assert sorted(os.listdir(home)) == ["scan.h5", "work"]


@pytest.mark.usefixtures("device_for_all")
def test_who_is_not_root_changes_a_frame(home: Path) -> None:
    with mounted_by_nobody(home, copy_up=True) as (folder, frames):
        frame = folder / "data0002.npy"

        def use() -> Any:
            before = frame.stat()
            with open(frame, "r+b") as file:
                file.seek(-4, os.SEEK_END)
                file.write(b"\1\2\3\4")
            os.utime(folder / "data0003.npy", ns=(7, 8))
            after = frame.stat()
            return np.load(frame), (before.st_mode, before.st_uid), (after.st_mode, after.st_uid)

        image, before, after = as_nobody(use)
    expected = frames[1].copy()
    expected[-1, -1] = 0x04030201
    np.testing.assert_array_equal(image, expected)
    assert before == after
    assert before[0] & 0o200
    assert before[1] == NOBODY
    np.testing.assert_array_equal(np.load(folder / "data0003.npy"), frames[2])
    assert (folder / "data0003.npy").stat().st_mtime_ns == 8
    assert sorted(os.listdir(folder)) == ["data0002.npy", "data0003.npy"]


@pytest.mark.usefixtures("device_for_all")
def test_who_is_not_root_sets_extended_attributes(home: Path) -> None:
    with mounted_by_nobody(home) as (folder, _):

        def use() -> Any:
            (folder / "f").touch()
            os.setxattr(folder / "f", "user.a", b"1")
            fd = os.open(folder / "f", os.O_RDWR)
            os.posix_fallocate(fd, 0, 5000)
            os.unlink(folder / "f")
            found = os.getxattr(fd, "user.a"), os.fstat(fd).st_size, os.fstat(fd).st_nlink
            os.fchmod(fd, 0o600)
            os.ftruncate(fd, 3)
            codes = []
            for name in ("trusted.a", "security.a"):
                try:
                    os.setxattr(folder, name, b"1")
                except OSError as error:
                    codes.append(error.errno)
            return found, os.fstat(fd).st_size, codes

        found, size, codes = as_nobody(use)
    assert (found, size) == ((b"1", 5000, 0), 3)
    assert codes == [errno.EPERM, errno.EPERM]
    assert os.listdir(folder) == []


@pytest.mark.usefixtures("device_for_all")
def test_who_is_not_root_is_told_that_frames_are_read_only(home: Path) -> None:
    """The kernel does not check permissions in a mount that is one user's alone: the mount answers, as it does root."""
    with mounted_by_nobody(home) as (folder, frames):
        frame = folder / "data0002.npy"
        changes: dict[str, Callable[[], Any]] = {
            "open r+": lambda: os.open(frame, os.O_RDWR),
            "open w": lambda: os.open(frame, os.O_WRONLY),
            "append": lambda: os.open(frame, os.O_WRONLY | os.O_APPEND),
            "truncate": lambda: os.truncate(frame, 3),
            "unlink": lambda: os.unlink(frame),
            "rename": lambda: os.rename(frame, folder / "other"),
            "chmod": lambda: os.chmod(frame, 0o644),
            "utime": lambda: os.utime(frame),
            "setxattr": lambda: os.setxattr(frame, "user.a", b"1"),
            "link": lambda: os.link(frame, folder / "other"),
        }

        def use() -> Any:
            codes = {}
            for name, change in changes.items():
                try:
                    change()
                except OSError as error:
                    codes[name] = error.errno
            may = [os.access(frame, mode) for mode in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)]
            may_folder = [os.access(folder, mode) for mode in (os.R_OK, os.W_OK, os.X_OK)]
            return codes, may, may_folder, stat.S_IMODE(frame.stat().st_mode), np.load(frame)

        codes, may, may_folder, mode, image = as_nobody(use)
    assert codes == dict.fromkeys(changes, errno.EROFS)
    assert may == [True, True, False, False]
    assert may_folder == [True, True, True]
    assert mode == 0o444
    np.testing.assert_array_equal(image, frames[1])
    assert os.listdir(folder) == []


@pytest.mark.usefixtures("device_for_all")
@pytest.mark.parametrize("rename", [False, True])
def test_killed_and_mounted_again_by_who_is_not_root(home: Path, rename: bool) -> None:
    _refuse.load()
    frames = detector_frames(5, SHAPE, "u4")
    url = write_stack(home / "scan.h5", frames, filters="bslz4")
    folder = home / "work"
    go_on, tell = os.pipe()

    def serve() -> Any:
        with fastlegacy.open(url) as stack:
            return mount(tree(stack, format="npy"), folder, rename=rename, on_ready=(home / "ready").touch)

    def work() -> Any:
        """Keep a real file, a removed one and a frame open while the server is killed and another one starts."""
        os.close(tell)
        (folder / "early").write_bytes(b"saved before")
        saved = os.open(folder / "result", os.O_CREAT | os.O_RDWR)
        removed = os.open(folder / "removed", os.O_CREAT | os.O_RDWR)
        frame = os.open(folder / "data0001.npy", os.O_RDONLY)
        os.write(saved, b"written")
        os.write(removed, b"written")
        os.unlink(folder / "removed")
        (home / "at work").touch()
        os.read(go_on, 1)
        codes = []
        for use in (
            lambda: os.write(saved, b"more"),
            lambda: os.write(removed, b"more"),
            lambda: os.fstatvfs(frame),
            lambda: os.fsync(saved),
        ):
            try:
                use()
            except OSError as error:
                codes.append(error.errno)
        texts = (folder / "result").read_bytes(), (folder / "early").read_bytes()
        return codes, texts, np.load(folder / "data0001.npy")

    pid, answer = start_as_nobody(serve)
    wait_for((home / "ready").exists)
    (home / "ready").unlink()
    worker = start_as_nobody(work)
    wait_for((home / "at work").exists)
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    os.close(answer)
    pid, answer = start_as_nobody(serve)
    try:
        wait_for((home / "ready").exists)
        os.write(tell, b"1")
        codes, texts, image = finish(*worker)
        names = as_nobody(lambda: sorted(os.listdir(folder)))
    finally:
        os.close(go_on)
        os.close(tell)
        os.kill(pid, signal.SIGTERM)
        finish(pid, answer)
    assert codes == [errno.ENOTCONN] * 4
    assert texts == (b"written", b"saved before")
    np.testing.assert_array_equal(image, frames[0])
    assert names == [*(f"data{i:04d}.npy" for i in range(1, 6)), "early", "result"]
    assert not is_mounted(folder)
    assert sorted(os.listdir(folder)) == ["early", "result"]
    assert sorted(os.listdir(home)) == ["at work", "ready", "scan.h5", "work"]


@contextmanager
def mounted_by_nobody(home: Path, **options: Any) -> Iterator[tuple[Path, np.ndarray]]:
    """A mount of the other user's, its folder and the frames in it."""
    _refuse.load()
    frames = detector_frames(5, SHAPE, "u4")
    url = write_stack(home / "scan.h5", frames, filters="bslz4")
    folder = home / "work"

    def serve() -> Any:
        with fastlegacy.open(url) as stack:
            return mount(tree(stack, format="npy"), folder, **options)

    pid, answer = start_as_nobody(serve)
    try:
        wait_for(lambda: is_mounted(folder))
        yield folder, frames
    finally:
        os.kill(pid, signal.SIGTERM)
        finish(pid, answer)
    assert not is_mounted(folder)


@pytest.mark.usefixtures("device_for_all")
def test_headers_of_a_mount_are_for_its_user_and_root_to_change(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse.load()
    for name in ("FASTLEGACY_RUN", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    changing = loaded_changing()
    folder = home / "work"

    def change(text: str) -> str:
        try:
            return str(ask(folder / "varying", "set", values={"distance": text}))
        except MountError as error:
            return str(error)

    def contents() -> bytes:
        return (folder / "varying" / "data0001.img").read_bytes()

    pid, answer = start_as_nobody(lambda: mount(changing.Changing(), folder))
    try:
        wait_for(lambda: is_mounted(folder))
        assert as_nobody(lambda: change("0.15")) == "['varying: distance 0.14 -> 0.15']"
        assert as_nobody(contents) == changing.content("varying", "0.15")
        assert change("0.16") == "['varying: distance 0.15 -> 0.16']"
        assert as_nobody(contents) == changing.content("varying", "0.16")
        refusal = as_nobody(lambda: change("0.17"), user=NOBODY - 1)
        assert refusal.startswith(f"the mount on {folder} belongs to the user nobody; ask that user")
        assert as_nobody(contents) == changing.content("varying", "0.16")
    finally:
        os.kill(pid, signal.SIGTERM)
        finish(pid, answer)
    place = Path(tempfile.gettempdir(), f"fastlegacy-{NOBODY}")
    assert (place.stat().st_uid, stat.S_IMODE(place.stat().st_mode)) == (NOBODY, 0o700)
    assert meeting._name_of(str(folder)) not in os.listdir(place)


def loaded_changing() -> ModuleType:
    """Return the module ``changing.py`` beside this file."""
    return module_at(Path(__file__).with_name("changing.py"))
