# SPDX-License-Identifier: MIT
"""From a file and a path to the file and the path where the dataset really is: external and soft links.

Where a link names another file, HDF5's own rules say where to look for it (H5Lcreate_external, H5Pset_virtual).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from h5py import h5g

from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.objects import EXTERNAL, SOFT, as_bytes, link_kind, link_target, members, open_object

__all__ = ["candidates", "find_file", "folders_of", "locate", "look_for", "place_of", "target_of"]

_MOST_LINKS = 32


def locate(context: Context, file: str, dataset: str) -> tuple[str, str]:
    """Follow links until the dataset itself is reached.

    Returns
    -------
    (file, dataset) : tuple of str
        Absolute path of the file that holds it, and its path in there, without a soft or external link.

    Raises
    ------
    SourceError
        If a file on the way is missing or cannot be read, or links lead in a circle.
    NotAStackError
        If there is nothing of that name.
    """
    found = _follow(context, file, dataset)
    if isinstance(found, _NothingThere):
        with context.open_h5(found.file) as h5:
            raise _not_there(h5.id, found)
    return found


def place_of(context: Context, file: str, dataset: str) -> tuple[str, str] | None:
    """Where a path leads as `locate` says it, but None where there is nothing of that name."""
    found = _follow(context, file, dataset)
    return None if isinstance(found, _NothingThere) else found


class _NothingThere(NamedTuple):
    """Where a path ends: there is no `name` in the group `parent`."""

    file: str
    dataset: str
    parent: str
    name: str


def _follow(context: Context, file: str, dataset: str) -> tuple[str, str] | _NothingThere:
    file = os.path.abspath(file)
    start_file, start = file, dataset
    for _ in range(_MOST_LINKS):
        with context.open_h5(file) as h5:
            step = _first_link(h5, dataset, file)
        if step is None:
            return file, dataset
        if isinstance(step, _NothingThere):
            return step
        name, dataset = step
        if name is not None:
            file = find_file(context, name, file, "HDF5_EXT_PREFIX", dataset)
    raise SourceError(f"more than {_MOST_LINKS} links one after the other", file=start_file, dataset=start)


def find_file(context: Context, name: str, beside: str, variable: str, dataset: str) -> str:
    """The file that another file names, by HDF5's rules; an error where it is nowhere."""
    found = look_for(context, name, beside, variable)
    if found is None:
        raise SourceError(
            f"names the file {name!r} (for {dataset}), which is missing",
            file=beside,
            hint="copy that file to where it is expected; for a virtual dataset `--missing fill` reads on without it",
        )
    return found


def look_for(context: Context, name: str, beside: str, variable: str) -> str | None:
    """Absolute path of the file ``name`` of a link in the file ``beside``, or None."""
    places = candidates(name, folders_of(beside), variable)
    return next((path for path in places if os.path.exists(context.real_path(path))), None)


def folders_of(file: str) -> tuple[str, ...]:
    """Folders where HDF5 looks for the files that a file names, in its order; last the working folder."""
    return os.path.dirname(os.path.realpath(file)), os.path.dirname(file), ""


def candidates(name: str, folders: Sequence[str], variable: str) -> Iterator[str]:
    """Absolute paths where HDF5 looks for a file that is named in another one, in its order.

    Parameters
    ----------
    name : str
        As it stands in the other file.
    folders : sequence of str
        See `folders_of`.
    variable : str
        That of the environment with more folders: ``HDF5_EXT_PREFIX`` for links, ``HDF5_VDS_PREFIX`` for virtual
        datasets.
    """
    if os.path.isabs(name):
        yield os.path.abspath(name)
        name = os.path.basename(name)
    for folder in (*(prefix for prefix in os.environ.get(variable, "").split(":") if prefix), *folders):
        yield os.path.abspath(os.path.join(folder, name))


def target_of(group: Any, home: str, name: str) -> str:
    """The whole path that a soft link leads to, as it is written: other links may be on it."""
    path = link_target(group, name)[1]
    return _join(path, "") if path.startswith("/") else _join(home, path)


def _first_link(h5: Any, dataset: str, file: str) -> tuple[str | None, str] | _NothingThere | None:
    """The first link on the way that leads elsewhere: (other file or None, the whole path from there on)."""
    names = [name for name in dataset.split("/") if name and name != "."]
    root = h5.id
    for i, name in enumerate(names, 1):
        path, rest = "/".join(names[:i]), "/".join(names[i:])
        kind = link_kind(root, path)  # what comes before is no link: that was looked at first
        if kind is None:
            parent = "/" + "/".join(names[: i - 1])
            _check(root, parent, name)
            return _NothingThere(file, dataset, parent, name)
        if kind == EXTERNAL:
            other, there = link_target(root, path)
            return other, _join(there, rest)
        if kind == SOFT:
            return None, _join(target_of(root, "/".join(names[: i - 1]), path), rest)
    return None


def _join(path: str, rest: str) -> str:
    return "/" + "/".join(part for part in (path.strip("/"), rest) if part)


def _check(root: Any, parent: str, name: str) -> None:
    """Raise what HDF5 says, where a name is not found because its group is damaged."""
    group = open_object(root, parent)
    if isinstance(group, h5g.GroupID):
        group.links.exists(as_bytes(name))


def _not_there(root: Any, nothing: _NothingThere) -> NotAStackError:
    file, dataset, parent, name = nothing
    group = open_object(root, parent)
    if isinstance(group, h5g.GroupID):
        names = sorted(member for member, _ in members(group))
        there = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        hint = f"{parent} holds: {there or 'nothing'}; `fastlegacy ls {file}` lists the stacks"
    else:
        hint = f"{parent} is a dataset, not a group"
    return NotAStackError(f"there is no {name!r} in {parent}", file=file, dataset=dataset, hint=hint)
