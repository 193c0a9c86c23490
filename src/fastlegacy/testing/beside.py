# SPDX-License-Identifier: MIT
"""What test modules share: modules beside them that are no tests, and the errno that a call fails with."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

__all__ = ["errno_of", "module_at"]


def module_at(path: Path) -> ModuleType:
    """Load a file as a module: tests are imported in a way that lets none import its neighbour."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module", path=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def errno_of(work: Callable[[], object]) -> int:
    """The errno that this fails with, 0 if it does not."""
    try:
        work()
    except OSError as error:
        return error.errno or 0
    return 0
