# SPDX-License-Identifier: MIT
"""Formats, options and pixels as users say them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastlegacy.errors import LayoutError, UrlError
from fastlegacy.faces.choices import layouts_of, option_value, options_of, pixel_code, pixel_policy
from fastlegacy.model import Layout, Option
from fastlegacy.pixels import PixelPolicy


def layout(name: str, **options: Option) -> Layout:
    made = Layout()
    made.name, made.options = name, options
    return made


BOTH = {
    "a": layout("a", md5=Option(False, ""), level=Option(3, "", (1, 3, 9))),
    "b": layout("b", md5=Option(True, ""), scale=Option(1.0, ""), word=Option("x", "")),
}


def test_formats_in_the_order_in_which_they_are_named() -> None:
    assert list(layouts_of("npy")) == ["npy"]
    assert list(layouts_of("npy, edf,npy")) == ["npy", "edf"]
    assert list(layouts_of(["tiff", "edf"])) == ["tiff", "edf"]
    for nothing in ("", [], "edf,", ["edf", "papyrus"]):
        with pytest.raises(LayoutError, match=r"there is no format .*; there are .*edf"):
            layouts_of(nothing)


def test_a_bare_name_goes_to_each_format_that_has_it() -> None:
    assert options_of(BOTH, {}) == {"a": {}, "b": {}}
    assert options_of(BOTH, {"md5": "yes"}) == {"a": {"md5": True}, "b": {"md5": True}}
    assert options_of(BOTH, {"scale": 2}) == {"a": {}, "b": {"scale": 2.0}}


@pytest.mark.parametrize("given", [{"b:md5": False, "md5": True}, {"md5": True, "b:md5": False}])
def test_what_is_said_of_one_format_counts_more(given: dict[str, bool]) -> None:
    assert options_of(BOTH, given) == {"a": {"md5": True}, "b": {"md5": False}}


def test_an_option_that_nobody_has() -> None:
    for name in ("x", "a:scale", "c:md5", ":md5x"):
        with pytest.raises(UrlError, match=rf"no option '{name}' of a, b; there are a:md5, a:level, b:md5, b:scale"):
            options_of(BOTH, {name: 1})
    with pytest.raises(UrlError, match="no option 'x' of a; there are md5, level"):
        options_of({"a": BOTH["a"]}, {"x": 1})
    with pytest.raises(UrlError, match="it has none"):
        options_of({"e": layout("e")}, {"x": 1})


@pytest.mark.parametrize(
    ("default", "given", "value"),
    [
        *[(False, word, True) for word in ("yes", "True", "on", "1", True)],
        *[(True, word, False) for word in ("no", "false", "OFF", "0", False)],
        *[(1, word, 40) for word in ("40", " 40 ", 40)],
        *[(1.5, word, 2.0) for word in ("2", "2.0", 2, 2.0, "2e0")],
        ("x", "40", "40"),
    ],
)
def test_values_get_the_type_of_the_default(default: Any, given: object, value: object) -> None:
    found = option_value("o", Option(default, ""), given)
    assert found == value
    assert type(found) is type(default)


@pytest.mark.parametrize(
    ("default", "given", "says"),
    [
        (False, "2", "yes or no"),
        (False, 1, "yes or no"),
        (1, "1.5", "a whole number"),
        (1, True, "a whole number"),
        (1, 2.0, "a whole number"),
        (1.5, "nan", "a number"),
        (1.5, "much", "a number"),
        (1.5, True, "a number"),
        ("x", 3, "a text"),
    ],
)
def test_values_of_another_type(default: Any, given: object, says: str) -> None:
    with pytest.raises(UrlError, match=f"is no value of the option 'o'; give {says}"):
        option_value("o", Option(default, ""), given)


def test_values_that_are_no_choice() -> None:
    assert option_value("level", BOTH["a"].options["level"], "9") == 9
    with pytest.raises(UrlError, match="'2' is no value of the option 'level'; give 1 or 3 or 9"):
        option_value("level", BOTH["a"].options["level"], "2")


@pytest.mark.parametrize("dtype", ["i4", "<i4", ">i4", "int32", " Int32 ", np.int32, np.dtype(">i4"), "=i4"])
def test_types_of_pixels(dtype: object) -> None:
    assert pixel_code(dtype) == "i4"


@pytest.mark.parametrize("dtype", ["int", "f2", "float16", "i3", "", "c8", "bool", np.float16, bool])
def test_types_that_pixels_cannot_have(dtype: object) -> None:
    with pytest.raises(UrlError, match="pixels cannot be of type"):
        pixel_code(dtype)


def test_a_policy() -> None:
    assert pixel_policy() == PixelPolicy()
    assert pixel_policy(-1, "error", np.uint8) == PixelPolicy(-1, "error", "u1")
    with pytest.raises(UrlError, match="give one of clip, keep, error"):
        pixel_policy(saturate="wrap")
