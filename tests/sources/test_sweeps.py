# SPDX-License-Identifier: MIT
"""Where frames start, and how far they turn, in sweeps of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.sources._sweeps import frame_width_deg, starts_deg

Scan = tuple[np.ndarray, np.ndarray]


@st.composite
def sweeps(draw: st.DrawFn) -> Scan:
    """Where frames start, and how far each turns: sweeps of at least three frames, in either direction."""
    width = draw(st.sampled_from([0.05, 0.1, 0.25, 1.0, 2.5]))
    starts, turns, end = [], [], 0.0
    for _ in range(draw(st.integers(1, 5))):
        turn = draw(st.sampled_from([1, -1])) * width
        count = draw(st.integers(3, 9))
        # from the middle of one sweep's last frame to that of the next one's first: never a frame's width
        middle = end + draw(st.sampled_from([0, 0.5, 2, 7.3, 300])) * draw(st.sampled_from([1, -1])) * width
        starts.append(middle - turn / 2 + turn * np.arange(count))
        turns.append(np.full(count, turn))
        end = middle + turn * (count - 1)
    return np.concatenate(starts), np.concatenate(turns)


@given(sweeps(), st.sampled_from(["signed", "unsigned", "unknown"]))
def test_starts_are_found_again(scan: Scan, widths: str) -> None:
    starts, turns = scan
    found = starts_deg(starts + turns / 2, {"signed": turns, "unsigned": np.abs(turns), "unknown": None}[widths])
    np.testing.assert_allclose(found, starts, atol=1e-9)


@given(sweeps())
def test_the_width_has_a_sign_where_all_turn_in_one_direction(scan: Scan) -> None:
    starts, turns = scan
    width = frame_width_deg(starts + turns / 2, turns)
    assert width == pytest.approx(turns[0] if len(set(np.sign(turns))) == 1 else abs(turns[0]))


@pytest.mark.parametrize(
    ("angles", "widths", "expected"),
    [
        ([0, 1, 2, 90, 91], None, 1.0),
        ([5, 4, 3, 90, 89], None, -1.0),
        ([0, 1, 2, 2, 1, 0], None, 1.0),
        ([0, 0, 0, 10, 10, 10], None, 0.0),
        ([0, 7, 90, 91.5, 20, 45], None, None),
        ([3.0], None, None),
        ([], None, None),
        ([0, 7, 90], [0.5, 0.4, 0.5], 0.5),
        ([0, 7, 90], [-0.5, -0.5, -0.5], -0.5),
        ([3, 2, 1], [0.5, 0.5, 0.5], -0.5),
        ([0, 7, 90], [0.0, 0.0, 0.0], 0.0),
    ],
)
def test_widths(angles: list[float], widths: list[float] | None, expected: float | None) -> None:
    given_widths = None if widths is None else np.array(widths, dtype=float)
    assert frame_width_deg(np.array(angles, dtype=float), given_widths) == expected


def test_the_middle_of_frames_without_any_order_says_nothing_of_their_starts() -> None:
    assert starts_deg(np.array([0.0, 7.0, 90.0, 91.5, 20.0])) is None
    assert starts_deg(np.array([4.0])) is None
    assert starts_deg(np.array([4.0, 4.0])) is None
