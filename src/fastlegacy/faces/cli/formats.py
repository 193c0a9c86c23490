# SPDX-License-Identifier: MIT
"""``fastlegacy formats``: which formats there are, and all that is to be said of one."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.command import Command, add_json_option, print_json, print_table
from fastlegacy.faces.format_facts import FormatFacts, option_default, option_values
from fastlegacy.model import Layout
from fastlegacy.registry import plugins

__all__ = ["COMMAND", "markdown"]

_WIDTH = 80  # where the output is no terminal
_SIZES = {
    "fixed": "follows from the shape",
    "encoded": "depends on the pixels",
    "either": "follows from the shape; with some options it depends on the pixels",
}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="FORMAT", nargs="?", help="tell all of this one, with its options")
    add_json_option(parser)
    parser.add_argument("--markdown", action="store_true", help="print the reference that stands in docs/formats.md")


def _run(args: argparse.Namespace) -> int:
    layouts: dict[str, Layout] = plugins("fastlegacy.layouts", "LAYOUT")
    if args.name is not None:
        if args.name not in layouts:
            raise UrlError(f"there is no format {args.name!r}", hint=f"there are {', '.join(layouts)}")
        layouts = {args.name: layouts[args.name]}
    if args.json:
        print_json([_as_plain(layout) for layout in layouts.values()])
    elif args.markdown:
        print(markdown(layouts.values()), end="")
    elif args.name is not None:
        _show(layouts[args.name])
    else:
        _show_table(layouts.values())
    return 0


def _as_plain(layout: Layout) -> dict[str, Any]:
    facts = FormatFacts.of(layout)
    return {
        "name": layout.name,
        "suffix": layout.suffix,
        "per_frame": layout.per_frame,
        "summary": layout.summary,
        "readers": layout.readers,
        "dtypes": layout.dtypes,
        "encoded": layout.encoded,
        "written": facts.written,
        "masked": facts.masked,
        "beyond": facts.beyond,
        "companions": layout.companions,
        "options": {
            name: {"default": option.default, "choices": option.choices, "help": option.help}
            for name, option in layout.options.items()
        },
    }


# ---------------------------------------------------------------------------------------------------- text


def _show_table(layouts: Iterable[Layout]) -> None:
    rows = [("format", "suffix", "one file for", "size", "pixels"), *(_row(layout) for layout in layouts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    for row, layout in zip(rows, [None, *layouts], strict=True):
        print("  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)).rstrip())
        if layout is not None:
            print(textwrap.fill(_about(layout), width, initial_indent="    ", subsequent_indent="    "))


def _row(layout: Layout) -> tuple[str, ...]:
    facts = FormatFacts.of(layout)
    return layout.name, layout.suffix, facts.span, facts.size, facts.pixels


def _about(layout: Layout) -> str:
    text = f"{layout.summary}; read by {', '.join(layout.readers)}" if layout.readers else layout.summary
    return f"{text}; options: {', '.join(layout.options)}" if layout.options else text


def _show(layout: Layout) -> None:
    print(f"{layout.name}: {layout.summary}")
    print_table([(f"  {label}", text) for label, text in _labelled(layout).items()])
    if layout.options:
        print("  options")
        print_table([(f"    {name}", *cells) for name, *cells in _options(layout)])


def _labelled(layout: Layout) -> dict[str, str]:
    facts = FormatFacts.of(layout)
    texts = {
        "files": f"one for {facts.span}, {layout.suffix}",
        "read by": ", ".join(layout.readers),
        "made from pixels": facts.pixels,
        "size of a file": _SIZES[facts.size],
        "pixels in the file": facts.written,
        "masked pixels": facts.masked,
        "beyond the limits": facts.beyond,
        "companions": ", ".join(layout.companions),
    }
    return {label: text for label, text in texts.items() if text}


def _options(layout: Layout) -> list[tuple[str, str, str]]:
    return [
        (f"{name}={option_default(option)}", option_values(option), option.help)
        for name, option in layout.options.items()
    ]


# ---------------------------------------------------------------------------------------------------- markdown


def markdown(layouts: Iterable[Layout]) -> str:
    """Return the reference of formats: a table of all, the programs that read them, and a section for each format."""
    layouts = list(layouts)
    head = "| format | suffix | one file for | size | made from | what it is |\n|---|---|---|---|---|---|\n"
    rows = "".join(
        f"| [`{layout.name}`](#{layout.name}) | `{layout.suffix}` | {facts.span} | {facts.size} | {facts.pixels} "
        f"| {layout.summary} |\n"
        for layout, facts in ((layout, FormatFacts.of(layout)) for layout in layouts)
    )
    return head + rows + _programs(layouts) + "".join(_section(layout) for layout in layouts)


def _programs(layouts: Iterable[Layout]) -> str:
    readers: dict[str, list[str]] = {}
    for layout in layouts:
        for program in layout.readers:
            readers.setdefault(program, []).append(f"`{layout.name}`")
    rows = [f"| {program} | {', '.join(readers[program])} |\n" for program in sorted(readers, key=str.casefold)]
    return "\n| program | reads |\n|---|---|\n" + "".join(rows)


def _section(layout: Layout) -> str:
    lines = [f"\n### {layout.name}\n\n", f"{layout.summary}\n\n", "| | |\n|---|---|\n"]
    lines += [f"| {label} | {text} |\n" for label, text in _labelled(layout).items()]
    if layout.options:
        lines.append("\n| option and its default | values | what it does |\n|---|---|---|\n")
        lines += [f"| `{name}` | {values} | {help} |\n" for name, values, help in _options(layout)]
    return "".join(lines)


COMMAND = Command("formats", "list the formats that --format understands, or tell all of one", _configure, _run)
