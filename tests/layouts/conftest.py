# SPDX-License-Identifier: MIT
"""What the tests of layouts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlegacy.model import StackFacts

from ..whole_files import file_bytes


@pytest.fixture(scope="session")
def whole_file() -> Callable[..., bytes]:
    """Return a builder of files: ``whole_file(layout, facts, frames, index=0, mask=None)``."""
    return file_bytes


@pytest.fixture
def facts_of() -> Callable[..., StackFacts]:
    """Return a maker of facts: ``facts_of(frames, geometry=..., options=..., policy=..., mtime_ns=...)``."""

    def make(frames: np.ndarray[Any, Any], **changes: Any) -> StackFacts:
        values = {
            "url": "/data/scan.h5::/x",
            "shape": frames.shape,
            "leading_shape": frames.shape[:1],
            "dtype": frames.dtype,
            "mtime_ns": 1_600_000_000_000_000_000,
        }
        return StackFacts(**{**values, **changes})

    return make
