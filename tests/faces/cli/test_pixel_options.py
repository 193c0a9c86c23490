# SPDX-License-Identifier: MIT
"""What becomes of pixels, from words to the arguments of ``fastlegacy.tree``."""

import inspect
import math

import pytest

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.main import _joined_negatives, build_parser, main
from fastlegacy.faces.cli.pixel_options import pixels
from fastlegacy.faces.library import tree


def parsed(*options: str) -> dict[str, object]:
    return pixels(build_parser().parse_args(_joined_negatives(["mount", "a.h5", "folder", *options])))


def test_nothing_said_is_what_the_library_does_by_itself() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(tree).parameters.items()}
    assert parsed().items() <= defaults.items()


def test_all_options_are_arguments_of_the_library() -> None:
    words = "--mask m.edf --mask-value -1 --saturate keep --dtype int32 --binning 2 --transpose --flip-ud --flip-lr"
    assert parsed(*words.split(), "--rotation", "270") == {
        "mask": "m.edf",
        "mask_value": -1,
        "saturate": "keep",
        "dtype": "i4",
        "binning": 2,
        "transpose": True,
        "flip_ud": True,
        "flip_lr": True,
        "rotation_deg": 270,
    }


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-2", -2), ("1.5", 1.5), ("1e3", 1000.0), ("+7", 7)])
def test_mask_values_are_numbers(text: str, value: float) -> None:
    found = parsed("--mask-value", text)["mask_value"]
    assert found == value
    assert type(found) is type(value)


def test_a_mask_value_may_be_no_number() -> None:
    found = parsed("--mask-value", "nan")["mask_value"]
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    "options",
    [
        ["--mask-value", "many"],
        ["--mask-value", "inf"],
        ["--dtype", "int"],
        ["--dtype", "f2"],
        ["--binning", "0"],
        ["--binning", "-2"],
        ["--binning", "two"],
        ["--rotation", "45"],
        ["--saturate", "wrap"],
    ],
)
def test_values_that_are_not_understood(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mount", "nothing.h5", "folder", *options]) == 2
    assert options[1] in capsys.readouterr().err


def test_the_error_of_a_type_lists_the_types() -> None:
    with pytest.raises(UrlError, match=r"'i3'; give one of u1, .*float64"):
        parsed("--dtype", "i3")
