# SPDX-License-Identifier: MIT
"""Numbers for each frame: as many as there are frames, selected as the frames are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fastlegacy.errors import NotAStackError, UrlError
from fastlegacy.hdf5.stack import Stack
from fastlegacy.sources.frame_values import frame_values
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames

FRAMES = counting_frames(6, (8, 9), "u2")
ANGLES = np.arange(6) * 0.25


def file_with(path: Path, values: Any, frames: np.ndarray = FRAMES) -> str:
    url = write_stack(path, frames, "/entry/data")
    with h5py.File(path, "r+") as file:
        file["/entry/values"] = values
    return url


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "u1", "i8"])
@pytest.mark.parametrize("path", ["/entry/values", "entry/values"])
def test_one_number_for_each_frame(tmp_path: Path, dtype: str, path: str) -> None:
    values = (ANGLES * 4).astype(dtype)
    found = frame_values(file_with(tmp_path / "a.h5", values), path, 6)
    assert found == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert all(type(value) is float for value in found)


@pytest.mark.parametrize("value", [7, np.array([7.0])])
def test_one_number_for_all(tmp_path: Path, value: object) -> None:
    assert frame_values(file_with(tmp_path / "a.h5", value), "/entry/values", 6) == 7.0


@pytest.mark.parametrize("selection", ["1:5", "::2", "3:4", "...,2:5", "2:6:3,1:4,:"])
def test_frames_that_are_selected_have_their_own_numbers(tmp_path: Path, selection: str) -> None:
    url = f"{file_with(tmp_path / 'a.h5', ANGLES).replace('::', '?path=')}&slice={selection}"
    with Stack(url) as stack:
        found = frame_values(url, "/entry/values", len(stack))
    first = eval(f"np.s_[{selection}]")
    first = first[0] if isinstance(first, tuple) else first
    expected = ANGLES if first is ... else ANGLES[first]
    assert found == (expected.tolist() if len(expected) > 1 else expected[0])


def test_several_leading_axes(tmp_path: Path) -> None:
    url = file_with(tmp_path / "a.h5", ANGLES, FRAMES.reshape(2, 3, 8, 9))
    assert frame_values(url, "/entry/values", 6) == ANGLES.tolist()
    selected = url.replace("::", "?path=") + "&slice=:,1:"
    assert frame_values(selected, "/entry/values", 4) == ANGLES.reshape(2, 3)[:, 1:].reshape(-1).tolist()


def test_behind_the_links_of_a_bliss_scan(tmp_path: Path) -> None:
    url = bliss_scan(tmp_path, FRAMES)
    expected = (np.arange(6) * 0.05).tolist()
    assert frame_values(url, "/1.1/measurement/rot", 6) == expected
    assert frame_values(url.replace("::", "?path=") + "&slice=2:4", "1.1/instrument/rot/value", 2) == expected[2:4]


def test_what_is_not_one_number_for_each_frame(tmp_path: Path) -> None:
    url = file_with(tmp_path / "a.h5", np.arange(5))
    with pytest.raises(UrlError, match=r"a\.h5::/entry/values: has 5 numbers, and the stack 6 frames"):
        frame_values(url, "/entry/values", 6)
    with pytest.raises(UrlError, match="has 5 numbers, and the stack 2 frames"):
        frame_values(url.replace("::", "?path=") + "&slice=2:4", "/entry/values", 2)
    with pytest.raises(NotAStackError, match="no 'nothing'"):
        frame_values(url, "/entry/nothing", 6)


@pytest.mark.parametrize("values", ["text", np.zeros((6, 1)), [b"a"] * 6, np.zeros(6, bool), h5py.Empty("f8")])
def test_what_is_no_list_of_numbers(tmp_path: Path, values: object) -> None:
    with pytest.raises(UrlError, match="is no list of numbers"):
        frame_values(file_with(tmp_path / "a.h5", values), "/entry/values", 6)
    with pytest.raises(UrlError, match="is no list of numbers"):
        frame_values(f"{tmp_path / 'a.h5'}::/entry/data", "/entry", 6)
