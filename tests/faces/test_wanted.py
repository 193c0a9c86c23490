# SPDX-License-Identifier: MIT
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import UrlError
from fastlegacy.faces.wanted import ALL, Wanted, frames_of_range, frames_of_text
from fastlegacy.sources.find import Found


def found(scan: str = "", detector: str = "") -> Found:
    return Found("/x", "because", scan, detector)


@pytest.mark.parametrize(
    ("wanted", "yes", "no"),
    [
        (ALL, [("1.1", "eiger"), ("", "")], []),
        (Wanted(scans=("1.1",)), [("1.1", "eiger")], [("11.1", "eiger"), ("", "eiger"), ("1.10", "")]),
        (Wanted(scans=("2.*", "5.1")), [("2.1", ""), ("2.12", ""), ("5.1", "")], [("12.1", ""), ("5.2", "")]),
        (Wanted(scans=("[12].1",)), [("1.1", ""), ("2.1", "")], [("3.1", "")]),
        (Wanted(detectors=("frelon*",)), [("1.1", "frelon3")], [("1.1", "eiger"), ("1.1", "")]),
        (Wanted(detectors=("Eiger",)), [], [("1.1", "eiger")]),
        (Wanted(("1.1",), ("eiger",)), [("1.1", "eiger")], [("1.1", "frelon"), ("2.1", "eiger")]),
        (
            Wanted(thresholds=(2,)),
            [("", "threshold_2"), ("1.1", "eiger_threshold_2"), ("1.1", "eiger"), ("", "")],
            [("", "threshold_1"), ("1.1", "eiger_threshold_12"), ("1.1", "my_threshold_1")],
        ),
    ],
)
def test_which_stacks_are_wanted(wanted: Wanted, yes: list[tuple[str, str]], no: list[tuple[str, str]]) -> None:
    assert [names for names in (*yes, *no) if wanted.has(found(*names))] == yes


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (None, (slice(0, 10, 2),)),
        ((slice(None),), (slice(0, 10, 2),)),
        ((slice(None), 1), (slice(0, 10, 2), 1)),
        ((slice(None), 0, ...), (slice(0, 10, 2), 0, ...)),
    ],
)
def test_frames_are_selected_beside_what_belongs_to_the_stack(of: Any, expected: Any) -> None:
    assert Wanted(frames=slice(0, 10, 2)).selection(of) == expected
    assert ALL.selection(of) == of


@pytest.mark.parametrize("of", [(3,), (...,), (slice(0, 5),), (slice(None, None, 2), 1)])
def test_frames_cannot_be_selected_twice(of: Any) -> None:
    with pytest.raises(UrlError, match="twice"):
        Wanted(frames=slice(0, 10)).selection(of)
    assert ALL.selection(of) == of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:100:2", slice(0, 100, 2)),
        ("5:", slice(5, None)),
        (":5", slice(None, 5)),
        ("::3", slice(None, None, 3)),
        (":", slice(None)),
        ("-10:", slice(-10, None)),
        (" 1 : 2 ", slice(1, 2)),
        ("7", slice(7, 8)),
        ("0", slice(0, 1)),
        ("-1", slice(-1, None)),
        ("-2", slice(-2, -1)),
    ],
)
def test_frames_as_python_has_them(text: str, expected: slice) -> None:
    assert frames_of_text(text) == expected


@pytest.mark.parametrize("text", ["", " ", "a", "1,5", "0:10:0", "10:0:-1", "::-1", "1:2:3:4", "1.5:2", "0x10", "1:b"])
def test_other_words_are_no_frames(text: str) -> None:
    with pytest.raises(UrlError, match=r"--frames: .* is not understood; write START:STOP"):
        frames_of_text(text)


@given(st.integers(-20, 20))
def test_a_number_alone_is_that_frame(number: int) -> None:
    frames = list(range(20))
    assert frames[frames_of_text(str(number))] == ([frames[number]] if -20 <= number < 20 else [])


@given(first=st.integers(0, 5), begin=st.integers(0, 30), length=st.integers(1, 30), comma=st.sampled_from(",:-"))
def test_numbers_of_files_are_their_frames(first: int, begin: int, length: int, comma: str) -> None:
    numbers = list(range(first, first + 70))
    low = first + begin
    frames, number = frames_of_range(f"{low}{comma}{low + length - 1}", first)
    assert (numbers[frames], number) == (list(range(low, low + length)), low)


@pytest.mark.parametrize("text", ["", "5", "1,", ",5", "5,1", "0,5", "1,2,3", "a,b", "-1,5"])
def test_other_words_are_no_numbers_of_files(text: str) -> None:
    with pytest.raises(UrlError, match=r"--image-range: .* is not understood; write FIRST,LAST"):
        frames_of_range(text, 1)
