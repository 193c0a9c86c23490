# SPDX-License-Identifier: MIT
"""Prints pytest-benchmark's JSON as a table: in each group, how many times as fast fastlegacy is as each rival.

    python benchmarks/report.py build/benchmarks.json

Best of several rounds: whatever else the machine does only ever adds to a time.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

_OURS = "fastlegacy"


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
    lines.append(f"{'':<32}{'':<22}{'ms':>10}{'MB/s':>10}  fastlegacy is")
    for group, members in groups.items():
        lines += _rows(group, members)
    return "\n".join(lines)


def _rows(group: str, members: dict[str, tuple[float, int]]) -> list[str]:
    ours = members[_OURS][0] if _OURS in members else None
    rows: list[str] = []
    for who, (seconds, size) in sorted(members.items(), key=lambda item: (item[0] != _OURS, item[1])):
        ratio = "" if who == _OURS or ours is None else f"{seconds / ours:.1f} times as fast"
        label = "" if rows else group
        rate = f"{size / seconds / 1e6:.0f}" if size else ""
        rows.append(f"{label:<32}{who:<22}{seconds * 1e3:>10.1f}{rate:>10}  {ratio}".rstrip())
    return rows


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
