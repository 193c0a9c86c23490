# SPDX-License-Identifier: MIT
"""What is asked of Windows itself: which numbers go to its functions, and what becomes of their answers."""

from __future__ import annotations

import ctypes
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fastlegacy.faces.mount import places, win32

READ, WRITE = 0x80000000, 0x40000000
NO_HANDLE = ctypes.c_void_p(-1).value


class Function:
    """A function of a DLL: keeps what it was called with."""

    restype: Any = None

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[list[Any]] = []

    def __call__(self, *words: Any) -> Any:
        self.calls.append([getattr(word, "value", word) for word in words])
        return self.answer(*words) if callable(self.answer) else self.answer


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return kernel32.dll."""

    def times(_handle: Any, began: Any, *_more: Any) -> int:
        began._obj.value = 133_000_000_000_000_000
        return 1

    def running(_handle: Any, code: Any) -> int:
        code._obj.value = 259
        return 1

    found = SimpleNamespace(
        CreateFileW=Function(70),
        CloseHandle=Function(1),
        OpenProcess=Function(71),
        GetExitCodeProcess=Function(running),
        GetProcessTimes=Function(times),
    )
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: found, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 32, raising=False)
    monkeypatch.setattr(ctypes, "WinError", lambda code: PermissionError(13, f"error {code}"), raising=False)
    monkeypatch.setattr(win32, "O_BINARY", 0x8000)
    return found


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Function:
    """Return what makes a descriptor of a handle."""
    function = Function(5)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(open_osfhandle=function))  # type: ignore[arg-type]
    return function


@pytest.mark.parametrize(
    ("flags", "access", "disposition"),
    [
        (os.O_RDONLY, READ, 3),
        (os.O_WRONLY, WRITE, 3),
        (os.O_RDWR, READ | WRITE, 3),
        (os.O_RDWR | os.O_TRUNC, READ | WRITE, 5),
        (os.O_WRONLY | os.O_CREAT, WRITE, 4),
        (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, WRITE, 2),
        (os.O_RDWR | os.O_CREAT | os.O_EXCL, READ | WRITE, 1),
        (os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TRUNC, READ | WRITE, 1),
    ],
)
def test_a_file_is_opened_so_that_it_can_be_removed(
    kernel: SimpleNamespace, runtime: Function, flags: int, access: int, disposition: int
) -> None:
    assert win32.open_shared("C:\\x", flags, 0o600) == 5
    (call,) = kernel.CreateFileW.calls
    assert call == ["C:\\x", access, 7, None, disposition, 0x00200080, None]
    assert runtime.calls == [[70, flags & 3 | 0x8000]]


def test_what_cannot_be_opened_is_the_error_of_windows(kernel: SimpleNamespace, runtime: Function) -> None:
    kernel.CreateFileW.answer = NO_HANDLE
    with pytest.raises(PermissionError, match="error 32"):
        win32.open_shared("C:\\x", os.O_RDONLY)
    assert runtime.calls == []


def test_no_handle_is_left_open(kernel: SimpleNamespace, runtime: Function) -> None:
    def full(*_words: Any) -> int:
        raise OSError(24, "too many open files")

    runtime.answer = full
    with pytest.raises(OSError, match="too many"):
        win32.open_shared("C:\\x", os.O_RDONLY)
    assert kernel.CloseHandle.calls == [[70]]


def test_when_a_process_began(kernel: SimpleNamespace) -> None:
    assert win32.process_started(4711) == 133_000_000_000_000_000
    assert kernel.OpenProcess.calls == [[0x1000, 0, 4711]]
    assert kernel.CloseHandle.calls == [[71]]


def test_a_process_that_has_ended_did_not_begin(kernel: SimpleNamespace) -> None:
    kernel.GetExitCodeProcess.answer = 1  # somebody still has a handle of it
    assert win32.process_started(4711) is None
    kernel.OpenProcess.answer = None
    assert win32.process_started(4711) is None
    assert len(kernel.CloseHandle.calls) == 1


def test_whether_a_process_lives_is_asked_of_windows(kernel: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places.sys, "platform", "win32")
    assert places.is_alive(4711)
    assert places.is_alive(4711, 133_000_000_000_000_000)
    assert not places.is_alive(4711, 1)
