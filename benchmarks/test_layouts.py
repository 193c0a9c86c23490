# SPDX-License-Identifier: MIT
"""Whole legacy files of every format from bitshuffle+LZ4, on one core; the ways of today for the harder ones.

A file is opened and read in steps of 128 KiB, as a mount is asked for it. Where its size depends on the pixels, opening
it measures them first: each frame is decoded twice then, unless somebody has asked for its size before ("size known").
MB/s are those of the decoded pixels, whatever the files hold, so that all of a group can be compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import fabio
import h5py
import hdf5plugin  # noqa: F401  (its import registers the filters)
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.compression import compByteOffset
from fabio.esperantoimage import EsperantoImage
from fabio.ext import _agi_bitfield
from numpy.typing import NDArray

import fastlegacy

Note: TypeAlias = Callable[[str, str, int], None]
Image: TypeAlias = NDArray[Any]

STEP_BYTES = 128 * 1024
ROUNDS = 20
FRAME = 2

KNOWN = "size known"
VARIANTS: list[tuple[str, dict[str, object], str]] = [
    *[(name, {}, "") for name in fastlegacy.formats()],
    ("cbf", {}, KNOWN),
    ("cbf", {"md5": True}, "md5"),
    ("cbf", {"size": "constant"}, "size=constant"),
    ("esperanto", {"pixels": "AGI_BITFIELD"}, "AGI"),
    ("esperanto", {"pixels": "AGI_BITFIELD"}, f"AGI, {KNOWN}"),
    ("sfrm", {}, KNOWN),
]


@pytest.fixture(params=["uint16", "uint32"])
def url(request: pytest.FixtureRequest, make_stack: Callable[[str], str]) -> str:
    """A stack of each dtype that detectors of this kind write."""
    return make_stack(request.param)


@pytest.fixture
def stack(url: str) -> Iterator[fastlegacy.Stack]:
    """The stack, as fastlegacy has it."""
    with fastlegacy.open(url) as opened:
        yield opened


@pytest.fixture
def dataset(url: str) -> Iterator[Any]:
    """The stack, as h5py has it."""
    path, _, name = url.partition("::")
    with h5py.File(path, "r", locking=False) as file:
        yield file[name]


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """Path of a file whose disk is memory, where there is such a disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fastlegacy-", dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder, "file")


def new_files(stack: fastlegacy.Stack, format: str, known: bool, **choices: Any) -> list[fastlegacy.VirtualFile]:
    """Files of which nothing is known. Each has a tree of its own: nothing is measured ahead on other cores."""

    def tree() -> fastlegacy.Tree:
        made = fastlegacy.tree(stack, format, companions=(), **choices)
        assert isinstance(made, fastlegacy.Tree)
        return made

    files = [tree()[name] for name in tree()]
    if known:
        assert all(file.size for file in files)
    return files


def produce(files: list[fastlegacy.VirtualFile], buffer: bytearray) -> int:
    """Open files and read them from the first byte to the last; return the number of bytes."""
    total = 0
    for file in files:
        opened = file.open()
        at = 0
        while step := opened.read_into(buffer, at):
            at += step
        total += at
    return total


def produced(benchmark: Any, stack: fastlegacy.Stack, format: str, known: bool, **choices: Any) -> None:
    """Measure how long the files of a stack take."""
    buffer = bytearray(STEP_BYTES)

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (new_files(stack, format, known, **choices), buffer), {}

    total = benchmark.pedantic(produce, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    assert total == sum(file.size for file in new_files(stack, format, known=False, **choices))


# -------------------------------------------------------------------------------------------------- every format


def test_decode_only(benchmark: Any, note: Note, stack: fastlegacy.Stack) -> None:
    """``stack.read(i, out=array)`` of all frames: less than this is not possible."""
    out = np.empty(stack.shape[1:], stack.dtype)
    note(f"whole files, {stack.dtype}", "decode only", out.nbytes * len(stack))

    def decode() -> None:
        for i in range(len(stack)):
            stack.read(i, out=out)

    benchmark.pedantic(decode, rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.parametrize(
    ("format", "options", "variant"), VARIANTS, ids=[f"{name} {variant}".strip() for name, _, variant in VARIANTS]
)
def test_format(
    benchmark: Any, note: Note, stack: fastlegacy.Stack, format: str, options: dict[str, object], variant: str
) -> None:
    """All files of a format."""
    size = len(stack) * stack.shape[1] * stack.shape[2] * stack.dtype.itemsize
    note(f"whole files, {stack.dtype}", f"{format}, {variant}" if variant else format, size)
    try:
        produced(benchmark, stack, format, KNOWN in variant, options=options)
    except fastlegacy.LayoutError as error:
        pytest.skip(str(error))


# ------------------------------------------------------------------------------------- beside the ways of today


def signed(pixels: Image) -> Image:
    """As 32-bit signed pixels, gaps -1, in the fastest way that NumPy has."""
    if pixels.dtype == np.uint32:
        return pixels.view(np.int32)
    image = pixels.astype(np.int32)
    image[pixels == np.iinfo(pixels.dtype).max] = -1
    return image


def in_a_square(image: Image) -> Image:
    """In a square as fastlegacy makes it: at the top, in the middle from left to right."""
    ny, nx = image.shape
    side = max(256, -(-max(ny, nx) // 4) * 4)
    left = (side - nx) // 2
    square: Image = np.full((side, side), -1, np.int32)
    square[:ny, left : left + nx] = image
    return square


def pixels_of(path: Path, data: bytes) -> Image:
    """The pixels of a file as fabio reads them."""
    path.write_bytes(data)
    with fabio.open(str(path)) as image:
        return np.array(image.data)


def one_file(stack: fastlegacy.Stack, format: str, known: bool, **choices: Any) -> list[fastlegacy.VirtualFile]:
    """The file of the one frame that is measured."""
    return new_files(stack, format, known, **choices)[FRAME : FRAME + 1]


@pytest.mark.parametrize("who", ["fastlegacy", f"fastlegacy, {KNOWN}"])
@pytest.mark.parametrize(("format", "options"), [("cbf", {}), ("esperanto", {"pixels": "AGI_BITFIELD"})])
def test_encoded(
    benchmark: Any,
    note: Note,
    stack: fastlegacy.Stack,
    dataset: Any,
    tmp_path: Path,
    format: str,
    options: dict[str, object],
    who: str,
) -> None:
    """One file: decoded, converted, encoded."""
    note(f"one {format} file, {stack.dtype}", who, dataset[FRAME].nbytes)
    buffer = bytearray(STEP_BYTES)

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (one_file(stack, format, KNOWN in who, options=options), buffer), {}

    benchmark.pedantic(produce, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    (file,) = one_file(stack, format, known=False, options=options)
    expected = signed(dataset[FRAME]) if format == "cbf" else in_a_square(signed(dataset[FRAME]))
    np.testing.assert_array_equal(pixels_of(tmp_path / file.name, file.read()), expected)


def test_cbf_fabio(benchmark: Any, note: Note, dataset: Any, in_memory: Path) -> None:
    """``CbfImage(data=...).write(path)``, as fabio's eiger2cbf does it."""
    note(f"one cbf file, {dataset.dtype}", "h5py, fabio's file", dataset[FRAME].nbytes)
    benchmark(lambda: CbfImage(data=signed(dataset[FRAME])).write(str(in_memory)))
    assert in_memory.stat().st_size > 0


def test_cbf_fabio_body(benchmark: Any, note: Note, dataset: Any) -> None:
    """``compByteOffset(array)``: no header, no MD5, no file."""
    note(f"one cbf file, {dataset.dtype}", "h5py, fabio's encoder", dataset[FRAME].nbytes)
    assert benchmark(lambda: compByteOffset(signed(dataset[FRAME])))


def test_esperanto_fabio(benchmark: Any, note: Note, dataset: Any, in_memory: Path) -> None:
    """``EsperantoImage(data=...).write(path)``."""
    note(f"one esperanto file, {dataset.dtype}", "h5py, fabio's file", dataset[FRAME].nbytes)
    benchmark(lambda: EsperantoImage(data=in_a_square(signed(dataset[FRAME]))).write(str(in_memory)))
    assert in_memory.stat().st_size > 0


def test_esperanto_fabio_body(benchmark: Any, note: Note, dataset: Any) -> None:
    """``compress(array)`` of its C module: no header, no file."""
    note(f"one esperanto file, {dataset.dtype}", "h5py, fabio's encoder", dataset[FRAME].nbytes)
    assert benchmark(lambda: _agi_bitfield.compress(in_a_square(signed(dataset[FRAME]))))


# ------------------------------------------------------------------------------------------------ turned, binned


def seen(benchmark: Any, stack: fastlegacy.Stack, **choices: Any) -> Image:
    """Measure how long the pixels of a frame take in one piece, seen in another way; return them."""
    (file,) = one_file(stack, "raw", known=False, mask=None, **choices)
    opened = file.open()
    out = np.empty(opened.size, np.uint8)
    benchmark(opened.read_into, out)
    return out


def of_dtype(data: Image, dtype: np.dtype[Any], shape: tuple[int, int]) -> Image:
    """Bytes as an image."""
    return data.view(dtype).reshape(shape)


def sum_of_squares(pixels: Image) -> Image:
    """The sums of 2 x 2 pixels each: four additions of views are several times as fast as reshape and sum."""
    ny, nx = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    wide = np.uint32 if pixels.dtype.itemsize <= 2 else np.uint64
    total: Image = np.add(pixels[0:ny:2, 0:nx:2], pixels[1:ny:2, 0:nx:2], dtype=wide)
    total += pixels[0:ny:2, 1:nx:2]
    total += pixels[1:ny:2, 1:nx:2]
    return total


def test_turned(benchmark: Any, note: Note, stack: fastlegacy.Stack, dataset: Any) -> None:
    """``rotation_deg=90``."""
    note(f"turned by 90 degrees, {stack.dtype}", "fastlegacy", dataset[FRAME].nbytes)
    expected = np.rot90(dataset[FRAME])
    found = seen(benchmark, stack, rotation_deg=90)
    np.testing.assert_array_equal(of_dtype(found, dataset.dtype, expected.shape), expected)


def test_turned_numpy(benchmark: Any, note: Note, dataset: Any) -> None:
    """``np.rot90(dataset[i])``, into memory that is there."""
    out = np.empty(dataset.shape[:0:-1], dataset.dtype)
    note(f"turned by 90 degrees, {dataset.dtype}", "h5py, numpy.rot90", out.nbytes)
    benchmark(lambda: np.copyto(out, np.rot90(dataset[FRAME])))
    np.testing.assert_array_equal(out, np.rot90(dataset[FRAME]))


def test_upside_down(benchmark: Any, note: Note, stack: fastlegacy.Stack, dataset: Any) -> None:
    """``flip_ud=True``."""
    note(f"turned upside down, {stack.dtype}", "fastlegacy", dataset[FRAME].nbytes)
    expected = np.flipud(dataset[FRAME])
    found = seen(benchmark, stack, flip_ud=True)
    np.testing.assert_array_equal(of_dtype(found, dataset.dtype, expected.shape), expected)


def test_upside_down_numpy(benchmark: Any, note: Note, dataset: Any) -> None:
    """``np.flipud(dataset[i])``, into memory that is there."""
    out = np.empty(dataset.shape[1:], dataset.dtype)
    note(f"turned upside down, {dataset.dtype}", "h5py, numpy.flipud", out.nbytes)
    benchmark(lambda: np.copyto(out, np.flipud(dataset[FRAME])))
    np.testing.assert_array_equal(out, np.flipud(dataset[FRAME]))


def test_binned(benchmark: Any, note: Note, stack: fastlegacy.Stack, dataset: Any) -> None:
    """``binning=2``; a gap among the four makes a gap."""
    pixels = dataset[FRAME]
    note(f"binned by 2, {stack.dtype}", "fastlegacy", pixels.nbytes)
    expected = sum_of_squares(pixels)
    is_gap = sum_of_squares((pixels == np.iinfo(pixels.dtype).max).astype(np.uint8)) > 0
    found = of_dtype(seen(benchmark, stack, binning=2), expected.dtype, expected.shape)
    np.testing.assert_array_equal(found[~is_gap], expected[~is_gap])
    assert (found[is_gap] == np.iinfo(expected.dtype).max).all()


def test_binned_numpy(benchmark: Any, note: Note, dataset: Any) -> None:
    """Sums of four views of ``dataset[i]``, which knows of no gaps."""
    note(f"binned by 2, {dataset.dtype}", "h5py, numpy", dataset[FRAME].nbytes)
    total = benchmark(lambda: sum_of_squares(dataset[FRAME]))
    assert total.shape == (dataset.shape[1] // 2, dataset.shape[2] // 2)
