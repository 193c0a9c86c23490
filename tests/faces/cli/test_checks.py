# SPDX-License-Identifier: MIT
import shutil
from pathlib import Path

import pytest

from fastlegacy.faces.cli import checks as module
from fastlegacy.faces.cli.checks import checks

LINUX_ONLY = pytest.mark.skipif(module.sys.platform != "linux", reason="looks at Linux' FUSE")


def test_all_that_is_leaned_on_is_looked_at() -> None:
    names = {check.name for check in checks()}
    assert {
        "Python",
        "numpy",
        "h5py",
        "HDF5",
        "hdf5plugin",
        "kernels",
        "open files",
        "refuse",
    } <= names


def test_a_missing_package_names_the_command() -> None:
    check = module._package("surely-not-installed", needed="all")
    assert (check.ok, check.found) == (False, "missing")
    assert check.fix.endswith("-m pip install surely-not-installed")


@LINUX_ONLY
def test_a_missing_libfuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ctypes.util, "find_library", lambda name: None)
    check = module._libfuse()
    assert (check.ok, check.needed, check.fix) == (False, "mount", "apt-get install libfuse2 fuse3")


@LINUX_ONLY
def test_a_missing_fusermount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "fuse3" in module._fusermount().fix
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/fusermount" if name == "fusermount" else None)
    assert module._fusermount().ok


def test_the_device(tmp_path: Path) -> None:
    missing = module._device(str(tmp_path / "fuse"))
    assert (missing.ok, missing.found) == (False, "missing")
    assert "modprobe fuse" in missing.fix
    folder = module._device(str(tmp_path))
    assert "cannot be opened" in folder.found
    (tmp_path / "fuse").touch()
    assert module._device(str(tmp_path / "fuse")).ok


def test_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 1024))
    check = module._open_files()
    assert (check.ok, check.needed, check.fix) == (False, "", "ulimit -n 1024")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert module._open_files().ok
