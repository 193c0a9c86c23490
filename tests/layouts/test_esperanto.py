# SPDX-License-Identifier: MIT
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastlegacy.errors import LayoutError
from fastlegacy.layouts.esperanto import LAYOUT
from fastlegacy.model import CodedPixels, Geometry, Literal, Pixels, StackFacts
from fastlegacy.pixels import Coded, PixelPolicy

from .. import whole_files as files
from ..core.reference_pixels import develop

CODED = {"pixels": "AGI_BITFIELD"}
FULL = Geometry(
    start_deg=-90.0,
    step_deg=0.25,
    exposure_s=0.0999,
    wavelength_angstrom=0.2854,
    distance_m=0.14,
    beam_x_px=1034.5,
    beam_y_px=1081.0,
    pixel_x_m=75e-6,
    pixel_y_m=75e-6,
    run=3,
    saturation_counts=130000,
    sensor_thickness_m=750e-6,
    period_s=0.1,
    start_time="2026-01-01T00:00:00",
)
FULL_LINES = [
    "ESPERANTO FORMAT   1 CONSISTING OF   25 LINES OF   256 BYTES EACH",
    'IMAGE 2164 2164 1 1 "4BYTE_LONG"',
    "SPECIAL_CCD_1 1.000000 0 0 1.000000 0.000000 0.000000",
    "SPECIAL_CCD_2 0 0 0 0 130000",
    "SPECIAL_CCD_3 0 0 0 0 0",
    "SPECIAL_CCD_4 0 0 0 0 0 0 0 0",
    "SPECIAL_CCD_5 0.000000 0.000000 0.000000 0.000000",
    "TIME 0.099900 0.000000 0.000000",
    "MONITOR 0 0 0 0",
    "PIXELSIZE 0.075000 0.075000 0.750000",
    'TIMESTAMP "2026-01-01T00:00:00.700"',
    'GRIDPATTERN ""',
    "STARTANGLESINDEG 88.000000 0.000000 0.000000 0.000000",
    "ENDANGLESINDEG 88.250000 0.000000 0.000000 0.000000",
    "GONIOMODEL_1 0.000000 0.000000 0.000000 0.000000 0.000000 1082.500000 1081.000000 50.000000 0.000000 140.000000",
    "GONIOMODEL_2 0.000000 0.000000 0.000000 0.000000",
    "WAVELENGTH 0.285400 0.285400 0.285400 0.285400",
    'MONOCHROMATOR 0.980000 "SYNCHROTRON"',
    "ABSTORUN 0",
    'HISTORY "fastlegacy /data/scan.h5::/x"',
    *[""] * 5,
]
HIGH = 2**31 - 1 - 2**24


def facts(**changes: Any) -> StackFacts:
    shape = changes.pop("shape", (10, 7, 13))
    values = {
        "url": "/data/scan.h5::/x",
        "shape": shape,
        "leading_shape": shape[:1],
        "dtype": np.dtype("<u2"),
        "mtime_ns": 1_600_000_000_999_999_999,
    }
    return StackFacts(**{**values, **changes})


def lines_of(of: StackFacts, index: int = 0) -> list[str]:
    piece = LAYOUT.pieces(of, index, Coded(1))[0]
    assert isinstance(piece, Literal)
    assert len(piece.data) == 6400
    assert piece.data.endswith(b" \r\x1a")
    lines = (piece.data[:-2].decode("ascii") + "\r\n").split("\r\n")
    assert [len(line) for line in lines] == [254] * 25 + [0]
    return [line.rstrip(" ") for line in lines[:-1]]


def items(of: StackFacts, key: str, index: int = 0) -> list[float]:
    (line,) = [line for line in lines_of(of, index) if line.startswith(f"{key} ")]
    return [float(word) for word in line.split()[1:]]


def read(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    with fabio.open(str(path)) as image:
        assert type(image).__name__ == "EsperantoImage"
        return image


# ---------------------------------------------------------------------------------------------------- header


def test_the_header_line_by_line() -> None:
    assert lines_of(facts(shape=(10, 2162, 2068), geometry=FULL), 2) == FULL_LINES


def test_what_nobody_said_has_neutral_values() -> None:
    expected = {
        "SPECIAL_CCD_2": [0, 0, 0, 0, 1_000_000],
        "TIME": [0, 0, 0],
        "PIXELSIZE": [0.1, 0.1, 0],
        "STARTANGLESINDEG": [0, 0, 0, 0],
        "ENDANGLESINDEG": [0, 0, 0, 0],
        "GONIOMODEL_1": [0, 0, 0, 0, 0, 127.0, 3.0, 50, 0, 100],
        "WAVELENGTH": [1, 1, 1, 1],
    }
    assert {key: items(facts(), key) for key in expected} == expected
    assert 'TIMESTAMP "2020-09-13T12:26:40.000"' in lines_of(facts())


def test_zeros_have_no_sign() -> None:
    of = facts(geometry=Geometry(start_deg=-0.3, step_deg=0.1, beam_y_px=-1e-9))
    assert not [line for line in lines_of(of, 7) if "-0.0000" in line]


def test_one_pixel_size_is_enough() -> None:
    for known in ({"pixel_x_m": 55e-6}, {"pixel_y_m": 55e-6}):
        assert items(facts(geometry=Geometry(**known)), "PIXELSIZE")[:2] == [0.055, 0.055]


def test_pixels_that_are_not_square_are_refused() -> None:
    with pytest.raises(LayoutError, match=r"scan\.h5::/x.*not square"):
        lines_of(facts(geometry=Geometry(pixel_x_m=75e-6, pixel_y_m=100e-6)))


def test_the_history_keeps_the_end_of_a_long_path() -> None:
    line = lines_of(facts(url='/"' + "\u00e9" * 500 + "/scan.h5::/x"))[19]
    assert line.startswith('HISTORY "...')
    assert line.endswith('%C3%A9/scan.h5::/x"')
    assert len(line) == 254
    assert "%22" in lines_of(facts(url='a"b::/x'))[19]


def test_a_line_that_is_too_long_is_an_error() -> None:
    with pytest.raises(LayoutError, match=r"frame 0: the line GONIOMODEL_1 .* 254"):
        lines_of(facts(geometry=Geometry(beam_x_px=1e200)))


def test_an_overflow_beyond_the_pixels_is_the_largest_pixel() -> None:
    assert items(facts(geometry=Geometry(saturation_counts=2**40)), "SPECIAL_CCD_2")[-1] == 2**31 - 3


# ---------------------------------------------------------------------------------------------------- order and names


def test_with_a_positive_step_the_last_frame_is_in_the_first_file() -> None:
    of = facts(geometry=Geometry(start_deg=0.0, step_deg=0.5))
    assert [LAYOUT.frame_of(of, index) for index in range(10)] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    pieces = LAYOUT.pieces(of, 1)
    assert isinstance(pieces[1], Pixels)
    assert pieces[1].first == 8


@pytest.mark.parametrize("step", [None, 0.0, -0.5])
def test_else_the_order_is_that_of_the_frames(step: float | None) -> None:
    of = facts(geometry=Geometry(start_deg=0.0, step_deg=step))
    assert [LAYOUT.frame_of(of, index) for index in range(10)] == list(range(10))


@given(
    start=st.one_of(st.none(), st.floats(-720, 720)),
    step=st.floats(-10, 10).filter(lambda step: abs(step) > 1e-3),
    frames=st.integers(1, 20),
)
def test_omega_is_minus_the_angle_and_increases_from_file_to_file(
    start: float | None, step: float, frames: int
) -> None:
    of = facts(shape=(frames, 7, 13), geometry=Geometry(start_deg=start, step_deg=step))
    begins = [items(of, "STARTANGLESINDEG", index)[0] for index in range(frames)]
    ends = [items(of, "ENDANGLESINDEG", index)[0] for index in range(frames)]
    assert begins == sorted(begins)
    assert ends[:-1] == begins[1:]
    for index in range(frames):
        angle = (start or 0.0) + LAYOUT.frame_of(of, index) * step
        assert (begins[index] + ends[index]) / 2 == pytest.approx(-(angle + step / 2), abs=2e-6)
        assert ends[index] - begins[index] == pytest.approx(abs(step), abs=2e-6)


@pytest.mark.parametrize(("run", "stem"), [(None, "data_1_"), (1, "data_1_"), (0, "data_0_"), (12, "data_12_")])
def test_names_have_the_run_and_no_zeros_before_the_number(run: int | None, stem: str) -> None:
    assert LAYOUT.stem(facts(geometry=Geometry(run=run)), "data") == stem
    assert LAYOUT.digits == 1


# ---------------------------------------------------------------------------------------------------- place


@pytest.mark.parametrize(
    ("shape", "multiple", "width"),
    [
        ((512, 1028), 4, 1028),
        ((512, 1028), 16, 1040),
        ((1062, 1028), 4, 1064),
        ((1062, 1028), 16, 1072),
        ((2162, 2068), 4, 2164),
        ((2162, 2068), 16, 2176),
        ((2167, 2070), 4, 2168),
        ((3262, 3108), 16, 3264),
        ((3269, 3110), 4, 3272),
        ((3269, 3110), 16, 3280),
        ((2181, 2074), 4, 2184),
        ((7, 13), 4, 256),
        ((257, 1), 4, 260),
        ((1, 257), 16, 272),
        ((4096, 1), 4, 4096),
        ((1, 4095), 16, 4096),
    ],
)
def test_the_square_holds_the_image_at_its_top_in_the_middle(shape: tuple[int, int], multiple: int, width: int) -> None:
    of = facts(shape=(1, *shape), options={"multiple": multiple})
    piece = LAYOUT.pieces(of, 0)[1]
    assert isinstance(piece, Pixels)
    assert piece.form is not None
    assert (piece.form.shape, piece.form.at) == ((width, width), (0, (width - shape[1]) // 2))
    assert lines_of(of)[1] == f'IMAGE {width} {width} 1 1 "4BYTE_LONG"'


@pytest.mark.parametrize(("shape", "binning"), [((4362, 4148), 2), ((1, 4097), 2), ((8193, 1), 3)])
@pytest.mark.parametrize("options", [{}, CODED])
def test_frames_of_16_million_pixels_are_refused_with_a_way_out(
    shape: tuple[int, int], binning: int, options: dict[str, str]
) -> None:
    of = facts(shape=(2, *shape), options=options)
    for ask in (LAYOUT.code, lambda of: LAYOUT.pieces(of, 0, Coded(1))):
        with pytest.raises(LayoutError, match=rf"too large for Esperanto.*--binning {binning}"):
            ask(of)


@pytest.mark.parametrize("shape", [(7, 13), (7, 14), (300, 5), (5, 301)], ids=str)
def test_the_beam_moves_with_the_image(tmp_path: Path, shape: tuple[int, int]) -> None:
    frames = np.zeros((1, *shape), "<u2")
    frames[0, 3, 4] = 500
    of = facts(shape=frames.shape, geometry=Geometry(beam_x_px=4.0, beam_y_px=3.0))
    image = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, of, frames))
    y, x = np.unravel_index(np.argmax(image.data), image.data.shape)
    assert (image.header["dxorigininpix"], image.header["dyorigininpix"]) == (x, y)


# ---------------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("options", [{}, CODED, {**CODED, "multiple": 16}], ids=["4BYTE", "AGI", "AGI16"])
@pytest.mark.parametrize("shape", [(7, 13), (1, 9), (9, 1), (3, 257), (257, 3)], ids=str)
def test_fabio_reads_every_shape(tmp_path: Path, shape: tuple[int, int], options: dict[str, Any]) -> None:
    frames = np.random.default_rng(5).integers(0, 70_000, (2, *shape)).astype("<u4")
    of = facts(shape=frames.shape, dtype=frames.dtype, options=options, geometry=FULL)
    image = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, of, frames, 1))
    ny, nx = shape
    x = (len(image.data) - nx) // 2
    np.testing.assert_array_equal(image.data[:ny, x : x + nx], frames[0])
    assert int((image.data == -1).sum()) == image.data.size - ny * nx
    assert image.data.dtype == np.int32
    assert image.header["spixelformat"] == options.get("pixels", "4BYTE_LONG")


@pytest.mark.parametrize("options", [{}, CODED], ids=["4BYTE", "AGI"])
@pytest.mark.parametrize("dtype", [f"{order}{code}" for code in LAYOUT.dtypes for order in "<>"])
def test_fabio_reads_the_pixels_of_every_type(tmp_path: Path, dtype: str, options: dict[str, str]) -> None:
    frames = np.random.default_rng(5).integers(0, 120, (1, 7, 13)).astype(dtype)
    of = facts(shape=frames.shape, dtype=frames.dtype, options=options)
    image = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, of, frames))
    np.testing.assert_array_equal(image.data[:7, 121:134], frames[0])


@pytest.mark.parametrize("nx", [260, 264, 268, 272])
def test_widths_that_are_no_multiple_of_16_can_be_decoded(tmp_path: Path, nx: int) -> None:
    # encoders that take the pixels left over in a row another way write what nobody can read
    frames = np.random.default_rng(5).integers(0, 4000, (1, 2, nx)).astype("<u2")
    of = facts(shape=frames.shape, options=CODED)
    image = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, of, frames))
    assert image.data.shape == (nx, nx)
    np.testing.assert_array_equal(image.data[:2], frames[0])


def test_fabio_reads_every_item(tmp_path: Path) -> None:
    frames = np.zeros((10, 7, 13), "<u2")
    header = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, facts(geometry=FULL), frames, 2)).header
    expected = {
        "lnx": 256,
        "lny": 256,
        "lbx": 1,
        "lby": 1,
        "spixelformat": "4BYTE_LONG",
        "delectronsperadu": 1.0,
        "dsystemdcdb2gain": 1.0,
        "loverflowthreshold": 130000,
        "lcorrelationshift": 0,
        "dtrueimagegain": 0.0,
        "dexposuretimeinsec": 0.0999,
        "lmon4": 0,
        "drealpixelsizex": 0.075,
        "drealpixelsizey": 0.075,
        "dsithicknessmmforpixeldetector": 0.75,
        "timestampstring": "2026-01-01T00:00:00.700",
        "filename": "",
        "dom_s": 88.0,
        "dom_e": 88.25,
        "dph_e": 0.0,
        "detectorrotindeg_z": 0.0,
        "dxorigininpix": 1155.5,
        "dyorigininpix": 1081.0,
        "dalphaindeg": 50.0,
        "dbetaindeg": 0.0,
        "ddistanceinmm": 140.0,
        "dzerocorrectionsoftindeg_ph": 0.0,
        "dalpha1": 0.2854,
        "dbeta1": 0.2854,
        "ddvalue-prepolfac": 0.98,
        "orientation-type": "SYNCHROTRON",
        "labstorunscale": 0,
        "historystring": "fastlegacy /data/scan.h5::/x",
    }
    assert {key: header[key] for key in expected} == expected


@pytest.mark.parametrize("options", [{}, CODED], ids=["4BYTE", "AGI"])
def test_gaps_bad_pixels_and_limits(tmp_path: Path, options: dict[str, str]) -> None:
    frames = np.array([[[5, 2**32 - 1, 2**31, 2**31 - 3, 0]]], "<u4")
    of = facts(shape=frames.shape, dtype=frames.dtype, options=options)
    image = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, of, frames))
    assert image.data[0, 124:131].tolist() == [-1, 5, -1, 2**31 - 3, 2**31 - 3, 0, -1]
    mask = np.array([[0, 1, 2, 2, 1]], np.uint8)
    image = read(tmp_path / "b.esperanto", files.file_bytes(LAYOUT, of, frames, mask=mask))
    assert image.data[0, 124:131].tolist() == [-1, 5, -1, -2, -2, -1, -1]


@pytest.mark.parametrize("options", [{}, CODED], ids=["4BYTE", "AGI"])
def test_negative_pixels_are_kept(tmp_path: Path, options: dict[str, str]) -> None:
    frames = np.array([[[-4957, -1, -2, -(2**31), 2**31 - 1]]], "<i4")
    of = facts(shape=frames.shape, dtype=frames.dtype, options=options)
    image = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, of, frames))
    assert image.data[0, 125:130].tolist() == [-4957, -1, -2, -(2**24), HIGH]


def test_the_mask_value_of_the_user_is_around_the_image_too(tmp_path: Path) -> None:
    frames = np.array([[[65535, 7]]], "<u2")
    of = facts(shape=frames.shape, policy=PixelPolicy(mask_value=-10))
    image = read(tmp_path / "a.esperanto", files.file_bytes(LAYOUT, of, frames))
    assert (image.data == -10).sum() == 256 * 256 - 1
    assert image.data[0, 128] == 7


def test_an_impossible_mask_value_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"the mask value .* choose one from -"):
        LAYOUT.code(facts(policy=PixelPolicy(mask_value=-(2**31))))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(["u2", "u4", "i4", "i8", "f4"]))
def test_fabio_decodes_any_pixels(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dtype: str) -> None:
    frame = data.draw(hnp.arrays(dtype, (2, 20)))
    of = facts(shape=(1, 2, 20), dtype=frame.dtype, options=CODED)
    code = LAYOUT.code(of)
    assert code is not None
    path = tmp_path_factory.mktemp("agi") / "a.esperanto"
    image = read(path, files.file_bytes(LAYOUT, of, frame[None]))
    np.testing.assert_array_equal(image.data, develop(frame, code.form))


# ---------------------------------------------------------------------------------------------------- pieces


def test_without_compression_the_size_is_known_at_once() -> None:
    of = facts()
    assert LAYOUT.code(of) is None
    head, pixels = LAYOUT.pieces(of, 3)
    assert isinstance(head, Literal)
    assert isinstance(pixels, Pixels)
    assert pixels.form is not None
    assert (pixels.form.dtype, pixels.form.gap, pixels.form.bad, pixels.form.pad) == ("<i4", -1, -2, -1)


def test_a_compressed_body_is_one_piece() -> None:
    of = facts(options=CODED)
    code = LAYOUT.code(of)
    assert code is not None
    assert (code.codec, code.digest) == ("agi_bitfield", False)
    assert LAYOUT.pieces(of, 3, Coded(777))[1:] == (CodedPixels(3, code, 777),)
    assert LAYOUT.constant_size(of) is None


def test_a_compressed_file_cannot_be_described_before_its_frame_was_measured() -> None:
    with pytest.raises(TypeError, match="needs the size"):
        LAYOUT.pieces(facts(options=CODED), 0)


@pytest.mark.parametrize("dtype", ["<c8", "S3", "<f2"])
def test_pixels_that_are_no_real_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(LayoutError, match="cannot hold"):
        LAYOUT.code(facts(dtype=np.dtype(dtype)))
    with pytest.raises(LayoutError, match="cannot hold"):
        LAYOUT.pieces(facts(dtype=np.dtype(dtype)), 0)


@pytest.mark.parametrize("index", [-1, 10])
@pytest.mark.parametrize("step", [0.1, -0.1])
def test_a_frame_that_is_not_there_is_refused(index: int, step: float) -> None:
    with pytest.raises(IndexError):
        LAYOUT.pieces(facts(geometry=Geometry(start_deg=0.0, step_deg=step)), index)
