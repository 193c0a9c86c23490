# SPDX-License-Identifier: MIT
import base64
import hashlib
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fabio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastlegacy.errors import LayoutError
from fastlegacy.layouts.cbf import LAYOUT
from fastlegacy.model import CodedPixels, Geometry, Literal, Padding, StackFacts, piece_size
from fastlegacy.pixels import Coded, PixelPolicy

from .. import whole_files as files
from ..core.reference_pixels import develop

FULL = Geometry(
    start_deg=-90.0,
    step_deg=0.1,
    exposure_s=0.05,
    wavelength_angstrom=0.2854,
    distance_m=0.14,
    beam_x_px=1034.5,
    beam_y_px=1081.0,
    pixel_x_m=75e-6,
    pixel_y_m=100e-6,
    saturation_counts=130000,
    detector="Dectris EIGER2 CdTe 4M, S/N E-08-0000",
    sensor_material="CdTe",
    sensor_thickness_m=750e-6,
    threshold_ev=21700.5,
    period_s=0.0625,
    title="sensor test; \u00fcber #3",
    start_time="2026-01-01T01:00:00+01:00",
)
FULL_TEXT = """\
###CBF: VERSION 1.5, fastlegacy

data_scan_1_00009

_array_data.header_convention "PILATUS_1.2"
_array_data.header_contents
;
# Detector: Dectris EIGER2 CdTe 4M, S/N E-08-0000
# 2026-01-01T00:00:00.500
# CdTe sensor, thickness 0.000750 m
# Pixel_size 75e-6 m x 100e-6 m
# Exposure_time 0.0500 s
# Exposure_period 0.0625 s
# Count_cutoff 130000 counts
# Threshold_setting: 21700.5000 eV
# Wavelength 0.2854 A
# Detector_distance 0.1400 m
# Beam_xy (1035.0000, 1081.5000) pixels
# Start_angle -89.20000000 deg.<8 spaces>
# Angle_increment 0.1000 deg.
# Detector_2theta 0.0000 deg.
# Phi 0.0000 deg.
# Omega -89.20000000 deg.<8 spaces>
# Omega_increment 0.1000 deg.
# Oscillation_axis omega
# Image_path: /data/
# Source: scan 1.h5::/x
# Title: "%73ensor test%3B %C3%BCber %233"
;

_array_data.data
;
--CIF-BINARY-FORMAT-SECTION--
Content-Type: application/octet-stream;
     conversions="x-CBF_BYTE_OFFSET"
Content-Transfer-Encoding: BINARY
X-Binary-Size: 4486000
X-Binary-ID: 1
X-Binary-Element-Type: "signed 32-bit integer"
X-Binary-Element-Byte-Order: LITTLE_ENDIAN
X-Binary-Number-of-Elements: 4471016
X-Binary-Size-Fastest-Dimension: 2068
X-Binary-Size-Second-Dimension: 2162
X-Binary-Size-Padding: 4095

""".replace("<8 spaces>", 8 * " ")
TAIL = b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"
NEEDED_BY_DXTBX = {
    "Pixel_size": "100e-6 m x 100e-6 m",
    "Exposure_period": "0.0000 s",
    "Wavelength": "1.0000 A",
    "Detector_distance": "0.1000 m",
    "Beam_xy": "(6.5000, 3.5000) pixels",
    "Start_angle": "0.00000000 deg.",
    "Angle_increment": "0.0000 deg.",
}
ALL = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")
LOW, HIGH = -(2**24), 2**31 - 1 - 2**24
EIGER2_4M, PILATUS_2M = (2162, 2068), (1679, 1475)


def facts(**changes: Any) -> StackFacts:
    shape = changes.pop("shape", (1000, 7, 13))
    values = {
        "url": "/data/scan 1.h5::/x",
        "shape": shape,
        "leading_shape": shape[:1],
        "dtype": np.dtype("<u2"),
        "mtime_ns": 1_600_000_000_999_999_999,
    }
    return StackFacts(**{**values, **changes})


def text_of(of: StackFacts, frame: int = 0, size: int = 91) -> str:
    piece = LAYOUT.pieces(of, frame, Coded(size))[0]
    assert isinstance(piece, Literal)
    assert piece.data.endswith(b"\r\n\r\n\x0c\x1a\x04\xd5")
    return piece.data[:-4].decode("ascii")


def comments(of: StackFacts, frame: int = 0) -> dict[str, str]:
    lines = [line[2:] for line in text_of(of, frame).split("\r\n") if line.startswith("# ")]
    return {line.split(" ")[0].rstrip(":"): line.partition(" ")[2].rstrip() for line in lines}


def convention_of(of: StackFacts) -> str:
    found = re.search('^_array_data.header_convention "(.*)"', text_of(of), re.MULTILINE)
    assert found
    return found[1]


def read(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    with fabio.open(str(path)) as image:
        assert type(image).__name__ == "CbfImage"
        return image


# ---------------------------------------------------------------------------------------------------- text


def test_the_text_letter_by_letter() -> None:
    of = facts(shape=(1000, *EIGER2_4M), geometry=FULL)
    assert text_of(of, 8, 4486000) == FULL_TEXT.replace("\n", "\r\n")


def test_a_file_is_text_pixels_padding_and_the_end_of_the_section() -> None:
    of = facts()
    text, pixels, padding, tail = LAYOUT.pieces(of, 4, Coded(1234))
    assert isinstance(text, Literal)
    assert pixels == CodedPixels(4, LAYOUT.code(of), 1234)
    assert (padding, tail) == (Padding(4095), Literal(TAIL))


@pytest.mark.parametrize(("line", "value"), NEEDED_BY_DXTBX.items())
def test_what_dxtbx_cannot_do_without_has_a_neutral_value(line: str, value: str) -> None:
    assert comments(facts())[line] == value


def test_what_nobody_said_is_told_in_words_that_no_script_looks_for() -> None:
    expected = "pixel size, exposure, cutoff, energy, distance, beam, start, step"
    assert comments(facts())["Not_given"] == expected
    assert "Not_given" not in comments(facts(geometry=FULL))
    assert comments(facts(geometry=replace(FULL, distance_m=None)))["Not_given"] == "distance"


def test_the_beam_is_in_the_middle_where_nobody_said_it() -> None:
    assert comments(facts(shape=(1, 8, 5)))["Beam_xy"] == "(2.5000, 4.0000) pixels"


@pytest.mark.parametrize(
    ("dtype", "cutoff"),
    [("u1", 254), (">u2", 65534), ("u4", 2**31 - 3), ("u8", 2**31 - 3), ("i1", 127), ("i4", HIGH), ("f4", HIGH)],
)
def test_the_cutoff_is_the_largest_pixel_that_there_can_be(dtype: str, cutoff: int) -> None:
    assert comments(facts(dtype=np.dtype(dtype)))["Count_cutoff"] == f"{cutoff} counts"
    many = Geometry(saturation_counts=2**40)
    assert int(comments(facts(dtype=np.dtype(dtype), geometry=many))["Count_cutoff"].split()[0]) >= 2**30


@pytest.mark.parametrize(
    ("material", "thickness_m", "line"),
    [
        ("Si", 0.45e-3, "# Silicon sensor, thickness 0.000450 m"),
        ("CdTe", 1e-3, "# CdTe sensor, thickness 0.001000 m"),
        ("GaAs", None, "# GaAs sensor, thickness 0.000000 m"),
        ("Cd\u00e9 Zn;\nTe", 1e-3, "# CdZnTe sensor, thickness 0.001000 m"),
    ],
)
def test_the_sensor_is_in_the_words_of_dectris(material: str, thickness_m: float | None, line: str) -> None:
    geometry = Geometry(sensor_material=material, sensor_thickness_m=thickness_m)
    assert line in text_of(facts(geometry=geometry)).split("\r\n")


@pytest.mark.parametrize("material", [None, "", " \u00fc"])
def test_no_sensor_is_written_without_its_material(material: str | None) -> None:
    assert " sensor, " not in text_of(facts(geometry=Geometry(sensor_material=material, sensor_thickness_m=1e-3)))


@pytest.mark.parametrize(
    ("start", "step", "frame", "angle"),
    [(10.0, 0.25, 4, "11.00000000"), (None, -0.25, 4, "-1.00000000"), (10.0, None, 4, "10.00000000")],
)
def test_the_angle_is_that_of_the_frame(start: float, step: float, frame: int, angle: str) -> None:
    found = comments(facts(geometry=Geometry(start_deg=start, step_deg=step)), frame)
    assert found["Start_angle"] == found["Omega"] == f"{angle} deg."
    assert found["Angle_increment"] == found["Omega_increment"] == f"{step or 0:.4f} deg."


def test_zeros_have_no_sign() -> None:
    of = facts(geometry=Geometry(start_deg=-1.0, step_deg=0.1, beam_x_px=-0.5))
    assert comments(of, 10)["Start_angle"] == "0.00000000 deg."
    assert comments(of)["Beam_xy"] == "(0.0000, 3.5000) pixels"


def test_numbers_have_no_exponent() -> None:
    tiny = Geometry(exposure_s=2e-6, distance_m=1.5e-5, pixel_x_m=0.55e-6, wavelength_angstrom=12345678.5)
    found = comments(facts(geometry=tiny))
    assert (found["Exposure_time"], found["Detector_distance"]) == ("0.000002 s", "0.000015 m")
    assert (found["Pixel_size"], found["Wavelength"]) == ("0.55e-6 m x 0.55e-6 m", "12345678.5000 A")


@pytest.mark.parametrize("period", [None, 0.25])
def test_the_text_has_one_length_for_all_frames(period: float | None) -> None:
    geometry = Geometry(start_deg=-5.0, step_deg=1.0, period_s=period, start_time="2026-01-01")
    of = facts(geometry=geometry, shape=(200_000, 7, 13))
    assert len({len(text_of(of, frame)) for frame in (0, 5, 14, 104, 999, 99_998, 99_999, 199_999)}) == 1


def test_an_angle_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(LayoutError, match=r"frame 999.*does not fit.*Start_angle"):
        text_of(facts(geometry=Geometry(start_deg=0.0, step_deg=1e12)), 999)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/scan_0001.h5::/x", "scan_0001"),
        ("/d/\u00e9;\r\n# x'y\".h5::/x", "x_y"),
        ("::/x", "image"),
        ("a" * 300 + "::/x", "a" * 50),
    ],
)
def test_the_data_block_has_the_name_of_the_file(url: str, name: str) -> None:
    assert f"\r\ndata_{name}_00001\r\n" in text_of(facts(url=url))


# ---------------------------------------------------------------------------------------------------- convention


@pytest.mark.parametrize(
    ("shape", "detector", "expected"),
    [
        (EIGER2_4M, "Dectris EIGER2 CdTe 4M", "PILATUS_1.2"),
        ((512, 1028), "eiger2 500k", "PILATUS_1.2"),
        ((4371, 4150), "Eiger 16M", "PILATUS_1.2"),
        ((4362, 4148), "Eiger2 16M", "PILATUS_1.2"),
        (PILATUS_2M, "PILATUS 2M", "PILATUS_1.2"),
        ((2527, 2463), None, "PILATUS_1.2"),
        ((195, 487), None, "PILATUS_1.2"),
        (EIGER2_4M, None, "GENERIC_MINI"),
        (EIGER2_4M, "Jungfrau 4M", "GENERIC_MINI"),
        (EIGER2_4M[::-1], "EIGER2 4M", "GENERIC_MINI"),
        ((1081, 1034), "EIGER2 4M", "GENERIC_MINI"),
        ((2162, 2067), "EIGER2 4M", "GENERIC_MINI"),
        ((512, 5188), "EIGER2 4M", "GENERIC_MINI"),
        (PILATUS_2M, "EIGER2 4M", "GENERIC_MINI"),
        ((1679, 1476), "PILATUS 2M", "GENERIC_MINI"),
        ((7, 13), None, "GENERIC_MINI"),
    ],
)
def test_dxtbx_asserts_exact_eiger_and_pilatus_shapes(
    shape: tuple[int, int], detector: str | None, expected: str
) -> None:
    of = facts(shape=(2, *shape), geometry=Geometry(detector=detector))
    assert convention_of(of) == expected
    # which class of dxtbx reads a file depends on this line too
    line = comments(of)["Detector"]
    assert line == ("unknown" if expected == "GENERIC_MINI" and detector != "Jungfrau 4M" else detector or "unknown")


def test_a_name_that_is_not_in_its_line_is_in_another_one() -> None:
    found = comments(facts(geometry=Geometry(detector='Dectris "EIGER2" 4M')))
    assert (found["Detector"], found["Camera"]) == ("unknown", '"Dectris %22EIGER2%22 4M"')
    assert "Camera" not in comments(facts(geometry=Geometry(detector="Jungfrau 4M")))


@pytest.mark.parametrize("convention", ["PILATUS_1.2", "SLS_1.0", "GENERIC_MINI"])
def test_the_user_may_choose_the_convention(convention: str) -> None:
    geometry = Geometry(detector="EIGER2 4M")
    of = facts(geometry=geometry, options={"convention": convention})
    assert convention_of(of) == convention
    assert comments(of)["Detector"] == ("unknown" if convention == "GENERIC_MINI" else "EIGER2 4M")
    assert convention_of(replace(of, shape=(1, *EIGER2_4M))) == convention
    assert comments(replace(of, shape=(1, *EIGER2_4M)))["Detector"] == "EIGER2 4M"


# ---------------------------------------------------------------------------------------------------- text of users

WORDS = """;|\n;\r\n|a\\|()|sensor|: sensor 1|a:b|sensor, thickness|--CIF-BINARY-FORMAT-SECTION--|_array_data.data|
_array_data.header_convention "PILATUS_1.2"|# Detector: PILATUS|Eiger 4M"""
NASTY = st.one_of(st.text(), st.sampled_from(["", "\udcff", "\u00e9" * 3000, *WORDS.split("|")]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=NASTY, detector=NASTY, url=NASTY, material=NASTY, words=st.sampled_from(["auto", "PILATUS_1.2"]))
def test_no_text_of_the_user_breaks_the_file(
    tmp_path: Path, title: str, detector: str, url: str, material: str, words: str
) -> None:
    geometry = Geometry(title=title, detector=detector, sensor_material=material, sensor_thickness_m=1e-3)
    of = facts(shape=(1, 2, 3), geometry=geometry, url=url, options={"convention": words})
    frames = np.arange(6, dtype="<u2").reshape(1, 2, 3)
    text = text_of(of)
    contents = text.split("\r\n;\r\n")[1].split("\r\n")
    assert re.fullmatch("[\\x20-\\x7e\r\n]+", text)
    assert all(line.startswith("# ") for line in contents)
    assert text.count("#") == len(contents) + 3  # cctbx splits at it
    times = [line for line in contents if len(line[1:].split()) <= 2 and line.count(":") == 2]
    assert times == ["# 2020-09-13T12:26:40.000"]  # what dxtbx takes for a time
    assert text.count("_array_data.") == 3
    assert text.count("--CIF") == 1
    assert max(map(len, text.split("\r\n"))) <= 80  # CBFlib warns of longer lines
    image = read(tmp_path / "a.cbf", files.file_bytes(LAYOUT, of, frames))
    np.testing.assert_array_equal(image.data, frames[0])
    if words == "auto":
        assert not re.search("eiger|pilatus", contents[0].lower())
    else:
        assert image.pilatus_headers["Wavelength"] == 1.0


@pytest.mark.parametrize("url", ["/data/\u00e9%\r\n#/a.h5::/x", "/data/\udcff\\/b.h5::/x", "c:/x.h5::y", "::/x"])
def test_the_place_can_be_read_back(url: str) -> None:
    found = comments(facts(url=url))
    place = found["Image_path"].removeprefix("./") + found["Source"]
    assert unquote(place, errors="surrogateescape") == url


def test_of_a_long_path_the_end_is_kept() -> None:
    found = comments(facts(url="/" + "x" * 5000 + "/scan.h5::/" + "y" * 5000))
    assert re.fullmatch(r"\.\.\.x{59}/", found["Image_path"])
    assert re.fullmatch(r"\.\.\.y{64}", found["Source"])


def test_no_cut_makes_a_time_of_a_path() -> None:
    for length in range(50, 80):
        found = comments(facts(url=f"/data/scan.h5::{'y' * length}"))
        assert found["Source"].count(":") != 1
    assert found["Source"].startswith("...")


def test_of_a_long_name_the_beginning_is_kept() -> None:
    found = comments(facts(geometry=Geometry(title="x" * 5000, detector="eiger" + "y" * 5000)))
    assert re.fullmatch(r'"x{64}\.\.\."', found["Title"])
    assert re.fullmatch(r'"eigery{58}\.\.\."', found["Camera"])


# ---------------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("dtype", [f"{order}{code}" for code in ALL for order in "<>"])
def test_fabio_reads_the_pixels_of_every_type(tmp_path: Path, dtype: str) -> None:
    frames = np.random.default_rng(3).integers(0, 120, (2, 7, 13)).astype(dtype)
    image = read(tmp_path / "a.cbf", files.file_bytes(LAYOUT, facts(dtype=frames.dtype, shape=frames.shape), frames, 1))
    np.testing.assert_array_equal(image.data, frames[1])
    assert image.data.dtype == np.int32


@pytest.mark.parametrize("shape", [(7, 13), (1, 9), (9, 1), (1, 1)], ids=str)
def test_fabio_reads_every_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(3).integers(0, 60_000, (1, *shape)).astype("<u2")
    of = facts(shape=frames.shape, geometry=FULL, options={"md5": True})
    data = files.file_bytes(LAYOUT, of, frames)
    image = read(tmp_path / "a.cbf", data)
    np.testing.assert_array_equal(image.data, frames[0])
    assert int(image.header["X-Binary-Size"]) == len(data) - data.index(b"\x0c\x1a\x04\xd5") - 4 - 4095 - len(TAIL)


def test_fabio_reads_the_header(tmp_path: Path) -> None:
    frames = np.zeros((1, 7, 13), "<u2")
    of = facts(shape=frames.shape, geometry=FULL, options={"convention": "PILATUS_1.2"})
    header = read(tmp_path / "a.cbf", files.file_bytes(LAYOUT, of, frames)).pilatus_headers
    assert header["Detector"] == "Dectris EIGER2 CdTe 4M S/N E-08-0000"
    assert header["sensor"] == ("CdTe", 0.00075)
    assert header["Pixel_size"] == (75e-6, 100e-6)
    assert header["Beam_xy"] == (1035.0, 1081.5)
    numbers = ["Exposure_time", "Exposure_period", "Count_cutoff", "Threshold_setting", "Wavelength"]
    assert [header[key] for key in numbers] == [0.05, 0.0625, 130000, 21700.5, 0.2854]
    numbers = ["Detector_distance", "Start_angle", "Angle_increment", "Omega", "Omega_increment"]
    assert [header[key] for key in numbers] == [0.14, -90.0, 0.1, -90.0, 0.1]
    assert header["Oscillation_axis"] == "omega"


def test_gaps_are_minus_one_and_bad_pixels_minus_two(tmp_path: Path) -> None:
    frames = np.array([[[1, 65535, 3, 65535]]], "<u2")
    of = facts(shape=frames.shape)
    assert read(tmp_path / "a.cbf", files.file_bytes(LAYOUT, of, frames)).data.tolist() == [[1, -1, 3, -1]]
    mask = np.array([[0, 1, 2, 0]], np.uint8)
    data = files.file_bytes(LAYOUT, of, frames, mask=mask)
    assert read(tmp_path / "b.cbf", data).data.tolist() == [[1, -1, -2, 65535]]


def test_unsigned_element_types_are_never_written() -> None:
    for code in ALL:
        assert 'X-Binary-Element-Type: "signed 32-bit integer"\r\n' in text_of(facts(dtype=np.dtype(code)))


def test_unsigned_pixels_beyond_31_bits_are_clamped_and_all_ones_are_a_gap(tmp_path: Path) -> None:
    frames = np.array([[[2**31 - 3, 2**31 - 2, 2**31, 2**32 - 2, 2**32 - 1]]], "<u4")
    data = files.file_bytes(LAYOUT, facts(shape=frames.shape, dtype=frames.dtype), frames)
    assert read(tmp_path / "a.cbf", data).data.tolist() == [[2**31 - 3] * 4 + [-1]]


def test_negative_pixels_are_kept(tmp_path: Path) -> None:
    frames = np.array([[[-5, -1, -2, 7, -(2**31), 2**31 - 1]]], "<i4")
    data = files.file_bytes(LAYOUT, facts(shape=frames.shape, dtype=frames.dtype), frames)
    assert read(tmp_path / "a.cbf", data).data.tolist() == [[-5, -1, -2, 7, LOW, HIGH]]


def test_what_is_no_number_is_bad_and_what_is_too_large_is_clamped(tmp_path: Path) -> None:
    frames = np.array([[[np.nan, np.inf, -np.inf, 1e30, -0.6, 2.5]]], ">f4")
    data = files.file_bytes(LAYOUT, facts(shape=frames.shape, dtype=frames.dtype), frames)
    assert read(tmp_path / "a.cbf", data).data.tolist() == [[-2, HIGH, LOW, HIGH, -1, 2]]


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from(["u2", "u4", "u8", "i4", "i8", "f4", "f8"]),
    mask_value=st.one_of(st.none(), st.integers(-(2**30), HIGH)),
)
def test_no_difference_of_two_pixels_needs_more_than_32_bits(
    data: st.DataObject, dtype: str, mask_value: int | None
) -> None:
    frame = data.draw(hnp.arrays(dtype, (3, 4)))
    mask = data.draw(hnp.arrays(np.uint8, (3, 4), elements=st.integers(0, 2)))
    of = facts(dtype=frame.dtype, shape=(1, 3, 4), policy=PixelPolicy(mask_value=mask_value))
    pixels = develop(frame, LAYOUT.code(of).form, mask=mask).astype(np.int64)
    assert np.ptp(pixels) <= 2**31 - 1
    assert np.abs(pixels).max() <= 2**31 - 1  # the first one is a difference too
    assert pixels[mask == 1].tolist() == [-1 if mask_value is None else mask_value] * int((mask == 1).sum())


def test_the_smallest_difference_that_breaks_others_cannot_happen(tmp_path: Path) -> None:
    # (2**31 - 1) and then -1 is what overflows in encoders that take absolute values in 32 bits
    frames = np.array([[[2**31 - 1, -1, 2**31 - 1]]], "<i8")
    data = files.file_bytes(LAYOUT, facts(shape=frames.shape, dtype=frames.dtype), frames)
    assert b"\x80\x00\x80\x00\x00\x00\x80" not in data
    assert read(tmp_path / "a.cbf", data).data.tolist() == [[HIGH, -1, HIGH]]


@pytest.mark.parametrize(
    ("dtype", "value", "low", "high"),
    [
        ("u2", 0, 0, 2**31 - 3),
        ("u2", 2**31 - 1, 0, 2**31 - 3),
        ("u2", -100, 0, 2**31 - 101),
        ("u2", -(2**30), 0, 2**30 - 1),
        ("i4", -(2**30), LOW, 2**30 - 1),
        ("f4", HIGH, LOW, HIGH),
    ],
)
def test_the_mask_value_of_the_user_is_honoured(dtype: str, value: int, low: int, high: int) -> None:
    form = LAYOUT.code(facts(dtype=np.dtype(dtype), policy=PixelPolicy(mask_value=value))).form
    assert (form.gap, form.bad, form.low, form.high) == (value, value, low, high)


@pytest.mark.parametrize(
    ("dtype", "value"), [("u2", -(2**30) - 1), ("u4", 2**31), ("i4", HIGH + 1), ("f4", float("nan")), ("u2", 1.5)]
)
def test_an_impossible_mask_value_is_refused(dtype: str, value: float) -> None:
    with pytest.raises(LayoutError, match=r"the mask value .* choose one from -"):
        LAYOUT.code(facts(dtype=np.dtype(dtype), policy=PixelPolicy(mask_value=value)))


@pytest.mark.parametrize("saturate", ["clip", "keep", "error"])
def test_the_user_says_what_becomes_of_pixels_that_are_too_large(saturate: Any) -> None:
    assert LAYOUT.code(facts(policy=PixelPolicy(saturate=saturate))).form.saturate == saturate


# ---------------------------------------------------------------------------------------------------- MD5


def test_without_the_option_there_is_no_md5() -> None:
    of = facts()
    assert not LAYOUT.code(of).digest
    assert "MD5" not in text_of(of)


def test_the_md5_is_that_of_the_encoded_pixels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = np.random.default_rng(3).integers(0, 60_000, (1, 7, 13)).astype("<u2")
    of = facts(shape=frames.shape, options={"md5": True})
    data = files.file_bytes(LAYOUT, of, frames)
    start = data.index(b"\x0c\x1a\x04\xd5") + 4
    expected = base64.b64encode(hashlib.md5(data[start : -4095 - len(TAIL)]).digest())
    assert LAYOUT.code(of).digest
    assert b"\r\nContent-MD5: " + expected + b"\r\n" in data
    with caplog.at_level(logging.ERROR):
        read(tmp_path / "a.cbf", data)
    assert caplog.text == ""  # fabio checks it


# ---------------------------------------------------------------------------------------------------- constant size


@pytest.mark.parametrize("md5", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (64, 65)], ids=str)
def test_constant_files_have_one_size_that_is_known_before(tmp_path: Path, shape: tuple[int, int], md5: bool) -> None:
    frames = np.stack([np.full(shape, 0), np.full(shape, 40_000), np.indices(shape).sum(0) % 2 * 300]).astype("<u2")
    of = facts(shape=frames.shape, geometry=FULL, options={"size": "constant", "md5": md5})
    size = LAYOUT.constant_size(of)
    assert size is not None
    assert size % 4096 == 0
    assert 4 * shape[0] * shape[1] <= size <= 4 * shape[0] * shape[1] + 8192
    for index, frame in enumerate(frames):
        data = files.file_bytes(LAYOUT, of, frames, index)
        assert len(data) == size
        assert data.endswith(TAIL)
        image = read(tmp_path / f"{index}.cbf", data)
        np.testing.assert_array_equal(image.data, frame)
        body = int(image.header["X-Binary-Size"])
        padding = data[data.index(b"\x0c\x1a\x04\xd5") + 4 + body : -len(TAIL)]
        assert padding == bytes(int(image.header["X-Binary-Size-Padding"]))


def test_every_size_that_fits_fills_the_file() -> None:
    of = facts(options={"size": "constant"})
    size = LAYOUT.constant_size(of)
    assert size is not None
    sizes = []
    for body in range(91, 2 * size):
        try:
            pieces = LAYOUT.pieces(of, 0, Coded(body))
        except LayoutError:
            break
        assert sum(piece_size(piece, of) for piece in pieces) == size
        assert isinstance(pieces[0], Literal)
        assert isinstance(pieces[2], Padding)
        assert f"X-Binary-Size-Padding: {pieces[2].size}\r\n".encode() in pieces[0].data.replace(b":  ", b": ")
        sizes.append(pieces[2].size)
    assert min(sizes) == 0
    assert len(sizes) > 4 * 91


def test_a_frame_that_needs_more_says_what_to_do() -> None:
    of = facts(options={"size": "constant"})
    with pytest.raises(LayoutError, match=r"frame 3: 9000 bytes .* do not fit .*size=exact"):
        LAYOUT.pieces(of, 3, Coded(9000))


def test_exact_files_have_no_constant_size() -> None:
    assert LAYOUT.constant_size(facts()) is None
    assert LAYOUT.constant_size(facts(options={"size": "exact"})) is None


# ---------------------------------------------------------------------------------------------------- refusals


def test_a_file_cannot_be_described_before_its_frame_was_measured() -> None:
    with pytest.raises(TypeError, match="needs the size"):
        LAYOUT.pieces(facts(), 0)


@pytest.mark.parametrize("dtype", ["<c8", "S3", "<f2"])
def test_pixels_that_are_no_real_numbers_are_refused(dtype: str) -> None:
    for options in ({}, {"size": "constant"}):
        of = facts(dtype=np.dtype(dtype), options=options)
        for ask in (LAYOUT.code, lambda of: LAYOUT.pieces(of, 0, Coded(1))):
            with pytest.raises(LayoutError, match="cannot hold"):
                ask(of)
    with pytest.raises(LayoutError, match="cannot hold"):
        LAYOUT.constant_size(facts(dtype=np.dtype(dtype), options={"size": "constant"}))


@pytest.mark.parametrize("frame", [-1, 1000])
def test_a_frame_that_is_not_there_is_refused(frame: int) -> None:
    with pytest.raises(IndexError):
        LAYOUT.pieces(facts(), frame, Coded(91))
