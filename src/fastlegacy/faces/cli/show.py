# SPDX-License-Identifier: MIT
"""``fastlegacy show``: a picture of a frame with beam centre and rings, in the terminal or as a PNG file."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.command import Command, print_table
from fastlegacy.faces.cli.header_options import add_header_options, headers
from fastlegacy.faces.cli.pixel_options import add_pixel_options, pixels
from fastlegacy.faces.cli.tree_options import add_url_arguments

if TYPE_CHECKING:
    from fastlegacy.faces._terminal import Way
    from fastlegacy.faces.show import Picture
    from fastlegacy.index.view import View

__all__ = ["COMMAND"]

_PNG_PX = 1200
_CELL_PX = (20, 10)  # rows and columns of a letter, where the terminal does not say
_LINES_BELOW = 8  # what is written below the picture, and the prompt
_ANGSTROM = "\u00c5"
_PLACES = (
    ("direct beam", ("beam_x_px", "beam_y_px"), 1.0, "px"),
    ("distance", ("distance_m",), 1e3, "mm"),
    ("wavelength", ("wavelength_angstrom",), 1.0, _ANGSTROM),
    ("pixel size", ("pixel_x_m", "pixel_y_m"), 1e6, "um"),
)


def _configure(parser: argparse.ArgumentParser) -> None:
    add_url_arguments(parser)
    group = parser.add_argument_group("picture")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--frame", type=int, default=0, metavar="N", help="which frame, counted from 0 (default: 0)")
    which.add_argument("--frames", metavar="A:B", help="several frames together: A to B - 1, or A:B:STEP")
    group.add_argument(
        "--combine", choices=("sum", "max"), default="sum", help="what becomes of a pixel of several frames"
    )
    group.add_argument("--png", metavar="FILE", help="write a PNG file instead of showing it in the terminal")
    group.add_argument(
        "--terminal",
        choices=("auto", "kitty", "sixel", "blocks"),
        default="auto",
        help="how the terminal shows images; auto (default): by what TERM and COLORTERM say",
    )
    group.add_argument(
        "--width", type=int, metavar="N", help="most pixels, or letters, of a row (default: the terminal's; PNG: 1200)"
    )
    group.add_argument(
        "--rings",
        default="auto",
        metavar="D[,D]",
        help="spacings of the rings in angstrom; auto (default): round ones that lie in the frame; none",
    )
    add_pixel_options(parser)
    add_header_options(parser)


def _run(args: argparse.Namespace) -> int:
    # what was typed is looked at before any file is
    values, choices, rings = headers(args), pixels(args), _rings(args.rings)
    way = _way(args)
    if args.width is not None and args.width < 1:
        raise UrlError(f"--width: {args.width} is not possible", hint="give 1 or more")
    # the rest is about bytes in files, which a picture has none of
    choices = {name: choice for name, choice in choices.items() if name not in ("mask_value", "saturate", "dtype")}
    values = {name: values[name] for _, names, _, _ in _PLACES for name in names if name in values}
    from fastlegacy.faces import library
    from fastlegacy.faces.cli.guarded import guarded
    from fastlegacy.faces.headers import Headers
    from fastlegacy.faces.show import picture
    from fastlegacy.index.folder import Folder

    guarded(args.source, args.dataset)
    with library.open(args.source, args.dataset) as opened:
        stack = Headers(values, args.geometry, args.omega_motor).over(opened)
        # the view of the files of a mount with the same options
        ((_, tree),) = Folder.of(library.tree(stack, "npy", companions=(), **choices)).trees()
        frames = _frames(args.frames, args.frame, len(stack))
        found = picture(tree.view, frames, combine=args.combine, size=_size(way, args.width), rings=rings)
    _show(args, found, way)
    if not args.quiet:
        _tell(tree.view, frames, found, rings)
    return 0


def _rings(text: str) -> list[float] | None:
    if text in ("auto", "none"):
        return None if text == "auto" else []
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        hint = "give spacings in angstrom with commas, such as 3.9,2.25, or auto, or none"
        raise UrlError(f"--rings: {text!r} is not understood", hint=hint) from error


def _frames(text: str | None, frame: int, count: int) -> range:
    if text is None:
        return range(frame, frame + 1)
    try:
        first, last, *step = (int(word) if word.strip() else None for word in text.split(":"))
        found = range(count)[slice(first, last, *step)]
    except ValueError as error:
        raise UrlError(f"--frames: {text!r} is not understood", hint="write A:B, or A:B:STEP, such as 0:10") from error
    if not found or max(first or 0, last or 0) > count:
        raise UrlError(f"--frames: {text!r} is not possible", hint=f"there are frames 0 to {count - 1}")
    return found


# ---------------------------------------------------------------------------------------------------- where it is shown


def _way(args: argparse.Namespace) -> Way | None:
    """How the terminal is to show it; None for a PNG file."""
    from fastlegacy.faces._terminal import WAYS, best_way

    if args.png is not None:
        if not args.png.lower().endswith(".png"):
            raise UrlError(f"--png: {args.png!r} is no name of a PNG file", hint="give one that ends in .png")
        return None
    if args.terminal != "auto":
        return next(way for way in WAYS if way == args.terminal)
    found = best_way(os.environ) if sys.stdout.isatty() else None
    if found is None:
        why = "a terminal without colours" if sys.stdout.isatty() else "no terminal"
        hint = "write a file with --png FILE, or say with --terminal what can show it"
        raise UrlError(f"the output goes to {why}, which cannot show a picture", hint=hint)
    return found


def _size(way: Way | None, width: int | None) -> tuple[int, int]:
    """Most rows and columns of the picture."""
    if way is None:
        side = width or _PNG_PX
        return side, side
    columns, lines = shutil.get_terminal_size()
    lines = max(lines - _LINES_BELOW, 4)
    if way == "blocks":
        # two pixels in a letter, one above the other
        return (2 * lines, columns) if width is None else (2 * width, width)
    row_px, column_px = _cell_px()
    return (lines * row_px, columns * column_px) if width is None else (width, width)


def _cell_px() -> tuple[int, int]:
    """Rows and columns of pixels that a letter takes, if the terminal says so."""
    import fcntl
    import struct
    import termios

    try:
        answer = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    except (OSError, ValueError):  # no terminal, or no file at all
        return _CELL_PX
    lines, columns, width, height = struct.unpack("HHHH", answer)
    if not (lines and columns and width and height):
        return _CELL_PX
    return height // lines, width // columns


def _show(args: argparse.Namespace, found: Picture, way: Way | None) -> None:
    from fastlegacy.faces import _terminal
    from fastlegacy.faces.show import write_png

    if way is None:
        write_png(args.png, found.rgb)
    elif way == "kitty":
        sys.stdout.write(_terminal.kitty(found.rgb))
    elif way == "sixel":
        sys.stdout.write(_terminal.sixel(found.rgb))
    else:
        sys.stdout.write(_terminal.blocks(found.rgb, all_colours=_terminal.has_all_colours(os.environ)))


# ---------------------------------------------------------------------------------------------------- what is told


def _tell(view: View, frames: range, found: Picture, rings: list[float] | None) -> None:
    """Print what is seen, where each value of the geometry comes from, and on stderr what is missing."""
    from fastlegacy.faces.show import lacking

    facts = view.facts
    numbers = f"frame {frames[0]}" if len(frames) == 1 else f"frames {frames[0]} to {frames[-1]} ({len(frames)})"
    print(f"{facts.url} {numbers}")
    rows = [
        ("pixels", f"{facts.shape[1]} x {facts.shape[2]}, {100 * found.masked:.2g} % masked"),
        ("colours", f"from {found.low:g} to {found.high:g}, logarithmic"),
    ]
    for label, names, factor, unit in _PLACES:
        values = [getattr(facts.geometry, name) for name in names]
        if None not in values:
            texts = dict.fromkeys(f"{value * factor:.6g}" for value in values)
            origin = ", ".join(dict.fromkeys(facts.geometry.origin.get(name, "unknown") for name in names))
            rows.append((label, f"{', '.join(texts)} {unit} ({origin})"))
    if found.rings_angstrom:
        rows.append(("rings", f"{', '.join(f'{spacing:g}' for spacing in found.rings_angstrom)} {_ANGSTROM}"))
    print_table([(f"  {label}", text) for label, text in rows])
    sys.stdout.flush()
    unknown = lacking(facts.geometry)
    for what, words in unknown.items():
        if what != "rings" or rings != []:
            print(f"fastlegacy: no {what}: nobody said {', '.join(words)}", file=sys.stderr)
    outside = [f"{ring:g}" for ring in rings or () if ring not in found.rings_angstrom]
    if outside and "rings" not in unknown:
        print(f"fastlegacy: no ring of {', '.join(outside)} {_ANGSTROM} goes through the frame", file=sys.stderr)
    _tell_of_beam_outside(view)


def _tell_of_beam_outside(view: View) -> None:
    x, y = view.facts.geometry.beam_x_px, view.facts.geometry.beam_y_px
    ny, nx = view.facts.shape[1:]
    if x is not None and y is not None and not (-0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5):
        print(f"fastlegacy: the direct beam at x {x:g}, y {y:g} is outside of the frame", file=sys.stderr)


COMMAND = Command("show", "show a frame, with the direct beam and rings of resolution", _configure, _run)
