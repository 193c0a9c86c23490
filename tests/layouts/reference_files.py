# SPDX-License-Identifier: MIT
"""Files of encoded layouts without the kernels: pieces, filled in by the twins of pixels and codecs."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlegacy.model import CodedPixels, Layout, Literal, Padding, Pixels, StackFacts
from fastlegacy.pixels import Code, Coded, Form

__all__ = ["body", "file_bytes", "measured"]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "core" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_PIXELS = _load("reference_pixels")
_ENCODE = _load("reference_encode")


def body(code: Code, frame: NDArray[Any], mask: NDArray[Any] | None = None) -> bytes:
    """Return a frame through a codec."""
    encode = {"byte_offset": _ENCODE.byte_offset_encode, "agi_bitfield": _ENCODE.agi_encode}[code.codec]
    return bytes(encode(developed(frame, code.form, mask)))


def developed(frame: NDArray[Any], form: Form, mask: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the pixels of a file."""
    return np.asarray(_PIXELS.develop(frame, form, mask=mask))


def measured(code: Code, frame: NDArray[Any], mask: NDArray[Any] | None = None) -> Coded:
    """Return what a layout is told of an encoded frame."""
    data = body(code, frame, mask)
    return Coded(len(data), md5=hashlib.md5(data).digest() if code.digest else bytes(16))


def file_bytes(
    layout: Layout, facts: StackFacts, frames: NDArray[Any], index: int = 0, mask: NDArray[Any] | None = None
) -> bytes:
    """Return a file of a layout, made of frames (frames, ny, nx)."""
    code = layout.code(facts)
    frame = frames[layout.frame_of(facts, index)]
    coded = None if code is None else measured(code, frame, mask)
    parts = []
    for piece in layout.pieces(facts, index, coded):
        match piece:
            case Literal(data):
                parts.append(data)
            case Padding(size, value):
                parts.append(bytes([value]) * size)
            case Pixels(first, 1, form=Form() as form):
                parts.append(developed(frames[first], form, mask).tobytes())
            case CodedPixels(at, wanted, size):
                parts.append(body(wanted, frames[at], mask))
                assert len(parts[-1]) == size
            case _:
                raise AssertionError(piece)
    return b"".join(parts)
