# SPDX-License-Identifier: MIT
"""Mounts in the background: when the command returns, what stays of it, and what a pid file and a log say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import ending, mountinfo
from fastlegacy.faces.mount.ask import ask
from fastlegacy.faces.mount.background import Files
from fastlegacy.faces.mount.logbook import log_file_of, name_of
from fastlegacy.faces.mount.places import is_alive
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.mounts import mount_command

Wait = Callable[..., bool]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (info|warning|error): .+")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> str:
    return bliss_scan(tmp_path_factory.mktemp("scan"), detector_frames(3, (20, 30), "u2"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logs are by default; sockets and pid files are beside them."""
    state = tmp_path_factory.mktemp("state")
    (state / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("FASTLEGACY_RUN", str(state / "run"))
    return state


@pytest.fixture
def run(fuse: None, scan: str, folder: Path, state: Path) -> Iterator[Run]:
    """Return what starts a mount in the background: ``run(*options, url=..., folder=...)``."""
    used = [folder]

    def start(*options: str, url: str = scan, folder: Path = folder) -> subprocess.CompletedProcess[str]:
        used.append(folder)
        command = [*mount_command(url, folder, "--format", "flat"), "--background", *options]
        # all output is read to its end: who keeps the pipes open would be waited for, as ssh does
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    yield start
    for each in used:
        while mountinfo.find(os.path.realpath(each)):
            ending.umount(each, lazy=True)


def pid_of(folder: Path) -> int:
    return int(ask(folder, "ping")["pid"])


@pytest.mark.fuse
def test_it_returns_when_the_mount_answers(run: Run, folder: Path, state: Path, wait: Wait) -> None:
    done = run()
    assert (done.returncode, done.stdout) == (0, "")
    assert f"are in {folder}; fastlegacy umount {folder} ends it" in done.stderr
    assert (folder / "data0001.raw").exists()
    pid = pid_of(folder)
    noted = state / "run" / f"{name_of(str(folder))}.pid"
    assert noted.read_text() == f"{pid}\n"
    assert os.getsid(pid) not in (pid, os.getsid(0)), "a session of its own, which it does not lead"
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == [
        "/dev/null",
        *2 * [str(log_file_of(str(folder)))],
    ]
    ending.umount(folder, timeout_s=100)
    assert wait(lambda: not is_alive(pid))
    assert not noted.exists()


@pytest.mark.fuse
def test_the_end_of_who_started_it_does_not_end_it(run: Run, folder: Path, scan: str, wait: Wait) -> None:
    command = [*mount_command(scan, folder, "--format", "flat"), "--background", "-q"]
    script = f"import subprocess, os, signal; subprocess.run({command!r}, check=True); os.killpg(0, signal.SIGHUP)"
    shell = subprocess.run([sys.executable, "-c", script], start_new_session=True, timeout=60, check=False)
    assert shell.returncode == -signal.SIGHUP
    assert (folder / "data0001.raw").exists()
    ending.umount(folder, timeout_s=100)


@pytest.mark.fuse
def test_the_log_is_for_people(run: Run, folder: Path, tmp_path: Path, wait: Wait) -> None:
    log, noted = tmp_path / "mount.log", tmp_path / "mount.pid"
    assert run("--log-file", str(log), "--pid-file", str(noted)).returncode == 0
    pid = pid_of(folder)
    assert noted.read_text() == f"{pid}\n"
    (folder / "data0001.raw").read_bytes()
    os.kill(pid, signal.SIGTERM)
    assert wait(lambda: not is_alive(pid))
    lines = log.read_text().splitlines()
    assert all(map(_LINE.fullmatch, lines))
    sentences = [line.split(": ", 1)[1] for line in lines]
    assert sentences[0] == f"process {pid} begins to make the mount on {folder}"
    assert "the mount is ready" in sentences
    assert any(re.fullmatch("served: 1 file opened, .* read, 0 reads failed", sentence) for sentence in sentences)
    assert sentences[-1] == f"the mount on {folder} has ended"
    assert not noted.exists()


@pytest.mark.fuse
def test_log_and_pid_file_may_lie_in_the_folder(run: Run, folder: Path, wait: Wait) -> None:
    folder.mkdir()
    assert run("--log-file", str(folder / "log"), "--pid-file", str(folder / "pid")).returncode == 0
    pid = pid_of(folder)
    assert (folder / "pid").read_text() == f"{pid}\n"
    ending.umount(folder, timeout_s=100)
    assert wait(lambda: not is_alive(pid))
    assert os.listdir(folder) == ["log"]
    assert "has ended" in (folder / "log").read_text()


@pytest.mark.fuse
@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--format", "nothing"), 2, "nothing"),
        (("-o", "no_such_option"), 1, "unknown option"),
        (("--log-file", "/nonexistent/log"), 1, "the log cannot be written"),
        (("--pid-file", "/nonexistent/pid"), 1, "the pid file cannot be written"),
    ],
)
def test_what_is_wrong_is_said_before_it_returns(
    run: Run, folder: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    done = run(*options)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.startswith("fastlegacy")
    assert len(done.stderr.splitlines()) == 1
    assert not folder.exists()


@pytest.mark.fuse
def test_a_missing_file_is_said_before_it_returns(run: Run, folder: Path) -> None:
    done = run(url="/nonexistent/scan.h5::/data")
    assert done.returncode == 1
    assert "/nonexistent/scan.h5" in done.stderr
    assert not folder.exists()


@pytest.mark.fuse
def test_a_second_one_on_the_same_folder_is_refused(run: Run, folder: Path) -> None:
    assert run().returncode == 0
    for options in ((), ("--pid-file", str(folder.parent / "other.pid"))):
        done = run(*options)
        assert done.returncode == 1
        assert f"fastlegacy umount {folder}" in done.stderr
    assert (folder / "data0001.raw").exists()


@pytest.mark.fuse
def test_the_pid_file_of_a_killed_server_is_replaced(run: Run, folder: Path, state: Path, wait: Wait) -> None:
    assert run().returncode == 0
    killed = pid_of(folder)
    os.kill(killed, signal.SIGKILL)
    assert wait(lambda: not is_alive(killed))
    done = run()
    assert done.returncode == 0, done.stderr
    assert pid_of(folder) != killed
    assert (state / "run" / f"{name_of(str(folder))}.pid").read_text() == f"{pid_of(folder)}\n"


def test_a_server_that_is_killed_before_it_is_ready_is_an_error(
    folder: Path, state: Path, tmp_path: Path, scan: str
) -> None:
    program = """
import os, signal, sys
from fastlegacy.faces.mount.background import Files, in_background
in_background(lambda ready: os.kill(os.getpid(), signal.SIGKILL), Files(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert "the server was ended before the mount answered" in done.stderr


def test_an_internal_error_is_one_line(folder: Path, state: Path) -> None:
    program = """
import logging, sys
from fastlegacy.faces.mount.background import Files, in_background
logging.basicConfig(level=logging.WARNING, format="%(message)s")
sys.exit(in_background(lambda ready: 1 / 0, Files(sys.argv[1])))
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "internal error: ZeroDivisionError: division by zero\n"


def test_pid_and_log_files_need_the_background(scan: str, folder: Path) -> None:
    command = mount_command(scan, folder, "--pid-file", "x")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--background" in done.stderr


# ------------------------------------------------------------------------------------ names


def test_names_of_files_tell_of_the_folder() -> None:
    assert name_of("/data/visitor/my work") == "data_visitor_my work"
    assert name_of("/") == "root"
    assert len(os.fsencode(name_of("/a" * 1000 + "/ä" * 1000))) <= 200


def test_where_the_log_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert log_file_of("/data") == tmp_path / ".local/state/fastlegacy/data.log"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert log_file_of("/data") == tmp_path / ".local/state/fastlegacy/data.log"


def test_a_home_that_cannot_be_written_to_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(MountError, match="--log-file says where"):
        Files("/data")


@pytest.mark.parametrize("text", ["", "no number", "1 2", "4194305"])
def test_a_pid_file_of_nobody_is_replaced(state: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    with Files("/data", pid=str(tmp_path / "pid")).noted_pid():
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / "pid").exists()
