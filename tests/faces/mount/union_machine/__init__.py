# SPDX-License-Identifier: MIT
"""A state machine of hypothesis that does random things to a mount and to a plain folder, and compares the two.

The plain folder has the real files only; what virtual files do to an operation is said by the rules, from the promises
of ``docs/semantics.md``.
"""

from __future__ import annotations

from union_machine.base import CannotStart
from union_machine.files import Files
from union_machine.names import Names
from union_machine.world import World

__all__ = ["CannotStart", "MountAndFolder"]


class MountAndFolder(Files, Names, World):
    """All rules; ``start``, ``served`` and ``room`` are set for each run by the test."""
