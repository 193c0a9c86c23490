# SPDX-License-Identifier: MIT
"""Folders with many stacks, and collections of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlegacy.faces import collection as module
from fastlegacy.faces import stand as stand_module
from fastlegacy.faces.collection import Collection
from fastlegacy.faces.recipe import Recipe
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.testing.bliss import bliss_dataset

FRAMES = np.random.default_rng(5).poisson(3, (6, 12, 16)).astype("<u2")

Start = Callable[..., Collection]


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a maker of collections, which are closed at the end; what is new is looked for whenever they are asked."""
    monkeypatch.setattr(module, "_POLL_S", 0)
    monkeypatch.setattr(module, "_POLL_SHARE", 0)
    made: list[Collection] = []

    def make(*sources: object, format: str = "edf", **options: Any) -> Collection:
        recipe = Recipe.of(
            format,
            **{
                name: options.pop(name)
                for name in ("first", "reverse", "companions", "binning", "mask")
                if name in options
            },
        )
        named = [source if isinstance(source, DataUrl) else str(source) for source in sources]
        made.append(Collection(named, recipe, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Urls of the stacks that were opened."""
    urls: list[str] = []
    open_claim = stand_module.open_claim

    def noted(claim: Any, named: DataUrl, **options: Any) -> Any:
        urls.append(str(named))
        return open_claim(claim, named, **options)

    monkeypatch.setattr(stand_module, "open_claim", noted)
    return urls


@pytest.fixture
def proposal(tmp_path: Path) -> Path:
    """Two datasets with two scans each, and a damaged file."""
    folder = tmp_path / "RAW_DATA"
    for number in (1, 2):
        name = f"sample_000{number}"
        scans = {"1.1": FRAMES * number, "2.1": FRAMES[::-1] * number}
        bliss_dataset(folder / name, scans, moved={"rot": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]}, name=f"{name}.h5")
    (folder / "broken.h5").write_text("this is not HDF5")
    return folder
