# SPDX-License-Identifier: MIT
"""Entry point of ``fastlegacy``: finds the commands, parses the words, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from fastlegacy.errors import FastlegacyError, UrlError
from fastlegacy.faces.cli.command import Command
from fastlegacy.registry import plugins

__all__ = ["build_parser", "main"]

_NEGATIVE = re.compile(r"-\.?[0-9]")
_DESCRIPTION = "Compressed HDF5 detector data as the files that legacy programs read, without a copy."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return 0 (done), 1 (failed), 2 (bad arguments) or 130 (Ctrl-C).

    Parameters
    ----------
    argv : sequence of str, optional
        The words after the program's name; those of the process by default.
    """
    parser = build_parser()
    try:
        args = parser.parse_args(_joined_negatives(sys.argv[1:] if argv is None else argv))
    except SystemExit as stop:  # argparse has printed already what is wrong, or the help
        return int(stop.code or 0)
    _start_logging(args.verbose - args.quiet)
    try:
        code = int(args.execute(args))
        sys.stdout.flush()  # a reader that has gone shows here, not when Python ends
    except (FastlegacyError, BrokenPipeError, KeyboardInterrupt) as error:
        if args.debug:
            raise
        return _exit_code(error)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands that the registry finds."""
    parser = _OneLineParser(prog="fastlegacy", description=_DESCRIPTION)
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="print the version and exit")
    _add_common_options(parser, defaults=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for command in _commands():
        sub = commands.add_parser(command.name, help=command.summary, description=command.summary)
        command.configure(sub)
        _add_common_options(sub, defaults=False)
        sub.set_defaults(execute=command.run)  # "run" is the name of an option
    return parser


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


class _Parser(_OneLineParser):
    """A parser that lets options stand between positional arguments, of which some are optional."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_parsing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; the sub-command's parser is called through this method only."""
        if self._is_parsing:
            return super().parse_known_args(args, namespace)
        self._is_parsing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_parsing = False


class _Version(argparse.Action):
    """Prints the version; looks it up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            text = version("fastlegacy")
        except PackageNotFoundError:
            text = "(not installed, run from its source)"
        print(f"fastlegacy {text}")
        parser.exit()


def _commands() -> list[Command]:
    return list(plugins("fastlegacy.faces.cli", "COMMAND").values())


def _add_common_options(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    # the same options before and after the command's name: only the first parser may set defaults
    zero, false = (0, False) if defaults else (argparse.SUPPRESS, argparse.SUPPRESS)
    group = parser.add_argument_group("messages")
    group.add_argument("-v", "--verbose", action="count", default=zero, help="say more (twice: say all)")
    group.add_argument("-q", "--quiet", action="count", default=zero, help="say only what went wrong")
    group.add_argument("--debug", action="store_true", default=false, help="show the traceback of an error")


def _joined_negatives(words: Sequence[str]) -> list[str]:
    """Join ``--startangle -90deg`` to one word: argparse takes only plain negative numbers for values."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and _NEGATIVE.match(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _start_logging(level: int) -> None:
    levels = {0: logging.WARNING, 1: logging.INFO}
    logging.basicConfig(
        level=logging.ERROR if level < 0 else levels.get(level, logging.DEBUG),
        format="fastlegacy: %(message)s",
        stream=sys.stderr,
    )


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        print("fastlegacy: stopped", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):
        # whoever read our output has gone ("| head"); Python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    print(f"fastlegacy: {' '.join(str(error).split())}", file=sys.stderr)
    return 2 if isinstance(error, UrlError) else 1
