# SPDX-License-Identifier: MIT
"""The blocks of a Dectris series: in, the links ``data_000001``, ... of a master; out, their order and lengths.

Source: DECTRIS' "Header Groups" of the EIGER API, and files: the dataset of a block has the attributes ``image_nr_low``
and ``image_nr_high``. Blocks may have any length, and a master may link to files that never came.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from fastlegacy.errors import FastlegacyError
from fastlegacy.hdf5.blocks import Block
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import locate
from fastlegacy.sources._facts import HDF5_ERRORS

__all__ = ["block_names", "blocks_of"]

_log = logging.getLogger("fastlegacy.sources")

_NAME = re.compile(r"data_([0-9]+)")


@dataclass(frozen=True, slots=True)
class _Link:
    """A link of the master: frames is None where what it leads to is missing, low and high where nobody said."""

    path: str
    frames: int | None = None
    low: int | None = None
    high: int | None = None


def block_names(names: Iterable[str]) -> list[str]:
    """The names of blocks, in the order of their numbers."""
    found = [(int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))]
    return [name for _, name in sorted(found)]


def blocks_of(context: Context, file: str, group: str, names: Iterable[str], total: int | None) -> tuple[Block, ...]:
    """Look at each block of a series; say how many frames those have that are missing.

    Parameters
    ----------
    context : Context
    file, group : str
        The master, and the group with the links.
    names : iterable of str
        Of the links, in order.
    total : int or None
        How many images were asked for.

    Returns
    -------
    tuple of Block
        In order. One without a path stands for images that no link leads to. Links that lead nowhere are left out
        where all images are there without them: some masters link to more files than a series has.
    """
    links = [_look(context, file, f"{group}/{name}") for name in names]
    if not any(link.frames for link in links):
        return tuple(Block(link.path) for link in links)
    blocks = _by_numbers(links, total) if _are_numbered(links, file) else _by_lengths(links, total)
    return tuple(block for block in blocks if block.frames != 0)


def _look(context: Context, file: str, path: str) -> _Link:
    try:
        place, name = locate(context, file, path)
        with context.open_h5(place) as h5:
            dset = h5[name]
            if not isinstance(dset, h5py.Dataset) or dset.shape is None or len(dset.shape) < 2:
                return _Link(path)
            frames = dset.shape[0] if len(dset.shape) > 2 else 1
            return _Link(path, frames, _integer(dset, "image_nr_low"), _integer(dset, "image_nr_high"))
    except (FastlegacyError, *HDF5_ERRORS):
        return _Link(path)


def _integer(dset: Any, name: str) -> int | None:
    value = np.asarray(dset.attrs[name]).reshape(-1) if name in dset.attrs else np.empty(0)
    return int(value[0]) if value.size and value.dtype.kind in "uif" else None


def _are_numbered(links: list[_Link], file: str) -> bool:
    """Tell whether the numbers of images say where each block belongs."""
    there = [link for link in links if link.frames]
    if any(link.low is None or link.high is None for link in there):
        return False
    last = None
    for link in there:
        assert link.low is not None
        assert link.high is not None
        if link.high - link.low + 1 != link.frames or (last is not None and link.low <= last):
            _log.warning("%s: the image numbers of its blocks contradict each other, and are not used", file)
            return False
        last = link.high
    return True


def _by_numbers(links: list[_Link], total: int | None) -> list[Block]:
    """Blocks at the places that their image numbers give them; images count from 1 if the first block is missing."""
    blocks: list[Block] = []
    waiting: list[_Link] = []  # missing links since the last block that is there
    base = next(link.low for link in links if link.frames) if links[0].frames else 1
    assert base is not None
    done = base - 1  # number of the last image so far
    for link in links:
        if not link.frames:
            waiting.append(link)
            continue
        assert link.low is not None
        assert link.high is not None
        blocks += _shared(waiting, link.low - 1 - done)
        blocks.append(Block(link.path, link.frames))
        waiting, done = [], link.high
    rest = None if total is None else max(0, total - (done - base + 1))
    return blocks + (_shared(waiting, rest) if waiting else [])


def _by_lengths(links: list[_Link], total: int | None) -> list[Block]:
    """Blocks one after another; of those that are missing, all but the last are as long as the first that is there."""
    usual = next(link.frames for link in links if link.frames)
    assert usual is not None
    lost = [link for link in links if not link.frames]
    there = sum(link.frames or 0 for link in links)
    rest = None if total is None else max(0, total - there)
    blocks = []
    for link in links:
        if link.frames:
            blocks.append(Block(link.path, link.frames))
            continue
        is_last = link is lost[-1]
        if rest is None:
            frames = None if link is links[-1] else usual
        else:
            frames = rest if is_last else min(usual, rest)
            rest -= frames
        blocks.append(Block(link.path, frames))
    return blocks


def _shared(links: list[_Link], images: int | None) -> list[Block]:
    """Missing images among the links that should lead to them: the first of them stands for all."""
    if images is None:
        return [Block(link.path) for link in links]
    if images == 0:
        return [Block(link.path, 0) for link in links]
    if not links:
        return [Block("", images)]
    return [Block(links[0].path, images), *(Block(link.path, 0) for link in links[1:])]
