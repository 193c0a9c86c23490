# SPDX-License-Identifier: MIT
"""Work that is shared out among threads: items in, each handed to one thread, the first error out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["cores", "share"]

Item = TypeVar("Item")


def cores() -> int:
    """Return how many cores this process may use."""
    # only Linux knows that some of them may not be for this process
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(work: Callable[[Item], None], items: Iterable[Item], threads: int) -> None:
    """Call ``work`` for each item on several threads, of which the caller's is one.

    Each thread takes the next item when it is done with one: that costs a few microseconds, where a pool with a future
    for each item costs tens of them.

    Parameters
    ----------
    work : callable
    items : iterable
        In the order in which they are begun.
    threads : int

    Raises
    ------
    BaseException
        The first error of ``work``. Items that were not begun then are left out.
    """
    waiting = iter(items)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def run() -> None:
        while not errors:
            try:
                with lock:
                    item = next(waiting)
            except StopIteration:
                return
            try:
                work(item)
            except BaseException as error:
                errors.append(error)

    others = [threading.Thread(target=run, daemon=True) for _ in range(threads - 1)]
    for other in others:
        other.start()
    run()
    for other in others:
        other.join()
    if errors:
        raise errors[0]
