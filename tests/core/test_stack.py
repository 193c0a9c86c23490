# SPDX-License-Identifier: MIT
"""Stacks over datasets that need no file: every range of pixels, parts and gaps, and arguments that reach outside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _core, _view
from fastlegacy.errors import DecodeError


def chunks_of(array, chunk):
    """Bytes of every chunk in C order of the grid, padded at the edges with 0xEE."""
    grid = tuple(-(-n // c) for n, c in zip(array.shape, chunk, strict=True))
    for place in np.ndindex(grid):
        box = tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, chunk, strict=True))
        whole = np.frombuffer(b"\xee" * (int(np.prod(chunk)) * array.itemsize), array.dtype).reshape(chunk).copy()
        part = array[box]
        whole[tuple(slice(n) for n in part.shape)] = part
        yield np.frombuffer(whole.tobytes(), np.uint8)


def memory_dataset(array, cache=None):
    fill = bytes(array.itemsize)
    return _core.Dataset(
        "memory.h5::/d",
        array.shape,
        array.shape,
        fill,
        _core.Files(1),
        cache or _core.Cache(1 << 20),
        "memory",
        memory=array.tobytes(),
    )


def python_dataset(array, chunk, cache=None, calls=None):
    stored = list(chunks_of(array, chunk))

    def load(number):
        if calls is not None:
            calls.append(number)
        return stored[number]

    fill = bytes(array.itemsize)
    cache = cache or _core.Cache(1 << 20)
    return _core.Dataset("python.h5::/d", array.shape, chunk, fill, _core.Files(1), cache, "python", loader=load)


def whole_stack(dataset, array):
    axes = [(0, 1, n, k, 0, 1) for k, n in enumerate(array.shape)]
    return _core.Stack(array.shape, bytes(array.itemsize), [(dataset, axes, (0,) * array.ndim)])


def read(stack, first, count, itemsize):
    room = np.full(count * itemsize + 16, 0xA5, np.uint8)
    stack.read(first, room[8 : 8 + count * itemsize])
    assert (room[:8] == 0xA5).all()
    assert (room[8 + count * itemsize :] == 0xA5).all()
    return room[8 : 8 + count * itemsize].tobytes()


def numbers(shape, dtype):
    n = int(np.prod(shape))
    return np.arange(1, n + 1, dtype=np.uint64).astype(dtype).reshape(shape)


shapes = st.lists(st.integers(1, 7), min_size=2, max_size=4).map(tuple)
dtypes = st.sampled_from(["u1", "<u2", ">u4", "f8"])


@settings(max_examples=200, deadline=None)
@given(shape=shapes, dtype=dtypes, data=st.data())
def test_every_range_is_the_slice(shape, dtype, data):
    array = numbers(shape, dtype)
    chunk = tuple(data.draw(st.integers(1, n + 1)) for n in shape)
    dataset = data.draw(st.sampled_from(["memory", "python"]))
    stack = whole_stack(memory_dataset(array) if dataset == "memory" else python_dataset(array, chunk), array)
    start = data.draw(st.integers(0, array.size))
    stop = data.draw(st.integers(start, array.size))
    expected = array.reshape(-1)[start:stop].tobytes()
    assert read(stack, start, stop - start, array.itemsize) == expected


@st.composite
def axis(draw, length, source_length):
    """A part's axis of regular places that lie inside of both."""
    count = draw(st.integers(1, min(length, source_length)))

    def regular(n):
        step = draw(st.integers(1, max(1, (n - 1) // max(1, count - 1)) if count > 1 else 3))
        return draw(st.integers(0, n - 1 - step * (count - 1))), step

    (start, step), (src_start, src_step) = regular(length), regular(source_length)
    return start, step, count, src_start, src_step


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_parts_are_laid_over_each_other(data):
    """Any boxes, steps, turned axes, constants, gaps: as NumPy's own index arrays put them."""
    shape = data.draw(shapes)
    expected = np.full(shape, 0xFFFF, "<u2")
    parts = []
    for number in range(data.draw(st.integers(0, 4))):
        source = numbers(data.draw(shapes), "<u2") + np.uint16(1000 * (number + 1))
        partners = list(data.draw(st.permutations(range(source.ndim))))[: len(shape)]
        base = [data.draw(st.integers(0, n - 1)) for n in source.shape]
        axes, places, index = [], [], list(base)
        for k, length in enumerate(shape):
            if k < len(partners) and data.draw(st.booleans()):
                p = partners[k]
                start, step, count, src_start, src_step = data.draw(axis(length, source.shape[p]))
                axes.append((start, step, count, p, src_start, src_step))
                along = (src_start + src_step * np.arange(count)).reshape(
                    [-1 if j == k else 1 for j in range(len(shape))]
                )
                index[p] = along
            else:
                start, step, count = data.draw(st.integers(0, length - 1)), 1, 1
                axes.append((start, 1, 1, -1, 0, 1))
            places.append(start + step * np.arange(count))
        if data.draw(st.integers(0, 4)) == 0:
            parts.append((b"\x07\x00", axes, ()))
            expected[np.ix_(*places)] = 7
            continue
        chunk = tuple(data.draw(st.integers(1, n)) for n in source.shape)
        parts.append((python_dataset(source, chunk), axes, base))
        expected[np.ix_(*places)] = source[tuple(index)]
    stack = _core.Stack(shape, b"\xff\xff", parts)
    assert read(stack, 0, expected.size, 2) == expected.tobytes()
    start = data.draw(st.integers(0, expected.size))
    stop = data.draw(st.integers(start, expected.size))
    assert read(stack, start, stop - start, 2) == expected.reshape(-1)[start:stop].tobytes()


@pytest.mark.parametrize("kind", ["memory", "python"])
@pytest.mark.parametrize("turn", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_turned_axes(turn, kind):
    """Every range of a stack whose axes are another order of the dataset's: rows overlap each other in a chunk."""
    source = numbers((2, 3, 4), "<u2")
    expected = source.transpose(turn)
    dataset = memory_dataset(source) if kind == "memory" else python_dataset(source, (2, 2, 3))
    axes = [(0, 1, n, k, 0, 1) for n, k in zip(expected.shape, turn, strict=True)]
    stack = _core.Stack(expected.shape, b"\0\0", [(dataset, axes, (0, 0, 0))])
    flat = expected.reshape(-1)
    for start in range(flat.size):
        for stop in range(start, flat.size + 1):
            assert read(stack, start, stop - start, 2) == flat[start:stop].tobytes()


def test_a_contiguous_dataset_of_wide_rows(tmp_path):
    """Places that lie far from each other in a plain file are read row by row."""
    array = numbers((2, 40, 20_000), "<u2")
    path = tmp_path / "raw"
    path.write_bytes(b"head" + array.tobytes())
    status = path.stat()
    files = _core.Files(2)
    file = files.add(bytes(path), status.st_size, status.st_ino, status.st_mtime_ns)
    dataset = _core.Dataset(
        "raw::/d", array.shape, array.shape, b"\0\0", files, _core.Cache(1), "contiguous", file=file, address=4
    )
    assert dataset.allocated
    axes = [(0, 1, 2, 0, 0, 1), (1, 2, 10, 1, 3, 3), (0, 1, 50, 2, 100, 7)]
    stack = _core.Stack((2, 30, 50), b"\x09\x00", [(dataset, axes, (0, 0, 0))])
    expected = np.full((2, 30, 50), 9, "<u2")
    expected[:, 1:21:2, :] = array[:, 3:33:3, 100:450:7]
    assert read(stack, 0, expected.size, 2) == expected.tobytes()
    assert read(stack, 77, 1000, 2) == expected.reshape(-1)[77:1077].tobytes()


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4", "<f8"])
@pytest.mark.parametrize("value", [0, 1, 0x55])
def test_what_was_never_written_is_the_fill_value(dtype, value):
    fill = np.array([value], dtype).tobytes()
    files, cache = _core.Files(1), _core.Cache(1000)
    nothing = files.add(b"/nowhere", 1, 2, 3)
    shape, nowhere = (3, 5, 7), np.full(9, 2**64 - 1, np.uint64)
    chunked = _core.Dataset(
        "a.h5::/d",
        shape,
        (1, 5, 3),
        fill,
        files,
        cache,
        "chunked",
        file=nothing,
        chunk_map=lambda: (nowhere, np.zeros(9, np.uint64), np.zeros(9, np.uint32)),
    )
    contiguous = _core.Dataset("a.h5::/d", shape, shape, fill, files, cache, "contiguous", file=nothing)
    without_file = _core.Dataset("a.h5::/d", shape, shape, fill, files, cache, "contiguous")
    assert not contiguous.allocated
    assert without_file.address is None
    for dataset in (chunked, contiguous, without_file):
        stack = whole_stack(dataset, np.empty(shape, dtype))
        assert read(stack, 3, 100, len(fill)) == fill * 100


def test_chunk_map_is_fetched_once_and_when_it_is_needed():
    calls = []
    files = _core.Files(1)
    nothing = files.add(b"/nowhere", 1, 2, 3)

    def chunk_map():
        calls.append(1)
        return np.full(4, 2**64 - 1, np.uint64), np.zeros(4, np.uint64), np.zeros(4, np.uint32)

    def dataset():
        return _core.Dataset(
            "a::/d", (4, 2, 2), (1, 2, 2), b"\1", files, _core.Cache(1), "chunked", file=nothing, chunk_map=chunk_map
        )

    first, second = dataset(), dataset()
    assert first.chunk == (1, 2, 2)
    assert first.grid == (4, 1, 1)
    parts = [
        (d, [(4 * i, 1, 4, 0, 0, 1), (0, 1, 2, 1, 0, 1), (0, 1, 2, 2, 0, 1)], (0, 0, 0))
        for i, d in enumerate((first, second))
    ]
    stack = _core.Stack((8, 2, 2), b"\0", parts)
    assert calls == []
    stack.prepare(0, 3)
    stack.prepare(2, 2)
    assert len(calls) == 1
    assert read(stack, 16, 16, 1) == b"\1" * 16
    assert len(calls) == 2
    assert len(second.chunk_map()[0]) == 4
    assert len(calls) == 2
    assert memory_dataset(numbers((2, 2), "u1")).chunk_map() is None


@pytest.mark.parametrize("rows", [(3, 4, 4), (4, 3, 4), (4, 4, 5)])
def test_chunk_map_of_another_length_is_refused(rows):
    files = _core.Files(1)
    nothing = files.add(b"/nowhere", 1, 2, 3)
    arrays = [np.zeros(n, t) for n, t in zip(rows, (np.uint64, np.uint64, np.uint32), strict=True)]
    more = {"file": nothing, "chunk_map": lambda: tuple(arrays)}
    dataset = _core.Dataset("a::/d", (4, 2, 2), (1, 2, 2), b"\1", files, _core.Cache(1), "chunked", **more)
    with pytest.raises(ValueError, match="one row for each chunk"):
        dataset.prepare()
    stack = whole_stack(dataset, np.empty((4, 2, 2), "u1"))
    with pytest.raises(DecodeError, match="one row for each chunk"):
        stack.read(0, bytearray(4))


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("fault", [OSError("no such disk"), KeyError("d"), KeyboardInterrupt()])
def test_error_of_a_loader_is_raised_and_forgotten(fault):
    array = numbers((3, 2, 4), "<u2")
    broken = [True]

    def load(number):
        if broken[0] and number == 1:
            raise fault
        return np.frombuffer(array[number].tobytes(), np.uint8)

    cache = _core.Cache(1 << 20)
    dataset = _core.Dataset("p.h5::/x/d", array.shape, (1, 2, 4), b"\0\0", _core.Files(1), cache, "python", loader=load)
    stack = whole_stack(dataset, array)
    with pytest.raises(DecodeError) as caught:
        stack.read(0, bytearray(array.nbytes))
    assert (caught.value.file, caught.value.dataset, caught.value.frame) == ("p.h5", "/x/d", 1)
    assert str(fault) in str(caught.value)
    assert read(stack, 16, 8, 2) == array[2].tobytes()
    broken[0] = False
    assert read(stack, 8, 8, 2) == array[1].tobytes()
    assert cache.used_bytes == array.nbytes


@pytest.mark.parametrize("result", [np.zeros(7, np.uint8), np.zeros(9, np.uint8), b"", None, "text"])
def test_loader_that_gives_something_else(result):
    array = numbers((1, 2, 4), "u1")
    dataset = _core.Dataset(
        "p::/d", array.shape, array.shape, b"\0", _core.Files(1), _core.Cache(99), "python", loader=lambda _: result
    )
    with pytest.raises(DecodeError):
        whole_stack(dataset, array).read(0, bytearray(8))


@pytest.mark.parametrize(("first", "size"), [(-1, 2), (24, 2), (23, 4), (0, 50), (2**62, 2), (-(2**63), 2)])
def test_pixels_outside_of_the_stack(first, size):
    array = numbers((3, 2, 4), "<u2")
    with pytest.raises(IndexError):
        whole_stack(memory_dataset(array), array).read(first, bytearray(size))


def test_out_is_whole_pixels_in_memory_that_can_be_written():
    stack = whole_stack(memory_dataset(numbers((3, 2, 4), "<u2")), numbers((3, 2, 4), "<u2"))
    with pytest.raises(ValueError, match="whole number"):
        stack.read(0, bytearray(3))
    with pytest.raises((ValueError, BufferError)):
        stack.read(0, b"12")
    with pytest.raises(TypeError):
        stack.read(0, None)
    stack.read(24, bytearray())


GOOD = [(0, 1, 3, 0, 0, 1), (0, 1, 2, 1, 0, 1), (0, 1, 4, 2, 0, 1)]


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        (0, (1, 1, 3, 0, 0, 1)),
        (0, (0, 2, 3, 0, 0, 1)),
        (0, (-1, 1, 3, 0, 0, 1)),
        (0, (0, 0, 3, 0, 0, 1)),
        (0, (0, 1, 0, 0, 0, 1)),
        (0, (0, 1, 3, 3, 0, 1)),
        (0, (0, 1, 3, -1, 0, 1)),
        (0, (0, 1, 3, 0, 1, 1)),
        (0, (0, 1, 2, 0, -1, 1)),
        (0, (0, 1, 2, 0, 0, 0)),
        (0, (0, 1, 2, 0, 2, -1)),
        (1, (0, 1, 2, 1, 0, 2)),
        (2, (0, 1, 5, 2, 0, 1)),
    ],
)
def test_parts_that_reach_outside(axis, value):
    dataset = memory_dataset(numbers((3, 2, 4), "<u2"))
    axes = [*GOOD[:axis], value, *GOOD[axis + 1 :]]
    with pytest.raises(ValueError, match=r"part|axis"):
        _core.Stack((3, 2, 4), b"\0\0", [(dataset, axes, (0, 0, 0))])


@pytest.mark.parametrize("base", [(3, 0, 0), (0, 0, 4), (-1, 0, 0), (0, 0), (0, 0, 0, 0)])
def test_base_outside(base):
    with pytest.raises(ValueError, match="part"):
        _core.Stack((3, 2, 4), b"\0\0", [(memory_dataset(numbers((3, 2, 4), "<u2")), GOOD, base)])


def test_other_impossible_stacks():
    dataset = memory_dataset(numbers((3, 2, 4), "<u2"))
    with pytest.raises(ValueError, match="does not fit"):
        _core.Stack((3, 2, 4), b"\0", [(dataset, GOOD, (0, 0, 0))])
    with pytest.raises(ValueError, match="constant"):
        _core.Stack((3, 2, 4), b"\0\0", [(b"\0", GOOD, ())])
    with pytest.raises(ValueError, match="as many axes"):
        _core.Stack((3, 2, 4), b"\0\0", [(dataset, GOOD[:2], (0, 0, 0))])
    for shape in [(4,), (1,) * 11, (0, 2, 4), (3, -1, 4)]:
        with pytest.raises(ValueError, match="impossible"):
            _core.Stack(shape, b"\0\0", [])
    for fill in (b"", bytes(17)):
        with pytest.raises(ValueError, match="impossible"):
            _core.Stack((3, 2, 4), fill, [])


def test_impossible_datasets():
    files, cache = _core.Files(1), _core.Cache(1)

    def dataset(shape=(2, 2), chunk=(2, 2), fill=b"\0", kind="memory", **more):
        return _core.Dataset("a::/d", shape, chunk, fill, files, cache, kind, **more)

    for arguments in [
        {"shape": ()},
        {"shape": (1,) * 17, "chunk": (1,) * 17},
        {"chunk": (2,)},
        {"chunk": (0, 2)},
        {"shape": (-1, 2)},
        {"fill": b""},
        {"chunk": (2**62, 2**62)},
        {"kind": "contiguous", "address": 4},
        {"kind": "chunked"},
        {"memory": b"123"},
        {"memory": None},
    ]:
        with pytest.raises(ValueError, match=r"impossible|larger|no such file|shorter|not chunked"):
            dataset(**arguments)


def test_nothing_but_gaps():
    stack = _core.Stack((2, 3, 4), b"\x12\x34", [])
    assert read(stack, 5, 19, 2) == b"\x12\x34" * 19


@pytest.mark.parametrize(
    ("shape", "chunk"), [((2**62, 2**62), (1, 1)), ((2**63 - 1, 2), (2**61, 2)), ((2**40, 2**40), (2**40, 2**40))]
)
def test_datasets_larger_than_any_file(shape, chunk):
    with pytest.raises(ValueError, match="larger than any file"):
        _core.Dataset("a::/d", shape, chunk, b"\0\0\0\0", _core.Files(1), _core.Cache(1), "python")


def test_numbers_that_would_run_over():
    dataset = memory_dataset(numbers((3, 2, 4), "<u2"))
    with pytest.raises(ValueError, match="larger than any file"):
        _core.Stack((2**40, 2**40, 4), b"\0\0", [])
    with pytest.raises(ValueError, match="outside"):
        _core.Stack((3, 2, 4), b"\0\0", [(dataset, [(0, 2**62, 5, 2, 0, 2**62), *GOOD[1:]], (0, 0, 0))])
    stack = _core.Stack((3, 2, 4), b"\0\0", [(dataset, GOOD, (0, 0, 0))])
    with pytest.raises(IndexError):
        stack.read(2**63 - 1, bytearray(4))
    with pytest.raises(ValueError, match="any file"):
        _view.PieceFile(stack, 3 * [("padding", 2**61, 0)])


def test_an_unknown_kind_of_storage():
    with pytest.raises(ValueError, match="storage"):
        _core.Dataset("a::/d", (2, 2), (2, 2), b"\0", _core.Files(1), _core.Cache(1), "tape")
