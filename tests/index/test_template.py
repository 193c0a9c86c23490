# SPDX-License-Identifier: MIT
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import UrlError
from fastlegacy.index.folder import Folder
from fastlegacy.index.names import Names
from fastlegacy.index.template import FIELDS, Place, Template, safe_name

VALUES = {"file": "sample/sample_0001", "scan": "1.1", "detector": "eiger", "format": "edf", "stem": "sample_0001"}


def names_of(place: Place, count: int, suffix: str = ".edf") -> Names:
    """The names as a tree makes them of a place."""
    ending = place.after if place.has_suffix else place.after + suffix
    return Names(place.before, ending, count, digits=4 if place.digits is None else place.digits)


@pytest.mark.parametrize(
    ("text", "folder", "before", "digits", "after", "has_suffix"),
    [
        ("img_####", (), "img_", 4, "", False),
        ("img_#", (), "img_", 1, "", False),
        ("img_######.edf", (), "img_", 6, ".edf", True),
        ("img_{index:04d}", (), "img_", 4, "", False),
        ("img_{index:04}", (), "img_", 4, "", False),
        ("img_{index:4d}", (), "img_", 4, "", False),
        ("img_{index:12d}.cbf", (), "img_", 12, ".cbf", True),
        ("img_{index}", (), "img_", 1, "", False),
        ("img_{index:d}", (), "img_", 1, "", False),
        ("img_####_dark", (), "img_", 4, "_dark", False),
        ("img.001.####", (), "img.001.", 4, "", False),
        ("img_", (), "img_", None, "", False),
        ("  img_## ", (), "img_", 2, "", False),
        ("{stem}", (), "sample_0001", None, "", False),
        ("{scan}/{detector}/img_####", ("1.1", "eiger"), "img_", 4, "", False),
        ("{detector}_{scan}_####.{format}", (), "eiger_1.1_", 4, ".edf", True),
        ("a/b c/{stem}_####", ("a", "b c"), "sample_0001_", 4, "", False),
        ("{file}/####", ("sample", "sample_0001"), "", 4, "", False),
        ("{file}_####", (), "sample_sample_0001_", 4, "", False),
        ("x{file}y/####", ("xsample", "sample_0001y"), "", 4, "", False),
        ("img_####_{scan}", (), "img_", 4, "_1.1", False),
        ("/{scan}//x####", ("1.1",), "x", 4, "", False),
    ],
)
def test_forms_of_a_template(
    text: str, folder: tuple[str, ...], before: str, digits: int | None, after: str, has_suffix: bool
) -> None:
    assert Template(text).place(VALUES) == Place(folder, before, after, digits, has_suffix)


def test_hashes_and_pythons_words_are_the_same() -> None:
    a, b = (Template(text).place(VALUES) for text in ("{scan}/x_#####", "{scan}/x_{index:05d}"))
    assert a == b
    assert names_of(a, 3).name(2) == "x_00003.edf"
    unpadded = names_of(Template("x_{index}").place(VALUES), 12)
    assert [unpadded.name(0), unpadded.name(11)] == ["x_1.edf", "x_12.edf"]


def test_folders_of_which_nothing_is_left_are_left_out() -> None:
    template = Template("{file}/{scan}/{detector}/{format}/{stem}_")
    assert template.place({"file": "a", "format": "cbf", "stem": "a"}).folder == ("a", "cbf")
    assert template.place({}) == Place((), "_")


def test_it_knows_whether_formats_have_names_of_their_own() -> None:
    assert Template("{format}/####").names_formats
    assert not Template("{scan}/####").names_formats


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("", "names no files", "img_####"),
        ("   ", "names no files", "img_####"),
        ("{scan}/", "ends with a slash", "img_####"),
        ("../img_####", r"has '\.\.'", "below"),
        ("a/./img_####", r"has '\.'", "below"),
        ("##_##", "two numbers", "once"),
        ("#_{index}", "two numbers", "once"),
        ("run_####/img", "number in a folder's name", "file's name"),
        ("{index:04d}/img_####", "number in a folder's name", "file's name"),
        ("{sample}_####", r"'\{sample\}', which is no field", "{detector}"),
        ("{Scan}_####", r"'\{Scan\}', which is no field", "{scan}"),
        ("{}_####", r"'\{\}', which is no field", "####"),
        ("{scan:3}_####", r"'\{scan:3\}', which is no field", "{scan}"),
        ("img_{index", r"'\{', which is no field", "####"),
        ("img}_####", r"'\}', which is no field", "####"),
        ("{{scan}}_####", r"'\{', which is no field", "{scan}"),
        ("img_{index:x}", r"has \{index:x\}", "{index:04d}"),
        ("img_{index:0d}", r"has \{index:0d\}", "{index:04d}"),
        ("img_{index:21d}", r"has \{index:21d\}", "1 to 20"),
        ("img_{index:-4d}", r"has \{index:-4d\}", "{index:04d}"),
        ("img_{index!r}", r"'\{index!r\}', which is no field", "####"),
    ],
)
def test_what_is_no_template_is_refused_with_what_to_write(text: str, says: str, hint: str) -> None:
    with pytest.raises(UrlError, match=says) as caught:
        Template(text)
    assert hint in str(caught.value)


def test_too_many_digits_are_refused_where_they_are_written() -> None:
    with pytest.raises(UrlError, match="20"):
        Template("#" * 21)


PIECES = st.lists(
    st.one_of(
        st.sampled_from([*(f"{{{field}}}" for field in FIELDS), "/", "_", ".", "..", "-"]),
        st.text(st.characters(exclude_characters="#{}", exclude_categories=["Cs"]), max_size=4),
    ),
    max_size=8,
).map("".join)
WORDS = st.text(st.sampled_from("ab1._/\\\0\n é"), max_size=8)


@given(
    before=PIECES,
    number=st.sampled_from(["", "#", "####", "{index}", "{index:03d}"]),
    after=st.sampled_from(["", ".edf", "_x", ".a.b"]),
    values=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, WORDS)),
)
def test_no_name_leads_out_of_its_folder(before: str, number: str, after: str, values: dict[str, str]) -> None:
    try:
        template = Template(before + number + after)
    except UrlError:
        return
    place = template.place(values)
    for name in (*place.folder, place.before + place.after):
        assert "/" not in name
        assert "\0" not in name
    assert not {"", ".", ".."} & set(place.folder)
    root = Folder()
    for name in reversed(place.folder):
        root = Folder({name: root})
    assert root.folder("/".join(place.folder)) is not None


@given(
    scan=st.text(st.sampled_from("ab1._/\\\0\n -"), max_size=8),
    number=st.sampled_from(["#", "####", "{index}", "{index:09d}", ""]),
    after=st.sampled_from(["", ".edf", "_x", "_1", ".7"]),
    count=st.integers(1, 10**7),
    data=st.data(),
)
def test_the_index_of_a_name_of_a_place(scan: str, number: str, after: str, count: int, data: st.DataObject) -> None:
    place = Template(f"{{scan}}/x{{scan}}_{number}{after}").place({"scan": scan})
    names = names_of(place, count)
    index = data.draw(st.integers(0, count - 1))
    name = names.name(index)
    assert names.index(name) == index
    assert re.search(r"[/\0\\]", name) is None


@pytest.mark.parametrize("name", [".", "..", "a/b", "a\\b", "a\0b", "a\nb", "x" * 300, "é" * 200, "", "plain", "1.1"])
def test_a_safe_name_is_one_that_a_folder_takes(name: str) -> None:
    safe = safe_name(name)
    assert safe == safe_name(safe)
    if safe:
        assert list(Folder({safe: Folder()}).children) == [safe]
    assert not re.search(r"[/\\\0\n]", safe)
    assert safe == name or name not in ("plain", "1.1")
