# SPDX-License-Identifier: MIT
"""What C answers of names by itself: the same names, inode numbers and listings as Python's."""

import ctypes
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy import _names
from fastlegacy.index.epoch import Epoch
from fastlegacy.index.names import Names

FILLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64)
SEED = zlib.crc32(b"label")
INODE_AT = 8  # in struct stat, where it is known


class Listing:
    """A table, and buffers of libfuse's, of ``room`` entries each, that note what they are given."""

    def __init__(self, room=10**9):
        self.epoch = Epoch()
        self.names = _names.Names(
            -1, self.epoch.address, uid=1, gid=2, mode=0o100444, block_bytes=4096, keep=self.epoch
        )
        self.found = []

        def note(_buffer, name, status, place):
            if len(self.part) == room:
                return 1
            inode = ctypes.c_uint64.from_address(status + INODE_AT).value
            self.part.append((name, inode, place))
            return 0

        self.part = []
        self.filler = FILLER(note)

    def tell(self, *series, path="/", epoch=None):
        self.names.tell(path, self.epoch.now if epoch is None else epoch, 0, SEED, series)

    def fill(self, begun, place):
        self.part.clear()
        begun.fill(ctypes.cast(self.filler, ctypes.c_void_p).value, 0, place)
        return list(self.part)

    def listed(self, entries=(), taken=(), path="/"):
        begun = self.names.listing(path, entries, taken)
        self.places = [0]
        self.found = []
        while part := self.fill(begun, self.places[-1]):
            self.found += [(name, inode) for name, inode, _ in part]
            self.places += [place for *_, place in part]
        return [os.fsdecode(name) for name, _ in self.found]


def row(names, size=7):
    return (names.stem, names.suffix, names.numbered, names.digits, names.first, len(names), names.reverse, size, 0)


TEXTS = st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), max_size=8)
NAMES = st.builds(
    Names,
    stem=TEXTS.map(lambda text: text or "x"),
    suffix=TEXTS,
    count=st.integers(0, 40),
    first=st.one_of(st.integers(0, 120), st.sampled_from([9_990, 10**9, 10**17])),
    digits=st.integers(1, 20),
    numbered=st.just(True),
    reverse=st.booleans(),
)


@given(NAMES, st.sets(st.integers(0, 39)), TEXTS, st.integers(1, 50))
def test_names_are_those_of_python(names, hidden, other, room):
    listing = Listing(room)
    listing.tell(row(names))
    expected = list(names)
    assert listing.listed() == expected
    assert [inode for _, inode in listing.found] == [zlib.crc32(name.encode(), SEED) or 1 for name in expected]
    taken = {expected[index] for index in hidden if index < len(expected)}
    # names that are not canonical are other names
    taken |= {other, names.stem, names.stem + names.suffix, names.stem + "0" * 30 + names.suffix, "9" * 30}
    assert listing.listed(taken=taken) == [name for name in expected if name not in taken]


def test_a_file_without_a_number():
    listing = Listing()
    listing.tell(("XDS.INP", "", False, 0, 0, 1, False, 3, 0), ("none", ".edf", False, 4, 1, 0, False, 3, 0))
    assert listing.listed() == ["XDS.INP"]
    assert listing.listed(taken={"XDS.INP", "none.edf"}) == []


def test_what_is_real_comes_first():
    listing = Listing()
    listing.tell(row(Names("data", ".edf", 2)))
    assert listing.listed(entries=[(".", 0o040000, 5), ("\udcff", 0o100000, 6)]) == [
        ".",
        "\udcff",
        "data0001.edf",
        "data0002.edf",
    ]
    assert listing.found[:2] == [(b".", 5), (b"\xff", 6)]


@given(st.lists(NAMES, max_size=3), st.integers(0, 4), st.integers(1, 7), st.data())
def test_a_listing_goes_on_from_each_place(series, real, room, data):
    listing = Listing(room)
    listing.tell(*map(row, series))
    entries = [(f"real{k}", 0o100000, k) for k in range(real)]
    taken = (
        data.draw(st.sets(st.sampled_from(sorted({name for names in series for name in names}))))
        if any(map(len, series))
        else set()
    )
    whole = listing.listed(entries, taken)
    assert whole == [f"real{k}" for k in range(real)] + [
        name for names in series for name in names if name not in taken
    ]
    places = list(listing.places)
    assert len(set(places)) == len(places)
    begun = listing.names.listing("/", entries, taken)
    number = data.draw(st.integers(0, len(whole)))
    part = [os.fsdecode(name) for name, *_ in listing.fill(begun, places[number])]
    assert part == whole[number : number + room]
    for beyond in (-1, 2**62, 2**63 - 1):
        assert listing.fill(begun, beyond) == []


def test_a_listing_is_of_the_moment_when_it_began():
    listing = Listing(2)
    listing.tell(row(Names("data", ".edf", 3)))
    begun = listing.names.listing("/", [], set())
    listing.epoch.advance()
    listing.tell(row(Names("new", ".edf", 1)))
    assert [name for name, *_ in listing.fill(begun, 2)] == [b"data0003.edf"]
    assert listing.listed() == ["new0001.edf"]


def test_what_was_told_holds_until_something_changes():
    listing = Listing()
    assert not listing.names.knows("/")
    assert listing.names.listing("/", [], set()) is None
    listing.tell(row(Names("data", ".edf", 2)))
    assert listing.names.knows("/")
    assert not listing.names.knows("/a")
    assert not listing.names.knows("")
    listing.epoch.advance()
    assert not listing.names.knows("/")
    assert listing.names.listing("/", [], set()) is None
    # what was looked for before the change is told too late
    listing.tell(row(Names("data", ".edf", 2)), epoch=listing.epoch.now - 1)
    assert not listing.names.knows("/")
    listing.tell(row(Names("new", ".edf", 1)))
    assert listing.listed() == ["new0001.edf"]
    assert listing.names.epoch == listing.epoch.now


def test_of_very_many_folders_the_last_ones_are_known():
    listing = Listing()
    for number in range(2000):
        listing.tell(row(Names("data", ".edf", number)), path=f"/{number}")
    known = [number for number in range(2000) if listing.names.knows(f"/{number}")]
    assert known[-1] == 1999
    assert 100 < len(known) <= 256
    assert all(len(listing.listed(path=f"/{number}")) == number for number in known[-3:])


@pytest.mark.parametrize(
    "wrong",
    [
        ("a", "", True, 21, 0, 1, False, 0, 0),
        ("a", "", True, 4, -1, 1, False, 0, 0),
        ("a", "", True, 4, 0, -1, False, 0, 0),
        ("a", "", True, 4, 2**61, 2**61, False, 0, 0),
        ("a", "", False, 4, 0, 2, False, 0, 0),
    ],
)
def test_impossible_names_are_not_taken(wrong):
    listing = Listing()
    with pytest.raises(ValueError, match="impossible names"):
        listing.tell(("fine", "", False, 0, 0, 1, False, 0, 0), wrong)
    assert not listing.names.knows("/")
    with pytest.raises((TypeError, ValueError)):
        listing.tell(("too", "short"))
