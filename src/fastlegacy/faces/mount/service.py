# SPDX-License-Identifier: MIT
"""Tells systemd that a mount is ready: sd_notify(3) in a few lines, for units of ``Type=notify``."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

__all__ = ["tell_ready"]


def tell_ready() -> None:
    """Say so to whoever listens at ``$NOTIFY_SOCKET``; nothing happens where nobody does."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client, suppress(OSError):
        # a name that begins with @ is one of the abstract namespace
        client.sendto(b"READY=1", b"\0" + os.fsencode(address[1:]) if address[0] == "@" else address)
