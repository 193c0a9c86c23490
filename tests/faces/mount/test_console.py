# SPDX-License-Identifier: MIT
"""Ctrl-C and Ctrl-Break: they are noted whenever they come, and end what is there to be ended."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from fastlegacy.faces.mount.console import ConsoleSignals


@pytest.fixture(autouse=True)
def _with_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_what_is_there_is_ended(number: int) -> None:
    ended = threading.Event()
    with ConsoleSignals() as signals:
        signals.end_by(ended.set)
        assert not signals.wanted
        os.kill(os.getpid(), number)
        assert ended.wait(100)
        assert signals.wanted


def test_what_came_before_ends_it_at_once() -> None:
    ended = threading.Event()
    with ConsoleSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.wanted
        signals.end_by(ended.set)
        assert ended.is_set()


def test_what_has_ended_is_not_ended_again() -> None:
    ended: list[int] = []
    with ConsoleSignals() as signals:
        signals.end_by(lambda: ended.append(1))
        signals.end_by(None)
        signal.raise_signal(signal.SIGINT)
        assert signals.wanted
    assert ended == []


def test_handlers_are_given_back() -> None:
    before = handlers()
    with ConsoleSignals():
        assert handlers() != before
    assert handlers() == before
    assert signal.set_wakeup_fd(-1) == -1
