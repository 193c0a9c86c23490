# SPDX-License-Identifier: MIT
"""A mount in a process of which another thread keeps Python busy all the time.

python busy.py FILE::DATASET FOLDER [--hold]

It computes, which takes a core too; with ``--hold`` it holds the GIL for 5 ms at a time and computes nothing, as a
library does that waits for a disk.
"""

from __future__ import annotations

import ctypes
import sys
import threading

from fastlegacy.faces.mount.session import mount
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.edf import LAYOUT


def never_rest() -> None:
    """Keep Python busy."""
    number = 0
    while True:
        number += 1


def hold() -> None:
    """Keep the GIL, and do nothing."""
    functions = ctypes.PyDLL(None)  # they are called with the GIL held
    while True:
        functions.usleep(5_000)


def main() -> None:
    """Mount until ctrl-c."""
    threading.Thread(target=hold if "--hold" in sys.argv else never_rest, daemon=True).start()
    mount(Tree(Stack(sys.argv[1]), LAYOUT), sys.argv[2])


if __name__ == "__main__":
    main()
