# SPDX-License-Identifier: MIT
"""Frames as a photon-counting detector gives them: mostly background, some peaks, and pixels that never count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["EIGER_4M", "counting_frames", "detector_frames", "detector_mask", "plain_frames"]

EIGER_4M = (2162, 2068)
"""Rows and columns of an Eiger 2 with 4 megapixels."""

_MODULE = (512, 1028)  # rows and columns of one module of that detector
_GAP = (38, 12)  # rows and columns between two modules
_DEAD_FRACTION = 2e-5
_DISTINCT = 3  # frames that are drawn; the others are these, turned and with peaks of their own


def detector_frames(
    n: int, shape: tuple[int, int] = EIGER_4M, dtype: DTypeLike = "uint32", seed: int = 0
) -> NDArray[np.generic]:
    """Make frames like those of an Eiger: what matters to a compressor is true to life.

    Background of Poisson noise that falls off towards the edge, diffraction peaks, and gaps between modules and dead
    pixels at the dtype's maximum, as Dectris and LImA write them.

    Parameters
    ----------
    n : int
        Number of frames.
    shape : tuple of int
        (ny, nx), pixels.
    dtype : dtype-like
        Any integer or floating dtype; its byte order is kept.
    seed : int
        The same seed gives the same frames.

    Returns
    -------
    ndarray, shape (n, ny, nx)
        Counts. No two frames are equal.
    """
    dtype = np.dtype(dtype)
    random = np.random.default_rng(seed)
    out: NDArray[np.generic] = np.empty((n, *shape), dtype)
    if n == 0:
        return out
    highest = _highest(dtype)
    mask = detector_mask(shape, seed)
    backgrounds = [_background(shape, random) for _ in range(min(n, _DISTINCT))]
    for i in range(n):
        counts = np.roll(backgrounds[i % _DISTINCT], (i // _DISTINCT) * 7, axis=0)
        _add_peaks(counts, random)
        np.minimum(counts, min(highest - 1, np.iinfo(np.uint32).max), out=counts)
        out[i] = counts
        out[i][mask] = highest
    return out


def detector_mask(shape: tuple[int, int] = EIGER_4M, seed: int = 0) -> NDArray[np.bool_]:
    """Say which pixels never count: the gaps between modules, and a few dead pixels.

    A detector that is smaller than two modules along an axis gets one gap in its middle.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where there is no count.
    """
    mask = np.zeros(shape, np.bool_)
    mask[_gaps(shape[0], _MODULE[0], _GAP[0]), :] = True
    mask[:, _gaps(shape[1], _MODULE[1], _GAP[1])] = True
    dead = np.random.default_rng(seed).integers(0, mask.size, 1 + int(mask.size * _DEAD_FRACTION))
    mask.reshape(-1)[dead] = True
    return mask


def counting_frames(
    n: int, shape: tuple[int, int] = (16, 24), dtype: DTypeLike = "uint32", first: int = 0
) -> NDArray[np.generic]:
    """Make frames in which each pixel tells where it belongs: its running number, plus 1000 times its frame's.

    Returns
    -------
    ndarray, shape (n, ny, nx)
        Wrapped around where the dtype is too small.
    """
    values = np.arange(shape[0] * shape[1], dtype=np.uint64).reshape(shape)
    frames = (np.arange(first + 1, first + n + 1, dtype=np.uint64) * np.uint64(1000))[:, None, None]
    return (values + frames).astype(dtype)


def plain_frames(n: int, shape: tuple[int, int], dtype: DTypeLike, seed: int = 0) -> NDArray[np.generic]:
    """Make frames of small numbers with every sign that the dtype has; integers' extremes stand in two corners.

    Floats have no extremes: some lossy filters of the field stop the process on them.

    Returns
    -------
    ndarray, shape (n, ny, nx)
        No detector's habits.
    """
    dtype = np.dtype(dtype)
    random = np.random.default_rng(seed)
    signed = dtype.kind in "if"
    out = random.integers(-50 if signed else 0, 100, (n, *shape)).astype(dtype)
    if dtype.kind == "f":
        out += random.random((n, *shape)).astype(dtype)
    else:
        out[..., 0, 0] = np.iinfo(dtype).max
        out[..., -1, -1] = np.iinfo(dtype).min
    return out


def _highest(dtype: np.dtype[Any]) -> float | int:
    if dtype.kind == "f":
        return float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).max)


def _background(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.uint32]:
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape)
    rate = 2.5 * np.exp(-2.0 * (y[:, None] ** 2 + x[None, :] ** 2))
    counts: NDArray[np.uint32] = random.poisson(rate).astype(np.uint32)
    return counts


def _add_peaks(counts: NDArray[np.uint32], random: np.random.Generator) -> None:
    ny, nx = counts.shape
    distance = np.arange(-3, 4)
    spot = np.exp(-(distance[:, None] ** 2 + distance[None, :] ** 2) / 3.0)
    number = 3 + counts.size // 30000
    places = zip(random.integers(0, ny, number), random.integers(0, nx, number), strict=True)
    for (y, x), height in zip(places, random.exponential(2000.0, number) + 30, strict=True):
        part = counts[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
        part += (height * spot[: part.shape[0], : part.shape[1]]).astype(np.uint32)


def _gaps(size: int, module: int, gap: int) -> NDArray[np.bool_]:
    """Which rows (or columns) lie between modules, bool of shape (size,)."""
    positions = np.arange(size)
    if size >= 2 * module + gap:
        return positions % (module + gap) >= module
    width = max(1, size // 50)
    return abs(positions - size // 2) < (width + 1) // 2
