# SPDX-License-Identifier: MIT
"""``fastlegacy info``: all that is known of one stack, and who decodes each of its datasets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastlegacy.faces.cli.command import Command, add_json_option, print_json, print_table
from fastlegacy.faces.cli.stack_text import as_plain, describe, geometry_rows, plain_geometry
from fastlegacy.faces.cli.tree_options import add_url_arguments

if TYPE_CHECKING:
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


def _run(args: argparse.Namespace) -> int:
    from fastlegacy.faces import library
    from fastlegacy.sources.find import describe_named
    from fastlegacy.sources.masks import find_mask

    with library.open(args.source, args.dataset, missing="fill") as stack:
        info, decoders, mask = describe_named(stack), stack.decoders(), find_mask(stack.frames_url)
    if args.json:
        decoded = [{"dataset": name, "by": by} for name, by in decoders]
        found = {"files": stack.files(), "decoded": decoded, "missing": stack.missing_sources, "mask": _plain(mask)}
        print_json({**as_plain(info), **found, "geometry": plain_geometry(stack.geometry)})
        return 0
    print(info.url)
    texts = {**describe(info), "found as": f"{info.source}: {info.why}", **_more(stack, mask)}
    print_table([(f"  {label}", text) for label, text in texts.items()])
    _show_geometry(stack)
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
        print("  the file says nothing of the geometry")
        return
    print("  geometry")
    print_table([(f"    {label}", value, origin) for label, value, origin in rows])


def _show_decoders(decoders: Sequence[tuple[str, str]]) -> None:
    print("  pixels are decoded from")
    for name, by in decoders[:_SHOWN]:
        print(f"    {name}: {_BY.get(by, by)}")
    if len(decoders) > _SHOWN:
        print(f"    and {len(decoders) - _SHOWN} more datasets (--json lists them)")


COMMAND = Command("info", "say all that is known of one stack of frames", _configure, _run)
