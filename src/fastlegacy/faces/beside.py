# SPDX-License-Identifier: MIT
"""Puts companions beside the frames: in, trees and names of companions; the trees show their files from then on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlegacy.companions.scene import Companion, Scene
from fastlegacy.errors import LayoutError, UrlError
from fastlegacy.registry import plugins

if TYPE_CHECKING:
    from fastlegacy.index.tree import Tree

__all__ = ["add_companions", "companions", "require_companions", "require_made"]

_log = logging.getLogger("fastlegacy.companions")


def companions() -> dict[str, Companion]:
    """All companions by name."""
    return plugins("fastlegacy.companions", "COMPANION")


def require_companions(names: Sequence[str] | None) -> None:
    """Raise UrlError unless there are companions of these names."""
    for name in names or ():
        if name not in companions():
            raise UrlError(f"there is no companion {name!r}", hint=f"there are {', '.join(companions())}")


def add_companions(trees: Sequence[Tree], names: Sequence[str] | None = None, *, level: int = logging.WARNING) -> None:
    """Show companions beside the frames of each tree that they can be made for.

    Parameters
    ----------
    trees : sequence of Tree
    names : sequence of str, optional
        By default those that the layout of each tree names, as far as enough is known for them.
    level : int
        Of the message that one is missing without which headers have neutral values; others are for the verbose.

    Raises
    ------
    UrlError
        If there is no such companion.
    """
    require_companions(names)
    scenes = [(tree, scene_of(tree)) for tree in trees]
    if names is None:
        for tree, scene in scenes:
            for name in tree.layout.companions:
                _add(tree, scene, name, level)
        return
    for name in names:
        for tree, scene in scenes:
            _add(tree, scene, name, level)


def require_made(trees: Sequence[Tree], names: Sequence[str] | None) -> None:
    """Raise LayoutError where a companion that was asked for by its name can be made for none of the trees."""
    for name in names or ():
        missing = [companions()[name].missing(scene_of(tree)) for tree in trees]
        if trees and all(missing):
            raise LayoutError(
                f"the companion {name} cannot be made without {', '.join(missing[0])}",
                file=trees[0].facts.url,
                hint="say what is missing, or leave the companion out",
            )


def scene_of(tree: Tree) -> Scene:
    """Return what a companion may know of the frames of a tree."""
    names = tree.names_by_number
    shape, at = tree.frame_in_file()
    return Scene(
        facts=tree.facts,
        layout=tree.layout.name,
        suffix=names.suffix,
        stem=names.stem,
        digits=names.digits,
        first=names.first,
        count=names.count,
        frame_shape=shape,
        image_at=at,
        mask=tree.view.seen_mask(),
    )


def _add(tree: Tree, scene: Scene, name: str, level: int) -> None:
    """Add a companion where it can be made."""
    companion = companions().get(name)
    if companion is None:
        return
    missing = companion.missing(scene)
    if not missing:
        tree.add(companion.files(scene))
        return
    text = "no %s beside the %s files, because nobody said: %s"
    if companion.warns:
        text += ". Their headers have neutral values for it"
    _log.log(level if companion.warns else min(level, logging.INFO), text, name, tree.layout.name, ", ".join(missing))
