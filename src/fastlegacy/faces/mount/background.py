# SPDX-License-Identifier: MIT
"""A mount that goes on by itself: in, what serves it; out, an exit code as soon as it answers, or cannot be made."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastlegacy.errors import FastlegacyError, MountError, UrlError
from fastlegacy.faces.mount.logbook import file_handler, log_file_of, name_of
from fastlegacy.faces.mount.meeting import run_folder
from fastlegacy.faces.mount.places import Places, is_alive

__all__ = ["Files", "in_background"]

_log = logging.getLogger("fastlegacy.mount")
_READY = b"ready\n"

Ready = Callable[[], None]


class Files:
    """The log and the pid file of a mount in the background.

    Parameters
    ----------
    folder : path
        Where the mount will be.
    log, pid : path, optional
        By default in the user's folders for such things.

    Raises
    ------
    MountError
        If there is no place for them.
    """

    def __init__(self, folder: str, *, log: str | None = None, pid: str | None = None) -> None:
        self.folder = Places.of(folder).folder
        try:
            self.log = Path(log).absolute() if log else log_file_of(self.folder)
            if not log:
                self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError) as error:
            raise MountError(f"there is no folder for the log ({error})", hint="--log-file says where") from error
        self.pid = Path(pid).absolute() if pid else Path(run_folder()) / f"{name_of(self.folder)}.pid"

    def handler(self) -> logging.FileHandler:
        """Return what writes to the log.

        Raises
        ------
        MountError
        """
        try:
            return file_handler(str(self.log))
        except OSError as error:
            message = f"the log cannot be written ({error.strerror})"
            raise MountError(message, file=self.log, hint="--log-file says where it shall be") from error

    @contextmanager
    def noted_pid(self) -> Iterator[None]:
        """Write down the number of this process while the body runs.

        Raises
        ------
        MountError
            If it cannot be written, or another server is noted there.
        """
        before = _pid_in(self.pid)
        if before is not None and before != os.getpid() and is_alive(before):
            hint = f"end it by: fastlegacy umount {self.folder}; or name another file by --pid-file"
            raise MountError(f"process {before} is noted here as a server", file=self.pid, hint=hint)
        text = f"{os.getpid()}\n"
        try:
            # by its descriptor: the folder may be covered when the file is to be removed
            above = os.open(self.pid.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unwritten(error) from error
        try:
            new = f".{self.pid.name}.{os.getpid()}"
            try:
                _write(new, text, above)
                os.replace(new, self.pid.name, src_dir_fd=above, dst_dir_fd=above)
            except OSError as error:
                raise self._unwritten(error) from error
            try:
                yield
            finally:
                with suppress(OSError):
                    os.unlink(self.pid.name, dir_fd=above)
        finally:
            os.close(above)

    def _unwritten(self, error: OSError) -> MountError:
        hint = "--pid-file says where it shall be"
        return MountError(f"the pid file cannot be written ({error.strerror})", file=self.pid, hint=hint)


def _write(name: str, text: str, above: int) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=above)
    with open(fd, "w", encoding="ascii") as file:
        file.write(text)


def _pid_in(path: Path) -> int | None:
    try:
        words = path.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return None
    return int(words[0]) if len(words) == 1 and words[0].isdecimal() else None


def in_background(serve: Callable[[Ready], None], files: Files, *, quiet: bool = False) -> int:
    """Serve in another process that nothing ends with this one; return when it is ready, or has failed.

    Parameters
    ----------
    serve : callable
        Serves until the end; calls its argument when it is ready. Its errors are written to standard error until then,
        and to the log.
    files : Files
    quiet : bool
        Write only warnings and errors to the log.

    Returns
    -------
    int
        0 when it is ready; else the exit code that the error is worth.
    """
    listen, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    between = os.fork()
    if between == 0:
        os.close(listen)
        os.setsid()  # the end of the terminal does not concern it
        server = os.fork()  # who is no leader of a session never gets a terminal again
        if server:
            os._exit(0)
        os._exit(_served(serve, files, tell, quiet=quiet))
    os.close(tell)
    os.waitpid(between, 0)
    with open(listen, "rb") as heard:
        pid = int(heard.readline() or b"0")
        try:
            return _code(heard.readline(), files)
        except KeyboardInterrupt:
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            raise


def _code(word: bytes, files: Files) -> int:
    if word == _READY:
        return 0
    if not word:
        hint = f"{files.log} may say more"
        raise MountError("the server was ended before the mount answered", hint=hint)
    return int(word)


# ---- the server


def _served(serve: Callable[[Ready], None], files: Files, tell: int, *, quiet: bool) -> int:
    """Do everything that the new process does; return its exit code."""
    os.closerange(3, tell)  # what else was open in the caller is not kept open for days: locks, pipes
    os.closerange(tell + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    os.write(tell, b"%d\n" % os.getpid())
    streams = _Streams(tell)
    code = 0
    try:
        streams.log_to(files.handler(), quiet=quiet)
        with files.noted_pid():
            _log.info("process %d begins to make the mount on %s", os.getpid(), files.folder)
            serve(streams.leave)
        _log.info("the mount on %s has ended", files.folder)
    except FastlegacyError as error:
        _log.error("%s", error)
        code = 2 if isinstance(error, UrlError) else 1
    except BaseException as error:
        _log.error("internal error: %s: %s", type(error).__name__, error)
        _log.debug("traceback of the internal error", exc_info=error)
        code = 1
    streams.say(b"%d\n" % code)
    return code


class _Streams:
    """Standard input, output and error, of which error is the caller's until the mount is ready."""

    def __init__(self, tell: int) -> None:
        self._tell = tell
        self._root = logging.getLogger()
        self._terminals = tuple(self._root.handlers)
        self._log: logging.FileHandler | None = None
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):  # nobody shall wait for the end of our output: ssh does, as long as it is open somewhere
            os.dup2(null, stream)
        os.close(null)

    def log_to(self, handler: logging.FileHandler, *, quiet: bool) -> None:
        """Write the log to a file too, and to the terminal no more than before."""
        for terminal in self._terminals:
            terminal.setLevel(max(terminal.level, self._root.level))
        self._log = handler
        self._root.addHandler(handler)
        ours = logging.getLogger("fastlegacy")
        if not quiet and ours.getEffectiveLevel() > logging.INFO:
            ours.setLevel(logging.INFO)

    def leave(self) -> None:
        """Say that the mount is ready, and let go of the caller's standard error."""
        assert self._log is not None
        assert self._log.stream is not None
        for terminal in self._terminals:
            self._root.removeHandler(terminal)
        _log.info("the mount is ready")
        sys.stderr.flush()
        for stream in (1, 2):  # by its descriptor: the mount may cover the file's folder
            os.dup2(self._log.stream.fileno(), stream)
        self.say(_READY)

    def say(self, word: bytes) -> None:
        """Tell the caller how it went; only the first word counts."""
        if self._tell < 0:
            return
        with suppress(OSError):  # it may have gone
            os.write(self._tell, word)
        os.close(self._tell)
        self._tell = -1
