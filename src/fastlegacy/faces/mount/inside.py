# SPDX-License-Identifier: MIT
"""What a mount tells of itself in its folder ``.fastlegacy``: status, metrics, log and settings, made when looked at.

The folder is reached by its name and is in no listing, as ``.zfs`` is in a ZFS: what walks through the mount (``cp``,
``rsync``, ``find``, a backup, a file manager) does not meet files that are never the same twice.

The metrics are in the text format of Prometheus, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/); the settings are TOML 1.0 (https://toml.io).
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fastlegacy._core import Stack
from fastlegacy._view import PieceFile
from fastlegacy.faces.mount.figures import Figures, duration
from fastlegacy.faces.mount.logbook import LastLines
from fastlegacy.index.folder import Folder
from fastlegacy.index.names import folded
from fastlegacy.index.tree import Tree

__all__ = ["FOLDER", "About", "InsideFiles", "as_toml", "metrics", "status", "with_inside"]

FOLDER = ".fastlegacy"
_BARE = re.compile(r"[A-Za-z0-9_-]+")  # TOML's names that need no quotes

Statistics = Mapping[str, Any]
Content = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a mount from its beginning.

    Attributes
    ----------
    folder, source : str
        Where it is, and what is shown.
    settings : mapping
        Name -> value of what was chosen.
    log : LastLines
        The last lines of its log.
    began : float
        When, seconds since 1970.
    pid : int
        The process that serves it.
    """

    folder: str
    source: str
    settings: Mapping[str, Any]
    log: LastLines
    began: float = field(default_factory=time.time)
    pid: int = field(default_factory=os.getpid)


# ---------------------------------------------------------------------------------------------------- contents


def status(about: About, statistics: Statistics) -> bytes:
    """Return a few lines for people."""
    figures = Figures.of(statistics)
    began = datetime.fromtimestamp(about.began).astimezone().isoformat(timespec="seconds")
    rows = {
        "source": about.source,
        "folder": about.folder,
        "real folder": f"{about.folder}_real",
        "process": about.pid,
        "since": f"{began} ({duration(figures.seconds)})",
        "served": figures,
        "to end it": f"fastlegacy umount {about.folder}",
    }
    return _encoded("".join(f"{name + ':':<13}{value}\n" for name, value in rows.items()))


def metrics(about: About, statistics: Statistics) -> bytes:
    """Return the statistics in the text format of Prometheus."""
    figures = Figures.of(statistics)
    operations = statistics.get("operations", {})
    labels = {"folder": about.folder, "source": about.source, "pid": str(about.pid)}
    lines = [
        *_metric("info", "gauge", "What is mounted, and where.", [(labels, 1)]),
        *_metric("start_time_seconds", "gauge", "When it was mounted, since 1970.", [({}, about.began)]),
        *_metric("uptime_seconds", "gauge", "How long it has been mounted.", [({}, figures.seconds)]),
        *_metric(
            "prefetched_frames_total",
            "counter",
            "Frames of which something was decoded before anybody asked.",
            [({}, statistics.get("prefetched", 0))],
        ),
        *_metric("read_errors_total", "counter", "Reads that failed.", [({}, figures.errors)]),
    ]
    for name, key, text in (
        ("operations_total", "calls", "Calls of each operation."),
        ("operation_seconds_total", "seconds", "Time spent in each operation."),
        ("operation_bytes_total", "bytes", "Bytes read and written."),
    ):
        rows = [({"operation": operation}, row[key]) for operation, row in sorted(operations.items()) if key in row]
        lines += _metric(name, "counter", text, rows)
    return _encoded("".join(f"{line}\n" for line in lines))


def _metric(name: str, kind: str, text: str, rows: list[tuple[dict[str, str], float]]) -> list[str]:
    full = f"fastlegacy_{name}"
    if not rows:
        return []
    return [
        f"# HELP {full} {text}",
        f"# TYPE {full} {kind}",
        *(f"{full}{_labels(labels)} {float(value)!r}" for labels, value in rows),
    ]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = {
        name: text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') for name, text in labels.items()
    }
    return "{" + ",".join(f'{name}="{text}"' for name, text in escaped.items()) + "}"


def as_toml(values: Mapping[str, Any]) -> bytes:
    """Return a mapping as TOML: texts, numbers, truth values and lists of them; None is left out."""
    lines = [f"{_key(name)} = {_toml(value)}" for name, value in values.items() if value is not None]
    return _encoded("".join(f"{line}\n" for line in lines))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return repr(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value if item is not None) + "]"
    text = _encoded(str(value)).decode()
    # JSON's escapes are TOML's, but TOML has no surrogates, and wants DEL escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _encoded(text: str) -> bytes:
    # what of a name is no UTF-8 is shown by a mark
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()


# ---------------------------------------------------------------------------------------------------- files


class InsideFiles(Tree):
    """Files whose contents are made when their size is asked for: the kernel asks before it lets anybody open one.

    Who opens a file gets what its size was told of last. The kernel may remember another size, which it heard before or
    after: so these files are to be read past its pages (:attr:`is_steady`).

    Parameters
    ----------
    contents : mapping of str to callable
        Name of each file -> what makes its bytes.
    clock_ns : callable
        Tells the time, nanoseconds since 1970.
    """

    def __init__(self, contents: Mapping[str, Content], *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        # no stack is behind these files, and so nothing of Tree's own state is there
        self._contents = dict(contents)
        self._names = tuple(self._contents)
        self._clock_ns = clock_ns
        self._told: dict[str, tuple[bytes, int]] = {}
        self._making = threading.Lock()
        self._core = Stack((1, 1, 1), b"\0", [(b"\0", [(0, 1, 1, -1, 0, 1)] * 3, ())])

    def __repr__(self) -> str:
        return f"<InsideFiles {', '.join(self._names)}>"

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._contents

    def spelled(self, name: str) -> str | None:
        """Return the name of a file that is given in any case; None if there is none."""
        return next((known for known in self._names if folded(known) == folded(name)), None)

    def index_of(self, name: str) -> int:
        """Return the index of a file; KeyError if there is none."""
        if name not in self._contents:
            raise KeyError(name)
        return self._names.index(name)

    def size_of(self, name: str) -> int:
        """Make the bytes of a file anew; return how many there are."""
        data = self._contents[name]()
        with self._making:
            self._told[name] = data, self._clock_ns()
        return len(data)

    def mtime_ns_of(self, index: int) -> int:
        """Return when the bytes of a file were made, nanoseconds since 1970."""
        return self._last(self._names[index])[1]

    @property
    def mtime_ns(self) -> int:
        """Now, nanoseconds since 1970."""
        return self._clock_ns()

    @property
    def is_encoded(self) -> bool:
        """Sizes are not known beforehand."""
        return True

    @property
    def is_whole(self) -> bool:
        """Whether sizes and times can be told for longer than a moment: they cannot."""
        return False

    @property
    def is_steady(self) -> bool:
        """Whether the size is the same each time: it is that of new contents."""
        return False

    def is_frame(self, index: int) -> bool:
        """Whether a file has frames, so that the kernel may keep its pages: none has."""
        return False

    def open_pieces(self, index: int) -> PieceFile:
        """Return the bytes whose size was told last."""
        return PieceFile(self._core, [("literal", self._last(self._names[index])[0])])

    def _last(self, name: str) -> tuple[bytes, int]:
        if name not in self._told:
            self.size_of(name)
        with self._making:
            return self._told[name]

    def close(self) -> None:
        """Nothing is open."""


class _Beside(Folder):
    """A folder with one more in it that no listing has."""

    def __init__(self, shown: Folder, name: str, hidden: Folder) -> None:
        super().__init__()
        self._slots, self._children = shown._slots, shown._children
        self._name, self._hidden = name, hidden

    def folder(self, path: str) -> Folder | None:
        """Return the folder at a path."""
        if path == self._name and path not in self._children:
            return self._hidden
        return super().folder(path)

    def spelled(self, name: str) -> str | None:
        """Return the name of an entry that is given in any case."""
        found = super().spelled(name)
        return self._name if found is None and folded(name) == folded(self._name) else found


def with_inside(
    shown: Callable[[], Folder], about: About, statistics: Callable[[], Statistics]
) -> Callable[[], Folder]:
    """Return what returns the folder that is shown, with :data:`FOLDER` in it.

    Parameters
    ----------
    shown : callable
        Returns what is shown at the moment.
    about : About
    statistics : callable
        Returns what was served.
    """
    contents: dict[str, Content] = {
        "status": lambda: status(about, statistics()),
        "metrics": lambda: metrics(about, statistics()),
        "log": lambda: _encoded(about.log.text()),
        "settings": lambda: as_toml(about.settings),
    }
    hidden = Folder(files=InsideFiles(contents))
    now: tuple[Folder, Folder] | None = None

    def both() -> Folder:
        nonlocal now
        root, known = shown(), now  # another thread may do the same
        if known is None or known[0] is not root:
            known = now = root, _Beside(root, FOLDER, hidden)
        return known[1]

    return both
