# SPDX-License-Identifier: MIT
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fastlegacy.errors import LayoutError
from fastlegacy.index.tree import Tree
from fastlegacy.model import Geometry, Literal, Padding, Piece, Pixels, StackFacts


@dataclass
class Framed:
    """A layout with all kinds of pieces."""

    name: str = "framed"
    suffix: str = ".frm"
    per_frame: bool = True
    summary: str = "for tests"
    dtypes: tuple[str, ...] = ("u2",)
    grows: bool = False

    def pieces(self, facts: StackFacts, frame: int) -> tuple[Piece, ...]:
        frames = 1 if self.per_frame else facts.shape[0]
        head = b"h" * (frame if self.grows else 3)
        return Literal(head), Pixels(frame, frames, ">"), Padding(4, 0x2E), Literal(b"end")


def test_a_tree_is_a_mapping_of_names(pixel_stack: Callable[..., Any]) -> None:
    tree = Tree(pixel_stack(), Framed(), stem="t_", first=0)
    assert list(tree) == list(tree.names()) == list(tree.keys()) == [f"t_000{i}.frm" for i in range(4)]
    assert len(tree) == 4
    assert "t_0003.frm" in tree
    assert "t_0004.frm" not in tree
    assert 3 not in tree
    assert [file.name for file in tree.values()] == list(tree)
    assert tree.get("nothing") is None


def test_what_is_not_there_is_a_key_error(pixel_stack: Callable[..., Any]) -> None:
    tree = Tree(pixel_stack(), Framed())
    for look_up in (tree.__getitem__, tree.size_of, tree.index_of):
        with pytest.raises(KeyError, match=r"data0009\.frm"):
            look_up("data0009.frm")


def test_a_file_is_its_pieces(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack(dtype="<u2")
    file = Tree(stack, Framed())["data0002.frm"]
    expected = b"hhh" + stack.pixels[1].byteswap().tobytes() + b"....end"
    assert file.read() == expected
    assert file.size == len(expected) == Tree(stack, Framed()).size_of("data0002.frm")
    assert file.mtime_ns == stack.facts.mtime_ns
    assert file.read(1, 4) == expected[1:5]
    assert file.read(len(expected)) == file.read(10**6, 5) == file.read(0, 0) == b""
    with pytest.raises(ValueError, match="negative"):
        file.read(-1)


def test_only_the_frames_of_a_file_are_prepared(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack()
    tree = Tree(stack, Framed())
    assert tree.size_of("data0003.frm")
    assert stack.prepared == []
    file = tree["data0003.frm"]
    assert file.read(0, 2) + file.read(2, 1) == b"hhh"
    assert stack.prepared == [(2, 2)]
    Tree(stack, Framed(per_frame=False))["data.frm"].open()
    assert stack.prepared == [(2, 2), (0, 3)]


def test_a_layout_whose_files_differ_in_size_is_refused(pixel_stack: Callable[..., Any]) -> None:
    with pytest.raises(LayoutError, match="different sizes"):
        Tree(pixel_stack(), Framed(grows=True))


def test_what_does_not_fit_shows_when_the_tree_is_made(pixel_stack: Callable[..., Any]) -> None:
    from fastlegacy.layouts.edf import LAYOUT

    with pytest.raises(LayoutError, match="frame 3"):
        Tree(pixel_stack(geometry=Geometry(start_deg=0.0, step_deg=1e12)), LAYOUT)


def test_a_million_files_take_no_memory(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack()
    stack.facts = replace(stack.facts, shape=(10**6, 3, 5), leading_shape=(10**6,))
    tracemalloc.start()
    tree = Tree(stack, Framed())
    for _ in tree:
        pass
    assert all(f"data{i:04d}.frm" in tree for i in range(1, 5000))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert len(tree) == 10**6
