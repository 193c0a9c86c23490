# SPDX-License-Identifier: MIT
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.testing.files import write_stack


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Return a file with a stack of 5 frames at /entry/data, bitshuffle+LZ4, of which 4 are written."""
    frames = np.random.default_rng(3).poisson(2, (5, 8, 6)).astype("<u2")
    path = tmp_path / "scan.h5"
    write_stack(path, frames, "/entry/data", filters="bslz4", written=slice(0, 4))
    return path
