# SPDX-License-Identifier: MIT
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.faces import placing
from fastlegacy.faces.placing import Parts, export_error, place, remove_leftovers


def no_links(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.EPERM, "no links here")


@pytest.fixture(params=["link", "renameat2", "claim"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to put a new file into place, from the best file systems to the worst."""
    if request.param != "link":
        monkeypatch.setattr(os, "link", no_links)
    if request.param == "claim":
        monkeypatch.setattr(placing, "_rename_new", lambda part, final: False)
    return str(request.param)


def test_a_file_gets_its_name(tmp_path: Path, way: str) -> None:
    (tmp_path / "part").write_bytes(b"new")
    place(tmp_path / "part", tmp_path / "final", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    assert (tmp_path / "final").read_bytes() == b"new"


def test_another_file_is_never_replaced(tmp_path: Path, way: str) -> None:
    (tmp_path / "part").write_bytes(b"new")
    (tmp_path / "final").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        place(tmp_path / "part", tmp_path / "final", overwrite=False)
    assert (tmp_path / "final").read_bytes() == b"old"
    place(tmp_path / "part", tmp_path / "final", overwrite=True)
    assert (tmp_path / "final").read_bytes() == b"new"


def test_an_error_of_the_file_system_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place(tmp_path / "nothing", tmp_path / "final", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_hidden_and_goes_when_it_is_not_placed(tmp_path: Path) -> None:
    def fail() -> None:
        with Parts(tmp_path).create() as part:
            part.write(memoryview(b"cd"), 2)
            part.write(memoryview(b"ab"), 0)
            assert part.path.name.startswith(".")
            assert part.path.read_bytes() == b"abcd"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_closes_no_other_file(tmp_path: Path) -> None:
    with Parts(tmp_path).create() as part:
        part.close()
        with (tmp_path / "other").open("wb") as other:
            part.close()
            other.write(b"still open")
    assert (tmp_path / "other").read_bytes() == b"still open"


def test_only_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from fastlegacy.faces.placing import Parts
part = Parts(Path({str(tmp_path)!r})).create()
part.__enter__()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    (left,) = tmp_path.iterdir()
    other_host = tmp_path / left.name.replace(f"{placing._PREFIX}", f"{placing._PREFIX}elsewhere")
    other_host.touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / f"{placing._PREFIX}odd").touch()
    with Parts(tmp_path).create() as living:
        assert remove_leftovers(tmp_path) == 1
        assert living.path.exists()
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".hidden", f"{placing._PREFIX}odd", other_host.name]
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_errors_say_what_to_do(code: int) -> None:
    error = export_error(OSError(code, os.strerror(code)), Path("/x/data0001.edf"))
    assert "/x/data0001.edf" in str(error)
    assert os.strerror(code) in str(error)
    assert error.hint
    assert error.errno == code
