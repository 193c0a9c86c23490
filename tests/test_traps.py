# SPDX-License-Identifier: MIT
"""What other programs got wrong, or stumble over: a test of each, from a compressed HDF5 file to an independent reader.

Where a trap can only be shown with DIALS or CBFlib themselves, the tests are in ``tests/programs``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
import tifffile
from fabio.compression import agi_bitfield
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fastlegacy
from fastlegacy.errors import LayoutError
from fastlegacy.testing.files import write_stack

Stacks = Callable[..., Any]
Trees = Callable[..., Any]

SHAPE = (7, 13)
SCAN: dict[str, Any] = {
    "start_deg": -90.0,
    "step_deg": 0.25,
    "exposure_s": 0.125,
    "wavelength_angstrom": 0.2854,
    "distance_m": 0.15,
    "beam_x_px": 6.25,
    "beam_y_px": 3.0,
    "pixel_x_m": 75e-6,
    "pixel_y_m": 75e-6,
}
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
ESPERANTO_HEADER = 6400


@pytest.fixture
def stack_of(tmp_path: Path, request: pytest.FixtureRequest) -> Stacks:
    """Return a maker of open stacks, which are in compressed HDF5 files."""

    def make(frames: Any, **how: Any) -> Any:
        stack = fastlegacy.open(write_stack(tmp_path / "scan.h5", frames, **{"filters": "bslz4", **how}))
        request.addfinalizer(stack.close)
        return stack

    return make


@pytest.fixture
def tree_of(stack_of: Stacks, request: pytest.FixtureRequest) -> Trees:
    """Return a maker of trees: ``tree_of(frames, format, ...)``."""

    def make(frames: Any, format: str, **choices: Any) -> Any:
        tree = fastlegacy.tree(stack_of(frames), format, **{"companions": (), **choices})
        request.addfinalizer(tree.close)
        return tree

    return make


def poisson(frames: int, shape: tuple[int, int] = SHAPE, dtype: str = "u2") -> Any:
    return np.random.default_rng(3).poisson(0.7, (frames, *shape)).astype(dtype)


def seen_by_fabio(folder: Path, name: str, data: bytes) -> Any:
    path = folder / name
    path.write_bytes(data)
    with fabio.open(str(path)) as image:
        return image.data, dict(image.header)


def esperanto_lines(data: bytes) -> dict[str, list[str]]:
    lines = [data[at : at + 256].decode("ascii").split() for at in range(0, ESPERANTO_HEADER, 256)]
    return {words[0]: words[1:] for words in lines if words}


def agi_rows(data: bytes, side: int) -> list[bytes]:
    """The rows of an AGI_BITFIELD body, by its own table."""
    (size,) = struct.unpack_from("<I", data)
    starts = [*np.frombuffer(data, "<u4", side, 4 + size).tolist(), size]
    return [data[4 + start : 4 + end] for start, end in pairwise(starts)]


# ---------------------------------------------------------------------------------------------------- Id11DataDisk


@pytest.mark.parametrize(
    ("format", "options"), [("cbf", {}), ("esperanto", {"pixels": "AGI_BITFIELD"}), ("sfrm", {})], ids=lambda x: str(x)
)
def test_sizes_are_not_those_of_frame_0(tree_of: Trees, format: str, options: dict[str, str]) -> None:
    # each frame takes more bytes than the one before it
    frames = np.zeros((4, 260, 261), "u4")
    for i, noise in enumerate((1, 300, 70_000)):
        frames[i + 1, :, ::2] = noise
    tree = tree_of(frames, format, options=options)
    sizes = [tree.size_of(name) for name in tree]
    assert sizes == [len(file.read()) for file in tree.values()]
    assert len(set(sizes)) >= 3
    assert [len(file.read(size - 1, 1000)) for file, size in zip(tree.values(), sizes, strict=True)] == [1] * 4


@pytest.mark.parametrize(("ny", "nx"), [(260, 300), (300, 260), (3, 5)])
def test_lnx_and_lny_are_both_those_of_the_square(tree_of: Trees, tmp_path: Path, ny: int, nx: int) -> None:
    data = tree_of(poisson(1, (ny, nx)), "esperanto")["data_1_1.esperanto"].read()
    side = max(256, math.ceil(max(ny, nx) / 4) * 4)
    assert esperanto_lines(data)["IMAGE"][:2] == [str(side)] * 2
    assert len(data) == ESPERANTO_HEADER + 4 * side * side
    pixels, _ = seen_by_fabio(tmp_path, "a.esperanto", data)
    assert pixels.shape == (side, side)


@pytest.mark.parametrize(
    ("format", "where"),
    [
        ("esperanto", rb"\nTIME 0\.125000 "),
        ("cbf", rb"# Exposure_time 0\.1250 s"),
        ("edf", rb"ExposureTime = 0\.125 ;"),
        ("tiff", rb"# Exposure_time 0\.125 s"),
        ("smv", rb"TIME=0\.125000;"),
        ("sfrm", rb"ELAPSDR:0\.125000"),
        ("mccd", struct.pack("<2i", 125, 125)),
        ("ge", struct.pack("<f", 125.0)),
    ],
)
def test_the_exposure_time_is_the_one_that_was_said(tree_of: Trees, format: str, where: bytes) -> None:
    tree = tree_of(poisson(1), format, **SCAN)
    assert re.search(where, next(iter(tree.values())).read())


def test_headers_do_not_depend_on_what_other_threads_read(stack_of: Stacks) -> None:
    names = [f"data_1_{i + 1}.esperanto" for i in range(12)]
    choices: dict[str, Any] = {"options": {"pixels": "AGI_BITFIELD"}, "companions": (), **SCAN}
    with stack_of(poisson(12, (20, 31))) as stack:
        tree = fastlegacy.tree(stack, "esperanto", **choices)
        alone = [tree[name].read() for name in names]
        assert len({data[:ESPERANTO_HEADER] for data in alone}) == 12
        again = fastlegacy.tree(stack, "esperanto", **choices)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda name: (again.size_of(name), again[name].read()), names * 8))
        assert found == [(len(data), data) for data in alone] * 8
        tree.close()
        again.close()


def test_frames_of_crysalis_are_in_the_order_of_omega_and_not_zero_padded(tree_of: Trees, tmp_path: Path) -> None:
    frames = poisson(11, (5, 6))
    frames[:, 0, 0] = range(11)
    tree = tree_of(frames, "esperanto", **{**SCAN, "run": 2})
    assert list(tree) == [f"data_2_{i + 1}.esperanto" for i in range(11)]
    omegas = []
    for i, file in enumerate(tree.values()):
        data = file.read()
        pixels, _ = seen_by_fabio(tmp_path, "a.esperanto", data)
        assert pixels[0, 125] == 10 - i
        lines = esperanto_lines(data)
        omegas.append((float(lines["STARTANGLESINDEG"][0]), float(lines["ENDANGLESINDEG"][0])))
    assert omegas == [(90.0 - 0.25 * (11 - i), 90.0 - 0.25 * (10 - i)) for i in range(11)]


def test_pixels_for_crysalis_are_signed_and_gaps_minus_one(tree_of: Trees) -> None:
    frames = np.array([[[5, 65535], [65534, 0]]], "u2")
    data = tree_of(frames, "flat", dtype="int32")["data0001.raw"].read()
    assert np.frombuffer(data, "<i4", offset=256).tolist() == [5, -1, 65534, 0]


def test_frames_that_are_too_large_for_esperanto_are_refused_with_a_way_out(tree_of: Trees) -> None:
    frames = np.zeros((1, 4362, 4148), "u1")
    with pytest.raises(LayoutError, match=r"4362 x 4148 pixels is too large .* --binning 2"):
        tree_of(frames, "esperanto")
    data = tree_of(frames, "esperanto", binning=2)["data_1_1.esperanto"].read(0, ESPERANTO_HEADER)
    assert esperanto_lines(data)["IMAGE"][:2] == ["2184", "2184"]


# ---------------------------------------------------------------------------------------------------- AGI_BITFIELD


@pytest.mark.parametrize("side", [260, 264, 2164])
def test_the_remainder_of_a_row_of_agi_bitfield_can_be_decoded(tree_of: Trees, side: int) -> None:
    # cryio's rows end otherwise, and nobody can read them
    frames = poisson(1, (side - 2, side), "u4")
    frames[0, ::7, -5:] = 40_000
    data = tree_of(frames, "esperanto", options={"pixels": "AGI_BITFIELD"})["data_1_1.esperanto"].read()
    rows = agi_rows(data[ESPERANTO_HEADER:], side)
    for y in (0, 1, 7, side // 2, side - 3):
        differences = agi_bitfield.decompress_row(io.BytesIO(rows[y]), side)
        np.testing.assert_array_equal(np.cumsum(differences), frames[0, y])


def test_agi_bitfield_of_the_worst_pixels_has_room(tree_of: Trees, tmp_path: Path) -> None:
    # more than 5 bytes for each pixel, where others keep room for 4
    frames = np.zeros((1, 3, 256), "i4")
    frames[0, :, ::2] = 2**30
    data = tree_of(frames, "esperanto", options={"pixels": "AGI_BITFIELD"})["data_1_1.esperanto"].read()
    assert len(agi_rows(data[ESPERANTO_HEADER:], 256)[0]) > 5 * 256
    pixels, _ = seen_by_fabio(tmp_path, "a.esperanto", data)
    np.testing.assert_array_equal(pixels[:3], frames[0])


def test_no_field_of_agi_bitfield_has_0_bits(tree_of: Trees, tmp_path: Path) -> None:
    # fabio's decoder refuses them
    data = tree_of(np.zeros((1, 256, 256), "u2"), "esperanto", options={"pixels": "AGI_BITFIELD"})
    body = data["data_1_1.esperanto"].read()
    # a pixel, 15 fields of two halves of one bit, and 15 pixels
    assert agi_rows(body[ESPERANTO_HEADER:], 256)[0] == b"\x7f" + 15 * b"\x11\0\0" + 15 * b"\x7f"
    pixels, _ = seen_by_fabio(tmp_path, "a.esperanto", body)
    assert not pixels.any()


# ---------------------------------------------------------------------------------------------------- fabio


@pytest.mark.parametrize("format", fastlegacy.formats())
def test_a_file_is_the_same_the_second_time(tree_of: Trees, format: str) -> None:
    # fabio's second write of an Esperanto image is a KeyError
    file = next(iter(tree_of(poisson(2), format, **SCAN).values()))
    first = file.read()
    assert file.read() == first
    image = poisson(2) if not fastlegacy.formats()[format].per_frame else poisson(2)[0]
    assert fastlegacy.encode(image, format, **SCAN) == fastlegacy.encode(image, format, **SCAN)


def test_the_suffix_of_esperanto_has_no_misprint(tree_of: Trees) -> None:
    assert all(name.endswith(".esperanto") for name in tree_of(poisson(2), "esperanto"))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i2", "f4"])
def test_element_types_of_cbf_are_signed(tree_of: Trees, tmp_path: Path, dtype: str) -> None:
    frames = poisson(1, dtype=dtype)
    data = tree_of(frames, "cbf")["data0001.cbf"].read()
    assert re.findall(rb'X-Binary-Element-Type: "(.*)"', data) == [b"signed 32-bit integer"]
    pixels, _ = seen_by_fabio(tmp_path, "a.cbf", data)
    assert pixels.dtype == np.int32
    np.testing.assert_array_equal(pixels, frames[0])


def byte_offset_by_the_book(data: bytes, count: int) -> tuple[list[int], list[int]]:
    """Pixels and differences, by CBFlib's manual; Python's integers have no end."""
    pixels, differences, at, pixel = [], [], 0, 0
    for _ in range(count):
        for size, escape in ((1, -(2**7)), (2, -(2**15)), (4, INT_MIN), (8, None)):
            difference = int.from_bytes(data[at : at + size], "little", signed=True)
            at += size
            if difference != escape:
                break
        pixel += difference
        pixels.append(pixel)
        differences.append(difference)
    assert at == len(data)
    return pixels, differences


def cbf_body(data: bytes) -> bytes:
    found = re.search(rb"X-Binary-Size: (\d+)", data)
    assert found
    start = data.index(b"\x0c\x1a\x04\xd5") + 4
    return data[start : start + int(found[1])]


@pytest.mark.parametrize("dtype", ["u4", "i4", "u8", "i8"])
def test_the_smallest_difference_does_not_corrupt_byte_offset(tree_of: Trees, tmp_path: Path, dtype: str) -> None:
    # 2**31 - 1 and then -1 are INT_MIN apart, which fabio and cryio write as something else
    limits = np.iinfo(dtype)
    row = [5, INT_MAX, limits.max, INT_MAX, 3, INT_MAX, INT_MAX - 1, limits.min, INT_MAX, limits.max, 0]
    data = tree_of(np.array([[row] * 3], dtype), "cbf")["data0001.cbf"].read()
    pixels, differences = byte_offset_by_the_book(cbf_body(data), 33)
    assert INT_MIN not in differences
    assert max(map(abs, differences)) <= INT_MAX
    by_fabio, _ = seen_by_fabio(tmp_path, "a.cbf", data)
    assert by_fabio.reshape(-1).tolist() == pixels
    if limits.min == 0:
        gap = [-1 if value == limits.max else min(value, 2**31 - 3) for value in row]
        assert pixels == gap * 3


@given(st.lists(st.sampled_from([INT_MIN, INT_MIN + 1, -2, -1, 0, 1, 127, 128, 32768, 2**30, INT_MAX]), min_size=2))
def test_pixels_that_are_kept_as_they_are_survive_byte_offset_whatever_they_are(values: list[int]) -> None:
    data = fastlegacy.encode(np.array([values], "i4"), "cbf", saturate="keep")
    assert byte_offset_by_the_book(cbf_body(data), len(values))[0] == values


def test_texts_of_tiff_are_not_garbled(tree_of: Trees, tmp_path: Path) -> None:
    # with and without a geometry, which makes the description longer
    for scan in ({}, SCAN):
        path = tmp_path / "a.tif"
        path.write_bytes(tree_of(poisson(1), "tiff", **scan)["data0001.tif"].read())
        with tifffile.TiffFile(path) as file:
            tags = file.pages.first.tags
            assert tags["Software"].value == "fastlegacy"
            assert re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", tags["DateTime"].value)
            assert f"Image_path: {tmp_path}" in tags["ImageDescription"].value
            assert tags["SamplesPerPixel"].value == 1


def test_tiff_is_taken_for_that_of_pilatus_and_not_for_marccd(tree_of: Trees, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tree_of(poisson(1, dtype="i4"), "tiff", **SCAN)["data0001.tif"].read())
    with fabio.open(str(path)) as image:
        assert type(image).__name__ == "PilatusImage"
        np.testing.assert_array_equal(image.data, poisson(1)[0])


def test_agi_bitfield_is_decoded_by_compiled_code(tree_of: Trees) -> None:
    # in Python it takes seconds a frame
    frames = poisson(1, (2162, 2068), "u4")
    data = tree_of(frames, "esperanto", options={"pixels": "AGI_BITFIELD"})["data_1_1.esperanto"].read()
    pixels = fastlegacy.codecs.agi_bitfield_decode(data[ESPERANTO_HEADER:], (2164, 2164))
    np.testing.assert_array_equal(pixels[:2162, 48:2116], frames[0])
    assert (pixels[:, :48] == -1).all()


# ---------------------------------------------------------------------------------------------------- cryio, Pillow


def test_cryio_refuses_cbf_without_md5_so_there_is_an_option(tree_of: Trees) -> None:
    for file in tree_of(poisson(3), "cbf", options={"md5": True}).values():
        data = file.read()
        found = re.search(rb"Content-MD5: (\S{24})\r\n", data)
        assert found
        assert base64.b64decode(found[1]) == hashlib.md5(cbf_body(data), usedforsecurity=False).digest()
    assert b"MD5" not in tree_of(poisson(1), "cbf")["data0001.cbf"].read()


def test_unsigned_32_bit_tiff_is_read_right_by_all_but_pillow(tree_of: Trees, tmp_path: Path) -> None:
    frames = np.array([[[7, INT_MAX, 2**31, 2**32 - 2]]], "u4")
    path = tmp_path / "a.tif"
    path.write_bytes(tree_of(frames, "tiff")["data0001.tif"].read())
    np.testing.assert_array_equal(tifffile.imread(path), frames[0])
    with fabio.open(str(path)) as image:
        np.testing.assert_array_equal(image.data.reshape(1, 4), frames[0])
    # for Pillow there are signed pixels
    path.write_bytes(tree_of(frames, "tiff", dtype="i4")["data0001.tif"].read())
    with Image.open(path) as image:
        assert np.asarray(image).tolist() == [[7, INT_MAX, INT_MAX, INT_MAX]]


# ---------------------------------------------------------------------------------------------------- eiger2cbf, neggia


@pytest.mark.parametrize("lengths", [(3, 5, 2), (1, 7, 2), (4, 4, 2)])
def test_blocks_need_not_have_as_many_frames_as_the_first(
    tmp_path: Path, stack_of: Stacks, lengths: tuple[int, ...]
) -> None:
    frames = poisson(sum(lengths))
    frames[:, 0, 0] = range(len(frames))
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    at = 0
    for i, length in enumerate(lengths):
        part = frames[at : at + length]
        write_stack(tmp_path / f"x_data_{i:06d}.h5", part, "/entry/data/data", filters="bslz4")
        layout[at : at + length] = h5py.VirtualSource(f"x_data_{i:06d}.h5", "/entry/data/data", part.shape)
        at += length
    with h5py.File(tmp_path / "x_master.h5", "w") as file:
        file.create_virtual_dataset("/entry/data/data", layout)
    with fastlegacy.open(tmp_path / "x_master.h5", "/entry/data/data") as stack:
        tree = fastlegacy.tree(stack, "cbf", companions=())
        for i, file in enumerate(tree.values()):
            pixels, _ = seen_by_fabio(tmp_path, "a.cbf", file.read())
            np.testing.assert_array_equal(pixels, frames[i])
        tree.close()


@pytest.mark.parametrize("chunks", [(2, 7, 13), (5, 3, 4), (1, 7, 13)])
def test_neither_a_mask_nor_chunks_of_one_frame_are_needed(
    tmp_path: Path, stack_of: Stacks, chunks: tuple[int, int, int]
) -> None:
    frames = poisson(5)
    frames[:, 2, 3] = 65535
    with stack_of(frames, chunks=chunks) as stack:
        tree = fastlegacy.tree(stack, "cbf", companions=())
        for i, file in enumerate(tree.values()):
            pixels, _ = seen_by_fabio(tmp_path, "a.cbf", file.read())
            np.testing.assert_array_equal(pixels, np.where(frames[i] == 65535, -1, frames[i].astype("i4")))
        tree.close()


def test_a_saturated_pixel_is_no_gap_where_there_is_a_mask(tree_of: Trees, tmp_path: Path) -> None:
    frames = np.full((1, 2, 3), 65535, "u2")
    data = tree_of(frames, "cbf", mask=np.array([[0, 1, 2], [4, 3, 0]]))["data0001.cbf"].read()
    pixels, _ = seen_by_fabio(tmp_path, "a.cbf", data)
    assert pixels.tolist() == [[65535, -1, -2], [-2, -1, 65535]]


def test_the_beam_is_never_at_0_where_nobody_said_it(tree_of: Trees, tmp_path: Path) -> None:
    # MOSFLM shows empty images then
    _, header = seen_by_fabio(tmp_path, "a.cbf", tree_of(poisson(1), "cbf")["data0001.cbf"].read())
    assert "Beam_xy (6.5000, 3.5000) pixels" in header["_array_data.header_contents"]
    assert "Not_given: " in header["_array_data.header_contents"]


# --------------------------------------------------------------------------------------------------- dxtbx, XDS, MOSFLM


@pytest.mark.parametrize(
    ("name", "shape", "words", "is_named"),
    [
        ("Dectris EIGER2 4M", (2162, 2068), "PILATUS_1.2", True),
        ("Dectris EIGER2 4M", (2160, 2068), "GENERIC_MINI", False),
        ("PILATUS3 2M", (1679, 1475), "PILATUS_1.2", True),
        ("PILATUS3 2M", (1475, 1679), "GENERIC_MINI", False),
        ("Frelon", SHAPE, "GENERIC_MINI", True),
    ],
)
def test_dxtbx_asserts_exact_dimensions_of_the_detectors_that_a_header_names(
    tree_of: Trees, name: str, shape: tuple[int, int], words: str, is_named: bool
) -> None:
    tree = tree_of(np.zeros((1, *shape), "u1"), "cbf", **{**SCAN, "detector": name})
    text = tree["data0001.cbf"].read(0, 2000).decode("latin-1")
    assert f'header_convention "{words}"' in text
    assert (f"# Detector: {name}\r\n" in text) is is_named


def test_what_dxtbx_cannot_do_without_is_in_every_cbf(tree_of: Trees) -> None:
    text = tree_of(poisson(1), "cbf")["data0001.cbf"].read(0, 3000).decode("latin-1")
    contents = text.split("_array_data.header_contents\r\n;\r\n# ")[1].split("\r\n;")[0]
    assert re.search(r"^# \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}$", contents.replace("\r", ""), re.MULTILINE)
    for word in ("Detector_distance", "Beam_xy", "Wavelength", "Pixel_size", "Count_cutoff", "Exposure_period"):
        assert f"\n# {word} " in contents
    assert float(re.findall(r"# Start_angle (\S+) deg\.", contents)[0]) == 0.0
    assert float(re.findall(r"# Angle_increment (\S+) deg\.", contents)[0]) == 0.0


def test_start_angles_differ_so_that_a_sweep_stays_one(tree_of: Trees) -> None:
    texts = [file.read(0, 3000) for file in tree_of(poisson(4), "cbf", **SCAN).values()]
    angles = [float(re.findall(rb"# Start_angle (\S+) deg\.", text)[0]) for text in texts]
    assert angles == [-90.0, -89.75, -89.5, -89.25]


@pytest.mark.parametrize("format", ["smv", "mccd"])
def test_a_zero_is_told_from_a_gap_by_a_pedestal(tree_of: Trees, format: str) -> None:
    # ADSC's trusted range begins at 1: in photon-counting data that leaves out most pixels
    frames = np.array([[[0, 65535], [3, 65534]]], "u2")
    file = next(iter(tree_of(frames, format, options={"pedestal": 10}).values())).read()
    assert np.frombuffer(file[-8:], "<u2").tolist() == [10, 0, 13, 65535]
    if format == "smv":
        assert b"\nIMAGE_PEDESTAL=10;\n" in file[:512]
    else:
        assert struct.unpack_from("<i", file, 1804) == (10_000,)


def test_the_header_of_smv_has_512_bytes_and_begins_as_programs_look_for_it(tree_of: Trees) -> None:
    long = {**SCAN, "title": 600 * "t", "detector": 600 * "d"}
    data = tree_of(poisson(1), "smv", **long)["data0001.img"].read()
    assert data.startswith(b"{\nHEADER_BYTES=  512;\n")
    assert len(data) == 512 + 2 * 7 * 13
    assert np.frombuffer(data, "<u2", offset=512).tolist() == poisson(1).reshape(-1).tolist()


def test_rayonix_images_are_square(tree_of: Trees, tmp_path: Path) -> None:
    data = tree_of(poisson(1), "mccd")["data0001.mccd"].read()
    pixels, _ = seen_by_fabio(tmp_path, "a.mccd", data)
    assert pixels.shape == (13, 13)
    np.testing.assert_array_equal(pixels[:7], poisson(1)[0])
    assert not pixels[7:].any()
    assert struct.unpack_from("<2i", data, 1104) == (13, 13)


def test_files_of_one_size_hold_what_they_say(tree_of: Trees, tmp_path: Path) -> None:
    frames = poisson(3, (40, 50), "u4")
    frames[1] *= 20_000
    tree = tree_of(frames, "cbf", options={"size": "constant"})
    for i, file in enumerate(tree.values()):
        data = file.read()
        assert len(data) == tree.file_size
        pixels, header = seen_by_fabio(tmp_path, "a.cbf", data)
        np.testing.assert_array_equal(pixels, frames[i])
        assert int(header["X-Binary-Size"]) == len(cbf_body(data))


# ---------------------------------------------------------------------------------------------------- large numbers

LARGE = [0, 65535, 65536, INT_MAX - 2, INT_MAX, 2**31, 2**32 - 2, 2**32 - 1]
CLAMPED = [0, 65535, 65536, *[INT_MAX - 2] * 4, -1]
WORDS = [0, *[65535] * 6, 0]


@pytest.mark.parametrize("format", ["edf", "edf-stack", "tiff", "npy", "npy-stack", "flat", "raw"])
def test_unsigned_pixels_beyond_the_signed_ones_are_kept_where_the_format_has_them(tree_of: Trees, format: str) -> None:
    data = next(iter(tree_of(np.array([[LARGE]], "u4"), format).values())).read()
    assert np.frombuffer(data[-32:], "<u4").tolist() == LARGE


@pytest.mark.parametrize("options", [{"pixels": "4BYTE_LONG"}, {"pixels": "AGI_BITFIELD"}])
def test_unsigned_pixels_beyond_the_signed_ones_are_clamped_in_esperanto(
    tree_of: Trees, tmp_path: Path, options: dict[str, str]
) -> None:
    data = tree_of(np.array([[LARGE]], "u4"), "esperanto", options=options)["data_1_1.esperanto"].read()
    pixels, _ = seen_by_fabio(tmp_path, "a.esperanto", data)
    assert pixels[0, 124:132].tolist() == CLAMPED


def test_unsigned_pixels_beyond_the_signed_ones_are_clamped_in_cbf(tree_of: Trees, tmp_path: Path) -> None:
    pixels, _ = seen_by_fabio(tmp_path, "a.cbf", tree_of(np.array([[LARGE]], "u4"), "cbf")["data0001.cbf"].read())
    assert pixels.tolist() == [CLAMPED]


@pytest.mark.parametrize("format", ["flat", "raw"])
def test_unsigned_pixels_beyond_the_signed_ones_are_clamped_in_raw_files_for_crysalis(
    tree_of: Trees, format: str
) -> None:
    data = next(iter(tree_of(np.array([[LARGE]], "u4"), format, dtype="i4").values())).read()
    assert np.frombuffer(data[-32:], "<i4").tolist() == [0, 65535, 65536, INT_MAX - 2, *[INT_MAX] * 3, -1]


@pytest.mark.parametrize(("format", "offset"), [("smv", 512), ("mccd", 4096), ("ge", 8192)])
def test_formats_of_16_bits_clip_and_never_wrap(tree_of: Trees, format: str, offset: int) -> None:
    data = next(iter(tree_of(np.array([[LARGE]], "u4"), format).values())).read()
    assert np.frombuffer(data, "<u2", 8, offset).tolist() == WORDS


@given(
    st.sampled_from(["cbf", "esperanto"]),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_valid_pixel_looks_like_a_gap(tmp_path: Path, format: str, values: list[int]) -> None:
    data = fastlegacy.encode(np.array([values], "u4"), format)
    pixels, _ = seen_by_fabio(tmp_path, f"a.{format}", data)
    left = 0 if format == "cbf" else (256 - len(values)) // 2
    seen = pixels[0, left : left + len(values)].tolist()
    assert seen == [-1 if value == 2**32 - 1 else min(value, 2**31 - 3) for value in values]
