# SPDX-License-Identifier: MIT
"""Faults below a mount, and sources that change under it: an honest error for what is concerned, all else goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.mounts import mount_command, mounted

pytestmark = pytest.mark.fuse

FRAMES = np.random.default_rng(3).integers(0, 60_000, (6, 400, 500)).astype("u2")
SERVED = 12  # virtual files of served.py
Serve = Callable[..., Any]
Wait = Callable[..., bool]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of what makes calls fail."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    made = tmp_path_factory.mktemp("shim") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", made, "-ldl"], check=True)
    return str(made)


@pytest.fixture
def demo(serve: Serve, shim: str, tmp_path: Path) -> Path:
    """A mounted folder in which calls fail by the names of files."""
    serve(environment={"LD_PRELOAD": shim})
    return tmp_path / "demo"


def code_of(call: Callable[[], object]) -> str:
    """The name of the error that a call ends in, or ""."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


# ---------------------------------------------------------------------------------------------------- writing


def test_a_quota_that_is_reported_at_close(demo: Path) -> None:
    fd = os.open(demo / "a.quota", os.O_WRONLY | os.O_CREAT)
    assert os.write(fd, b"some") == 4
    assert code_of(lambda: os.close(fd)) == "EDQUOT"
    assert code_of(lambda: (demo / "b").write_bytes(b"some")) == ""


def test_a_quota_that_is_reached_while_writing(demo: Path) -> None:
    with open(demo / "a.full", "wb", buffering=0) as file:
        assert code_of(lambda: [file.write(bytes(100_000)) for _ in range(3)]) == "EDQUOT"
    # what was taken is there, and nothing that was not
    assert (demo / "a.full").stat().st_size == 65536
    assert code_of(lambda: (demo / "b").write_bytes(bytes(200_000))) == ""


def test_a_failed_fsync_is_told(demo: Path) -> None:
    with open(demo / "a.sync", "wb", buffering=0) as file:
        file.write(b"some")
        assert code_of(lambda: os.fsync(file.fileno())) == "EIO"
    assert (demo / "a.sync").read_bytes() == b"some"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_to_who_saves_and_the_frames_are_read(serve: Serve, tmp_path: Path, served: Any) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        mount = serve(disk / "demo")
        folder = disk / "demo"
        assert code_of(lambda: (folder / "big").write_bytes(bytes(2 << 20))) == "ENOSPC"
        assert code_of(lambda: shutil.copyfile(tmp_path / "none", folder / "copy")) == "ENOENT"
        assert code_of(lambda: os.mkdir(folder / "data0001.img")) == "EEXIST"
        for i in range(SERVED):
            assert (folder / f"data{i + 1:04}.img").read_bytes() == served.content(i)
        os.unlink(folder / "big")
        (folder / "small").write_bytes(b"fits again")
        assert (folder / "small").read_bytes() == b"fits again"
        mount.interrupt()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


# ---------------------------------------------------------------------------------------------------- too little


def test_out_of_memory_is_an_error_of_that_read(shim: str, serve: Serve, tmp_path: Path, wait: Wait) -> None:
    flag = tmp_path / "no-memory"
    url = write_stack(tmp_path / "scan.h5", FRAMES, filters="bslz4")
    serve(url=url, environment={"LD_PRELOAD": shim, "FASTLEGACY_NO_MEMORY": str(flag)})
    folder = tmp_path / "demo"
    files = [folder / f"data{i + 1:04}.img" for i in range(len(FRAMES))]
    with open(files[0], "rb", buffering=0) as file:
        file.read(10)  # the index of chunks is read: HDF5 itself would not survive what comes now
    flag.touch()
    assert {code_of(path.read_bytes) for path in files} <= {"EIO", "ENOMEM"}
    assert wait(lambda: "out of memory" in (folder / ".fastlegacy" / "log").read_text())
    flag.unlink()
    for path, frame in zip(files, FRAMES, strict=True):
        assert path.read_bytes().endswith(frame.tobytes())


def test_too_many_open_files_are_told_and_end_with_them(tmp_path: Path) -> None:
    urls = [write_stack(tmp_path / f"scan{i}.h5", FRAMES + i, filters="bslz4") for i in range(5)]
    folder = tmp_path / "mount"
    files = [url.partition("::")[0] for url in urls]
    command = [*mount_command("", folder)[:-1], *files, str(folder), "--format", "flat"]
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command]
    with mounted(limited, folder):
        for i in range(100):
            (folder / f"real{i}").write_text(str(i))
        with ExitStack() as stack:
            codes = [code_of(lambda i=i: stack.enter_context(open(folder / f"real{i}"))) for i in range(100)]
            assert set(codes) == {"", "EMFILE"}
            assert codes.count("") > 20
            frames = [code_of((folder / f"scan{i}" / "flat" / f"scan{i}_0001.raw").read_bytes) for i in range(5)]
            assert set(frames) <= {"", "EIO", "EMFILE"}
        for i in range(5):
            for j, frame in enumerate(FRAMES):
                path = folder / f"scan{i}" / "flat" / f"scan{i}_{j + 1:04}.raw"
                assert path.read_bytes().endswith((frame + i).tobytes())
        assert (folder / "real99").read_text() == "99"


# ---------------------------------------------------------------------------------------------------- sources


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    write_stack(path.with_name("new.h5"), FRAMES[::-1], filters="bslz4")
    os.replace(path.with_name("new.h5"), path)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def overwritten(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(size // 3)
        file.write(np.random.default_rng(5).bytes(size // 3))


def unreadable(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.mkdir()


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A mount of two files, and the first of them."""
    for name in ("a", "b"):
        write_stack(tmp_path / f"{name}.h5", FRAMES, filters="bslz4")
    folder = tmp_path / "mount"
    command = [*mount_command("", folder)[:-1], str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), str(folder)]
    # what is read ahead would be there before it fails
    with mounted([*command, "--format", "flat", "--prefetch", "0"], folder):
        yield folder, tmp_path / "a.h5"


@pytest.mark.parametrize("opened", [False, True], ids=["not read before", "read before"])
@pytest.mark.parametrize("fate", [deleted, replaced, cut_short, emptied, overwritten, unreadable])
def test_a_source_that_changes_under_the_mount(
    sources: tuple[Path, Path], fate: Callable[[Path], None], opened: bool, wait: Wait
) -> None:
    folder, source = sources
    files = [folder / "a" / "flat" / f"a_{i + 1:04}.raw" for i in range(len(FRAMES))]
    assert files[0].stat().st_size > 0
    if opened:
        assert files[0].read_bytes().endswith(FRAMES[0].tobytes())
    fate(source)
    found = [code_of(path.read_bytes) for path in files]
    assert set(found) <= {"", "EIO"}
    for path, code in zip(files, found, strict=True):
        # those of the kernel's cache are the true ones as well
        assert code or path.read_bytes().endswith(FRAMES[files.index(path)].tobytes())
    # a file that is open stays what it was, whatever has its name by now
    assert "EIO" in found or (opened and fate in (deleted, replaced, unreadable))
    for i, frame in enumerate(FRAMES):
        assert (folder / "b" / "flat" / f"b_{i + 1:04}.raw").read_bytes().endswith(frame.tobytes())
    (folder / "notes").write_text("saved")
    assert (folder / "notes").read_text() == "saved"
    # one line for each file, however often it is read
    failing = [path for path, code in zip(files, found, strict=True) if code]
    for path in failing * 3:
        assert code_of(path.read_bytes) == "EIO"
    log = folder / ".fastlegacy" / "log"
    for path in failing:
        assert wait(lambda path=path: path.name in log.read_text() or "a.h5" in log.read_text())
    lines = [line for line in log.read_text().splitlines() if " error: " in line]
    assert bool(failing) == bool(lines)
    assert len(lines) <= len(failing)
