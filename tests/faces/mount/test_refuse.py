# SPDX-License-Identifier: MIT
"""What is known of refuse and libfuse: loading, table, names, signals, the standard error stream."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy._serve import stat_bytes
from fastlegacy.errors import MountError
from fastlegacy.faces.mount import _refuse


def run(code: str, **environment: str) -> str:
    """Run a program; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout


def test_nothing_is_loaded_on_import() -> None:
    code = (
        "import fastlegacy.faces.mount.session, sys; print([name for name in sys.modules if name.startswith('refuse')])"
    )
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("library", ["libnothing.so.99", ""])
def test_without_libfuse_the_message_names_the_package(library: str) -> None:
    code = """
from fastlegacy.faces.mount import _refuse
from fastlegacy._serve import stat_bytes
from fastlegacy.errors import MountError
if not {library!r}:
    _refuse._LIBRARY = "libnothing.so.99"
try:
    _refuse.load()
except MountError as error:
    print(error)
"""
    environment = {"FUSE_LIBRARY_PATH": library} if library else {}
    text = run(code.format(library=library), **environment)
    assert "libfuse 2 is not on this machine" in text
    assert "libfuse2t64" in text


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError("no refuse")

    monkeypatch.setattr(_refuse.importlib, "import_module", missing)
    with pytest.raises(MountError, match="pip install refuse"):
        _refuse.load()


def test_loading_leaves_the_environment_alone(fuse: None) -> None:
    before = dict(os.environ)
    high = _refuse.load()
    assert dict(os.environ) == before
    assert _refuse.load() is high


def test_the_table_of_operations(fuse: None) -> None:
    high = _refuse.load()
    original = high.fuse_operations
    with _refuse._native_table(high, {"read", "flush"}):
        table = high.fuse_operations
        types = {entry[0]: entry[1] for entry in table._fields_}
        assert types["read"] is types["flush"] is types["fallocate"] is ctypes.c_void_p
        assert hasattr(types["write"], "argtypes")
        assert ctypes.sizeof(table) == ctypes.sizeof(original) + 5 * ctypes.sizeof(ctypes.c_void_p)
        # nothing but the end may differ
        for name in ("getattr", "read", "init", "ioctl"):
            assert getattr(table, name).offset == getattr(original, name).offset
    assert high.fuse_operations is original


@pytest.mark.skipif(sys.maxsize < 2**32, reason="sizes of a 64-bit machine")
def test_sizes_are_those_of_libfuse(fuse: None) -> None:
    high = _refuse.load()
    with _refuse._native_table(high, ()):
        assert ctypes.sizeof(high.fuse_operations) == 360
    assert high.fuse_file_info.fh.offset == 24


def test_stat_is_as_large_as_libfuse_takes_it_for(fuse: None) -> None:
    high = _refuse.load()
    original = high.c_stat
    with _refuse._whole_stat(high):
        assert ctypes.sizeof(high.c_stat) == (144 if platform.machine() == "x86_64" else stat_bytes())
        assert issubclass(high.c_stat, original)  # as the type of libfuse's filler function demands
        assert high.c_stat(st_ino=7).st_ino == 7
    assert high.c_stat is original


def test_the_codec_takes_any_name() -> None:
    with _refuse.names_codec() as codec:
        for raw in (b"plain", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode(), b"\xff\xfe odd"):
            text = raw.decode(codec)
            assert text == os.fsdecode(raw)
            assert text.encode(codec) == raw
    with pytest.raises(LookupError):
        b"x".decode(codec)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ro", None, "ro"),
        ("max_background", 64, "max_background=64"),
        ("fsname", "/a,b\\c.h5", "fsname=/a\\,b\\\\c.h5"),
    ],
)
def test_options_are_escaped(name: str, value: str | int | None, expected: str) -> None:
    assert _refuse.option(name, value) == expected


def test_device(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="modprobe fuse"):
        _refuse.check_device(str(tmp_path / "fuse"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(MountError, match="cannot be opened"):
        _refuse.check_device(str(tmp_path / "folder"))


@pytest.mark.parametrize("replay", [False, True])
def test_standard_error_is_kept(capfd: pytest.CaptureFixture[str], replay: bool) -> None:
    kept = _refuse.StandardError()
    os.write(2, b"fuse: because\n")
    assert kept.restore(replay=replay) == "fuse: because"
    assert kept.restore(replay=True) == ""
    os.write(2, b"later\n")
    assert capfd.readouterr().err == ("fuse: because\n" if replay else "") + "later\n"


def test_standard_error_may_be_closed() -> None:
    code = """
import os
from fastlegacy.faces.mount._refuse import StandardError
os.close(2)
print(repr(StandardError().restore(replay=True)))
"""
    assert run(code).strip() == "''"
