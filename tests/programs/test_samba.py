# SPDX-License-Identifier: MIT
"""A Samba share of a mount, with packaging/smb.conf: what its clients see, put, rename and remove."""

from __future__ import annotations

import configparser
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.faces.mount.ask import ask
from fastlegacy.testing.mounts import mount_command, mounted, reason_for_no_mount

pytestmark = [
    pytest.mark.programs,
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="smbd wants to be started by root"),
    pytest.mark.skipif(shutil.which("smbd") is None, reason="smbd is not installed"),
    pytest.mark.skipif(shutil.which("smbclient") is None, reason="smbclient is not installed"),
    pytest.mark.skipif(bool(reason_for_no_mount()), reason=str(reason_for_no_mount())),
]

ROOT = Path(__file__).parents[2]
FRAMES, NY, NX = 10_000, 4, 6
HEADER_BYTES = 256

Client = Callable[..., str]

# who looks for names in other case: the mount, as packaging/smb.conf has it, or Samba
SEARCHERS = {"mount": (["--ignore-case"], "yes"), "samba": ([], "no")}


@pytest.fixture(scope="module", params=SEARCHERS)
def searcher(request: pytest.FixtureRequest) -> str:
    """Return who looks for names in other case."""
    return str(request.param)


@pytest.fixture(scope="module")
def folder(searcher: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mount of 10 000 frames; frame n is full of the number n."""
    above = tmp_path_factory.mktemp("samba")
    with h5py.File(above / "scan.h5", "w") as file:
        pixels = np.broadcast_to(np.arange(FRAMES, dtype="u2")[:, None, None], (FRAMES, NY, NX))
        file.create_dataset("x", data=pixels, chunks=(100, NY, NX), compression=1)
    command = mount_command(
        f"{above / 'scan.h5'}::/x", above / "work", "--format", "flat", "--allow-other", *SEARCHERS[searcher][0]
    )
    with mounted(command, above / "work") as folder:
        yield folder


def frame(number: int) -> bytes:
    """The pixels of a file, which is counted from 1."""
    return np.full((NY, NX), number - 1, "<u2").tobytes()


@pytest.fixture(scope="module")
def port(searcher: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a server whose share ``legacy`` is the mount."""
    with shared(folder, tmp_path_factory.mktemp("smbd"), case_sensitive=SEARCHERS[searcher][1]) as number:
        yield number


@contextmanager
def shared(folder: Path, state: Path, *, case_sensitive: str = "yes") -> Iterator[int]:
    """Share a folder as long as it lasts; the port of the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "packaging" / "smb.conf")
    # what belongs to this machine: places, and nobody has a password here
    places = ("private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir")
    here = {
        **dict.fromkeys(places, str(state)),
        "smb ports": str(number),
        "interfaces": "127.0.0.1/8",
        "bind interfaces only": "yes",
        "map to guest": "bad user",
        "guest account": "root",
        "disable spoolss": "yes",
        "load printers": "no",
    }
    config["global"].update(here)
    assert config["legacy"]["case sensitive"] == "yes"
    config["legacy"].update({"path": str(folder), "guest ok": "yes", "case sensitive": case_sensitive})
    with open(state / "smb.conf", "w") as file:
        config.write(file)
    command = ["smbd", "--foreground", f"--configfile={state / 'smb.conf'}", f"--log-basename={state}"]
    null = subprocess.DEVNULL
    # it makes a process group of its own, and ends that when it ends
    server = subprocess.Popen(command, stdin=null, stdout=null, stderr=null)
    try:
        deadline = time.monotonic() + 60
        while not _listens(number):
            assert server.poll() is None, "smbd has ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield number
    finally:
        server.terminate()
        server.wait(100)


@pytest.fixture(scope="module")
def client(port: int, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Return ``client("ls; get x y")``: runs commands of smbclient on the share, returns what they print."""
    return client_of(port, tmp_path_factory.mktemp("smbclient"))


def client_of(port: int, here: Path) -> Client:
    """Return what runs commands of smbclient in a folder."""

    def run(commands: str, *, fails: bool = False) -> str:
        words = ["smbclient", "//127.0.0.1/legacy", "-p", str(port), "-N", "-c", commands]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=here, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def writable(tmp_path: Path) -> Iterator[Path]:
    """A mount of three frames that can be changed."""
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["x"] = np.broadcast_to(np.arange(3, dtype="u2")[:, None, None], (3, NY, NX))
    words = ("--format", "flat", "--allow-other", "--copy-up", "--ignore-case")
    with mounted(mount_command(f"{tmp_path / 'scan.h5'}::/x", tmp_path / "work", *words), tmp_path / "work") as folder:
        yield folder


def test_a_frame_is_overwritten_and_comes_back(writable: Path, tmp_path: Path) -> None:
    real = writable.with_name("work_real")
    (tmp_path / "new").write_bytes(b"of another program" * 100)
    (tmp_path / "state").mkdir()
    with shared(writable, tmp_path / "state") as port:
        client = client_of(port, tmp_path)
        client(f"put {tmp_path / 'new'} DATA0002.raw")
        assert os.listdir(real) == ["data0002.raw"]
        assert (real / "data0002.raw").read_bytes() == (tmp_path / "new").read_bytes()
        client("del data0002.raw")
        assert os.listdir(real) == []
        client(f"get data0002.raw {tmp_path / 'back'}")
    assert (tmp_path / "back").read_bytes()[HEADER_BYTES:] == frame(2)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_all_names_are_listed_once(client: Client) -> None:
    lines = client("ls").splitlines()
    names = [line.split()[0] for line in lines if ".raw" in line]
    assert sorted(names) == sorted(f"data{number:04d}.raw" for number in range(1, FRAMES + 1))
    assert all(line.split()[-6] == str(HEADER_BYTES + 2 * NY * NX) for line in lines if ".raw" in line)


@pytest.mark.parametrize("name", ["data0042.raw", "DATA0042.RAW", "Data0042.Raw"])
def test_a_frame_comes_by_its_name_in_any_case(client: Client, tmp_path: Path, name: str) -> None:
    client(f"get {name} {tmp_path / 'copy'}")
    assert (tmp_path / "copy").read_bytes()[HEADER_BYTES:] == frame(42)


def test_many_frames_at_once(client: Client, tmp_path: Path) -> None:
    client(f"prompt OFF; lcd {tmp_path}; mget data123*")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"data123{digit}.raw" for digit in range(10)]
    assert (tmp_path / "data1235.raw").read_bytes()[HEADER_BYTES:] == frame(1235)


def test_put_rename_and_remove(client: Client, folder: Path, tmp_path: Path) -> None:
    real = folder.with_name("work_real")
    (tmp_path / "result").write_bytes(bytes(range(256)) * 1000)
    client(f"put {tmp_path / 'result'} Result.txt")
    assert (real / "Result.txt").read_bytes() == (tmp_path / "result").read_bytes()
    client(f"get RESULT.TXT {tmp_path / 'back'}")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "result").read_bytes()
    client("rename result.txt other.txt")
    assert os.listdir(real) == ["other.txt"]
    client("mkdir deep; cd deep; mkdir below; cd ..; rename other.txt deep/below/there.txt")
    assert (real / "deep" / "below" / "there.txt").stat().st_size == 256_000
    client("del deep/below/THERE.txt; rmdir deep/below; rmdir deep")
    assert os.listdir(real) == []


def test_a_frame_is_replaced_by_renaming_and_comes_back(client: Client, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"corrected")
    # Samba opens what is there for writing before it empties it
    assert "NT_STATUS_MEDIA_WRITE_PROTECTED" in client(f"put {tmp_path / 'mine'} data0007.raw", fails=True)
    client(f"put {tmp_path / 'mine'} new; rename new data0007.raw -f")
    client(f"get data0007.raw {tmp_path / 'copy'}")
    assert (tmp_path / "copy").read_bytes() == b"corrected"
    client("del data0007.raw")
    time.sleep(1.1)  # as long as the kernel may remember attributes
    client(f"get data0007.raw {tmp_path / 'copy'}")
    assert (tmp_path / "copy").read_bytes()[HEADER_BYTES:] == frame(7)


def test_frames_cannot_be_renamed_or_removed(client: Client, folder: Path) -> None:
    assert "NT_STATUS" in client("rename data0001.raw other.raw", fails=True)
    assert "NT_STATUS" in client("del data0001.raw")
    assert (folder / "data0001.raw").read_bytes()[HEADER_BYTES:] == frame(1)


def test_free_space_is_that_of_the_folder(client: Client, folder: Path) -> None:
    found = os.statvfs(folder.with_name("work_real"))
    line = next(line for line in client("ls nothing*; du").splitlines() if "blocks of size" in line)
    blocks, size = int(line.split()[0]), int(line.split("size")[1].split(".")[0])
    assert blocks * size == pytest.approx(found.f_blocks * found.f_frsize, rel=0.01)


def test_names_that_differ_in_case_only_are_one_file(client: Client, folder: Path, tmp_path: Path) -> None:
    real = folder.with_name("work_real")
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "two").write_bytes(b"and two")
    client(f"put {tmp_path / 'one'} Table.txt; put {tmp_path / 'two'} TABLE.TXT")
    assert {path.name: path.read_bytes() for path in real.iterdir()} == {"Table.txt": b"and two"}
    client("del table.txt")
    assert os.listdir(real) == []


def test_the_case_of_a_name_alone(client: Client, folder: Path, searcher: str, tmp_path: Path) -> None:
    real = folder.with_name("work_real")
    (tmp_path / "one").write_bytes(b"one")
    client(f"put {tmp_path / 'one'} Table.txt")
    told = client("rename Table.txt TABLE.txt", fails=searcher == "mount")
    assert ("COLLISION" in told) == (searcher == "mount")
    assert os.listdir(real) == ["Table.txt" if searcher == "mount" else "TABLE.txt"]
    client("del table.TXT")
    assert os.listdir(real) == []


def _listings(folder: Path) -> int:
    """Return how often the mount was asked for the entries of a folder."""
    return int(ask(folder, "statistics")["operations"].get("readdir", {"calls": 0})["calls"])


def test_who_looks_for_names_in_other_case(client: Client, folder: Path, searcher: str, tmp_path: Path) -> None:
    before = _listings(folder)
    for number in range(1001, 1006):
        client(f"get DATA{number}.RAW {tmp_path / 'copy'}")
        assert (tmp_path / "copy").read_bytes()[HEADER_BYTES:] == frame(number)
    listings = _listings(folder) - before
    assert listings == 0 if searcher == "mount" else listings > 0


def test_another_client_sees_the_same(port: int, folder: Path) -> None:
    smb = pytest.importorskip("smbclient", reason="the package smbprotocol, a client in Python, is not installed")
    share, name = r"\\127.0.0.1\legacy", "nobody here"  # who is not known is a guest
    smb.ClientConfig(require_secure_negotiate=False)  # a guest has no key to sign with
    smb.register_session("127.0.0.1", username=name, password="x", port=port, require_signing=False)
    try:
        found = {entry.name: entry.smb_info.end_of_file for entry in smb.scandir(share, port=port)}
        size = HEADER_BYTES + 2 * NY * NX
        assert found == {f"data{number:04d}.raw": size for number in range(1, FRAMES + 1)}
        for number, name in ((77, "data0077.raw"), (78, "DATA0078.RAW"), (10_000, "Data10000.Raw")):
            with smb.open_file(rf"{share}\{name}", mode="rb", port=port) as file:
                file.seek(HEADER_BYTES)
                assert file.read() == frame(number)
        with smb.open_file(rf"{share}\Log.txt", mode="wb", port=port) as file:
            file.write(b"line\n")
        with smb.open_file(rf"{share}\LOG.TXT", mode="ab", port=port) as file:
            file.write(b"line\n")
        assert (folder.with_name("work_real") / "Log.txt").read_bytes() == b"line\nline\n"
        smb.rename(rf"{share}\log.txt", rf"{share}\done.txt", port=port)
        smb.remove(rf"{share}\DONE.txt", port=port)
        assert os.listdir(folder.with_name("work_real")) == []
    finally:
        smb.reset_connection_cache()
