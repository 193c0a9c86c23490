# SPDX-License-Identifier: MIT
"""An export by the workers of a Dask cluster: the same files, and a worker that is lost costs nothing."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlegacy.errors import ExportError, SourceError, UrlError
from fastlegacy.faces.cli.main import main
from fastlegacy.faces.cluster import export_by_dask
from fastlegacy.faces.export import ExportReport
from fastlegacy.faces.shard import Shard
from fastlegacy.testing.bliss import bliss_dataset

distributed = pytest.importorskip("distributed", reason="pip install fastlegacy[dask]")

# Dask's own machinery leaves sockets and loops to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

FRAMES = np.random.default_rng(6).poisson(2, (9, 16, 20)).astype("u2")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Yield a cluster of two processes."""
    options: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, processes=True, **options) as made:
        yield made


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a file of two scans; the working folder is another one."""
    bliss_dataset(tmp_path / "raw", {"1.1": FRAMES, "2.1": FRAMES})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {
        os.path.relpath(Path(path, name), folder): Path(path, name).read_bytes()
        for path, _, names in os.walk(folder)
        for name in names
    }


def test_the_same_files(cluster: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "raw", "here", "-q", "--distance", "140mm"]) == 0
    command = ["export", "raw", "there", "--distance", "140mm", "--dask", cluster.scheduler_address]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "18 files written" in shown.out
    assert "16 of 16 shards are written" in shown.err
    assert files(data / "there") == files(data / "here") != {}
    assert main(command) == 0
    assert "0 files written" in capsys.readouterr().out


def write_slowly(folder: str, shard: Shard) -> ExportReport:
    """Write one file, and wait until the test has looked."""
    path = Path(folder, f"{shard.number}.pid")
    first = not path.exists()
    path.write_text(str(os.getpid()))
    if first and shard.number == 2:
        threading.Event().wait(60)  # until it is killed
    return ExportReport(folder, 1, 0, 0, 10, 0.0)


def test_a_lost_worker_costs_only_its_shard(cluster: Any, tmp_path: Path) -> None:
    def kill() -> None:
        path = tmp_path / "2.pid"
        while not (path.exists() and path.read_text()):
            threading.Event().wait(0.02)
        os.kill(int(path.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    report = export_by_dask(cluster.scheduler_address, partial(write_slowly, str(tmp_path)), shards=4)
    killer.join()
    assert (report.written, report.written_bytes) == (4, 40)
    assert len(list(tmp_path.glob("*.pid"))) == 4


def fail_once(shard: Shard) -> ExportReport:
    """Fail in one of the shards."""
    if shard.number == 3:
        raise SourceError("is damaged", file="scan.h5")
    return ExportReport("folder", 1, 0, 0, 10, 0.0)


def test_what_fails_is_said_when_all_others_are_done(cluster: Any) -> None:
    told: list[tuple[int, int]] = []
    with pytest.raises(ExportError, match=r"1 of 4 shards .* scan.h5: is damaged"):
        export_by_dask(cluster.scheduler_address, fail_once, shards=4, told=lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_words_that_do_not_go_together(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "raw", "out", "--dask", "local", "--shard", "1/2"]) == 2
    assert "--shard" in capsys.readouterr().err


def test_no_scheduler_there(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "raw", "out", "--dask", "nonsense://here"]) == 2
    assert "dask scheduler" in capsys.readouterr().err
    with pytest.raises(UrlError):
        export_by_dask("nonsense://here", fail_once)
    gc.collect()  # Dask ends the threads of clients that never came up when they are collected
