# SPDX-License-Identifier: MIT
"""Stacks whose files another process is writing: what is there is right, what is not there is known not to be."""

import os
import pickle
import shutil
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.errors import FastlegacyError, NotAStackError, SourceError
from fastlegacy.hdf5 import chunks, growing
from fastlegacy.hdf5.blocks import Block
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.live import CONVENTIONS, LiveScan
from fastlegacy.testing.virtual import virtual_printf

FRAMES = counting_frames(10, (20, 30), "u2")
LONG_AGO = (1_700_000_000, 1_700_000_000)


@pytest.fixture(autouse=True)
def a_moment_is_an_hour():
    """What was just written counts as new, however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing, "_REST_NS", 3600 * 10**9)
        yield


def opened(scan, context, after=None, **more):
    blocks = [Block(path, frames) for path, frames in scan.blocks]
    return Stack(scan.url, growing=True, context=context, after=after, blocks=blocks, **more)


def there(stack):
    """What ``written`` says, with the frames that the dataset does not have yet."""
    return np.pad(stack.written(), (0, len(FRAMES) - len(stack)))


def let_rest(folder):
    for path in Path(folder).rglob("*.h5"):
        os.utime(path, LONG_AGO)


def check(stack, frames=FRAMES):
    for i in np.flatnonzero(stack.written()):
        assert np.array_equal(stack[int(i)], frames[i])


# ---------------------------------------------------------------------------------------------------- at work


@pytest.mark.parametrize("convention", ["bliss", "dectris", "swmr", "plain"])
@pytest.mark.parametrize("filters", ["bslz4", "none", "gzip"])
@pytest.mark.parametrize("steps", [(1,) * 10, (3, 4, 3)])
def test_frames_are_there_as_soon_as_they_are_written(tmp_path, convention, filters, steps):
    context = Context()
    before = None
    with LiveScan(tmp_path, FRAMES, convention, filters=filters) as scan:
        for step in steps:
            scan.write(step)
            if not scan.written.any():
                with pytest.raises(SourceError, match="none of its 3 blocks"):
                    opened(scan, context)
                continue
            stack = opened(scan, context, before)
            assert np.array_equal(there(stack), scan.written)
            assert stack.changed()
            check(stack)
            if before is not None:
                check(before)
                before.close()
            before = stack
        scan.finish()
    check(before)
    let_rest(tmp_path)
    stack = opened(scan, context, before)
    assert stack.written().all()
    assert not stack.changed()
    check(stack)
    with Stack(scan.url, context=context, blocks=stack._blocks) as finished:
        assert finished.written().all()
        assert np.array_equal(np.array(list(finished)), FRAMES)


@pytest.mark.parametrize("convention", ["swmr", "plain"])
def test_a_chunk_of_several_frames_may_be_written_again(tmp_path, convention):
    """HDF5 moves it then, and its old place has other bytes: nothing of it is shown before it is complete."""
    context = Context()
    stacks = []
    with LiveScan(tmp_path, FRAMES, convention, chunk=4) as scan:
        for n in range(1, 11):
            scan.write()
            stack = opened(scan, context)
            assert np.flatnonzero(there(stack)).tolist() == list(range((n - 1) // 4 * 4))
            stacks.append((stack, stack.written()))
            for older, written in stacks:
                for i in np.flatnonzero(written):
                    assert np.array_equal(older[int(i)], FRAMES[i])
    with Stack(scan.url, context=context) as finished:
        assert finished.written().all()


def test_frames_in_one_piece_are_not_known_to_be_there(tmp_path):
    """HDF5 makes the file as long as all frames with the first one."""
    assert set(CONVENTIONS) == {"bliss", "dectris", "swmr", "plain", "contiguous"}
    with LiveScan(tmp_path, FRAMES, "contiguous") as scan:
        scan.write(3)
        with opened(scan, Context()) as stack:
            assert not stack.written().any()
            assert np.array_equal(stack[2], FRAMES[2])
        scan.write(7)
        scan.finish()
    with Stack(scan.url, context=Context()) as stack:
        assert stack.written().all()


def test_a_virtual_dataset_that_comes_last(tmp_path):
    context = Context()
    with LiveScan(tmp_path, FRAMES, "bliss", virtual="end") as scan:
        scan.write(10)
        with pytest.raises(NotAStackError, match="there is no 'data'"):
            opened(scan, context)
        scan.finish()
        stack = opened(scan, context)
        assert stack.written().all()
        check(stack)


@pytest.mark.parametrize("convention", ["bliss", "dectris", "swmr", "plain"])
def test_the_writer_is_not_disturbed(tmp_path, convention):
    """No lock, no change of any file, and it goes on writing while its files are open here."""
    context = Context()
    with LiveScan(tmp_path, FRAMES, convention, each=5) as scan:
        scan.write(5)
        before = {path: path.stat() for path in tmp_path.rglob("*.h5")}
        stack = opened(scan, context)
        check(stack)
        with context.open_h5(stack.files()[0]):
            inodes = {was.st_ino for was in before.values()}
            locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
            assert not [
                *(words for words in locks if f"{os.getpid()}" in words and int(words[-3].rpartition(":")[2]) in inodes)
            ]
            for path, was in before.items():
                now = path.stat()
                assert (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (
                    was.st_size,
                    was.st_mtime_ns,
                    was.st_ctime_ns,
                )
            scan.write(5)
        again = opened(scan, context, stack)
        assert np.array_equal(there(again), scan.written)
        check(again)
        check(stack)


@pytest.mark.parametrize("convention", ["bliss", "dectris", "swmr", "plain"])
def test_reading_while_frames_are_being_written(tmp_path, convention):
    """At any moment: an error or right pixels, and at the end all of them."""
    frames = counting_frames(300, (40, 50), "u4")
    context = Context()
    seen = 0
    with LiveScan(tmp_path, frames, convention, each=100) as scan:
        writing = threading.Thread(target=scan.write, args=(300,))
        writing.start()
        stack = None
        while writing.is_alive():
            try:
                stack = opened(scan, context, stack)
                written = stack.written()
                for i in np.flatnonzero(written)[-3:]:
                    assert np.array_equal(stack[int(i)], frames[i])
            except FastlegacyError:
                continue
            assert written.sum() >= seen
            seen = int(written.sum())
        writing.join()
        stack = opened(scan, context, stack)
        assert stack.written().all()
        check(stack, frames)


# ---------------------------------------------------------------------------------------------------- opening


def test_a_writer_that_lets_nobody_read(tmp_path):
    with LiveScan(tmp_path, FRAMES, "plain", libver="latest") as scan:
        scan.write(2)
        with pytest.raises(SourceError, match="does not let others read it yet"):
            opened(scan, Context())
        scan.finish()
        assert opened(scan, Context()).written().all()


@pytest.mark.parametrize("growing", [False, True])
def test_a_writer_that_died_in_swmr_mode(tmp_path, growing):
    with LiveScan(tmp_path, FRAMES, "swmr") as scan:
        scan.write(6)
        scan.kill()
    with Stack(scan.url, growing=growing, context=Context()) as stack:
        assert np.array_equal(stack.read_frames(0, 6), FRAMES[:6])
        assert stack.written().all()


def test_a_dataset_without_frames_is_no_stack_yet(tmp_path):
    with LiveScan(tmp_path, FRAMES, "swmr") as scan, pytest.raises(NotAStackError, match=r"\(0, 20, 30\)"):
        opened(scan, Context())


def test_a_file_of_which_half_is_there(tmp_path):
    """Copied by a program that is not done yet."""
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    whole = (tmp_path / "a.h5").read_bytes()
    for part in (0, 10, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.h5").write_bytes(whole[:part])
        with pytest.raises(SourceError):
            Stack(url, growing=True, context=Context())


# ---------------------------------------------------------------------------------------------------- changes


def test_a_replaced_file_is_an_error(tmp_path):
    context = Context()
    with LiveScan(tmp_path, FRAMES, "plain") as scan:
        scan.write(5)
        stack = opened(scan, context)
        assert stack.written().all()
        shutil.copy(stack.files()[0], tmp_path / "copy")
        os.replace(tmp_path / "copy", stack.files()[0])
        assert stack.changed()
        context.close_idle(stack.files())
        with pytest.raises(SourceError, match="changed"):
            stack[0]
        with pytest.raises(SourceError, match="changed"):
            stack.written()
        check(opened(scan, context, stack))


def test_a_shortened_file_is_an_error(tmp_path):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    context = Context()
    stack = Stack(url, growing=True, context=context)
    check(stack)
    os.truncate(tmp_path / "a.h5", (tmp_path / "a.h5").stat().st_size - 1)
    with pytest.raises(SourceError, match="changed"):
        stack[0]
    with pytest.raises(SourceError, match="changed"):
        stack.written()
    assert stack.changed()


def test_a_removed_file_is_a_change_and_an_error(tmp_path):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    stack = Stack(url, growing=True, context=Context())
    (tmp_path / "a.h5").unlink()
    assert stack.changed()
    with pytest.raises(SourceError, match="No such file"):
        stack.written()


def test_a_file_that_is_not_said_to_grow_must_not(tmp_path):
    context = Context()
    with LiveScan(tmp_path, FRAMES, "plain") as scan:
        scan.write(5)
        stack = Stack(scan.url, context=context)
        assert np.array_equal(stack[0], FRAMES[0])
        assert not stack.changed()
        scan.write()
        assert stack.changed()
        with pytest.raises(SourceError, match="changed"):
            stack[1]


def test_a_chunk_map_that_is_fetched_late_is_of_the_shape_of_the_stack(tmp_path):
    context = Context()
    with LiveScan(tmp_path, FRAMES, "plain") as scan:
        scan.write(3)
        stack = opened(scan, context)
        scan.write(4)
        assert stack.written().tolist() == [True] * 3
        check(stack)


@pytest.mark.parametrize("filters", ["scaleoffset", "bslz4"])
def test_a_frame_that_was_read_too_early_is_not_kept(tmp_path, filters):
    """Neither by who decodes in C nor by h5py: another stack sees what is there."""
    context = Context()
    path = tmp_path / "a.h5"
    url = write_stack(path, FRAMES, filters=filters, written=slice(0, 4))
    early = Stack(url, growing=True, context=context)
    assert not early[5].any()
    context.close_h5()  # in one process, HDF5 does not let us write what we have open
    with h5py.File(path, "r+", locking=False) as file:
        file["entry/data/data"][4:6] = FRAMES[4:6]
    late = Stack(url, growing=True, context=context, after=early)
    assert np.array_equal(late[5], FRAMES[5])
    assert late.written().tolist() == [True] * 6 + [False] * 4
    assert early.written().tolist() == [True] * 4 + [False] * 6


# ---------------------------------------------------------------------------------------------------- looking again


def test_files_at_rest_are_not_read_again(tmp_path, monkeypatch):
    url = bliss_scan(tmp_path, FRAMES, files=5)
    let_rest(tmp_path)
    context = Context()
    first = Stack(url, growing=True, context=context)
    assert first.written().all()
    assert not first.changed()
    read = []
    original = chunks.read_chunk_map
    monkeypatch.setattr(chunks, "read_chunk_map", lambda *args: read.append(args[2]) or original(*args))
    os.utime(tmp_path / "scan0001" / "eiger_0003.h5")
    assert first.changed()
    second = Stack(url, growing=True, context=context, after=first)
    assert second.written().all()
    assert read == [str(tmp_path / "scan0001" / "eiger_0003.h5")]
    check(second)
    assert len(context.files) == 5


def test_a_number_of_looks_does_not_fill_the_table_of_files(tmp_path):
    context = Context()
    stack = None
    with LiveScan(tmp_path, FRAMES, "bliss") as scan:
        for _ in range(10):
            scan.write()
            stack = opened(scan, context, stack)
            check(stack)
    assert len(context.files) == 3


def test_a_stack_that_waits_for_a_file(tmp_path):
    url = bliss_scan(tmp_path, FRAMES, files=2)
    away = tmp_path / "scan0001" / "eiger_0000.h5"
    away.rename(tmp_path / "away")
    let_rest(tmp_path)
    context = Context()
    stack = Stack(url, growing=True, context=context)
    assert len(stack.missing_sources) == 1
    assert stack.changed()
    assert stack.written().tolist() == [False] * 5 + [True] * 5
    assert not stack[0].any()
    assert str(away) not in stack.files()
    assert len(stack.decoders()) == 1
    (tmp_path / "away").rename(away)
    os.utime(away, LONG_AGO)
    again = Stack(url, growing=True, context=context, after=stack)
    assert not again.changed()
    assert again.written().all()
    check(again)


def test_by_pickle(tmp_path):
    with LiveScan(tmp_path, FRAMES, "plain") as scan:
        scan.write(2)
        stack = pickle.loads(pickle.dumps(opened(scan, Context())))
        assert stack.growing
        scan.write(2)
        assert np.array_equal(stack[1], FRAMES[1])


# ---------------------------------------------------------------------------------------------------- half of it


def test_a_source_that_comes_while_the_stack_is_opened(tmp_path, monkeypatch):
    """It is there or not there for all of the stack."""
    url = bliss_scan(tmp_path, FRAMES, files=2)
    for first in (True, False):
        calls = []
        original = Context.open_h5

        def open_h5(self, path, first=first, calls=calls, original=original):
            if path.endswith("eiger_0001.h5"):
                calls.append(path)
                if (len(calls) == 1) == first:
                    raise SourceError("is cut short", file=path)
            return original(self, path)

        monkeypatch.setattr(Context, "open_h5", open_h5)
        stack = Stack(url, growing=True, context=Context())
        monkeypatch.undo()
        assert stack.written().tolist() == [True] * 5 + [False] * 5
        assert calls


def test_numbered_sources_that_come_one_by_one(tmp_path):
    """HDF5 says that the dataset ends before the first one that is not there."""
    context = Context()
    url = virtual_printf(tmp_path, FRAMES, files=5)
    (tmp_path / "data_2.h5").rename(tmp_path / "away")
    stack = Stack(url, growing=True, context=context)
    assert stack.written().tolist() == [True] * 4
    (tmp_path / "away").rename(tmp_path / "data_2.h5")
    stack = Stack(url, growing=True, context=context, after=stack)
    assert stack.written().tolist() == [True] * 10
    check(stack)


def test_of_a_source_that_is_shorter_than_its_mapping_counts_what_is_there(tmp_path):
    """The mapping is of the whole source, which has 4 of 10 frames by now."""
    url = virtual_over_a_growing_source(tmp_path, FRAMES[:4])
    context = Context()
    stack = Stack(url, growing=True, context=context)
    assert stack.written().tolist() == [True] * 4 + [False] * 6
    check(stack)
    lengthen(tmp_path / "source.h5", FRAMES[:8])
    stack = Stack(url, growing=True, context=context, after=stack)
    assert stack.written().tolist() == [True] * 8 + [False] * 2
    check(stack)
    lengthen(tmp_path / "source.h5", FRAMES)
    stack = Stack(url, growing=True, context=context, after=stack)
    assert stack.written().all()
    check(stack)


def virtual_over_a_growing_source(folder, frames):
    """A virtual dataset of as many frames as there will be, which shows all of another dataset."""
    shape = frames.shape[1:]
    with h5py.File(folder / "source.h5", "w") as file:
        file.create_dataset("data", data=frames, maxshape=(None, *shape), chunks=(1, *shape))
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource("source.h5", "data", FRAMES.shape, maxshape=(None, *shape))
    with h5py.File(folder / "master.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("data", layout)
    return f"{folder / 'master.h5'}::/data"


def lengthen(path, frames):
    with h5py.File(path, "r+", locking=False) as file:
        before = len(file["data"])
        file["data"].resize(len(frames), axis=0)
        file["data"][before:] = frames[before:]


def test_a_source_that_cannot_be_read_for_a_moment(tmp_path, monkeypatch):
    """What was there is there still; what comes is seen the next time."""
    context = Context()
    with LiveScan(tmp_path, FRAMES, "bliss") as scan:
        scan.write(6)
        stack = opened(scan, context)
        assert np.array_equal(stack.written(), scan.written)
        before = scan.written
        scan.write()
        original = Context.open_h5

        def open_h5(self, path):
            if path.endswith("eiger_0001.h5"):
                raise SourceError("is cut short", file=path)
            return original(self, path)

        monkeypatch.setattr(Context, "open_h5", open_h5)
        torn = opened(scan, context, stack)
        assert np.array_equal(torn.written(), before)
        check(torn)
        assert torn.changed()
        monkeypatch.undo()
        stack = opened(scan, context, torn)
        assert np.array_equal(stack.written(), scan.written)
        check(stack)


def test_frames_that_were_there_do_not_go(tmp_path, monkeypatch):
    context = Context()
    with LiveScan(tmp_path, FRAMES, "plain") as scan:
        scan.write(6)
        stack = opened(scan, context)
        assert stack.written().all()
        scan.write()
        original = chunks.read_chunk_map

        def half(*args):
            addresses, sizes, masks = original(*args)
            addresses[2] = chunks.NOWHERE
            return addresses, sizes, masks

        monkeypatch.setattr(chunks, "read_chunk_map", half)
        torn = opened(scan, context, stack)
        with pytest.raises(SourceError, match="frames that were there are not"):
            torn.written()
        monkeypatch.undo()
        assert opened(scan, context, stack).written().tolist() == [True] * 7


# ---------------------------------------------------------------------------------------------------- a torn index


def test_an_index_with_two_chunks_in_one_place_is_half_written(tmp_path, monkeypatch):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    original = chunks.read_chunk_map

    def torn(*args):
        addresses, sizes, masks = original(*args)
        addresses[3] = addresses[2]
        return addresses, sizes, masks

    monkeypatch.setattr(chunks, "read_chunk_map", torn)
    with Stack(url, growing=True, context=Context()) as stack:
        with pytest.raises(SourceError, match="half written"):
            stack.written()
        with pytest.raises(SourceError, match="half written"):
            stack[0]
        monkeypatch.undo()
        assert stack.written().all()


def test_of_an_index_that_was_written_meanwhile_counts_what_stays_the_same(tmp_path, monkeypatch):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    original = chunks.read_chunk_map
    calls = []

    def torn(*args):
        calls.append(1)
        addresses, sizes, masks = original(*args)
        if len(calls) == 1:
            addresses[3] += np.uint64(8)
            sizes[5] -= np.uint64(1)
            with (tmp_path / "a.h5").open("ab") as file:
                file.write(b"more")
        return addresses, sizes, masks

    monkeypatch.setattr(chunks, "read_chunk_map", torn)
    with Stack(url, growing=True, context=Context()) as stack:
        assert np.flatnonzero(~stack.written()).tolist() == [3, 5]
        assert len(calls) == 2
        check(stack)


# ---------------------------------------------------------------------------------------------------- the builder


def test_a_writer_that_fails_says_why(tmp_path):
    with pytest.raises(ValueError, match="none of"):
        LiveScan(tmp_path, FRAMES, "tape")
    with (
        pytest.raises(RuntimeError, match="unknown"),
        LiveScan(tmp_path, FRAMES, "plain", filters="unknown"),
    ):
        pytest.fail("a filter that nobody knows")
