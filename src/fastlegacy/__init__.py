# SPDX-License-Identifier: MIT
"""fastlegacy: compressed HDF5 detector data as the legacy files that other programs read.

>>> import fastlegacy
>>> stack = fastlegacy.open("scan.h5::/1.1/measurement/eiger")  # doctest: +SKIP
>>> stack[7]  # doctest: +SKIP
>>> fastlegacy.tree(stack, format="edf")["data0001.edf"].read(0, 512)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastlegacy.errors import (
        DecodeError,
        ExportError,
        FastlegacyError,
        FilterError,
        LayoutError,
        MountError,
        NotAStackError,
        SourceError,
        UrlError,
    )
    from fastlegacy.faces import codecs
    from fastlegacy.faces.check import CheckReport, check
    from fastlegacy.faces.collection import Collection
    from fastlegacy.faces.export import export
    from fastlegacy.faces.library import collection, decode, encode, formats, open, sparse, stacks, tree
    from fastlegacy.hdf5.stack import Stack
    from fastlegacy.index.folder import Folder
    from fastlegacy.index.tree import Tree, VirtualFile
    from fastlegacy.model import Geometry, StackFacts, StackInfo
    from fastlegacy.sources.array import ArrayStack

__all__ = [
    "ArrayStack",
    "CheckReport",
    "Collection",
    "DecodeError",
    "ExportError",
    "FastlegacyError",
    "FilterError",
    "Folder",
    "Geometry",
    "LayoutError",
    "MountError",
    "NotAStackError",
    "SourceError",
    "Stack",
    "StackFacts",
    "StackInfo",
    "Tree",
    "UrlError",
    "VirtualFile",
    "check",
    "codecs",
    "collection",
    "decode",
    "encode",
    "export",
    "formats",
    "open",
    "sparse",
    "stacks",
    "tree",
]

__version__ = "0.1.0"

_HOMES = {
    "fastlegacy.errors": (
        "DecodeError",
        "ExportError",
        "FastlegacyError",
        "FilterError",
        "LayoutError",
        "MountError",
        "NotAStackError",
        "SourceError",
        "UrlError",
    ),
    "fastlegacy.faces.check": ("CheckReport", "check"),
    "fastlegacy.faces.export": ("export",),
    "fastlegacy.faces.collection": ("Collection",),
    "fastlegacy.faces.library": ("collection", "decode", "encode", "formats", "open", "sparse", "stacks", "tree"),
    "fastlegacy.hdf5.stack": ("Stack",),
    "fastlegacy.index.folder": ("Folder",),
    "fastlegacy.index.tree": ("Tree", "VirtualFile"),
    "fastlegacy.model": ("Geometry", "StackFacts", "StackInfo"),
    "fastlegacy.sources.array": ("ArrayStack",),
}


def __getattr__(name: str) -> object:
    """Names come when they are first used: the command line must not wait for HDF5 to print its help."""
    from importlib import import_module

    if name == "codecs":
        return import_module("fastlegacy.faces.codecs")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'fastlegacy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
