# SPDX-License-Identifier: MIT
"""What the tests of the kernels share."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from fastlegacy.testing.beside import module_at


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The twins of the kernels."""
    return module_at(Path(__file__).with_name("reference.py"))
