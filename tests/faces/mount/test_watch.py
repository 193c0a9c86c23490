# SPDX-License-Identifier: MIT
"""The thread beside a mount."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from fastlegacy.faces.mount.watch import Watch


def handles(messages: list[str]) -> SimpleNamespace:
    def take() -> list[str]:
        taken = messages.copy()
        messages.clear()
        return taken

    return SimpleNamespace(take_errors=take)


def test_errors_are_logged_until_the_end(caplog: pytest.LogCaptureFixture, wait: Callable[..., bool]) -> None:
    messages = ["one % failed"]
    ready, announced = threading.Event(), threading.Event()
    before = set(threading.enumerate())
    with Watch("/nowhere", handles(messages), ready, announced.set):
        its_own = set(threading.enumerate()) - before
        assert not announced.is_set()
        ready.set()
        assert announced.wait(100)
        assert wait(lambda: "one % failed" in caplog.text)
        messages.append("the last one")
    assert "the last one" in caplog.text
    assert its_own
    assert not any(thread.is_alive() for thread in its_own)


def test_a_mount_that_never_came(caplog: pytest.LogCaptureFixture) -> None:
    called: list[int] = []
    with Watch("/nowhere", handles([]), threading.Event(), lambda: called.append(1)):
        pass
    assert called == []


def test_the_callers_function_fails(caplog: pytest.LogCaptureFixture, wait: Callable[..., bool]) -> None:
    ready = threading.Event()
    ready.set()
    with caplog.at_level(logging.ERROR), Watch("/nowhere", handles([]), ready, lambda: print(1 / 0)):
        assert wait(lambda: "has failed" in caplog.text)
