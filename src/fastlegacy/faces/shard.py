# SPDX-License-Identifier: MIT
"""A part of an export, for one of several machines: in, ``3/8``; out, which stacks and which of their files.

Every file is in exactly one shard. Where there are many stacks, a shard has whole ones, so that nobody opens what
another one writes; of a few, each shard has a stretch of the files of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from fastlegacy.errors import UrlError

__all__ = ["ALL", "Shard"]

_T = TypeVar("_T")
_MANY = 4  # stacks for each shard, so that all have about the same


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts.

    Attributes
    ----------
    number, of : int
        Which one, counted from 1, and how many there are.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str, what: str = "--shard") -> Shard:
        """Return the shard of ``3/8``.

        Raises
        ------
        UrlError
            If it is something else.
        """
        match = re.fullmatch(r"\s*([0-9]+)\s*/\s*([0-9]+)\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UrlError(f"{what}: {text!r} is not understood", hint="write NUMBER/OF, counted from 1, such as 3/8")
        return cls(int(match[1]), int(match[2]))

    def stacks(self, stacks: Iterable[_T]) -> tuple[list[_T], bool]:
        """Return those of all stacks that this shard has to do with, and whether it has all of their files."""
        every = list(stacks)
        if len(every) < _MANY * self.of:
            return every, self.of == 1
        return every[self.number - 1 :: self.of], True

    def files(self, count: int, turn: int = 0) -> range:
        """Return the indices of its files among `count` of one stack.

        Parameters
        ----------
        count : int
        turn : int
            Number of the stack: of stacks with fewer files than there are shards, each begins with another shard.
        """
        place = (self.number - 1 + turn) % self.of
        return range(place * count // self.of, (place + 1) * count // self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


ALL = Shard()
"""Everything."""
