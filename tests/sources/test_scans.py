# SPDX-License-Identifier: MIT
"""Scans of bliss that are not one even sweep: the angle at which each frame starts, and how far it turns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.layouts.cbf import LAYOUT as cbf
from fastlegacy.layouts.edf import LAYOUT as edf
from fastlegacy.layouts.smv import LAYOUT as smv
from fastlegacy.model import Geometry, Literal, Piece
from fastlegacy.pixels import Coded
from fastlegacy.sources.find import open_stack
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.frames import counting_frames

SMALL = counting_frames(1, (4, 6), "u2")


def frames(count: int) -> np.ndarray:
    return np.repeat(SMALL, count, axis=0)


def geometry(file: str, scan: str = "1.1") -> Geometry:
    with open_stack(f"{file}::/{scan}/measurement/eiger") as stack:
        return stack.geometry


def recorded(folder: Path, angles: np.ndarray | list[float], count: int | None = None, **more: object) -> Geometry:
    """The geometry of a scan in which `rot` was recorded where each frame starts."""
    count = len(angles) if count is None else count
    return geometry(bliss_dataset(folder, {"1.1": frames(count)}, moved={"rot": angles}, **more))  # type: ignore[arg-type]


def centred(folder: Path, starts: np.ndarray, turns: np.ndarray, signed: bool | None) -> Geometry:
    """The geometry of a scan in which the middle of each frame was recorded, and perhaps how far it turned."""
    counters = {"rot_center": starts + turns / 2}
    if signed is not None:
        counters["rot_delta"] = turns if signed else np.abs(turns)
    return geometry(bliss_dataset(folder, {"1.1": frames(len(starts))}, counters=counters))  # type: ignore[arg-type]


def test_several_turns_go_on_beyond_360(tmp_path: Path) -> None:
    angles = np.arange(12) * 90.0
    known = recorded(tmp_path, angles)
    assert known.angles_deg == tuple(angles)
    assert (known.start_deg, known.step_deg) == (0.0, 90.0)
    assert known.angle_deg(12) == 1080.0


@pytest.mark.parametrize("signed", [True, False, None])
def test_negative_steps(tmp_path: Path, signed: bool | None) -> None:
    starts = 30.0 - 0.5 * np.arange(6)
    for known in (recorded(tmp_path / "a", starts), centred(tmp_path / "b", starts, np.full(6, -0.5), signed)):
        assert known.angles_deg == pytest.approx(starts, abs=1e-12)
        assert (known.start_deg, known.step_deg) == (30.0, -0.5)


@pytest.mark.parametrize("signed", [True, False, None])
def test_sweeps_back_and_forth(tmp_path: Path, signed: bool | None) -> None:
    """Each frame of a sweep back begins where that of the sweep forth ended."""
    forth = np.arange(8) * 0.25
    starts = np.concatenate([forth, forth[::-1] + 0.25, forth])
    turns = np.repeat([0.25, -0.25, 0.25], 8)
    known = centred(tmp_path, starts, turns, signed)
    assert known.angles_deg == pytest.approx(starts, abs=1e-12)
    assert (known.start_deg, known.step_deg) == (None, 0.25)
    name = "rot_center" if signed is None else "rot_delta"
    assert known.origin["step_deg"].endswith(f"::/1.1/measurement/{name}")
    assert known.origin["angles_deg"].endswith("::/1.1/measurement/rot_center")


def test_sweeps_back_and_forth_by_where_frames_start(tmp_path: Path) -> None:
    forth = np.arange(8) * 0.25
    known = recorded(tmp_path, np.concatenate([forth, forth[::-1] + 0.25]))
    assert known.angles_deg == tuple(np.concatenate([forth, forth[::-1] + 0.25]))
    assert (known.start_deg, known.step_deg) == (None, 0.25)


def test_one_sweep_of_a_zigzag_is_a_scan_of_its_own(tmp_path: Path) -> None:
    forth = np.arange(6) * 0.5
    file = bliss_dataset(tmp_path, {"1.1": frames(12)}, moved={"rot": np.concatenate([forth, forth[::-1]])})
    with open_stack(f"{file}?path=/1.1/measurement/eiger&slice=6:12") as stack:
        assert stack.geometry.angles_deg == tuple(forth[::-1])
        assert (stack.geometry.start_deg, stack.geometry.step_deg) == (2.5, -0.5)


@pytest.mark.parametrize("signed", [True, False, None])
def test_one_turn_for_each_place_of_a_translation(tmp_path: Path, signed: bool | None) -> None:
    """As fscan2d has it, flattened: the rotation begins anew for each step of dty."""
    turn = np.arange(10) * 36.0
    starts = np.tile(turn, 3)
    known = centred(tmp_path, starts, np.full(30, 36.0), signed)
    assert known.angles_deg == pytest.approx(starts, abs=1e-10)
    assert (known.start_deg, known.step_deg) == (None, 36.0)
    dty = np.repeat([0.0, 1.0, 2.0], 10)
    file = bliss_dataset(tmp_path / "b", {"1.1": frames(30)}, moved={"rot": starts, "dty": dty})
    known = geometry(file)
    assert known.angles_deg == tuple(starts)
    assert (known.start_deg, known.step_deg) == (None, 36.0)
    assert known.motors["dty"] == tuple(dty)


def test_a_rotation_that_stands_still_in_blocks_has_frames_of_no_width(tmp_path: Path) -> None:
    """The translation scans, and the rotation goes on in between."""
    angles = np.repeat([0.0, 10.0, 20.0], 5)
    known = recorded(tmp_path, angles)
    assert known.angles_deg == tuple(angles)
    assert (known.start_deg, known.step_deg) == (None, 0.0)


def test_frames_taken_in_two_passes_have_the_width_that_was_recorded(tmp_path: Path) -> None:
    """As finterlaced has it: every second frame, then those between them, backwards."""
    starts = np.concatenate([np.arange(0.0, 8.0, 2.0), np.arange(8.0, 0.0, -2.0)])
    turns = np.repeat([1.0, -1.0], 4)
    for signed in (True, False):
        known = centred(tmp_path / str(signed), starts, turns, signed)
        assert known.angles_deg == pytest.approx(starts, abs=1e-12)
        assert (known.start_deg, known.step_deg) == (None, 1.0)


def test_angles_without_any_order_have_no_step(tmp_path: Path) -> None:
    angles = [0.0, 7.0, 90.0, 91.5, 20.0, 45.0]
    known = recorded(tmp_path, angles)
    assert known.angles_deg == tuple(angles)
    assert (known.start_deg, known.step_deg) == (None, None)


def test_angles_that_begin_again_at_360(tmp_path: Path) -> None:
    angles = np.mod(350.0 + 2.0 * np.arange(10), 360.0)
    known = recorded(tmp_path, angles)
    assert known.angles_deg == tuple(angles)
    assert (known.start_deg, known.step_deg) == (None, 2.0)


@pytest.mark.parametrize("there", [3, 4, 9])
def test_a_detector_that_was_stopped_has_the_first_angles(tmp_path: Path, there: int) -> None:
    angles = 5.0 + 0.1 * np.arange(10)
    known = recorded(tmp_path, angles, count=there)
    assert known.angles_deg == tuple(angles[:there])
    assert known.angle_deg(there) == pytest.approx(angles[there])
    assert (known.start_deg, known.step_deg) == (5.0, 0.1)


@pytest.mark.parametrize("centres", [True, False])
def test_more_frames_than_positions_go_on_as_they_began(tmp_path: Path, centres: bool) -> None:
    starts = 5.0 + 0.1 * np.arange(6)
    counters = {"rot_center": starts + 0.05, "rot_delta": np.full(6, 0.1)} if centres else {}
    moved = {} if centres else {"rot": starts}
    file = bliss_dataset(tmp_path, {"1.1": frames(10)}, moved=moved, counters=counters)
    known = geometry(file)
    assert known.angles_deg is None
    assert [known.angle_deg(i) for i in range(10)] == pytest.approx(5.0 + 0.1 * np.arange(10))


def test_more_frames_than_positions_of_a_zigzag_are_not_guessed(tmp_path: Path) -> None:
    known = recorded(tmp_path, [0.0, 1.0, 2.0, 2.0, 1.0, 0.0], count=12)
    assert (known.angles_deg, known.start_deg, known.step_deg) == (None, None, None)


def test_each_scan_and_sub_scan_has_its_own_angles(tmp_path: Path) -> None:
    file = bliss_dataset(
        tmp_path,
        {"1.1": frames(4), "2.1": frames(4), "2.2": frames(2), "3.1": frames(4)},
        moved_in={"1.1": {"rot": [0, 1, 2, 3]}, "2.1": {"rot": [9, 8, 7, 6]}, "2.2": {"rot": [9, 7]}},
        counters_in={"3.1": {"diffrz_center": [0.5, 1.5, 2.5, 3.5], "diffrz_delta": [1, 1, 1, 1]}},
    )
    assert geometry(file, "1.1").angles_deg == (0.0, 1.0, 2.0, 3.0)
    assert geometry(file, "2.1").angles_deg == (9.0, 8.0, 7.0, 6.0)
    assert (geometry(file, "2.2").start_deg, geometry(file, "2.2").step_deg) == (9.0, -2.0)
    assert geometry(file, "3.1").angles_deg == (0.0, 1.0, 2.0, 3.0)


def test_an_encoder_that_trembles(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    forth = np.arange(20) * 0.5
    starts = np.concatenate([forth, forth[::-1] + 0.5]) + rng.normal(0, 0.002, 40)
    turns = np.repeat([0.5, -0.5], 20) + rng.normal(0, 0.002, 40)
    known = centred(tmp_path, starts, turns, signed=False)
    assert known.angles_deg == pytest.approx(starts, abs=1e-9)
    assert known.step_deg == pytest.approx(np.median(np.abs(turns)))


def test_headers_say_how_far_a_frame_of_a_zigzag_turns(tmp_path: Path) -> None:
    forth = np.arange(4) * 0.25
    starts = np.concatenate([forth, forth[::-1] + 0.25])
    file = bliss_dataset(
        tmp_path,
        {"1.1": frames(8)},
        counters={"rot_center": starts + np.repeat([0.125, -0.125], 4), "rot_delta": np.full(8, 0.25)},  # type: ignore[arg-type]
    )
    with open_stack(file) as stack:
        for frame, start in enumerate(starts):
            text = header(cbf.pieces(stack.facts, frame, Coded(100)))
            assert f"# Start_angle {start:g}" in text.replace(".0000", "")
            assert "# Angle_increment 0.2500 deg." in text
            text = header(smv.pieces(stack.facts, frame))
            assert f"OSC_START={start:12.6f};" in text
            assert "OSC_RANGE=0.250000;" in text
            text = header(edf.pieces(stack.facts, frame))
            assert f"Omega = {start:g}" in text
            assert "OmegaStep = 0.25 ;" in text


def header(pieces: Sequence[Piece]) -> str:
    first = pieces[0]
    assert isinstance(first, Literal)
    return first.data.decode("latin-1")
