# SPDX-License-Identifier: MIT
"""What a command that opens one file does before: in, what was typed; out, an error where HDF5 would not survive it."""

from __future__ import annotations

import os
from contextlib import closing

__all__ = ["guarded"]


def guarded(source: str, dataset: str | None = None) -> None:
    """Let another process look into the file of a source first. Folders are not looked into.

    Raises
    ------
    UrlError
        If the source cannot be understood.
    SourceError
        If HDF5 crashes or hangs when it reads the structure of the file.
    """
    from fastlegacy.faces.guard import Guard
    from fastlegacy.hdf5.url import parse_url

    named = parse_url(source, dataset)
    if os.path.isfile(named.file):
        with closing(Guard()) as guard:
            guard(named.file, named.dataset)
