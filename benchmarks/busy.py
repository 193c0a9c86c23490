# SPDX-License-Identifier: MIT
"""A mount in a process of which another thread is busy with Python all the time.

python busy.py FILE::DATASET FOLDER
"""

from __future__ import annotations

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


def main() -> None:
    """Mount until ctrl-c."""
    threading.Thread(target=never_rest, daemon=True).start()
    mount(Tree(Stack(sys.argv[1]), LAYOUT), sys.argv[2])


if __name__ == "__main__":
    main()
