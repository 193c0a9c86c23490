# SPDX-License-Identifier: MIT
"""The bound of a whole process: in, what ``--memory`` says; out, what is left for chunks and pixels."""

from __future__ import annotations

import ctypes

from fastlegacy.hdf5.files import default_context

__all__ = ["DEFAULT_BYTES", "PROCESS_BYTES", "bound_process"]

DEFAULT_BYTES = 512 << 20
PROCESS_BYTES = 96 << 20
"""What a process takes without chunks and pixels: Python, NumPy, HDF5, the names and chunk maps of long scans."""

_LEAST_PART = 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE_BYTES = 256 << 10


def bound_process(total_bytes: int) -> None:
    """Let this process take no more memory than so much, as far as that is possible.

    What it takes by itself is left to it; chunks, pixels and buffers have the rest, and at least a quarter of all.
    Large buffers go back to the system as soon as they are free: by itself, malloc keeps them for later.

    Parameters
    ----------
    total_bytes : int
    """
    default_context().cache.max_bytes = max(total_bytes - PROCESS_BYTES, total_bytes // _LEAST_PART)
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        set_option(_M_TRIM_THRESHOLD, 16 * _LARGE_BYTES)
