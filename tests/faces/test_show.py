# SPDX-License-Identifier: MIT
"""Pictures of frames: known pixels have known colours, and rings are where Bragg's law puts them."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from fastlegacy.errors import ExportError, UrlError
from fastlegacy.faces._drawing import draw_cross, draw_ellipse, draw_text, text_shape
from fastlegacy.faces._png import png
from fastlegacy.faces.show import (
    BEAM,
    MASKED,
    RING,
    colours,
    lacking,
    picture,
    render,
    ring_radius_m,
    write_png,
)
from fastlegacy.index.view import View
from fastlegacy.model import Geometry
from fastlegacy.pixels import Orientation
from fastlegacy.sources.array import ArrayStack

KNOWN = Geometry(
    wavelength_angstrom=1.0, distance_m=0.1, beam_x_px=250.3, beam_y_px=190.6, pixel_x_m=1e-4, pixel_y_m=1e-4
)


def view_of(frames: Any, geometry: Geometry | None = None, **how: Any) -> View:
    return View(ArrayStack(np.asarray(frames), geometry=geometry), **how)


def is_colour(rgb: Any, colour: Any) -> Any:
    return (rgb == np.array(colour, np.uint8)).all(axis=-1)


# ---------------------------------------------------------------------------------------------------- colours


def test_colours_go_from_black_to_white_and_become_brighter() -> None:
    table = colours().astype(int)
    assert table[0].tolist() == [0, 0, 0]
    assert table[-1].tolist() == [255, 255, 255]
    assert (np.diff(table @ [0.30, 0.59, 0.11]) > 0).all()


@pytest.mark.parametrize("colour", [MASKED, RING, BEAM])
def test_what_is_drawn_is_no_colour_of_a_value(colour: Any) -> None:
    assert np.linalg.norm(colours().astype(int) - colour, axis=1).min() > 75


def test_gaps_have_one_colour_and_the_peak_the_brightest() -> None:
    frame = np.random.default_rng(0).poisson(5, (1, 450, 500)).astype("<u2")
    frame[0, 200:210] = 65535
    frame[0, 100, 300] = 5000
    shown = picture(view_of(frame))
    assert shown.rgb.shape == (450, 500, 3)
    assert shown.rgb.dtype == np.uint8
    assert is_colour(shown.rgb, MASKED).nonzero()[0].tolist() == np.repeat(range(200, 210), 500).tolist()
    assert shown.rgb[100, 300].tolist() == [255, 255, 255]
    assert shown.masked == pytest.approx(10 / 450)
    assert shown.rgb[frame[0] <= shown.low].max() == 0


def test_the_mask_decides_where_there_is_one() -> None:
    frame = np.full((1, 400, 400), 65535, "<u2")
    frame[0, 0, 0] = 3
    mask = np.zeros((400, 400), np.uint8)
    mask[:, 7], mask[9, :] = 1, 2
    rgb = render(view_of(frame, mask=mask))
    expected = mask != 0
    assert np.array_equal(is_colour(rgb, MASKED), expected)


def test_brighter_is_more_and_equal_is_equal() -> None:
    frame = np.random.default_rng(0).integers(0, 3000, (1, 400, 400)).astype("<i4")
    rgb = render(view_of(frame)).astype(int) @ [30, 59, 11]
    order = np.argsort(frame[0], axis=None)
    assert (np.diff(rgb.reshape(-1)[order]) >= 0).all()


def test_a_few_hot_pixels_do_not_make_the_rest_dark() -> None:
    frame = np.random.default_rng(0).poisson(3, (1, 400, 400)).astype("<u4")
    frame[0, 5, 5:15] = 4_000_000
    shown = picture(view_of(frame))
    assert shown.high < 20
    assert shown.rgb[frame[0] == 5].mean() > 50


@pytest.mark.parametrize("dtype", ["<u1", ">u2", "<u8", "<i8", ">f4", "<f8"])
def test_every_type_of_pixel(dtype: str) -> None:
    frame = np.zeros((1, 400, 420), dtype)
    frame[0, 3, 4], frame[0, 6, 6] = 100, 50
    shown = picture(view_of(frame))
    assert (shown.low, shown.high) == (0, 100)
    assert shown.rgb[3, 4].tolist() == [255, 255, 255]
    assert shown.rgb[0, 0].tolist() == [0, 0, 0]
    assert 100 < shown.rgb[6, 6].mean() < 255


def test_what_is_no_number_is_masked() -> None:
    frame = np.ones((1, 400, 400))
    frame[0, 1, 1], frame[0, 2, 2], frame[0, 3, 3] = math.nan, math.inf, -math.inf
    assert [place.tolist() for place in is_colour(render(view_of(frame)), MASKED).nonzero()] == [[1, 2, 3]] * 2


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_frame_of_one_value(value: int) -> None:
    rgb = render(view_of(np.full((1, 400, 400), value, "u1")))
    assert is_colour(rgb, MASKED if value == 255 else (0, 0, 0)).all()


# ---------------------------------------------------------------------------------------------------- sizes


@settings(max_examples=60, deadline=None)
@given(shape=st.tuples(st.integers(1, 90), st.integers(1, 90)), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_a_peak_of_one_pixel_is_seen_at_every_size(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assume(shape != (1, 1))
    for place in ((0, 0), (shape[0] - 1, shape[1] - 1), (shape[0] // 2, shape[1] // 3)):
        frame = np.zeros((1, *shape), "<i4")
        frame[0][place] = 10**6
        shown = picture(view_of(frame), size=size)
        assert shown.rgb.shape[0] <= size[0]
        assert shown.rgb.shape[1] <= size[1]
        y, x = (math.floor(at + 0.5) for at in shown.place(*place))
        assert shown.rgb[y, x].tolist() == [255, 255, 255]


def test_large_frames_are_reduced_evenly_and_gaps_within_a_square_vanish() -> None:
    frame = np.arange(1000 * 900, dtype="<u4").reshape(1, 1000, 900)
    frame[0, 500:502] = 2**32 - 1
    frame[0, 602:604, 10:12] = 2**32 - 1
    shown = picture(view_of(frame), size=(500, 500))
    assert shown.rgb.shape == (500, 450, 3)
    assert shown.scale == (0.5, 0.5)
    assert is_colour(shown.rgb, MASKED)[250].all()
    assert is_colour(shown.rgb, MASKED)[301, 5]
    assert is_colour(shown.rgb, MASKED).sum() == 451


def test_small_frames_are_enlarged() -> None:
    frame = np.zeros((1, 30, 40), "<u2")
    frame[0, 10, 20] = 9
    shown = picture(view_of(frame))
    assert shown.rgb.shape == (300, 400, 3)
    assert is_colour(shown.rgb, (255, 255, 255)).nonzero()[0].tolist() == np.repeat(range(100, 110), 10).tolist()


def test_one_row_becomes_a_strip() -> None:
    shown = picture(view_of(np.arange(1280, dtype="<u2").reshape(1, 1, 1280)))
    assert shown.rgb.shape == (24, 640, 3)
    assert shown.scale == (24, 0.5)
    assert (shown.rgb == shown.rgb[:1]).all()
    assert picture(view_of(np.zeros((1, 1280, 1), "u1"))).rgb.shape == (640, 24, 3)


# ---------------------------------------------------------------------------------------------------- frames


def test_frames_together() -> None:
    frames = np.zeros((4, 400, 400), "<u2")
    frames[1:3, 7, 7] = 40
    frames[2, 9, 9] = 60
    frames[3] = 65535
    frames[0, 1, 1] = 65535
    view = view_of(frames)
    both = picture(view, range(1, 3))
    assert both.high == 80
    assert picture(view, [1, 2], combine="max").high == 60
    assert is_colour(render(view, [0, 1], combine="max"), MASKED).nonzero()[0].tolist() == [1]
    assert is_colour(render(view, range(4)), MASKED).all()
    np.testing.assert_array_equal(render(view, 2), render(view, [2]))


@pytest.mark.parametrize("frames", [4, -1, [0, 4], []])
def test_a_frame_that_is_not_there(frames: Any) -> None:
    with pytest.raises(UrlError, match=r"frame.*there are frames 0 to 3"):
        picture(view_of(np.zeros((4, 3, 5), "<u2")), frames)


def test_a_picture_has_a_size() -> None:
    with pytest.raises(UrlError, match="0 x 5 pixels is not possible"):
        picture(view_of(np.zeros((4, 3, 5), "<u2")), size=(0, 5))


@pytest.mark.parametrize("turn", [Orientation(), Orientation(True, False, True), Orientation(False, True, False)])
def test_the_beam_turns_with_the_frame(turn: Orientation) -> None:
    frame = np.zeros((1, 400, 500), "<u2")
    frame[0, 190:192, 250:252] = 9
    view = view_of(frame, Geometry(beam_x_px=250.5, beam_y_px=190.5), orientation=turn)
    shown = picture(view)
    peak = np.argwhere(is_colour(shown.rgb, (255, 255, 255))).mean(axis=0)
    cross = np.argwhere(is_colour(shown.rgb, BEAM)).mean(axis=0)
    assert peak.tolist() == pytest.approx(
        list(shown.place(view.facts.geometry.beam_y_px, view.facts.geometry.beam_x_px))
    )
    assert cross.tolist() == pytest.approx(peak.tolist(), abs=0.51)


# ---------------------------------------------------------------------------------------------------- rings


@pytest.mark.parametrize("spacing", [1.8, 3.5])
@pytest.mark.parametrize("pixels_m", [(1e-4, 1e-4), (0.5e-4, 1.5e-4)])
@pytest.mark.parametrize("binning", [1, 2])
def test_a_ring_is_where_braggs_law_puts_it(spacing: float, pixels_m: tuple[float, float], binning: int) -> None:
    geometry = Geometry(
        wavelength_angstrom=1.1,
        distance_m=0.06,
        beam_x_px=610.3,
        beam_y_px=590.6,
        pixel_y_m=pixels_m[0],
        pixel_x_m=pixels_m[1],
    )
    shown = picture(view_of(np.zeros((1, 1000, 1200), "<u2"), geometry, binning=binning), rings=[spacing])
    y, x = np.argwhere(is_colour(shown.rgb, RING)).T
    stored = [(at + 0.5) / scale * binning - 0.5 for at, scale in zip((y, x), shown.scale, strict=True)]
    from_beam_m = np.hypot((stored[0] - 590.6) * pixels_m[0], (stored[1] - 610.3) * pixels_m[1])
    two_theta = np.arctan2(from_beam_m, 0.06)
    found = 1.1 / (2 * np.sin(two_theta / 2))
    # the label takes some pixels of its own
    close = np.abs(found / spacing - 1) < 0.03
    assert close.sum() > 300
    assert close.mean() > 0.85
    assert np.median(found) == pytest.approx(spacing, rel=0.005)
    assert shown.rings_angstrom == (spacing,)


def test_a_ring_has_no_holes() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    draw_ellipse(image, (90.2, 140.7), (70.5, 120.1), RING)
    y, x = np.argwhere(is_colour(image, RING)).T
    angle = np.arctan2((y - 90.2) / 70.5, (x - 140.7) / 120.1)
    assert np.diff(np.sort(angle)).max() < 1.6 / 70.5
    radius = np.hypot((y - 90.2) / 70.5, (x - 140.7) / 120.1)
    assert abs(radius - 1).max() < 0.72 / 70.5


def test_rings_that_are_chosen_lie_in_the_frame_and_are_round_numbers() -> None:
    shown = picture(view_of(np.zeros((1, 400, 500), "<u2"), KNOWN))
    assert 4 <= len(shown.rings_angstrom) <= 5
    assert list(shown.rings_angstrom) == sorted(shown.rings_angstrom, reverse=True)
    for spacing in shown.rings_angstrom:
        assert len(f"{spacing:g}".replace(".", "").strip("0")) <= 2
        radius_m = ring_radius_m(spacing, 1.0, 0.1)
        assert radius_m is not None
        assert radius_m < math.hypot(250.8, 209.4) * 1e-4
    assert is_colour(shown.rgb, RING).sum() > 1000


@pytest.mark.parametrize("beam", [(-900.0, 200.0), (250.0, 3000.0), (-500.0, -500.0)])
def test_rings_of_a_beam_outside_of_the_frame(beam: tuple[float, float]) -> None:
    known = Geometry(
        wavelength_angstrom=1.0, distance_m=0.1, beam_x_px=beam[0], beam_y_px=beam[1], pixel_x_m=1e-4, pixel_y_m=1e-4
    )
    shown = picture(view_of(np.zeros((1, 400, 500), "<u2"), known))
    assert len(shown.rings_angstrom) >= 3
    assert is_colour(shown.rgb, RING).sum() > 300
    assert not is_colour(shown.rgb, BEAM).any()


def test_rings_outside_of_the_frame_and_behind_are_left_out() -> None:
    view = view_of(np.zeros((1, 400, 500), "<u2"), KNOWN)
    assert picture(view, rings=[0.6, 0.7, 100.0, 4.0]).rings_angstrom == (100.0, 4.0)
    assert picture(view, rings=[]).rings_angstrom == ()
    assert not is_colour(picture(view, rings=[]).rgb, RING).any()
    assert ring_radius_m(0.7, 1.0, 0.1) is None
    assert ring_radius_m(1 / math.sqrt(3), 1.0, 0.1) is None
    assert ring_radius_m(1.0, 1.0, 0.1) == pytest.approx(0.1 * math.sqrt(3))


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.nan, math.inf])
def test_a_spacing_that_is_not_possible(spacing: float) -> None:
    with pytest.raises(UrlError, match="angstrom is not possible"):
        picture(view_of(np.zeros((1, 4, 5), "<u2"), KNOWN), rings=[spacing])


def test_what_can_be_drawn_is_drawn() -> None:
    beam_only = Geometry(beam_x_px=250.3, beam_y_px=190.6)
    rgb = render(view_of(np.zeros((1, 400, 500), "<u2"), beam_only))
    assert is_colour(rgb, BEAM).any()
    assert not is_colour(rgb, RING).any()
    assert list(lacking(beam_only)) == ["rings"]
    assert [words.split(" (")[0] for words in lacking(beam_only)["rings"]] == ["wavelength", "distance", "pixel size"]
    assert lacking(Geometry())["beam centre"] == ["direct beam (--x0 and --y0)"]
    assert lacking(KNOWN) == {}


# ---------------------------------------------------------------------------------------------------- drawing and files


@settings(max_examples=60, deadline=None)
@given(
    centre=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    radii=st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)),
    width=st.integers(1, 4),
)
def test_nothing_is_drawn_on_the_other_side(centre: Any, radii: Any, width: int) -> None:
    frame = np.zeros((40, 50, 3), np.uint8)
    draw_ellipse(frame, centre, radii, RING, width)
    draw_cross(frame, centre, 10, 2, RING, width)
    y, x = np.argwhere(is_colour(frame, RING)).T
    if y.size:
        reach = max(10, *radii) + width + 1
        assert (abs(y - centre[0]) <= reach).all()
        assert (abs(x - centre[1]) <= reach).all()


def test_a_text_stands_where_it_should() -> None:
    image = np.full((40, 60, 3), 99, np.uint8)
    draw_text(image, (5, 7), "1.8", 2, RING)
    changed = np.argwhere((image != 99).any(axis=-1))
    ny, nx = text_shape("1.8", 2)
    assert changed.min(axis=0).tolist() >= [5, 7]
    assert (changed.max(axis=0) < [5 + ny, 7 + nx]).all()
    ones = is_colour(image, RING)[5:23:2, 7:]
    # the one is a bar of five pixels and more, the point is two by two
    assert ones[1:8, 6].all()
    assert ones.sum() == 2 * (10 + 4 + 17)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 99))
def test_pillow_reads_the_same_pixels(shape: tuple[int, int], seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(png(rgb))) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), rgb)


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="No such file or directory"):
        write_png(tmp_path / "no" / "a.png", np.zeros((1, 1, 3), np.uint8))
