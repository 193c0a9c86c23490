# SPDX-License-Identifier: MIT
from pathlib import Path

import fabio
import h5py
import hdf5plugin  # noqa: F401 - registers the filters that h5py needs
import numpy as np
import pytest

from fastlegacy.faces.cli.main import main


def pixels(scan: Path) -> np.ndarray:
    with h5py.File(scan) as file:
        return file["entry/data"][:]


def test_edf_files_with_geometry(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["export", str(scan), "/entry/data", str(out), "--startangle", "-10", "--stepangle", "0.5"]
    assert main([*words, "--distance", "140", "--stem", "s_", "--first", "0"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"s_000{i}.edf" for i in range(5)]
    for i, expected in enumerate(pixels(scan)):
        with fabio.open(str(out / f"s_000{i}.edf")) as image:
            np.testing.assert_array_equal(image.data, expected)
            assert float(image.header["Omega"]) == -10 + 0.5 * i
            assert float(image.header["SampleDistance"]) == 0.14
    assert "5 files written" in capsys.readouterr().out


def test_the_whole_stack_as_one_file(scan: Path, tmp_path: Path) -> None:
    assert main(["export", f"{scan}::/entry/data", str(tmp_path / "out"), "--format", "npy-stack", "-q"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "data.npy"), pixels(scan))


def test_a_dry_run_writes_nothing(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", f"{scan}::/entry/data", str(tmp_path / "out"), "--dry-run"]
    assert main(words) == 0
    assert "5 files to write" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data0002.edf").write_text("mine")
    assert main(words) == 1
    assert "1 in the way" in capsys.readouterr().out


def test_other_files_are_kept_or_replaced_as_told(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mine = out / "data0002.edf"
    mine.write_text("mine")
    words = ["export", f"{scan}::/entry/data", str(out)]
    assert main(words) == 1
    assert "data0002.edf" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["data0002.edf"]
    assert main([*words, "--no-clobber"]) == 0
    assert mine.read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert mine.read_bytes().startswith(b"{\n")
    assert main([*words, "-f", "-n"]) == 2


def test_what_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "no.h5::/x"), str(tmp_path / "out")]) in (1, 2)
    text = capsys.readouterr().err
    assert text.startswith("fastlegacy: ")
    assert text.count("\n") == 1
    assert "no.h5" in text
    assert not (tmp_path / "out").exists()
