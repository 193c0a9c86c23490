# SPDX-License-Identifier: MIT
"""Masters of Dectris' filewriter 1: blocks of any length, blocks that never came, and the geometry of the series."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fastlegacy.errors import SourceError
from fastlegacy.sources.find import find_stacks, open_stack
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames

FRAMES = counting_frames(9, (20, 30), "u4")


def frames_of(url: str, **options: Any) -> np.ndarray:
    with open_stack(url, **options) as stack:
        return stack.read_frames(0, len(stack))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "fastlegacy.sources" and r.levelno >= logging.WARNING]


# ---------------------------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("blocks", [(9,), (3, 3, 3), (4, 4, 1), (2, 5, 1, 1)])
def test_blocks_of_any_length(tmp_path: Path, blocks: tuple[int, ...], first: int, numbered: bool) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=blocks, first=first, numbered=numbered)
    np.testing.assert_array_equal(frames_of(url), FRAMES)
    (info,) = [info for info in find_stacks(url.partition("::")[0]) if info.source == "dectris"]
    assert (info.url, info.shape, info.frames_stored, info.chunks) == (url, (9, 20, 30), 9, (1, 20, 30))
    assert info.why == f"detector eiger2, a master of Dectris, {len(blocks)} block{'s' if len(blocks) > 1 else ''}"


def test_the_master_alone_is_enough(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5))
    with h5py.File(url.partition("::")[0], "r+") as file:
        file["entry/instrument/detector/detectorSpecific/pixel_mask"] = np.zeros((64, 64), "u4")
    np.testing.assert_array_equal(frames_of(url.partition("::")[0]), FRAMES)
    assert [info.url for info in find_stacks(url.partition("::")[0])] == [url]


def test_names_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    """Filewriter pads numbers with zeros; data_1000000 comes after data_999999 all the same."""
    with h5py.File(tmp_path / "a_master.h5", "w") as file:
        for number, frame in zip((1, 2, 10, 9, 1000000, 999999), FRAMES, strict=False):
            file[f"entry/data/data_{number:02d}"] = frame[None]
    found = frames_of(str(tmp_path / "a_master.h5"))
    np.testing.assert_array_equal(found, FRAMES[[0, 1, 3, 2, 5, 4]])


def test_a_block_of_one_image_may_have_two_axes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a_master.h5", "w") as file:
        file["entry/data/data_000001"] = FRAMES[:2]
        file["entry/data/data_000002"] = FRAMES[2]
    np.testing.assert_array_equal(frames_of(str(tmp_path / "a_master.h5")), FRAMES[:3])


def test_images_in_the_master_itself(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES)
    file = url.partition("::")[0]
    with h5py.File(file, "r+") as h5:
        del h5["entry/data/data_000001"]
        h5["entry/data/data"] = FRAMES
    with open_stack(file) as stack:
        assert stack.url == f"{url}/data"
        assert stack.geometry.step_deg == 0.25
        np.testing.assert_array_equal(stack[3], FRAMES[3])


def test_one_block_alone_has_its_own_angles(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 3, 2))
    with open_stack(f"{url}/data_000002") as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 3), FRAMES[4:7])
        assert stack.geometry.angles_deg == (1.0, 1.25, 1.5)
        assert (stack.geometry.start_deg, stack.geometry.distance_m) == (1.0, 0.15)


def test_a_slice_goes_across_blocks(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 3, 2))
    sliced = f"{url.replace('::', '?path=')}&slice=3:8:2,5:,10:20"
    with open_stack(sliced) as stack:
        np.testing.assert_array_equal(stack.read_frames(0, len(stack)), FRAMES[3:8:2, 5:, 10:20])
        known = stack.geometry
        assert (known.start_deg, known.step_deg) == (0.75, 0.5)
        assert (known.beam_x_px, known.beam_y_px) == (1023.5, 1075.75)
        assert str(stack.frames_url).endswith("?path=/entry/data/data_000001&slice=...,5:,10:20")


def test_a_stack_of_blocks_travels(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 3, 2))
    with open_stack(url) as stack, pickle.loads(pickle.dumps(stack)) as other:
        assert (other.url, other.geometry) == (stack.url, stack.geometry)
        np.testing.assert_array_equal(other.read_frames(0, 9), FRAMES)
        assert len(other.files()) == 4


def test_blocks_of_different_detectors_are_refused(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 3, 2))
    write_stack(tmp_path / "series_data_000002.h5", FRAMES[:3, :10], "/entry/data/data")
    with pytest.raises(SourceError, match=r"data_000002.*10 x 30 <u4, and .*data_000001.*20 x 30 <u4") as caught:
        open_stack(url)
    assert str(tmp_path / "series_data_000001.h5") in str(caught.value)


# ---------------------------------------------------------------------------------------------------- what never came


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize(
    ("missing", "says"),
    [([0], "the frames 0 to 2"), ([1], "the frames 3 to 6"), ([2], "the frames 7 to 8"), ([1, 2], "the frames 3 to")],
)
def test_a_missing_block(tmp_path: Path, missing: list[int], says: str, numbered: bool) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(3, 4, 2), missing=missing, numbered=numbered)
    with pytest.raises(SourceError) as caught:
        open_stack(url)
    assert f"series_data_00000{missing[0] + 1}.h5" in str(caught.value)
    assert says in str(caught.value)
    expected = FRAMES.copy()
    for place in missing:
        expected[[slice(0, 3), slice(3, 7), slice(7, 9)][place]] = 0
    with open_stack(url, missing="fill") as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 9), expected)
        assert len(stack.missing_sources) >= 1
        assert stack.geometry.start_deg == 0.0
        assert len(stack.geometry.angles_deg or ()) == 9
    (info,) = find_stacks(url.partition("::")[0])
    assert (info.frames, info.frames_stored) == (9, 9 - sum((3, 4, 2)[place] for place in missing))


def test_missing_blocks_have_the_fill_value_of_the_others(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5), missing=[0])
    with h5py.File(tmp_path / "series_data_000002.h5", "r+") as file:
        del file["entry/data/data"]
        file.create_dataset("entry/data/data", data=FRAMES[4:], fillvalue=77)
        file["entry/data/data"].attrs.update({"image_nr_low": 5, "image_nr_high": 9})
    found = frames_of(url, missing="fill")
    assert (found[:4] == 77).all()
    np.testing.assert_array_equal(found[4:], FRAMES[4:])


def test_blocks_that_are_not_written_in_full_keep_their_own_fill_value(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, fill in ((1, 7), (2, 9)):
            file.create_dataset(f"entry/data/data_{number}", (3, 20, 30), "u4", chunks=(1, 20, 30), fillvalue=fill)
            file[f"entry/data/data_{number}"][0] = FRAMES[0]
    found = frames_of(str(tmp_path / "a.h5"))
    assert [int(frame[0, 0]) for frame in found] == [FRAMES[0, 0, 0], 7, 7, FRAMES[0, 0, 0], 9, 9]


def test_images_that_no_link_leads_to_are_missing_too(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(3, 4, 2))
    with h5py.File(url.partition("::")[0], "r+") as file:
        del file["entry/data/data_000002"]
    with pytest.raises(SourceError, match="no block has the frames 3 to 6"):
        open_stack(url)
    found = frames_of(url, missing="fill")
    assert not found[3:7].any()
    np.testing.assert_array_equal(found[7:], FRAMES[7:])


def test_links_beyond_the_end_of_a_series_are_nothing(tmp_path: Path) -> None:
    """Some masters link to thousands of files, of which a short series writes the first few."""
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5, 0, 0, 0))
    np.testing.assert_array_equal(frames_of(url), FRAMES)


def test_a_series_that_was_stopped_has_what_is_there(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5, 0), asked_for=100)
    with pytest.raises(SourceError, match="the frames 9 to 99"):
        open_stack(url)
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5), asked_for=100)
    np.testing.assert_array_equal(frames_of(url), FRAMES)


def test_nobody_says_how_many_images_a_missing_block_has(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5, 0), detector={"detectorSpecific/nimages": None})
    with pytest.raises(SourceError, match="the frames from 9 on"):
        open_stack(url)
    assert len(frames_of(url, missing="fill")) == 9


def test_all_blocks_missing(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5), missing=[0, 1])
    with pytest.raises(SourceError, match="series_data_000001"):
        open_stack(url)
    with pytest.raises(SourceError, match="none of its 2 blocks is there"):
        open_stack(url, missing="fill")
    (info,) = find_stacks(url.partition("::")[0])
    assert (info.source, info.decoded_by, info.shape) == ("dectris", "nothing", ())


def test_image_numbers_that_contradict_are_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5))
    with h5py.File(tmp_path / "series_data_000002.h5", "r+") as file:
        file["entry/data/data"].attrs["image_nr_low"] = 2
    np.testing.assert_array_equal(frames_of(url), FRAMES)
    assert "contradict" in warned(caplog)[0]


# ---------------------------------------------------------------------------------------------------- geometry


def test_everything_that_a_master_says(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5))
    with open_stack(url) as stack:
        known = stack.geometry
    assert (known.wavelength_angstrom, known.distance_m) == (0.2854, 0.15)
    assert (known.beam_x_px, known.beam_y_px) == (1033.5, 1080.75)  # counted from the centre of the first pixel
    assert (known.pixel_x_m, known.pixel_y_m) == (7.5e-05, 7.5e-05)
    assert (known.exposure_s, known.period_s) == (0.09999, 0.1)
    assert (known.sensor_material, known.sensor_thickness_m, known.threshold_ev) == ("CdTe", 0.00075, 21700.0)
    assert known.saturation_counts == 1000000
    assert known.detector == "Dectris EIGER2 CdTe 4M, S/N E-08-0000"
    assert known.start_time == "2026-01-01T00:00:00.000"
    assert (known.start_deg, known.step_deg) == (0.0, 0.25)
    assert known.angles_deg == tuple(i * 0.25 for i in range(9))
    assert known.motors == {"omega": tuple(i * 0.25 for i in range(9)), "chi": 0.0, "kappa": 0.0, "phi": 0.0}
    assert known.title is None
    file = url.partition("::")[0]
    assert known.origin["wavelength_angstrom"] == f"{file}::/entry/instrument/beam/incident_wavelength"
    assert known.origin["beam_x_px"] == f"{file}::/entry/instrument/detector/beam_center_x"
    assert known.origin["start_deg"] == f"{file}::/entry/sample/goniometer/omega"


@pytest.mark.parametrize(
    ("places", "expected", "where"),
    [
        ({"sample/beam/incident_wavelength": 0.7}, 0.7, "sample/beam/incident_wavelength"),
        ({"sample/beam/incident_wavelength": 0.0}, 0.2854, "instrument/beam/incident_wavelength"),
        ({"instrument/beam/wavelength": 0.5, "sample/beam/incident_wavelength": 0.7}, 0.7, None),
        ({"instrument/monochromator/wavelength": 0.9}, 0.9, "instrument/monochromator/wavelength"),
        ({"instrument/beam/incident_wavelength": 0.0}, None, None),
        ({"instrument/beam/incident_wavelength": [0.31]}, 0.31, "instrument/beam/incident_wavelength"),
    ],
)
def test_the_wavelength_in_the_order_of_its_places(
    tmp_path: Path, places: dict[str, Any], expected: float | None, where: str | None
) -> None:
    url = dectris_series(tmp_path, FRAMES, others=places)
    with open_stack(url) as stack:
        assert stack.geometry.wavelength_angstrom == expected
        if where is not None:
            assert stack.geometry.origin["wavelength_angstrom"].endswith(f"::/entry/{where}")


def test_zero_is_what_nobody_set(tmp_path: Path) -> None:
    zeros = dict.fromkeys(("beam_center_x", "beam_center_y", "detector_distance"), 0.0)
    with open_stack(dectris_series(tmp_path, FRAMES, detector=zeros)) as stack:
        known = stack.geometry
    assert (known.beam_x_px, known.beam_y_px, known.distance_m) == (None, None, None)
    assert not {"beam_x_px", "beam_y_px", "distance_m"} & set(known.origin)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"detectorSpecific/saturation_value": 5000}, 5000),
        ({"saturation_value": 6000}, 6000),
        ({"detectorSpecific/countrate_correction_count_cutoff": None}, None),
        (
            {
                "detectorSpecific/countrate_correction_count_cutoff": None,
                "detectorSpecific/detectorModule_000/countrate_correction_count_cutoff": 7000,
            },
            7000,
        ),
    ],
)
def test_the_largest_count_that_can_be_trusted(tmp_path: Path, changes: dict[str, Any], expected: int | None) -> None:
    with open_stack(dectris_series(tmp_path, FRAMES, detector=changes)) as stack:
        assert stack.geometry.saturation_counts == expected


def test_units_are_believed(tmp_path: Path) -> None:
    url = dectris_series(
        tmp_path, FRAMES, detector={"x_pixel_size": 75.0, "distance": 150.0, "detector_distance": None}
    )
    with h5py.File(url.partition("::")[0], "r+") as file:
        detector = file["entry/instrument/detector"]
        detector["x_pixel_size"].attrs["units"] = "µm"
        detector["distance"].attrs["units"] = np.bytes_("mm")
        detector["y_pixel_size"].attrs["units"] = "furlong"
    with open_stack(url) as stack:
        assert (stack.geometry.pixel_x_m, stack.geometry.distance_m) == (7.5e-05, 0.15)
        assert stack.geometry.pixel_y_m is None


@pytest.mark.parametrize(
    ("others", "start", "step"),
    [
        ({"sample/goniometer/omega": np.arange(20) * 2.0}, 0.0, 2.0),
        ({"sample/goniometer/omega": 30.0, "sample/goniometer/omega_increment": 0.5}, 30.0, 0.5),
        ({"sample/goniometer/omega": [30.0], "sample/goniometer/omega_increment": None}, 30.0, 0.25),
        ({"sample/goniometer/omega": np.full(9, 5.0), "sample/goniometer/phi": np.arange(9) + 7.0}, 7.0, 1.0),
        ({"sample/goniometer/omega": np.full(9, 5.0)}, None, None),
        ({"sample/goniometer/omega": np.arange(4) * 1.0}, None, None),
        ({"sample": None}, None, None),
    ],
)
def test_which_axis_turns(tmp_path: Path, others: dict[str, Any], start: float | None, step: float | None) -> None:
    with open_stack(dectris_series(tmp_path, FRAMES, others=others)) as stack:
        assert (stack.geometry.start_deg, stack.geometry.step_deg) == (start, step)


def test_nothing_but_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(4, 5), others={"instrument": None, "sample": None})
    with open_stack(url) as stack:
        assert stack.geometry.origin == {}
        np.testing.assert_array_equal(stack[8], FRAMES[8])
    assert warned(caplog) == []


def test_a_damaged_value_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = dectris_series(tmp_path, FRAMES, detector={"count_time": "long", "description": 3})
    with open_stack(url) as stack:
        assert stack.geometry.exposure_s is None
        assert stack.geometry.period_s == 0.1
    (text,) = warned(caplog)
    assert "count_time is not a number" in text
