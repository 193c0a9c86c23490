# SPDX-License-Identifier: MIT
"""All mounts of fastlegacy on this machine: what each shows, who serves it, and what to do where nobody does."""

from __future__ import annotations

import errno
import os
import pwd
from dataclasses import asdict, dataclass
from typing import Any

from fastlegacy.errors import MountError
from fastlegacy.faces.mount.ask import ask_mount
from fastlegacy.faces.mount.ending import server_pid
from fastlegacy.faces.mount.figures import Figures
from fastlegacy.faces.mount.meeting import owner_of
from fastlegacy.faces.mount.mountinfo import Mount, ours
from fastlegacy.faces.mount.places import GONE, Places, looked

__all__ = ["Found", "State", "census"]

_ANSWER_S = 5.0
_LOOK_S = 2.0


class State:
    """What can be said of a mount."""

    SERVED = "served"
    DEAD = "dead"
    SILENT = "silent"
    OF_ANOTHER_USER = "of another user"


@dataclass(frozen=True, slots=True)
class Found:
    """One mount.

    Attributes
    ----------
    folder, source : str
        Where it is, and what is shown.
    user : str
        Who has mounted it.
    state : str
        One of :class:`State`.
    advice : str
        What to do, where there is something to do.
    pid : int or None
        The process that serves it, if it is known.
    since : str or None
        When it began, by ISO 8601.
    figures : Figures or None
        What it has served.
    """

    folder: str
    source: str
    user: str
    state: str
    advice: str = ""
    pid: int | None = None
    since: str | None = None
    figures: Figures | None = None

    def as_plain(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return asdict(self)


def census() -> list[Found]:
    """Look at all mounts of fastlegacy; none of them, in whatever state it is, keeps this waiting for long."""
    return [_found(mount) for mount in ours()]


def _found(mount: Mount) -> Found:
    owner = owner_of(mount)
    user = "" if owner is None else _name(owner)
    pid = server_pid(Places.at(mount.folder))
    if os.geteuid() not in (0, owner):
        return Found(mount.folder, mount.source, user, State.OF_ANOTHER_USER, f"ask {user}, or root", pid)
    try:
        about = ask_mount(mount, "ping", answer_s=_ANSWER_S)
        figures = Figures.of(ask_mount(mount, "statistics", answer_s=_ANSWER_S))
        return Found(
            mount.folder, mount.source, user, State.SERVED, "", int(about["pid"]), str(about["since"]), figures
        )
    except (MountError, KeyError, TypeError, ValueError):
        state, advice = _state(mount.folder)
        return Found(mount.folder, mount.source, user, state, advice, pid)


def _state(folder: str) -> tuple[str, str]:
    """Tell whether a mount whose server does not answer a question answers the kernel."""
    code = looked(folder, _LOOK_S)
    if code in GONE:
        return State.DEAD, f"fastlegacy umount {folder}; nothing is lost"
    if code == errno.EACCES:
        return State.SILENT, f"only its user can see it; if it is dead: fastlegacy umount {folder}"
    if code is None:
        return State.SILENT, f"it hangs: look whether its source can be read; fastlegacy umount --lazy {folder}"
    return State.SILENT, "it works, but cannot be asked: it was started with another FASTLEGACY_RUN, or is an older one"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
