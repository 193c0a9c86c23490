# SPDX-License-Identifier: MIT
"""Starts a program that mounts, waits until it has, and ends it as a user does: by ctrl-c."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["is_mount_point", "mount_command", "mounted", "reason_for_no_mount"]

_START_SECONDS = 100.0
_END_SECONDS = 100.0


def reason_for_no_mount() -> str | None:
    """Why nothing can be mounted on this machine; None if it can."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be used: {error.strerror}"
    if ctypes.util.find_library("fuse") is None:
        return "libfuse 2 is not installed"
    if os.geteuid() != 0 and shutil.which("fusermount") is None:
        return "fusermount is not installed"
    return None


def mount_command(url: str, folder: Path, *options: str) -> list[str]:
    """Command line of ``fastlegacy mount`` for a url ``file.h5::/path``, a file or a folder."""
    words = [word for word in url.partition("::")[::2] if word]
    return [sys.executable, "-m", "fastlegacy", "mount", *words, str(folder), *options]


@contextlib.contextmanager
def mounted(command: Sequence[str], folder: Path) -> Iterator[Path]:
    """Run the command while the body runs; the folder is a mount point then.

    Raises
    ------
    RuntimeError
        If nothing is mounted within 100 s, or the program does not end well; with what it has printed.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            _wait_for_mount(process, folder)
            yield folder
        finally:
            code = _end(process, folder)
            if code:
                log.seek(0)
                raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{log.read()}")


def is_mount_point(folder: Path) -> bool:
    """Ask the kernel's list, which answers even for a mount whose server is dead."""
    return bool(_devices_at(folder))


def _devices_at(folder: Path) -> list[str]:
    """Numbers of the devices that are mounted on a folder, the last one on top, as ``major:minor``."""
    escaped = str(folder).replace("\\", "\\134").replace(" ", "\\040")
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    words = (line.split(" ") for line in lines)
    return [word[2] for word in words if word[4] == escaped]


def _wait_for_mount(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"nothing was mounted on {folder}; exit code so far: {process.returncode}")
        time.sleep(0.01)


def _answers(folder: Path) -> bool:
    """Whether a server is behind a mount on the folder.

    That of one that was killed may still be in the kernel's list, and be taken away at this moment: so it is looked at
    what has answered.
    """
    devices = _devices_at(folder)
    try:
        device = os.stat(folder).st_dev
    except OSError:
        return False
    return bool(devices) and devices[-1] == f"{os.major(device)}:{os.minor(device)}"


def _end(process: subprocess.Popen[bytes], folder: Path) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        subprocess.run(["fusermount", "-uz", str(folder)], check=False)
        return process.wait() or 1
