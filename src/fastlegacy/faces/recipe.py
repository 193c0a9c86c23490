# SPDX-License-Identifier: MIT
"""How files are made of a stack: in, what the user chose of formats, pixels and names; out, trees."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlegacy.errors import UrlError
from fastlegacy.faces.beside import add_companions, require_companions
from fastlegacy.faces.choices import layouts_of, options_of, pixel_policy
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.sidecar import SideFile, side_file
from fastlegacy.index.template import Place
from fastlegacy.index.tree import Live, Tree
from fastlegacy.index.view import View
from fastlegacy.model import Layout
from fastlegacy.pixels import AS_STORED, Orientation
from fastlegacy.sources.masks import find_mask, mask_of, read_mask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastlegacy.sources.array import ArrayStack

__all__ = ["MaskLike", "Recipe", "stem_and_ending"]

MaskLike = str | os.PathLike[str] | ArrayLike | None

_SEPARATORS = "_-. "


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The choices that are the same for all stacks, checked.

    See :func:`fastlegacy.tree` for what they mean.

    Attributes
    ----------
    layouts : mapping of str to Layout
    options : mapping of str to mapping
        Options of each layout.
    mask : str, path, array or None
    orientation : Orientation
    binning : int
    policy : PixelPolicy
    first : int
        Number of the first file.
    reverse : bool
    companions : tuple of str or None
    remember_in : pathlib.Path or None
        Folder where sizes are remembered; ``remember`` says whether they are at all.
    remember : bool
    """

    layouts: Mapping[str, Layout]
    options: Mapping[str, Mapping[str, Any]]
    mask: MaskLike = "auto"
    orientation: Orientation = AS_STORED
    binning: int = 1
    policy: Any = field(default_factory=pixel_policy)
    first: int = 1
    reverse: bool = False
    companions: tuple[str, ...] | None = None
    remember: bool = False
    remember_in: Path | None = None

    @classmethod
    def of(
        cls,
        format: str | Iterable[str] = "edf",
        *,
        first: int = 1,
        reverse: bool = False,
        mask: MaskLike = "auto",
        mask_value: float | None = None,
        saturate: str | None = None,
        dtype: object | None = None,
        transpose: bool = False,
        flip_ud: bool = False,
        flip_lr: bool = False,
        rotation_deg: int = 0,
        binning: int = 1,
        options: Mapping[str, object] | None = None,
        companions: Sequence[str] | None = None,
        remember_sizes: bool = False,
        remember_in: Path | None = None,
    ) -> Recipe:
        """Return the recipe of what a user chose.

        Raises
        ------
        LayoutError
            If there is no such format.
        UrlError
            If a choice is not possible.
        """
        layouts = layouts_of(format)
        require_companions(companions)
        try:
            orientation = Orientation.of(
                transpose=transpose, flip_ud=flip_ud, flip_lr=flip_lr, rotation_deg=rotation_deg
            )
        except ValueError as error:
            raise UrlError(str(error)) from error
        return cls(
            layouts=layouts,
            options=options_of(layouts, options or {}),
            mask=mask,
            orientation=orientation,
            binning=binning,
            policy=pixel_policy(mask_value, saturate, dtype),
            first=first,
            reverse=reverse,
            companions=None if companions is None else tuple(companions),
            remember=remember_sizes,
            remember_in=remember_in,
        )

    def view(self, stack: Stack | ArrayStack) -> View:
        """Return a stack as its files show it.

        Raises
        ------
        FastlegacyError
            If it cannot be seen so, or the mask cannot be read.
        """
        mask = mask_classes(self.mask, stack)
        return View(stack, mask=mask, orientation=self.orientation, binning=self.binning, policy=self.policy)

    def tree(
        self,
        view: View,
        format: str,
        place: Place,
        *,
        exact: bool = True,
        live: Live | None = None,
        like: Tree | None = None,
        changed_ns: int = 0,
    ) -> Tree:
        """Return the files of one format.

        Parameters
        ----------
        view : View
        format : str
            One of :attr:`layouts`.
        place : Place
            What they are called.
        exact : bool
            The format may not change what names begin with.
        live, like, changed_ns
            See :class:`Tree`.

        Raises
        ------
        LayoutError
            If the format cannot hold this stack.
        """
        layout = self.layouts[format]
        options = self.options[format]
        stem, ending = stem_and_ending(layout, place)
        memory = self._memory(view, layout, options) if self.remember and live is None else None
        return Tree(
            view,
            layout,
            stem=stem,
            first=self.first,
            digits=place.digits,
            ending=ending,
            reverse=self.reverse,
            exact=exact,
            options=options,
            side_file=memory,
            live=live,
            like=like,
            changed_ns=changed_ns,
        )

    def add_companions(self, trees: Sequence[Tree], *, level: int = logging.WARNING) -> None:
        """Show companions beside the files of trees that belong together, as far as they can be made."""
        add_companions(trees, self.companions, level=level)

    def _memory(self, view: View, layout: Layout, options: Mapping[str, Any]) -> SideFile | None:
        """The file where sizes of encoded frames are remembered: it is that of the pixels, the codec and its form."""
        defaults = {name: option.default for name, option in layout.options.items()}
        code = layout.code(view.facts_for({**defaults, **options}))
        if code is None:
            return None
        key = f"{view.fingerprint()} {code.codec} {code.form}"
        return side_file(key, view.stack.signature, folder=self.remember_in)


def stem_and_ending(layout: Layout, place: Place) -> tuple[str, str]:
    """Return what stands before and after the number in the names of files of a format."""
    stem = place.before
    if not layout.per_frame and not place.after:
        stem = stem.rstrip(_SEPARATORS) or stem
    return stem, place.after if place.has_suffix else place.after + layout.suffix


def mask_classes(mask: MaskLike, stack: Stack | ArrayStack) -> NDArray[np.uint8] | None:
    """Return what a user's mask says of each pixel, as the frames are stored: 0 valid, 1 gap, 2 bad; None: nothing.

    Raises
    ------
    FastlegacyError
        If it cannot be read, or has another shape than the frames.
    """
    shape = stack.facts.shape[1:]
    if mask is None:
        return None
    if not isinstance(mask, str | os.PathLike):
        return mask_of(mask, shape).classes
    if mask == "auto":
        found = find_mask(stack.frames_url) if isinstance(stack, Stack) else None
        return None if found is None else found.classes
    return None if mask == "none" else read_mask(mask, shape).classes
