# SPDX-License-Identifier: MIT
"""``fastlegacy info``: all that is known of one stack, what nobody said of it, and who decodes its datasets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastlegacy.faces.cli.command import Command, add_json_option, print_json, print_table
from fastlegacy.faces.cli.header_options import add_header_options, chosen_headers
from fastlegacy.faces.cli.stack_text import as_plain, describe
from fastlegacy.faces.cli.tree_options import add_url_arguments
from fastlegacy.faces.geometry_text import geometry_rows, plain_geometry

if TYPE_CHECKING:
    from fastlegacy.faces.cli.unsaid import Unsaid
    from fastlegacy.hdf5.stack import Stack
    from fastlegacy.sources.masks import Mask

__all__ = ["COMMAND"]

_BY = {
    "kernel": "native, by fastlegacy's own kernels",
    "plugin": "native, by the function of the filter's plug-in",
    "kernel+plugin": "native, by own kernels and the functions of plug-ins",
    "h5py": "through h5py, one chunk at a time",
    "stored": "nothing to decode",
}
_SHOWN = 20  # a virtual dataset may have thousands of sources


def _configure(parser: argparse.ArgumentParser) -> None:
    add_url_arguments(parser)
    add_json_option(parser)
    add_header_options(parser)


def _run(args: argparse.Namespace) -> int:
    chosen = chosen_headers(args)  # what was typed is looked at before any file is
    from fastlegacy.faces import library
    from fastlegacy.faces.cli.guarded import guarded
    from fastlegacy.faces.cli.unsaid import unsaid
    from fastlegacy.sources.find import describe_named
    from fastlegacy.sources.masks import find_mask

    guarded(args.source, args.dataset)
    with library.open(args.source, args.dataset, missing="fill") as opened:
        stack = chosen.over(opened)
        info, decoders, mask = describe_named(stack), stack.decoders(), find_mask(stack.frames_url)
        lacking = unsaid(stack, mask)
    if args.json:
        decoded = [{"dataset": name, "by": by} for name, by in decoders]
        found = {"files": stack.files(), "decoded": decoded, "missing": stack.missing_sources, "mask": _plain(mask)}
        known = {"geometry": plain_geometry(stack.geometry), "unsaid": lacking.plain()}
        print_json({**as_plain(info), **found, **known})
        return 0
    print(info.url)
    texts = {**describe(info), "found as": f"{info.source}: {info.why}", **_more(stack, mask)}
    print_table([(f"  {label}", text) for label, text in texts.items()])
    _show_geometry(stack)
    _show_unsaid(lacking)
    _show_decoders(decoders)
    return 0


def _more(stack: Stack, mask: Mask | None) -> dict[str, str]:
    texts = {"HDF5 files": str(len(stack.files())), "mask": "none found"}
    if mask is not None:
        share = f"{100 * (mask.gaps + mask.bad) / mask.classes.size:.2g} %"
        texts["mask"] = f"{mask.where}: {mask.gaps} pixels of gaps, {mask.bad} bad ones ({share})"
    if stack.missing_sources:
        texts["missing files"] = ", ".join(stack.missing_sources)
    return texts


def _plain(mask: Mask | None) -> dict[str, Any] | None:
    return None if mask is None else {"where": mask.where, "gaps": mask.gaps, "bad": mask.bad}


def _show_geometry(stack: Stack) -> None:
    rows = geometry_rows(stack.geometry, stack.files()[0])
    if not rows:
        print("  nothing is known of the geometry")
        return
    print("  geometry")
    print_table([(f"    {label}", value, origin) for label, value, origin in rows])


def _show_unsaid(lacking: Unsaid) -> None:
    formats, companions = lacking.rows()
    if not formats and not companions:
        print("  nothing is missing for any format")
    if formats:
        print("  missing in headers, which have a neutral value for it or leave it out")
        print_table([(f"    {names}:", text) for names, text in formats])
    if companions:
        print("  missing for companions, which are not made without it")
        print_table([(f"    {names}:", text) for names, text in companions])


def _show_decoders(decoders: Sequence[tuple[str, str]]) -> None:
    print("  pixels are decoded from")
    for name, by in decoders[:_SHOWN]:
        print(f"    {name}: {_BY.get(by, by)}")
    if len(decoders) > _SHOWN:
        print(f"    and {len(decoders) - _SHOWN} more datasets (--json lists them)")


COMMAND = Command("info", "say all that is known of one stack of frames", _configure, _run)
