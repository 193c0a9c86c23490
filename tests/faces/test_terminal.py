# SPDX-License-Identifier: MIT
"""Images in terminals, read again by small decoders that know nothing of how they were written."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastlegacy.faces import _terminal
from fastlegacy.faces.show import colours


def image(shape: tuple[int, int], seed: int, number: int = 240) -> Any:
    picked = np.random.default_rng(seed).integers(0, number, shape)
    picked[shape[0] // 2 :] = 0
    return colours()[picked]


def from_kitty(text: str) -> Any:
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in parts) + "\n" == text
    keys = [dict(pair.split("=") for pair in each.split(",")) for each, _ in parts]
    assert keys[0]["a"] == "T"
    assert keys[0]["f"] == "100"
    assert [each["m"] for each in keys] == ["1"] * (len(parts) - 1) + ["0"]
    assert all(set(each) == {"m"} for each in keys[1:])
    assert all(0 < len(data) <= 4096 for _, data in parts)
    assert all(len(data) % 4 == 0 for _, data in parts[:-1])
    return np.asarray(Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in parts)))))


def from_sixel(text: str) -> Any:
    match = re.fullmatch(r'\x1bPq"1;1;([0-9]+);([0-9]+)(.*)\x1b\\\n', text)
    assert match
    width, height = int(match[1]), int(match[2])
    out = np.full((height + 5, width, 3), -1)
    palette: dict[int, Any] = {}
    x = y = colour = 0
    pattern = r"#([0-9]+)(?:;2;([0-9]+);([0-9]+);([0-9]+))?|!([0-9]+)([?-~])|([?-~])|([$-])"
    assert re.sub(pattern, "", match[3]) == ""
    for number, red, green, blue, times, repeated, single, control in re.findall(pattern, match[3]):
        if number:
            colour = int(number)
            assert colour < 256
            if red:
                palette[colour] = np.array([int(red), int(green), int(blue)]) * 255 / 100
        elif control:
            x, y = 0, y + 6 * (control == "-")
        else:
            end = x + int(times or 1)
            for bit in range(6):
                if (ord(repeated or single) - 63) >> bit & 1:
                    out[y + bit, x:end] = np.rint(palette[colour])
            x = end
    assert (out[height:] == -1).all()
    assert (out[:height] >= 0).all()
    return out[:height]


def from_blocks(text: str) -> Any:
    cube = [0, 95, 135, 175, 215, 255]
    rows = []
    for line in text.splitlines():
        assert line.endswith("\x1b[0m")
        upper, lower = [], []
        front = back = None
        for sequence, block in re.findall("\x1b\\[([0-9;]+)m|(\u2580)", line.removesuffix("\x1b[0m")):
            if block:
                upper.append(front)
                lower.append(back)
                continue
            words = [int(word) for word in sequence.split(";")]
            while words:
                where, kind, *words = words
                if kind == 2:
                    colour, words = words[:3], words[3:]
                else:
                    (number, *words), rest = words, words[0] - 16
                    colour = [cube[rest // 36 % 6], cube[rest // 6 % 6], cube[rest % 6]]
                    colour = colour if number < 232 else [8 + 10 * (number - 232)] * 3
                front, back = (colour, back) if where == 38 else (front, colour)
        rows += [upper, lower]
    if rows[-1][0] is None:
        rows.pop()
    return np.array(rows)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 90), st.integers(1, 90)), seed=st.integers(0, 99))
def test_kitty(shape: tuple[int, int], seed: int) -> None:
    rgb = image(shape, seed)
    np.testing.assert_array_equal(from_kitty(_terminal.kitty(rgb)), rgb)


def test_kitty_takes_several_parts_for_a_large_image() -> None:
    text = _terminal.kitty(np.random.default_rng(0).integers(0, 256, (60, 70, 3)).astype(np.uint8))
    assert text.count("\x1b_G") == 5
    assert from_kitty(text).shape == (60, 70, 3)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 99))
def test_sixel(shape: tuple[int, int], seed: int) -> None:
    rgb = image(shape, seed)
    # a colour is told in hundredths
    assert abs(from_sixel(_terminal.sixel(rgb)) - rgb).max() <= 2


def test_sixel_repeats_equal_columns() -> None:
    text = _terminal.sixel(np.zeros((6, 1000, 3), np.uint8))
    assert text == '\x1bPq"1;1;1000;6#0;2;0;0;0#0!1000~-\x1b\\\n'


def test_sixel_with_more_colours_than_there_are_registers() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    assert abs(from_sixel(_terminal.sixel(rgb)) - rgb).max() <= 34


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 99))
def test_blocks_with_all_colours(shape: tuple[int, int], seed: int) -> None:
    rgb = image(shape, seed)
    text = _terminal.blocks(rgb, all_colours=True)
    assert text.count("\n") == (shape[0] + 1) // 2
    np.testing.assert_array_equal(from_blocks(text), rgb)


def test_blocks_with_256_colours_are_the_nearest() -> None:
    rgb = image((21, 30), 3)
    found = from_blocks(_terminal.blocks(rgb, all_colours=False)).astype(int)
    steps = np.array([0, 95, 135, 175, 215, 255])
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    greys = np.repeat(8 + 10 * np.arange(24), 3).reshape(-1, 3)
    possible = np.concatenate([cube, greys])
    smallest = np.linalg.norm(rgb[:, :, None].astype(int) - possible, axis=-1).min(axis=-1)
    np.testing.assert_allclose(np.linalg.norm(rgb - found, axis=-1), smallest)


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({}, None),
        ({"TERM": "dumb"}, None),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "linux"}, "blocks"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "mlterm"}, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "mintty"}, "sixel"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, "blocks"),
    ],
)
def test_what_a_terminal_can_show(environment: dict[str, str], way: str | None) -> None:
    assert _terminal.best_way(environment) == way


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, True),
        ({"TERM": "xterm-256color", "COLORTERM": "24bit"}, True),
        ({"TERM": "xterm-direct"}, True),
        ({}, False),
    ],
)
def test_how_many_colours_a_terminal_has(environment: dict[str, str], expected: bool) -> None:
    assert _terminal.has_all_colours(environment) is expected
