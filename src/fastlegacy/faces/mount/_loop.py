# SPDX-License-Identifier: MIT
"""Runs our own loop over libfuse's session: reads are answered by C, everything else by libfuse."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlegacy._core import Files
    from fastlegacy._serve import Handles

__all__ = ["Requests", "address_of"]


def address_of(function: Any) -> int:
    """Return the address of a function of ctypes."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class Requests:
    """Serves the requests of a mount.

    Parameters
    ----------
    handles : fastlegacy._serve.Handles
        What is served.
    files : fastlegacy._core.Files, optional
        The source files: what waits for one of them for longer than their patience is answered with EIO.
    on_left : callable
        Called where threads still wait for a source, before libfuse's things are freed.

    Attributes
    ----------
    left : int
        After the end, how many threads still wait for a source. What they use has to be kept for ever.
    """

    def __init__(
        self, handles: Handles, files: Files | None = None, on_left: Callable[[], None] = lambda: None
    ) -> None:
        self._handles = handles
        self._files = files
        self._on_left = on_left
        self.left = 0

    def serve(self, library: Any, fuse: ctypes.c_void_p) -> None:
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
        from fastlegacy._serve import channel_functions, run_loop

        for function in (library.fuse_get_session, library.fuse_session_next_chan, library.fuse_chan_new):
            function.restype = ctypes.c_void_p
        library.fuse_chan_bufsize.restype = ctypes.c_size_t
        session = ctypes.c_void_p(library.fuse_get_session(fuse))
        own = ctypes.c_void_p(library.fuse_session_next_chan(session, None))
        fd, request_bytes = library.fuse_chan_fd(own), library.fuse_chan_bufsize(own)
        # another one to the same device: what libfuse answers goes through our hands
        functions = ctypes.c_void_p(channel_functions())
        channel = ctypes.c_void_p(library.fuse_chan_new(functions, fd, ctypes.c_size_t(request_bytes), None))
        if not channel:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        left = run_loop(
            fd,
            request_bytes,
            session.value or 0,
            channel.value or 0,
            (
                address_of(library.fuse_session_process),
                address_of(library.fuse_session_exited),
                address_of(library.fuse_session_exit),
            ),
            # the kernel wakes them in turn: with more of them, their buffers are in no cache when they are needed again
            len(os.sched_getaffinity(0)) + 1,
            self._handles,
            0 if self._files is None else self._files.address,
        )
        if left:
            self._on_left()
        else:
            library.fuse_chan_destroy(channel)
        self.left = left
