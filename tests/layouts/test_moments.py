# SPDX-License-Identifier: MIT
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from fastlegacy.layouts._moments import known_start, moment
from fastlegacy.model import Geometry, StackFacts

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def facts(mtime_ns: int = 1_600_000_000_999_999_999, **known: Any) -> StackFacts:
    return StackFacts("/data/scan.h5::/x", (9, 3, 5), (9,), np.dtype("<u2"), mtime_ns, Geometry(**known))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:30:00+01:00",
        "2025-12-31T23:30:00Z",
        "2025-12-31T23:30:00",
        " 2025-12-31 23:30:00.000000000\n",
        "2025-12-31T15:30:00.000-08:00",
    ],
)
def test_a_start_in_iso_8601_is_told_in_utc(text: str) -> None:
    assert known_start(facts(start_time=text), 0) == datetime(2025, 12, 31, 23, 30, tzinfo=UTC)


def test_frames_begin_one_period_after_another() -> None:
    of = facts(start_time="2025-12-31T23:59:00", period_s=20.5)
    assert moment(of, 4) == datetime(2026, 1, 1, 0, 0, 22, tzinfo=UTC)


def test_all_frames_begin_together_where_no_period_is_known() -> None:
    assert moment(facts(start_time="2026-01-01"), 8) == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("known", [{}, {"start_time": "yesterday"}, {"start_time": ""}], ids=str)
def test_the_time_of_the_files_stands_for_a_start_that_is_not_known(known: dict[str, str]) -> None:
    assert known_start(facts(**known), 0) is None
    assert moment(facts(**known), 5) == datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)


@pytest.mark.parametrize("mtime_ns", [10**21, -(10**21)])
def test_a_time_beyond_the_calendar_is_the_beginning(mtime_ns: int) -> None:
    assert moment(facts(mtime_ns), 0) == BEGINNING


@pytest.mark.parametrize("period_s", [1e30, float("inf"), float("nan")])
def test_a_period_beyond_the_calendar_leaves_no_start(period_s: float) -> None:
    assert known_start(facts(start_time="2026-01-01", period_s=period_s), 3) is None


def test_a_start_at_the_end_of_the_calendar_is_not_known_in_utc() -> None:
    assert known_start(facts(start_time="9999-12-31T23:59:59-10:00"), 0) is None
