# SPDX-License-Identifier: MIT
"""``fastlegacy doctor``: what this machine has of what fastlegacy needs, and how to mend what is missing."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from fastlegacy.faces.cli.checks import Check, checks
from fastlegacy.faces.cli.command import Command, add_json_option, print_json, print_table

__all__ = ["COMMAND"]


def _run(args: argparse.Namespace) -> int:
    found = list(checks())
    if args.json:
        print_json([asdict(check) for check in found])
    else:
        print_table([(_mark(check), check.name, check.found) for check in found])
        for check in found:
            if not check.ok:
                purpose = {"all": "needed", "mount": "needed to mount"}.get(check.needed, "good to have")
                print(f"\n{check.name}: {check.found} ({purpose}). What helps:\n  {check.fix}")
    return 1 if any(check.needed and not check.ok for check in found) else 0


def _mark(check: Check) -> str:
    if check.ok:
        return "ok"
    return "MISSING" if check.needed else "look at"


COMMAND = Command("doctor", "say what this machine has of what is needed, and what to do", add_json_option, _run)
