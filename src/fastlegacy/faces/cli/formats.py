# SPDX-License-Identifier: MIT
"""``fastlegacy formats``: which formats there are."""

from __future__ import annotations

import argparse

from fastlegacy.faces.cli.command import Command, add_json_option, print_json, print_table
from fastlegacy.model import Layout
from fastlegacy.registry import plugins

__all__ = ["COMMAND"]


def _run(args: argparse.Namespace) -> int:
    layouts: list[Layout] = list(plugins("fastlegacy.layouts", "LAYOUT").values())
    if args.json:
        keys = ("name", "suffix", "per_frame", "summary", "dtypes")
        print_json([{key: getattr(layout, key) for key in keys} for layout in layouts])
        return 0
    head = ("format", "suffix", "one file for", "pixels", "what it is, and who reads it")
    print_table([head, *(_row(layout) for layout in layouts)])
    return 0


def _row(layout: Layout) -> tuple[str, ...]:
    span = "each frame" if layout.per_frame else "the stack"
    return layout.name, layout.suffix, span, " ".join(layout.dtypes), layout.summary


COMMAND = Command("formats", "list the formats that --format understands", add_json_option, _run)
