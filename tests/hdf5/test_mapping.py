# SPDX-License-Identifier: MIT
"""The algebra of boxes, against NumPy's index arrays."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy.hdf5.mapping import Axis, Box, Run, compose, identity, pair_runs, select, zip_boxes

NOTHING = -1


def show(box, source, shape):
    """What a box of a virtual array of ``shape`` shows of an array of numbers; NOTHING where it shows nothing."""
    out = np.full(shape, NOTHING)
    places = [axis[0] + axis[1] * np.arange(axis[2]) for axis in box.axes]
    index = list(box.base)
    for k, (_, _, n, src_axis, src_start, src_step) in enumerate(box.axes):
        if src_axis >= 0:
            along = src_start + src_step * np.arange(n)
            index[src_axis] = along.reshape([-1 if j == k else 1 for j in range(len(shape))])
    out[np.ix_(*places)] = source[tuple(index)]
    return out


def numbered(shape):
    return np.arange(np.prod(shape)).reshape(shape)


shapes = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)


@st.composite
def regular(draw, n, count):
    """Start and step of ``count`` places in 0 ... n-1."""
    step = draw(st.integers(1, (n - 1) // (count - 1) if count > 1 else 4))
    return draw(st.integers(0, n - 1 - step * (count - 1))), step


@st.composite
def boxes(draw, shape, source_shape):
    """Any box of an array of ``shape`` onto one of ``source_shape``, axes turned."""
    partners = dict(zip(range(len(shape)), draw(st.permutations(range(len(source_shape)))), strict=False))
    axes = []
    for k, n in enumerate(shape):
        if k in partners and draw(st.integers(0, 3)):
            m = source_shape[partners[k]]
            count = draw(st.integers(1, min(n, m)))
            (start, step), (src_start, src_step) = draw(regular(n, count)), draw(regular(m, count))
            axes.append(Axis(start, step, count, partners[k], src_start, src_step))
        else:
            axes.append(Axis(draw(st.integers(0, n - 1)), 1, 1, -1, 0, 1))
    return Box(tuple(axes), tuple(draw(st.integers(0, n - 1)) for n in source_shape))


@settings(max_examples=500)
@given(data=st.data())
def test_compose_is_one_after_the_other(data):
    top, middle, bottom = data.draw(shapes), data.draw(shapes), data.draw(shapes)
    outer, inner = data.draw(boxes(top, middle)), data.draw(boxes(middle, bottom))
    source = numbered(bottom)
    # places of the middle that show nothing must show nothing above
    expected = show(outer, show(inner, source, middle), top)
    composed = compose(outer, inner)
    if composed is None:
        assert (expected == NOTHING).all()
    else:
        assert np.array_equal(show(composed, source, top), expected)


@settings(max_examples=200)
@given(data=st.data())
def test_compose_with_identity(data):
    top, bottom = data.draw(shapes), data.draw(shapes)
    box = data.draw(boxes(top, bottom))
    for same in (compose(box, identity(bottom)), compose(identity(top), box)):
        assert same is not None
        assert np.array_equal(show(same, numbered(bottom), top), show(box, numbered(bottom), top))


items = st.integers(-12, 12) | st.builds(
    slice, st.none() | st.integers(-12, 12), st.none() | st.integers(-12, 12), st.none() | st.integers(1, 5)
)


@settings(max_examples=500)
@given(shape=shapes, data=st.data())
def test_select_is_numpy_s_selection(shape, data):
    selection = tuple(data.draw(items) for _ in shape)
    source = numbered(shape)
    try:
        expected = source[selection]
    except IndexError:
        with pytest.raises(IndexError, match=r"which has|empty"):
            select(shape, selection)
        return
    if expected.size == 0:
        with pytest.raises(IndexError, match="empty"):
            select(shape, selection)
        return
    box = select(shape, selection)
    assert np.array_equal(show(box, source, expected.shape), expected)


def test_select_backwards_is_refused():
    with pytest.raises(IndexError, match="backwards"):
        select((4, 4), (slice(None, None, -1), slice(None)))


@st.composite
def rows_of_runs(draw, total, n_most=4):
    """Disjoint, ascending runs with so many places in all."""
    cuts = sorted([*draw(st.lists(st.integers(1, total), max_size=n_most, unique=True)), 0, total])
    at, runs = draw(st.integers(0, 3)), []
    for count in (b - a for a, b in pairwise(cuts) if b > a):
        step = draw(st.integers(1, 3))
        runs.append(Run(at, step, count))
        at += step * (count - 1) + 1 + draw(st.integers(0, 3))
    return runs


def places(runs):
    return np.concatenate([run[0] + run[1] * np.arange(run[2]) for run in runs])


@given(total=st.integers(1, 20), data=st.data())
def test_pairs_of_runs_keep_the_order(total, data):
    left, right = data.draw(rows_of_runs(total)), data.draw(rows_of_runs(total))
    pairs = list(pair_runs(left, right))
    assert all(a[2] == b[2] for a, b in pairs)
    assert np.array_equal(places([a for a, _ in pairs]), places(left))
    assert np.array_equal(places([b for _, b in pairs]), places(right))


@settings(max_examples=300)
@given(data=st.data())
def test_zip_boxes_is_c_order(data):
    """Both selections in C order correspond, as HDF5 defines a mapping; axes of one place may be anywhere."""
    lengths = data.draw(st.lists(st.integers(2, 6), min_size=0, max_size=3))

    def with_ones():
        out = list(lengths)
        for _ in range(data.draw(st.integers(0 if lengths else 1, 2))):
            out.insert(data.draw(st.integers(0, len(out))), 1)
        return [data.draw(rows_of_runs(n)) for n in out]

    virtual, source = with_ones(), with_ones()
    indices = [[places(runs) for runs in side] for side in (virtual, source)]
    shape, source_shape = (tuple(int(axis.max()) + 1 for axis in side) for side in indices)
    numbers = numbered(source_shape)
    expected = np.full(shape, NOTHING)
    expected[np.ix_(*indices[0])] = numbers[np.ix_(*indices[1])].reshape([len(axis) for axis in indices[0]])
    shown = np.full(shape, NOTHING)
    for box in zip_boxes(virtual, source):
        part = show(box, numbers, shape)
        assert (shown[part != NOTHING] == NOTHING).all()
        shown = np.where(part == NOTHING, shown, part)
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize(
    ("virtual", "source"), [([[Run(0, 1, 6)]], [[Run(0, 1, 2)], [Run(0, 1, 3)]]), ([[Run(0, 1, 4)]], [[Run(0, 1, 3)]])]
)
def test_what_no_box_can_say(virtual, source):
    assert zip_boxes(virtual, source) is None
