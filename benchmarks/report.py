# SPDX-License-Identifier: MIT
"""Prints pytest-benchmark's JSON as a table: in each group, how many times as fast fastlegacy is as each rival.

    python benchmarks/report.py build/benchmarks.json

Where a group has no "fastlegacy", but a "decode only", the table says how many times as long the others take.

Best of several rounds: whatever else the machine does only ever adds to a time.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

_OURS = "fastlegacy"
_YARDSTICK = "decode only"


def report(results: dict[str, Any]) -> str:
    """Text of the table.

    Parameters
    ----------
    results : dict
        What ``pytest --benchmark-json`` writes.
    """
    groups: dict[str, dict[str, tuple[float, int]]] = defaultdict(dict)
    for benchmark in results["benchmarks"]:
        extra = benchmark["extra_info"]
        groups[benchmark["group"]][extra["who"]] = (benchmark["stats"]["min"], extra["bytes"])
    cpu = results.get("machine_info", {}).get("cpu", {})
    lines = [f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} cores; best round of each", ""]
    lines.append(f"{'':<32}{'':<26}{'ms':>10}{'MB/s':>10}  fastlegacy is")
    for group, members in groups.items():
        lines += _rows(group, members)
    return "\n".join(lines)


def _rows(group: str, members: dict[str, tuple[float, int]]) -> list[str]:
    first = next((who for who in (_OURS, _YARDSTICK) if who in members), None)
    rows: list[str] = []
    for who, (seconds, size) in sorted(members.items(), key=lambda item: (item[0] != first, item[1])):
        ratio = "" if first is None or who == first else _ratio(first, seconds / members[first][0])
        label = "" if rows else group
        rate = f"{size / seconds / 1e6:.0f}" if size else ""
        rows.append(f"{label:<32}{who:<26}{seconds * 1e3:>10.1f}{rate:>10}  {ratio}".rstrip())
    return rows


def _ratio(first: str, times: float) -> str:
    if first != _OURS:
        return f"({times:.2f} times as long as {first})"
    return f"{times:.1f} times as fast" if times >= 2 else f"{times:.2f} times as fast"


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
