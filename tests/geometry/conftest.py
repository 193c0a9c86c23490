# SPDX-License-Identifier: MIT
"""Scenes for the companions that write what is read here, and files with a text in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.companions.scene import Scene
from fastlegacy.model import Geometry, StackFacts


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """Return a maker of scenes: ``make_scene(geometry, shape, frame_shape, image_at)``."""

    def make(
        geometry: Geometry,
        shape: tuple[int, int] = (300, 300),
        frame_shape: tuple[int, int] | None = None,
        image_at: tuple[int, int] = (0, 0),
    ) -> Scene:
        facts = StackFacts("scan.h5::/data", (5, *shape), (5,), np.dtype("<u2"), geometry=geometry)
        return Scene(facts, "esperanto", ".esperanto", "s_1_", 1, 1, 5, frame_shape or shape, image_at)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of files: ``write("beam.poni", "Distance: 0.1")``."""

    def to(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to
