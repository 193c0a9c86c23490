# SPDX-License-Identifier: MIT
from types import SimpleNamespace
from typing import Any

import pytest

from fastlegacy.faces.cli.stack_text import describe


def info(**changes: Any) -> Any:
    values = {
        "shape": (100, 2162, 2068),
        "dtype": "<u4",
        "filters": ["bitshuffle+lz4"],
        "chunks": (1, 2162, 2068),
        "stored_bytes": 162_500_000,
        "nbytes": 1_788_406_400,
        "frames": 100,
        "frames_stored": 97,
    }
    return SimpleNamespace(**{**values, **changes})


def test_all_facts() -> None:
    assert describe(info()) == {
        "shape": "100 x 2162 x 2068",
        "dtype": "uint32",
        "filters": "bitshuffle+lz4",
        "chunks": "1 x 2162 x 2068",
        "stored": "162.5 MB of 1.8 GB (ratio 11.0)",
        "frames": "97 of 100",
    }


@pytest.mark.parametrize(
    ("changes", "label", "text"),
    [
        ({"dtype": ">u2"}, "dtype", "uint16 (big endian)"),
        ({"dtype": "uint8"}, "dtype", "uint8"),
        ({"filters": []}, "filters", "none"),
        ({"chunks": None}, "chunks", "none"),
        ({"stored_bytes": 0}, "stored", "0 B of 1.8 GB"),
        ({"frames_stored": 100}, "frames", "100"),
    ],
)
def test_what_may_be_missing(changes: dict[str, Any], label: str, text: str) -> None:
    assert describe(info(**changes))[label] == text
