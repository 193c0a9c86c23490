# SPDX-License-Identifier: MIT
"""What a command is, and small things that several commands need."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastlegacy.errors import UrlError

__all__ = ["Command", "add_json_option", "not_for_windows", "print_json", "print_table"]


@dataclass(frozen=True, slots=True)
class Command:
    """A sub-command.

    Attributes
    ----------
    name, summary : str
        The word on the command line, and one line for the help.
    configure : callable
        Adds the arguments to a parser.
    run : callable
        Does it and returns the exit code; errors of fastlegacy may pass.
    """

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def not_for_windows(what: str, *, hint: str = "a mount is ended there by Ctrl-C in its own window") -> None:
    """Raise UrlError on Windows, where nobody can talk to a mount."""
    if sys.platform == "win32":
        raise UrlError(f"{what} is not for Windows", hint=hint)


def print_json(value: object) -> None:
    """Print a value as JSON to standard output."""
    json.dump(value, sys.stdout, indent=2, default=_as_plain)
    sys.stdout.write("\n")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns aligned; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _as_plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
