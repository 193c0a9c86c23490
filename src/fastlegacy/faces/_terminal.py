# SPDX-License-Identifier: MIT
"""Images in a terminal: in, an array of pixels; out, the text that shows them there, and which way a terminal knows.

Sources: documentation of kitty, "Terminal graphics protocol"; VT330/VT340 Programmer Reference Manual, chapter 14
(sixel graphics); ECMA-48 and ISO 8613-6 (colours of text).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fastlegacy.faces._png import png

__all__ = ["WAYS", "Way", "best_way", "blocks", "has_all_colours", "kitty", "sixel"]

Way = Literal["kitty", "sixel", "blocks"]
WAYS: tuple[Way, ...] = get_args(Way)

_KITTY = re.compile(r"kitty|ghostty|wezterm", re.IGNORECASE)
_SIXEL = re.compile(r"sixel|mlterm|^foot|mintty|contour|yaft|iterm", re.IGNORECASE)
_MULTIPLEXER = re.compile(r"^(screen|tmux)")
_CHUNK = 4096
_REGISTERS = 256
_LEVELS = np.array([0, 95, 135, 175, 215, 255])
_FIRST_OF_CUBE = 16


def best_way(environment: Mapping[str, str]) -> Way | None:
    """Return how a terminal shows images, by what the environment says of it; None where it has no colours.

    A multiplexer passes on text alone.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if term in ("", "dumb"):
        return None
    if _MULTIPLEXER.match(term) or "TMUX" in environment or "STY" in environment:
        return "blocks"
    if "KITTY_WINDOW_ID" in environment or any(_KITTY.search(text) for text in (term, program)):
        return "kitty"
    return "sixel" if any(_SIXEL.search(text) for text in (term, program)) else "blocks"


def has_all_colours(environment: Mapping[str, str]) -> bool:
    """Say whether the terminal has more than 256 colours."""
    return environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "direct" in environment.get("TERM", "")


def kitty(rgb: NDArray[np.uint8]) -> str:
    """Return an image in the graphics protocol of kitty, as PNG."""
    data = base64.standard_b64encode(png(rgb)).decode("ascii")
    parts = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    more = [1] * (len(parts) - 1) + [0]
    keys = ["a=T,f=100,q=2,"] + [""] * (len(parts) - 1)
    return "".join(f"\x1b_G{k}m={m};{part}\x1b\\" for k, m, part in zip(keys, more, parts, strict=True)) + "\n"


def sixel(rgb: NDArray[np.uint8]) -> str:
    """Return an image as sixels. Of more than 256 colours, the lower bits are left out."""
    ny, nx = rgb.shape[:2]
    palette, numbers = _palette(rgb)
    if len(palette) > _REGISTERS:
        # three bits of red and of green, two of blue: to the middle of what they stand for
        kept, middle = np.array([[0xE0, 0xE0, 0xC0], [0x10, 0x10, 0x20]], np.uint8)
        palette, numbers = _palette((rgb & kept) | middle)
    percent = (palette.astype(int) * 100 + 127) // 255
    out = [f'\x1bPq"1;1;{nx};{ny}']
    out += [f"#{number};2;{red};{green};{blue}" for number, (red, green, blue) in enumerate(percent.tolist())]
    bits = np.array([1, 2, 4, 8, 16, 32], np.uint8)
    for top in range(0, ny, 6):
        band = numbers[top : top + 6]
        rows = []
        for number in np.unique(band).tolist():
            columns = ((band == number) * bits[: len(band), None]).sum(axis=0, dtype=np.uint8)
            rows.append(f"#{number}{_run_lengths(columns)}")
        out.append("$".join(rows) + "-")
    return "".join(out) + "\x1b\\\n"


def blocks(rgb: NDArray[np.uint8], *, all_colours: bool) -> str:
    """Return an image as half blocks, two rows of it in a line of text.

    Parameters
    ----------
    all_colours : bool
        False: the nearest of the 240 colours that are the same in every terminal with 256 colours.
    """
    codes = _codes(rgb, all_colours=all_colours)
    return "".join(
        _line(codes[top], codes[top + 1] if top + 1 < len(codes) else None) for top in range(0, len(codes), 2)
    )


def _palette(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Different colours (n, 3), and the number of its colour for each pixel."""
    wide = rgb.astype(np.int32)
    colours, numbers = np.unique((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2], return_inverse=True)
    table = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
    return table, numbers.reshape(rgb.shape[:2])


def _run_lengths(columns: NDArray[np.uint8]) -> str:
    """Columns of six pixels as characters, equal ones next to each other as a number."""
    ends = np.append(np.flatnonzero(np.diff(columns)) + 1, len(columns))
    starts = np.append(0, ends[:-1])
    out = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        letter = chr(63 + int(columns[start]))
        out.append(f"!{end - start}{letter}" if end - start > 3 else letter * (end - start))
    if columns[-1] == 0:
        out.pop()
    return "".join(out)


def _codes(rgb: NDArray[np.uint8], *, all_colours: bool) -> list[list[str]]:
    """What stands behind 38; or 48; for each pixel."""
    palette, numbers = _palette(rgb)
    if all_colours:
        texts = [f"2;{red};{green};{blue}" for red, green, blue in palette]
    else:
        texts = [f"5;{_nearest(colour)}" for colour in palette.astype(int)]
    return [[texts[number] for number in row] for row in numbers]


def _nearest(colour: NDArray[np.int_]) -> int:
    """Number of the nearest colour of the cube of 6 x 6 x 6 and the 24 greys."""
    steps = abs(colour[:, None] - _LEVELS).argmin(axis=1)
    grey = int(np.clip(round((float(colour.mean()) - 8) / 10), 0, 23))
    to_cube = ((colour - _LEVELS[steps]) ** 2).sum()
    to_grey = ((colour - (8 + 10 * grey)) ** 2).sum()
    if to_grey < to_cube:
        return _FIRST_OF_CUBE + 216 + grey
    return _FIRST_OF_CUBE + int(steps @ [36, 6, 1])


def _line(upper: list[str], lower: list[str] | None) -> str:
    return "".join(_cells(upper, lower)) + "\x1b[0m\n"


def _cells(upper: list[str], lower: list[str] | None) -> Iterator[str]:
    last = ("", "")
    for column, above in enumerate(upper):
        below = "" if lower is None else lower[column]
        if (above, below) != last:
            yield f"\x1b[38;{above}m" if lower is None else f"\x1b[38;{above};48;{below}m"
            last = (above, below)
        yield "\u2580"
