# SPDX-License-Identifier: MIT
"""Where the files of each stack are: in, stacks and a template of names; out, folders and names that do not meet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from fastlegacy.errors import UrlError
from fastlegacy.faces.recipe import stem_and_ending
from fastlegacy.faces.stand import Subject
from fastlegacy.index.folder import Folder, Slot
from fastlegacy.index.template import Place, Template, safe_name
from fastlegacy.model import Layout

__all__ = ["folder_of", "places_of_many", "places_of_one"]

_DEFAULT = Template("{file}/{scan}/{detector}/{format}/{stem}_")
_ONE = Template("{stem}")
_FORMATS = Template("{format}/{stem}")

Places = dict[str, Place]


def places_of_one(
    subject: Subject, layouts: Mapping[str, Layout], template: Template | None = None, stem: str | None = None
) -> Places:
    """Return the places of the only stack: in the root, or in a folder for each of several formats."""
    if template is None:
        template = _FORMATS if len(layouts) > 1 else _ONE
    values = _values(subject, subject.detector, stem or "data")
    places = {format: template.place({**values, "format": format}) for format in layouts}
    _must_differ([(subject, format, _names(layouts[format], place)) for format, place in places.items()], template)
    return places


def places_of_many(
    subjects: Sequence[Subject],
    layouts: Mapping[str, Layout],
    template: Template | None = None,
    stem: str | None = None,
) -> list[Places]:
    """Return the places of many stacks.

    Raises
    ------
    UrlError
        If files of two stacks would have the same names by the user's own template.
    """
    values = [
        _values(subject, label, stem or safe_name(subject.name.rpartition("/")[2]))
        for subject, label in zip(subjects, _labels(subjects), strict=True)
    ]
    if template is None:
        return _numbered(values, layouts)
    found = [{format: template.place({**each, "format": format}) for format in layouts} for each in values]
    everything = [
        (subject, format, _names(layouts[format], place))
        for subject, places in zip(subjects, found, strict=True)
        for format, place in places.items()
    ]
    _must_differ(everything, template)
    return found


def _numbered(values: Sequence[Mapping[str, str]], layouts: Mapping[str, Layout]) -> list[Places]:
    """The places by the template that is used by default; a number makes another detector of one that is there."""
    taken: set[_Names] = set()
    found: list[Places] = []
    for each in values:
        label = each["detector"]
        for number in count(1):
            text = label if number == 1 else f"{label}-{number}" if label else str(number)
            places = {format: _DEFAULT.place({**each, "detector": text, "format": format}) for format in layouts}
            names = {_names(layouts[format], place) for format, place in places.items()}
            if not names & taken:
                break
        taken |= names
        found.append(places)
    return found


def folder_of(slots: Iterable[tuple[str, Slot]]) -> Folder:
    """Return the folder with slots in the folders of these paths."""
    top = _Node()
    for path, slot in slots:
        node = top
        for name in path.split("/") if path else ():
            node = node.below[name]
        node.slots.append(slot)
    return top.folder()


@dataclass(slots=True)
class _Node:
    below: defaultdict[str, _Node] = field(default_factory=lambda: defaultdict(_Node))
    slots: list[Slot] = field(default_factory=list)

    def folder(self) -> Folder:
        return Folder(((name, node.folder()) for name, node in self.below.items()), files=self.slots)


def _values(subject: Subject, detector: str, stem: str) -> dict[str, str]:
    return {"file": subject.name, "scan": safe_name(subject.scan), "detector": detector, "stem": stem}


def _labels(subjects: Sequence[Subject]) -> list[str]:
    """What stands for the detector of each stack: its name, else its path where a file has several."""
    several = Counter((subject.name, subject.scan) for subject in subjects)
    return [
        safe_name(subject.detector)
        or ((subject.named.dataset or "").strip("/") if several[subject.name, subject.scan] > 1 else "")
        for subject in subjects
    ]


class _Names(NamedTuple):
    """What two sets of files must not have in common."""

    folder: tuple[str, ...]
    stem: str
    ending: str
    per_frame: bool


def _names(layout: Layout, place: Place) -> _Names:
    return _Names(place.folder, *stem_and_ending(layout, place), layout.per_frame)


def _must_differ(names: Sequence[tuple[Subject, str, _Names]], template: Template) -> None:
    first: dict[_Names, tuple[Subject, str]] = {}
    for subject, format, name in names:
        other = first.setdefault(name, (subject, format))
        if other != (subject, format):
            raise UrlError(
                f"the {other[1]} files of {other[0].named} and the {format} files of {subject.named} would have the "
                f"same names by the template {template.text!r}",
                hint="put {file}, {scan}, {detector} or {format} into --name, so that they differ",
            )
    for subject, _, name in names:
        met = next((first[shorter] for shorter in _shorter(name) if shorter in first), None)
        if met is not None:
            raise UrlError(
                f"files of {met[0].named} and of {subject.named} could have the same names by the template "
                f"{template.text!r}, because numbers follow numbers",
                hint="put a letter or an underscore before the number, such as _####",
            )


def _shorter(name: _Names) -> Iterator[_Names]:
    """Names whose number may begin with the digits at the end of this stem."""
    stem = name.stem
    for at in range(len(stem) - 1, -1, -1):
        if stem[at] not in "0123456789":
            return
        # larger numbers than there are digits for begin with no zero
        if stem[at] != "0" or not name.per_frame:
            yield name._replace(stem=stem[:at], per_frame=True)
