# SPDX-License-Identifier: MIT
"""The state machine of `test_state_machine.py` finds faults: mounts that have one are told from a plain folder."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky, HypothesisWarning
from hypothesis.stateful import run_state_machine_as_test

pytestmark = pytest.mark.fuse

_PROGRAM = Path(__file__).with_name("faulty.py")
FAULTS = re.findall(r"^@fault\ndef (\w+)", _PROGRAM.read_text(encoding="utf-8"), re.MULTILINE)
QUICKLY_FOUND = (
    "names_are_listed_twice",
    "renaming_removes_first",
    "what_is_written_is_kept_in_memory",
)

# A failure is not made small: that it is found is enough, and it ends the search. In 8 searches each, those that are
# quickly found took 2 to 56 mounts.
SOME = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    stateful_step_count=50,
    max_examples=150,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    database=None,
    derandomize=True,
)


def run_with(fault: str, machine: type[Any], serve: Callable[..., Any], how: settings = SOME) -> None:
    """Run the machine on mounts with a fault."""

    def start(folder: Path) -> Any:
        return serve(folder, program=_PROGRAM, environment={"FASTLEGACY_FAULT": fault})

    machine.start = staticmethod(start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        run_state_machine_as_test(machine, settings=how)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", QUICKLY_FOUND)
def test_a_fault_is_found(fault: str, machine: type[Any], serve: Callable[..., Any]) -> None:
    with pytest.raises((AssertionError, Flaky)):
        run_with(fault, machine, serve)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - set(QUICKLY_FOUND)))
def test_any_fault_is_found(fault: str, machine: type[Any], serve: Callable[..., Any]) -> None:
    with pytest.raises((AssertionError, Flaky)):
        run_with(fault, machine, serve, settings(SOME, derandomize=False))
