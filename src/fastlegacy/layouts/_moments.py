# SPDX-License-Identifier: MIT
"""When a frame was taken, for headers that hold a date: from the start that is known, else from the files' times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastlegacy.model import StackFacts

__all__ = ["known_start", "moment"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def known_start(facts: StackFacts, frame: int) -> datetime | None:
    """Return when a frame began, in UTC; None where nobody said it in ISO 8601.

    It is the start of the measurement, and later by one period for each frame where the period is known. A time
    without a zone is taken for UTC.
    """
    text = facts.geometry.start_time
    if text is None:
        return None
    try:
        start = datetime.fromisoformat(text.strip())
        start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
        return start + timedelta(seconds=frame * (facts.geometry.period_s or 0.0))
    except (ValueError, OverflowError):  # no date, one beyond the year 9999, or a period that is no number
        return None


def moment(facts: StackFacts, frame: int) -> datetime:
    """Return when a frame began, else when its file was written last, else the beginning of 1970; in UTC."""
    start = known_start(facts, frame)
    if start is not None:
        return start
    try:
        return _EPOCH + timedelta(seconds=facts.mtime_ns // 10**9)
    except OverflowError:
        return _EPOCH
