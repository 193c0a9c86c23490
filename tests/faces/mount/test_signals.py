# SPDX-License-Identifier: MIT
"""Signals that come at any moment of a mount's life: it ends in good order, or was never there."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastlegacy.faces.mount import covered, ending, mountinfo, session
from fastlegacy.faces.mount import signals as module
from fastlegacy.faces.mount.session import mount
from fastlegacy.faces.mount.signals import ENDING, Signals

RUNS = 50
SEED = 20_240_611


# ------------------------------------------------------------------------------------ without a mount


@pytest.fixture
def handlers() -> Iterator[Callable[..., Any]]:
    """Return a handler that must not be called, in place of that of SIGTERM; SIGHUP is ignored as under nohup."""

    def handler(*_: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGTERM, handler), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield handler
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGHUP, before[1])


def test_handlers_are_given_back(handlers: Callable[..., Any]) -> None:
    wakeup = signal.set_wakeup_fd(-1)
    with Signals():
        assert signal.getsignal(signal.SIGTERM) is not handlers
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "what nohup wants"
        os.kill(os.getpid(), signal.SIGINT)  # an impatient second ctrl-c
    assert signal.getsignal(signal.SIGTERM) is handlers
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(wakeup) == -1
    assert "fastlegacy-signals" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_what_is_to_be_ended(number: signal.Signals) -> None:
    ended = threading.Event()
    with Signals() as signals:
        with signals.ends(ended.set):
            assert not signals.wanted
            os.kill(os.getpid(), number)
            assert ended.wait(100)
        assert signals.wanted


def test_what_came_before_is_known() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        signals._wanted.wait(100)
        assert signals.wanted


def test_the_main_thread_is_interrupted_until_it_goes_on() -> None:
    reader, writer = os.pipe()
    interruptions = 0

    def interrupted(*_: object) -> None:
        nonlocal interruptions
        interruptions += 1
        if interruptions == 3:
            os.write(writer, b"x")

    with Signals() as signals, signals.ends(lambda: None):
        signal.signal(signal.SIGTERM, interrupted)
        os.kill(os.getpid(), signal.SIGTERM)
        assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)


def test_nobody_is_asked_to_end_when_he_has() -> None:
    calls: list[int] = []
    with Signals() as signals:
        with signals.ends(lambda: calls.append(1)):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
    assert calls == []


# ------------------------------------------------------------------------------------ with a mount


def start(work: Callable[[], object]) -> tuple[int, int]:
    """Do the work in a fork of this process; return its pid and a descriptor that tells when it begins."""
    begins, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        return pid, begins
    code = 1
    try:
        os.close(begins)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            os.write(tell, b"x")
            work()
            code = 0
        except KeyboardInterrupt:
            code = 130
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Return the exit code of a process, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def is_as_before(folder: Path) -> bool:
    if mountinfo.find(os.path.realpath(folder)):
        ending.remove_dead(os.path.realpath(folder))
        return False
    return os.listdir(folder.parent) == [folder.name] and os.listdir(folder) == ["kept.txt"]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sockets = tmp_path_factory.mktemp("run")
    sockets.chmod(0o700)
    monkeypatch.setenv("FASTLEGACY_RUN", str(sockets))
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    return folder


def interrupt() -> None:
    """Press ctrl-c; threads of libraries take signals, too."""
    os.kill(os.getpid(), signal.SIGINT)


def after(owner: Any, name: str) -> None:
    """Press ctrl-c whenever a function has returned."""
    original = getattr(owner, name)

    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        finally:
            interrupt()

    setattr(owner, name, called)


@pytest.mark.fuse
@pytest.mark.parametrize("step", [(covered, "_make_link"), (session, "_redirected"), (covered, "_remove_link")])
def test_a_signal_after_a_step(fuse: None, served: ModuleType, demo: Path, step: tuple[ModuleType, str]) -> None:
    def work() -> None:
        after(*step)
        mount(served.make_tree(), demo, on_ready=interrupt)

    pid, begins = start(work)
    assert ended(pid) == 0
    os.close(begins)
    assert is_as_before(demo)


@pytest.mark.fuse
@pytest.mark.parametrize("step", ["fuse_setup", "fuse_chan_bufsize", "fuse_teardown"])
def test_a_signal_after_a_step_of_libfuse(fuse: None, served: ModuleType, demo: Path, step: str) -> None:
    def work() -> None:
        original = module._Library.fuse_main_real

        def with_steps(self: Any, *args: Any) -> int:
            self._library = Interrupting(self._library, step)
            return original(self, *args)

        module._Library.fuse_main_real = with_steps  # type: ignore[method-assign]
        mount(served.make_tree(), demo, on_ready=None if step == "fuse_setup" else interrupt)

    pid, begins = start(work)
    assert ended(pid) == 0
    os.close(begins)
    assert is_as_before(demo)


class Interrupting:
    """A library in which ctrl-c is pressed when a function is about to return."""

    def __init__(self, library: Any, name: str) -> None:
        self._library = library
        self._name = name

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name)
        if name != self._name:
            return function

        class Called:
            def __call__(self, *args: Any) -> Any:
                try:
                    return function(*args)
                finally:
                    interrupt()

            def __setattr__(self, attribute: str, value: Any) -> None:
                setattr(function, attribute, value)

        return Called()


@pytest.mark.fuse
@pytest.mark.timeout(300)
def test_signals_at_any_moment(fuse: None, served: ModuleType, demo: Path) -> None:
    rng = random.Random(SEED)
    tree = served.make_tree()
    codes: dict[int, int] = {}
    for run in range(RUNS):
        ready, tell = os.pipe()
        pid, begins = start(lambda tell=tell: mount(tree, demo, on_ready=lambda: os.write(tell, b"x")))  # type: ignore[misc]
        os.close(tell)
        os.read(begins, 1)
        if run % 3 == 1:
            os.read(ready, 1)  # however slow the machine is, some are up
        # most of the start-up takes a few hundredths of a second; of some the end is interrupted once more
        threading.Event().wait(rng.uniform(0, 0.12))
        number = rng.choice((signal.SIGINT, signal.SIGTERM)) if run % 3 == 0 else signal.SIGINT
        for _ in range(rng.randint(1, 3)):
            os.kill(pid, number)
        code = ended(pid)
        codes[code] = codes.get(code, 0) + 1
        for fd in (begins, ready):
            os.close(fd)
        # Before anything is changed, SIGTERM ends a program as any other
        assert code in (0, 130, -signal.SIGTERM), f"run {run}"
        assert is_as_before(demo), f"run {run} left something behind, and ended with {code}"
    assert codes[0] > RUNS / 4


def test_who_answers_somebody_who_has_hung_up_at_the_end_lives(fuse: None, served: ModuleType, demo: Path) -> None:
    """Libfuse gives SIGPIPE back to the system when it ends: the clean-up comes after that."""
    after: list[str] = []
    before = module._Library.fuse_main_real

    def serve_and_answer(self: Any, *arguments: Any) -> int:
        result = before(self, *arguments)
        reader, writer = os.pipe()
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"an answer")
        after.append("lives")
        return result

    def work() -> None:
        module._Library.fuse_main_real = serve_and_answer  # type: ignore[method-assign]
        mount(served.make_tree(), demo, on_ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert after == ["lives"]

    pid, begins = start(work)
    assert ended(pid) == 0
    os.close(begins)
    assert is_as_before(demo)
