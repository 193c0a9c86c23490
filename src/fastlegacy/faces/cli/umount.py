# SPDX-License-Identifier: MIT
"""``fastlegacy umount``: ends a mount."""

from __future__ import annotations

import argparse

from fastlegacy.faces.cli.command import Command, not_for_windows

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="folder of the mount")
    parser.add_argument(
        "--lazy", action="store_true", help="take it away even while it is in use; programs in it get errors"
    )


def _run(args: argparse.Namespace) -> int:
    not_for_windows("fastlegacy umount")
    from fastlegacy.faces.mount.ending import umount

    umount(args.folder, lazy=args.lazy)
    return 0


COMMAND = Command("umount", "end a mount; the folder is the real folder again", _configure, _run)
