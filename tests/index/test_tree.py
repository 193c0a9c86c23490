# SPDX-License-Identifier: MIT
import gc
import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import md5
from typing import Any, ClassVar

import numpy as np
import pytest

from fastlegacy import _encode
from fastlegacy.errors import LayoutError, UrlError
from fastlegacy.index.tree import Live, Tree
from fastlegacy.index.view import View
from fastlegacy.model import CodedPixels, Geometry, Layout, Literal, Option, Padding, Piece, Pixels, StackFacts
from fastlegacy.pixels import Code, Coded, Form
from fastlegacy.registry import plugins


@dataclass
class Framed(Layout):
    """A layout with all kinds of pieces."""

    name: str = "framed"
    suffix: str = ".frm"
    per_frame: bool = True
    summary: str = "for tests"
    dtypes: tuple[str, ...] = ("u2",)
    grows: bool = False

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        frames = 1 if self.per_frame else facts.shape[0]
        head = b"h" * (index if self.grows else 3)
        return Literal(head), Pixels(index, frames, ">"), Padding(4, 0x2E), Literal(b"end")


class Squeezed(Layout):
    """An encoded layout: its files end with the digest of the body, and begin with the last frame."""

    name, suffix, summary, dtypes, encoded = "squeezed", ".sq", "for tests", ("u2",), True
    options: ClassVar = {
        "constant": Option(False, "one size for all files"),
        "level": Option(3, "how much", choices=(1, 3)),
    }

    def frame_of(self, facts: StackFacts, index: int) -> int:
        return facts.shape[0] - 1 - index

    def stem(self, facts: StackFacts, stem: str) -> str:
        return f"{stem}_{facts.geometry.run or 1}_"

    @property
    def digits(self) -> int:
        return 1

    def code(self, facts: StackFacts) -> Code:
        return Code("byte_offset", Form("<i4", facts.shape[1:], gap=-1), digest=True)

    def constant_size(self, facts: StackFacts) -> int | None:
        return 1000 if facts.options["constant"] else None

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        assert coded is not None
        rest = 1000 - coded.size - 16 if facts.options["constant"] else 0
        body = CodedPixels(self.frame_of(facts, index), self.code(facts), coded.size)
        return body, Padding(rest), Literal(coded.md5)


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


@pytest.mark.parametrize(
    ("format", "geometry", "fault"),
    [
        ("cbf", Geometry(distance_m=-1.0), "distance_mm cannot be -1000"),
        ("cbf", Geometry(start_deg=0.0, step_deg=1e12), "frame 3"),
        ("sfrm", Geometry(pixel_x_m=1e-4, pixel_y_m=2e-4), "not square"),
    ],
)
def test_what_does_not_fit_before_encoded_pixels_shows_as_early(
    pixel_stack: Callable[..., Any], format: str, geometry: Geometry, fault: str
) -> None:
    stack = pixel_stack(geometry=geometry)
    with pytest.raises(LayoutError, match=fault):
        Tree(stack, plugins("fastlegacy.layouts", "LAYOUT")[format])
    assert stack.prepared == []


@pytest.mark.parametrize("layout", [Framed(), Squeezed()])
def test_pixels_go_with_the_last_who_has_them_and_not_some_time_later(
    pixel_stack: Callable[..., Any], layout: Layout
) -> None:
    tree = Tree(pixel_stack(), layout)
    next(iter(tree.values())).read()
    view = weakref.ref(tree.view)
    gc.disable()
    del tree
    assert view() is None
    gc.enable()


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


def test_files_of_an_encoded_layout_have_their_own_sizes(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack(shape=(3, 9, 11))
    tree = Tree(stack, Squeezed())
    assert list(tree) == ["data_1_1.sq", "data_1_2.sq", "data_1_3.sq"]
    assert tree.is_encoded
    assert tree.file_size is None
    for index, file in enumerate(tree.values()):
        body = _encode.byte_offset_encode(stack.pixels[2 - index].astype("<i4"))
        assert tree.size_of(file.name) == file.size == len(body) + 16
        assert file.read() == body + md5(body).digest()
        assert file.pieces[-1] == Literal(md5(body).digest())


def test_a_constant_size_is_known_without_any_pixel(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack(shape=(3, 9, 11))
    tree = Tree(stack, Squeezed(), options={"constant": True})
    assert tree.file_size == tree.size_of("data_1_1.sq") == 1000
    assert stack.prepared == []
    assert len(tree["data_1_1.sq"].read()) == 1000


def test_the_number_of_a_run_is_the_layouts_affair(pixel_stack: Callable[..., Any]) -> None:
    assert next(iter(Tree(pixel_stack(geometry=Geometry(run=7)), Squeezed(), stem="s"))) == "s_7_1.sq"


@pytest.mark.parametrize("options", [{"colour": True}, {"constant": 1}, {"level": 2}, {"level": "3"}])
def test_an_option_that_the_layout_does_not_have_is_refused(
    pixel_stack: Callable[..., Any], options: dict[str, Any]
) -> None:
    with pytest.raises(UrlError, match=r"squeezed"):
        Tree(pixel_stack(), Squeezed(), options=options)


def test_small_files_stand_beside_those_of_the_frames(pixel_stack: Callable[..., Any]) -> None:
    tree = Tree(pixel_stack(), Framed())
    tree.add({"XDS.INP": b"JOB= ALL\n", "empty": b""})
    assert list(tree)[-2:] == ["XDS.INP", "empty"]
    assert len(tree) == len(list(tree)) == 6
    assert "XDS.INP" in tree
    assert tree.size_of("XDS.INP") == tree["XDS.INP"].size == 9
    assert tree["XDS.INP"].read() == b"JOB= ALL\n"
    assert tree["empty"].read() == b""
    assert [tree[name].index for name in tree] == list(range(6))


@pytest.mark.parametrize("name", ["data0001.frm", "a/b", "", "a\0"])
def test_a_small_file_cannot_have_every_name(pixel_stack: Callable[..., Any], name: str) -> None:
    with pytest.raises(LayoutError, match="cannot be the name"):
        Tree(pixel_stack(), Framed()).add({name: b""})


# ------------------------------------------------------------------------------------------------- names of other kinds


def test_what_comes_after_the_number(pixel_stack: Callable[..., Any]) -> None:
    tree = Tree(pixel_stack(), Framed(), stem="x", ending="_dark.img")
    assert list(tree) == [f"x000{i}_dark.img" for i in (1, 2, 3, 4)]
    assert "x0001.frm" not in tree
    assert next(iter(Tree(pixel_stack(), Framed(), digits=7))) == "data0000001.frm"


def test_exact_names_are_those_that_were_asked_for(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack(geometry=Geometry(run=7))
    assert next(iter(Tree(stack, Squeezed(), stem="s", exact=True))) == "s1.sq"
    assert next(iter(Tree(stack, Squeezed(), stem="s", exact=True, digits=4, ending=".bruker"))) == "s0001.bruker"


@pytest.mark.parametrize("layout", [Framed(), Squeezed()])
def test_backwards_the_first_frame_is_in_the_last_file(pixel_stack: Callable[..., Any], layout: Layout) -> None:
    stack = pixel_stack()
    forwards, backwards = (Tree(stack, layout, reverse=reverse) for reverse in (False, True))
    assert sorted(forwards) == sorted(backwards)
    names = sorted(forwards)
    for name, opposite in zip(names, names[::-1], strict=True):
        assert backwards[opposite].read() == forwards[name].read()
        assert backwards.size_of(opposite) == forwards.size_of(name)


# ------------------------------------------------------------------------------------------------- headers that change


def test_no_file_is_older_than_its_header(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack()
    older, newer = stack.facts.mtime_ns - 1, stack.facts.mtime_ns + 1
    for changed, expected in ((older, stack.facts.mtime_ns), (newer, newer)):
        tree = Tree(stack, Framed(), changed_ns=changed)
        tree.add({"small": b"x"})
        assert tree.mtime_ns == expected
        assert {file.mtime_ns for file in tree.values()} == {expected}
        assert [tree.mtime_ns_of(index) for index in range(5)] == [expected] * 5


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frames that were measured."""
    frames: list[int] = []
    measure = View.measure

    def noted(self: View, frame: int, code: Code) -> tuple[int, ...]:
        frames.append(frame)
        return measure(self, frame, code)

    monkeypatch.setattr(View, "measure", noted)
    return frames


def test_a_tree_with_other_headers_measures_nothing_again(pixel_stack: Callable[..., Any], measured: list[int]) -> None:
    stack = pixel_stack(shape=(3, 9, 11))
    first = Tree(stack, Squeezed())
    sizes = [first.size_of(name) for name in first]
    assert sorted(measured) == [0, 1, 2]
    other = pixel_stack(shape=(3, 9, 11))
    other.core, other.facts = stack.core, replace(stack.facts, geometry=Geometry(distance_m=0.2, run=5))
    second = Tree(first.view.of(other), Squeezed(), like=first)
    assert [second.size_of(name) for name in second] == sizes
    assert second.facts.geometry.distance_m == 0.2
    assert [file.read() for file in second.values()] == [file.read() for file in first.values()]
    assert sorted(measured) == [0, 1, 2]
    first.close()
    assert [second.size_of(name) for name in second] == sizes


def live(frames: list[bool], *, finished: bool = False) -> Live:
    return Live(np.array(frames), np.arange(len(frames), dtype=np.int64) + 10**18 * 2, finished)


def test_of_a_scan_that_is_being_written_there_are_the_frames_that_were(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack()
    tree = Tree(stack, Framed(), live=live([True, False, True, False]))
    assert list(tree) == ["data0001.frm", "data0003.frm"]
    assert len(tree) == 2
    assert "data0002.frm" not in tree
    for look_up in (tree.__getitem__, tree.size_of, tree.index_of):
        with pytest.raises(KeyError):
            look_up("data0002.frm")
    tree.add({"small": b"x"})
    assert (len(tree), list(tree)[-1], tree["small"].read()) == (3, "small", b"x")
    assert tree["data0003.frm"].read() == Tree(stack, Framed())["data0003.frm"].read()


def test_a_frame_has_the_time_when_it_was_seen(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack()
    seen = live([True] * 4)
    tree = Tree(stack, Framed(), live=seen)
    assert [file.mtime_ns for file in tree.values()] == seen.times_ns.tolist()
    later = 10**19
    assert {file.mtime_ns for file in Tree(stack, Framed(), live=seen, changed_ns=later).values()} == {later}


@pytest.mark.parametrize(
    ("layout", "options"),
    [(Framed(per_frame=False), {}), (Squeezed(), {}), (Framed(), {"reverse": True})],
    ids=["one file for all", "the last frame first", "backwards"],
)
def test_files_that_change_with_each_frame_are_there_at_the_end(
    pixel_stack: Callable[..., Any], layout: Layout, options: dict[str, Any]
) -> None:
    stack = pixel_stack()
    growing = Tree(stack, layout, live=live([True, True, False, False]), **options)
    assert (list(growing), len(growing)) == ([], 0)
    whole = Tree(stack, layout, **options)
    finished = Tree(stack, layout, live=live([True] * 4, finished=True), **options)
    assert list(finished) == list(whole)
    assert [file.read() for file in finished.values()] == [file.read() for file in whole.values()]


def test_what_was_measured_of_a_growing_scan_is_kept(pixel_stack: Callable[..., Any], measured: list[int]) -> None:
    from fastlegacy.layouts.cbf import LAYOUT

    stack = pixel_stack(shape=(4, 9, 11))
    before = Tree(stack, LAYOUT, live=live([True, True, False, False]))
    sizes = [before.size_of(name) for name in before]
    before._sizes.get(2)  # ahead of a listing, of a frame that is not there yet
    before.close()
    assert set(measured) >= {0, 1, 2}
    measured.clear()
    longer = pixel_stack(shape=(5, 9, 11))
    after = Tree(longer, LAYOUT, live=live([True] * 5), like=before)
    assert [after.size_of(name) for name in list(after)[:2]] == sizes
    assert not {0, 1} & set(measured)  # the third may be measured ahead by now
    assert after.size_of("data0003.cbf") == len(after["data0003.cbf"].read())
    assert 2 in measured
    after.close()
