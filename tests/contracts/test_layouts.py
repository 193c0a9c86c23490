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
from fastlegacy.index import tree as tree_module
from fastlegacy.index.tree import Tree
from fastlegacy.index.view import View
from fastlegacy.model import CodedPixels, Geometry, Layout, Literal, Pixels, piece_size
from fastlegacy.pixels import Orientation, PixelPolicy
from fastlegacy.registry import plugins
from fastlegacy.testing.files import write_stack

from ..whole_files import file_bytes, pixels_of

LAYOUTS: dict[str, Layout] = plugins("fastlegacy.layouts", "LAYOUT")
CASES = [(name, code) for name, layout in LAYOUTS.items() for code in layout.dtypes]
TURNING = Geometry(start_deg=-179.95, step_deg=36.7, exposure_s=0.1, wavelength_angstrom=1.0, distance_m=0.2)

every_layout = pytest.mark.parametrize("name", LAYOUTS)
every_dtype = pytest.mark.parametrize(("name", "code"), CASES)


def test_the_formats_of_the_first_release_are_there() -> None:
    first = {"edf", "edf-stack", "flat", "npy", "npy-stack", "raw", "tiff"}
    assert first | {"cbf", "esperanto", "ge", "mccd", "sfrm", "smv"} <= LAYOUTS.keys()


@every_layout
def test_it_says_what_it_is(name: str) -> None:
    layout = LAYOUTS[name]
    assert layout.name == name
    assert layout.suffix.startswith(".")
    assert layout.summary == layout.summary.strip() != ""
    assert "\n" not in layout.summary
    assert layout.readers
    for option in layout.options.values():
        assert option.help == option.help.strip() != ""
        assert not option.choices or option.default in option.choices
    assert all(np.dtype(code).str[1:] == code for code in layout.dtypes)


@every_dtype
@pytest.mark.parametrize("order", "<>")
def test_sizes_add_up_and_are_known_before_a_file_is_opened(
    pixel_stack: Callable[..., Any], name: str, code: str, order: str
) -> None:
    stack = pixel_stack(shape=(12, 2, 3), dtype=f"{order}{code}", geometry=TURNING)
    tree = Tree(stack, LAYOUTS[name])
    assert LAYOUTS[name].encoded or tree.file_size is not None
    for file in tree.values():
        size = file.size
        assert tree.file_size in (None, size)
        assert sum(piece_size(piece, tree.facts) for piece in file.pieces) == size
        assert file.open().size == size == len(file.read())


@every_layout
def test_literals_never_change_their_size_from_frame_to_frame(pixel_stack: Callable[..., Any], name: str) -> None:
    stack = pixel_stack(shape=(101, 1, 1), geometry=TURNING)
    literals = {
        # an encoded body's size stands in its header, and may have more digits in one file than in another
        tuple(len(piece.data) for piece in file.pieces if isinstance(piece, Literal))
        for file in Tree(stack, LAYOUTS[name], first=0).values()
        if not any(isinstance(piece, CodedPixels) and len(str(piece.size)) > 1 for piece in file.pieces)
    }
    assert len(literals) <= 1


@pytest.mark.parametrize(
    ("name", "chosen"),
    [(name, {}) for name in LAYOUTS]
    + [
        (name, {option: value})
        for name, layout in LAYOUTS.items()
        for option, known in layout.options.items()
        for value in (known.choices or ((True,) if known.default is False else ()))
        if value != known.default
    ],
    ids=str,
)
def test_sizes_of_many_files_at_once_are_those_of_each(
    pixel_stack: Callable[..., Any], name: str, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "_BESIDE", 32)
    stack = pixel_stack(shape=(75, 12, 12), dtype="<i4", geometry=TURNING)
    # from a byte for each pixel to seven, so that sizes have three digits and four
    pixels = stack.pixels * np.logspace(-9, 0, 75)[:, None, None]
    stack = type(stack)(pixels.astype("<i4"), TURNING, stack.facts.mtime_ns)
    tree = Tree(stack, LAYOUTS[name], options=chosen)
    if tree.file_size is not None:
        assert tree.sizes_beside(0) is None
        return
    assert tree.sizes_beside(40) is None, "nothing was measured"
    sizes = [file.size for file in tree.values()]
    coded = [piece for file in tree.values() for piece in file.pieces if isinstance(piece, CodedPixels)]
    assert len({piece.size for piece in coded}) > 5
    assert name != "cbf" or len({len(str(piece.size)) for piece in coded}) > 1
    for first in (0, 32, 64):
        for index in {first, first + 10, min(first + 31, 74)}:
            begin, found = tree.sizes_beside(index) or (-1, np.array([]))
            assert (begin, found.tolist()) == (first, sizes[first : first + 32])


@every_layout
def test_each_frame_is_in_one_file_once(pixel_stack: Callable[..., Any], name: str) -> None:
    pieces = [piece for file in Tree(pixel_stack(), LAYOUTS[name]).values() for piece in file.pieces]
    frames = [
        frame
        for piece in pieces
        if isinstance(piece, Pixels)
        for frame in range(piece.first, piece.first + piece.frames)
    ]
    frames += [piece.frame for piece in pieces if isinstance(piece, CodedPixels)]
    assert sorted(frames) == [0, 1, 2, 3]


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
@pytest.mark.parametrize("shape", [(3, 6, 4), (2, 1, 9), (2, 9, 1), (2, 7, 13)], ids=str)
def test_another_reader_gets_the_same_pixels(
    pixel_stack: Callable[..., Any], tmp_path: Path, name: str, code: str, shape: tuple[int, ...]
) -> None:
    layout = LAYOUTS[name]
    stack = pixel_stack(dtype=f"<{code}", shape=shape)
    file = list(Tree(stack, layout).values())[-1]
    path = tmp_path / file.name
    path.write_bytes(file.read())
    pieces = [piece for piece in file.pieces if isinstance(piece, Pixels | CodedPixels)]
    expected = np.concatenate([pixels_of(piece, stack.pixels) for piece in pieces])
    np.testing.assert_array_equal(_read(path, expected[0] if layout.per_frame else expected), np.squeeze(expected))


def _read(path: Path, expected: Any) -> Any:
    if path.suffix == ".npy":
        return np.squeeze(np.load(path))
    if path.suffix in (".raw", ".bin"):
        pixels = np.fromfile(path, expected.dtype, offset=256 if path.suffix == ".raw" else 0)
        return np.squeeze(pixels.reshape(expected.shape))
    with fabio.open(str(path)) as image:
        frames = np.stack([image.get_frame(i).data for i in range(image.nframes)])
    return np.squeeze(frames)


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
@pytest.mark.parametrize("dtype", ["<u4", ">u2", "<i2", "<f4"])
def test_compressed_hdf5_gives_the_bytes_that_the_twins_give(tmp_path: Path, name: str, dtype: str) -> None:
    if dtype[1:] not in LAYOUTS[name].dtypes:
        pytest.skip("not a type of this format")
    frames = np.random.default_rng(1).poisson(3, (3, 130, 101)).astype(dtype)
    frames[:, 50:60] = np.iinfo(dtype).max if dtype[1] != "f" else np.nan
    frames[1, 3, 7] = 77
    url = write_stack(tmp_path / "scan.h5", frames, filters="bslz4", chunks=(2, 64, 101))
    with Stack(url) as stack:
        tree = Tree(stack, LAYOUTS[name])
        for file in tree.values():
            whole = file_bytes(LAYOUTS[name], tree.facts, frames, file.index)
            assert file.size == len(whole)
            assert file.read() == whole
            for start in (0, 100, 511, 12_345, len(whole) - 9):
                assert file.read(start, 4099) == whole[start : start + 4099]


@every_layout
@pytest.mark.parametrize("binning", [1, 2])
def test_masked_turned_and_binned_frames_are_seen_alike_by_all(tmp_path: Path, name: str, binning: int) -> None:
    frames = np.random.default_rng(1).poisson(30, (2, 24, 36)).astype("<u2")
    mask = (np.random.default_rng(2).random((24, 36)) < 0.1).astype(np.uint8)
    geometry = Geometry(beam_x_px=30.0, beam_y_px=5.0, pixel_x_m=1e-4, pixel_y_m=1e-4)
    url = write_stack(tmp_path / "scan.h5", frames, filters="bslz4")
    with Stack(url, geometry=geometry) as stack:
        policy = PixelPolicy(mask_value=7)
        view = View(stack, mask=mask, orientation=Orientation.of(rotation_deg=90), binning=binning, policy=policy)
        file = next(iter(Tree(view, LAYOUTS[name]).values()))
        path = tmp_path / file.name
        path.write_bytes(file.read())
        ny, nx = 24 // binning, 36 // binning
        squares = frames[:, : ny * binning, : nx * binning].reshape(2, ny, binning, nx, binning)
        masked = mask.reshape(ny, binning, nx, binning).any((1, 3))
        expected = np.rot90(np.where(masked, 7, squares.sum((2, 4))), axes=(1, 2))
        wanted = expected if not LAYOUTS[name].per_frame else expected[Tree(view, LAYOUTS[name]).frame_of(file.index)]
        image = np.broadcast_to(np.zeros((), view.facts.dtype), wanted.shape)
        (_, _), (y, x) = Tree(view, LAYOUTS[name]).frame_in_file()
        got = _read(path, image)
        np.testing.assert_array_equal(got[..., y : y + nx, x : x + ny], wanted)
        assert (view.facts.geometry.beam_x_px, view.facts.geometry.beam_y_px) == pytest.approx(
            ((5.5 / binning - 0.5), nx - 1 - (30.5 / binning - 0.5))
        )
