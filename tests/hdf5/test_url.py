# SPDX-License-Identifier: MIT
"""Names of datasets: silx's grammar, and an error where silx would lose something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import UrlError
from fastlegacy.hdf5.url import DataUrl, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.h5::/1.1/measurement/eiger", DataUrl("a.h5", "/1.1/measurement/eiger")),
        ("a.h5::1.1/eiger", DataUrl("a.h5", "/1.1/eiger")),
        ("a.h5?/1.1/measurement/eiger", DataUrl("a.h5", "/1.1/measurement/eiger")),
        ("/abs/a.h5::/e/", DataUrl("/abs/a.h5", "/e")),
        ("../b/a.h5::/e", DataUrl("../b/a.h5", "/e")),
        ("a.h5?path=/e", DataUrl("a.h5", "/e")),
        ("a.h5?path=/e&slice=3,:,0:5", DataUrl("a.h5", "/e", (3, slice(None), slice(0, 5)))),
        ("a.h5?slice=-1&path=/e", DataUrl("a.h5", "/e", (-1,))),
        ("a.h5::path=/e&slice=0:10:2,...", DataUrl("a.h5", "/e", (slice(0, 10, 2), ...))),
        ("a.h5?path=/e&slice=::2", DataUrl("a.h5", "/e", (slice(None, None, 2),))),
        ("a.h5?path=/e&slice=5:,:-3", DataUrl("a.h5", "/e", (slice(5, None), slice(None, -3)))),
        ("silx:///abs/a.h5?path=/e&slice=2", DataUrl("/abs/a.h5", "/e", (2,))),
        ("silx:///abs/a.h5::/e", DataUrl("/abs/a.h5", "/e")),
        ("silx:a.h5?/e", DataUrl("a.h5", "/e")),
        ("silx:./a.h5?/e", DataUrl("./a.h5", "/e")),
        ("a.h5::/e[3]", DataUrl("a.h5", "/e[3]")),
        ("a.h5::/x::y", DataUrl("a.h5", "/x::y")),
        ("a b.h5::/c d", DataUrl("a b.h5", "/c d")),
        ("a.h5::/a+b", DataUrl("a.h5", "/a b")),
        ("a.h5::/a%2Bb%20c", DataUrl("a.h5", "/a+b c")),
        ("a.h5?path=/%C3%85", DataUrl("a.h5", "/Å")),
        ("C:/data/a.h5::/e", DataUrl("C:/data/a.h5", "/e")),
        ("a.h5", DataUrl("a.h5")),
        ("silx:///abs/a.h5", DataUrl("/abs/a.h5")),
    ],
)
def test_what_is_understood(text, expected):
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "::/e",
        "?path=/e",
        "a.h5::",
        "a.h5::/",
        "a.h5?",
        "a.h5?path=",
        "a.h5?path=/",
        "a.h5?slice=3",
        "a.h5::/e&slice=::2",
        "a.h5?/e&slice=1",
        "a.h5?path=/e&slice=",
        "a.h5?path=/e&slice=a",
        "a.h5?path=/e&slice=1.5",
        "a.h5?path=/e&slice=1:2:3:4",
        "a.h5?path=/e&slice=1,,2",
        "a.h5?path=/e&slice=...,...",
        "a.h5?path=/e&slcie=3",
        "a.h5?path=/e&path=/f",
        "a.h5?path=/e&slice=1&slice=2",
        "a.h5::/e#part",
        "a.h5#part",
        "fabio:///a.edf?slice=2",
        "http://host/a.h5?path=/e",
        "silx://?path=/e",
    ],
)
def test_what_would_be_lost_is_an_error(text):
    with pytest.raises(UrlError):
        parse_url(text)


@pytest.mark.parametrize("name", ["a+b", "a%20b", "a&slice=3", "x=1", "c;d", "#1", "why?", "a::b", "Å", "%", " "])
def test_two_words_are_taken_as_they_are(name):
    assert parse_url("a.h5", name) == DataUrl("a.h5", "/" + name)
    assert parse_url("a?b::c.h5", name) == DataUrl("a?b::c.h5", "/" + name)
    with pytest.raises(UrlError, match="names no dataset"):
        parse_url("a.h5", "/")


@pytest.mark.parametrize("name", ["a::b.h5", "a?b.h5", "a#b.h5", "silx:a.h5"])
def test_an_existing_file_is_that_file(tmp_path, name):
    (tmp_path / name).touch()
    assert parse_url(tmp_path / name) == DataUrl(str(tmp_path / name))


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
tokens = st.integers(-99, 99) | st.builds(
    slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.none() | st.integers(1, 9)
)


@given(
    name=names.filter(lambda name: name.strip("/")), selection=st.none() | st.lists(tokens | st.just(...), min_size=1)
)
def test_what_is_printed_is_understood_again(name, selection):
    if selection is not None and selection.count(...) > 1:
        selection = [token for token in selection if token is not ...]
    url = DataUrl("/data/scan.h5", "/" + name.strip("/"), None if not selection else tuple(selection))
    assert parse_url(str(url)) == url


def test_usual_names_are_printed_as_they_are():
    assert str(DataUrl("/d/a.h5", "/1.1/measurement/eiger 2")) == "/d/a.h5::/1.1/measurement/eiger 2"
    assert str(DataUrl("/d/a.h5", "/e", (3, ..., slice(0, 5), slice(None)))) == "/d/a.h5?path=/e&slice=3,...,0:5,:"
    assert str(DataUrl("/d/a.h5")) == "/d/a.h5"
