# SPDX-License-Identifier: MIT
"""Finds one-file plug-ins: in a folder of this package, and in the entry points of installed packages.

A plug-in is a module that defines one object under an agreed name (``LAYOUT`` in ``fastlegacy.layouts``,
``SOURCE`` in ``fastlegacy.sources``). No list of them exists anywhere: to add one is to add its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

__all__ = ["plugins"]


@cache
def plugins(package: str, attribute: str) -> dict[str, Any]:
    """Return the plug-ins of a package by their ``name``, sorted.

    Parameters
    ----------
    package : str
        A package whose modules are looked through, and at the same time the entry-point group:
        an installed distribution adds to ``fastlegacy.layouts`` by an entry point of that group.
    attribute : str
        Name of the object that each module defines. Modules without it, and those whose name starts
        with an underscore, are passed over.

    Raises
    ------
    ValueError
        If two plug-ins have the same name.
    """
    found: dict[str, Any] = {}
    folder = importlib.import_module(package)
    candidates = []
    for info in pkgutil.iter_modules(folder.__path__):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"{package}.{info.name}")
            candidates.append((module.__name__, getattr(module, attribute, None)))
    candidates += [(point.value, point.load()) for point in entry_points(group=package)]
    for where, plugin in candidates:
        if plugin is None:
            continue
        if plugin.name in found:
            raise ValueError(f"{where}: the name {plugin.name!r} is taken already by another plug-in of {package}")
        found[plugin.name] = plugin
    return dict(sorted(found.items()))
