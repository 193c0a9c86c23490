# SPDX-License-Identifier: MIT
"""Trees made from memory, and a program that mounts it: what the tests of the mount serve.

Run as a program: ``python served.py FOLDER [JSON of options of mount()]``. It prints ``ready`` when the mount
answers, and the statistics as JSON at the end.
"""

from __future__ import annotations

import json
import logging
import signal
import sys

import numpy as np

from fastlegacy import _core
from fastlegacy.errors import DecodeError, FastlegacyError
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.folder import Folder
from fastlegacy.index.tree import Tree
from fastlegacy.model import Layout, Literal, Piece, Pixels, StackFacts
from fastlegacy.pixels import Coded

FRAMES, NY, NX = 12, 40, 50
BROKEN_FRAME = 6  # of the tree that is served with "broken"
MTIME_NS = 1_600_000_000_123_456_789
HEADER = b"a header".ljust(64, b".")


class HeaderAndPixels(Layout):
    """A layout: 64 bytes, then the pixels."""

    name, suffix, summary, dtypes = "test", ".img", "for tests", ("u2",)

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return what a file is made of."""
        return Literal(HEADER), Pixels(index)


class PixelsOnly(Layout):
    """A layout: the pixels."""

    name, suffix, summary, dtypes = "pixels", ".pix", "for tests", ("u2",)

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return what a file is made of."""
        return (Pixels(index),)


class MemoryStack:
    """A stack whose pixels are in memory, one chunk a frame; the chunks come by way of Python."""

    def __init__(
        self,
        frames: int = FRAMES,
        *,
        broken: bool = False,
        url: str = "/data/a, scan.h5::/entry/data",
        mtime_ns: int = MTIME_NS,
    ) -> None:
        self.facts = StackFacts(url, (frames, NY, NX), (frames,), np.dtype("<u2"), mtime_ns)
        self.broken = broken
        dataset = _core.Dataset(
            url,
            (frames, NY, NX),
            (1, NY, NX),
            b"\0\0",
            _core.Files(4),
            _core.Cache(1 << 20),
            "python",
            loader=self._chunk,
        )
        axes = [(0, 1, frames, 0, 0, 1), (0, 1, NY, 1, 0, 1), (0, 1, NX, 2, 0, 1)]
        self.core = _core.Stack((frames, NY, NX), b"\0\0", [(dataset, axes, (0, 0, 0))])

    def _chunk(self, number: int) -> bytes:
        if self.broken and number == BROKEN_FRAME:
            raise OSError("this chunk is broken")
        return pixels(number).tobytes()

    def prepare(self, first: int, last: int) -> None:
        """Nothing to do for pixels in memory."""

    def redirect(self, prefix: str, replacement: str) -> None:
        """No file is behind this stack."""

    def end_redirect(self, prefix: str) -> None:
        """No file is behind this stack."""


def pixels(frame: int) -> np.ndarray:
    """Pixels of a frame."""
    return (np.arange(NY * NX).reshape(NY, NX) + 1000 * frame).astype("<u2")


def content(frame: int) -> bytes:
    """Bytes of the virtual file of a frame."""
    return HEADER + pixels(frame).tobytes()


def make_tree(frames: int = FRAMES, *, broken: bool = False) -> Tree:
    """Return the tree data0001.img, data0002.img and on."""
    return Tree(MemoryStack(frames, broken=broken), HeaderAndPixels())


class Measured(Tree):
    """A tree whose sizes depend on the pixels, as far as a mount can see: one of them cannot be measured."""

    def size_of(self, name: str) -> int:
        """Return the size of a file."""
        if name == self.names_by_number.name(BROKEN_FRAME):
            raise DecodeError("chunk 6 is damaged", file="scan.h5", dataset="/data", frame=BROKEN_FRAME)
        return super().size_of(name)


def make_folder(frames: int = FRAMES, *, broken: bool = False) -> Folder:
    """Return folders of trees: ``img/data0001.img`` and ``deep/pix/data0001.pix`` and on."""
    stack = MemoryStack(frames, broken=broken)
    img: Tree = (Measured if broken else Tree)(stack, HeaderAndPixels())
    return Folder({"img": img, "deep": Folder({"pix": Tree(stack, PixelsOnly())})})


def main() -> None:
    """Mount as the words of the command line say."""
    from fastlegacy.faces.mount.session import mount

    logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a late ctrl-c, after the mount's end, is not what is tested
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    tree: Tree | Folder
    if "url" in options:
        tree = Tree(Stack(options.pop("url")), HeaderAndPixels())
    else:
        make = make_folder if options.pop("folders", False) else make_tree
        tree = make(options.pop("frames", FRAMES), broken=options.pop("broken", False))
    try:
        statistics = mount(tree, sys.argv[1], on_ready=lambda: print("ready", flush=True), **options)
    except FastlegacyError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(statistics))


if __name__ == "__main__":
    main()
