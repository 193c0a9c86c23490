# SPDX-License-Identifier: MIT
"""What goes wrong at beamlines, from the file to the legacy files: parts that never came, and too many of them."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest

import fastlegacy
from fastlegacy.faces.cli.main import main
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.mounts import mount_command, mounted, reason_for_no_mount
from fastlegacy.testing.nxmx import nxmx_scan

FRAMES = counting_frames(9, (20, 30), "u4")
FILES = 1000


def exported(folder: Path, url: str, *words: str) -> list[Any]:
    """The EDF files of a stack, as `fastlegacy export` writes them."""
    assert main(["export", "-q", *url.split("::"), str(folder), *words]) == 0
    return [fabio.open(str(path)) for path in sorted(folder.glob("*.edf"))]


# ---------------------------------------------------------------------------------------------------- parts are missing


def test_a_missing_block_file_is_an_error_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(3, 4, 2), missing=[1])
    assert main(["export", "-q", *url.split("::"), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/series_master.h5" in error
    assert "series_data_000002.h5" in error
    assert "the frames 3 to 6" in error
    assert "--missing fill" in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_missing_block_file_can_be_filled_and_the_frames_after_it_keep_their_angles(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(3, 4, 2), missing=[1])
    images = exported(tmp_path / "out", url, "--missing", "fill")
    assert len(images) == 9
    for i, image in enumerate(images):
        np.testing.assert_array_equal(image.data, 0 if 3 <= i < 7 else FRAMES[i])
        assert float(image.header["Omega"]) == 0.25 * i


@pytest.mark.parametrize("link", ["another file", "the file itself"])
def test_a_mask_link_that_leads_nowhere_is_a_warning_and_the_frames_have_no_mask(
    tmp_path: Path, link: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    url = nxmx_scan(tmp_path, FRAMES)
    file = url.partition("::")[0]
    with h5py.File(file, "r+") as h5:
        leads = h5py.ExternalLink("scan_meta.h5", "/mask") if link == "another file" else h5py.SoftLink("/gone")
        h5["entry/instrument/detector/pixel_mask"] = leads
    with fastlegacy.open(url) as stack:
        files = fastlegacy.tree(stack, "npy", companions=())
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [
            f"{file}::/entry/instrument/detector/pixel_mask cannot be used" in str(r.msg % r.args) for r in warnings
        ]
        assert len(warnings) == 1
        np.testing.assert_array_equal(np.load(_saved(tmp_path, files["data0007.npy"].read())), FRAMES[6])
        plain = fastlegacy.tree(stack, "npy", companions=(), mask=None)
        assert plain["data0007.npy"].read() == files["data0007.npy"].read()
    assert main(["info", url]) == 0
    assert re.search(r"\n  mask +none found\n", capsys.readouterr().out)


def _saved(folder: Path, data: bytes) -> Path:
    path = folder / "frame.npy"
    path.write_bytes(data)
    return path


def test_a_half_written_scan_shows_what_is_there_and_tells_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = bliss_scan(tmp_path, FRAMES, files=3, written=4)
    assert main(["info", url]) == 0
    assert re.search(r"\n  frames +4 of 9\n", capsys.readouterr().out)
    for i, image in enumerate(exported(tmp_path / "out", url)):
        np.testing.assert_array_equal(image.data, FRAMES[i] if i < 4 else 0)


def test_a_half_written_scan_whose_last_file_is_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = bliss_scan(tmp_path, FRAMES, files=3)
    (tmp_path / "scan0001" / "eiger_0002.h5").unlink()
    assert main(["export", "-q", *url.split("::"), str(tmp_path / "none")]) == 1
    assert "eiger_0002.h5" in capsys.readouterr().err
    for i, image in enumerate(exported(tmp_path / "out", url, "--missing", "fill")):
        np.testing.assert_array_equal(image.data, FRAMES[i] if i < 6 else 0)


def test_a_half_written_file_that_hdf5_has_not_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it is on disk when the computer of the detector stops: the end is not there."""
    url = write_stack(tmp_path / "scan.h5", FRAMES, filters="bslz4")
    data = (tmp_path / "scan.h5").read_bytes()
    (tmp_path / "scan.h5").write_bytes(data[: len(data) // 2])
    assert main(["export", "-q", *url.split("::"), str(tmp_path / "out")]) == 1
    assert str(tmp_path / "scan.h5") in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- too many files

LIMITED = """
import random, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np
import fastlegacy
url = sys.argv[1]
(info,) = fastlegacy.stacks(url.partition("::")[0])
assert (info.url, info.frames, info.frames_stored) == (url, 1000, 1000), info
with fastlegacy.open(url) as stack:
    assert len(stack.files()) >= 1001, len(stack.files())
    for i in random.Random(1).sample(range(1000), 300):
        assert (stack[i] == i).all(), i
    whole = stack.read_frames(0, 1000, threads=4)
    assert (whole == np.arange(1000)[:, None, None]).all()
    files = fastlegacy.tree(stack, "cbf", companions=())
    sizes = [files[name].size for name in list(files)[::50]]
    assert len(sizes) == 20
print("all of it")
"""


def numbered(i: int) -> np.ndarray:
    return np.full((1, 4, 6), i, "u4")


def virtual(folder: Path) -> str:
    return bliss_scan(folder, np.concatenate([numbered(i) for i in range(FILES)]), files=FILES)


def linked(folder: Path) -> str:
    frames = np.concatenate([numbered(i) for i in range(FILES)])
    return dectris_series(folder, frames, blocks=(1,) * FILES)


MANY: dict[str, Callable[[Path], str]] = {"virtual dataset": virtual, "links": linked}


@pytest.fixture(scope="module", params=MANY)
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A scan of 1000 files, each with one frame whose pixels are its number."""
    return MANY[request.param](tmp_path_factory.mktemp("many"))


def test_a_thousand_files_with_64_descriptors(many: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, many], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "all of it\n"


def test_a_thousand_files_are_listed_with_64_descriptors(many: str) -> None:
    words = f"ulimit -n 64; exec {sys.executable} -m fastlegacy ls '{many.partition('::')[0]}'"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert many in done.stdout
    assert "1000" in done.stdout


@pytest.mark.fuse
def test_a_mount_of_a_thousand_files_with_64_descriptors(many: str, tmp_path: Path) -> None:
    reason = reason_for_no_mount()
    if reason:
        if os.environ.get("FASTLEGACY_REQUIRE_FUSE") == "1":
            pytest.fail(f"FUSE is required here: {reason}")
        pytest.skip(reason)
    folder = tmp_path / "mount"
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *mount_command(many, folder, "--format", "edf")]
    with mounted(limited, folder):
        names = sorted(name for name in os.listdir(folder) if name.endswith(".edf"))
        assert len(names) == FILES
        for i in np.random.default_rng(1).permutation(FILES)[:200]:
            with fabio.open(str(folder / names[i])) as image:
                np.testing.assert_array_equal(image.data, i)
