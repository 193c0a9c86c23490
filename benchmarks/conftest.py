# SPDX-License-Identifier: MIT
"""What the benchmarks measure on: an Eiger-like scan. Where nothing is measured (in a test run) it is a small one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.hdf5.files import default_context
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import EIGER_4M, detector_frames
from fastlegacy.testing.mounts import reason_for_no_mount


@pytest.fixture(scope="session")
def measuring(request: pytest.FixtureRequest) -> bool:
    """Whether times are taken at all, or the benchmarks only run once as tests."""
    return not request.config.getoption("benchmark_disable") or bool(request.config.getoption("benchmark_enable"))


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """What a benchmark says of the memory of this process holds for it alone."""
    cache = default_context().cache
    before = cache.max_bytes
    yield
    cache.max_bytes = before


@pytest.fixture(scope="session")
def scan(measuring: bool, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Url of a bliss scan, bitshuffle+LZ4, u32: 24 frames of 4 megapixels in 3 files."""
    shape, number = (EIGER_4M, 24) if measuring else ((300, 260), 6)
    return bliss_scan(tmp_path_factory.mktemp("scan"), detector_frames(number, shape, "u4"), files=3)


@pytest.fixture(scope="session")
def make_stack(measuring: bool, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return a function that gives the url of a stack of frames of a dtype, bitshuffle+LZ4."""
    folder = tmp_path_factory.mktemp("stacks")

    @cache
    def make(dtype: str) -> str:
        path = folder / f"{dtype}.h5"
        frames = detector_frames(4, EIGER_4M if measuring else (300, 260), dtype)
        return write_stack(path, frames, filters="bslz4")

    return make


@pytest.fixture
def needs_fuse() -> None:
    """Skip where nothing can be mounted; fail where it must be possible."""
    reason = reason_for_no_mount()
    if reason and os.environ.get("FASTLEGACY_REQUIRE_FUSE") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder to mount on."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def note(benchmark: Any) -> Callable[[str, str, int], None]:
    """Return a function that says what a benchmark belongs to: group, who is measured, bytes of one round."""

    def write(group: str, who: str, size: int) -> None:
        benchmark.group = group
        benchmark.extra_info.update(who=who, bytes=size)

    return write
