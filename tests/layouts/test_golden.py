# SPDX-License-Identifier: MIT
"""Files kept in ``tests/golden``: what a layout writes today, it writes tomorrow.

They hold two frames of 3 x 5 pixels that count up. A change that is wanted is made by writing the new bytes there,
together with the line that ``sha256sum`` has for them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlegacy.index.tree import Tree
from fastlegacy.model import Geometry
from fastlegacy.registry import plugins

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.glob("*/*") if path.name != "SHA256SUMS")
GEOMETRY = Geometry(-90.0, 0.25, 0.1, 0.2854, 0.15, 2.0, 1.0, 75e-6, 75e-6, 3)
CODES = ("u1", "<u2", ">u2", "<u4", "<i4", ">f4")


def bytes_of(pixel_stack: Callable[..., Any], name: str, code: str) -> bytes:
    """Return the last file of a layout for pixels 0, 1, 2, ..."""
    pixels = np.arange(30).reshape(2, 3, 5).astype(code)
    stack = type(pixel_stack())(pixels, GEOMETRY, 1_600_000_000_000_000_000)
    return list(Tree(stack, plugins("fastlegacy.layouts", "LAYOUT")[name]).values())[-1].read()


def code_of(path: str) -> str:
    """Return the dtype that a file's name tells: ``u2-big.tif`` holds >u2."""
    code, _, order = Path(path).stem.partition("-")
    return (">" if order == "big" else "<" if code != "u1" else "") + code


def test_there_are_files_of_each_layout_and_type() -> None:
    for name in ("edf-stack", "raw", "tiff"):
        assert {code_of(path) for path in FILES if path.startswith(f"{name}/")} == set(CODES)


@pytest.mark.parametrize("path", FILES)
def test_the_bytes_are_those_of_the_golden_file(pixel_stack: Callable[..., Any], path: str) -> None:
    assert bytes_of(pixel_stack, path.split("/")[0], code_of(path)) == (GOLDEN / path).read_bytes()


def test_the_list_of_sums_is_that_of_the_files() -> None:
    sums = {path: hashlib.sha256((GOLDEN / path).read_bytes()).hexdigest() for path in FILES}
    listed = (line.split("  ") for line in (GOLDEN / "SHA256SUMS").read_text().splitlines())
    assert {path: digest for digest, path in listed} == sums
