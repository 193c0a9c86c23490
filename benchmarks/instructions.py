# SPDX-License-Identifier: MIT
"""Instructions for each pixel of the kernels, at each level that valgrind knows: a table, in a few minutes.

    python benchmarks/instructions.py

It needs valgrind and a C compiler. One frame of 4 megapixels on one core, into memory that is there already. Python's
own part, some 100 000 instructions for a call, is 0.02 for each pixel.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import fastlegacy
from fastlegacy import _encode
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import EIGER_4M, detector_frames, detector_mask

Call: TypeAlias = Callable[[], object]

LEVELS = ("portable", "avx2")
DTYPES = ("uint16", "uint32")
FILTERS = ("bslz4", "gzip", "shuffle+gzip", "blosc-lz4")
CUT = 10


def make_files(folder: Path) -> None:
    """Write what is decoded and encoded: valgrind need not count how."""
    for dtype in DTYPES:
        frames = detector_frames(1, EIGER_4M, dtype)
        for filters in FILTERS:
            write_stack(folder / f"{filters}-{dtype}.h5", frames, filters=filters)
    counts = detector_frames(1, EIGER_4M, "int32")[0]
    np.save(folder / "image.npy", np.where(counts == np.iinfo(np.int32).max, -1, counts).astype(np.int32))


def opened(folder: Path, filters: str, dtype: str) -> fastlegacy.Stack:
    """One of the stacks; no room is there for what was decoded."""
    return fastlegacy.open(f"{folder / f'{filters}-{dtype}.h5'}::/entry/data/data", memory_bytes=16 << 20)


def decoders(folder: Path) -> dict[str, Call]:
    """What is read from files, and how."""
    calls: dict[str, Call] = {}
    for dtype in DTYPES:
        out = np.zeros(EIGER_4M, dtype)
        for name in FILTERS:
            calls[f"{name}, {dtype}"] = partial(opened(folder, name, dtype).read, 0, out=out)
        bad = detector_mask(EIGER_4M)
        found = np.zeros(bad.size + 1, np.uint32), np.zeros(bad.size + 1, dtype)
        calls[f"sparse of bslz4, {dtype}"] = partial(
            fastlegacy.sparse, opened(folder, "bslz4", dtype), 0, CUT, bad, found
        )
    return calls


def encoders(folder: Path) -> dict[str, Call]:
    """The codecs of pixels in memory."""
    image = np.load(folder / "image.npy")
    cbf, agi, out = _encode.byte_offset_encode(image), _encode.agi_encode(image), np.zeros_like(image)
    return {
        "byte offset, size": partial(_encode.byte_offset_size, image),
        "byte offset, encode": partial(_encode.byte_offset_encode, image),
        "byte offset, decode": partial(_encode.byte_offset_decode, cbf, out),
        "AGI_BITFIELD, size": partial(_encode.agi_size, image),
        "AGI_BITFIELD, encode": partial(_encode.agi_encode, image),
        "AGI_BITFIELD, decode": partial(_encode.agi_decode, agi, out),
    }


def count(folder: Path) -> None:
    """Do everything once while valgrind counts it, after once before."""
    library = ctypes.CDLL(str(folder / "counted.so"))
    for name, call in {**decoders(folder), **encoders(folder)}.items():
        call()
        library.counted_begin()
        call()
        library.counted_end(name.encode())


def counted(folder: Path, level: str) -> dict[str, float]:
    """Instructions for each pixel, by what was done."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder / level}"]
    command = [*valgrind, sys.executable, __file__, str(folder)]
    done = subprocess.run(
        command, env={**os.environ, "FASTLEGACY_SIMD": level}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"valgrind ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, float] = {}
    for part in sorted(folder.glob(f"{level}.*"), key=lambda path: int(path.suffix[1:])):
        text = part.read_text(encoding="utf-8")
        name: Any = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total: Any = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        if name and total:
            found[name[1]] = int(total[1]) / (EIGER_4M[0] * EIGER_4M[1])
    return found


def main() -> None:
    """Print the table; with a folder, be what valgrind runs."""
    if len(sys.argv) > 1:
        count(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Path(__file__).with_name("counted.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", folder / "counted.so", source], check=True)
        make_files(folder)
        levels = {level: counted(folder, level) for level in LEVELS}
    print("| instructions for each pixel |", " | ".join(LEVELS), "|")
    print("|---|" + "---|" * len(LEVELS))
    for what in levels[LEVELS[0]]:
        print(f"| {what} |", " | ".join(f"{levels[level][what]:.1f}" for level in LEVELS), "|")


if __name__ == "__main__":
    main()
