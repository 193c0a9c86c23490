# SPDX-License-Identifier: MIT
"""Files whose headers can be changed, and a program that mounts them and listens for it.

Run as a program: ``python changing.py FOLDER [JSON of options of mount()]``. It prints ``ready`` when the mount
answers, and the statistics as JSON at the end.
"""

from __future__ import annotations

import copy
import json
import logging
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from fastlegacy.errors import UrlError
from fastlegacy.faces.shown import Shown
from fastlegacy.index.folder import Folder, Slot
from fastlegacy.index.tree import Tree
from fastlegacy.model import Layout, Literal, Piece, Pixels, StackFacts
from fastlegacy.pixels import Coded

sys.path.insert(0, str(Path(__file__).parent))

import served

LINE = 16
PAGES = 64  # of 4096 bytes, that the header of a file in "fixed" has
FIRST_CHANGE_NS = 1_700_000_000_000_000_000


def fixed_header(text: str) -> bytes:
    """Return a header of many pages, of which every line tells the value."""
    return text.encode().ljust(LINE, b".") * (PAGES * 4096 // LINE)


def varying_header(text: str) -> bytes:
    """Return a header as long as it has to be."""
    return f"distance={text}\n".encode()


def content(kind: str, text: str, frame: int = 0) -> bytes:
    """Return the bytes of a file."""
    header = fixed_header(text) if kind == "fixed" else varying_header(text)
    return header + served.pixels(frame).tobytes()


class Told(Layout):
    """A layout whose header tells one text."""

    name, suffix, summary, dtypes = "told", ".img", "for tests", ("u2",)

    def __init__(self, kind: str, text: str) -> None:
        self._header = fixed_header(text) if kind == "fixed" else varying_header(text)

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return what a file is made of."""
        return Literal(self._header), Pixels(index)


class Changing(Shown):
    """What a mount shows and asks for headers: folders ``fixed`` and ``varying``, each with a distance."""

    def __init__(self, frames: int = served.FRAMES) -> None:
        self.texts = dict.fromkeys(("fixed", "varying"), "0.14")
        self._stack = served.MemoryStack(frames)
        self._mtime_ns = dict.fromkeys(self.texts, served.MTIME_NS)
        self._slots = {kind: Slot(partial(self._make, kind)) for kind in self.texts}
        super().__init__(Folder(self._slots), "two folders")
        for slot in self._slots.values():
            slot.tree()

    def _make(self, kind: str, before: Tree | None) -> Tree:
        stack = copy.copy(self._stack)  # with the same pixels
        stack.facts = replace(stack.facts, mtime_ns=self._mtime_ns[kind])
        return Tree(stack, Told(kind, self.texts[kind]))

    def set_headers(self, path: str, texts: Mapping[str, str]) -> list[str]:
        """Change the distance."""
        if unknown := set(texts) - {"distance"}:
            raise UrlError(f"{unknown.pop()} is no value of a header", hint="there are distance")
        if path not in ("", *self.texts):
            raise UrlError(f"there is no folder {path}", hint="there are fixed, varying")
        text = texts.get("distance") or "0.14"
        if not text.replace(".", "").isdigit():
            raise UrlError(f"distance: {text!r} is not understood", hint="give a number")
        said = []
        for kind in [path] if path else list(self.texts):
            said.append(f"{kind}: distance {self.texts[kind]} -> {text}")
            self.texts[kind] = text
            self._mtime_ns[kind] = FIRST_CHANGE_NS + self.version
            self._slots[kind].renew()
        self.version += 1
        return said

    def headers(self, path: str) -> list[tuple[str, str, str, str]]:
        """Return rows of (path, name, value, origin)."""
        return [(kind, "distance", self.texts[kind], "set") for kind in ([path] if path else self.texts)]


def main() -> None:
    """Mount as the words of the command line say."""
    from fastlegacy.faces.mount.session import mount

    logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a late ctrl-c, after the mount's end, is not what is tested
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    changing = Changing(options.pop("frames", served.FRAMES))
    statistics = mount(changing, sys.argv[1], on_ready=lambda: print("ready", flush=True), **options)
    print(json.dumps(statistics))


if __name__ == "__main__":
    main()
