# SPDX-License-Identifier: MIT
"""Another process looks into files: where HDF5 crashes or hangs, the file is told as one that cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastlegacy.index import crawl
from fastlegacy.index.crawl import DEADLY, Record, helper, look_into_all
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames


def test_an_answer(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.h5", counting_frames(2, (20, 30), "u2"))
    with helper() as ask:
        assert ask
        record = ask(str(tmp_path / "a.h5"))
        assert record
        assert len(record.stacks) == 1


@pytest.mark.parametrize("does", ["read line; kill -SEGV $$", "read line; read never"])
def test_a_process_that_dies_or_hangs(tmp_path: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(crawl, "_START_S", 0.2)  # so long Python itself may need to begin
    with helper(0.3) as ask:
        assert ask
        assert ask("/a.h5") is None


@pytest.mark.parametrize("does", ["read line; exit 3", "read line; kill -KILL $$", "read line; echo nonsense"])
def test_what_was_ended_by_others_says_nothing_of_the_file(
    tmp_path: Path, does: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stack(tmp_path / "a.h5", counting_frames(2, (20, 30), "u2"))
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with helper(5) as ask:
        assert ask
        record = ask(str(tmp_path / "a.h5"))
        assert record
        assert len(record.stacks) == 1


def test_without_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    with helper() as ask:
        assert ask is None


def test_the_others_are_looked_into_by_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write_stack(tmp_path / f"{name}.h5", counting_frames(2, (20, 30), "u2"))
    program = tmp_path / "program"
    program.write_text(
        "import sys, json\n"
        "from fastlegacy.index.crawl import look_into\n"
        "for line in sys.stdin:\n"
        "    if 'b.h5' in line:\n"
        "        import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    print(json.dumps(look_into(json.loads(line)).to_json()), flush=True)\n"
    )
    start = tmp_path / "start"
    start.write_text(f"#!/bin/sh\nexec {sys.executable} {program}\n")
    start.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(start))
    files = [str(tmp_path / f"{name}.h5") for name in "abc"]
    records = {record.file: record for record in look_into_all(files, helpers=2)}
    assert [len(records[file].stacks) for file in files] == [1, 0, 1]
    assert DEADLY in records[files[1]].error
    assert records[files[1]].sources


def test_an_infinite_number_is_a_damaged_record() -> None:
    with pytest.raises(ValueError, match="infinite"):
        Record.from_json({"file": "a", "sources": [["a", 1, float("inf"), 2]], "stacks": [], "error": ""})
