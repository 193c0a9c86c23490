# SPDX-License-Identifier: MIT
"""``fastlegacy mounts``: what is mounted on this machine."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastlegacy.faces.cli.command import Command, add_json_option, not_for_windows, print_json, print_table

if TYPE_CHECKING:
    from fastlegacy.faces.mount.census import Found

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stats", action="store_true", help="say what each has served")
    add_json_option(parser)


def _run(args: argparse.Namespace) -> int:
    not_for_windows("fastlegacy mounts")
    from fastlegacy.faces.mount.census import census

    found = census()
    if args.json:
        print_json([each.as_plain() for each in found])
        return 0
    if not found:
        print("nothing is mounted by fastlegacy")
        return 0
    print_table([("FOLDER", "USER", "PID", "UP", "STATE", "SOURCE"), *map(_row, found)])
    for each in found:
        if args.stats and each.figures is not None:
            print(f"\n{each.folder}: {each.figures}")
        if each.advice:
            print(f"\n{each.folder}: {each.advice}")
    return 0


def _row(found: Found) -> tuple[str, ...]:
    pid = "?" if found.pid is None else str(found.pid)
    return found.folder, found.user, pid, _uptime(found.since), found.state, found.source


def _uptime(since: str | None) -> str:
    from fastlegacy.faces.mount.figures import duration

    if since is None:
        return "?"
    return duration((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())


COMMAND = Command("mounts", "list what is mounted, by whom, and what was served", _configure, _run)
