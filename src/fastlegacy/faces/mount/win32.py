# SPDX-License-Identifier: MIT
"""The few calls of Windows that Python does not have: opening a file so that others may remove it, age of a process.

Names and numbers are those of Microsoft's documentation: CreateFileW, OpenProcess, GetProcessTimes.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from typing import Any

__all__ = ["O_BINARY", "open_shared", "process_started"]

O_BINARY = getattr(os, "O_BINARY", 0)  # without it Windows changes line ends, and ends a file at a Ctrl-Z
_O_NOINHERIT = getattr(os, "O_NOINHERIT", 0)
_ACCESS = 3  # O_RDONLY, O_WRONLY and O_RDWR are 0, 1 and 2 everywhere

_GENERIC_READ, _GENERIC_WRITE = 0x80000000, 0x40000000
_SHARE_ALL = 7  # to read, to write, to remove
_CREATE_NEW, _CREATE_ALWAYS, _OPEN_EXISTING, _OPEN_ALWAYS, _TRUNCATE_EXISTING = range(1, 6)
_ATTRIBUTE_NORMAL = 0x80
_OPEN_REPARSE_POINT = 0x00200000  # a link is opened itself, and not followed
_NO_HANDLE = ctypes.c_void_p(-1).value

_QUERY_LIMITED_INFORMATION = 0x1000
_STILL_ACTIVE = 259


def _kernel() -> Any:
    return ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]


def _failure() -> OSError:
    error: OSError = ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined]
    return error


def _disposition(flags: int) -> int:
    if flags & os.O_CREAT:
        if flags & os.O_EXCL:
            return _CREATE_NEW
        return _CREATE_ALWAYS if flags & os.O_TRUNC else _OPEN_ALWAYS
    return _TRUNCATE_EXISTING if flags & os.O_TRUNC else _OPEN_EXISTING


def open_shared(path: str, flags: int, mode: int = 0o666) -> int:
    """Open a file as ``os.open`` does, in binary, so that it may be renamed and removed while it is open.

    Windows removes a file by way of a mount while it is still open there. Of the permissions only "read-only" counts
    on Windows, and new files are not.

    Raises
    ------
    OSError
    """
    del mode
    access = (_GENERIC_READ, _GENERIC_WRITE, _GENERIC_READ | _GENERIC_WRITE)[flags & _ACCESS]
    kernel = _kernel()
    kernel.CreateFileW.restype = ctypes.c_void_p
    handle = kernel.CreateFileW(
        ctypes.c_wchar_p(path),
        ctypes.c_uint32(access),
        ctypes.c_uint32(_SHARE_ALL),
        None,
        ctypes.c_uint32(_disposition(flags)),
        ctypes.c_uint32(_ATTRIBUTE_NORMAL | _OPEN_REPARSE_POINT),
        None,
    )
    if handle == _NO_HANDLE:
        raise _failure()
    msvcrt = importlib.import_module("msvcrt")
    try:
        return int(msvcrt.open_osfhandle(handle, flags & (_ACCESS | os.O_APPEND) | O_BINARY | _O_NOINHERIT))
    except OSError:
        kernel.CloseHandle(ctypes.c_void_p(handle))
        raise


def process_started(pid: int) -> int | None:
    """Return when a process began, in steps of 100 ns since 1601; None if it does not run."""
    kernel = _kernel()
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(ctypes.c_uint32(_QUERY_LIMITED_INFORMATION), 0, ctypes.c_uint32(pid)))
    if not handle:
        return None
    try:
        code = ctypes.c_uint32()
        times = [ctypes.c_uint64() for _ in range(4)]  # it began, it ended, time in the kernel, time of its own
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        known = kernel.GetProcessTimes(handle, *map(ctypes.byref, times))
        return times[0].value if known and code.value == _STILL_ACTIVE else None
    finally:
        kernel.CloseHandle(handle)
