# SPDX-License-Identifier: MIT
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.testing.files import write_stack


@pytest.fixture(autouse=True)
def no_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is remembered of one run to the next away from the user's home."""
    monkeypatch.setenv("FASTLEGACY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Return a file with a stack of 5 frames at /entry/data, bitshuffle+LZ4, of which 4 are written."""
    frames = np.random.default_rng(3).poisson(2, (5, 8, 6)).astype("<u2")
    path = tmp_path / "scan.h5"
    write_stack(path, frames, "/entry/data", filters="bslz4", written=slice(0, 4))
    return path
