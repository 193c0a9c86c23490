# SPDX-License-Identifier: MIT
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.hdf5.blocks import Block
from fastlegacy.index import crawl
from fastlegacy.index.crawl import Record, Stored, look_into, look_into_all
from fastlegacy.index.store import NOT_THERE, signature_of, sources_of
from fastlegacy.sources.find import Found
from fastlegacy.testing.bliss import bliss_dataset, bliss_scan
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.lambda_ import lambda_scan
from fastlegacy.testing.lima import lima2_file, lima_file
from fastlegacy.testing.nxmx import filewriter2_series, nxmx_scan
from fastlegacy.testing.virtual import external_chain, virtual_modules, virtual_printf, virtual_series

FRAMES = np.random.default_rng(5).poisson(3, (6, 12, 16)).astype("<u2")
TWO_THRESHOLDS = np.stack([FRAMES, FRAMES // 2], axis=1)


def file_of(url: str) -> str:
    return url.partition("::")[0].partition("?")[0]


# builder -> (what is written, source, (scan, detector) of each stack, blocks of each, other files that pixels are in)
CONVENTIONS: dict[str, tuple[Callable[[Path], str], str, list[tuple[str, str]], int, int]] = {
    "bliss scan": (lambda to: bliss_scan(to, FRAMES), "bliss", [("1.1", "eiger")], 0, 2),
    "bliss dataset": (
        lambda to: bliss_dataset(to, {"1.1": FRAMES, "2.1": FRAMES}, moved={"rot": range(6)}),
        "bliss",
        [("1.1", "eiger"), ("2.1", "eiger")],
        0,
        3,
    ),
    "bliss with thresholds": (
        lambda to: bliss_dataset(to, {"1.1": TWO_THRESHOLDS}),
        "bliss",
        [("1.1", "eiger_threshold_1"), ("1.1", "eiger_threshold_2")],
        0,
        3,
    ),
    "LImA": (lambda to: lima_file(to / "eiger_0000.h5", FRAMES), "lima", [("", "eiger")], 0, 0),
    "LImA2": (
        lambda to: lima2_file(to / "eiger_0000.h5", TWO_THRESHOLDS),
        "lima",
        [("", "eiger_threshold_1"), ("", "eiger_threshold_2")],
        0,
        0,
    ),
    "filewriter 1": (lambda to: dectris_series(to, FRAMES, blocks=(4, 2)), "dectris", [("", "eiger2")], 2, 2),
    "filewriter 2": (
        lambda to: filewriter2_series(to, TWO_THRESHOLDS),
        "nxmx",
        [("", "threshold_1"), ("", "threshold_2")],
        0,
        2,
    ),
    "NXmx": (lambda to: nxmx_scan(to, FRAMES), "nxmx", [("", "")], 0, 2),
    "Lambda": (lambda to: lambda_scan(to, FRAMES), "lambda", [("", "lambda")], 0, 3),
    "plain": (lambda to: write_stack(to / "plain.h5", FRAMES), "dataset", [("", "")], 0, 0),
    "virtual": (lambda to: virtual_series(to, FRAMES), "bliss", [("1.1", "detector")], 0, 3),
    "virtual, numbered": (lambda to: virtual_printf(to, FRAMES), "bliss", [("1.1", "detector")], 0, 3),
    "virtual, modules": (lambda to: virtual_modules(to, FRAMES), "bliss", [("1.1", "detector")], 0, 4),
}


@pytest.fixture(params=CONVENTIONS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, list[tuple[str, str]], int, int]:
    """A file of each convention, and what is expected of it."""
    write, *expected = CONVENTIONS[request.param]
    return (file_of(write(tmp_path)), *expected)


def test_a_record_tells_what_is_in_a_file_of_each_convention(
    written: tuple[str, str, list[tuple[str, str]], int, int],
) -> None:
    file, source, stacks, blocks, feeds = written
    record = look_into(file)
    assert (record.file, record.error) == (file, "")
    assert [(stored.source, stored.found.scan, stored.found.detector) for stored in record.stacks] == [
        (source, *stack) for stack in stacks
    ]
    assert file in [path for path, *_ in record.sources]
    for stored in record.stacks:
        assert stored.claim.source.name == source
        assert len(stored.found.blocks) == blocks
        assert len(stored.feeds) == feeds
        assert all(os.path.isfile(feed) and feed != file for feed in stored.feeds)
        for place in stored.places:
            where, _, path = place.rpartition("::")
            with h5py.File(where) as h5:
                assert isinstance(h5[path], h5py.Dataset)


def test_a_record_is_the_same_after_its_way_through_json(
    written: tuple[str, str, list[tuple[str, str]], int, int],
) -> None:
    record = look_into(written[0])
    assert Record.from_json(record.to_json()) == record
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


NUMBERS = st.none() | st.integers(-5, 10**9)
ITEMS = st.one_of(st.integers(-3, 10**9), st.builds(slice, NUMBERS, NUMBERS, NUMBERS), st.just(...))
TEXTS = st.text(max_size=6) | st.just("/data/\udcff.h5")
RECORDS = st.builds(
    Record,
    TEXTS,
    st.lists(st.tuples(TEXTS, *[st.integers(-1, 2**63)] * 3), max_size=3).map(tuple),
    st.lists(
        st.builds(
            Stored,
            st.builds(
                Found,
                TEXTS,
                TEXTS,
                TEXTS,
                TEXTS,
                st.lists(st.builds(Block, TEXTS, st.none() | st.integers(0, 10**9)), max_size=3).map(tuple),
                st.none() | st.lists(ITEMS, max_size=4).map(tuple),
            ),
            TEXTS,
            st.lists(TEXTS, max_size=2).map(tuple),
            st.lists(TEXTS, max_size=2).map(tuple),
            st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    TEXTS,
)


@given(RECORDS)
def test_any_record_is_the_same_after_its_way_through_json(record: Record) -> None:
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        "text",
        {"file": "a", "sources": 3, "stacks": [], "error": ""},
        {"file": "a", "sources": [["a", 1, 2]], "stacks": [], "error": ""},
        {"file": "a", "sources": [["a", 1, 2, "x"]], "stacks": [], "error": ""},
        {"file": "a", "sources": [], "stacks": [{}], "error": ""},
        {"file": "a", "sources": [], "stacks": [None], "error": ""},
    ],
)
def test_what_is_no_record_is_refused(plain: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Record.from_json(plain)


@pytest.mark.parametrize("damage", ["text", "empty", "cut short", "nothing there", "a folder"])
def test_a_file_that_cannot_be_read_is_a_record_with_an_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "scan.h5"
    if damage == "text":
        path.write_text("not HDF5 at all " * 100)
    elif damage == "empty":
        path.touch()
    elif damage == "cut short":
        write_stack(path, FRAMES)
        path.write_bytes(path.read_bytes()[:700])
    elif damage == "a folder":
        path.mkdir()
    record = look_into(str(path))
    assert record.stacks == ()
    assert "scan.h5" in record.error
    assert record.sources == ((str(path), *signature_of(str(path))),)
    assert Record.from_json(record.to_json()) == record


def test_a_file_without_images_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    with h5py.File(path, "w") as file:
        file["temperatures"] = np.arange(5.0)
    record = look_into(str(path))
    assert (record.stacks, record.error) == ((), "")


def test_links_that_lead_to_missing_files_are_among_the_sources(tmp_path: Path) -> None:
    url = dectris_series(tmp_path, FRAMES, blocks=(3, 3), missing=(1,))
    record = look_into(file_of(url))
    known = {os.path.basename(path): tuple(rest) for path, *rest in record.sources}
    absent = [name for name, signature in known.items() if signature == NOT_THERE]
    assert len(absent) == 1
    assert "data_000002" in absent[0]
    # and so it is known when it comes
    write_stack(tmp_path / absent[0], FRAMES[3:], "/entry/data/data")
    now = {source[0]: source for source in sources_of([path for path, *_ in record.sources])}
    changed = [path for path, *rest in record.sources if now[path] != (path, *rest)]
    assert [os.path.basename(path) for path in changed] == absent


def test_a_missing_file_of_a_chain_is_among_the_sources(tmp_path: Path) -> None:
    url = external_chain(tmp_path, FRAMES, links=2, missing=True)
    record = look_into(file_of(url))
    assert [tuple(rest) for _, *rest in record.sources].count(NOT_THERE) >= 1


def test_what_a_file_was_before_it_was_looked_into_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of(write_stack(tmp_path / "a.h5", FRAMES))
    before = signature_of(file)
    found = crawl.claims

    def claims(*args: Any, **options: Any) -> Any:
        claimed = found(*args, **options)
        os.utime(file, ns=(1, 1))
        return claimed

    monkeypatch.setattr(crawl, "claims", claims)
    assert look_into(file).sources == ((file, *before),)


# ------------------------------------------------------------------------------------------------- many files


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    """A dozen files of several conventions, one of which is damaged."""
    files = [file_of(write(tmp_path / str(i))) for i, (write, *_) in enumerate(made(tmp_path))]
    damaged = tmp_path / "damaged.h5"
    damaged.write_text("no")
    return [*files, str(damaged)]


def made(folder: Path) -> list[tuple[Any, ...]]:
    for i in range(len(CONVENTIONS)):
        (folder / str(i)).mkdir()
    return list(CONVENTIONS.values())


def by_file(records: Any) -> dict[str, Record]:
    listed = list(records)
    found = {record.file: record for record in listed}
    assert len(found) == len(listed)
    return found


def test_other_processes_give_the_same_records(many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {file: look_into(file) for file in many}
    monkeypatch.setattr(crawl, "look_into", lambda file: pytest.fail(f"{file} was looked into here"))
    assert by_file(look_into_all(many, helpers=2)) == expected


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_it_is_told_how_many_are_done(many: list[str], helpers: int) -> None:
    told: list[tuple[int, int]] = []
    assert len(by_file(look_into_all(many, lambda *count: told.append(count), helpers))) == len(many)
    assert told == [(i, len(many)) for i in range(1, len(many) + 1)]


def test_a_few_files_need_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("another process"))
    files = [file_of(write_stack(tmp_path / f"{i}.h5", FRAMES)) for i in range(3)]
    assert list(by_file(look_into_all(files))) == files
    assert list(look_into_all([])) == []


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """All processes that are started."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*args: Any, **options: Any) -> Any:
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    return started


@pytest.fixture
def no_pretty_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread raises is an error of the test in any case."""
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)


@pytest.mark.usefixtures("no_pretty_traces")
def test_where_another_process_dies_the_rest_is_looked_into_here(
    many: list[str], processes: list[subprocess.Popen[bytes]]
) -> None:
    records = look_into_all(many, helpers=2)
    found = [next(records)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found += records
    assert by_file(found) == {file: look_into(file) for file in many}


def test_where_another_process_dies_while_it_is_asked_nothing_is_lost(
    many: list[str], processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with crawl.helper(60) as ask:
        assert ask is not None
        monkeypatch.setattr(processes[0], "poll", lambda: None)  # it lived a moment ago
        processes[0].kill()
        processes[0].wait()
        assert ask(many[0]) == look_into(many[0])


@pytest.mark.parametrize("command", ["import sys; sys.exit(3)", "print('nonsense', flush=True); input()"])
def test_where_another_process_does_not_answer_nothing_is_lost(
    many: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda words, **options: start([sys.executable, "-c", command], **options))
    assert by_file(look_into_all(many, helpers=2)) == {file: look_into(file) for file in many}


def test_where_no_other_process_can_be_started_nothing_is_lost(
    many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def popen(*args: Any, **options: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert by_file(look_into_all(many, helpers=3)) == {file: look_into(file) for file in many}


def test_who_stops_early_leaves_no_process(many: list[str], processes: list[subprocess.Popen[bytes]]) -> None:
    records = look_into_all(many, helpers=2)
    next(records)
    records.close()  # type: ignore[attr-defined]
    assert processes
    assert None not in [process.returncode for process in processes]


def test_an_error_of_one_thread_ends_the_others(many: list[str], processes: list[subprocess.Popen[bytes]]) -> None:
    def told(done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(look_into_all(many, told, helpers=2))
    assert processes
    assert None not in [process.returncode for process in processes]


@contextmanager
def serving() -> Any:
    command = [sys.executable, "-m", "fastlegacy.index.crawl"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        command, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, **pipes
    ) as it:
        yield it


def test_ctrl_c_at_the_terminal_is_the_affair_of_who_asks(tmp_path: Path) -> None:
    file = file_of(write_stack(tmp_path / "a.h5", FRAMES))
    with serving() as other:
        print(json.dumps(file), file=other.stdin, flush=True)
        assert Record.from_json(json.loads(other.stdout.readline())) == look_into(file)
        other.send_signal(signal.SIGINT)
        print(json.dumps(file), file=other.stdin, flush=True)
        assert Record.from_json(json.loads(other.stdout.readline())) == look_into(file)
        rest, errors = other.communicate()
    assert (other.returncode, rest, errors) == (0, "", "")


def test_a_name_that_is_no_text_comes_through(tmp_path: Path) -> None:
    file = os.fsdecode(os.fsencode(tmp_path) + b"/scan_\xff.h5")
    write_stack(tmp_path / "a.h5", FRAMES)
    os.rename(tmp_path / "a.h5", file)
    with serving() as other:
        out, _ = other.communicate(json.dumps(file) + "\n")
    record = Record.from_json(json.loads(out))
    assert record == look_into(file)
    assert len(record.stacks) == 1
