# SPDX-License-Identifier: MIT
"""What mount(8) calls for ``mount -t fastlegacy SOURCE FOLDER -o OPTIONS`` and for lines of /etc/fstab.

Its words are those of mount(8), "EXTERNAL HELPERS". Options of ``fastlegacy mount`` are written without the dashes:
``format=cbf,allow-other``. Those with commas in them are quoted: ``format="cbf,edf"``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

from fastlegacy.errors import MountError, UrlError
from fastlegacy.faces.cli import mount
from fastlegacy.faces.cli.main import main as run

__all__ = ["main", "words_of"]

_WRONG_WORDS, _FAILED = 1, 32  # mount(8), "EXIT STATUS"

# what is for mount, for systemd or for other kinds of file systems
_NOT_OURS = re.compile(
    r"defaults|rw|(no)?(auto|user|users|owner|group|fail)|user=.*|_r?netdev|[xX]-.*|(comment|u?helper)=.*"
    r"|(no)?(relatime|strictatime|lazytime|iversion|mand)|silent|loud|async"
)
_FUSE = re.compile(
    r"ro|(no)?(dev|suid|exec|atime)|sync|dirsync|allow_root|default_permissions"
    r"|(attr_timeout|ac_attr_timeout|entry_timeout|negative_timeout|max_read|max_readahead|max_background"
    r"|congestion_threshold|uid|gid|umask)=.*"
)
_WORD = re.compile(r'(?:[^,"\\]|\\.|"[^"]*")+')


def main(argv: Sequence[str] | None = None) -> int:
    """Mount in the background; return 0, 1 (wrong words) or 32 (cannot be mounted), as mount(8) wants it.

    Parameters
    ----------
    argv : sequence of str, optional
        ``SOURCE FOLDER [-sfnv] [-o OPTIONS] [-t TYPE]``; the words of the process by default.
    """
    parser = argparse.ArgumentParser(prog="mount.fastlegacy", description="Called by mount -t fastlegacy.")
    parser.add_argument("source", help="as for `fastlegacy mount`: a file, FILE::DATASET, or a folder")
    parser.add_argument("folder", help="where to mount")
    parser.add_argument("-o", dest="options", action="append", default=[], help="options, separated by commas")
    parser.add_argument("-s", dest="sloppy", action="store_true", help="pass over options that are not known")
    parser.add_argument("-f", dest="fake", action="store_true", help="do everything but mount")
    parser.add_argument("-v", dest="verbose", action="store_true", help="say more")
    parser.add_argument("-n", dest="unused", action="store_true", help="of no meaning here")
    for flag in ("-t", "-N"):
        parser.add_argument(flag, dest="unused", help="of no meaning here")
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:
        return _WRONG_WORDS if stop.code else 0
    try:
        words, user = words_of(",".join(args.options), sloppy=args.sloppy)
        if args.fake:
            return 0
        if user is not None:
            _become(user)
    except (UrlError, MountError) as error:
        print(f"mount.fastlegacy: {error}", file=sys.stderr)
        return _WRONG_WORDS
    loud = ["-v"] if args.verbose else []
    code = run(["mount", "--background", *loud, *words, "--", args.source, args.folder])
    return {0: 0, 2: _WRONG_WORDS}.get(code, _FAILED)


def words_of(text: str, *, sloppy: bool = False) -> tuple[list[str], str | None]:
    """Turn mount's options into words for ``fastlegacy mount``.

    Parameters
    ----------
    text : str
        ``name,name=value,name="value, with commas"``.
    sloppy : bool
        Pass over names that are not known.

    Returns
    -------
    (list of str, str or None)
        The words, and who shall mount (``setuid=NAME``); None: who calls.

    Raises
    ------
    UrlError
        If an option is not known, or has a value too much or too little.
    """
    known = _known()
    words: list[str] = []
    fuse: list[str] = []
    user: str | None = None
    for word in _WORD.findall(text):
        name, equals, value = word.partition("=")
        value = re.sub(r'"([^"]*)"|\\(.)', lambda match: match[1] or match[2] or "", value)
        name = name.replace("_", "-")
        if name == "setuid" and value:
            user = value
        elif name in known:
            words += _option(name, value if equals else None, takes_value=known[name])
        elif _FUSE.fullmatch(word):
            fuse.append(word)
        elif not _NOT_OURS.fullmatch(word) and not sloppy:
            hint = "write options of `fastlegacy mount` without dashes, such as format=cbf"
            raise UrlError(f"{word!r} is not an option that is known", hint=hint)
    return ([*words, "-o", ",".join(fuse)] if fuse else words), user


def _option(name: str, value: str | None, *, takes_value: bool) -> list[str]:
    if takes_value != (value is not None):
        raise UrlError(f"the option {name} {'needs a' if takes_value else 'takes no'} value")
    return [f"--{name}" if value is None else f"--{name}={value}"]


def _known() -> dict[str, bool]:
    """Return the long options of ``fastlegacy mount``: name -> whether it takes a value."""
    parser = argparse.ArgumentParser(add_help=False)
    mount.COMMAND.configure(parser)
    return {
        flag[2:]: action.nargs != 0
        for action in parser._actions
        for flag in action.option_strings
        if flag.startswith("--") and flag != "--background"
    }


def _become(name: str) -> None:
    """Go on as another user: files are read, and the mount belongs to him."""
    import pwd  # Windows, where this is never called, has no such module

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise UrlError(f"there is no user {name!r}", hint="setuid=NAME says who shall mount") from None
    if found.pw_uid == os.geteuid():
        return
    try:
        os.initgroups(name, found.pw_gid)
        os.setgid(found.pw_gid)
        os.setuid(found.pw_uid)
    except PermissionError as error:
        raise MountError(f"only root can mount as the user {name}", hint="leave out setuid") from error
    for variable in [key for key in os.environ if key.startswith(("XDG_", "FASTLEGACY_"))]:
        del os.environ[variable]
    os.environ |= {"HOME": found.pw_dir, "USER": name, "LOGNAME": name}


if __name__ == "__main__":
    sys.exit(main())
