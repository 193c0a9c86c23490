# SPDX-License-Identifier: MIT
"""How ``ls`` and ``info`` show what is known of a stack."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlegacy.faces.progress import human

if TYPE_CHECKING:
    from fastlegacy.model import StackInfo

__all__ = ["as_plain", "describe"]


def as_plain(info: StackInfo) -> dict[str, Any]:
    """Return the facts of a stack for JSON, with the ratio of sizes."""
    return {**asdict(info), "ratio": _ratio(info)}


def describe(info: StackInfo) -> dict[str, str]:
    """Return the facts of a stack as texts: label -> text."""
    ratio = _ratio(info)
    size = f"{human(info.stored_bytes)} of {human(info.nbytes)}"
    return {
        "shape": " x ".join(map(str, info.shape)),
        "dtype": _dtype_text(info.dtype),
        "filters": ", ".join(info.filters) or "none",
        "chunks": " x ".join(map(str, info.chunks)) if info.chunks else "none",
        "stored": size if ratio is None else f"{size} (ratio {ratio:.1f})",
        "frames": str(info.frames) if info.frames_stored == info.frames else f"{info.frames_stored} of {info.frames}",
    }


def _dtype_text(code: str) -> str:
    dtype = np.dtype(code)
    return f"{dtype.name} (big endian)" if dtype.str.startswith(">") else dtype.name


def _ratio(info: StackInfo) -> float | None:
    return info.nbytes / info.stored_bytes if info.stored_bytes else None
