# SPDX-License-Identifier: MIT
"""Frames in a form, against the NumPy twin: types, masks, limits, squares, turns, places, ranges."""

from __future__ import annotations

import gc
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastlegacy import _core, _view
from fastlegacy._codec import simd_levels
from fastlegacy.errors import LayoutError
from fastlegacy.index.conversion import how
from fastlegacy.pixels import AS_STORED, Form, Orientation

from .reference_pixels import OverflowInFrameError, develop

CODES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"]
INTEGERS = CODES[:8]
TURNS = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]


def view_of(frames: NDArray[Any], **keywords: Any) -> _view.View:
    cache = keywords.pop("cache", None) or _core.Cache(keywords.pop("cache_bytes", 10**6))
    dataset = _core.Dataset(
        "scan.h5::/data",
        frames.shape,
        frames.shape,
        bytes(frames.itemsize),
        _core.Files(1),
        cache,
        "memory",
        memory=frames.tobytes(),
    )
    axes = [(0, 1, n, k, 0, 1) for k, n in enumerate(frames.shape)]
    stack = _core.Stack(frames.shape, bytes(frames.itemsize), [(dataset, axes, (0,) * frames.ndim)])
    turn = keywords.pop("orientation", AS_STORED)
    mask = keywords.pop("mask", None)
    return _view.View(
        stack,
        cache,
        frames.dtype.str[1:],
        not frames.dtype.isnative,
        mask=None if mask is None else np.ascontiguousarray(mask).reshape(-1),
        transpose=turn.transpose,
        flip_ud=turn.flip_ud,
        flip_lr=turn.flip_lr,
        **keywords,
    )


def developed(view: _view.View, frame: int, form: Form) -> NDArray[Any]:
    out = np.full(form.shape, 17, form.dtype)
    view.develop(frame, how(form, view.source_dtype), out.reshape(-1).view(np.uint8))
    return out


def frames_of(dtype: str, shape: tuple[int, ...] = (2, 7, 13), seed: int = 1) -> NDArray[Any]:
    """Pixels of which many are small, some are gaps, and some are at the ends of the type."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        pixels = rng.normal(0, 300, shape).astype(dtype)
        some = rng.random(shape)
        pixels[some < 0.1] = np.nan
        pixels[some > 0.9] = rng.choice(np.array([np.inf, -np.inf, 2.5, -0.5, 65535.49, 2.0**31, -(2.0**40)]), 1)
        return pixels
    limits = np.iinfo(kind)
    pixels = rng.poisson(3, shape).astype(dtype)
    some = rng.random(shape)
    pixels[some < 0.2] = limits.max
    pixels[(some > 0.2) & (some < 0.3)] = limits.min
    pixels[some > 0.8] = rng.integers(
        limits.min, limits.max, int((some > 0.8).sum()), endpoint=True, dtype=kind.newbyteorder("=")
    )
    return pixels


@pytest.mark.parametrize("simd", simd_levels())
@pytest.mark.parametrize(("code", "to"), list(itertools.product(CODES, CODES)))
def test_every_type_becomes_every_type(code: str, to: str, simd: str) -> None:
    for order, to_order, saturate in (("<", ">", "clip"), (">", "<", "keep"), ("<", "<", "clip")):
        frames = frames_of(order + code, (2, 7, 1100 if code in ("u2", "u4", "f4") else 13))
        add = 0 if to[0] == "f" else 2  # sums of floating-point numbers depend on their precision
        form = Form(to_order + to, frames.shape[1:], gap=3, bad=4, add=add, saturate=saturate)  # type: ignore[arg-type]
        with np.errstate(over="ignore"):
            expected = develop(frames[1], form)
        np.testing.assert_array_equal(developed(view_of(frames, simd=simd), 1, form), expected)


@pytest.mark.parametrize("code", CODES)
def test_a_mask_says_what_a_pixel_is_whatever_its_value(code: str) -> None:
    frames = frames_of("<" + code)
    mask = np.random.default_rng(2).integers(0, 3, frames.shape[1:]).astype(np.uint8)
    form = Form("<i4", frames.shape[1:], gap=-1, bad=-2, high=2**31 - 3, low=-(2**30))
    got = developed(view_of(frames, mask=mask), 0, form)
    np.testing.assert_array_equal(got, develop(frames[0], form, mask=mask))
    assert (got[mask == 1] == -1).all()
    assert (got[mask == 2] == -2).all()


def test_without_values_for_them_masked_pixels_are_as_the_others() -> None:
    frames = frames_of("<u2")
    mask = np.ones(frames.shape[1:], np.uint8)
    form = Form("<i4", frames.shape[1:])
    np.testing.assert_array_equal(developed(view_of(frames, mask=mask), 0, form), frames[0])


@pytest.mark.parametrize("orientation", TURNS, ids=str)
@pytest.mark.parametrize("binning", [1, 2, 3])
@pytest.mark.parametrize("code", ["u1", "u2", "u4", "i2", "u8", "i8", "f4", "f8"])
def test_squares_turns_and_places(orientation: Orientation, binning: int, code: str) -> None:
    frames = frames_of("<" + code)
    if code in ("u8", "i8"):
        frames = (frames // 256).astype(frames.dtype)  # the sum of nine is a number of 63 bits
    if code[0] == "f":
        frames = np.rint(np.nan_to_num(frames, nan=1, posinf=2, neginf=3))  # whole numbers: sums do not depend on order
    ny, nx = orientation.shape((7 // binning, 13 // binning))
    form = Form(">i4", (ny + 5, nx + 4), at=(2, 3), gap=-1, bad=-2, pad=-9)
    for mask in (None, np.random.default_rng(3).integers(0, 3, (7, 13)).astype(np.uint8)):
        expected = develop(frames[1], form, mask=mask, orientation=orientation, binning=binning)
        view = view_of(frames, mask=mask, orientation=orientation, binning=binning)
        assert view.shape == (ny, nx)
        np.testing.assert_array_equal(developed(view, 1, form), expected)


@pytest.mark.parametrize(
    ("orientation", "numpys"),
    [
        (Orientation.of(rotation_deg=90), lambda a: np.rot90(a)),
        (Orientation.of(rotation_deg=180), lambda a: np.rot90(a, 2)),
        (Orientation.of(rotation_deg=270), lambda a: np.rot90(a, 3)),
        (Orientation.of(transpose=True, rotation_deg=90), lambda a: np.rot90(a.T)),
        (Orientation.of(flip_ud=True, rotation_deg=90), lambda a: np.rot90(a[::-1])),
        (Orientation.of(flip_lr=True, rotation_deg=270), lambda a: np.rot90(a[:, ::-1], 3)),
        (
            Orientation.of(transpose=True, flip_ud=True, flip_lr=True, rotation_deg=90),
            lambda a: np.rot90(a.T[::-1, ::-1]),
        ),
    ],
)
def test_turns_are_those_of_numpy(orientation: Orientation, numpys: Any) -> None:
    frames = np.arange(2 * 70 * 45, dtype="<u2").reshape(2, 70, 45)
    form = Form("<u2", orientation.shape((70, 45)))
    np.testing.assert_array_equal(developed(view_of(frames, orientation=orientation), 1, form), numpys(frames[1]))
    y, x = orientation.point(11, 30, (70, 45))
    assert numpys(frames[1])[int(y), int(x)] == frames[1, 11, 30]


@pytest.mark.parametrize("simd", simd_levels())
@pytest.mark.parametrize("to", ["<u1", ">u2", "<i4", "<f8"])
@pytest.mark.parametrize("shape", [(700, 70), (256, 65), (33, 300), (1, 999), (999, 1)], ids=str)
def test_turns_of_more_rows_than_are_turned_at_a_time(shape: tuple[int, int], to: str, simd: str) -> None:
    frames = np.random.default_rng(0).integers(0, 250, (2, *shape)).astype("<u2")
    for orientation in TURNS:
        ny, nx = orientation.shape(shape)
        for wider in (0, 3):
            form = Form(to, (ny + 2 * wider, nx + 2 * wider), at=(wider, wider), pad=9)
            expected = develop(frames[1], form, orientation=orientation)
            view = view_of(frames, orientation=orientation, cache_bytes=10**8, simd=simd)
            np.testing.assert_array_equal(developed(view, 1, form), expected)
            file = _view.PieceFile(view, [("formed", 1, 1, how(form, view.source_dtype))])
            buffer = bytearray(file.size)
            steps = range(0, file.size, file.size // 3 + 1)  # in pieces, of which none has all
            assert sum(file.read_into(memoryview(buffer)[at : at + steps.step], at) for at in steps) == file.size
            assert bytes(buffer) == expected.tobytes()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_range_of_a_file_is_the_slice_of_the_whole(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.just(3), st.integers(1, 9), st.integers(1, 9)))
    code = data.draw(st.sampled_from(CODES))
    frames = frames_of(data.draw(st.sampled_from("<>")) + code, shape, data.draw(st.integers(0, 99)))
    orientation = data.draw(st.sampled_from(TURNS))
    ny, nx = orientation.shape(shape[1:])
    room = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    to = data.draw(st.sampled_from(["<u1", "<u2", ">u2", "<i4", ">i4", "<f8"]))
    form = Form(to, (ny + room[0] + room[1], nx + room[2] + room[3]), at=(room[0], room[2]), gap=1, bad=2, pad=7)
    view = view_of(frames, orientation=orientation, cache_bytes=data.draw(st.sampled_from([0, 10**6])))
    with np.errstate(over="ignore"):
        expected = b"head" + b"".join(develop(f, form, orientation=orientation).tobytes() for f in frames[1:]) + b"\x05"
    pieces = [("literal", b"head"), ("formed", 1, 2, how(form, view.source_dtype)), ("padding", 1, 5)]
    file = _view.PieceFile(view, pieces)
    assert file.size == len(expected)
    for _ in range(6):
        start = data.draw(st.integers(0, len(expected)))
        size = data.draw(st.integers(0, len(expected)))
        buffer = bytearray(b"\xaa" * (size + 1))
        done = file.read_into(memoryview(buffer)[:size], start) if size else 0
        assert bytes(buffer[:done]) == expected[start : start + size]
        assert buffer[done:] == b"\xaa" * (len(buffer) - done)


@pytest.mark.parametrize("code", INTEGERS)
@pytest.mark.parametrize("binning", [1, 2])
@pytest.mark.parametrize("orientation", TURNS, ids=str)
def test_a_pixel_beyond_the_limits_is_an_error_where_that_was_asked_for(
    code: str, binning: int, orientation: Orientation
) -> None:
    frames = np.zeros((1, 6, 8), "<" + code)
    frames[0, 4, 5] = 101
    form = Form("<i4", orientation.shape((6 // binning, 8 // binning)), high=100, saturate="error")
    view = view_of(frames, binning=binning, orientation=orientation)
    column = 5 // binning * binning
    with pytest.raises(LayoutError, match=rf"scan\.h5::/data frame 0: .*beyond the limits.*row 4, column {column}\)"):
        developed(view, 0, form)
    form = Form("<i4", (6 // binning, 8 // binning), high=100, saturate="error")
    with pytest.raises(OverflowInFrameError):
        develop(frames[0], form, binning=binning)
    frames[0, 4, 5] = 100
    assert developed(view_of(frames, binning=binning), 0, form)[4 // binning, 5 // binning] == 100


def test_the_error_names_the_dataset_that_the_frame_is_from() -> None:
    files, cache = _core.Files(1), _core.Cache(0)
    datasets = [
        _core.Dataset(name, (2, 1, 1), (2, 1, 1), b"\0", files, cache, "memory", memory=memory)
        for name, memory in (("a.h5::/data", b"\1\2"), ("b.h5::/data", b"\3\7"))
    ]
    parts = [
        (d, [(2 * i, 1, 2, 0, 0, 1), (0, 1, 1, 1, 0, 1), (0, 1, 1, 2, 0, 1)], (0, 0, 0)) for i, d in enumerate(datasets)
    ]
    view = _view.View(_core.Stack((4, 1, 1), b"\0", parts), cache, "u1")
    with pytest.raises(LayoutError, match=r"b\.h5::/data frame 3: "):
        developed(view, 3, Form("<i4", (1, 1), high=5, saturate="error"))


def test_a_gap_beyond_the_limits_is_no_error() -> None:
    frames = np.full((1, 2, 3), 65535, "<u2")
    form = Form("<i4", (2, 3), gap=-1, high=100, saturate="error")
    assert (developed(view_of(frames), 0, form) == -1).all()


def test_the_two_largest_numbers_that_a_flag_leaves_room_for() -> None:
    frames = np.array([[[2**32 - 1, 2**32 - 2, 2**31, 2**31 - 1, 2**31 - 2, 2**31 - 3, 2**31 - 4]]], "<u4")
    form = Form("<i4", (1, 7), gap=-1, bad=-2, high=2**31 - 3)
    top = 2**31 - 3
    assert developed(view_of(frames), 0, form).tolist() == [[-1, top, top, top, top, top, top - 1]]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(2.5, 2), (3.5, 4), (-0.5, 0), (2147483646.7, 2**31 - 3), (math.inf, 2**31 - 3), (-math.inf, -10), (math.nan, -2)],
)
@pytest.mark.parametrize("code", ["f4", "f8"])
def test_floating_point_pixels_are_rounded_to_even_and_clipped(code: str, number: float, expected: int) -> None:
    frames = np.array([[[number]]], code)
    form = Form("<i4", (1, 1), gap=-1, bad=-2, low=-10, high=2**31 - 3)
    assert developed(view_of(frames), 0, form)[0, 0] == expected == develop(frames[0], form)[0, 0]


@pytest.mark.parametrize("number", [2.0**63, 2.0**63 + 2048, 2.0**63 + 4096, 2.0**64, -(2.0**63), -(2.0**63) - 2048])
@pytest.mark.parametrize("add", [-4096, 4096])
@pytest.mark.parametrize("to", ["<i8", "<u8"])
def test_floating_point_pixels_may_be_larger_than_what_is_written_before_something_is_added(
    number: float, add: int, to: str
) -> None:
    frames = np.array([[[number]]])
    form = Form(to, (1, 1), add=add)
    assert developed(view_of(frames), 0, form)[0, 0] == develop(frames[0], form)[0, 0]


@pytest.mark.parametrize("orientation", TURNS, ids=str)
def test_rows_longer_than_what_is_decoded_at_a_time(orientation: Orientation) -> None:
    frames = np.random.default_rng(4).integers(0, 2**40, (1, 3, 17001)).astype(">u8")
    turned = frames[0].T if orientation.transpose else frames[0]
    turned = turned[::-1] if orientation.flip_ud else turned
    turned = turned[:, ::-1] if orientation.flip_lr else turned
    form = Form("<i8", turned.shape, gap=-1)
    np.testing.assert_array_equal(developed(view_of(frames, orientation=orientation), 0, form), turned)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"shape": (6, 13)}, "room"),
        ({"at": (1, 0)}, "room"),
        ({"at": (-1, 0), "shape": (20, 20)}, "room"),
        ({"at": (2**63 - 1, 0)}, "room"),
        ({"at": (0, 2**63 - 1)}, "room"),
        ({"shape": (2**31, 2**31)}, "larger than any file"),
    ],
)
def test_a_frame_without_room_for_the_image_is_refused(wrong: dict[str, Any], why: str) -> None:
    frames = frames_of("<u2")
    form = Form(**({"dtype": "<u2", "shape": (7, 13)} | wrong))
    with pytest.raises(ValueError, match=why):
        view_of(frames).develop(0, how(form, "u2"), np.empty(7 * 13 * 2, np.uint8))


@pytest.mark.parametrize(
    "form",
    [
        Form("<u2", (7, 13), gap=-1),
        Form("<u1", (7, 13), pad=256),
        Form("<i4", (7, 13), low=5, high=4),
        Form("<i4", (7, 13), high=-5),
        Form("<u1", (7, 13), gap=0.5),
        Form("<i4", (7, 13), gap=math.inf),
        Form("<i4", (7, 13), bad=math.nan),
        Form("<i4", (7, 13), add=-(2**63), saturate="keep"),
        Form("<i8", (7, 13), add=2**64, saturate="keep"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(form: Form) -> None:
    with pytest.raises(ValueError, match=r"is no|no uint|no u|from|cannot be added"):
        how(form, "u2")


def test_a_wrong_argument_is_refused() -> None:
    frames = frames_of("<u2")
    view = view_of(frames)
    plain = how(Form("<u2", (7, 13)), "u2")
    out = np.empty(7 * 13 * 2, np.uint8)
    with pytest.raises(IndexError):
        view.develop(2, plain, out)
    with pytest.raises(ValueError, match="size"):
        view.develop(0, plain, out[1:])
    with pytest.raises(ValueError, match="mask"):
        view_of(frames, mask=np.zeros((7, 12), np.uint8))
    with pytest.raises(ValueError, match="no class 3"):
        view_of(frames, mask=np.full((7, 13), 3, np.uint8))
    with pytest.raises(ValueError, match="squares"):
        view_of(frames, binning=8)
    with pytest.raises(ValueError, match="coded"):
        view.measure(0, how(Form("<f8", (7, 13)), "u2"))
    with pytest.raises(ValueError, match="32 bits"):
        view.measure(0, how(Form("<u2", (7, 13)), "u2", "byte_offset"))
    with pytest.raises(ValueError, match="codec"):
        view.encoded(0, 10, plain)
    with pytest.raises(ValueError, match="view"):
        _view.PieceFile(view.stack, [("formed", 0, 1, plain)])
    vast = how(Form("<f8", (2**30, 2**29)), "u2")
    with pytest.raises(ValueError, match="larger than any file"):
        _view.PieceFile(view, [("formed", 1, 1, vast)])


def test_a_mask_stays_where_it_is_as_long_as_a_view_looks_at_it() -> None:
    mask = bytearray(7 * 13)
    view = view_of(frames_of("<u2"))
    other = _view.View(view.stack, _core.Cache(0), "u2", mask=mask)
    with pytest.raises(BufferError):
        mask.extend(bytes(10**6))
    del other
    mask.extend(bytes(10**6))


def test_a_ring_of_objects_does_not_keep_a_view_from_leaving_the_cache() -> None:
    class Ring(tuple[int, int]):
        view: _view.View

    cache = _core.Cache(10**6)
    stack = _core.Stack((1, 2, 2), b"\0", [])
    view = _view.View(stack, cache, "u1")
    shape = Ring((2, 2))
    shape.view = view
    assert len(view.encoded(0, 4, how(Form("<i4", shape), "u1", "byte_offset"))) == 4
    assert cache.used_bytes == 4
    del view, shape
    gc.collect()
    assert cache.used_bytes == 0
