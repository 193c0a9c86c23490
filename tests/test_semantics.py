# SPDX-License-Identifier: MIT
"""What docs/semantics.md promises, on real mounts of real files by the real command."""

import errno
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.mounts import is_mount_point, mount_command, mounted, reason_for_no_mount

REASON = reason_for_no_mount()
pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(bool(REASON) and os.environ.get("FASTLEGACY_REQUIRE_FUSE") != "1", reason=str(REASON)),
]

FRAMES = detector_frames(6, (90, 70), "u2")
HEADER = 256
FLAT = ("--format", "flat")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    url = bliss_scan(tmp_path_factory.mktemp("scan"), FRAMES)
    for path in Path(url.partition("::")[0]).parent.rglob("*.h5"):
        os.utime(path, ns=(10**18, 10**18 + 123_456_789))
    return url


@pytest.fixture
def work(scan, tmp_path):
    """A mounted folder with one real file in it."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with mounted(mount_command(scan, folder, *FLAT), folder):
        yield folder


def real(folder):
    return folder.with_name(folder.name + "_real")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def content(frame):
    header = b"%-253s\r\n\x1a" % b"BINARY slow    90 x fast    70 header 256 bytes type uint16"
    return header + FRAMES[frame].tobytes()


VIRTUAL = [f"data{i + 1:04d}.raw" for i in range(len(FRAMES))]


def test_folder_is_the_union(work):
    assert names(work) == [*VIRTUAL, "notes.txt"]
    assert names(real(work)) == ["notes.txt"]
    assert (work / "notes.txt").read_text() == "mine"


def test_every_byte_is_right(work):
    for i, name in enumerate(VIRTUAL):
        assert (work / name).read_bytes() == content(i)


def test_any_range_is_the_slice_of_the_whole(work):
    whole = content(2)
    with open(work / VIRTUAL[2], "rb", buffering=0) as file:
        for offset, size in [(0, 10), (250, 20), (HEADER, 2), (5001, 333), (len(whole) - 3, 100), (len(whole) + 5, 9)]:
            assert os.pread(file.fileno(), size, offset) == whole[offset : offset + size]


def test_sizes_and_times_are_known_before_reading(work):
    found = (work / VIRTUAL[0]).stat()
    assert found.st_size == len(content(0))
    assert found.st_mtime_ns == 10**18 + 123_456_789
    assert found.st_mode & 0o777 == 0o444


def test_files_can_be_mapped(work):
    pixels = np.memmap(work / VIRTUAL[1], "u2", "r", HEADER, (90, 70))
    np.testing.assert_array_equal(pixels, FRAMES[1])
    with open(work / VIRTUAL[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:6] == b"BINARY"


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.open(path, os.O_RDWR),
        os.unlink,
        lambda path: os.rename(path, path.with_name("other")),
        lambda path: os.truncate(path, 0),
        lambda path: os.chmod(path, 0o600),
    ],
    ids=["write", "remove", "rename", "cut", "chmod"],
)
def test_virtual_files_are_read_only(work, change):
    with pytest.raises(OSError, match="Read-only file system") as raised:
        change(work / VIRTUAL[0])
    assert raised.value.errno == errno.EROFS
    assert (work / VIRTUAL[0]).read_bytes() == content(0)


def test_what_is_saved_is_in_the_real_folder(work):
    (work / "sub").mkdir()
    (work / "sub" / "result.txt").write_text("spots")
    (work / "part").write_text("whole")
    os.rename(work / "part", work / "done")
    assert (real(work) / "sub" / "result.txt").read_text() == "spots"
    assert names(real(work)) == ["done", "notes.txt", "sub"]


def test_a_saved_file_hides_a_frame_until_it_is_removed(work):
    path = work / VIRTUAL[3]
    path.write_bytes(b"corrected")
    assert path.read_bytes() == b"corrected"
    assert names(work).count(VIRTUAL[3]) == 1
    assert (real(work) / VIRTUAL[3]).read_bytes() == b"corrected"
    path.unlink()
    time.sleep(1.1)  # as long as the kernel may remember attributes
    assert path.read_bytes() == content(3)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, "umount"])
def test_ends_as_the_real_folder(scan, tmp_path, end):
    folder = tmp_path / "new" / "work"  # is made
    process = subprocess.Popen(mount_command(scan, folder, *FLAT), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: is_mount_point(folder))
    (folder / "result.txt").write_text("kept")
    (folder / VIRTUAL[0]).read_bytes()
    if end == "umount":
        subprocess.run([sys.executable, "-m", "fastlegacy", "umount", folder], check=True, capture_output=True)
    else:
        process.send_signal(end)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0
    assert b"read" in out  # the statistics
    assert b"Traceback" not in err
    assert not is_mount_point(folder)
    assert names(folder) == ["result.txt"]
    assert not os.path.lexists(real(folder))


def test_a_killed_server_costs_nothing(scan, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    process = subprocess.Popen(mount_command(scan, folder, *FLAT), stderr=subprocess.DEVNULL)
    wait_until(lambda: is_mount_point(folder))
    (folder / "result.txt").write_text("kept")
    process.kill()
    process.wait()
    with mounted(mount_command(scan, folder, *FLAT), folder):
        assert names(folder) == [*VIRTUAL, "notes.txt", "result.txt"]
    assert names(folder) == ["notes.txt", "result.txt"]


def test_a_damaged_frame_is_an_error_and_the_others_go_on(scan, tmp_path):
    path, _, name = scan.partition("::")
    shutil.copytree(Path(path).parent, tmp_path / "scan")
    first = tmp_path / "scan" / "scan0001" / "eiger_0000.h5"
    with h5py.File(first) as file:
        chunk = file["/entry_0000/measurement/data"].id.get_chunk_info(1)
    with open(first, "r+b") as raw:
        raw.seek(chunk.byte_offset + 12)
        raw.write(b"\xff" * (chunk.size - 12))
    folder = tmp_path / "work"
    folder.mkdir()
    url = f"{tmp_path / 'scan' / Path(path).name}::{name}"
    with mounted(mount_command(url, folder, *FLAT), folder):
        with pytest.raises(OSError, match="Input/output error"):
            (folder / VIRTUAL[1]).read_bytes()
        for i in (0, 2, 5):
            assert (folder / VIRTUAL[i]).read_bytes() == content(i)
        log = folder / ".fastlegacy" / "log"
        wait_until(lambda: "the stored bytes are damaged" in log.read_text())
        (line,) = (line for line in log.read_text().splitlines() if "the stored bytes are damaged" in line)
        assert VIRTUAL[1] in line
        assert "eiger_0000.h5" in line


@pytest.fixture
def folders(scan, tmp_path):
    """A mounted folder with a virtual folder for each of two formats."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with mounted(mount_command(scan, folder, "--format", "flat,npy"), folder):
        yield folder


def test_each_format_has_a_folder(folders):
    assert names(folders) == ["flat", "notes.txt", "npy"]
    assert names(folders / "flat") == VIRTUAL
    for i, name in enumerate(VIRTUAL):
        assert (folders / "flat" / name).read_bytes() == content(i)
        np.testing.assert_array_equal(np.load(folders / "npy" / f"data{i + 1:04d}.npy", mmap_mode="r"), FRAMES[i])
    assert names(real(folders)) == ["notes.txt"]


def test_what_is_saved_in_a_virtual_folder_is_in_the_real_one(folders):
    (folders / "npy" / "result.txt").write_text("spots")
    (folders / "flat" / VIRTUAL[2]).write_bytes(b"corrected")
    assert (real(folders) / "npy" / "result.txt").read_text() == "spots"
    assert names(real(folders) / "flat") == [VIRTUAL[2]]
    assert names(folders / "flat") == VIRTUAL
    assert (folders / "flat" / VIRTUAL[2]).read_bytes() == b"corrected"
    assert (folders / "flat" / VIRTUAL[1]).read_bytes() == content(1)


def test_virtual_folders_cannot_be_removed_or_renamed(folders):
    for change in (os.rmdir, lambda path: os.rename(path, path.with_name("other"))):
        with pytest.raises(OSError, match="Read-only file system"):
            change(folders / "flat")
    (folders / "flat" / "result.txt").touch()
    with pytest.raises(OSError, match="Directory not empty"):
        os.rmdir(folders / "flat")
    with pytest.raises(OSError, match="Read-only file system"):
        os.rename(folders / "flat", folders / "other")
    assert names(folders / "flat") == [*VIRTUAL, "result.txt"]


def test_hdf5_files_are_never_changed(scan, tmp_path):
    files = sorted(Path(scan.partition("::")[0]).parent.rglob("*.h5"))
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    folder = tmp_path / "work"
    folder.mkdir()
    with mounted(mount_command(scan, folder, *FLAT), folder):
        (folder / VIRTUAL[0]).read_bytes()
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def test_nothing_is_touched_when_it_cannot_be_mounted(scan, tmp_path):
    folder = tmp_path / "work"
    command = mount_command(scan + "x", folder, *FLAT)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert "eigerx" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == []


def wait_until(condition):
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
