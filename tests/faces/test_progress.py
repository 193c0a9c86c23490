# SPDX-License-Identifier: MIT
import io
from collections.abc import Iterator

import pytest

from fastlegacy.faces.progress import Progress, human


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock()


def test_a_bar_on_a_terminal(clock: Clock) -> None:
    stream = Terminal()
    with Progress(10, stream, clock) as progress:
        progress(1, 1_000_000)
        assert stream.getvalue() == ""
        clock.now += 2
        progress(4, 4_000_000)
    shown = stream.getvalue().split("\r")[1]
    assert "5/10  2.5 frames/s  2.5 MB/s  0:02 left" in shown
    assert shown.count("#") == shown.count(".", 0, shown.index("]"))
    assert stream.getvalue().endswith("\n")


def test_a_shorter_line_wipes_a_longer_one(clock: Clock) -> None:
    stream = Terminal()
    with Progress(2, stream, clock) as progress:
        clock.now += 4000
        progress(1, 10)
        clock.now += 1
        progress(1, 10)
    _, first, second, *_ = stream.getvalue().split("\r")
    assert "left" in first
    assert "left" not in second
    assert len(second) >= len(first)


def test_a_line_every_half_minute_elsewhere(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(1000, stream, clock) as progress:
        for _ in range(100):
            clock.now += 1
            progress(1, 1000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["3%", "30/1000", "1.0", "frames/s", "1.0", "kB/s", "16:10", "left"]


def test_nothing_is_shown_when_nothing_was_done(clock: Clock) -> None:
    stream = Terminal()
    with Progress(0, stream, clock):
        clock.now += 100
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (17_884_064, "17.9 MB"), (3e20, "300000.0 PB")],
)
def test_sizes_as_people_read_them(size: float, text: str) -> None:
    assert human(size) == text
