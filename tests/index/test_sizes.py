# SPDX-License-Identifier: MIT
import gc
import random
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import DecodeError
from fastlegacy.index import crew as crew_module
from fastlegacy.index import sizes as module
from fastlegacy.index.sidecar import SideFile
from fastlegacy.index.sizes import Sizes
from fastlegacy.index.store import sources_of
from fastlegacy.pixels import Coded

LONG_S = 60
WHAT = "the cbf files of scan.h5::/data"


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastlegacy-sizes"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    # those of tests before end by themselves, soon
    for thread in alive():
        thread.join(LONG_S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crew_module, "_IDLE_S", 3600.0)  # who is not stopped never ends
        yield
    for thread in alive():
        thread.join(LONG_S)
    assert alive() == []


class Measure:
    """Measures frames, counts how often, and keeps those waiting that are held."""

    def __init__(self, *held: int) -> None:
        self.calls: Counter[int] = Counter()
        self.damaged: set[int] = set()
        self.begun = {frame: threading.Event() for frame in held}
        self.go = {frame: threading.Event() for frame in held}
        self._changed = threading.Condition()

    def __call__(self, frame: int) -> tuple[int, ...]:
        with self._changed:
            self.calls[frame] += 1
            self._changed.notify_all()
        if frame in self.go:
            self.begun[frame].set()
            assert self.go[frame].wait(LONG_S)
        if frame in self.damaged:
            raise DecodeError("the chunk is damaged", frame=frame)
        return (1000 + frame,)

    def wait_for(self, *frames: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(frames) <= set(self.calls), LONG_S)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """What Sizes uses of a side file, in memory."""

    def __init__(self) -> None:
        self.rows: np.ndarray | None = None
        self.saves = threading.Semaphore(0)
        self.is_broken = False

    def load(self, shape: tuple[int, int]) -> np.ndarray | None:
        return None if self.rows is None else self.rows.copy()

    def save(self, rows: np.ndarray) -> np.ndarray | None:
        if not self.is_broken:
            self.rows = rows
        self.saves.release()
        return None if self.is_broken else rows

    def close(self) -> None: ...


def in_threads(*jobs: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(LONG_S)
        assert not thread.is_alive()


def three_who_want(frame: int, sizes: Sizes, measure: Measure, job: Callable[[], object]) -> list[threading.Thread]:
    """Let one thread measure a frame that is held, and two wait for it."""
    waiting = threading.Semaphore(0)

    class Watched(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.release()
            return super().wait(timeout)

    first = in_threads(job)
    assert measure.begun[frame].wait(LONG_S)
    sizes._here().jobs[frame].done.__class__ = Watched
    others = in_threads(job, job)
    for _ in others:
        assert waiting.acquire(timeout=LONG_S)
    return first + others


# ---------------------------------------------------------------------------------------------- what is measured


def test_one_file_costs_one_frame_and_no_thread() -> None:
    measure = Measure()
    sizes = Sizes(measure, 100, what=WHAT)
    assert alive() == []
    for _ in range(3):
        assert sizes.get(7) == Coded(1007)
    assert alive() == []
    sizes.close()
    assert measure.calls == {7: 1}


@pytest.mark.parametrize("threads", [0, 1, 4, None])
@pytest.mark.parametrize("order", ["forward", "backward", "random"])
def test_each_frame_is_measured_once_in_any_order(order: str, threads: int | None) -> None:
    frames = list(range(600))
    if order == "backward":
        frames.reverse()
    elif order == "random":
        random.Random(3).shuffle(frames)
    measure = Measure()
    sizes = Sizes(measure, 600, what=WHAT, threads=threads)
    assert [sizes.get(frame).size for frame in frames] == [1000 + frame for frame in frames]
    assert [sizes.get(frame).size for frame in frames] == [1000 + frame for frame in frames]
    sizes.close()
    assert measure.calls == dict.fromkeys(range(600), 1)


def test_many_threads_measure_each_frame_once() -> None:
    measure = Measure()
    sizes = Sizes(measure, 300, what=WHAT, threads=3)
    start = threading.Barrier(8)
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        frames = list(range(300))
        if number % 2:
            random.Random(number).shuffle(frames)
        start.wait(LONG_S)
        by_frame = {frame: sizes.get(frame).size for frame in frames}
        found[number] = [by_frame[frame] for frame in range(300)]

    join(in_threads(*(lambda number=number: ask(number) for number in range(8))))
    sizes.close()
    assert found == {number: [1000 + frame for frame in range(300)] for number in range(8)}
    assert measure.calls == dict.fromkeys(range(300), 1)


def test_a_listing_is_measured_by_several_threads_at_once() -> None:
    # frames 3 and 4 end only when both were begun
    both_there = threading.Barrier(2)

    def measure(frame: int) -> tuple[int, ...]:
        if frame in (3, 4):
            both_there.wait(LONG_S)
        return (frame,)

    sizes = Sizes(measure, 5, what=WHAT, threads=2)
    assert [sizes.get(frame).size for frame in (0, 1, 2, 3, 4)] == [0, 1, 2, 3, 4]
    sizes.close()


def test_the_window_ahead_grows_with_each_frame_in_order() -> None:
    measure = Measure()
    sizes = Sizes(measure, 100, what=WHAT, threads=2)
    for wanted, last in ((50, 50), (51, 52), (52, 54), (53, 57)):
        sizes.get(wanted)
        measure.wait_for(*range(50, last + 1))
        assert set(measure.calls) == set(range(50, last + 1))
    sizes.close()
    assert set(measure.calls) == set(range(50, 58))


def test_who_wants_a_frame_that_is_being_measured_waits_for_it() -> None:
    measure = Measure(3)
    sizes = Sizes(measure, 10, what=WHAT)
    found: list[Coded] = []
    threads = three_who_want(3, sizes, measure, lambda: found.append(sizes.get(3)))
    assert (sizes.known(3), found) == (None, [])
    measure.go[3].set()
    join(threads)
    sizes.close()
    assert found == [Coded(1003)] * 3
    assert measure.calls == {3: 1}


def test_no_thread_is_started_for_what_is_known_already() -> None:
    sizes = Sizes(Measure(), 100, what=WHAT)
    for frame in range(50):
        sizes.put(frame, Coded(1000 + frame))
    for frame in range(5):
        sizes.get(frame)
    assert alive() == []
    sizes.close()


def test_counts_are_kept_with_the_size() -> None:
    sizes = Sizes(lambda frame: (512, frame, 0), 10, what=WHAT, counts=2)
    assert sizes.get(4) == Coded(512, (4, 0)) == sizes.known(4)
    sizes.close()


def test_known_measures_nothing() -> None:
    measure = Measure()
    sizes = Sizes(measure, 10, what=WHAT)
    assert sizes.known(4) is None
    sizes.get(4)
    assert sizes.known(4) == Coded(1004)
    sizes.close()
    assert measure.calls == {4: 1}


@pytest.mark.parametrize("frame", [-1, 10, 10**9])
def test_a_frame_that_is_not_there(frame: int) -> None:
    sizes = Sizes(Measure(), 10, what=WHAT)
    for call in (sizes.get, sizes.known, lambda frame: sizes.put(frame, Coded(1))):
        with pytest.raises(IndexError, match=r"frame -?\d+ of the cbf files of scan.h5::/data, which has 10 frames"):
            call(frame)
    sizes.close()


def test_a_stack_without_frames() -> None:
    sizes = Sizes(Measure(), 0, what=WHAT, side_file=Kept())
    with pytest.raises(IndexError):
        sizes.get(0)
    sizes.close()


@pytest.mark.parametrize(("result", "counts"), [((-1,), 0), ((5, 1), 0), ((5,), 2), ((5, 1), 2), ((5, 1, 2, 3), 2)])
def test_a_measure_that_makes_no_sense_is_an_error(result: tuple[int, ...], counts: int) -> None:
    sizes = Sizes(lambda _: result, 10, what=WHAT, counts=counts)
    with pytest.raises(ValueError, match="is no size of frame 2"):
        sizes.get(2)
    sizes.close()


# ------------------------------------------------------------------------------------------------------- errors


def test_an_error_is_raised_and_not_remembered() -> None:
    measure = Measure()
    measure.damaged = {5}
    sizes = Sizes(measure, 10, what=WHAT)
    for _ in range(2):
        with pytest.raises(DecodeError, match="frame 5: the chunk is damaged"):
            sizes.get(5)
        assert sizes.known(5) is None
    measure.damaged.clear()
    assert sizes.get(5) == Coded(1005)
    sizes.close()
    assert measure.calls == {5: 3}


def test_damaged_frames_do_not_hinder_a_listing() -> None:
    measure = Measure()
    measure.damaged = set(range(0, 300, 7))
    sizes = Sizes(measure, 300, what=WHAT, threads=2)
    failed = set()
    for frame in range(300):
        try:
            assert sizes.get(frame) == Coded(1000 + frame)
        except DecodeError:
            failed.add(frame)
    sizes.close()
    assert failed == measure.damaged
    assert all(count == 1 for frame, count in measure.calls.items() if frame not in failed)


def test_those_who_wait_for_a_damaged_frame_are_told_as_well() -> None:
    measure = Measure(3)
    measure.damaged = {3}
    sizes = Sizes(measure, 10, what=WHAT)
    told: list[DecodeError] = []

    def ask() -> None:
        with pytest.raises(DecodeError) as caught:
            sizes.get(3)
        told.append(caught.value)

    threads = three_who_want(3, sizes, measure, ask)
    measure.go[3].set()
    join(threads)
    assert measure.calls == {3: 1}
    assert len(told) == 3
    measure.damaged.clear()
    assert sizes.get(3) == Coded(1003)
    sizes.close()


def test_ctrl_c_of_one_is_no_error_of_the_others() -> None:
    begun, go = threading.Event(), threading.Event()
    pressed = []

    def measure(frame: int) -> tuple[int, ...]:
        if not begun.is_set():
            begun.set()
            assert go.wait(LONG_S)
            raise KeyboardInterrupt
        return (frame,)

    def press() -> None:
        with pytest.raises(KeyboardInterrupt):
            sizes.get(3)
        pressed.append(True)

    sizes = Sizes(measure, 10, what=WHAT)
    found: list[Coded] = []
    first = in_threads(press)
    assert begun.wait(LONG_S)
    others = in_threads(lambda: found.append(sizes.get(3)))
    go.set()
    join(first + others)
    sizes.close()
    assert (pressed, found) == ([True], [Coded(3)])


# ---------------------------------------------------------------------------------------------------------- put


def test_what_was_learnt_by_encoding_is_not_measured() -> None:
    measure = Measure()
    sizes = Sizes(measure, 10, what=WHAT, counts=2)
    sizes.put(4, Coded(77, (1, 2), b"digest of 16 by."))
    assert sizes.get(4) == sizes.known(4) == Coded(77, (1, 2))
    sizes.close()
    assert measure.calls == {}


def test_a_contradiction_is_believed_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sizes = Sizes(Measure(), 10, what=WHAT, threads=0)
    for frame in (4, 8):
        sizes.get(frame)
        sizes.put(frame, Coded(1000 + frame, md5=b"0123456789abcdef"))
    assert caplog.text == ""
    for frame in (4, 8):
        sizes.put(frame, Coded(1))
        assert sizes.get(frame) == Coded(1)
    assert repr(sizes) == "<Sizes of the cbf files of scan.h5::/data: 2 of 10 frames>"
    sizes.close()
    own = [record for record in caplog.records if record.name.startswith("fastlegacy")]
    assert [record.levelname for record in own] == ["WARNING"]
    assert "frame 4 of the cbf files of scan.h5::/data is not what was measured before" in caplog.text


@given(
    st.lists(st.tuples(st.sampled_from(["get", "put", "known"]), st.integers(0, 29)), max_size=60), st.integers(0, 2)
)
def test_any_calls_give_what_a_dictionary_gives(calls: list[tuple[str, int]], threads: int) -> None:
    measure = Measure()
    sizes = Sizes(measure, 30, what=WHAT, threads=threads)
    for call, frame in calls:
        if call == "put":
            sizes.put(frame, Coded(1000 + frame))
        elif call == "get":
            assert sizes.get(frame) == sizes.known(frame) == Coded(1000 + frame)
        else:
            assert sizes.known(frame) in (None, Coded(1000 + frame))
    sizes.close()
    assert max(measure.calls.values(), default=0) <= 1


# ----------------------------------------------------------------------------------------------- from mount to mount


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    path.write_bytes(b"pixels")
    return path


def mounted(
    measure: Callable[[int], tuple[int, ...]], h5: Path, key: str = "key", frames: int = 300, counts: int = 0
) -> Sizes:
    side_file = SideFile(h5.parent / "cache" / "x.sizes", key, sources_of([str(h5)]))
    return Sizes(measure, frames, what=WHAT, counts=counts, side_file=side_file, threads=2)


def test_the_second_mount_measures_nothing(h5: Path) -> None:
    first, second = Measure(), Measure()
    for measure in (first, second):
        sizes = mounted(measure, h5)
        assert [sizes.get(frame).size for frame in range(300)] == list(range(1000, 1300))
        sizes.close()
    assert first.calls == dict.fromkeys(range(300), 1)
    assert second.calls == {}


def test_the_second_mount_measures_what_is_missing(h5: Path) -> None:
    first, second = Measure(), Measure()
    for measure, frames in ((first, range(0, 300, 10)), (second, range(300))):
        sizes = mounted(measure, h5)
        for frame in frames:
            assert sizes.get(frame) == Coded(1000 + frame)
        sizes.close()
    assert not set(first.calls) & set(second.calls)


def test_counts_survive_a_remount(h5: Path) -> None:
    for measure in (lambda frame: (0, frame, 3), Measure()):
        sizes = mounted(measure, h5, counts=2)
        assert sizes.get(4) == Coded(0, (4, 3))
        sizes.close()


@pytest.mark.parametrize("change", ["contents", "key", "frames"])
def test_a_change_measures_anew(h5: Path, change: str) -> None:
    sizes = mounted(Measure(), h5)
    sizes.get(4)
    sizes.close()
    if change == "contents":
        h5.write_bytes(b"more pixels")
    sizes = mounted(lambda _: (7,), h5, "other" if change == "key" else "key", 301 if change == "frames" else 300)
    assert sizes.get(4) == Coded(7)
    sizes.close()


def test_sizes_are_saved_while_a_listing_goes_on() -> None:
    kept, clock, measure = Kept(), Clock(), Measure()
    sizes = Sizes(measure, 100, what=WHAT, side_file=kept, threads=1, clock=clock)
    for frame in (0, 50):
        sizes.get(frame)
        clock.now += 5
    assert (kept.rows, alive()) == (None, [])
    sizes.get(99)
    assert kept.saves.acquire(timeout=LONG_S)
    assert np.flatnonzero(kept.rows[:, 0] >= 0).tolist() == [0, 50, 99]
    sizes.close()
    # nothing new: nothing to save
    assert not kept.saves.acquire(blocking=False)


def test_sizes_are_saved_when_the_threads_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "_IDLE_S", 0.0)
    kept = Kept()
    sizes = Sizes(Measure(), 3, what=WHAT, side_file=kept, threads=1)
    for frame in range(3):
        sizes.get(frame)
    assert kept.saves.acquire(timeout=LONG_S)
    sizes.close()
    assert kept.rows[:, 0].tolist() == [1000, 1001, 1002]


def test_what_could_not_be_saved_is_tried_again() -> None:
    kept = Kept()
    kept.is_broken = True
    sizes = Sizes(Measure(), 3, what=WHAT, side_file=kept, threads=1)
    sizes.get(1)
    sizes._save()
    assert kept.rows is None
    kept.is_broken = False
    sizes.close()
    assert kept.rows[:, 0].tolist() == [-1, 1001, -1]


def test_what_others_have_saved_is_taken_over(h5: Path) -> None:
    measure = Measure()
    one, other = mounted(measure, h5), mounted(measure, h5)
    assert (one.known(1), other.known(200)) == (None, None)
    one.get(1)
    other.get(200)
    one.close()
    other._save()
    assert other.get(1) == Coded(1001)
    other.close()
    assert measure.calls == {1: 1, 200: 1}


# ------------------------------------------------------------------------------------------------------ the end


def test_close_stops_what_is_measured_ahead_and_keeps_it(h5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Measure(2)
    sizes = mounted(measure, h5)
    stop = crew_module.Crew.stop

    def release_and_stop(crew: crew_module.Crew, patience_s: float) -> None:
        stop(crew, 0)
        assert measure.calls[2] == 1
        assert sizes.known(2) is None
        measure.go[2].set()
        stop(crew, patience_s)

    sizes.get(0)
    sizes.get(1)
    assert measure.begun[2].wait(LONG_S)
    with monkeypatch.context() as patch:
        patch.setattr(crew_module.Crew, "stop", release_and_stop)
        sizes.close()
    assert alive() == []
    again = mounted(pytest.fail, h5)
    assert [again.get(frame).size for frame in (0, 1, 2)] == [1000, 1001, 1002]
    again.close()


def test_close_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLOSE_PATIENCE_S", 0.0)
    measure = Measure(2)
    sizes = Sizes(measure, 100, what=WHAT, threads=1)
    sizes.get(0)
    sizes.get(1)
    assert measure.begun[2].wait(LONG_S)
    sizes.close()
    (thread,) = alive()
    measure.go[2].set()
    join([thread])


def test_close_while_somebody_waits_for_a_frame() -> None:
    measure = Measure(3)
    sizes = Sizes(measure, 10, what=WHAT)
    found: list[Coded] = []
    threads = in_threads(lambda: found.append(sizes.get(3)))
    assert measure.begun[3].wait(LONG_S)
    sizes.close()
    measure.go[3].set()
    join(threads)
    assert found == [Coded(1003)]


def test_after_the_end_frames_are_measured_by_who_wants_them(h5: Path) -> None:
    measure = Measure()
    sizes = mounted(measure, h5)
    sizes.close()
    sizes.close()
    assert [sizes.get(frame).size for frame in range(20)] == list(range(1000, 1020))
    sizes.put(20, Coded(1))
    assert alive() == []
    assert set(measure.calls) == set(range(20))
    sizes.close()


def test_nothing_holds_sizes_that_nobody_uses() -> None:
    sizes = Sizes(Measure(), 10, what=WHAT)
    sizes.get(3)
    reference = weakref.ref(sizes)
    gc.disable()
    del sizes
    assert reference() is None
    gc.enable()
