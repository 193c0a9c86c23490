# SPDX-License-Identifier: MIT
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from fastlegacy.index import crew as module
from fastlegacy.index.crew import Crew

LONG_S = 60


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastlegacy-sizes"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    # those of tests before end by themselves, soon
    for thread in alive():
        thread.join(LONG_S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_IDLE_S", 3600.0)  # who is not stopped never ends
        yield
    for thread in alive():
        thread.join(LONG_S)
    assert alive() == []


def test_jobs_are_done_in_their_order() -> None:
    done: list[int] = []
    end = threading.Event()
    crew = Crew(1)
    crew.add(partial(done.append, number) for number in range(100))
    crew.add([end.set])
    assert end.wait(LONG_S)
    crew.stop(LONG_S)
    assert done == list(range(100))


def test_there_are_as_many_threads_as_jobs_but_not_more_than_allowed() -> None:
    go = threading.Event()
    crew = Crew(3)
    assert alive() == []
    crew.add([go.wait])
    assert len(alive()) == 1
    crew.add([go.wait] * 10)
    assert len(alive()) == 3
    go.set()
    crew.stop(LONG_S)


def test_jobs_run_at_the_same_time() -> None:
    all_there = threading.Barrier(4)
    crew = Crew(3)
    crew.add([partial(all_there.wait, LONG_S)] * 3)
    all_there.wait(LONG_S)
    crew.stop(LONG_S)


def test_no_threads_no_jobs() -> None:
    crew = Crew(0)
    crew.add([pytest.fail])
    crew.stop(LONG_S)


def test_stop_waits_for_the_job_at_hand_only_and_not_for_ever() -> None:
    begun, go = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        go.wait(LONG_S)
        done.append("first")

    crew = Crew(1)
    crew.add([first, partial(done.append, "second")], partial(done.append, "rest"))
    assert begun.wait(LONG_S)
    crew.stop(0)
    assert (len(alive()), done) == (1, [])
    crew.add([partial(done.append, "third")])
    go.set()
    crew.stop(LONG_S)
    assert done == ["first"]


def test_a_job_may_stop_its_own_crew() -> None:
    end = threading.Event()
    crew = Crew(1)
    crew.add([partial(crew.stop, LONG_S), end.set])
    crew.stop(LONG_S)
    assert not end.is_set()


def test_threads_that_have_nothing_to_do_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 0.0)
    rested = threading.Semaphore(0)
    both = threading.Barrier(2)
    crew = Crew(2)
    for _ in range(3):
        crew.add([partial(both.wait, LONG_S)] * 2, rested.release)
        for _ in range(2):
            assert rested.acquire(timeout=LONG_S)
    crew.stop(LONG_S)


def test_a_job_that_fails_is_told_and_the_next_one_done(caplog: pytest.LogCaptureFixture) -> None:
    end = threading.Event()
    crew = Crew(1)
    crew.add([partial(int, "no number"), end.set])
    assert end.wait(LONG_S)
    crew.stop(LONG_S)
    assert "internal error while measuring ahead: invalid literal" in caplog.text


def test_many_jobs_that_fail_alike_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    end = threading.Event()
    crew = Crew(1)
    crew.add([*[partial(int, "no number")] * 50, partial([].pop), *[partial(int, "another")] * 50, end.set])
    assert end.wait(LONG_S)
    crew.stop(LONG_S)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_without_threads_to_be_had_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    crew = Crew(2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        crew.add([pytest.fail])
    crew.stop(LONG_S)
