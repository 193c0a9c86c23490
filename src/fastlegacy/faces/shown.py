# SPDX-License-Identifier: MIT
"""What a mount shows: in, a folder of trees; out, all that a mount asks of it."""

from __future__ import annotations

from collections.abc import Mapping

from fastlegacy.errors import UrlError
from fastlegacy.faces.geometry_text import geometry_rows
from fastlegacy.index.epoch import EPOCH
from fastlegacy.index.folder import Folder

__all__ = ["MOST_TOLD", "Row", "Shown", "is_below"]

MOST_TOLD = 20
"""Of very many stacks, the headers of so many are told."""

Row = tuple[str, str, str, str]
"""Folder, name, value with its unit, and origin of something that headers tell."""


class Shown:
    """What a mount shows: trees that stay as they are.

    Parameters
    ----------
    root : Folder
    label : str
        What it is made from; inode numbers depend on it.
    """

    def __init__(self, root: Folder, label: str) -> None:
        self._root = root
        self._version = 0
        self.label = label
        self.follows = False

    @property
    def root(self) -> Folder:
        """What is shown."""
        return self._root

    @root.setter
    def root(self, root: Folder) -> None:
        self._root = root
        EPOCH.advance()

    @property
    def version(self) -> int:
        """Grows with each change of any header."""
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        EPOCH.advance()  # who sees the new version finds that nobody opens by what was told before
        self._version = version
        EPOCH.advance()

    def redirect(self, prefix: str, replacement: str) -> None:
        """Read files below a folder by another path to it from now on: a mount is about to cover it."""
        for stack in self.root.stacks:
            stack.redirect(prefix, replacement)

    def end_redirect(self, prefix: str) -> None:
        """Read files below a folder by their own paths again."""
        for stack in self.root.stacks:
            stack.end_redirect(prefix)

    def poll(self) -> list[str]:
        """Look for news; return what is new, for the log."""
        return []

    def set_headers(self, path: str, texts: Mapping[str, str]) -> list[str]:
        """Change headers; these are not for changing.

        Raises
        ------
        UrlError
        """
        del path, texts
        raise UrlError("the headers of this mount cannot be changed", hint="mount by `fastlegacy mount`")

    def headers(self, path: str) -> list[Row]:
        """Return what is known of the stacks below a folder, of the first ones where there are many.

        Returns
        -------
        list of (folder, name, value with its unit, origin)
        """
        path = path.strip("/")
        top = self._folder_at(path)
        if top is None:
            return []
        found = [(folder, slot.tree().facts) for folder, slot in self.root.walk() if is_below(folder, top)]
        return [
            (folder, *row) for folder, facts in found[:MOST_TOLD] for row in geometry_rows(facts.geometry, facts.url)
        ]

    def _folder_at(self, path: str) -> str | None:
        """Return the folder at a path, or the one that a file is in; None where there is neither."""
        if self.root.folder(path) is not None:
            return path
        return path.rpartition("/")[0] if path in self.root else None

    def close(self) -> None:
        """End what runs in the background, and remember what was measured."""
        self.root.close()


def is_below(folder: str, path: str) -> bool:
    """Tell whether a folder is below another one, or the other way round: what is said of one concerns both."""
    return not path or folder == path or folder.startswith(f"{path}/")
