# SPDX-License-Identifier: MIT
"""Stacks for tests that are not about HDF5: every pixel is a constant of ``_core.Stack``, so no file is behind them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from fastlegacy import _core
from fastlegacy.model import Geometry, StackFacts


class PixelStack:
    """What tree, export and mount use of a stack: ``facts``, ``core``, ``cache``, ``url``, ``prepare``."""

    def __init__(self, pixels: np.ndarray[Any, Any], geometry: Geometry, mtime_ns: int) -> None:
        self.pixels = pixels.reshape(-1, *pixels.shape[-2:])
        self.url = "/data/scan.h5::/entry/data"
        self.prepared: list[tuple[int, int]] = []
        self.facts = StackFacts(self.url, self.pixels.shape, pixels.shape[:-2], pixels.dtype, mtime_ns, geometry)
        parts = [
            (np.array(value, pixels.dtype).tobytes(), [(place, 1, 1, -1, 0, 1) for place in index], ())
            for index, value in np.ndenumerate(self.pixels)
        ]
        self.core = _core.Stack(self.pixels.shape, bytes(pixels.dtype.itemsize), parts)
        self.cache = _core.Cache(10**6)

    def signature(self) -> list[tuple[str, int, int, int]]:
        """No file is behind it."""
        return []

    def prepare(self, first_frame: int, last_frame: int) -> None:
        """Note for which frames a chunk map would be loaded."""
        assert 0 <= first_frame <= last_frame < len(self.pixels)
        self.prepared.append((first_frame, last_frame))


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` runs what takes an hour, and nothing else."""
    parser.addoption("--long", action="store_true", help="run the tests that take an hour each, and only these")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests, or all others."""
    wanted = config.getoption("--long")
    left = [item for item in items if (item.get_closest_marker("long") is not None) == wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in left])
    items[:] = left
    for item in items:
        mounts = {"fuse", "needs_fuse"} & set(getattr(item, "fixturenames", ()))
        if mounts or any(item.get_closest_marker(name) for name in ("fuse", "programs")):
            item.add_marker(pytest.mark.xdist_group("mounts"))  # one after the other, beside what needs none


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let what tests say pass from process to process: names of files in it need not be UTF-8."""
    return _utf8((yield))


def _utf8(said: Any) -> Any:
    if isinstance(said, str):
        return said.encode(errors="backslashreplace").decode()
    if isinstance(said, dict):
        return {_utf8(key): _utf8(value) for key, value in said.items()}
    return type(said)(map(_utf8, said)) if isinstance(said, list | tuple) else said


def pytest_configure() -> None:
    """Let mounts that tests start end by SIGHUP, though the tests may run under ``nohup``; let no example be timed."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    settings.register_profile("untimed", settings.get_profile(settings.get_current_profile_name()), deadline=None)
    settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def no_side_files_of_the_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured sizes are remembered in a folder of the test."""
    monkeypatch.setenv("FASTLEGACY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def pixel_stack() -> Callable[..., PixelStack]:
    """Return a maker of stacks: ``pixel_stack(shape=(4, 3, 5), dtype="<u2", geometry=..., mtime_ns=...)``."""

    def make(
        shape: tuple[int, ...] = (4, 3, 5),
        dtype: str = "<u2",
        geometry: Geometry | None = None,
        mtime_ns: int = 1_600_000_000_123_456_789,
    ) -> PixelStack:
        rng = np.random.default_rng(7)
        raw = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
        if np.dtype(dtype).kind == "f":
            pixels = rng.normal(size=shape).astype(dtype)
        else:
            pixels = raw.reshape(-1).view(dtype).reshape(shape)
        return PixelStack(pixels, geometry or Geometry(), mtime_ns)

    return make
