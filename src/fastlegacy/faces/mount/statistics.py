# SPDX-License-Identifier: MIT
"""What a mount has served: calls, seconds and bytes of each operation, and a table of them for people."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

__all__ = ["Counters", "report", "summary"]


class Counters:
    """Calls and seconds of each operation that Python serves; many threads add to them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, int] = {}
        self._nanoseconds: dict[str, int] = {}

    def add(self, operation: str, nanoseconds: int) -> None:
        """Count one call."""
        with self._lock:
            self._calls[operation] = self._calls.get(operation, 0) + 1
            self._nanoseconds[operation] = self._nanoseconds.get(operation, 0) + nanoseconds

    def operations(self) -> dict[str, dict[str, int | float]]:
        """Return ``{operation: {"calls": ..., "seconds": ...}}``."""
        with self._lock:
            return {
                name: {"calls": calls, "seconds": self._nanoseconds[name] * 1e-9} for name, calls in self._calls.items()
            }


def summary(counters: Counters, native: Mapping[str, int | float], served_s: float) -> dict[str, Any]:
    """Put together what Python and what the native functions have counted.

    Parameters
    ----------
    counters : Counters
        Of the operations in Python.
    native : mapping of str to number
        What ``Handles.statistics()`` returns.
    served_s : float
        How long the mount was there, seconds.

    Returns
    -------
    dict
        ``seconds``; ``errors``, the reads that failed; ``prefetched``, the frames of which something was decoded before
        anybody asked; and ``operations``, the longest first: for each of them
        ``calls`` and ``seconds``, and where bytes are moved also ``bytes`` and ``megabytes_per_second`` (10**6 bytes
        by the seconds spent in the calls). Of ``getattr`` and ``open`` also ``python_calls``, those that C could not
        answer.
    """
    reads, read_bytes = native["reads"] + native["real_reads"], native["read_bytes"] + native["real_read_bytes"]
    operations = counters.operations()
    told = operations.pop("getattr", {"calls": 0, "seconds": 0.0})
    operations |= {
        "getattr": {
            "calls": told["calls"] + native["attributes"],
            "seconds": told["seconds"] + native["attributes_seconds"],
            "python_calls": told["calls"],
        },
        "read": _with_bytes(reads, native["read_seconds"], read_bytes),
        "write": _with_bytes(native["writes"], native["write_seconds"], native["write_bytes"]),
        "flush": {"calls": native["flushes"], "seconds": 0.0},
        "release": {"calls": native["releases"], "seconds": 0.0},
    }
    if native["native_opens"]:
        opened = operations.get("open", {"calls": 0, "seconds": 0.0})
        operations["open"] = {
            "calls": opened["calls"] + native["native_opens"],
            "seconds": opened["seconds"] + native["native_opens_seconds"],
            "python_calls": opened["calls"],
        }
    used = [item for item in operations.items() if item[1]["calls"]]
    by_time = dict(sorted(used, key=lambda item: -item[1]["seconds"]))
    return {
        "seconds": served_s,
        "errors": int(native["errors"]),
        "prefetched": int(native["prefetched"]),
        "operations": by_time,
    }


def _with_bytes(calls: int | float, seconds: float, size: int | float) -> dict[str, int | float]:
    rate = size * 1e-6 / seconds if seconds else 0.0
    return {"calls": calls, "seconds": seconds, "bytes": size, "megabytes_per_second": rate}


def report(statistics: Mapping[str, Any]) -> str:
    """Return the table that is printed when a mount ends: one line for each operation, the longest first."""
    lines = [f"{'operation':<12}{'calls':>10}{'seconds':>11}{'us/call':>10}{'MB':>11}{'MB/s':>9}"]
    for name, row in statistics["operations"].items():
        line = f"{name:<12}{row['calls']:>10}{row['seconds']:>11.4f}{row['seconds'] * 1e6 / row['calls']:>10.1f}"
        if "bytes" in row:
            line += f"{row['bytes'] * 1e-6:>11.2f}{row['megabytes_per_second']:>9.0f}"
        lines.append(line)
    errors = statistics["errors"]
    ahead = f", {statistics['prefetched']} frames decoded ahead" if statistics.get("prefetched") else ""
    lines.append(f"served for {statistics['seconds']:.1f} s{ahead}, {errors} read{'' if errors == 1 else 's'} failed")
    return "\n".join(lines)
