# SPDX-License-Identifier: MIT
"""Mask files, read by fabio and NumPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from fastlegacy.companions.mask import COMPANION

Make = Callable[..., Any]


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((3, 1), (0, 7))])
def test_fabio_and_numpy_read_the_mask_of_the_frame(
    make_scene: Make, eiger_mask: Any, tmp_path: Path, padding: Any
) -> None:
    expected = np.pad((eiger_mask != 0).astype(np.uint8), padding, constant_values=1)
    scene = make_scene(mask=eiger_mask, frame_shape=expected.shape, image_at=(padding[0][0], padding[1][0]))
    assert COMPANION.missing(scene) == ()
    files = COMPANION.files(scene)
    assert list(files) == ["lyso_1_mask.edf", "lyso_1_mask.npy"]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with fabio.open(str(tmp_path / "lyso_1_mask.edf")) as image:
        assert image.data.dtype == np.uint8
        np.testing.assert_array_equal(image.data, expected)
    array = np.load(tmp_path / "lyso_1_mask.npy", allow_pickle=False)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, expected)


def test_the_edf_header_is_a_multiple_of_512_bytes(make_scene: Make) -> None:
    scene = make_scene(shape=(2, 3), mask=np.zeros((2, 3), np.uint8))
    data = COMPANION.files(scene)["lyso_1_mask.edf"]
    assert data[:2] == b"{\n"
    assert data[510:512] == b"}\n"
    assert data[512:] == bytes(6)


def test_without_a_mask_there_is_no_mask_file(make_scene: Make) -> None:
    assert COMPANION.missing(make_scene()) == ("mask",)
