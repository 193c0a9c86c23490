# SPDX-License-Identifier: MIT
import errno
import fcntl
import gc
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.index import sidecar as module
from fastlegacy.index import store
from fastlegacy.index.sidecar import SideFile, side_file
from fastlegacy.index.store import cache_folder, sources_of

LONG_S = 60
SOURCES = [("/data/scan.h5", 10, 20, 30)]


def table(frames: int, known: range) -> np.ndarray:
    rows = np.full((frames, 3), -1, np.int64)
    for frame in known:
        rows[frame] = 2**40 + frame, frame, 7
    return rows


def kept(path: Path, rows: np.ndarray, key: str = "key", sources: list = SOURCES) -> np.ndarray | None:
    file = SideFile(path, key, sources)
    union = file.save(rows)
    file.close()
    return union


def found(path: Path, frames: int, key: str = "key", sources: list = SOURCES) -> np.ndarray | None:
    file = SideFile(path, key, sources)
    rows = file.load((frames, 3))
    file.close()
    return rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sizes" / "x.sizes"


# ------------------------------------------------------------------------------------------------------ the place


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HOME": "/home/me"}, "/home/me/.cache/fastlegacy"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": ""}, "/home/me/.cache/fastlegacy"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}, "/home/me/.cache/fastlegacy"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/fast"}, "/fast/fastlegacy"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/fast", "FASTLEGACY_CACHE": "/faster"}, "/faster"),
        ({"FASTLEGACY_CACHE": "here"}, str(Path.cwd() / "here")),
        ({"HOME": "/home/me", "FASTLEGACY_CACHE": ""}, None),
        ({"HOME": "/home/me", "FASTLEGACY_CACHE": "none"}, None),
        ({"HOME": "nowhere"}, None),
    ],
)
def test_the_cache_folder_is_where_the_user_says(environment: dict[str, str], folder: str | None) -> None:
    assert cache_folder(environment) == (None if folder is None else Path(folder))


def test_each_key_has_its_own_file(tmp_path: Path) -> None:
    environment = {"FASTLEGACY_CACHE": str(tmp_path / "cache")}
    files = [side_file(key, lambda: SOURCES, environment) for key in ("one", "other", "strange \udcff")]
    assert len({file.path for file in files}) == 3
    assert {file.path.parent for file in files} == {tmp_path / "cache" / "sizes"}
    assert {len(file.path.name) for file in files} == {64 + len(".sizes")}
    for number, file in enumerate(files):
        file.save(table(9, range(number)))
    for number, file in enumerate(files):
        assert np.array_equal(file.load((9, 3)), table(9, range(number)))
        file.close()


def test_switched_off_nobody_looks_at_the_sources() -> None:
    assert side_file("key", pytest.fail, {"FASTLEGACY_CACHE": "none"}) is None


def test_pixels_without_a_file_have_no_side_file(tmp_path: Path) -> None:
    assert side_file("array", list, {"FASTLEGACY_CACHE": str(tmp_path / "cache")}) is None
    assert list(tmp_path.iterdir()) == []


def test_sources_are_told_by_size_time_and_inode(tmp_path: Path) -> None:
    one, other = tmp_path / "one.h5", tmp_path / "other.h5"
    one.write_bytes(b"12345")
    before = sources_of([str(other), str(one), str(one)])
    status = one.stat()
    assert before == [(str(one), 5, status.st_mtime_ns, status.st_ino), (str(other), -1, -1, -1)]
    other.write_bytes(b"12345")
    assert sources_of([str(one), str(other)])[1][1] == 5
    os.utime(one, ns=(1, 1))
    assert sources_of([str(one)]) == [(str(one), 5, 1, status.st_ino)]


# ------------------------------------------------------------------------------------------------- save and load


@pytest.mark.parametrize("frames", [0, 1, 1000])
def test_what_is_saved_is_loaded(path: Path, frames: int) -> None:
    rows = table(frames, range(0, frames, 3))
    assert found(path, frames) is None
    assert np.array_equal(kept(path, rows), rows)
    again = found(path, frames)
    assert np.array_equal(again, rows)
    assert again.flags.writeable


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        kept(tmp_path / "a" / "b" / "x.sizes", table(3, range(3)))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "x.sizes": 0o600, "lock": 0o600}


def test_another_key_signature_or_number_of_frames_is_not_used(path: Path) -> None:
    others = [
        {"frames": 4},
        {"key": "other"},
        {"sources": []},
        {"sources": [*SOURCES, ("/data/more.h5", 1, 2, 3)]},
        *({"sources": [(*SOURCES[0][:at], SOURCES[0][at] + 1, *SOURCES[0][at + 1 :])]} for at in (1, 2, 3)),
        {"sources": [("/data/other.h5", 10, 20, 30)]},
    ]
    for other in others:
        kept(path, table(3, range(3)))
        assert found(path, 3) is not None
        assert found(path, **{"frames": 3, **other}) is None
        assert not path.exists()


def test_another_version_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_MAGIC", b"fastlegacy sizes 0\n")
        kept(path, table(3, range(3)))
    assert found(path, 3) is None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, np.ndarray]:
    path = tmp_path_factory.mktemp("damaged") / "x.sizes"
    rows = table(20, range(0, 20, 2))
    kept(path, rows)
    return path, path.read_bytes(), rows


@given(data=st.data())
def test_a_damaged_file_is_not_used(whole: tuple[Path, bytes, np.ndarray], data: st.DataObject) -> None:
    path, content, rows = whole
    damaged = bytearray(content)
    at = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "insert", "none"])):
        case "flip":
            damaged[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del damaged[at:]
        case "insert":
            damaged[at:at] = data.draw(st.binary(min_size=1, max_size=40))
    path.write_bytes(damaged)
    loaded = found(path, 20)
    assert (loaded is not None) == (damaged == content)
    assert loaded is None or np.array_equal(loaded, rows)
    # saving over it neither fails nor takes over anything of it
    path.write_bytes(damaged)
    known = np.where(rows >= 0, rows, 5)
    assert np.array_equal(kept(path, known), known)
    assert np.array_equal(found(path, 20), known)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_plain_file_is_not_used(path: Path, kind: str) -> None:
    rows = table(3, range(3))
    kept(path, rows)
    if kind == "link":
        path.rename(path.with_name("y"))
        path.symlink_to("y")
    else:
        path.unlink()
        (os.mkfifo if kind == "pipe" else os.mkdir)(path)
    assert found(path, 3) is None
    assert (kept(path, rows) is None) == (kind == "folder")


def test_the_table_is_not_changed_by_saving(path: Path) -> None:
    kept(path, table(9, range(5)))
    rows = table(9, range(4, 7))
    kept(path, rows)
    assert np.array_equal(rows, table(9, range(4, 7)))


def test_nothing_is_written_when_there_is_nothing_new(path: Path) -> None:
    kept(path, table(9, range(5)))
    inode = path.stat().st_ino
    assert np.array_equal(kept(path, table(9, range(3))), table(9, range(5)))
    assert path.stat().st_ino == inode


def test_after_close_nothing_is_loaded_or_saved(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = SideFile(path, "key", SOURCES)
    file.close()
    file.close()
    assert file.load((3, 3)) is None
    assert file.save(table(3, range(3))) is None
    assert (path.exists(), caplog.text) == (False, "")


def open_descriptors(folder: Path) -> int:
    """How many this process has of a folder and of what is in it."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that listed the folder
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(str(folder))
    return found


def test_no_descriptor_is_left(path: Path) -> None:
    assert open_descriptors(path.parent) == 0
    files = [SideFile(path, "key", SOURCES) for _ in range(3)]
    assert open_descriptors(path.parent) == 3
    files[0].save(table(3, range(3)))
    files[0].load((3, 3))
    files[0].close()
    del files
    gc.collect()
    assert open_descriptors(path.parent) == 0


def test_a_folder_that_is_covered_or_renamed_is_still_the_one(path: Path) -> None:
    file = SideFile(path, "key", SOURCES)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    path.parent.mkdir()
    file.save(table(3, range(3)))
    assert file.load((3, 3)) is not None
    file.close()
    assert list(path.parent.iterdir()) == []
    assert (away / path.name).exists()


# ------------------------------------------------------------------------------------------------------- trouble


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    file = SideFile(tmp_path / "file" / "sizes" / "x.sizes", "key", SOURCES)
    assert file.load((3, 3)) is None
    assert caplog.text == ""
    for _ in range(3):
        assert file.save(table(3, range(3))) is None
    file.close()
    (record,) = (record for record in caplog.records if record.name.startswith("fastlegacy"))
    assert record.levelname == "WARNING"
    assert "sizes cannot be kept in" in record.getMessage()
    assert "(Not a directory)" in record.getMessage()


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_disk_that_is_full_is_one_warning_and_leaves_nothing(
    path: Path, call: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = SideFile(path, "key", SOURCES)
    file.save(table(9, range(3)))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        for _ in range(3):
            assert file.save(table(9, range(9))) is None
    file.close()
    own = [record for record in caplog.records if record.name.startswith("fastlegacy")]
    assert [record.levelname for record in own] == ["WARNING"]
    assert "(No space left on device)" in caplog.text
    assert sorted(os.listdir(path.parent)) == ["lock", "x.sizes"]
    assert np.array_equal(found(path, 9), table(9, range(3)))


def test_a_folder_that_was_removed_is_one_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = SideFile(path, "key", SOURCES)
    path.parent.rmdir()
    assert file.load((3, 3)) is None
    assert file.save(table(3, range(3))) is None
    file.close()
    assert "(No such file or directory)" in caplog.text


# -------------------------------------------------------------------------------------------------- other processes


def test_what_two_know_is_put_together(path: Path) -> None:
    one, other = SideFile(path, "key", SOURCES), SideFile(path, "key", SOURCES)
    one.save(table(9, range(3)))
    assert np.array_equal(other.save(table(9, range(5, 9))), table(9, range(3)) + table(9, range(5, 9)) + 1)
    one.close()
    other.close()
    assert np.count_nonzero(found(path, 9)[:, 0] >= 0) == 7


def test_what_is_known_now_counts_more_than_what_was_saved(path: Path) -> None:
    kept(path, table(3, range(3)))
    rows = np.array([[5, -1, -1], [-1, -1, -1], [-1, -1, -1]])
    assert kept(path, rows).tolist() == [[5, -1, -1], *table(3, range(3))[1:].tolist()]


def test_a_mount_of_older_files_leaves_the_sizes_of_newer_ones(path: Path) -> None:
    older, newer = SOURCES, [("/data/scan.h5", 10, 21, 30)]
    kept(path, table(3, range(3)), sources=newer)
    assert kept(path, table(3, range(2)), sources=older) is None
    assert np.array_equal(found(path, 3, sources=newer), table(3, range(3)))
    path.unlink()
    kept(path, table(3, range(2)), sources=older)
    assert np.array_equal(kept(path, table(3, range(1)), sources=newer), table(3, range(1)))
    # an older file that was put back has no right to be ignored for ever
    assert found(path, 3, sources=older) is None
    assert np.array_equal(kept(path, table(3, range(2)), sources=older), table(3, range(2)))


def run(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_save_at_the_same_time_lose_nothing(path: Path) -> None:
    program = """
import sys
from pathlib import Path
import numpy as np
from fastlegacy.index import sidecar

from fastlegacy.index import store
store._LOCK_PATIENCE_S = 60
path, number = Path(sys.argv[1]), int(sys.argv[2])
rows = np.full((100, 3), -1, np.int64)
file = sidecar.SideFile(path, "key", [("/data/scan.h5", 10, 20, 30)])
print("ready", flush=True)
sys.stdin.readline()
for frame in range(number, 100, 4):
    rows[frame] = 2**40 + frame, frame, 7
    assert file.save(rows) is not None
file.close()
"""
    processes = [run(program, path, number) for number in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=LONG_S)
        assert process.returncode == 0
    assert np.array_equal(found(path, 100), table(100, range(100)))
    assert sorted(os.listdir(path.parent)) == ["lock", "x.sizes"]


DIE = """
import os, sys
from pathlib import Path
import numpy as np
from fastlegacy.index.sidecar import SideFile

def table(known):
    rows = np.full((50, 3), -1, np.int64)
    rows[:known] = [(2**40 + frame, frame, 7) for frame in range(known)]
    return rows

def die(*_, **__):
    os.kill(os.getpid(), 9)

file = SideFile(Path(sys.argv[1]), "key", [("/data/scan.h5", 10, 20, 30)])
file.save(table(20))
where = sys.argv[2]
replace = os.replace
if where == "before the content":
    import builtins
    real = builtins.open
    builtins.open = lambda name, mode, *rest: die() if mode == "wb" else real(name, mode, *rest)
elif where == "after the content":
    os.fsync = die
elif where == "before it is in its place":
    os.replace = die
elif where == "after it is in its place":
    os.replace = lambda *names, **folders: (replace(*names, **folders), die())
elif where == "anywhere":
    print("ready", flush=True)
    for known in range(21, 51):
        file.save(table(known))
        print(known, flush=True)
file.save(table(50))
"""


@pytest.mark.parametrize(
    ("where", "known"),
    [
        ("before the content", 20),
        ("after the content", 20),
        ("before it is in its place", 20),
        ("after it is in its place", 50),
    ],
)
def test_kill_9_leaves_the_old_file_or_the_new_one(path: Path, where: str, known: int) -> None:
    process = run(DIE, path, where)
    process.communicate(timeout=LONG_S)
    assert process.returncode == -signal.SIGKILL
    assert np.array_equal(found(path, 50), table(50, range(known)))
    # nor is the lock held by the dead
    assert np.array_equal(kept(path, table(50, range(50))), table(50, range(50)))


@pytest.mark.parametrize("saves", [0, 1, 5])
def test_kill_9_at_any_time_leaves_a_whole_file(path: Path, saves: int) -> None:
    process = run(DIE, path, "anywhere")
    for _ in range(saves + 1):
        assert process.stdout.readline()
    process.kill()
    process.communicate(timeout=LONG_S)
    rows = found(path, 50)
    known = np.count_nonzero(rows[:, 0] >= 0)
    assert known >= 20 + saves
    assert np.array_equal(rows, table(50, range(known)))


def test_a_lock_that_is_held_for_long_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_LOCK_PATIENCE_S", 0.02)
    kept(path, table(9, range(3)))
    with open(path.with_name("lock"), "rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept(path, table(9, range(9)))
    assert np.array_equal(found(path, 9), table(9, range(9)))


def test_a_file_system_without_locks_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    kept(path, table(9, range(9)))
    assert np.array_equal(found(path, 9), table(9, range(9)))


# --------------------------------------------------------------------------------------------------------- tidying


def aged(path: Path, seconds: float) -> None:
    time_ns = path.stat().st_mtime_ns - int(seconds * 1e9)
    os.utime(path, ns=(time_ns, time_ns))


def test_the_files_that_nobody_uses_go_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FILES_MAX", 4)
    for number in range(1, 7):
        other = path.with_name(f"{number}.sizes")
        kept(other, table(3, range(3)))
        aged(other, 10_000 - 1000 * number)
    assert sorted(each.name for each in path.parent.glob("*.sizes")) == [f"{number}.sizes" for number in (3, 4, 5, 6)]
    # to be loaded is to be used
    assert found(path.with_name("3.sizes"), 3) is not None
    kept(path, table(3, range(3)))
    assert sorted(each.name for each in path.parent.glob("*.sizes")) == ["3.sizes", "5.sizes", "6.sizes", "x.sizes"]


def test_there_is_a_limit_for_all_files_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(path, table(100, range(3)))
    aged(path, 1000)
    monkeypatch.setattr(module, "_BYTES_MAX", 2 * path.stat().st_size + 10)
    for name in "ab":
        kept(path.with_name(f"{name}.sizes"), table(100, range(3)))
    assert sorted(each.name for each in path.parent.glob("*.sizes")) == ["a.sizes", "b.sizes"]
    # a table beyond the limit is kept: it is the one in use
    kept(path, table(300, range(3)))
    assert [each.name for each in path.parent.glob("*.sizes")] == ["x.sizes"]


def test_the_file_in_use_stays_though_others_claim_to_be_newer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path.with_name("other.sizes")
    kept(other, table(3, range(3)))
    aged(other, -1000)
    monkeypatch.setattr(module, "_FILES_MAX", 1)
    kept(path, table(3, range(3)))
    assert [each.name for each in path.parent.glob("*.sizes")] == ["x.sizes"]


def test_what_killed_processes_have_left_is_removed(path: Path) -> None:
    kept(path, table(3, range(3)))
    left, at_work, foreign = (path.with_name(name) for name in ("x.sizes.0.tmp", "x.sizes.1.tmp", "notes.txt"))
    for each in (left, at_work, foreign):
        each.write_bytes(b"")
    aged(left, 100)
    aged(foreign, 10**6)
    kept(path.with_name("y.sizes"), table(3, range(3)))
    assert (left.exists(), at_work.exists(), foreign.exists()) == (False, True, True)
