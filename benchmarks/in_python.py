# SPDX-License-Identifier: MIT
"""A mount whose names and attributes are told by Python, as it was before C told them.

python in_python.py FILE::DATASET FOLDER
"""

from __future__ import annotations

import sys
from typing import Any

from fastlegacy.faces.mount.operations import Operations
from fastlegacy.faces.mount.session import mount
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.edf import LAYOUT


def main() -> None:
    """Mount until ctrl-c."""
    begin = Operations.__init__

    def begin_without(self: Operations, *words: Any, **more: Any) -> None:
        begin(self, *words, **more | {"names": None})

    Operations.__init__ = begin_without  # type: ignore[method-assign]
    mount(Tree(Stack(sys.argv[1]), LAYOUT), sys.argv[2])


if __name__ == "__main__":
    main()
