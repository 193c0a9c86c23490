# SPDX-License-Identifier: MIT
"""What each layout says that its headers want and use is what changes them: nothing else, and all of it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from fastlegacy.model import Geometry, Layout, Literal, StackFacts
from fastlegacy.pixels import Coded
from fastlegacy.registry import plugins

LAYOUTS: dict[str, Layout] = plugins("fastlegacy.layouts", "LAYOUT")
FRAMES = 3
FULL = Geometry(
    start_deg=10.0,
    step_deg=0.5,
    exposure_s=0.1,
    wavelength_angstrom=0.7,
    distance_m=0.14,
    beam_x_px=2.25,
    beam_y_px=1.75,
    pixel_x_m=75e-6,
    pixel_y_m=75e-6,
    run=3,
    saturation_counts=40000,
    detector="Eiger",
    sensor_material="Si",
    sensor_thickness_m=0.00045,
    threshold_ev=6000.0,
    period_s=60.0,
    title="lysozyme",
    start_time="2026-01-02T03:04:05",
    motors={"phi": 1.0},
    counters={"mon": [1.0, 2.0, 3.0]},
)
OTHERS: dict[str, Any] = {
    "start_deg": 11.0,
    "step_deg": 0.25,
    "exposure_s": 0.2,
    "wavelength_angstrom": 0.8,
    "distance_m": 0.15,
    "beam_x_px": 3.25,
    "beam_y_px": 0.75,
    "run": 4,
    "saturation_counts": 30000,
    "detector": "Pilatus",
    "sensor_material": "CdTe",
    "sensor_thickness_m": 0.00075,
    "threshold_ev": 7000.0,
    "period_s": 61.0,
    "title": "insulin",
    "start_time": "2026-01-03T03:04:05",
    "angles_deg": (10.0, 10.7, 12.0),
    "motors": {"phi": 2.0},
    "counters": {"mon": [1.0, 2.0, 4.0]},
}
# where a header has one number for both sides of a pixel, they have to be the same
PIXELS = {"pixel_x_m": 172e-6, "pixel_y_m": 172e-6}
NAMES = [field.name for field in fields(Geometry) if field.name != "origin"]

every_layout = pytest.mark.parametrize("name", LAYOUTS)


def written(layout: Layout, geometry: Geometry) -> list[Any]:
    """Everything but the pixels: what names begin with, and the header of each file."""
    options = {name: option.default for name, option in layout.options.items()}
    dtype = np.dtype("<u2")
    facts = StackFacts("/data/scan.h5::/x", (FRAMES, 4, 6), (FRAMES,), dtype, 10**18, geometry, options=options)
    coded = None if layout.code(facts) is None else Coded(15, (0, 0), bytes(16))
    files = range(FRAMES if layout.per_frame else 1)
    pieces = [piece for index in files for piece in layout.pieces(facts, index, coded)]
    return [layout.stem(facts, "data"), *(piece.data for piece in pieces if isinstance(piece, Literal))]


def flat(layout: Layout) -> set[str]:
    wants = [(want,) if isinstance(want, str) else want for want in layout.wants]
    return {name for want in wants for name in want} | set(layout.uses)


def test_every_value_of_a_geometry_is_tried() -> None:
    assert OTHERS.keys() | PIXELS.keys() == set(NAMES)


@every_layout
def test_only_values_of_a_geometry_are_named_and_each_once(name: str) -> None:
    layout = LAYOUTS[name]
    wants = [attribute for want in layout.wants for attribute in ((want,) if isinstance(want, str) else want)]
    assert len(flat(layout)) == len(wants) + len(layout.uses)
    assert flat(layout) <= set(NAMES)


@every_layout
@pytest.mark.parametrize("attribute", [name for name in NAMES if name not in PIXELS])
def test_what_changes_a_header_is_named_and_what_is_named_changes_it(name: str, attribute: str) -> None:
    layout = LAYOUTS[name]
    changed = written(layout, replace(FULL, **{attribute: OTHERS[attribute]})) != written(layout, FULL)
    assert changed == (attribute in flat(layout))


@every_layout
def test_the_size_of_pixels_changes_the_headers_that_name_it(name: str) -> None:
    layout = LAYOUTS[name]
    changed = written(layout, replace(FULL, **PIXELS)) != written(layout, FULL)
    assert changed == ("pixel_x_m" in flat(layout)) == ("pixel_y_m" in flat(layout))


@every_layout
def test_what_is_wanted_and_not_known_shows(name: str) -> None:
    """Without any value of a group the header is another one, with a single one it is that of all."""
    layout = LAYOUTS[name]
    for want in layout.wants:
        group = (want,) if isinstance(want, str) else want
        unsaid = written(layout, replace(FULL, **dict.fromkeys(group)))
        assert unsaid != written(layout, FULL)
        for attribute in group:
            value = getattr(FULL, attribute) or OTHERS[attribute]
            others = dict.fromkeys(group) | {attribute: value}
            assert written(layout, replace(FULL, **others)) != unsaid


@every_layout
def test_angles_without_a_step_are_no_error(name: str) -> None:
    layout = LAYOUTS[name]
    turning = replace(FULL, start_deg=None, step_deg=None, angles_deg=(10.0, 10.7, 90.0))
    header = b"".join(written(layout, turning)[1:])
    if "angles_deg" in flat(layout):
        assert b"90.0" in header or (90_000).to_bytes(4, "little") in header


@every_layout
def test_a_step_is_held_whether_the_angles_are_known_one_by_one_or_not(name: str) -> None:
    layout = LAYOUTS[name]
    sweeps = replace(FULL, start_deg=None, angles_deg=(10.0, 10.5, 90.0))
    changed = written(layout, replace(sweeps, step_deg=None)) != written(layout, sweeps)
    assert changed == ("step_deg" in flat(layout))


def test_a_layout_of_somebody_else_need_not_say_anything() -> None:
    class Other(Layout):
        name, suffix, summary, dtypes = "other", ".oth", "something", ("u1",)

    assert (Other().wants, Other().uses) == ((), ())
