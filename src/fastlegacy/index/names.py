# SPDX-License-Identifier: MIT
"""Names of virtual files: ``data0001.edf`` <-> frame 0, by arithmetic.

Each frame has exactly one name, and each name that is understood is the name of exactly one frame: ``data1.edf`` or
``data00001.edf`` are not other names of ``data0001.edf``, because a folder must not hold a file twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from fastlegacy.errors import UrlError

__all__ = ["Names", "folded", "spelled_like"]

_NAME_MAX = 255
_DIGITS = frozenset("0123456789")


def folded(name: str) -> str:
    """Return what two names have in common that differ in case only: as many characters, all of them capitals.

    Only letters that are each other's capital and small one are alike, as on Windows: `ß` is not `SS`.
    """
    return name.upper() if name.isascii() else "".join(map(_capital, name))


@lru_cache(4096)
def _capital(char: str) -> str:
    capital = char.upper()
    return capital if len(capital) == 1 and capital.lower() == char.lower() else char


def spelled_like(name: str, found: Iterable[str]) -> str | None:
    """Return the one of some names that differ from a name in nothing but case: the name itself, or the first by bytes.

    Parameters
    ----------
    name : str
    found : iterable of str
        All of them have the same :func:`folded` as the name.

    Returns
    -------
    str or None
        None if there is none.
    """
    names = set(found)
    return name if name in names else min(names, key=os.fsencode, default=None)


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the files of one stack.

    Parameters
    ----------
    stem, suffix : str
        What comes before and after the number.
    count : int
        How many files there are.
    first : int
        Number of frame 0.
    digits : int
        Numbers are padded with zeros to so many digits; larger numbers take more.
    numbered : bool
        False: there is one file, without a number.
    reverse : bool
        Numbers run backwards: frame 0 has the last one.

    Raises
    ------
    UrlError
        If a file system could not hold these names.
    """

    stem: str
    suffix: str
    count: int
    first: int = 1
    digits: int = 4
    numbered: bool = True
    reverse: bool = False

    def __post_init__(self) -> None:
        if self.first < 0 or not 0 < self.digits <= 20:
            raise UrlError(
                f"names cannot be numbered from {self.first} with {self.digits} digits",
                hint="the first number is 0 or more, and there are 1 to 20 digits",
            )
        if not (self.stem or self.numbered) or any(char in "/\\\0" for char in self.stem):
            raise UrlError(f"{self.stem!r} is no stem of a file name", hint="give a name without slashes, such as data")
        longest = self.name(self._turned(max(self.count - 1, 0)))
        if len(longest.encode("utf-8", "surrogateescape")) > _NAME_MAX:
            raise UrlError(f"the file name {longest} is too long", hint=f"at most {_NAME_MAX} bytes are possible")

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return map(self.name, range(self.count))

    def name(self, index: int) -> str:
        """Return the name of a file by its index, counted from 0."""
        number = f"{self.first + self._turned(index):0{self.digits}d}" if self.numbered else ""
        return f"{self.stem}{number}{self.suffix}"

    def index(self, name: str) -> int | None:
        """Return the index, counted from 0, of the file that has this name, or None."""
        if not (name.startswith(self.stem) and name.endswith(self.suffix)):
            return None
        number = name[len(self.stem) : len(name) - len(self.suffix)]
        if not self.numbered:
            return 0 if self.count and name == self.name(0) else None
        if not self._is_canonical(number):
            return None
        index = int(number) - self.first
        return self._turned(index) if 0 <= index < self.count else None

    def spelled(self, name: str) -> str | None:
        """Return the name of a file that is given in any case; None if there is none."""
        end = len(name) - len(self.suffix)
        if end < len(self.stem):
            return None
        number = name[len(self.stem) : end]
        candidate = f"{self.stem}{number}{self.suffix}"
        return candidate if folded(candidate) == folded(name) and self.index(candidate) is not None else None

    def _turned(self, index: int) -> int:
        return self.count - 1 - index if self.reverse else index

    def _is_canonical(self, number: str) -> bool:
        if len(number) < self.digits or len(number) > _NAME_MAX or not _DIGITS.issuperset(number):
            return False
        return len(number) == self.digits or number[0] != "0"
