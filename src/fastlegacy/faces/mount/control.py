# SPDX-License-Identifier: MIT
"""The control channel of a running mount: a Unix socket on which its owner can ask it things, and change headers.

Each message is one line of JSON, ``{"fastlegacy": 1, "do": "ping"}``; each answer too, ``{"fastlegacy": 1, "ok": true,
"result": ...}`` or ``{"fastlegacy": 1, "ok": false, "error": "what is wrong", "bad_words": false}``. A mount does

* ``ping``: its process, folder, label, and since when it is there;
* ``statistics``: what it has served so far;
* ``headers`` (``path``): rows of (path, name, value, origin);
* ``set`` (``path``, ``values``: name -> text): changes headers; sentences of what has changed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

from fastlegacy.errors import FastlegacyError, MountError, UrlError
from fastlegacy.faces.mount.meeting import MeetingPoint, meeting_point
from fastlegacy.faces.mount.rarely import Rarely

__all__ = ["VERSION", "Control", "Handler"]

VERSION = 1
LONGEST_REQUEST = 1 << 16
_CLIENT_S = 5.0  # for a client to say what it wants, and again to take the answer
_END_S = 10.0  # a change of headers that is under way at the end may wait for a dead file server
_LOGGED_MAX = 50

_log = logging.getLogger("fastlegacy.mount")


class Handler(Protocol):
    """Who knows the headers of a mount."""

    @property
    def label(self) -> str:
        """What is shown."""

    def set_headers(self, path: str, texts: Mapping[str, str]) -> list[str]:
        """Change headers below a folder; return sentences. UrlError for nonsense: then nothing is changed."""

    def headers(self, path: str) -> Iterable[tuple[str, str, str, str]]:
        """Return rows of (path, name, value, origin)."""


class Control:
    """Listens from ``with`` until its end. If it cannot, the mount goes on without; one warning says so.

    Enter it before the mount is made: afterwards the folder of the socket may be covered.

    Parameters
    ----------
    folder : str
        Where the mount will be: an absolute path without links.
    handler : Handler
        Called in a thread of its own, by one client after the other.
    statistics : callable
        Returns what the mount has served, as JSON can say it.
    """

    def __init__(self, folder: str, handler: Handler, statistics: Callable[[], Mapping[str, Any]]) -> None:
        self._folder = folder
        self._handler = handler
        self._statistics = statistics
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._point: MeetingPoint | None = None
        self._stopping = threading.Event()
        self._client: socket.socket | None = None
        self._lock = threading.Lock()
        self._rarely = Rarely()
        self._thread = threading.Thread(target=self._run, name="fastlegacy-control", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._point = meeting_point(self._folder)
        except (OSError, MountError) as error:
            _log.warning("headers of this mount cannot be set while it runs: %s", error)
            return self
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._point is None:
            return
        with self._lock:
            self._stopping.set()
            # on Linux this wakes a thread that waits in accept or recv; closing would not
            for waiting in (self._point.socket, self._client):
                if waiting is not None:
                    with suppress(OSError):
                        waiting.shutdown(socket.SHUT_RDWR)
        self._point.remove()
        self._thread.join(_END_S)
        self._point.socket.close()

    # ---- the thread

    def _run(self) -> None:
        assert self._point is not None
        while True:
            try:
                client, _ = self._point.socket.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                # nobody can connect when there are no descriptors left; later there may be some again
                for sentence in self._rarely.lines([f"the control socket: {error}"]):
                    _log.warning("%s", sentence)
                self._stopping.wait(0.1)
                continue
            with client:
                with self._lock:
                    if self._stopping.is_set():
                        return
                    self._client = client
                try:
                    self._serve(client)
                except OSError as error:
                    _log.debug("a client of the control socket: %s", error)
                except Exception as error:
                    _log.error("internal error of the control socket: %s: %s", type(error).__name__, error)
                    _log.debug("traceback of the internal error", exc_info=error)
                finally:
                    with self._lock:
                        self._client = None

    def _serve(self, client: socket.socket) -> None:
        if not is_allowed(client):
            return
        line = read_line(client, LONGEST_REQUEST, _CLIENT_S)
        answer = _failure("this is not one line of at most 64 KiB") if line is None else self.answer(line)
        client.settimeout(_CLIENT_S)
        client.sendall(json.dumps(answer).encode() + b"\n")

    # ---- requests

    def answer(self, line: bytes) -> dict[str, Any]:
        """Do what a line asks for; return the answer. Nothing that a client can say raises an error."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _failure("this is not JSON")
        if not isinstance(request, dict) or request.get("fastlegacy") != VERSION:
            return _failure(f"the mount speaks version {VERSION} of these messages; use the same fastlegacy for both")
        what, path, values = request.get("do"), request.get("path", ""), request.get("values", {})
        if not isinstance(path, str):
            return _failure("path is a text")
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            return _failure("values are texts by their names")
        try:
            result = self._result(what, path.strip("/"), values)
        except FastlegacyError as error:
            return _failure(str(error), bad_words=isinstance(error, UrlError))
        except Exception as error:
            _log.error("internal error in %s: %s: %s", what, type(error).__name__, error)
            _log.debug("traceback of the internal error", exc_info=error)
            return _failure("internal error; the log of the mount says more")
        return {"fastlegacy": VERSION, "ok": True, "result": result}

    def _result(self, what: object, path: str, values: Mapping[str, str]) -> Any:
        match what:
            case "ping":
                label = self._handler.label
                return {"pid": os.getpid(), "folder": self._folder, "label": label, "since": self._since}
            case "statistics":
                return self._statistics()
            case "headers":
                return [list(row) for row in self._handler.headers(path)]
            case "set":
                return self._set(path, values)
        raise UrlError(f"a mount cannot do {what!r}", hint="it can ping, statistics, headers and set")

    def _set(self, path: str, values: Mapping[str, str]) -> list[str]:
        changes = self._handler.set_headers(path, values)
        # a warning, as everybody who reads this log should know it
        for sentence in changes[:_LOGGED_MAX]:
            _log.warning("set: %s", sentence)
        if len(changes) > _LOGGED_MAX:
            _log.warning("set: and %d more", len(changes) - _LOGGED_MAX)
        return changes


def _failure(text: str, *, bad_words: bool = False) -> dict[str, Any]:
    return {"fastlegacy": VERSION, "ok": False, "error": text, "bad_words": bad_words}


def is_allowed(peer: socket.socket) -> bool:
    """Tell whether the process at the other end is of this user or root's."""
    uid = peer_uid(peer)
    return uid in (0, os.geteuid())


def peer_uid(peer: socket.socket) -> int:
    """Return the user of the process at the other end, at the moment when it connected or began to listen."""
    _pid, uid, _gid = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def read_line(peer: socket.socket, longest: int, seconds: float) -> bytes | None:
    """Return the first line without its end; None if the other end says more than fits, or no whole line.

    Raises
    ------
    TimeoutError
        If it takes too long, however many bytes come one by one.
    """
    deadline = time.monotonic() + seconds
    got = bytearray()
    while (end := got.find(b"\n")) < 0:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("a whole line did not come in time")
        if len(got) > longest:
            return None
        peer.settimeout(left)
        more = peer.recv(min(longest + 1, 1 << 16))
        if not more:
            return None
        got += more
    return bytes(got[:end]) if end <= longest else None
