# SPDX-License-Identifier: MIT
import logging

import pytest

from fastlegacy.index.sizes import Sizes
from fastlegacy.pixels import Coded

WHAT = "the cbf files of scan.h5::/data"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def listing(frames: int, took_s: float, pause_s: float = 0.0) -> None:
    clock = Clock()

    def measure(frame: int) -> tuple[int, ...]:
        clock.now += took_s
        return (frame,)

    sizes = Sizes(measure, frames, what=WHAT, threads=0, clock=clock)
    for frame in range(frames):
        sizes.get(frame)
        clock.now += pause_s
    sizes.close()


def test_a_long_listing_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastlegacy.sizes")
    listing(50, took_s=0.5)
    of = "sizes of the cbf files of scan.h5::/data: "
    assert caplog.messages == [
        f"{of}4 of 50 measured, about 23 s left",
        f"{of}14 of 50 measured, about 18 s left",
        f"{of}24 of 50 measured, about 13 s left",
        f"{of}34 of 50 measured, about 8 s left",
        f"{of}44 of 50 measured, about 3 s left",
        f"{of}all 50 measured, in 25 s",
    ]


def test_a_very_long_listing_says_it_in_minutes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastlegacy.sizes")
    listing(1000, took_s=1.0)
    assert caplog.messages[0].endswith(": 2 of 1000 measured, about 17 min left")


@pytest.mark.parametrize(
    ("took_s", "pause_s"),
    [
        pytest.param(0.019, 0.0, id="short"),
        pytest.param(0.5, 1.5, id="the program is slower than we are"),
        pytest.param(1.5, 3.0, id="single frames now and then"),
    ],
)
def test_there_is_nothing_to_say_when_nobody_waits_for_long(
    took_s: float, pause_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlegacy.sizes")
    listing(100, took_s, pause_s)
    assert caplog.messages == []


def test_the_last_line_comes_though_others_have_measured_the_last_frame(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastlegacy.sizes")
    clock = Clock()

    def measure(frame: int) -> tuple[int, ...]:
        clock.now += 1
        return (frame,)

    sizes = Sizes(measure, 4, what=WHAT, threads=0, clock=clock)
    for frame in range(3):
        sizes.get(frame)
    sizes.put(3, Coded(3))
    clock.now += 1000
    for _ in range(2):
        sizes.get(3)
    sizes.close()
    assert [message.split(": ")[1] for message in caplog.messages] == [
        "2 of 4 measured, about 2 s left",
        "all 4 measured, in 3 s",
    ]
