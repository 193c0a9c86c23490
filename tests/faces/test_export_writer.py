# SPDX-License-Identifier: MIT
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from fastlegacy.faces.export_writer import _head_and_frame, segments
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.npy_stack import LAYOUT


@pytest.mark.parametrize("limit", [1, 7, 29, 30, 61, 128, 150, 158, 300, 10**6])
@pytest.mark.parametrize(("head", "frame"), [(128, 30), (0, 30), (3, 30), (0, 0)])
def test_segments_cover_the_file_and_keep_the_limit(limit: int, head: int, frame: int) -> None:
    size = 128 + 20 * 30
    cuts = list(segments(size, limit, head, frame))
    assert cuts[0][0] == 0
    assert cuts[-1][1] == size
    assert all(end == start for (_, end), (start, _) in pairwise(cuts))
    assert all(0 < end - start <= limit for start, end in cuts)


def test_cuts_are_between_frames_where_several_fit(pixel_stack: Callable[..., Any]) -> None:
    file = Tree(pixel_stack(shape=(20, 8, 8)), LAYOUT)["data.npy"]
    head, frame = _head_and_frame(file)
    assert (head, frame) == (128, 128)
    cuts = list(segments(file.size, 700, head, frame))
    assert len(cuts) > 2
    assert all((end - 128) % 128 == 0 for _, end in cuts)
