# SPDX-License-Identifier: MIT
"""``fastlegacy set``: changes the headers of a running mount, or says what they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.command import Command, add_json_option, not_for_windows, print_json, print_table

__all__ = ["COMMAND"]

_COLUMNS = ("folder", "name", "value", "origin")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="folder of a mount, or one below it: its headers only")
    parser.add_argument(
        "values",
        metavar="NAME=VALUE",
        nargs="*",
        help="names as the options of mount, such as distance=141mm beam=1024.5,1022; NAME= takes a value back; "
        "without any, the present values are printed",
    )
    add_json_option(parser)


def _run(args: argparse.Namespace) -> int:
    not_for_windows("fastlegacy set", hint="write the values into fastlegacy.toml beside the data")
    from fastlegacy.faces.mount.ask import ask

    values = _parsed(args.values)
    if values:
        changes = ask(args.folder, "set", values=values)
        if args.json:
            print_json({"changes": changes})
        else:
            print("\n".join(changes or ["nothing was to be changed"]))
        return 0
    rows = ask(args.folder, "headers")
    if args.json:
        print_json([dict(zip(_COLUMNS, row, strict=True)) for row in rows])
    elif rows:
        print_table([[path or ".", *rest] for path, *rest in rows])
    else:
        print("no header of this folder has a value")
    return 0


def _parsed(words: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UrlError(f"{word!r} is not understood", hint="write NAME=VALUE, such as distance=141mm")
        if name in values:
            raise UrlError(f"{name} is there twice", hint="give it once")
        values[name] = text.strip()
    return values


COMMAND = Command("set", "change headers of a running mount at once, or print them", _configure, _run)
