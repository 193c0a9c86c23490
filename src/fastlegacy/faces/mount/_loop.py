# SPDX-License-Identifier: MIT
"""Runs our own loop over libfuse's session: reads are answered by C, everything else by libfuse."""

from __future__ import annotations

import ctypes
import os
from typing import Any

__all__ = ["address_of", "serve_requests"]


def address_of(function: Any) -> int:
    """Return the address of a function of ctypes."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def serve_requests(library: Any, fuse: ctypes.c_void_p) -> None:
    """Serve a mount until its end.

    Parameters
    ----------
    library : ctypes.CDLL
        libfuse 2.
    fuse : address
        Its ``struct fuse``.

    Raises
    ------
    OSError
        If the kernel's requests cannot be read.
    """
    from fastlegacy._serve import run_loop, send_address

    for function in (library.fuse_get_session, library.fuse_session_next_chan, library.fuse_chan_new):
        function.restype = ctypes.c_void_p
    library.fuse_chan_bufsize.restype = ctypes.c_size_t
    session = ctypes.c_void_p(library.fuse_get_session(fuse))
    channel = ctypes.c_void_p(library.fuse_session_next_chan(session, None))
    fd, request_bytes = library.fuse_chan_fd(channel), library.fuse_chan_bufsize(channel)
    operations = (ctypes.c_void_p * 3)(None, send_address(), None)  # struct fuse_chan_ops: receive, send, destroy
    answers = library.fuse_chan_new(operations, fd, ctypes.c_size_t(request_bytes), None)
    if not answers:
        raise MemoryError
    run_loop(
        fd,
        request_bytes,
        session.value or 0,
        answers,
        (
            address_of(library.fuse_session_process),
            address_of(library.fuse_session_exited),
            address_of(library.fuse_session_exit),
        ),
        # the kernel wakes them in turn: with more of them, their buffers are in no cache when they are needed again
        len(os.sched_getaffinity(0)) + 1,
    )
    library.fuse_chan_destroy(ctypes.c_void_p(answers))
