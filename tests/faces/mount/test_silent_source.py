# SPDX-License-Identifier: MIT
"""Sources on a file system that stops answering: a mount below them, whose server is stopped by SIGSTOP."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.mounts import is_mount_point

pytestmark = pytest.mark.fuse

# so large, and so random, that the kernel has read no more than the beginning of the file ahead
FRAMES = np.random.default_rng(1).integers(0, 60_000, (32, 512, 512)).astype("u2")
OTHER = np.arange(3 * 40 * 50, dtype="u2").reshape(3, 40, 50)
LIMIT_S = 1


class Mounts:
    """A mount of HDF5 files that lie in another mount."""

    def __init__(self, tmp_path: Path, below: Path, server: subprocess.Popen[str], wait: Callable[..., bool]) -> None:
        self.top = tmp_path / "top"
        self.log = tmp_path / "log"
        self.source = below / "scan.h5"
        self.server = server
        self.wait = wait
        self.process: subprocess.Popen[bytes] | None = None

    def mount(self, *words: str, limit_s: float = LIMIT_S) -> None:
        command = [sys.executable, "-X", "dev", "-m", "fastlegacy", "mount", *words, str(self.top)]
        with open(self.log, "w") as log:
            command += ["--read-timeout", str(limit_s)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """The source does not answer, and what the kernel has read ahead of it is forgotten."""
        with open(self.source, "rb") as file:
            self.server.send_signal(signal.SIGSTOP)
            try:
                os.waitid(os.P_PID, self.server.pid, os.WSTOPPED)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                yield
            finally:
                self.server.send_signal(signal.SIGCONT)

    def end(self) -> str:
        assert self.process
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(100) == 0
        return self.log.read_text()

    def silent_lines(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "does not answer" in line]


@pytest.fixture
def below(serve: Callable[..., Any], tmp_path: Path) -> tuple[Path, subprocess.Popen[str]]:
    """A folder on a file system whose server can be stopped, with scan.h5 in it."""
    started = serve(folder=tmp_path / "below")
    write_stack(tmp_path / "made.h5", FRAMES, filters="bslz4")
    (tmp_path / "below" / "scan.h5").write_bytes((tmp_path / "made.h5").read_bytes())
    return tmp_path / "below", started.process


@pytest.fixture
def mounts(below: tuple[Path, subprocess.Popen[str]], tmp_path: Path, wait: Callable[..., bool]) -> Iterator[Mounts]:
    """The mount of its frames is to be made."""
    made = Mounts(tmp_path, *below, wait)
    yield made
    made.server.send_signal(signal.SIGCONT)
    if made.process is not None and made.process.poll() is None:
        made.process.send_signal(signal.SIGINT)
        made.process.wait(100)


@pytest.fixture
def frames(mounts: Mounts, below: tuple[Path, subprocess.Popen[str]], wait: Callable[..., bool]) -> Mounts:
    """The frames of scan.h5 are in ``top``."""
    # what is read ahead would be there before the source is silent
    mounts.mount(str(below[0] / "scan.h5"), "/entry/data/data", "--format", "flat", "--prefetch", "0")
    assert wait(lambda: is_mount_point(mounts.top) and len(os.listdir(mounts.top)) >= len(FRAMES), 100)
    assert shows(mounts, 0)  # HDF5 has told where all chunks are
    return mounts


def outcome(path: Path) -> bytes | str:
    """The pixels of a file, or the name of the error."""
    try:
        return path.read_bytes()[-FRAMES[0].nbytes :]
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def name(mounts: Mounts, frame: int) -> Path:
    return mounts.top / f"data{frame + 1:04}.raw"


def shows(mounts: Mounts, frame: int) -> bool:
    """Tell whether the pixels of a frame are there, or soon: on a busy machine the limit may be over for any read."""
    return mounts.wait(lambda: outcome(name(mounts, frame)) == FRAMES[frame].tobytes())


def test_a_read_ends_in_an_error_and_all_else_goes_on(frames: Mounts, wait: Callable[..., bool]) -> None:
    assert shows(frames, 0)
    found: dict[int, bytes | str] = {}
    with frames.silence():
        threads = [
            threading.Thread(target=lambda i=i: found.update({i: outcome(name(frames, i))})) for i in range(12, 28)
        ]
        for thread in threads:
            thread.start()
        (frames.top / "notes.txt").write_text("saved meanwhile")
        assert (frames.top / "notes.txt").read_text() == "saved meanwhile"
        assert outcome(name(frames, 0)) == FRAMES[0].tobytes()
        for thread in threads:
            thread.join(100)
        assert set(found.values()) == {"EIO"}
        # those that come later do not wait any more, and take no more threads
        busy = len(os.listdir(f"/proc/{frames.process.pid}/task"))  # type: ignore[union-attr]
        seconds = []
        for i in range(12, 32):
            start = time.monotonic()
            assert outcome(name(frames, i)) == "EIO"
            seconds.append(time.monotonic() - start)
        assert min(seconds) < LIMIT_S
        assert len(os.listdir(f"/proc/{frames.process.pid}/task")) <= busy + 10  # type: ignore[union-attr]
    assert all(shows(frames, i) for i in range(len(FRAMES)))
    frames.end()
    assert len(frames.silent_lines()) == 1
    assert "scan.h5" in frames.silent_lines()[0]


def test_an_encoded_frame_whose_size_is_asked_for(
    mounts: Mounts, below: tuple[Path, subprocess.Popen[str]], wait: Callable[..., bool]
) -> None:
    mounts.mount(str(below[0] / "scan.h5"), "/entry/data/data", "--format", "flat,cbf", "--prefetch", "0")
    folder = mounts.top / "cbf"
    assert wait(lambda: is_mount_point(mounts.top) and len(os.listdir(folder)) >= len(FRAMES), 100)
    last = folder / "data0032.cbf"
    # HDF5 has told where all chunks are, and no size was measured
    assert wait(lambda: outcome(mounts.top / "flat" / "data0001.raw") == FRAMES[0].tobytes())
    with mounts.silence():
        with pytest.raises(OSError, match="Input/output error"):
            os.stat(last)
        assert len(os.listdir(folder)) >= len(FRAMES)
    assert wait(lambda: outcome(last) != "EIO")
    assert os.stat(last).st_size == len(last.read_bytes())


def test_a_stack_that_nobody_has_opened_yet(
    mounts: Mounts, below: tuple[Path, subprocess.Popen[str]], tmp_path: Path, wait: Callable[..., bool]
) -> None:
    write_stack(tmp_path / "other.h5", OTHER, filters="bslz4")
    # while one source hangs, whatever takes longer than the limit is given up: to open the other takes its time too
    mounts.mount(str(below[0] / "scan.h5"), str(tmp_path / "other.h5"), "--format", "flat", limit_s=4)
    assert wait(lambda: is_mount_point(mounts.top) and set(os.listdir(mounts.top)) >= {"scan", "other"}, 100)
    with mounts.silence():
        with pytest.raises(OSError, match="Input/output error"):
            os.listdir(mounts.top / "scan" / "flat")
        path = mounts.top / "other" / "flat" / "other_0001.raw"
        assert wait(lambda: str(outcome(path)) != "EIO")
        assert path.read_bytes().endswith(OTHER[0].tobytes())
        assert wait(lambda: "does not answer" in (mounts.top / ".fastlegacy" / "log").read_text())
    last = mounts.top / "scan" / "flat" / "scan_0032.raw"
    assert wait(lambda: outcome(last) == FRAMES[31].tobytes(), 100)
    assert len(os.listdir(last.parent)) >= len(FRAMES)
    mounts.end()


def test_without_a_time_limit_a_read_waits_until_the_source_answers(
    mounts: Mounts, below: tuple[Path, subprocess.Popen[str]], wait: Callable[..., bool]
) -> None:
    mounts.mount(str(below[0] / "scan.h5"), "/entry/data/data", "--format", "flat", "--prefetch", "0", limit_s=0)
    assert wait(lambda: is_mount_point(mounts.top) and len(os.listdir(mounts.top)) >= len(FRAMES), 100)
    assert outcome(name(mounts, 0)) == FRAMES[0].tobytes()
    found: list[bytes | str] = []
    thread = threading.Thread(target=lambda: found.append(outcome(name(mounts, 20))))
    with mounts.silence():
        thread.start()
        thread.join(3 * LIMIT_S)
        assert thread.is_alive()
    thread.join(100)
    assert found == [FRAMES[20].tobytes()]
    mounts.end()
    assert mounts.silent_lines() == []


def test_the_mount_ends_while_reads_hang(frames: Mounts, wait: Callable[..., bool]) -> None:
    with frames.silence():
        assert outcome(name(frames, 20)) == "EIO"
        thread = threading.Thread(target=outcome, args=(name(frames, 30),))
        thread.start()
        assert frames.process
        frames.process.send_signal(signal.SIGINT)
        assert wait(lambda: not is_mount_point(frames.top), 100)
        thread.join(100)
        assert not thread.is_alive()
        assert wait(lambda: "still wait for a source" in frames.log.read_text(), 100)
    assert frames.process.wait(100) == 0


def test_a_time_limit_that_is_none(mounts: Mounts, below: tuple[Path, subprocess.Popen[str]], tmp_path: Path) -> None:
    words = ["mount", str(below[0] / "scan.h5"), "/entry/data/data", str(tmp_path / "top"), "--read-timeout", "-1"]
    done = subprocess.run([sys.executable, "-m", "fastlegacy", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no time limit: -1" in done.stderr
