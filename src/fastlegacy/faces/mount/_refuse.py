# SPDX-License-Identifier: MIT
"""All that knows the package refuse (libfuse 2 by ctypes): how to load it, its faults, its table of operations."""

from __future__ import annotations

import codecs
import ctypes
import importlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from fastlegacy.errors import MountError
from fastlegacy.faces.mount._loop import address_of

__all__ = ["StandardError", "check_device", "load", "names_codec", "option", "serve", "serve_winfsp"]

_CODEC = "fastlegacy_names"
_LIBRARY = "libfuse.so.2"
_MISSING_SLOTS = ("poll", "write_buf", "read_buf", "flock", "fallocate")  # libfuse 2.9 has them, refuse 0.0.4 not
Before = Callable[[str, int], int]
"""Name of a slot and address of Python's function -> that of the C function that goes before it; 0: there is none."""

_INSTALL = "install the system package libfuse2 (libfuse2t64 on Debian 13 and Ubuntu 24.04): apt install libfuse2"
_INSTALL_WINFSP = "install it: winget install WinFsp.WinFsp, or https://winfsp.dev"
_CASE_INSENSITIVE = 1 << 29  # FSP_FUSE_CAP_CASE_INSENSITIVE


def load() -> ModuleType:
    """Import ``refuse.high``.

    Raises
    ------
    MountError
        If the package or libfuse 2 is missing.
    """
    try:
        refactor = importlib.import_module("refuse._refactor")
        refactor.sys = sys  # type: ignore[attr-defined]  # refuse 0.0.4 forgot this import, which it needs on Windows
        with _library_path():
            high = importlib.import_module("refuse.high")
    except ImportError as error:
        raise MountError("the Python package refuse is not installed", hint="pip install refuse") from error
    except OSError as error:
        if sys.platform == "win32":
            raise MountError(f"WinFsp is not on this machine ({error})", hint=_INSTALL_WINFSP) from error
        raise MountError(f"libfuse 2 is not on this machine ({error})", hint=_INSTALL) from error
    version = high._libfuse.fuse_version()
    if not 26 <= version < 30:
        name = high.get_fuse_libfile()
        raise MountError(f"{name} is libfuse {version / 10}, but its version 2 is needed", hint=_INSTALL)
    return high


@contextmanager
def _library_path() -> Iterator[None]:
    # refuse asks ldconfig and gcc for the library, which takes long, and fails where neither is there
    if sys.platform != "linux" or "FUSE_LIBRARY_PATH" in os.environ:
        yield
        return
    os.environ["FUSE_LIBRARY_PATH"] = _LIBRARY
    try:
        yield
    finally:
        del os.environ["FUSE_LIBRARY_PATH"]


def check_device(device: str = "/dev/fuse") -> None:
    """Raise MountError unless this process may mount."""
    if not os.path.exists(device):
        hint = "load the kernel module (modprobe fuse), or start the container with --device /dev/fuse"
        raise MountError(f"there is no {device}: this machine cannot mount with FUSE", hint=hint)
    if os.geteuid() != 0 and shutil.which("fusermount") is None:
        hint = "install the system package fuse3 (or fuse)"
        raise MountError("the program fusermount is missing, which mounts for users", hint=hint)
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        hint = "users need chmod 666 on it, or its group; a container needs --device /dev/fuse --cap-add SYS_ADMIN"
        raise MountError(f"{device} cannot be opened ({error.strerror})", hint=hint) from error


def option(name: str, value: str | int | None = None) -> str:
    """Return ``name`` or ``name=value`` for libfuse's list of options, where commas part them."""
    if value is None:
        return name
    return f"{name}={value}".replace("\\", "\\\\").replace(",", "\\,")


@contextmanager
def names_codec() -> Iterator[str]:
    """Yield the name of a codec that turns any file name into str and back, as Python's own ``os`` does.

    refuse decodes names strictly: one odd name, and the folder it is in could not be listed.
    """

    def encode(text: str, _errors: str = "strict") -> tuple[bytes, int]:
        return os.fsencode(text), len(text)

    def decode(data: Any, _errors: str = "strict") -> tuple[str, int]:
        return os.fsdecode(bytes(data)), len(data)

    def search(name: str) -> codecs.CodecInfo | None:
        return codecs.CodecInfo(encode, decode, name=_CODEC) if name == _CODEC else None

    codecs.register(search)
    try:
        yield _CODEC
    finally:
        codecs.unregister(search)


@contextmanager
def _native_table(high: ModuleType, native: Iterable[str], before: Before | None = None) -> Iterator[None]:
    """Let slots of libfuse's table be plain addresses, and give the table the slots that refuse does not know.

    refuse wraps a slot in Python only if its type has ``argtypes``; anything else is stored as it is. libfuse copies
    the table when it mounts. ``before`` puts C functions before Python's.
    """
    pythons: list[Any] = []  # they have to live as long as the mount, which the table does not see to

    def put(table: Any, name: str, value: Any) -> None:
        address = before(name, address_of(value)) if before is not None and hasattr(value, "argtypes") else 0
        if address:
            pythons.append(value)
            value = type(value)(address)
        ctypes.Structure.__setattr__(table, name, value)

    original = high.fuse_operations
    slots = [(entry[0], ctypes.c_void_p) if entry[0] in native else entry for entry in original._fields_]
    known = {entry[0] for entry in slots}
    slots += [(name, ctypes.c_void_p) for name in _MISSING_SLOTS if name not in known]
    methods = {"_fields_": slots, "__setattr__": put}
    high.fuse_operations = type("fuse_operations", (ctypes.Structure,), methods)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        high.fuse_operations = original  # type: ignore[attr-defined]


def _listing(high: ModuleType) -> Any:
    """Return refuse's class with a ``readdir`` that lets C fill libfuse's buffer, one part of the listing at a time."""

    class Fuse(high.FUSE):  # type: ignore[misc, name-defined]
        def readdir(self, _path: Any, buffer: int, filler: Any, place: int, info: Any) -> int:
            found = self.operations("readdir", None, info.contents.fh, (address_of(filler), buffer, place))
            for name, attributes, offset in found:
                status = high.c_stat()
                high.set_st_attrs(status, attributes, use_ns=True)
                if filler(buffer, name.encode(self.encoding), status, offset):
                    break
            return 0

    return Fuse


@contextmanager
def _whole_stat(high: ModuleType) -> Iterator[None]:
    """Give refuse's ``struct stat`` its full size, and not a byte more: refuse also clears structures of libfuse's.

    refuse 0.0.4 leaves out the reserved fields at the end (24 bytes on x86-64). It hands such structures of its own to
    libfuse when it lists a folder, and libfuse copies the whole of them: from beyond the end of an allocation, which
    has ended a mount once.
    """
    from fastlegacy._serve import stat_bytes

    original = high.c_stat
    missing = max(0, stat_bytes() - ctypes.sizeof(original))
    tail = {"_fields_": [("reserved_at_the_end", ctypes.c_char * missing)]}
    high.c_stat = type("c_stat", (original,), tail)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        high.c_stat = original  # type: ignore[attr-defined]


class StandardError:
    """Keeps what C code writes to the standard error stream until :meth:`restore`.

    libfuse says there, and nowhere else, why a mount failed. What others write meanwhile comes out at the end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed by restore
        self._original: int | None = None
        if not _is_open(2):  # a service may have closed it
            return
        self._original = os.dup(2)
        os.dup2(self._kept.fileno(), 2)

    def restore(self, *, replay: bool) -> str:
        """Give the stream back (the first call only) and return what was kept; ``replay`` writes it out too."""
        with self._lock:
            if self._original is None:
                return ""
            os.dup2(self._original, 2)
            os.close(self._original)
            self._original = None
            with self._kept:
                self._kept.seek(0)
                text = self._kept.read()
        if replay and text:
            os.write(2, text)
        return text.decode(errors="replace").strip()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def serve(high: ModuleType, operations: Any, folder: str, options: Iterable[str]) -> None:
    """Mount, and answer the kernel until the mount is gone.

    Parameters
    ----------
    high : module
        What :func:`load` returned.
    operations : Operations
        Slots whose value is an int go into the table as addresses.
    folder : str
        Where to mount.
    options : iterable of str
        Each made by :func:`option`.

    Raises
    ------
    RuntimeError
        If libfuse ends with an error.
    """
    slots = [entry[0] for entry in high.fuse_operations._fields_ if not entry[0].startswith("flag_")]
    native = {name for name in slots if isinstance(getattr(operations, name, None), int)}
    keywords: dict[str, Any] = {}
    for text in options:
        name, equals, value = text.partition("=")
        keywords[name] = value if equals else True
    before = getattr(operations, "native_before", None)
    with _native_table(high, native, before), _whole_stat(high), names_codec() as codec:
        _listing(high)(operations, folder, raw_fi=True, encoding=codec, foreground=True, **keywords)


class _Connection(ctypes.Structure):
    """libfuse 2's ``struct fuse_conn_info`` as far as it is used here."""

    _fields_ = [
        (name, ctypes.c_uint)
        for name in ("major", "minor", "async_read", "max_write", "max_readahead", "capable", "want")
    ]


def serve_winfsp(
    high: ModuleType,
    operations: Any,
    folder: str,
    options: Iterable[str],
    end_by: Callable[[Callable[[], None] | None], None],
) -> None:
    """Mount by WinFsp, and answer Windows until the mount is gone.

    refuse's own table is used as it is: WinFsp's is as long, and no slot of it is a C function here.

    Parameters
    ----------
    high, operations, folder, options
        As for :func:`serve`.
    end_by : callable
        Is told what ends the mount, and None when it has ended.

    Raises
    ------
    RuntimeError
        If WinFsp ends with an error.
    """

    class Fuse(high.FUSE):  # type: ignore[misc, name-defined]
        def init(self, connection: int) -> Any:
            told = ctypes.cast(connection, ctypes.POINTER(_Connection)).contents
            # Windows sends names in any case to what is mounted on a folder, and must know that this is right
            told.want |= told.capable & _CASE_INSENSITIVE
            fuse = ctypes.c_void_p(high._libfuse.fuse_get_context().contents.fuse)
            end_by(lambda: high._libfuse.fuse_exit(fuse))
            return super().init(connection)

        def destroy(self, data: int) -> Any:
            end_by(None)  # from now on it may be gone
            return super().destroy(data)

    keywords: dict[str, Any] = {}
    for text in options:
        name, equals, value = text.partition("=")
        keywords[name] = value if equals else True
    set_handler = high.signal
    high.signal = lambda number, _handler: signal.getsignal(number)  # type: ignore[attr-defined]
    try:
        with names_codec() as codec:
            Fuse(operations, folder, raw_fi=True, encoding=codec, foreground=True, **keywords)
    finally:
        high.signal = set_handler  # type: ignore[attr-defined]
