# SPDX-License-Identifier: MIT
"""Random operations on a mount and on a plain folder: results, errnos and trees are the same.

In CI this takes about a minute; ``./run test --long`` goes on for an hour. What the machine does is in `union_machine`;
`test_the_machine_itself.py` shows that it finds faults.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

pytestmark = pytest.mark.fuse

SOME = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    stateful_step_count=50,
    max_examples=12,
    report_multiple_bugs=False,
    phases=[Phase.generate],
)


@pytest.mark.timeout(900)
def test_a_mount_is_as_a_plain_folder(machine: type[Any]) -> None:
    run_state_machine_as_test(machine, settings=SOME)


@pytest.mark.long
@pytest.mark.timeout(5000)
def test_a_mount_is_as_a_plain_folder_for_an_hour(machine: type[Any]) -> None:
    end = time.monotonic() + 3600
    while time.monotonic() < end:
        run_state_machine_as_test(machine, settings=settings(SOME, max_examples=50, stateful_step_count=80))
