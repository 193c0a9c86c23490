# SPDX-License-Identifier: MIT
"""Frames of a scan of which all is known, as a scene for companions; each test says what is different in its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastlegacy.companions.scene import Scene
from fastlegacy.model import Geometry, StackFacts

KNOWN = Geometry(
    start_deg=10.0,
    step_deg=0.25,
    exposure_s=0.1,
    wavelength_angstrom=0.7,
    distance_m=0.14,
    beam_x_px=100.25,
    beam_y_px=150.75,
    pixel_x_m=75e-6,
    pixel_y_m=172e-6,
)


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """Return a maker of scenes: ``make_scene(distance_m=None, dtype="<u4", layout="cbf", ...)``."""

    def make(shape: tuple[int, int] = (300, 256), dtype: str = "<u2", **said: Any) -> Scene:
        geometry = replace(KNOWN, **{key: said.pop(key) for key in list(said) if hasattr(KNOWN, key)})
        count = said.get("count", 5)
        facts = StackFacts("scan.h5::/data", (count, *shape), (count,), np.dtype(dtype), geometry=geometry)
        facts = replace(facts, options=said.pop("options", {}))
        common = {"layout": "cbf", "suffix": ".cbf", "stem": "lyso_1_", "digits": 4, "first": 1, "count": 5}
        return Scene(facts, **{**common, "frame_shape": shape, **said})

    return make


@pytest.fixture
def eiger_mask() -> np.ndarray[Any, Any]:
    """Return a mask of (300, 256) with a gap of 12 rows, one of 3 columns, a bad column and a bad pixel."""
    mask = np.zeros((300, 256), np.uint8)
    mask[100:112] = 1
    mask[:, 50:53] = 1
    mask[:, 255] = 2
    mask[200, 120] = 2
    return mask
