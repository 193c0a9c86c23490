# SPDX-License-Identifier: MIT
"""Collections that follow scans which are being written: when frames come, when scans end, and what headers do."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from fastlegacy.errors import SourceError
from fastlegacy.faces import stand as module
from fastlegacy.faces.collection import Collection
from fastlegacy.index.template import Template
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.live import LiveScan

FRAMES = np.random.default_rng(6).poisson(3, (6, 12, 16)).astype("<u2")
MINUTE_S = 60

Start = Callable[..., Collection]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock by which it is told how long nobody has written: `ahead_s` seconds before the real one."""
    made = SimpleNamespace(ahead_s=0.0)
    now = SimpleNamespace(time_ns=lambda: time.time_ns() + int(made.ahead_s * 1e9))
    monkeypatch.setattr(module, "time", now)
    return made


def motor(found: Collection, path: str, name: str) -> str | None:
    """Position of a motor by the header of an EDF file."""
    text = found.root[path].read().decode("latin-1")
    names, values = (re.search(rf"^motor_{what} = (.*?) ;", text, re.MULTILINE) for what in ("mne", "pos"))
    if names is None or values is None:
        return None
    return dict(zip(names[1].split(), values[1].split(), strict=True)).get(name)


# ------------------------------------------------------------------------------------------------- headers


def test_headers_that_become_known_later_are_new_headers(tmp_path: Path, collect: Start) -> None:
    file = bliss_dataset(tmp_path / "raw", {"1.1": FRAMES}, running=["1.1"])
    found = collect(tmp_path / "raw", follow=True, companions=())
    path = next(iter(found.root))
    assert motor(found, path, "phi") is None
    version, mtime_ns = found.version, found.root[path].mtime_ns
    with h5py.File(file, "r+", locking=False) as master:
        master["1.1/instrument/positioners/phi"] = 12.5
        master["1.1/instrument/positioners_start/phi"] = 12.5
    found.poll()
    assert motor(found, path, "phi") == "12.5"
    assert found.version > version  # so that nobody goes on with what the kernel has kept
    assert found.root[path].mtime_ns > mtime_ns


def test_frames_that_come_are_no_new_headers(tmp_path: Path, collect: Start) -> None:
    with LiveScan(tmp_path / "raw", FRAMES, "plain") as scan:
        scan.write(2)
        found = collect(tmp_path / "raw", follow=True, companions=())
        paths = sorted(found.root)
        assert len(paths) == 2
        version, mtime_ns = found.version, found.root[paths[0]].mtime_ns
        scan.write(2)
        found.poll()
        assert len(found.root) == 4
        assert (found.version, found.root[paths[0]].mtime_ns) == (version, mtime_ns)


# ------------------------------------------------------------------------------------------------- the end of a scan


@pytest.mark.parametrize(("convention", "at_once"), [("contiguous", 0), ("plain", 4)])
def test_a_pause_is_no_end_and_ten_quiet_minutes_are(
    tmp_path: Path, collect: Start, clock: SimpleNamespace, convention: str, at_once: int
) -> None:
    """Of datasets without chunks, and of the last chunk of several frames, it cannot be told what is written."""
    with LiveScan(tmp_path / "raw", FRAMES, convention, chunk=4) as scan:
        scan.write(6)
        found = collect(tmp_path / "raw", follow=True, companions=())
        for ahead_s in (0, 35, 5 * MINUTE_S):  # the clock goes on, and the machine may be busy
            clock.ahead_s = ahead_s
            found.poll()
            assert len(found.root) == at_once, ahead_s
        clock.ahead_s = 10.5 * MINUTE_S
        found.poll()
        assert len(found.root) == 6


@pytest.mark.parametrize("format", ["edf", "npy-stack"])
def test_an_end_that_is_found_when_a_look_fails_is_found_by_the_next(
    tmp_path: Path, collect: Start, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    with LiveScan(tmp_path / "raw", FRAMES, "bliss", each=6) as scan:
        scan.write(6)
        found = collect(tmp_path / "raw", follow=True, format=format, companions=())
        len(found.root)  # somebody has looked: it is open
        (stand,) = found.stands
        assert stand.is_live
        scan.finish()

        def fails(*_arguments: Any, **_options: Any) -> Any:
            raise SourceError("cannot be read just now", file=scan.url)

        with monkeypatch.context() as patch:
            patch.setattr(module, "open_claim", fails)
            found.poll()
        found.poll()
        (stand,) = found.stands
        assert not stand.is_live
        assert len(found.root) == (6 if format == "edf" else 1)


# ------------------------------------------------------------------------------------------------- names


def test_a_template_that_stops_being_unique_is_one_warning_and_the_first_stays(
    tmp_path: Path, collect: Start, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    write_stack(folder / "a.h5", FRAMES)
    os.utime(folder / "a.h5", (1_700_000_000, 1_700_000_000))  # its writer has ended long ago
    found = collect(folder, follow=True, companions=(), template=Template("img_####"))
    before = {path: found.root[path].read() for path in found.root}
    assert len(before) == len(FRAMES)
    write_stack(folder / "b.h5", FRAMES + 1)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            os.utime(folder / "b.h5", (number, number))  # there is something new to look at each time
            found.poll()
    (message,) = caplog.messages
    assert "what is new is not shown" in message
    assert {path: found.root[path].read() for path in found.root} == before
