# SPDX-License-Identifier: MIT
"""Templates of names: ``{file}/{scan}/img_####`` in, the folder, the stem, the number and the ending of names out.

A template is a path. Its last part is the name of the files, what stands before it the folders that they are in. ``#``
stands for a digit of the file's number, ``{index:04d}`` is the same in Python's words, and ``{index}`` a number without
zeros before it. The other fields are facts of a stack; folders of which nothing is left are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fastlegacy.errors import UrlError

__all__ = ["FIELDS", "Place", "Template"]

FIELDS = ("file", "scan", "detector", "format", "stem")
"""What may stand in braces, besides the number: facts of a stack."""

_TOKEN = re.compile(r"(?P<hashes>#+)|\{(?P<field>[^{}]*)\}|(?P<brace>[{}])")
_WIDTH = re.compile(r"0?([1-9]?[0-9])d?")
_SAFE = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._ -]{1,63}")  # what most names are made of: nothing to be done
_SEPARATORS = str.maketrans("/\\\0\n", "____")
_MOST_DIGITS = 20
_NAME_MAX = 255


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of one stack are, and what they are called.

    Attributes
    ----------
    folder : tuple of str
        Names of the folders, from the top.
    before, after : str
        What stands before and after the number; of `after`, without the suffix of the format where the template says
        nothing of it.
    digits : int or None
        Numbers are padded with zeros to so many digits; None: as the format has it.
    has_suffix : bool
        `after` holds the suffix.
    """

    folder: tuple[str, ...]
    before: str
    after: str = ""
    digits: int | None = None
    has_suffix: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A template that is understood.

    Parameters
    ----------
    text : str

    Raises
    ------
    UrlError
        If a field is unknown, the number stands in a folder's name, or there twice, or a folder is ``..``.

    Examples
    --------
    >>> place = Template("{scan}/img_####.edf").place({"scan": "1.1"})
    >>> place.folder, place.before, place.digits, place.after
    (('1.1',), 'img_', 4, '.edf')
    """

    text: str
    _folders: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _before: str = field(init=False, repr=False, compare=False)
    _after: str = field(init=False, repr=False, compare=False)
    _digits: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        *folders, name = self.text.strip().split("/")
        if not name:
            raise self._error("ends with a slash, and names no files", "end it with something like img_####")
        digits: int | None = None
        at: tuple[int, int] | None = None
        for start, stop, width in self._numbers(name):
            if at is not None:
                raise self._error("has two numbers", "write one of #### and {index:04d}, and that once")
            at, digits = (start, stop), width
        for folder in folders:
            if folder in (".", ".."):
                raise self._error(f"has {folder!r}", "name folders below the one that the files are shown in")
            if any(True for _ in self._numbers(folder)):
                raise self._error("has a number in a folder's name", "the number belongs to the file's name")
        set_ = object.__setattr__  # a frozen dataclass is filled once, here
        set_(self, "_folders", tuple(folders))
        set_(self, "_before", name if at is None else name[: at[0]])
        set_(self, "_after", "" if at is None else name[at[1] :])
        set_(self, "_digits", digits)

    def _error(self, what: str, hint: str) -> UrlError:
        return UrlError(f"the template of names {self.text!r} {what}", hint=hint)

    def _numbers(self, part: str) -> Iterator[tuple[int, int, int]]:
        """Begin, end and width of each number in a part; an error for a field that does not exist."""
        for found in _TOKEN.finditer(part):
            if found["hashes"]:
                if len(found["hashes"]) > _MOST_DIGITS:
                    raise self._error("has too many digits", f"write 1 to {_MOST_DIGITS} of #")
                yield found.start(), found.end(), len(found["hashes"])
                continue
            name, _, spec = (found["field"] or "").partition(":")
            if name == "index" and not found["brace"]:
                yield found.start(), found.end(), self._width(spec)
            elif found["brace"] or name not in FIELDS or spec:
                there = ", ".join(f"{{{each}}}" for each in FIELDS)
                raise self._error(f"has {found[0]!r}, which is no field", f"there are {there}, {{index:04d}} and ####")

    def _width(self, spec: str) -> int:
        width = _WIDTH.fullmatch(spec) if spec else None
        if spec in ("", "d"):
            return 1
        if width is None or not 0 < int(width[1]) <= _MOST_DIGITS:
            raise self._error(f"has {{index:{spec}}}", f"write {{index:04d}}, with 1 to {_MOST_DIGITS} digits")
        return int(width[1])

    @property
    def names_formats(self) -> bool:
        """The format's name is in it, so that files of several formats do not meet."""
        return "{format}" in self.text

    def place(self, values: Mapping[str, str]) -> Place:
        """Put the facts of a stack in.

        Parameters
        ----------
        values : mapping
            Of :data:`FIELDS`; one that is missing is nothing. A slash in ``file`` or ``detector`` is one more folder,
            where it stands in a folder's name.
        """
        texts = [_filled(part, values) for part in self._folders]
        folder = tuple(safe_name(name) for text in texts for name in text.split("/") if name)
        before, after = (_without_separators(_filled(part, values)) for part in (self._before, self._after))
        return Place(folder, before, after, self._digits, has_suffix="." in _TOKEN.sub("", self._after))


def safe_name(name: str) -> str:
    """Return a name that a file system can hold: what it cannot is an underscore."""
    if _SAFE.fullmatch(name):
        return name
    name = _without_separators(name)
    if name in (".", ".."):
        return "_" * len(name)
    while len(name.encode("utf-8", "surrogateescape")) > _NAME_MAX:
        name = name[:-1]
    return name


def _without_separators(name: str) -> str:
    return name.translate(_SEPARATORS)


def _filled(part: str, values: Mapping[str, str]) -> str:
    return _TOKEN.sub(lambda found: values.get(found["field"] or "", ""), part)
