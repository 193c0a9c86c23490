# SPDX-License-Identifier: MIT
"""What every layout must do, whoever wrote it: a new file in ``fastlegacy.layouts`` is tested the day it appears."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.errors import LayoutError
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.tree import Tree
from fastlegacy.model import Geometry, Layout, Literal, Padding, Piece, Pixels, piece_size
from fastlegacy.registry import plugins
from fastlegacy.testing.files import write_stack

LAYOUTS: dict[str, Layout] = plugins("fastlegacy.layouts", "LAYOUT")
CASES = [(name, code) for name, layout in LAYOUTS.items() for code in layout.dtypes]
TURNING = Geometry(start_deg=-179.95, step_deg=36.7, exposure_s=0.1, wavelength_angstrom=1.0, distance_m=0.2)

every_layout = pytest.mark.parametrize("name", LAYOUTS)
every_dtype = pytest.mark.parametrize(("name", "code"), CASES)


def test_the_formats_of_the_first_release_are_there() -> None:
    assert {"edf", "edf-stack", "flat", "npy", "npy-stack", "raw", "tiff"} <= LAYOUTS.keys()


@every_layout
def test_it_says_what_it_is(name: str) -> None:
    layout = LAYOUTS[name]
    assert layout.name == name
    assert layout.suffix.startswith(".")
    assert layout.summary == layout.summary.strip() != ""
    assert "\n" not in layout.summary
    assert all(np.dtype(code).str[1:] == code for code in layout.dtypes)


@every_dtype
@pytest.mark.parametrize("order", "<>")
def test_sizes_add_up_and_are_the_same_for_all_frames(
    pixel_stack: Callable[..., Any], name: str, code: str, order: str
) -> None:
    stack = pixel_stack(shape=(12, 2, 3), dtype=f"{order}{code}", geometry=TURNING)
    tree = Tree(stack, LAYOUTS[name])
    for file in tree.values():
        assert sum(piece_size(piece, stack.facts) for piece in file.pieces) == file.size == tree.file_size
        assert file.open().size == file.size == len(file.read())


@every_layout
def test_literals_never_change_their_size_from_frame_to_frame(pixel_stack: Callable[..., Any], name: str) -> None:
    stack = pixel_stack(shape=(101, 1, 1), geometry=TURNING)
    literals = [
        tuple(len(piece.data) for piece in file.pieces if isinstance(piece, Literal))
        for file in Tree(stack, LAYOUTS[name], first=0).values()
    ]
    assert len(set(literals)) == 1


@every_layout
def test_each_frame_is_in_its_file_once(pixel_stack: Callable[..., Any], name: str) -> None:
    stack = pixel_stack()
    pieces = [piece for file in Tree(stack, LAYOUTS[name]).values() for piece in file.pieces]
    frames = [
        frame
        for piece in pieces
        if isinstance(piece, Pixels)
        for frame in range(piece.first, piece.first + piece.frames)
    ]
    assert frames == [0, 1, 2, 3]


@every_layout
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_range_of_bytes_is_the_slice_of_the_whole(
    pixel_stack: Callable[..., Any], name: str, data: st.DataObject
) -> None:
    held = [dtype for dtype in ("<u2", ">u2", ">f8", ">f4", "u1") if dtype.lstrip("<>") in LAYOUTS[name].dtypes]
    dtype = data.draw(st.sampled_from(held))
    file = next(iter(Tree(pixel_stack(shape=(2, 3, 4), dtype=dtype), LAYOUTS[name]).values()))
    whole = file.read()
    start = data.draw(st.integers(0, file.size + 3))
    size = data.draw(st.integers(-1, file.size + 3))
    assert file.read(start, size) == (whole[start:] if size < 0 else whole[start : start + size])
    buffer = bytearray(b"\xaa" * max(size, 0))
    done = file.read_into(buffer, start)
    assert bytes(buffer[:done]) == whole[start : start + max(size, 0)]
    assert buffer[done:] == b"\xaa" * (len(buffer) - done)


@every_dtype
def test_another_reader_gets_the_same_pixels(
    pixel_stack: Callable[..., Any], tmp_path: Path, name: str, code: str
) -> None:
    layout = LAYOUTS[name]
    stack = pixel_stack(dtype=f"<{code}", shape=(3, 6, 4))
    file = list(Tree(stack, layout).values())[-1]
    path = tmp_path / file.name
    path.write_bytes(file.read())
    expected = stack.pixels[-1] if layout.per_frame else stack.pixels
    np.testing.assert_array_equal(_read(path, expected), expected)


def _read(path: Path, expected: Any) -> Any:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix in (".raw", ".bin"):
        return np.fromfile(path, expected.dtype, offset=256 if path.suffix == ".raw" else 0).reshape(expected.shape)
    with fabio.open(str(path)) as image:
        if expected.ndim == 2:
            return image.data
        return np.stack([image.get_frame(i).data for i in range(image.nframes)])


@every_layout
@pytest.mark.parametrize("dtype", ["<c8", "S3", "<f2"])
def test_pixels_of_another_type_are_refused(pixel_stack: Callable[..., Any], name: str, dtype: str) -> None:
    facts = pixel_stack(dtype="<u2").facts
    other = type(facts)(facts.url, facts.shape, facts.leading_shape, np.dtype(dtype))
    if other.dtype.str[1:] not in LAYOUTS[name].dtypes:
        with pytest.raises(LayoutError, match=r"scan\.h5::/entry/data.*cannot hold"):
            LAYOUTS[name].pieces(other, 0)


@every_layout
@pytest.mark.parametrize("frame", [-1, 4])
def test_a_frame_that_is_not_there_is_refused(pixel_stack: Callable[..., Any], name: str, frame: int) -> None:
    with pytest.raises(IndexError):
        LAYOUTS[name].pieces(pixel_stack().facts, frame)


@every_layout
@pytest.mark.parametrize("dtype", ["<u4", ">u2"])
def test_compressed_hdf5_gives_the_bytes_that_uncompressed_pixels_give(tmp_path: Path, name: str, dtype: str) -> None:
    frames = np.random.default_rng(1).poisson(3, (3, 130, 101)).astype(dtype)
    url = write_stack(tmp_path / "scan.h5", frames, filters="bslz4", chunks=(2, 64, 101))
    with Stack(url) as stack:
        tree = Tree(stack, LAYOUTS[name])
        for file in tree.values():
            whole = _uncompressed(file.pieces, frames)
            assert file.read() == whole
            for start in (0, 100, 511, 12_345, len(whole) - 9):
                assert file.read(start, 4099) == whole[start : start + 4099]


def _uncompressed(pieces: tuple[Piece, ...], frames: Any) -> bytes:
    parts = []
    for piece in pieces:
        match piece:
            case Literal(data):
                parts.append(data)
            case Pixels(first, count, order):
                pixels = frames[first : first + count]
                wanted = pixels.dtype if order == "|" else pixels.dtype.newbyteorder(order)
                parts.append(pixels.astype(wanted).tobytes())
            case Padding(size, value):
                parts.append(bytes([value]) * size)
    return b"".join(parts)
