# SPDX-License-Identifier: MIT
"""A few hundred of the flips of ``flips.py``: the true pixels or an error, and never a hang or a crash.

All of them takes an hour: ``python tests/hdf5/flips.py``. What came of it is in docs/check.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fastlegacy.testing.beside import module_at

HERE = Path(__file__).parent
SANITIZED = "FASTLEGACY_SANITIZED" in os.environ
EACH = 30 if SANITIZED else 120


@pytest.fixture(scope="module")
def flips() -> ModuleType:
    """The module ``flips.py`` beside this file."""
    return module_at(HERE / "flips.py")


def some(flips: ModuleType, sample: object, seed: int) -> list[tuple[int, int]]:
    """Flips where something is: most of a small file are zeros that nobody reads."""
    chance = np.random.default_rng(seed)
    data = np.frombuffer(sample.path.read_bytes(), "u1")  # type: ignore[attr-defined]
    places = chance.choice(np.flatnonzero(data), EACH, replace=False)
    return [(int(place), int(chance.choice(flips.PATTERNS))) for place in sorted(places)]


@pytest.mark.parametrize("kind", ["bslz4+fletcher32", "gzip+fletcher32", "none+fletcher32", "gzip"])
def test_a_flip_is_noticed_or_does_no_harm(tmp_path: Path, flips: ModuleType, kind: str) -> None:
    """Where there is a checksum, or the pixels are elsewhere; what a header says has none in files of old versions."""
    sample = flips.make(tmp_path, kind)
    outcome = flips.campaign(sample, some(flips, sample, 1))
    assert outcome.counts.total() == EACH
    assert outcome.counts["error"] > EACH // 30
    assert {what for what in outcome.counts if "pixels" in what} == set()
    assert {what.split()[0] for what in outcome.counts} <= {"true", "error", "wrong", "other"}
    assert sum(map(len, outcome.flips.values())) <= 2


@pytest.mark.skipif(SANITIZED, reason="the sanitizers would tell of libhdf5's own faults")
@pytest.mark.parametrize("kind", ["virtual", "bliss", "nxmx"])
def test_hdf5_itself_fails_in_its_heaps_only(tmp_path: Path, flips: ModuleType, kind: str) -> None:
    """Names of source files, and texts, are in heaps without a checksum, from which libhdf5 may not come back."""
    sample = flips.make(tmp_path, kind)
    data = sample.path.read_bytes()
    heaps = [(at, at + int.from_bytes(data[at + 8 : at + 16], "little")) for at in places_of(data, b"GCOL")]
    assert heaps
    outcome = flips.campaign(sample, some(flips, sample, 3), limit_s=2.0)
    deadly = [flip for what in outcome.flips if what.split()[0] in ("hang", "crash") for flip in outcome.flips[what]]
    outside = [(at, bits) for at, bits in deadly if not any(start <= at < stop for start, stop in heaps)]
    again = flips.campaign(sample, outside)  # with patience: a busy machine is no hang
    assert {what.split()[0] for what in again.counts} <= {"true", "error", "wrong", "other"}
    assert {what.split()[0] for what in outcome.counts} <= {"true", "error", "wrong", "other", "hang", "crash"}


def places_of(data: bytes, what: bytes) -> list[int]:
    """Where some bytes stand."""
    return [at for at in range(0, len(data), 8) if data.startswith(what, at)]


@pytest.mark.parametrize("kind", ["bslz4", "bszstd", "zstd", "blosc", "none", "contiguous", "bslz4+latest"])
def test_a_flip_ends_in_pixels_or_an_error(tmp_path: Path, flips: ModuleType, kind: str) -> None:
    """Without a checksum a pixel may be wrong that was stored as it is: but nothing hangs, or dies."""
    sample = flips.make(tmp_path, kind)
    outcome = flips.campaign(sample, some(flips, sample, 2))
    assert outcome.counts.total() == EACH
    assert {what.split()[0] for what in outcome.counts} <= {"true", "error", "wrong", "other"}
    assert sum(len(found) for what, found in outcome.flips.items() if "structure" in what) <= 2


def test_a_hang_and_a_crash_are_outcomes(tmp_path: Path, flips: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign itself: it goes on behind a flip that does not come back."""
    import os
    import signal

    tried = tmp_path / "tried"

    def odd(url: str, frames: object) -> str:
        with open(tried, "a") as file:
            file.write("x")
        match tried.stat().st_size:
            case 2:
                signal.pause()
            case 4:
                os.kill(os.getpid(), signal.SIGKILL)
            case 5:
                raise ValueError
        return "true"

    monkeypatch.setattr(flips, "by_fastlegacy", odd)
    sample = flips.make(tmp_path, "none")
    outcome = flips.campaign(sample, [(place, 1) for place in range(6)], limit_s=10.0)
    assert outcome.flips == {
        "hang in structure": [(1, 1)],
        "crash in structure": [(3, 1)],
        "exception ValueError in structure": [(4, 1)],
    }
    assert outcome.counts["true"] == 3
