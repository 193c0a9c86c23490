# SPDX-License-Identifier: MIT
"""systemd is told that a mount is ready, as sd_notify(3) does it."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from fastlegacy.faces.mount.service import tell_ready
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.mounts import mount_command


@pytest.mark.parametrize("abstract", [False, True])
def test_who_listens_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"fastlegacy-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        tell_ready()
        assert manager.recv(100, socket.MSG_DONTWAIT) == b"READY=1"


@pytest.mark.parametrize("address", ["", "nonsense", "/nonexistent/socket", "@nobody-listens-here"])
def test_where_nobody_listens_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell_ready()


@pytest.mark.fuse
def test_a_mount_in_the_foreground_says_when_it_answers(fuse: None, tmp_path: Path) -> None:
    url = bliss_scan(tmp_path, detector_frames(3, (20, 30), "u2"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(100)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        command = [*mount_command(url, tmp_path / "work", "--format", "flat"), "-q"]
        server = subprocess.Popen(command, env=environment)
        try:
            assert manager.recv(100) == b"READY=1"
            assert (tmp_path / "work" / "data0001.raw").exists()
        finally:
            server.terminate()
            assert server.wait(100) == 0
