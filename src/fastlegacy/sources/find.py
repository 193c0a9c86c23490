# SPDX-License-Identifier: MIT
"""Finds the stacks of a file or a folder, by all conventions that are registered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

import h5py
import numpy as np

from fastlegacy.errors import FastlegacyError, NotAStackError, SourceError, UrlError
from fastlegacy.hdf5.files import Context, default_context, stat_source
from fastlegacy.hdf5.inventory import stored_bytes, written_frames
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import DataUrl, parse_url
from fastlegacy.hdf5.virtual import Missing
from fastlegacy.model import StackInfo
from fastlegacy.registry import plugins

__all__ = ["Source", "describe", "find_stacks", "open_stack"]

SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx5", ".cxi")
_MOST_NAMES = 5


class Source(Protocol):
    """A convention: one module of ``fastlegacy.sources`` defines one, as ``SOURCE``."""

    name: str

    def find(self, context: Context, file: str) -> Iterator[tuple[str, str]]:
        """Yield (path of a dataset, why it was recognised) for each stack of a file."""
        ...


def find_stacks(path: str | os.PathLike[str], context: Context | None = None) -> Iterator[StackInfo]:
    """Describe the stacks of a file, or of all HDF5 files in a folder and below.

    In a folder, files that cannot be read are passed over; a file that is named itself has to be readable.

    Raises
    ------
    SourceError
        If the file is missing or cannot be read.
    """
    context = context or default_context()
    path = os.path.abspath(path)
    stat_source(path)
    if not os.path.isdir(path):
        yield from _stacks_of_file(context, path)
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            if name.lower().endswith(SUFFIXES) and h5py.is_hdf5(file):
                with suppress(FastlegacyError):
                    yield from _stacks_of_file(context, file)


def open_stack(
    url: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    missing: Missing = "error",
    context: Context | None = None,
) -> Stack:
    """Open a stack by its url; a file alone will do where there is just one stack in it.

    Raises
    ------
    UrlError
        If a file alone is given, and it has several stacks.
    NotAStackError
        If it has none.
    """
    named = parse_url(url, dataset)
    context = context or default_context()
    if named.dataset is None:
        named = DataUrl(named.file, _only_stack(context, named.file))
    return Stack(named, missing=missing, context=context)


def describe(stack: Stack, source: str = "dataset", why: str = "named by the user") -> StackInfo:
    """Everything that ``fastlegacy ls`` shows of an open stack."""
    stored = next((part.source for part in stack.parts if part.source is not None), None)
    there = written_frames(stack)
    return StackInfo(
        url=stack.url,
        shape=(*stack.facts.leading_shape, *stack.shape[1:]),
        dtype=str(stack.dtype) if stack.dtype.itemsize == 1 else stack.dtype.str,
        filters=[str(f) for f in stored.filters] if stored else [],
        chunks=stored.chunks if stored else None,
        stored_bytes=stored_bytes(stack),
        nbytes=int(np.prod(stack.shape, dtype=np.int64)) * stack.dtype.itemsize,
        frames=len(stack),
        frames_stored=int(there.sum()),
        decoded_by=next((by for _, by in stack.decoders()), "stored"),
        source=source,
        why=why,
    )


def _stacks_of_file(context: Context, file: str) -> Iterator[StackInfo]:
    for path, source, why in _found(context, file):
        try:
            with Stack(DataUrl(file, path), missing="fill", context=context) as stack:
                info = describe(stack, source, why)
        except FastlegacyError as exc:
            info = _unreadable(context, file, path, source, exc)
        yield info


def _found(context: Context, file: str) -> list[tuple[str, str, str]]:
    """(dataset, convention, why) of all stacks of a file, each dataset once."""
    found: dict[str, tuple[str, str, str]] = {}
    try:
        with context.no_h5_left():
            for source in plugins("fastlegacy.sources", "SOURCE").values():
                for path, why in source.find(context, file):
                    found.setdefault(path, (path, source.name, why))
    except FastlegacyError:
        raise
    except (RuntimeError, OSError, KeyError, ValueError) as exc:
        hint = "copy the file again from its source, or wait until it is written"
        raise SourceError(f"HDF5 cannot read it: {exc}", file=file, hint=hint) from exc
    return list(found.values())


def _unreadable(context: Context, file: str, path: str, source: str, exc: FastlegacyError) -> StackInfo:
    with context.no_h5_left(), context.open_h5(file) as h5:
        dset: Any = h5[path]
        shape, dtype = tuple(dset.shape), str(dset.dtype)
    frames = int(np.prod(shape[:-2], dtype=np.int64))
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    url = str(DataUrl(file, path))
    return StackInfo(url, shape, dtype, [], None, 0, nbytes, frames, 0, "nothing", source, f"cannot be read: {exc}")


def _only_stack(context: Context, file: str) -> str:
    found = [path for path, _, _ in _found(context, os.path.abspath(file))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotAStackError("holds no stack of images", file=file, hint="`fastlegacy ls` says what is in a file")
    names = ", ".join(found[:_MOST_NAMES]) + (", ..." if len(found) > _MOST_NAMES else "")
    raise UrlError(f"holds {len(found)} stacks ({names})", file=file, hint=f"name one: {file}::{found[0]}")
