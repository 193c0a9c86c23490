# SPDX-License-Identifier: MIT
"""What was found by fuzzing is tried again: the same targets, with gcc's sanitizers, on the inputs in ``corpus``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from fastlegacy.testing.beside import module_at

HERE = Path(__file__).parent
TARGETS = sorted(path.stem for path in HERE.glob("*.c") if path.stem != "replay")


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The module ``run.py`` beside this file."""
    return module_at(HERE / "run.py")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_was_found_before_is_there_again(
    tmp_path: Path, fuzz: ModuleType, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)  # that of a sanitized Python: the compiler does without
    inputs = fuzz.unpack(target, tmp_path / "inputs")
    assert len(inputs) > 20
    program = tmp_path / "program"
    fuzz.build(target, program, "gcc", HERE / "replay.c", "-Wno-psabi")
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    done = subprocess.run([program, *inputs], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("\n") == len(inputs)
