# SPDX-License-Identifier: MIT
"""A short log where much fails."""

from __future__ import annotations

from fastlegacy.faces.mount.rarely import Rarely


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_fails_again_is_told_once_and_later_with_its_number() -> None:
    clock = Clock()
    rarely = Rarely(clock=clock)
    assert rarely.lines(["/a, bytes 0 to 9: damaged"]) == ["/a, bytes 0 to 9: damaged"]
    assert rarely.lines(["/a, bytes 9 to 20: damaged", "/b, bytes 0 to 9: damaged"]) == ["/b, bytes 0 to 9: damaged"]
    assert rarely.lines(["/a, bytes 0 to 9: damaged"] * 5) == []
    clock.now = 61
    assert rarely.lines(["/a, bytes 5 to 9: damaged"]) == ["/a, bytes 5 to 9: damaged (and 6 times before)"]
    assert rarely.rest() == []


def test_a_minute_has_a_bounded_number_of_lines() -> None:
    clock = Clock()
    rarely = Rarely(most_lines=3, clock=clock)
    assert len(rarely.lines([f"/{i}: damaged" for i in range(10)])) == 3
    assert rarely.lines(["/11: damaged"]) == []
    clock.now = 60
    assert rarely.lines(["/12: damaged"]) == ["and 8 more failures, too many for this log", "/12: damaged"]
    assert rarely.lines([f"/{i}: damaged" for i in range(20, 30)])
    assert rarely.rest() == ["and 8 more failures, too many for this log"]
    assert rarely.rest() == []
