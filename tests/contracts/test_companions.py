# SPDX-License-Identifier: MIT
"""What every companion must do: a new file in ``fastlegacy.companions`` is tested the day it appears."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastlegacy.companions.scene import Companion, Scene
from fastlegacy.model import Geometry, StackFacts
from fastlegacy.registry import plugins

COMPANIONS: dict[str, Companion] = plugins("fastlegacy.companions", "COMPANION")
LAYOUTS = ("cbf", "edf", "esperanto", "mccd", "smv", "tiff")
FULL = Geometry(
    start_deg=-90.0,
    step_deg=0.1,
    exposure_s=0.1,
    wavelength_angstrom=0.3,
    distance_m=0.2,
    beam_x_px=2.0,
    beam_y_px=1.0,
    pixel_x_m=1e-4,
    pixel_y_m=1e-4,
    run=1,
    saturation_counts=1000,
    detector="Dectris EIGER2 CdTe 4M, S/N E-08-0000",
    sensor_material="CdTe",
    sensor_thickness_m=750e-6,
)

every_companion = pytest.mark.parametrize("name", COMPANIONS)


def scene(layout: str, geometry: Geometry = FULL, shape: tuple[int, int] = (4, 6)) -> Scene:
    facts = StackFacts("scan.h5::/entry/data", (3, *shape), (3,), np.dtype("<u2"), geometry=geometry)
    mask = np.zeros(shape, np.uint8)
    mask[:, 2:3] = 1
    return Scene(facts, layout, f".{layout}", "data_1_", 4, 1, 3, shape, (0, 0), mask)


def ready(companion: Companion) -> list[Scene]:
    return [found for layout in LAYOUTS if not companion.missing(found := scene(layout))]


def test_the_companions_of_the_first_release_are_there() -> None:
    assert {"crysalis", "dials", "mask", "poni", "xds"} <= COMPANIONS.keys()


@every_companion
def test_it_says_what_it_is(name: str) -> None:
    companion = COMPANIONS[name]
    assert companion.name == name
    assert companion.summary == companion.summary.strip() != ""
    assert "\n" not in companion.summary
    assert companion.readers
    assert all(reader.strip() for reader in companion.readers)


@every_companion
def test_a_full_geometry_is_enough_beside_some_format(name: str) -> None:
    scenes = ready(COMPANIONS[name])
    assert scenes
    for found in scenes:
        files = COMPANIONS[name].files(found)
        assert files
        assert all(type(data) is bytes and data for data in files.values())


@every_companion
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_said_is_not_enough(name: str, layout: str) -> None:
    bare = replace(scene(layout, Geometry()), mask=None)
    missing = COMPANIONS[name].missing(bare)
    assert missing
    assert all(word == word.strip() != "" for word in missing)


@every_companion
def test_names_are_names_of_files_in_one_folder(name: str) -> None:
    for found in ready(COMPANIONS[name]):
        for file in COMPANIONS[name].files(found):
            assert not set(file) & set("/\\\0")
            assert file not in ("", ".", "..")
            # as the frames are called: stem, number, suffix
            assert not re.fullmatch(rf"{found.stem}[0-9]+{re.escape(found.suffix)}", file)


@every_companion
def test_the_same_scene_gives_the_same_bytes(name: str) -> None:
    for found in ready(COMPANIONS[name]):
        again = replace(found, mask=None if found.mask is None else found.mask.copy())
        assert COMPANIONS[name].files(found) == COMPANIONS[name].files(again)


@every_companion
def test_the_mask_of_the_caller_is_left_as_it_is(name: str) -> None:
    for found in ready(COMPANIONS[name]):
        assert found.mask is not None
        before = found.mask.copy()
        found.mask.flags.writeable = False
        COMPANIONS[name].files(found)
        np.testing.assert_array_equal(found.mask, before)


def test_no_two_companions_make_a_file_of_one_name() -> None:
    names = [
        (layout, file)
        for layout in LAYOUTS
        for companion in COMPANIONS.values()
        if not companion.missing(found := scene(layout))
        for file in companion.files(found)
    ]
    assert len(names) == len(set(names))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))
    count = draw(st.integers(1, 10**6))
    padding = draw(st.tuples(*[st.integers(0, 5)] * 4))
    dtype = draw(st.sampled_from(["<u2", ">u4", "<u8", "|i1", "<i8", "<f4", ">f8"]))
    angles = st.floats(-1e4, 1e4)
    geometry = replace(
        FULL,
        start_deg=draw(angles),
        step_deg=draw(angles),
        beam_x_px=draw(angles),
        beam_y_px=draw(angles),
        saturation_counts=draw(st.none() | st.integers(0, 2**64)),
        run=draw(st.none() | st.integers(0, 10**9)),
    )
    return Scene(
        facts=StackFacts("a.h5::/b", (count, *shape), (count,), np.dtype(dtype), geometry=geometry),
        layout=draw(st.sampled_from(LAYOUTS)),
        suffix=".cbf",
        stem=draw(st.text(min_size=1, max_size=20).filter(lambda stem: not set(stem) & set("/\\\0"))),
        digits=draw(st.integers(1, 20)),
        first=draw(st.integers(0, 10**6)),
        count=count,
        frame_shape=(shape[0] + padding[0] + padding[1], shape[1] + padding[2] + padding[3]),
        image_at=(padding[0], padding[2]),
        mask=draw(st.none() | arrays.arrays(np.uint8, shape, elements=st.integers(0, 2))),
    )


@every_companion
@given(found=scenes())
def test_any_frames_of_any_shape_are_described_or_refused(name: str, found: Scene) -> None:
    companion = COMPANIONS[name]
    if not companion.missing(found):
        assert all(companion.files(found).values())


@every_companion
@pytest.mark.parametrize("shape", [(1, 1), (1, 70_000), (70_000, 1)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_very_long_frames_are_described_or_refused(name: str, layout: str, shape: tuple[int, int]) -> None:
    companion = COMPANIONS[name]
    found = replace(scene(layout, shape=shape), mask=np.ones(shape, np.uint8))
    if not companion.missing(found):
        assert all(companion.files(found).values())
