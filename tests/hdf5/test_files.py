# SPDX-License-Identifier: MIT
"""The files of a context: bounded, shared, and found by other paths while a mount covers them."""

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from fastlegacy.errors import SourceError
from fastlegacy.hdf5.files import Context, default_context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames

FRAMES = counting_frames(4, (20, 30), "u2")


def test_files_are_kept_open_up_to_a_number(tmp_path):
    context = Context(max_open=3)
    for i in range(5):
        write_stack(tmp_path / f"{i}.h5", FRAMES)
    kept = []
    for i in (0, 1, 2, 3, 4, 2, 0):
        with context.open_h5(str(tmp_path / f"{i}.h5")) as file:
            kept.append(file)
            assert len({f.id.id for f in kept if f}) <= 3
    context.close_h5()
    assert not any(kept)


def test_a_file_that_is_being_read_is_not_closed(tmp_path):
    context = Context(max_open=2)
    for i in range(5):
        write_stack(tmp_path / f"{i}.h5", FRAMES, "/d")
    with context.open_h5(str(tmp_path / "0.h5")) as outer:
        for i in range(1, 5):
            with context.open_h5(str(tmp_path / f"{i}.h5")) as inner:
                assert inner["d"].shape == (4, 20, 30)
        context.close_h5()
        assert outer["d"].shape == (4, 20, 30)
    context.close_h5()
    assert not outer


def test_opened_without_a_lock_and_for_reading(tmp_path):
    write_stack(tmp_path / "a.h5", FRAMES, "/d")
    context = Context()
    with context.open_h5(str(tmp_path / "a.h5")) as file:
        assert file.mode == "r"
        program = f"import h5py; h5py.File({str(tmp_path / 'a.h5')!r}, 'r+').close()"
        subprocess.run([sys.executable, "-c", program], check=True)
    context.close_h5()


def test_a_file_is_that_of_its_contents(tmp_path):
    context = Context()
    path = tmp_path / "a.h5"
    path.write_bytes(b"one")
    file = context.file(str(path))
    assert context.file(str(path)) is file
    path.write_bytes(b"three")
    other = context.file(str(path))
    assert other is not file
    assert context.file(str(path)) is other
    with pytest.raises(SourceError, match="No such file"):
        context.file(str(tmp_path / "b.h5"))


def test_a_growing_file_stays_the_same(tmp_path):
    plain = Context()
    context = plain.for_growing()
    path = tmp_path / "a.h5"
    path.write_bytes(b"one")
    file = context.file(str(path))
    fixed = plain.file(str(path))
    assert fixed is not file
    path.write_bytes(b"one and two")
    assert context.file(str(path)) is file
    assert plain.file(str(path)) is not fixed
    path.write_bytes(b"two")
    assert context.file(str(path)) is not file
    with pytest.raises(SourceError, match="changed"):
        context.check_same(str(path), file, "/d")


def test_files_of_stacks_that_are_gone_are_forgotten(tmp_path):
    """A mount that lives for days must not keep every file that has ever been."""
    context = Context()
    for i in range(20):
        url = write_stack(tmp_path / "a.h5", FRAMES[: 1 + i % 4], filters="bslz4")
        stack = Stack(url, context=context)
        assert np.array_equal(stack[0], FRAMES[0])
        del stack
    assert len(context.files) <= 1
    assert context.files.open_files <= 1


def test_redirect_and_back(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    url = write_stack(tmp_path / "data" / "sub" / "a.h5", FRAMES, filters="bslz4")
    outside = write_stack(tmp_path / "data2.h5", FRAMES)
    context = Context()
    stack, other = Stack(url, context=context), Stack(outside, context=context)
    shutil.move(tmp_path / "data", tmp_path / "moved")
    with pytest.raises(SourceError):
        stack[0]
    stack.redirect(str(tmp_path / "data"), str(tmp_path / "moved"))
    assert np.array_equal(stack[0], FRAMES[0])
    assert np.array_equal(other[0], FRAMES[0])
    shutil.move(tmp_path / "moved", tmp_path / "data")
    context.close_idle(stack.files())
    stack.end_redirect(str(tmp_path / "data"))
    assert np.array_equal(stack[1], FRAMES[1])


def test_redirect_by_a_descriptor_of_the_folder(tmp_path):
    """As a mount does it that covers the folder."""
    (tmp_path / "data").mkdir()
    url = write_stack(tmp_path / "data" / "a.h5", FRAMES, filters="lzf")
    stack = Stack(url, context=Context())
    fd = os.open(tmp_path / "data", os.O_RDONLY)
    try:
        stack.redirect(str(tmp_path / "data"), f"/proc/self/fd/{fd}")
        os.rename(tmp_path / "data", tmp_path / "away")
        assert np.array_equal(stack[2], FRAMES[2])
        os.rename(tmp_path / "away", tmp_path / "data")
        stack.end_redirect(str(tmp_path / "data"))
    finally:
        os.close(fd)
    assert np.array_equal(stack[3], FRAMES[3])


def test_redirect_of_what_was_reached_by_a_symbolic_link(tmp_path):
    (tmp_path / "data").mkdir()
    write_stack(tmp_path / "data" / "a.h5", FRAMES, "/d")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    context = Context()
    with Stack(tmp_path / "link" / "a.h5", "/d", context=context) as stack:
        stack.redirect(str(tmp_path / "data"), "/elsewhere")
        assert context.real_path(str(tmp_path / "link" / "a.h5")) == "/elsewhere/a.h5"
        # nobody has asked for this one before
        assert context.real_path(str(tmp_path / "link" / "b.h5")) == "/elsewhere/b.h5"
        stack.end_redirect(str(tmp_path / "data"))
        assert context.real_path(str(tmp_path / "link" / "a.h5")) == str(tmp_path / "link" / "a.h5")


def test_a_prefix_is_a_folder_and_not_a_beginning(tmp_path):
    context = Context()
    context.redirect("/data/scan", "/elsewhere")
    assert context.real_path("/data/scan/a.h5") == "/elsewhere/a.h5"
    assert context.real_path("/data/scan2/a.h5") == "/data/scan2/a.h5"
    assert context.real_path("/data/scan") == "/elsewhere"


def test_bound_of_open_files_follows_the_system():
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 2 <= Context().max_open <= max(2, limit // 8)
    assert Context(max_open=7).max_open == 7


def test_one_context_for_a_process_and_another_for_its_child():
    context = default_context()
    assert default_context() is context
    program = """
import os, warnings
from fastlegacy.hdf5.files import default_context
before = default_context()
pid = os.fork()
if pid == 0:
    os._exit(default_context() is before)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_folder_without_permission(tmp_path):
    (tmp_path / "a.h5").mkdir()
    with pytest.raises(SourceError, match="is a folder"), Context().open_h5(str(tmp_path / "a.h5")):
        pytest.fail("a folder was opened")
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) >= 0
