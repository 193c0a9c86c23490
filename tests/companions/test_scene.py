# SPDX-License-Identifier: MIT
"""Names and numbers of the frames as companions see them."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("stem", "base"),
    [("data", "data"), ("scan_0001_", "scan_0001"), ("a-b.", "a-b"), ("lyso__", "lyso"), ("_", "data"), ("_x", "_x")],
)
def test_the_base_of_the_names_has_no_separator_at_its_end(make_scene: Make, stem: str, base: str) -> None:
    assert make_scene(stem=stem).base == base


@pytest.mark.parametrize(
    ("first", "count", "digits", "template"),
    [
        (1, 5, 4, "lyso_1_????.cbf"),
        (1, 9, 1, "lyso_1_?.cbf"),
        (1, 10, 1, None),
        (10, 90, 1, "lyso_1_??.cbf"),
        (1, 9999, 4, "lyso_1_????.cbf"),
        (1, 10000, 4, None),
        (10000, 10, 4, "lyso_1_?????.cbf"),
        (0, 1, 6, "lyso_1_??????.cbf"),
        (7, 0, 1, "lyso_1_?.cbf"),
    ],
)
def test_a_template_stands_for_all_files_or_for_none(
    make_scene: Make, first: int, count: int, digits: int, template: str | None
) -> None:
    scene = make_scene(first=first, count=count, digits=digits)
    assert scene.template("?") == template


def test_the_last_number_is_that_of_the_last_file(make_scene: Make) -> None:
    assert make_scene(first=3, count=5).last == 7
