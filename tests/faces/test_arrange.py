# SPDX-License-Identifier: MIT
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import UrlError
from fastlegacy.faces.arrange import Places, folder_of, places_of_many, places_of_one
from fastlegacy.faces.stand import Subject
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.index.folder import Folder, Slot
from fastlegacy.index.names import Names
from fastlegacy.index.template import Place, Template
from fastlegacy.model import Layout
from fastlegacy.registry import plugins
from fastlegacy.sources.find import Claim, Found, source_named

LAYOUTS: dict[str, Layout] = plugins("fastlegacy.layouts", "LAYOUT")


def layouts(*names: str) -> dict[str, Layout]:
    return {name: LAYOUTS[name] for name in names}


def subject(name: str, scan: str = "", detector: str = "", dataset: str = "/data") -> Subject:
    claim = Claim(source_named("dataset"), Found(dataset, "", scan, detector))
    return Subject(DataUrl(f"/data/{name}.h5", dataset), name, claim)


def files_of(places: Mapping[str, Place], known: Mapping[str, Layout], count: int = 12) -> set[str]:
    """Paths of the files of a stack."""
    paths = []
    for format, place in places.items():
        layout = known[format]
        stem = place.before
        if not layout.per_frame and not place.after:
            stem = stem.rstrip("_-. ") or stem
        ending = place.after if place.has_suffix else place.after + layout.suffix
        names = Names(
            stem, ending, count if layout.per_frame else 1, digits=place.digits or 4, numbered=layout.per_frame
        )
        paths += ["/".join((*place.folder, name)) for name in names]
    assert len(set(paths)) == len(paths)
    return set(paths)


def first_files(found: list[Places], known: Mapping[str, Layout]) -> list[str]:
    return [min(files_of(places, known)) for places in found]


# ------------------------------------------------------------------------------------------------- one stack


@pytest.mark.parametrize(
    ("formats", "template", "stem", "expected"),
    [
        (["edf"], None, None, ["data0001.edf"]),
        (["edf"], None, "s_", ["s_0001.edf"]),
        (["edf", "cbf"], None, None, ["cbf/data0001.cbf", "edf/data0001.edf"]),
        (["edf", "cbf"], "{stem}_####", None, ["data_0001.cbf", "data_0001.edf"]),
        (["edf"], "{file}/{scan}/{detector}/{format}/{stem}_##", "x", ["sample/1.1/eiger/edf/x_01.edf"]),
        (["npy-stack"], "{scan}/all_####", None, ["1.1/all.npy"]),
        (["edf"], "{scan}_####.img", None, ["1.1_0001.img"]),
    ],
)
def test_one_stack_is_in_the_root(
    formats: list[str], template: str | None, stem: str | None, expected: list[str]
) -> None:
    known = layouts(*formats)
    chosen = None if template is None else Template(template)
    places = places_of_one(subject("sample", "1.1", "eiger"), known, chosen, stem)
    found = files_of(places, known)
    assert set(expected) <= found
    assert len({path.rpartition("/")[0] for path in found}) == len({path.rpartition("/")[0] for path in expected})


def test_formats_of_one_stack_must_not_meet() -> None:
    with pytest.raises(UrlError, match=r"same names by the template '\{stem\}_####\.img'") as caught:
        places_of_one(subject("a"), layouts("edf", "cbf"), Template("{stem}_####.img"))
    assert "{format}" in str(caught.value)


# ------------------------------------------------------------------------------------------------- many stacks


def test_each_stack_has_its_folders() -> None:
    known = layouts("edf", "cbf")
    many = [subject("a/b", "1.1", "eiger"), subject("a/b", "2.1", "eiger"), subject("c", "", "")]
    found = places_of_many(many, known)
    assert first_files(found, known) == [
        "a/b/1.1/eiger/cbf/b_0001.cbf",
        "a/b/2.1/eiger/cbf/b_0001.cbf",
        "c/cbf/c_0001.cbf",
    ]
    assert first_files(places_of_many(many, layouts("edf"), stem="s"), layouts("edf")) == [
        "a/b/1.1/eiger/edf/s_0001.edf",
        "a/b/2.1/eiger/edf/s_0001.edf",
        "c/edf/s_0001.edf",
    ]


def test_stacks_without_a_detector_are_told_by_their_paths() -> None:
    known = layouts("edf")
    many = [subject("a", dataset="/entry/one"), subject("a", dataset="/entry/two"), subject("b", dataset="/entry/one")]
    assert first_files(places_of_many(many, known), known) == [
        "a/entry/one/edf/a_0001.edf",
        "a/entry/two/edf/a_0001.edf",
        "b/edf/b_0001.edf",
    ]


def test_detectors_of_one_name_are_numbered() -> None:
    known = layouts("edf")
    many = [subject("a", "1.1", "eiger", dataset) for dataset in ("/1.1/x", "/1.1/y")]
    assert first_files(places_of_many(many, known), known) == [
        "a/1.1/eiger/edf/a_0001.edf",
        "a/1.1/eiger-2/edf/a_0001.edf",
    ]


def test_a_number_does_not_make_another_name_twice() -> None:
    known = layouts("edf")
    many = [subject("a", "1.1", name, f"/{i}") for i, name in enumerate(("eiger", "eiger", "eiger-2"))]
    assert len(set(first_files(places_of_many(many, known), known))) == 3


def test_folders_and_files_of_the_same_words_do_not_meet() -> None:
    known = layouts("edf")
    many = [subject("a", "1.1", "eiger"), subject("a/1.1", "", "eiger")]
    assert len(set(first_files(places_of_many(many, known, stem="s"), known))) == 2


def test_the_users_own_template_may_put_all_stacks_in_one_folder() -> None:
    known = layouts("edf", "npy-stack")
    many = [subject("a", "1.1"), subject("a", "2.1")]
    found = places_of_many(many, known, Template("all/{scan}_######"))
    assert first_files(found, known) == ["all/1.1.npy", "all/2.1.npy"]
    assert len(set().union(*(files_of(places, known) for places in found))) == 26


@pytest.mark.parametrize(
    ("template", "formats"),
    [
        ("img_####", ["edf"]),
        ("{scan}/img_####", ["edf"]),
        ("{file}/{scan}/img_####", ["edf"]),
        ("{file}/{detector}/img_####", ["edf"]),
        ("{file}/{scan}/{detector}/img_####.dat", ["edf", "cbf"]),
    ],
)
def test_stacks_that_would_meet_by_the_users_template_are_an_error(template: str, formats: list[str]) -> None:
    many = [
        subject(name, scan, detector)
        for name in ("a", "b")
        for scan in ("1.1", "2.1")
        for detector in ("eiger", "frelon")
    ]
    with pytest.raises(UrlError, match="the same names by the template") as caught:
        places_of_many(many, layouts(*formats), Template(template))
    assert "--name" in str(caught.value)
    assert places_of_many(many, layouts(*formats), Template("{file}_{scan}_{detector}_{format}_####"))


def test_files_without_a_number_must_not_meet_either() -> None:
    many = [subject("a", "1.1", detector, f"/{detector}") for detector in ("x", "x_")]
    with pytest.raises(UrlError, match="the same names"):
        places_of_many(many, layouts("npy-stack"), Template("{detector}"))


def test_numbers_that_follow_numbers_must_not_meet() -> None:
    many = [subject("a", scan) for scan in ("1", "11")]
    for several in (many, many[::-1]):
        with pytest.raises(UrlError, match=r"because numbers follow numbers; put .* _####"):
            places_of_many(several, layouts("edf"), Template("{scan}{index}"))
    assert places_of_many(many, layouts("edf"), Template("{scan}_{index}"))
    assert places_of_many([subject("a", "1"), subject("a", "10")], layouts("edf"), Template("{scan}####"))


WORDS = st.text(st.sampled_from("ab1_-./\\\0"), max_size=4)
DATASETS = st.lists(st.sampled_from(["a", "b", "..", ".", "a_"]), min_size=1, max_size=3).map(lambda it: "/".join(it))
SUBJECTS = st.builds(
    subject,
    st.lists(WORDS.filter(lambda word: word.strip("/")), min_size=1, max_size=2).map(
        lambda it: "/".join(it).strip("/")
    ),
    WORDS,
    WORDS,
    DATASETS.map("/{}".format),
)


@given(
    many=st.lists(
        SUBJECTS, min_size=1, max_size=12, unique_by=lambda it: (it.name, it.scan, it.detector, str(it.named))
    ),
    formats=st.sampled_from([("edf",), ("edf", "cbf"), ("npy-stack", "npy", "edf")]),
    stem=st.sampled_from([None, "s", "x_"]),
)
def test_no_two_stacks_share_a_path(many: list[Subject], formats: tuple[str, ...], stem: str | None) -> None:
    known = layouts(*formats)
    found = places_of_many(many, known, stem=stem)
    everything = [path for places in found for path in files_of(places, known)]
    assert len(set(everything)) == len(everything)
    folder = folder_of(
        ("/".join(place.folder), Slot(lambda before: pytest.fail("made")))
        for places in found
        for place in places.values()
    )
    assert sum(1 for _ in folder.walk()) == len(many) * len(formats)


@given(
    many=st.lists(
        SUBJECTS, min_size=2, max_size=6, unique_by=lambda it: (it.name, it.scan, it.detector, str(it.named))
    ),
    template=st.sampled_from(
        ["{scan}####", "{detector}/{index}", "{file}_{scan}_{index}", "{stem}{scan}{index:02d}.x", "{scan}/{detector}#"]
    ),
)
def test_by_the_users_template_stacks_are_apart_or_refused(many: list[Subject], template: str) -> None:
    known = layouts("edf", "npy-stack")
    try:
        found = places_of_many(many, known, Template(template))
    except UrlError:
        return
    if all(place.before for places in found for place in places.values()):
        everything = [path for places in found for path in files_of(places, known, 120)]
        assert len(set(everything)) == len(everything)


def test_folders_are_made_of_paths() -> None:
    slots = [Slot(lambda before: pytest.fail("made")) for _ in range(4)]
    folder = folder_of([("a/b", slots[0]), ("a", slots[1]), ("", slots[2]), ("a/b", slots[3])])
    assert [(path, slots.index(slot)) for path, slot in folder.walk()] == [("", 2), ("a", 1), ("a/b", 0), ("a/b", 3)]
    assert isinstance(folder_of([]), Folder)


def test_what_is_known_of_no_convention_has_its_file_and_path(tmp_path: Any) -> None:
    known = layouts("edf")
    many = [Subject(DataUrl(f"{tmp_path}/a.h5", f"/x/{name}"), "a") for name in "yz"]
    assert first_files(places_of_many(many, known), known) == ["a/x/y/edf/a_0001.edf", "a/x/z/edf/a_0001.edf"]
