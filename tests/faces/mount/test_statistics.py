# SPDX-License-Identifier: MIT
"""What was served: counted by many threads, put together, printed."""

from __future__ import annotations

import threading

import pytest

from fastlegacy import _serve
from fastlegacy.faces.mount.statistics import Counters, report, summary


def test_many_threads_count() -> None:
    counters = Counters()

    def add() -> None:
        for _ in range(1000):
            counters.add("getattr", 2_000_000)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.operations() == {"getattr": {"calls": 4000, "seconds": pytest.approx(8.0)}}


def test_summary_and_report() -> None:
    counters = Counters()
    counters.add("getattr", 1_000_000_000)
    native = _serve.Handles().statistics() | {
        "reads": 3,
        "read_bytes": 5_000_000,
        "read_seconds": 2.0,
        "real_reads": 1,
        "real_read_bytes": 1_000_000,
        "flushes": 4,
        "errors": 1,
    }
    found = summary(counters, native, 12.5)
    assert list(found["operations"]) == ["read", "getattr", "flush"]
    read = found["operations"]["read"]
    assert (read["calls"], read["bytes"], read["megabytes_per_second"]) == (4, 6_000_000, 3.0)
    lines = report(found).split("\n")
    assert lines[1].split() == ["read", "4", "2.0000", "500000.0", "6.00", "3"]
    assert lines[-1] == "served for 12.5 s, 1 read failed"
    assert report(found | {"prefetched": 7}).endswith("12.5 s, 7 frames decoded ahead, 1 read failed")


def test_a_mount_that_nobody_used() -> None:
    found = summary(Counters(), _serve.Handles().statistics(), 1.0)
    assert found == {"seconds": 1.0, "errors": 0, "prefetched": 0, "operations": {}}
    assert "0 reads failed" in report(found)
