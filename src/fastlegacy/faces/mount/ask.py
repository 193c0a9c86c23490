# SPDX-License-Identifier: MIT
"""Asks a running mount: any path in it and a request in, its answer out."""

from __future__ import annotations

import json
import os
import pwd
import socket
from typing import Any

from fastlegacy.errors import MountError, UrlError
from fastlegacy.faces.mount.control import VERSION, peer_uid, read_line
from fastlegacy.faces.mount.meeting import connected, mount_above, owner_of
from fastlegacy.faces.mount.mountinfo import Mount, ours

__all__ = ["ask", "ask_mount"]

_LONGEST_ANSWER = 1 << 28
_ANSWER_S = 120.0  # the first to look for headers may have to open thousands of files


def ask(path: str | os.PathLike[str], what: str, **more: Any) -> Any:
    """Let the mount that a path is in do something; return the result.

    Parameters
    ----------
    path : path
        The mount, or anything in it. The request is about what is at this path and below it.
    what : str
        ``"ping"``, ``"statistics"``, ``"headers"`` or ``"set"``.
    **more
        What else belongs to the request.

    Raises
    ------
    MountError
        If there is no such mount, or it does not answer.
    UrlError
        If it does not understand a word of the request.
    """
    found = mount_above(path)
    if found is None:
        where = ", ".join(mount.folder for mount in ours())
        raise MountError(f"{os.fspath(path)} is not in a mount", hint=f"mounts of fastlegacy: {where or 'none'}")
    mount, inside = found
    return ask_mount(mount, what, path=inside, **more)


def ask_mount(mount: Mount, what: str, *, answer_s: float = _ANSWER_S, **more: Any) -> Any:
    """Let a mount do something; return the result. The mount itself is not looked at, so it may be dead or hang.

    Parameters
    ----------
    mount : Mount
    what : str
        See :func:`ask`.
    answer_s : float
        How long to wait for the answer, seconds.
    **more
        What else belongs to the request.

    Raises
    ------
    MountError, UrlError
        As by :func:`ask`.
    """
    request = {"fastlegacy": VERSION, "do": what, **more}
    with _connected(mount) as peer:
        answer = _asked(peer, request, mount, answer_s)
    if answer.get("ok") is not True:
        kind = UrlError if answer.get("bad_words") else MountError
        raise kind(str(answer.get("error", "the mount says no, and not why")))
    return answer.get("result")


def _connected(mount: Mount) -> socket.socket:
    owner = owner_of(mount)
    if owner is None:
        raise MountError(f"the mount on {mount.folder} has just ended", hint="nothing was done")
    if os.geteuid() not in (0, owner):
        hint = "ask that user, or root"
        raise MountError(f"the mount on {mount.folder} belongs to {_name_of_user(owner)}", hint=hint)
    peer = connected(mount, owner)
    if peer is None:
        raise MountError(
            f"the server of the mount on {mount.folder} does not listen",
            hint=f"if it was killed: fastlegacy umount {mount.folder}; if not, end the mount and begin it anew",
        )
    if peer_uid(peer) not in (0, owner):
        peer.close()
        raise MountError(f"somebody else answers for the mount on {mount.folder}", hint="nothing was done")
    return peer


def _asked(peer: socket.socket, request: dict[str, Any], mount: Mount, answer_s: float) -> dict[str, Any]:
    try:
        peer.settimeout(answer_s)
        peer.sendall(json.dumps(request).encode() + b"\n")
        line = read_line(peer, _LONGEST_ANSWER, answer_s)
    except OSError as error:
        raise MountError(f"the server of the mount on {mount.folder} does not answer: {error}") from error
    try:
        answer = json.loads(line or b"")
    except ValueError as error:
        raise MountError(f"the server of the mount on {mount.folder} has ended, or does not answer") from error
    if not isinstance(answer, dict) or answer.get("fastlegacy") != VERSION:
        hint = "use the same fastlegacy for the mount and for this command"
        raise MountError(f"the mount on {mount.folder} answers in another language", hint=hint)
    return answer


def _name_of_user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user with the number {uid}"
