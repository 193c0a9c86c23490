# SPDX-License-Identifier: MIT
"""The geometry of a slice: NumPy's own indexing says which frames it has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.model import Geometry
from fastlegacy.sources._frames import geometry_of_frames

SHAPE = (7, 20, 30)
ANGLES = tuple(float(a) for a in np.random.default_rng(4).uniform(0, 360, 7))
WHOLE = Geometry(
    angles_deg=ANGLES,
    beam_x_px=14.5,
    beam_y_px=9.5,
    pixel_x_m=1e-4,
    pixel_y_m=2e-4,
    motors={"rot": ANGLES, "dty": 1.0},
    counters={"short": (1.0, 2.0)},
    origin={"angles_deg": "a", "counters": "c", "beam_x_px": "b"},
)
SLICES = st.builds(
    slice, st.none() | st.integers(-6, 6), st.none() | st.integers(-6, 9), st.none() | st.integers(1, 3)
).filter(lambda s: len(range(*s.indices(7))) > 0)


@given(SLICES)
def test_lists_of_the_frames_that_are_shown(frames: slice) -> None:
    part = geometry_of_frames(WHOLE, SHAPE, (frames,))
    assert part.angles_deg == ANGLES[frames]
    assert part.motors == {"rot": ANGLES[frames], "dty": 1.0}
    assert (part.start_deg, part.step_deg) == (None, None)


@given(SLICES, st.floats(-90, 90), st.floats(0.01, 3))
def test_start_and_step_of_the_frames_that_are_shown(frames: slice, start: float, step: float) -> None:
    part = geometry_of_frames(Geometry(start_deg=start, step_deg=step), SHAPE, (frames,))
    wanted = start + step * np.arange(7)[frames]
    assert [part.angle_deg(i) for i in range(len(wanted))] == pytest.approx(wanted)


def test_one_place_for_each_threshold() -> None:
    both = geometry_of_frames(WHOLE, (7, 2, 20, 30), ())
    assert both.angles_deg == tuple(np.repeat(ANGLES, 2))
    one = geometry_of_frames(WHOLE, (7, 2, 20, 30), (slice(1, 3), 1))
    assert one.angles_deg == ANGLES[1:3]
    steps = geometry_of_frames(Geometry(start_deg=1.0, step_deg=2.0), (3, 2, 20, 30), ())
    assert steps.angles_deg == (1.0, 1.0, 3.0, 3.0, 5.0, 5.0)
    assert (steps.start_deg, steps.step_deg) == (None, 2.0)  # each frame turns as far as before


def test_one_value_for_each_frame_of_a_map() -> None:
    angles = tuple(map(float, range(6)))
    part = geometry_of_frames(Geometry(angles_deg=angles), (2, 3, 20, 30), (slice(None), slice(1, 3)))
    assert part.angles_deg == (1.0, 2.0, 4.0, 5.0)


def test_a_block_that_is_not_the_first() -> None:
    part = geometry_of_frames(WHOLE, (3, 20, 30), (slice(1, None),), first=2)
    assert part.angles_deg == ANGLES[3:5]


TO_AND_FRO = Geometry(
    angles_deg=(0.0, 1.0, 2.0, 2.0, 1.0, 0.0, 50.0), step_deg=1.0, origin={"angles_deg": "a", "step_deg": "w"}
)


@pytest.mark.parametrize(
    ("frames", "start", "step"),
    [
        (slice(0, 3), 0.0, 1.0),
        (slice(3, 6), 2.0, -1.0),
        (slice(1, 5), None, 1.0),
        (slice(5, None), None, 1.0),
        (slice(4, 5), None, 1.0),
    ],
)
def test_one_sweep_of_several_has_a_start_and_a_step(frames: slice, start: float | None, step: float) -> None:
    part = geometry_of_frames(TO_AND_FRO, SHAPE, (frames,))
    assert TO_AND_FRO.angles_deg is not None
    assert part.angles_deg == TO_AND_FRO.angles_deg[frames]
    assert (part.start_deg, part.step_deg) == (start, step)
    assert part.origin == {"angles_deg": "a", "step_deg": "w"} | ({} if start is None else {"start_deg": "a"})


def test_rows_and_columns() -> None:
    part = geometry_of_frames(WHOLE, SHAPE, (..., slice(5, None), slice(2, None, 4)))
    assert (part.beam_x_px, part.beam_y_px) == (12.5 / 4, 4.5)
    assert (part.pixel_x_m, part.pixel_y_m) == (4e-4, 2e-4)


def test_lists_that_are_too_short_are_left_out_with_their_origin() -> None:
    part = geometry_of_frames(WHOLE, SHAPE)
    assert part.counters == {}
    assert part.origin == {"angles_deg": "a", "beam_x_px": "b"}
    assert geometry_of_frames(WHOLE, (9, 20, 30)).angles_deg is None


def test_images_across_frames_have_neither_angles_nor_a_beam() -> None:
    part = geometry_of_frames(WHOLE, SHAPE, (slice(None), 3, slice(None)))
    assert (part.angles_deg, part.beam_x_px, part.pixel_y_m) == (None, None, None)
    assert part.motors == {"dty": 1.0}
