# SPDX-License-Identifier: MIT
"""The table of plain files: a bounded number is open, and each has to be the file that was indexed."""

import gc
import os
import threading

import numpy as np
import pytest

from fastlegacy import _core
from fastlegacy.errors import SourceError

SHAPE = (2, 4, 8)


def identity(path):
    status = path.stat()
    return status.st_size, status.st_ino, status.st_mtime_ns


class Raw:
    """Plain files with one contiguous dataset each."""

    def __init__(self, folder, n, max_open):
        self.files = _core.Files(max_open)
        self.arrays, self.paths, self.stacks = [], [], []
        self.cache = _core.Cache(1000)
        for i in range(n):
            path = folder / f"{i}.raw"
            array = (np.arange(np.prod(SHAPE)) + 100 * i).astype("<u2").reshape(SHAPE)
            path.write_bytes(b"head" + array.tobytes())
            self.arrays.append(array)
            self.paths.append(path)
            self.stacks.append(self.stack(path))

    def stack(self, path, *, growing=False):
        file = self.files.add(bytes(path), *identity(path), growing=growing)
        dataset = _core.Dataset(
            f"{path}::/d", SHAPE, SHAPE, b"\0\0", self.files, self.cache, "contiguous", file=file, address=4
        )
        axes = [(0, 1, n, k, 0, 1) for k, n in enumerate(SHAPE)]
        return _core.Stack(SHAPE, b"\0\0", [(dataset, axes, (0, 0, 0))])

    def read(self, i):
        out = np.empty(SHAPE, "<u2")
        self.stacks[i].read(0, out.reshape(-1).view(np.uint8))
        return out


def open_descriptors(folder):
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(str(folder))
        except FileNotFoundError:  # the one that listed the folder
            continue
    return found


@pytest.mark.parametrize("max_open", [1, 3, 100])
def test_number_of_open_files_is_bounded(tmp_path, max_open):
    raw = Raw(tmp_path, 10, max_open)
    assert len(raw.files) == 10
    for i in [*range(10), 0, 9, 4]:
        assert np.array_equal(raw.read(i), raw.arrays[i])
        assert raw.files.open_files <= max_open
        assert open_descriptors(tmp_path) == raw.files.open_files


def test_bound_holds_under_eight_threads(tmp_path):
    raw = Raw(tmp_path, 20, 8)
    wrong = []

    def work(seed):
        numbers = np.random.default_rng(seed).integers(0, 20, 200)
        wrong.extend(i for i in numbers if not np.array_equal(raw.read(i), raw.arrays[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert open_descriptors(tmp_path) == raw.files.open_files <= 8


def test_descriptors_are_closed_with_the_table(tmp_path):
    raw = Raw(tmp_path, 3, 3)
    for i in range(3):
        raw.read(i)
    assert open_descriptors(tmp_path) == 3
    del raw
    assert open_descriptors(tmp_path) == 0


def test_a_file_that_was_replaced_is_not_read(tmp_path):
    raw = Raw(tmp_path, 1, 1)
    other = tmp_path / "other"
    other.write_bytes(raw.paths[0].read_bytes())
    os.replace(other, raw.paths[0])
    with pytest.raises(SourceError, match="has changed since it was opened") as caught:
        raw.read(0)
    assert caught.value.file == str(raw.paths[0])
    assert caught.value.dataset == "/d"


@pytest.mark.parametrize("change", ["longer", "rewritten"])
def test_a_file_that_was_changed_is_not_read(tmp_path, change):
    raw = Raw(tmp_path, 2, 1)
    raw.read(0)
    raw.read(1)
    data = raw.paths[0].read_bytes()
    raw.paths[0].write_bytes(data + b"more" if change == "longer" else data)
    os.utime(raw.paths[0], ns=(1, raw.paths[0].stat().st_mtime_ns + 1))
    with pytest.raises(SourceError, match="changed"):
        raw.read(0)
    assert np.array_equal(raw.read(1), raw.arrays[1])


@pytest.mark.parametrize("growing", [False, True])
def test_a_file_that_is_changed_while_it_is_open(tmp_path, growing):
    """Its bytes may be others by now. A file that grows has more of them, and the old ones where they were."""
    raw = Raw(tmp_path, 1, 1)
    stack = raw.stack(raw.paths[0], growing=growing)
    stack.read(0, bytearray(128))
    with raw.paths[0].open("ab") as file:
        file.write(b"more")
    if not growing:
        with pytest.raises(SourceError, match="has changed since it was opened"):
            stack.read(0, bytearray(128))
        return
    out = bytearray(128)
    stack.read(0, out)
    assert out == raw.arrays[0].tobytes()


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("change", ["replaced", "shorter", "shorter than somebody saw it"])
def test_a_growing_file_is_never_another_or_shorter(tmp_path, is_open, change):
    raw = Raw(tmp_path, 1, 1)
    path = raw.paths[0]
    file = raw.files.add(bytes(path), *identity(path), growing=True)
    assert file.growing
    dataset = _core.Dataset("a::/d", (4, 8), (4, 8), b"\0", raw.files, raw.cache, "contiguous", file=file, address=4)
    stack = _core.Stack((4, 8), b"\0", [(dataset, [(0, 1, 4, 0, 0, 1), (0, 1, 8, 1, 0, 1)], (0, 0))])
    stack.read(0, bytearray(32))
    if not is_open:
        file.close_idle()
    if change == "replaced":
        path.rename(tmp_path / "away")
        path.write_bytes(bytes(2000))
        assert not file.same(*identity(path))
    elif change == "shorter":
        os.truncate(path, path.stat().st_size - 1)
    else:
        size = path.stat().st_size
        os.truncate(path, size + 100)
        assert file.same(*identity(path))
        os.truncate(path, size)
    if change == "replaced" and is_open:  # its bytes are still those of the file that was indexed
        file.close_idle()
    with pytest.raises(SourceError, match="has changed since it was opened"):
        stack.read(0, bytearray(32))


def test_a_growing_file_that_was_another_stays_lost(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(10))
    file = _core.Files(1).add(bytes(path), *identity(path), growing=True)
    first = identity(path)
    assert file.same(first[0] + 5, *first[1:])
    assert not file.same(*first)
    assert not file.same(first[0] + 50, *first[1:])


def test_files_that_nobody_needs_are_forgotten(tmp_path):
    """And closed; their numbers are used again."""
    raw = Raw(tmp_path, 3, 3)
    for i in range(3):
        raw.read(i)
    del raw.stacks[1]
    assert len(raw.files) == 2
    assert open_descriptors(tmp_path) == raw.files.open_files == 2
    for _ in range(100):
        stack = raw.stack(raw.paths[1])
    assert len(raw.files) == 3
    raw.stacks.insert(1, stack)
    for i in (1, 0, 2):
        assert np.array_equal(raw.read(i), raw.arrays[i])
    assert open_descriptors(tmp_path) == raw.files.open_files == 3


def test_files_and_datasets_belong_together(tmp_path):
    raw = Raw(tmp_path, 1, 1)
    file = _core.Files(1).add(bytes(raw.paths[0]), *identity(raw.paths[0]))
    with pytest.raises(ValueError, match="another table"):
        _core.Dataset("a::/d", (4,), (4,), b"\0", raw.files, raw.cache, "contiguous", file=file, address=4)
    with pytest.raises(ValueError, match="no such file"):
        _core.Dataset("a::/d", (4,), (4,), b"\0", raw.files, raw.cache, "contiguous", address=4)
    with pytest.raises(ValueError, match="no such file"):
        _core.Dataset("a::/d", (4,), (4,), b"\0", raw.files, raw.cache, "chunked", chunk_map=tuple)


def test_a_file_that_is_removed(tmp_path):
    raw = Raw(tmp_path, 1, 1)
    raw.paths[0].unlink()
    with pytest.raises(SourceError, match="No such file") as caught:
        raw.read(0)
    assert str(raw.paths[0]) in str(caught.value)


def test_a_file_that_is_cut_short_while_it_is_open(tmp_path):
    raw = Raw(tmp_path, 1, 1)
    raw.read(0)
    os.truncate(raw.paths[0], 60)
    with pytest.raises(SourceError, match="truncated"):
        raw.read(0)
    with pytest.raises(SourceError, match="has changed since it was opened"):
        raw.stacks[0].read(0, bytearray(16))


def test_a_file_that_was_too_short_from_the_start(tmp_path):
    raw = Raw(tmp_path, 1, 1)
    os.truncate(raw.paths[0], 60)
    stack = raw.stack(raw.paths[0])
    with pytest.raises(SourceError, match="truncated"):
        stack.read(0, bytearray(SHAPE[0] * SHAPE[1] * SHAPE[2] * 2))


def test_another_path_to_the_same_file(tmp_path):
    raw = Raw(tmp_path, 2, 1)
    moved = tmp_path / "moved"
    raw.paths[0].rename(moved)
    with pytest.raises(SourceError):
        raw.read(0)
    file = raw.files.add(bytes(tmp_path / "0.raw"), *identity(moved))
    dataset = _core.Dataset("a::/d", (4,), (4,), b"\0", raw.files, raw.cache, "contiguous", file=file, address=0)
    stack = _core.Stack((2, 2), b"\0", [(dataset, [(0, 1, 1, -1, 0, 1), (0, 1, 2, 0, 0, 1)], (0,))])
    file.rename(bytes(moved))
    out = bytearray(2)
    stack.read(0, out)
    assert out == b"he"


def test_out_of_descriptors(tmp_path):
    """Where the process may open no more files, those that are idle make room."""
    import resource

    raw = Raw(tmp_path, 4, 100)
    for i in range(3):
        raw.read(i)
    taken = []
    gc.collect()
    gc.disable()  # what others have left must not make room here
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    try:
        while True:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        assert np.array_equal(raw.read(3), raw.arrays[3])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        gc.enable()
        for fd in taken:
            os.close(fd)
    assert raw.files.open_files == 3
