# SPDX-License-Identifier: MIT
"""What ``fastlegacy doctor`` looks at: each check says what is there, and the one command that mends what is not."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from fastlegacy.errors import UrlError

__all__ = ["Check", "checks"]

_PYTHON_MIN = (3, 11)
_FILES_MIN = 256
_INSTALL_FUSE = "apt-get install libfuse2 fuse3"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name, found : str
        What was looked at, and what is there.
    ok : bool
    needed : str
        What for: ``"all"``, ``"mount"``, or ``""`` for what is only good to have.
    fix : str
        The command that mends it; empty if `ok`.
    """

    name: str
    found: str
    ok: bool
    needed: str
    fix: str = ""


def checks() -> Iterator[Check]:
    """Look at everything that fastlegacy leans on, in the order in which it is used."""
    yield _python()
    for package in ("numpy", "h5py", "hdf5plugin", "fabio"):
        yield _package(package, needed="" if package == "fabio" else "all")
    yield _hdf5()
    yield _kernels()
    yield _open_files()
    yield _package("refuse", needed="mount")
    yield _libfuse()
    if sys.platform == "linux":
        yield _device()
        yield _fusermount()


def _result(name: str, found: str, ok: bool, needed: str, fix: str) -> Check:
    return Check(name, found, ok, needed, "" if ok else fix)


def _python() -> Check:
    ok = sys.version_info >= _PYTHON_MIN
    return _result("Python", sys.version.split()[0], ok, "all", "install Python 3.11 or newer")


def _package(name: str, needed: str) -> Check:
    try:
        return _result(name, version(name), True, needed, "")
    except PackageNotFoundError:
        return _result(name, "missing", False, needed, f"{sys.executable} -m pip install {name}")


def _hdf5() -> Check:
    try:
        found = str(import_module("h5py").version.hdf5_version)
    except ImportError as error:
        return _result("HDF5", str(error), False, "all", f"{sys.executable} -m pip install --force-reinstall h5py")
    return _result("HDF5", found, True, "all", "")


def _kernels() -> Check:
    fix = f"{sys.executable} -m pip install --force-reinstall --no-deps fastlegacy"
    try:
        codec = import_module("fastlegacy._codec")
    except ImportError as error:
        return _result("kernels", str(error), False, "all", fix)
    try:
        found = str(codec.simd_in_use())
    except UrlError as error:
        return _result("kernels", str(error), False, "all", "unset FASTLEGACY_SIMD")
    return _result(
        "kernels", found + (" (FASTLEGACY_SIMD)" if os.environ.get("FASTLEGACY_SIMD") else ""), True, "all", ""
    )


def _open_files() -> Check:
    name = "open files"
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _result(name, "no limit", True, "", "")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ok = soft == resource.RLIM_INFINITY or soft >= _FILES_MIN
    return _result(name, f"{soft} (at most {hard})", ok, "", f"ulimit -n {4096 if hard < 0 else min(4096, hard)}")


def _libfuse() -> Check:
    if sys.platform == "win32":
        return _result("WinFsp", *_winfsp(), "mount", "winget install WinFsp.WinFsp")
    names = ("osxfuse", "fuse", "fuse-t") if sys.platform == "darwin" else ("fuse",)
    found = next(filter(None, map(ctypes.util.find_library, names)), None)
    fix = "brew install --cask macfuse" if sys.platform == "darwin" else _INSTALL_FUSE
    return _result("libfuse 2", found or "missing", found is not None, "mount", fix)


def _winfsp() -> tuple[str, bool]:
    folder = os.path.join(os.environ.get("PROGRAMFILES(X86)", r"C:\Program Files (x86)"), "WinFsp", "bin")
    return (folder, True) if os.path.isdir(folder) else ("missing", False)


def _device(path: str = "/dev/fuse") -> Check:
    try:
        os.close(os.open(path, os.O_RDWR))
    except FileNotFoundError:
        # in a container it has to be handed in from outside: modprobe would not help there
        hint = "modprobe fuse (in a container: start it with --device /dev/fuse --cap-add SYS_ADMIN)"
        return _result(path, "missing", False, "mount", hint)
    except OSError as error:
        return _result(path, f"cannot be opened: {error.strerror}", False, "mount", f"chmod 666 {path}")
    return _result(path, "can be opened", True, "mount", "")


def _fusermount() -> Check:
    found = shutil.which("fusermount3") or shutil.which("fusermount")
    return _result("fusermount", found or "missing", found is not None, "mount", _INSTALL_FUSE)
