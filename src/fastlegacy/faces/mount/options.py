# SPDX-License-Identifier: MIT
"""The options that a mount is made with, and why."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable

from fastlegacy.errors import MountError
from fastlegacy.faces.mount._refuse import option

__all__ = ["mount_options", "parsed", "remembered_s"]

_REMEMBERED_S = 1  # the real folder may change behind the mount

_COMMA = re.compile(r"(?<!\\),")


def parsed(options: str | Iterable[str] | None) -> dict[str, str | None]:
    """Turn what the user gave (``"name,name=value"``, or a list of such) into name -> value (None: no value).

    Raises
    ------
    MountError
        If one of them is not an option, or one that fastlegacy itself depends on.
    """
    texts = [options] if isinstance(options, str) else list(options or ())
    found: dict[str, str | None] = {}
    for word in (word.strip() for text in texts for word in _COMMA.split(text)):
        name, equals, value = word.partition("=")
        if not re.fullmatch(r"[a-z_]+", name):
            raise MountError(f"{word!r} is not a mount option", hint="give them as name or name=value")
        if name in ("subtype", "fd", "rootmode", "user_id", "group_id"):
            raise MountError(f"the mount option {name} is not for the user to set", hint="leave it out")
        found[name] = value.replace("\\,", ",") if equals else None
    return found


def mount_options(source: str, *, kernel_checks: bool, allow_other: bool, user: dict[str, str | None]) -> list[str]:
    """Return the options for libfuse.

    Parameters
    ----------
    source : str
        What ``df`` and ``mount`` shall show.
    kernel_checks, allow_other : bool
        The kernel checks permissions; other users may look.
    user : mapping
        From :func:`parsed`; the user has the last word.
    """
    chosen: dict[str, str | int | None] = {
        "fsname": source,
        "subtype": "fastlegacy",
        "nonempty": None,  # the folder may hold files: that is the point
        "big_writes": None,  # 128 KiB instead of 4
        "atomic_o_trunc": None,  # O_TRUNC comes with open: that is how a virtual file is replaced
        "use_ino": None,
        "hard_remove": None,  # open files that were removed are served by their handles, see csrc/fuse_nodes.h
        "max_background": 64,  # requests of the kernel's read-ahead at a time: so many blocks are decoded at once
        "congestion_threshold": 48,
        "attr_timeout": _REMEMBERED_S,
        "entry_timeout": _REMEMBERED_S,
    }
    if kernel_checks:
        chosen["default_permissions"] = None
    if allow_other:
        chosen["allow_other"] = None
    if (allow_other or os.geteuid() == 0) and shutil.which("fusermount"):
        chosen["auto_unmount"] = None  # after kill -9 no dead mount is left; fusermount allows it only then
    return [option(name, value) for name, value in (chosen | user).items()]


def remembered_s(user: dict[str, str | None]) -> float:
    """Return how long the kernel keeps attributes and names, seconds: the longer of the two times.

    Parameters
    ----------
    user : mapping
        From :func:`parsed`.

    Raises
    ------
    MountError
        If one of the times is no number.
    """
    longest = 0.0
    for name in ("attr_timeout", "entry_timeout"):
        text = user.get(name, str(_REMEMBERED_S))
        try:
            longest = max(longest, float(text or ""))
        except ValueError as error:
            raise MountError(f"the mount option {name}={text} is no time", hint="give seconds, such as 1") from error
    return longest
