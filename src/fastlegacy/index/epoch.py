# SPDX-License-Identifier: MIT
"""A number that grows whenever something of what is shown may have changed; C can read it without Python."""

from __future__ import annotations

import ctypes
import threading

__all__ = ["EPOCH", "Epoch"]


class Epoch:
    """The number, at an address that stays.

    Whoever changes what somebody may have been told before (trees, sizes, headers) lets it grow afterwards, and before
    anybody else is told of the change.
    """

    def __init__(self) -> None:
        self._number = ctypes.c_int64(1)
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        """The number at this moment."""
        return self._number.value

    @property
    def address(self) -> int:
        """Where C finds its 8 bytes; valid as long as this object is there."""
        return ctypes.addressof(self._number)

    def advance(self) -> None:
        """Let it grow."""
        with self._lock:
            self._number.value += 1


EPOCH = Epoch()
"""Of all trees of this process."""
