# SPDX-License-Identifier: MIT
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import UrlError
from fastlegacy.index.names import Names, folded, spelled_like


def test_numbers_are_padded_and_grow_when_they_must() -> None:
    names = Names("data", ".edf", 20000)
    assert [names.name(i) for i in (0, 9998, 9999)] == ["data0001.edf", "data9999.edf", "data10000.edf"]
    assert len(names) == len(list(names)) == len(set(names)) == 20000


@pytest.mark.parametrize(
    "name",
    [
        "data001.edf",
        "data00001.edf",
        "data1.edf",
        "data+001.edf",
        "data-001.edf",
        "data 001.edf",
        "data0_01.edf",
        "data\u0660\u0660\u0660\u0661.edf",
        "data000\u00b9.edf",
        "data0001.EDF",
        "Data0001.edf",
        "data0001.edf ",
        "data0001.edf\n",
        "data0001",
        "0001.edf",
        "data.edf",
        "data0000.edf",
        "data0101.edf",
        "data" + "9" * 5000 + ".edf",
        "",
    ],
)
def test_there_is_one_name_for_each_file(name: str) -> None:
    assert Names("data", ".edf", 100).index(name) is None


@given(
    stem=st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
    count=st.integers(1, 10**9),
    first=st.integers(0, 10**9),
    digits=st.integers(1, 20),
    reverse=st.booleans(),
    data=st.data(),
)
def test_name_and_index_are_inverse(
    stem: str, count: int, first: int, digits: int, reverse: bool, data: st.DataObject
) -> None:
    names = Names(stem, ".edf", count, first, digits, reverse=reverse)
    index = data.draw(st.integers(0, count - 1))
    assert names.index(names.name(index)) == index
    assert (
        Names(stem, ".edf", count, first, digits).index(Names(stem, ".edf", count + 1, first, digits).name(count))
        is None
    )


@given(count=st.integers(1, 20000), first=st.integers(0, 20000), digits=st.integers(1, 6))
def test_backwards_the_same_names_are_there_in_the_other_order(count: int, first: int, digits: int) -> None:
    forwards, backwards = (Names("data", ".edf", count, first, digits, reverse=reverse) for reverse in (False, True))
    assert list(backwards) == list(forwards)[::-1]
    outside = [Names("data", ".edf", 1, number, digits).name(0) for number in (first + count, max(first - 1, 0))]
    assert [backwards.index(name) for name in outside] == [forwards.index(outside[0]), None if first else count - 1]


def test_backwards_frame_0_has_the_last_number() -> None:
    names = Names("data", ".edf", 3, reverse=True)
    assert list(names) == ["data0003.edf", "data0002.edf", "data0001.edf"]
    assert [names.index(f"data000{number}.edf") for number in (0, 1, 2, 3, 4)] == [None, 2, 1, 0, None]
    assert list(Names("data", ".npy", 1, numbered=False, reverse=True)) == ["data.npy"]
    assert list(Names("data", ".edf", 0, reverse=True)) == []


@given(st.text(alphabet="data0123456789.ef+ ", max_size=14))
def test_what_is_understood_is_canonical(name: str) -> None:
    names = Names("data", ".edf", 12345)
    index = names.index(name)
    assert index is None or names.name(index) == name


def test_a_stem_that_ends_with_digits() -> None:
    names = Names("run2_1", ".edf", 3)
    assert list(names) == ["run2_10001.edf", "run2_10002.edf", "run2_10003.edf"]
    assert names.index("run2_10002.edf") == 1


def test_a_single_file_has_no_number() -> None:
    names = Names("data", ".npy", 1, numbered=False)
    assert list(names) == ["data.npy"]
    assert names.index("data.npy") == 0
    assert names.index("data0001.npy") is None
    assert Names("data", ".npy", 0, numbered=False).index("data.npy") is None


def test_a_number_alone_is_a_name() -> None:
    names = Names("", ".edf", 3)
    assert list(names) == ["0001.edf", "0002.edf", "0003.edf"]
    assert [names.index(name) for name in ("0002.edf", ".edf", "02.edf")] == [1, None, None]
    with pytest.raises(UrlError, match="no stem"):
        Names("", ".npy", 1, numbered=False)


@pytest.mark.parametrize("stem", ["a/b", "a\\b", "a\0b", "x" * 300, "\u00e9" * 130])
def test_stems_that_no_file_system_takes(stem: str) -> None:
    with pytest.raises(UrlError):
        Names(stem, ".edf", 10)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_longest_name_is_looked_at_whatever_end_it_is_at(reverse: bool) -> None:
    stem = "x" * (255 - len("9999.edf"))
    assert len(Names(stem, ".edf", 9999, reverse=reverse).name(0)) == 255
    with pytest.raises(UrlError, match="too long"):
        Names(stem, ".edf", 10000, reverse=reverse)


@pytest.mark.parametrize(("first", "digits"), [(-1, 4), (1, 0), (1, 21)])
def test_numbers_that_make_no_sense(first: int, digits: int) -> None:
    with pytest.raises(UrlError, match="cannot be numbered"):
        Names("data", ".edf", 10, first, digits)


def test_memory_does_not_grow_with_the_number_of_files() -> None:
    few, many = Names("data", ".edf", 10), Names("data", ".edf", 10**9)
    assert sys.getsizeof(few) == sys.getsizeof(many)
    assert many.index("data1000000000.edf") == 10**9 - 1


@given(
    stem=st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
    count=st.integers(1, 20_000),
    reverse=st.booleans(),
    data=st.data(),
)
def test_a_name_is_found_in_any_case(stem: str, count: int, reverse: bool, data: st.DataObject) -> None:
    names = Names(stem, ".edf", count, reverse=reverse)
    name = names.name(data.draw(st.integers(0, count - 1)))
    turned = data.draw(st.tuples(*(st.sampled_from(sorted({char, *_cases(char)})) for char in name)).map("".join))
    assert names.spelled(turned) == name
    assert names.spelled(turned + "x") is None
    assert names.spelled(names.name(0).replace(".edf", f"{count}.EDF")) in (None, *names)


def _cases(char: str) -> set[str]:
    """What differs from a letter in case only: the other one of a pair."""
    upper, lower = char.upper(), char.lower()
    return {upper, lower} if upper.lower() == lower and lower.upper() == upper and len(upper + lower) == 2 else set()


@given(st.text(), st.text())
def test_folding_keeps_the_length_and_is_done_once(one: str, other: str) -> None:
    assert len(folded(one)) == len(one)
    assert folded(folded(one)) == folded(one)
    assert folded(one + other) == folded(one) + folded(other)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Data.EDF", "dATA.edf", True),
        ("ÄÖß", "äöß", True),
        ("ß", "SS", False),
        ("\u0131", "I", False),
        ("\u212a", "K", False),
    ],
)
def test_only_pairs_of_letters_are_alike(one: str, other: str, alike: bool) -> None:
    assert (folded(one) == folded(other)) is alike


def test_of_several_names_the_exact_one_or_the_first_by_bytes_is_meant() -> None:
    assert spelled_like("aB", ["AB", "aB", "ab"]) == "aB"
    assert spelled_like("Ab", ["ab", "aB", "AB"]) == "AB"
    assert spelled_like("Ab", []) is None
