# SPDX-License-Identifier: MIT
"""A scan read as EDF files: through fastlegacy's mount, the rival's, bindfs on real files, and from these; and as CBF.

*cold*: a fresh mount for each round, so that neither its caches nor the kernel's page cache know a frame; the HDF5
files themselves are in the page cache. Real files: written out before, and dropped from the page cache.
*warm*: the same reads once more.

bindfs is a plain C file system, here on uncompressed files that are in the page cache: what FUSE itself costs.

The size of a CBF file is what ``stat`` has to decode the frame for, unless an older mount has left it in the user's
cache folder ("sizes known").
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import Event, Process, Semaphore
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (its import registers the filters)
import pytest

from fastlegacy.testing.mounts import mount_command, mounted

Note = Callable[[str, str, int], None]

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]

RIVAL = Path(__file__).with_name("rival.py")
BUSY = Path(__file__).with_name("busy.py")
IN_PYTHON = Path(__file__).with_name("in_python.py")
ROUNDS = 4


REPEATS = 150


def command(who: str, url: str, folder: Path) -> list[str]:
    """Command line that mounts the scan as EDF files."""
    file, _, dataset = url.partition("::")
    if who == "answers in Python":
        return [sys.executable, str(IN_PYTHON), url, str(folder)]
    if who == "rival":
        return [sys.executable, str(RIVAL), file, dataset, str(folder), "--format", "edf"]
    return mount_command(url, folder, "--format", "edf")


def read_all(folder: Path, suffix: str = "edf", step: int | None = None) -> int:
    """Read every file from its first byte to its last, at once or in steps; return the number of bytes."""
    total = 0
    buffer = bytearray()
    for path in sorted(folder.glob(f"data*.{suffix}")):
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if len(buffer) < size:
                buffer = bytearray(size)
            view = memoryview(buffer)[:size]
            while view and (got := file.readinto(view[:step])):
                view = view[got:]
                total += got
    return total


def read_headers(folder: Path, suffix: str) -> int:
    """Read the first KiB of every file, as programs do that look through a folder; return the number of files."""
    paths = sorted(folder.glob(f"data*.{suffix}"))
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            assert len(file.read(1024)) == 1024
    return len(paths)


def read_somewhere(folder: Path, suffix: str = "edf", size: int = 65_536) -> int:
    """Read a piece out of the middle of every file; return the number of bytes."""
    total = 0
    for number, path in enumerate(sorted(folder.glob(f"data*.{suffix}"))):
        with open(path, "rb", buffering=0) as file:
            file.seek(os.fstat(file.fileno()).st_size * (3 + number % 5) // 10)
            total += len(file.read(size))
    return total


@contextmanager
def bound(real: Path, folder: Path) -> Iterator[None]:
    """Mount bindfs on a folder while the body runs."""
    program = shutil.which("bindfs")
    if program is None:
        pytest.skip("bindfs is not installed (Debian package bindfs)")
    with mounted([program, "-f", str(real), str(folder)], folder):
        yield


def drop_from_page_cache(paths: Iterable[Path]) -> None:
    """Ask the kernel to forget what it holds of real files."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


@pytest.fixture
def size(scan: str) -> int:
    """Bytes of all pixels of the scan."""
    path, _, name = scan.partition("::")
    with h5py.File(path, "r", locking=False) as file:
        return int(file[name].size * file[name].dtype.itemsize)


@pytest.fixture
def real_files(scan: str, work: Path) -> Path:
    """A folder with the same pixels as plain uncompressed files."""
    path, _, name = scan.partition("::")
    with h5py.File(path, "r", locking=False) as file:
        for i, frame in enumerate(file[name]):
            (work / f"data{i + 1:04d}.edf").write_bytes(b" " * 1022 + b"}\n" + frame.tobytes())
    return work


@pytest.mark.parametrize("who", ["fastlegacy", "rival"])
def test_cold(benchmark: Any, note: Note, scan: str, work: Path, size: int, who: str) -> None:
    """The first read after mounting."""
    note("whole scan, cold", who, size)
    with ExitStack() as current:

        def remount() -> None:
            current.close()
            current.enter_context(mounted(command(who, scan, work), work))

        benchmark.pedantic(read_all, (work,), setup=remount, rounds=ROUNDS)
        assert read_all(work) > size


@pytest.mark.parametrize("who", ["fastlegacy", "rival"])
def test_warm(benchmark: Any, note: Note, scan: str, work: Path, size: int, who: str) -> None:
    """The second read and later ones."""
    note("whole scan, warm", who, size)
    with mounted(command(who, scan, work), work):
        assert read_all(work) > size
        benchmark.pedantic(read_all, (work,), rounds=ROUNDS)


def test_real_files_cold(benchmark: Any, note: Note, real_files: Path, size: int) -> None:
    """From the disk."""
    note("whole scan, cold", "uncompressed files", size)

    def forget() -> None:
        drop_from_page_cache(real_files.iterdir())

    benchmark.pedantic(read_all, (real_files,), setup=forget, rounds=ROUNDS)
    assert read_all(real_files) > size


def test_real_files_warm(benchmark: Any, note: Note, real_files: Path, size: int) -> None:
    """From the page cache."""
    note("whole scan, warm", "uncompressed files", size)
    assert read_all(real_files) > size
    benchmark.pedantic(read_all, (real_files,), rounds=ROUNDS)


def test_bindfs(benchmark: Any, note: Note, real_files: Path, tmp_path: Path, size: int) -> None:
    """A C file system on plain files in the page cache, its own pages cold."""
    note("whole scan, cold", "bindfs", size)
    folder = tmp_path / "bound"
    folder.mkdir()
    assert read_all(real_files) > size
    with ExitStack() as current:

        def remount() -> None:
            current.close()
            current.enter_context(bound(real_files, folder))

        benchmark.pedantic(read_all, (folder,), setup=remount, rounds=ROUNDS)


@contextmanager
def remounted(who: str, scan: str, real: Path | None, folder: Path) -> Iterator[Callable[[], None]]:
    """Yield a function that mounts anew: fastlegacy, the rival, or bindfs."""
    with ExitStack() as current:

        def remount() -> None:
            current.close()
            if who == "bindfs":
                assert real is not None
                current.enter_context(bound(real, folder))
            else:
                current.enter_context(mounted(command(who, scan, folder), folder))

        yield remount


class Programs:
    """Several programs that wait for a sign, and read all files between them then."""

    def __init__(self, folder: Path, readers: int) -> None:
        self.sign, self.done = Event(), Semaphore(0)
        self.programs = [Process(target=self._read, args=(folder, number, readers)) for number in range(readers)]
        for program in self.programs:
            program.start()
        for _ in self.programs:
            self.done.acquire()

    def _read(self, folder: Path, number: int, readers: int) -> None:
        paths = sorted(folder.glob("data*.edf"))[number::readers]
        self.done.release()
        self.sign.wait()
        for path in paths:
            path.read_bytes()
        self.done.release()

    def run(self) -> None:
        """Give the sign, and wait until all have read."""
        self.sign.set()
        for _ in self.programs:
            self.done.acquire()

    def end(self) -> None:
        """Wait until they have ended."""
        for program in self.programs:
            program.join()
            assert program.exitcode == 0


BUSY_THREADS = {"": [], " beside a busy thread": [], " beside one that holds the GIL": ["--hold"]}


@pytest.mark.parametrize("busy", BUSY_THREADS)
@pytest.mark.parametrize("readers", [1, 8])
def test_programs(benchmark: Any, note: Note, scan: str, work: Path, size: int, readers: int, busy: str) -> None:
    """One program, and eight at once on different files; also with a thread of the server that keeps Python busy."""
    note("whole scan, by programs", f"{readers} at once{busy}" if readers > 1 or busy else "fastlegacy", size)
    start = [sys.executable, str(BUSY), scan, str(work), *BUSY_THREADS[busy]]
    with ExitStack() as current:

        def remount() -> tuple[tuple[Programs], dict[str, Any]]:
            current.close()
            current.enter_context(mounted(start if busy else command("fastlegacy", scan, work), work))
            programs = Programs(work, readers)
            current.callback(programs.end)
            return (programs,), {}

        benchmark.pedantic(Programs.run, setup=remount, rounds=ROUNDS)


@pytest.mark.parametrize("who", ["rival", "bindfs"])
def test_a_program(
    benchmark: Any, note: Note, scan: str, real_files: Path, mount_point: Path, size: int, who: str
) -> None:
    """The same by others: one program that has begun before the clock does."""
    note("whole scan, by programs", who, size)
    with remounted(who, scan, real_files, mount_point) as remount, ExitStack() as current:

        def again() -> tuple[tuple[Programs], dict[str, Any]]:
            current.close()
            remount()
            programs = Programs(mount_point, 1)
            current.callback(programs.end)
            return (programs,), {}

        benchmark.pedantic(Programs.run, setup=again, rounds=ROUNDS)


@pytest.fixture
def mount_point(tmp_path: Path) -> Path:
    """An empty folder beside the one with real files."""
    folder = tmp_path / "mount_point"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("who", ["fastlegacy", "rival", "bindfs"])
def test_small_steps(
    benchmark: Any, note: Note, scan: str, real_files: Path, mount_point: Path, size: int, who: str
) -> None:
    """4 KiB at a time, what old Fortran and C programs do."""
    note("whole scan, in steps of 4 KiB", who, size)
    with remounted(who, scan, real_files, mount_point) as remount:
        total = benchmark.pedantic(read_all, (mount_point, "edf", 4096), setup=remount, rounds=ROUNDS)
        assert total > size


@pytest.mark.parametrize("who", ["fastlegacy", "rival", "bindfs"])
def test_somewhere(benchmark: Any, note: Note, scan: str, real_files: Path, mount_point: Path, who: str) -> None:
    """64 KiB out of a frame that nobody has read."""
    note("64 KiB in each of 24 frames", who, 0)
    with remounted(who, scan, real_files, mount_point) as remount:
        assert benchmark.pedantic(read_somewhere, (mount_point,), setup=remount, rounds=ROUNDS) > 0


@pytest.fixture
def many_frames(scan: str, measuring: bool, tmp_path: Path) -> str:
    """Url of very many frames: those of the scan, again and again."""
    path, _, name = scan.partition("::")
    with h5py.File(path, "r", locking=False) as file, h5py.File(tmp_path / "many.h5", "w") as many:
        shape, dtype = file[name].shape, file[name].dtype
        number = shape[0] * (REPEATS if measuring else 2)
        layout = h5py.VirtualLayout((number, *shape[1:]), dtype)
        for first in range(0, number, shape[0]):
            layout[first : first + shape[0]] = h5py.VirtualSource(path, name, shape)
        many.create_virtual_dataset("data", layout)
    return f"{tmp_path / 'many.h5'}::/data"


@pytest.mark.parametrize("who", ["fastlegacy", "rival"])
def test_headers(benchmark: Any, note: Note, many_frames: str, work: Path, who: str) -> None:
    """Open, 1 KiB, close: of all files."""
    note("headers of 3600 files", who, 0)
    with remounted(who, many_frames, None, work) as remount:
        rounds = 1 if who == "rival" else ROUNDS
        found = benchmark.pedantic(read_headers, (work, "edf"), setup=remount, rounds=rounds)
        assert found == len(list(work.glob("*.edf")))


def listed(folder: Path, option: str) -> int:
    """Run ``ls``; return how many lines it has written."""
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(["ls", option, str(folder)], check=True, stdout=subprocess.PIPE, env=environment)
    return done.stdout.count(b"\n")


@pytest.fixture
def names(tmp_path: Path) -> Callable[[int], str]:
    """Return a function that gives the url of so many tiny frames."""

    def make(number: int) -> str:
        with h5py.File(tmp_path / "names.h5", "w") as file:
            file.create_dataset("data", (number, 4, 4), "u2")
        return f"{tmp_path / 'names.h5'}::/data"

    return make


@pytest.mark.parametrize("who", ["fastlegacy", "answers in Python", "rival"])
@pytest.mark.parametrize(("option", "number"), [("-l", 10_000), ("-f", 100_000)])
def test_listing(
    benchmark: Any,
    note: Note,
    names: Callable[[int], str],
    work: Path,
    measuring: bool,
    who: str,
    option: str,
    number: int,
) -> None:
    """``ls -l`` and ``ls -f`` of many files."""
    note(f"ls {option} of {number} files", who, 0)
    number = number if measuring else 100
    with remounted(who, names(number), None, work) as remount:
        assert benchmark.pedantic(listed, (work, option), setup=remount, rounds=ROUNDS) >= number


@pytest.fixture
def side_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where mounts remember sizes."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FASTLEGACY_CACHE", str(folder))
    return folder


@contextmanager
def remounting(scan: str, work: Path, side_files: Path, suffix: str, known: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that mounts anew, with or without the sizes of an older mount."""
    command = mount_command(scan, work, "--format", suffix, "--companions", "none")
    with mounted(command, work):
        assert all(path.stat().st_size for path in work.iterdir())
    with ExitStack() as current:

        def remount() -> None:
            current.close()
            if not known:
                shutil.rmtree(side_files, ignore_errors=True)
            current.enter_context(mounted(command, work))

        yield remount


@pytest.mark.parametrize(
    ("who", "suffix", "known"), [("fastlegacy", "cbf", False), ("CBF, sizes known", "cbf", True), ("EDF", "edf", False)]
)
def test_cbf_cold(
    benchmark: Any, note: Note, scan: str, work: Path, side_files: Path, size: int, who: str, suffix: str, known: bool
) -> None:
    """The first read after mounting, with ``stat`` before it."""
    note("whole scan as CBF, cold", who, size)
    with remounting(scan, work, side_files, suffix, known) as remount:
        total = benchmark.pedantic(read_all, (work, suffix), setup=remount, rounds=ROUNDS)
        assert total == sum(path.stat().st_size for path in work.iterdir())


@pytest.mark.parametrize(("who", "suffix"), [("fastlegacy", "cbf"), ("EDF", "edf")])
def test_cbf_headers(
    benchmark: Any, note: Note, scan: str, work: Path, side_files: Path, who: str, suffix: str
) -> None:
    """Open, 1 KiB, close: of all files, whose sizes are known."""
    note("headers of all CBF files", who, 0)
    with remounting(scan, work, side_files, suffix, known=True) as remount:
        found = benchmark.pedantic(read_headers, (work, suffix), setup=remount, rounds=ROUNDS)
        assert found == len(list(work.iterdir()))


@pytest.mark.parametrize(("who", "suffix"), [("fastlegacy", "cbf"), ("EDF", "edf")])
def test_cbf_somewhere(
    benchmark: Any, note: Note, scan: str, work: Path, side_files: Path, who: str, suffix: str
) -> None:
    """64 KiB out of an encoded frame that nobody has read, and whose size is known."""
    note("64 KiB in each of 24 CBF frames", who, 0)
    with remounting(scan, work, side_files, suffix, known=True) as remount:
        assert benchmark.pedantic(read_somewhere, (work, suffix), setup=remount, rounds=ROUNDS) > 0
