# SPDX-License-Identifier: MIT
"""From a file and a path to the file and the path where the dataset really is: external and soft links.

Where a link names another file, HDF5's own rules say where to look for it (H5Lcreate_external, H5Pset_virtual).
"""

from __future__ import annotations

import os
from typing import Any

import h5py

from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.files import Context

__all__ = ["find_file", "locate"]

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
    file = os.path.abspath(file)
    start_file, start = file, dataset
    for _ in range(_MOST_LINKS):
        with context.open_h5(file) as h5:
            step = _first_link(h5, dataset, file)
        if step is None:
            return file, dataset
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
    folder = os.path.dirname(os.path.realpath(beside))
    candidates = []
    if os.path.isabs(name):
        candidates.append(name)
        name = os.path.basename(name)
    candidates += [os.path.join(prefix, name) for prefix in os.environ.get(variable, "").split(":") if prefix]
    candidates += [os.path.join(folder, name), os.path.join(os.path.dirname(beside), name), name]
    for candidate in candidates:
        path = os.path.abspath(candidate)
        if os.path.exists(context.real_path(path)):
            return path
    return None


def _first_link(h5: Any, dataset: str, file: str) -> tuple[str | None, str] | None:
    """The first link on the way that leads elsewhere: (other file or None, the whole path from there on)."""
    names = [name for name in dataset.split("/") if name and name != "."]
    group = h5["/"]
    for i, name in enumerate(names):
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise _not_there(h5, "/" + "/".join(names[:i]), name, dataset, file)
        rest = "/".join(names[i + 1 :])
        here = "/" + "/".join(names[:i])
        if isinstance(link, h5py.ExternalLink):
            return link.filename, _join(link.path, rest)
        if isinstance(link, h5py.SoftLink):
            target = link.path if link.path.startswith("/") else _join(here, link.path)
            return None, _join(target, rest)
        group = group[name]
    return None


def _join(path: str, rest: str) -> str:
    return "/" + "/".join(part for part in (path.strip("/"), rest) if part)


def _not_there(h5: Any, parent: str, name: str, dataset: str, file: str) -> NotAStackError:
    group = h5.get(parent)
    if isinstance(group, h5py.Group):
        names = sorted(group)
        there = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        hint = f"{parent} holds: {there or 'nothing'}; `fastlegacy ls {file}` lists the stacks"
    else:
        hint = f"{parent} is a dataset, not a group"
    return NotAStackError(f"there is no {name!r} in {parent}", file=file, dataset=dataset, hint=hint)
