# SPDX-License-Identifier: MIT
"""A program that mounts on a Windows that is played: what Windows has not is taken away, and WinFsp is a Python object.

``python windows.py FOLDER SCENARIO``, or ``python windows.py command WORDS OF FASTLEGACY``: what WinFsp has asked and
was answered is printed as JSON. It shows that the way is complete and uses nothing that is not there; what Windows
itself does is not shown by it.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import importlib.util
import json
import logging
import os
import platform
import re
import signal
import stat
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

# what is imported later may look at what system this is
import h5py  # noqa: F401
import hdf5plugin  # noqa: F401
import numpy as np

from fastlegacy.testing.beside import module_at

LIBRARY = "C:\\Program Files (x86)\\WinFsp\\bin\\winfsp-x64.dll"
HANDLES_FROM = 10_000
STILL_ACTIVE = 259
CASE_INSENSITIVE, READDIR_PLUS = 1 << 29, 1 << 21
O_RDWR = 2  # WinFsp hands over the numbers of Microsoft's C library, which are those of Python there

NOT_ON_WINDOWS = re.findall(
    r"\w+",
    """
    O_ACCMODE O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_LARGEFILE O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH
    O_RSYNC O_SYNC O_TMPFILE chown fchdir fchmod fchown fdatasync fork fstatvfs geteuid getegid getgid getuid lchown
    mkfifo mknod pipe2 posix_fallocate pread preadv pwrite pwritev sched_getaffinity sched_setaffinity setsid
    """,
)
TAKE_NO_DESCRIPTOR = re.findall(
    r"\w+", "access chmod link lstat mkdir open readlink rename replace rmdir stat symlink unlink utime"
)
NOT_FOR_WINDOWS = ("fcntl", "grp", "pwd", "resource", "termios", "fastlegacy._names", "fastlegacy._serve")


# ---------------------------------------------------------------------------------------------------- Windows


class Kernel:
    """kernel32.dll as far as it is called: handles are descriptors of this system and 10 000 more."""

    CREATE: ClassVar = {1: os.O_CREAT | os.O_EXCL, 2: os.O_CREAT | os.O_TRUNC, 3: 0, 4: os.O_CREAT, 5: os.O_TRUNC}
    ACCESS: ClassVar = {0x80000000: os.O_RDONLY, 0x40000000: os.O_WRONLY, 0xC0000000: os.O_RDWR}
    LINKS = 0x00200000

    def __init__(self) -> None:
        self.error = 0
        self.open = os.open
        self.CreateFileW = self._function(self._create_file)
        self.OpenProcess = self._function(lambda access, inherit, pid: pid.value if self._started(pid.value) else None)
        self.CloseHandle = self._function(lambda handle: 1)
        self.GetExitCodeProcess = self._function(lambda handle, code: self._set(code, STILL_ACTIVE))
        self.GetProcessTimes = self._function(lambda pid, began, *more: self._set(began, self._started(pid.value) or 0))

    @staticmethod
    def _function(function: Any) -> Any:
        class Function:
            restype: Any = None

            def __call__(self, *words: Any) -> Any:
                return function(*words)

        return Function()

    @staticmethod
    def _set(reference: Any, value: int) -> int:
        reference._obj.value = value
        return 1

    @staticmethod
    def _started(pid: int) -> int | None:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else int(fields[19])

    def _create_file(self, path: Any, access: Any, share: Any, _: Any, disposition: Any, flags: Any, __: Any) -> int:
        assert share.value == 7, "others must be able to remove it"
        assert flags.value & self.LINKS, "links must not be followed"
        wanted = self.ACCESS[access.value] | self.CREATE[disposition.value]
        try:
            return self.open(path.value, wanted, 0o666) + HANDLES_FROM
        except OSError as error:
            self.error = error.errno or 0
            return ctypes.c_void_p(-1).value or 0


def play_windows(winfsp: Any) -> None:
    """Take away what Windows has not, and add what only it has."""
    kernel = Kernel()
    for name in TAKE_NO_DESCRIPTOR:
        setattr(os, name, without_descriptors(getattr(os, name)))
    scandir = os.scandir

    def paths_only(path: Any = ".") -> Any:
        assert not isinstance(path, int)
        return scandir(path)

    os.scandir = paths_only  # type: ignore[assignment]
    for name in NOT_ON_WINDOWS:
        if hasattr(os, name):
            delattr(os, name)
    for name in ("SIGHUP", "SIGUSR1", "SIGALRM", "pthread_kill", "pthread_sigmask", "SIG_BLOCK"):
        delattr(signal, name)
    for name in NOT_FOR_WINDOWS:
        sys.modules[name] = None  # type: ignore[assignment]
    sys.modules["msvcrt"] = SimpleNamespace(open_osfhandle=lambda handle, flags: handle - HANDLES_FROM)  # type: ignore[assignment]
    sys.modules["winreg"] = registry()
    ctypes.WinDLL = lambda name, use_last_error: kernel  # type: ignore[attr-defined]
    ctypes.get_last_error = lambda: kernel.error  # type: ignore[attr-defined]
    ctypes.WinError = lambda code: OSError(code, os.strerror(code))  # type: ignore[attr-defined]
    load = ctypes.CDLL
    ctypes.CDLL = lambda name, *words, **more: winfsp if name == LIBRARY else load(name, *words, **more)  # type: ignore[misc, assignment]
    platform.system = lambda: "Windows"
    sys.platform = "win32"


def without_descriptors(function: Any) -> Any:
    """Return a function of ``os`` that no longer takes descriptors of folders."""

    def call(*words: Any, **more: Any) -> Any:
        for name in ("dir_fd", "src_dir_fd", "dst_dir_fd"):
            assert more.pop(name, None) is None, f"{function.__name__} with {name}"
        return function(*words, **more)

    return call


def registry() -> ModuleType:
    """Return the module ``winreg`` of a Windows with WinFsp."""
    module = ModuleType("winreg")
    found = SimpleNamespace(
        HKEY_LOCAL_MACHINE=0,
        KEY_READ=0,
        KEY_WOW64_32KEY=0,
        OpenKey=lambda *words: 1,
        QueryValueEx=lambda key, name: (LIBRARY.removesuffix("bin\\winfsp-x64.dll"), 1),
        CloseKey=lambda key: None,
    )
    vars(module).update(vars(found))
    return module


# ---------------------------------------------------------------------------------------------------- WinFsp


class Connection(ctypes.Structure):
    """``struct fuse_conn_info``."""

    _fields_ = [
        (name, ctypes.c_uint) for name in ("major", "minor", "async_read", "write", "readahead", "capable", "want")
    ]


class WinFsp:
    """winfsp-x64.dll: its main function asks what WinFsp asks before a mount, and then what the scenario wants."""

    _name = LIBRARY

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.seen: dict[str, Any] = {}
        self.exited, self.ready = threading.Event(), threading.Event()
        self.context: Any = None
        self.ops: Any = None
        self.high: Any = None
        self.fuse_get_context = Kernel._function(lambda: ctypes.pointer(self.context))

    def fuse_version(self) -> int:
        """Return that of the interface: 2.8."""
        return 28

    def fuse_exit(self, fuse: Any) -> None:
        """End the loop."""
        assert fuse.value == 4711
        self.exited.set()

    def fuse_main_real(self, count: int, words: Any, table: Any, size: int, _data: Any) -> int:
        """Mount, serve, unmount."""
        self.high = sys.modules["refuse.high"]
        self.context = self.high.fuse_context(fuse=4711, uid=2**32 - 1, gid=2**32 - 1, pid=0)
        self.ops = table.contents
        assert size == ctypes.sizeof(self.ops)
        arguments = [words[index].decode() for index in range(count)]
        self.seen["arguments"] = arguments
        folder = arguments[-1]
        self.seen["mount point is free"] = not os.path.lexists(folder)
        if self.scenario == "fails":
            return 1
        connection = Connection(capable=CASE_INSENSITIVE | READDIR_PLUS)
        self.ops.init(ctypes.addressof(connection))
        self.seen["wants"] = connection.want
        free = self.high.c_statvfs()
        self.ops.statfs(b"/", ctypes.pointer(free))
        self.seen["free"] = free.f_bavail * free.f_frsize
        self.seen["first questions"] = [self.getattr("/")[0], self.getattr("/.")[0], self.readlink("/")]
        os.mkdir(folder)
        try:
            getattr(self, f"serve_{self.scenario}")(folder)
            assert self.exited.wait(100), "nobody has ended it"
        finally:
            os.rmdir(folder)
        self.ops.destroy(None)
        return 0

    # ---- requests

    def getattr(self, path: str) -> tuple[int, Any]:
        """Ask for attributes."""
        found = self.high.c_stat()
        return self.ops.getattr(path.encode(), ctypes.pointer(found)), found

    def readlink(self, path: str) -> int:
        """Ask what a link says; return the error."""
        buffer = (ctypes.c_byte * 100)()
        return int(self.ops.readlink(path.encode(), ctypes.cast(buffer, ctypes.POINTER(ctypes.c_byte)), 100))

    def opened(self, path: str, flags: int = 0, *, create: bool = False) -> tuple[int, Any]:
        """Open or create a file."""
        info = self.high.fuse_file_info(flags=flags)
        if create:
            return self.ops.create(path.encode(), 0o666, ctypes.pointer(info)), info
        return self.ops.open(path.encode(), ctypes.pointer(info)), info

    def close(self, path: str, info: Any) -> None:
        """Close a file."""
        assert self.ops.flush(path.encode(), ctypes.pointer(info)) == 0
        assert self.ops.release(path.encode(), ctypes.pointer(info)) == 0

    def read(self, path: str, block: int = 1000) -> bytes | int:
        """Return the bytes of a file, or an error."""
        code, info = self.opened(path)
        if code:
            return code
        data, buffer = b"", ctypes.create_string_buffer(block)
        into = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_byte))
        while (count := self.ops.read(path.encode(), into, block, len(data), ctypes.pointer(info))) > 0:
            data += buffer.raw[:count]
        self.close(path, info)
        return data if count == 0 else count

    def write(self, path: str, data: bytes, info: Any, offset: int = 0) -> int:
        """Write into an open file."""
        buffer = ctypes.create_string_buffer(data, len(data))
        start = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_byte))
        return int(self.ops.write(path.encode(), start, len(data), offset, ctypes.pointer(info)))

    def names(self, path: str) -> list[str]:
        """List a folder."""
        info, found = self.high.fuse_file_info(), []
        code = self.ops.opendir(path.encode(), ctypes.pointer(info))
        assert code == 0, code
        types = dict(field[:2] for field in self.high.fuse_operations._fields_)

        def fill(_buffer: Any, name: bytes, _status: Any, _offset: int) -> int:
            found.append(name.decode())
            return 0

        filler = types["readdir"]._argtypes_[2](fill)
        assert self.ops.readdir(path.encode(), None, filler, 0, ctypes.pointer(info)) == 0
        assert self.ops.releasedir(path.encode(), ctypes.pointer(info)) == 0
        return found

    # ---- scenarios

    def serve_all(self, folder: str) -> None:
        """Do what programs do, and end by Ctrl-C."""
        served = sys.modules["served"]
        self.seen["ready"] = self.ready.wait(100)
        code, found = self.getattr("/DATA0001.IMG")
        self.seen["stat"] = [code, found.st_mode, found.st_size, found.st_mtimespec.tv_sec]
        self.seen["read"] = [self.read(name) == served.content(0) for name in ("/data0001.img", "/DATA0001.IMG")]
        self.seen["nothing"] = [
            self.getattr("/NOTHING")[0],
            self.read("/nothing"),
            self.read("/sub\\x"),
            self.read("/x:y"),
        ]
        self.seen["names"] = self.names("/")
        self.seen["write into a frame"] = self.opened("/data0001.img", O_RDWR)[0]
        self.seen["new file"] = self._new_file("/Result.txt", b"one\r\ntwo\x1a\n")
        self.seen["again"] = self.opened("/RESULT.TXT", O_RDWR | os.O_CREAT | os.O_EXCL, create=True)[0]
        self.seen["rename"] = [
            self.ops.rename(b"/RESULT.TXT", b"/other.txt"),
            self.ops.rename(b"/other.txt", b"/Data0002.img"),
            self.read("/data0002.IMG") == b"ONE\r\ntwo\x1a\n",
            self.ops.unlink(b"/data0002.img"),
            self.read("/DATA0002.img") == served.content(1),
        ]
        self.seen["folders"] = [self.ops.mkdir(b"/Sub", 0o777), self.getattr("/SUB")[0], self.ops.rmdir(b"/sub")]
        self.seen["unlink a frame"] = self.ops.unlink(b"/data0001.img")
        self.seen["removed while open"] = self._removed_while_open()
        self.seen["chown"] = self.ops.chown(b"/kept", 1, 1)
        self.seen["status"] = "real folder:" in self.read("/.FASTLEGACY/status").decode()
        self.seen["journal"] = Path(f"{folder}.fastlegacy.json").exists()
        os.kill(os.getpid(), signal.SIGINT)

    def _new_file(self, path: str, data: bytes) -> list[Any]:
        code, info = self.opened(path, O_RDWR | os.O_CREAT | os.O_EXCL, create=True)
        done = [code, self.write(path, data, info), self.write(path, b"ONE", info, 0)]
        found = self.high.c_stat()
        done.append(self.ops.fgetattr(path.encode(), ctypes.pointer(found), ctypes.pointer(info)))
        done += [found.st_size, self.ops.fsync(path.encode(), 1, ctypes.pointer(info))]
        done.append(self.ops.ftruncate(path.encode(), len(data), ctypes.pointer(info)))
        self.close(path, info)
        return [*done, self.read(path) == b"ONE" + data[3:]]

    def _removed_while_open(self) -> list[int]:
        _, info = self.opened("/gone", O_RDWR | os.O_CREAT | os.O_EXCL, create=True)
        removed = self.ops.unlink(b"/GONE")
        written = self.write("/gone", b"x", info)
        self.close("/gone", info)
        return [removed, written, self.getattr("/gone")[0]]

    def serve_crash(self, folder: str) -> None:
        """Be killed."""
        print(json.dumps({"listed": sorted(os.listdir(Path(folder).parent))}), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def serve_break(self, _folder: str) -> None:
        """End by another thread's signal while nothing is asked."""
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    def serve_command(self, _folder: str) -> None:
        """Read a frame of a file."""
        found = self.read("/DATA0002.NPY")
        self.seen["read"] = len(found) if isinstance(found, bytes) else found
        self.exited.set()

    def serve_damaged(self, _folder: str) -> None:
        """Read a frame that cannot be decoded."""
        self.seen["damaged"] = self.read("/data0007.img")
        self.exited.set()


def run_command(words: list[str]) -> int:
    """Run the program ``fastlegacy``; a mount reads one file and ends."""
    winfsp = WinFsp("command")
    play_windows(winfsp)
    code = int(importlib.import_module("fastlegacy.faces.cli.main").main(words))
    print(json.dumps(winfsp.seen))
    return code


def main() -> int:
    """Run a scenario."""
    if sys.argv[1] == "command":
        return run_command(sys.argv[2:])
    folder, scenario = sys.argv[1:]
    winfsp = WinFsp(scenario)
    logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
    play_windows(winfsp)
    served = module_at(Path(__file__).with_name("served.py"))
    errors = importlib.import_module("fastlegacy.errors")
    mount = importlib.import_module("fastlegacy.faces.cli.mount")._mount_of_this_system()
    tree = served.make_tree(broken=scenario == "damaged")
    try:
        statistics = mount(tree, folder, on_ready=winfsp.ready.set)
    except errors.MountError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    operations = {name: row["calls"] for name, row in statistics["operations"].items()}
    print(json.dumps(winfsp.seen | {"calls": operations, "errors": statistics["errors"]}))
    return 0


if __name__ == "__main__":
    assert np.dtype("u2").itemsize == 2
    assert errno.EROFS == 30
    assert stat.S_IFREG
    sys.exit(main())
