# SPDX-License-Identifier: MIT
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.errors import LayoutError
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.edf import LAYOUT
from fastlegacy.model import Geometry, Literal, StackFacts
from fastlegacy.pixels import PixelPolicy

FULL = Geometry(
    start_deg=-90.0,
    step_deg=0.1,
    exposure_s=0.05,
    wavelength_angstrom=0.2854,
    distance_m=0.14,
    beam_x_px=1034.5,
    beam_y_px=1081.0,
    pixel_x_m=75e-6,
    pixel_y_m=75e-6,
    run=3,
)

MEASURED = replace(
    FULL,
    title="NaCl; {no 1}\n50 % \u00e9",
    start_time="2026-01-01T00:30:00.25+01:00",
    period_s=0.5,
    motors={"diffrz": [-90.0 + 0.1 * i for i in range(1000)], "det y": 1.5, "ss;1": np.float32(0.25)},
    counters={"mon": np.arange(1000) * 1e9, "temperature": np.linspace(-1e-300, 1e-300, 1000)},
)


def facts(**changes: Any) -> StackFacts:
    shape = changes.pop("shape", (1000, 3, 5))
    values = {
        "url": "/data/scan.h5::/1.1/measurement/eiger",
        "shape": shape,
        "leading_shape": shape[:1],
        "dtype": np.dtype("<u2"),
        "geometry": FULL,
    }
    return StackFacts(**{**values, **changes})


def header(of: StackFacts, frame: int = 0) -> bytes:
    piece = LAYOUT.pieces(of, frame)[0]
    assert isinstance(piece, Literal)
    return piece.data


def keys(of: StackFacts, frame: int = 0) -> dict[str, str]:
    lines = header(of, frame).decode("ascii").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.rstrip(" ;").partition("=") for line in lines[1:-1])}


def test_the_frame_of_the_header() -> None:
    data = header(facts())
    assert data.startswith(b"{\nEDF_DataBlockID = 1.Image.Psd ;\n")
    assert data.endswith(b" }\n")
    assert len(data) % 512 == 0
    assert keys(facts())["EDF_HeaderSize"] == str(len(data))
    assert re.search(rb"EDF_HeaderSize = [ 0-9]{5} ;\n", data)
    assert data.count(b"{") == data.count(b"}") == 1


def test_the_keys_that_describe_the_image() -> None:
    assert list(keys(facts()).items())[:10] == [
        ("EDF_DataBlockID", "1.Image.Psd"),
        ("EDF_BinarySize", "30"),
        ("EDF_HeaderSize", "512"),
        ("ByteOrder", "LowByteFirst"),
        ("DataType", "UnsignedShort"),
        ("Dim_1", "5"),
        ("Dim_2", "3"),
        ("Image", "1"),
        ("HeaderID", "EH:000001:000000:000000"),
        ("Size", "30"),
    ]


def test_geometry_is_in_metres_and_pixels_from_the_corner() -> None:
    found = keys(facts(), 7)
    assert float(found["Omega"]) == pytest.approx(-89.3)
    assert float(found["OmegaStep"]) == 0.1
    assert float(found["ExposureTime"]) == 0.05
    assert float(found["WaveLength"]) == pytest.approx(2.854e-11, rel=1e-12)
    assert float(found["SampleDistance"]) == 0.14
    assert (float(found["Center_1"]), float(found["Center_2"])) == (1035.0, 1081.5)
    assert (float(found["PSize_1"]), float(found["PSize_2"])) == (75e-6, 75e-6)
    assert found["Run"] == "3"
    assert found["FrameIndex"] == "7"


def test_what_nobody_said_is_not_written() -> None:
    found = keys(facts(geometry=Geometry()))
    assert not found.keys() & {"Omega", "OmegaStep", "WaveLength", "Center_1", "PSize_2", "Run", "ExposureTime"}


def test_a_step_without_a_start_says_nothing_of_omega() -> None:
    assert not keys(facts(geometry=Geometry(step_deg=1.0))).keys() & {"Omega", "OmegaStep"}


def test_all_leading_axes_are_named() -> None:
    of = facts(shape=(240, 3, 5), leading_shape=(2, 12, 10))
    assert keys(of, 0)["FrameIndex"].split() == ["0", "0", "0"]
    assert keys(of, 239)["FrameIndex"].split() == ["1", "11", "9"]
    assert len(header(of, 0)) == len(header(of, 239))


def test_a_2d_dataset_has_no_index() -> None:
    assert "FrameIndex" not in keys(facts(shape=(1, 3, 5), leading_shape=()))


@pytest.mark.parametrize("url", ["/data/\u00e9;{a}%\n.h5::/x", "/data/\udcff.h5::/x"])
def test_the_source_is_safe_for_a_header(url: str) -> None:
    data = header(facts(url=url))
    line = next(line for line in data.split(b"\n") if line.startswith(b"Source"))
    value = line.removeprefix(b"Source = ").removesuffix(b" ;")
    assert value.isascii()
    assert not set(b";{}\n") & set(value)
    from urllib.parse import unquote

    assert unquote(value.decode(), errors="surrogateescape") == url


def test_a_long_url_makes_a_longer_header() -> None:
    data = header(facts(url="/" + "x" * 3000 + ".h5::/a"))
    assert len(data) % 512 == 0
    assert keys(facts(url="/" + "x" * 3000 + ".h5::/a"))["EDF_HeaderSize"] == str(len(data))


@pytest.mark.parametrize("room", range(20, 45))
def test_the_header_is_a_multiple_of_512_wherever_its_text_ends(room: int) -> None:
    data = header(facts(url="x" * room))
    assert len(data) in (512, 1024)
    assert data.endswith(b";\n" + b" " * data.count(b" ", data.rindex(b";")) + b"}\n")


@pytest.mark.parametrize("step_deg", [1e12, float("inf"), float("nan")])
def test_an_angle_that_does_not_fit_is_an_error(step_deg: float) -> None:
    with pytest.raises(LayoutError, match=r"frame 999.*does not fit"):
        header(facts(geometry=Geometry(start_deg=0.0, step_deg=step_deg)), 999)


@pytest.mark.parametrize("dtype", ["<u1", "<i1", "<u2", ">u2", "<i4", ">i4", "<u8", ">i8", "<f4", ">f4", "<f8"])
def test_fabio_reads_the_same_pixels(pixel_stack: Callable[..., Any], tmp_path: Path, dtype: str) -> None:
    stack = pixel_stack(dtype=dtype, geometry=FULL)
    file = Tree(stack, LAYOUT)["data0003.edf"]
    path = tmp_path / file.name
    path.write_bytes(file.read())
    with fabio.open(str(path)) as image:
        np.testing.assert_array_equal(image.data, stack.pixels[2])
        assert image.data.dtype == np.dtype(dtype).newbyteorder("=")
        assert image.nframes == 1
        assert float(image.header["Omega"]) == pytest.approx(-89.8)
        assert image.header["Source"] == "/data/scan.h5::/entry/data"


def test_blocks_one_after_another_are_a_multi_frame_edf(pixel_stack: Callable[..., Any], tmp_path: Path) -> None:
    stack = pixel_stack(shape=(3, 4, 4))
    path = tmp_path / "all.edf"
    path.write_bytes(b"".join(file.read() for file in Tree(stack, LAYOUT).values()))
    with fabio.open(str(path)) as images:
        assert images.nframes == 3
        np.testing.assert_array_equal(images.get_frame(2).data, stack.pixels[2])


def test_title_and_date_are_on_one_line_each() -> None:
    found = keys(facts(geometry=MEASURED))
    assert found["title"] == "NaCl%3B %7Bno 1%7D%0A50 %25 %C3%A9"
    assert found["Date"] == "2026-01-01T00:30:00.25+01:00"


def test_the_time_of_day_is_that_of_each_frame_in_seconds_since_1970() -> None:
    begun = 1767223800.25
    assert float(keys(facts(geometry=MEASURED), 0)["time_of_day"]) == begun
    assert float(keys(facts(geometry=MEASURED), 999)["time_of_day"]) == begun + 499.5


def test_a_date_that_is_no_date_is_written_as_it_is_and_makes_no_time() -> None:
    found = keys(facts(geometry=Geometry(start_time="yesterday")))
    assert found["Date"] == "yesterday"
    assert "time_of_day" not in found
    assert not keys(facts(geometry=Geometry())).keys() & {"Date", "time_of_day", "title", "motor_mne", "counter_pos"}


def test_motors_and_counters_stand_in_pairs_of_lines() -> None:
    found = keys(facts(geometry=MEASURED), 7)
    assert found["motor_mne"].split() == ["diffrz", "det%20y", "ss%3B1"]
    assert [float(word) for word in found["motor_pos"].split()] == pytest.approx([-89.3, 1.5, 0.25], rel=1e-11)
    assert found["counter_mne"].split() == ["mon", "temperature"]
    assert [float(word) for word in found["counter_pos"].split()] == pytest.approx(
        [7e9, -0.985985985986e-300], rel=1e-9
    )


def test_the_order_of_the_keys_is_stable() -> None:
    assert list(keys(facts(geometry=MEASURED)))[10:] == [
        "OmegaStep",
        "ExposureTime",
        "WaveLength",
        "SampleDistance",
        "Center_1",
        "Center_2",
        "PSize_1",
        "PSize_2",
        "Run",
        "title",
        "Date",
        "Omega",
        "FrameIndex",
        "time_of_day",
        "motor_mne",
        "motor_pos",
        "counter_mne",
        "counter_pos",
        "Source",
    ]


def test_headers_with_motors_have_one_length_and_each_line_its_place() -> None:
    of = facts(geometry=MEASURED)
    first = [len(line) for line in header(of).split(b"\n")]
    assert all([len(line) for line in header(of, frame).split(b"\n")] == first for frame in (1, 500, 999))


@pytest.mark.parametrize("kind", ["motor", "counter"])
def test_too_few_values_are_refused_by_name(kind: str) -> None:
    of = facts(geometry=Geometry(**{f"{kind}s": {"good": [0.0] * 1000, "diffrz": [0.0] * 999}}))
    with pytest.raises(LayoutError, match=f"the {kind} diffrz has 999 values for 1000 frames"):
        header(of)


def test_a_header_that_its_own_key_cannot_count_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"takes 100352 bytes.*five digits"):
        header(facts(url="x" * 99_500))
    assert len(header(facts(url="x" * 99_000))) == 99_840


numbers = st.floats(allow_nan=True, allow_infinity=True)
readings = st.dictionaries(st.text(min_size=1), numbers | st.lists(numbers, min_size=3, max_size=5), max_size=4)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(motors=readings, counters=readings, title=st.text())
def test_fabio_reads_what_the_user_gave(tmp_path: Path, motors: Any, counters: Any, title: str) -> None:
    of = facts(
        shape=(3, 1, 2), geometry=Geometry(motors=motors, counters=counters, title=title, start_time="2026-01-01")
    )
    sizes = {len(header(of, frame)) for frame in range(3)}
    assert len(sizes) == 1
    path = tmp_path / "data0003.edf"
    path.write_bytes(header(of, 2) + bytes(4))
    with fabio.open(str(path)) as image:
        assert image.data.shape == (1, 2)
        for prefix, given_values in (("motor", motors), ("counter", counters)):
            if given_values:
                expected = [value[2] if isinstance(value, list) else value for value in given_values.values()]
                found = [float(word) for word in image.header[f"{prefix}_pos"].split()]
                np.testing.assert_allclose(found, expected, rtol=1e-11)
                assert len(image.header[f"{prefix}_mne"].split()) == len(given_values)
        assert float(image.header["time_of_day"]) == 1767225600.0


@pytest.mark.parametrize(
    ("stored", "wanted", "data_type", "expected"),
    [
        ("<u4", "i4", "SignedInteger", [0, 7, 2**31 - 1, 2**31 - 1, -1]),
        (">u4", "i4", "SignedInteger", [0, 7, 2**31 - 1, 2**31 - 1, -1]),
        ("<u4", "u2", "UnsignedShort", [0, 7, 65535, 65535, 65535]),
        (">u4", "f8", "DoubleValue", [0, 7, 2**31, 2**32 - 2, np.nan]),
        ("<u4", "u8", "Unsigned64", [0, 7, 2**31, 2**32 - 2, 2**64 - 1]),
    ],
)
def test_the_header_follows_the_type_that_the_user_wants(
    whole_file: Any, tmp_path: Path, stored: str, wanted: str, data_type: str, expected: list[float]
) -> None:
    frames = np.array([[[0, 7, 2**31, 2**32 - 2, 2**32 - 1]]], stored)
    of = facts(shape=frames.shape, dtype=frames.dtype, policy=PixelPolicy(dtype=wanted))
    data = whole_file(LAYOUT, of, frames)
    found = keys(of)
    assert (found["DataType"], found["EDF_BinarySize"], found["Size"]) == (data_type, *[str(5 * int(wanted[1]))] * 2)
    assert found["ByteOrder"] == ("HighByteFirst" if stored[0] == ">" else "LowByteFirst")
    assert len(data) == int(found["EDF_HeaderSize"]) + 5 * int(wanted[1])
    path = tmp_path / "data0001.edf"
    path.write_bytes(data)
    with fabio.open(str(path)) as image:
        assert image.data.dtype == np.dtype(wanted)
        np.testing.assert_array_equal(image.data, np.array([expected], wanted))


def test_unsigned_32_bit_pixels_beyond_the_signed_ones_stay_what_they_are(whole_file: Any, tmp_path: Path) -> None:
    frames = np.array([[[2**31 - 1, 2**31, 2**32 - 1]]], "<u4")
    path = tmp_path / "data0001.edf"
    path.write_bytes(whole_file(LAYOUT, facts(shape=frames.shape, dtype=frames.dtype), frames))
    with fabio.open(str(path)) as image:
        assert image.data.dtype == np.uint32
        np.testing.assert_array_equal(image.data, frames[0])


@pytest.mark.parametrize("shape", [(2, 1, 9), (2, 9, 1), (2, 7, 13)], ids=str)
def test_fabio_reads_odd_shapes(whole_file: Any, tmp_path: Path, shape: tuple[int, int, int]) -> None:
    frames = np.arange(np.prod(shape)).reshape(shape).astype("<i4")
    path = tmp_path / "data0002.edf"
    path.write_bytes(whole_file(LAYOUT, facts(shape=shape, dtype=frames.dtype), frames, 1))
    with fabio.open(str(path)) as image:
        np.testing.assert_array_equal(image.data, frames[1])
