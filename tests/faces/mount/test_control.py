# SPDX-License-Identifier: MIT
"""The control channel without a mount: who may speak, what is answered, and that nonsense does not hurt it."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy.errors import MountError, SourceError, UrlError
from fastlegacy.faces.mount import ask as ask_module
from fastlegacy.faces.mount import control, meeting
from fastlegacy.faces.mount.control import Control
from fastlegacy.faces.mount.mountinfo import Mount

FOLDER = "/a/folder"
PING = {"fastlegacy": 1, "do": "ping"}


class Handler:
    """Remembers what it was asked for."""

    label = "a label \udcff"

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []

    def set_headers(self, path: str, texts: Mapping[str, str]) -> list[str]:
        self.calls.append((path, dict(texts)))
        if "distanze" in texts:
            raise UrlError("there is no distanze", hint="there are distance")
        if "broken" in texts:
            raise SourceError("it is not there", file="scan.h5")
        if "wrong" in texts:
            raise ZeroDivisionError
        return [f"{path}: {name} -> {text}" for name, text in texts.items()] * (60 if "many" in texts else 1)

    def headers(self, path: str) -> Iterator[tuple[str, str, str, str]]:
        yield path, "distance", "0.14 m", "HDF5"


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTLEGACY_RUN", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def listening(place: Path, handler: Handler) -> Iterator[Control]:
    with Control(FOLDER, handler, lambda: {"seconds": 1.5}) as made:
        yield made


def connect() -> socket.socket:
    peer = meeting.connected(Mount(1, "0:1", FOLDER, "fuse.fastlegacy", "u"), os.geteuid())
    assert peer
    return peer


def asked(data: bytes) -> Any:
    with connect() as peer:
        peer.sendall(data)
        line = control.read_line(peer, 1 << 20, 20)
    assert line is not None
    return json.loads(line)


def result(request: Mapping[str, Any]) -> Any:
    answer = asked(json.dumps(request).encode() + b"\n")
    assert answer["ok"], answer
    return answer["result"]


# ---- what it does


@pytest.mark.usefixtures("listening")
def test_what_a_mount_can_be_asked_for(handler: Handler) -> None:
    found = result(PING)
    assert (found["pid"], found["folder"], found["label"]) == (os.getpid(), FOLDER, Handler.label)
    assert found["since"].endswith("+00:00")
    assert result(PING | {"do": "statistics"}) == {"seconds": 1.5}
    assert result(PING | {"do": "headers", "path": "scan/1.1"}) == [["scan/1.1", "distance", "0.14 m", "HDF5"]]
    wanted = {"fastlegacy": 1, "do": "set", "path": "/x\udcff/", "values": {"distance": "1m"}}
    assert result(wanted) == ["x\udcff: distance -> 1m"]
    assert handler.calls == [("x\udcff", {"distance": "1m"})]


@pytest.mark.usefixtures("listening")
def test_what_was_changed_is_in_the_log_but_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert len(result(PING | {"do": "set", "values": {"many": "1"}})) == 60
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [*["set: : many -> 1"] * 50, "set: and 10 more"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    ("line", "bad_words", "says"),
    [
        (b"{", False, "this is not JSON"),
        (b"[" * 50_000, False, "this is not JSON"),
        (b"[]", False, "version 1"),
        (b'{"fastlegacy": 2, "do": "ping"}', False, "version 1"),
        (b'{"fastlegacy": 1}', True, "a mount cannot do None"),
        (b'{"fastlegacy": 1, "do": ["set"]}', True, "it can ping, statistics, headers and set"),
        (b'{"fastlegacy": 1, "do": "set", "path": 3}', False, "path is a text"),
        (b'{"fastlegacy": 1, "do": "set", "values": {"distance": 3}}', False, "values are texts"),
        (b'{"fastlegacy": 1, "do": "set", "values": [3]}', False, "values are texts"),
        (b'{"fastlegacy": 1, "do": "set", "values": {"distanze": "3"}}', True, "distanze; there are distance"),
        (b'{"fastlegacy": 1, "do": "set", "values": {"broken": "3"}}', False, "scan.h5: it is not there"),
        (b" " * (1 << 16), False, "this is not JSON"),
        (b" " * ((1 << 16) + 1), False, "64 KiB"),
    ],
)
def test_nonsense_is_answered_by_a_sentence(line: bytes, bad_words: bool, says: str) -> None:
    answer = asked(line + b"\n")
    assert (answer["ok"], answer["bad_words"]) == (False, bad_words)
    assert says in answer["error"]
    assert result(PING)


@pytest.mark.usefixtures("listening")
def test_an_internal_error_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    answer = asked(b'{"fastlegacy": 1, "do": "set", "values": {"wrong": "1"}}\n')
    assert (answer["ok"], answer["error"]) == (False, "internal error; the log of the mount says more")
    assert [record.getMessage() for record in caplog.records] == ["internal error in set: ZeroDivisionError: "]
    assert result(PING)


_TEXTS = st.text("ab=/.0\0\n\u00e9\udcff", max_size=9)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_REQUESTS = st.fixed_dictionaries(
    {"fastlegacy": st.just(1) | _JSON},
    optional={
        "do": st.sampled_from(["ping", "set", "headers", "statistics"]) | _JSON,
        "path": _JSON,
        "values": _JSON | st.dictionaries(_TEXTS, _TEXTS),
    },
)


@given(st.binary(max_size=300) | _REQUESTS.map(lambda request: json.dumps(request).encode()))
def test_no_line_is_too_odd(line: bytes) -> None:
    made = Control(FOLDER, Handler(), dict)
    answer = made.answer(line)
    assert answer["ok"] is True or answer["error"]
    json.dumps(answer).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_is_sent_the_next_one_is_answered(listening: Control, data: bytes, waits: bool) -> None:
    with connect() as peer:
        peer.sendall(data)
        if waits:
            peer.shutdown(socket.SHUT_WR)
            assert json.loads(control.read_line(peer, 1 << 20, 20) or b"")["ok"] in (True, False)
    assert result(PING)["folder"] == FOLDER


# ---- who is slow, and who may not


def test_who_says_nothing_keeps_others_waiting_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch, place: Path, handler: Handler
) -> None:
    whole, limits_s = control.read_line, iter([0.05])

    def read_line(peer: socket.socket, longest: int, seconds: float) -> bytes | None:
        """Give the first one a short time only."""
        return whole(peer, longest, next(limits_s, 100) if seconds == control._CLIENT_S else seconds)

    monkeypatch.setattr(control, "read_line", read_line)
    with Control(FOLDER, handler, dict), connect() as slow:
        slow.sendall(b"{")
        assert result(PING)
        assert slow.recv(1) == b"", "it was hung up on"


def test_a_line_has_to_come_in_time_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(control.time, "monotonic", lambda: float(next(now)))
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b"abc")
        with pytest.raises(TimeoutError, match="whole line"):
            control.read_line(one, 100, 1.0)
        assert one.recv(9) == b"abc"
        other.sendall(b"abc")
        other.sendall(b"def\nxyz")
        assert control.read_line(one, 100, 90.0) == b"abcdef"


@pytest.mark.usefixtures("listening")
def test_another_user_is_not_heard(monkeypatch: pytest.MonkeyPatch, handler: Handler) -> None:
    monkeypatch.setattr(control, "peer_uid", lambda peer: os.geteuid() + 1)
    with connect() as peer, suppress(ConnectionError):  # when it hangs up before it has read what was said
        peer.sendall(b'{"fastlegacy": 1, "do": "set", "values": {"distance": "1"}}\n')
        assert control.read_line(peer, 100, 20) is None
    assert handler.calls == []
    monkeypatch.setattr(control, "peer_uid", lambda peer: 0)
    assert result(PING)


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert control.peer_uid(one) == os.geteuid()
        assert control.is_allowed(other)


# ---- its place


@pytest.mark.usefixtures("listening")
def test_the_folder_of_sockets_is_closed_to_others(place: Path) -> None:
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    (found,) = place.iterdir()
    assert stat.S_ISSOCK(found.stat().st_mode)


def test_the_socket_is_gone_in_the_end(place: Path, handler: Handler) -> None:
    for _ in range(2):
        with Control(FOLDER, handler, dict), Control("/another", handler, dict):
            assert len(list(place.iterdir())) == 2
        assert list(place.iterdir()) == []
    assert [thread.name for thread in threading.enumerate() if "control" in thread.name] == []


def test_it_ends_with_a_client_that_says_nothing(place: Path, handler: Handler) -> None:
    with Control(FOLDER, handler, dict) as made:
        peer = connect()
        peer.sendall(b"{")
    with peer, suppress(ConnectionResetError):
        assert peer.recv(1) == b""
    assert not made._thread.is_alive()


def test_the_socket_of_a_dead_server_is_replaced(place: Path, handler: Handler) -> None:
    place.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        fd = os.open(place, os.O_PATH)
        dead.bind(f"/proc/self/fd/{fd}/{meeting._name_of(FOLDER)}")
        os.close(fd)
    assert len(list(place.iterdir())) == 1
    with Control(FOLDER, handler, dict):
        assert result(PING)["pid"] == os.getpid()


@pytest.mark.usefixtures("listening")
def test_the_socket_of_a_living_server_is_not_replaced(handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    with Control(FOLDER, handler, dict):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "another server listens for this folder already" in caplog.text
    assert result(PING)


@pytest.mark.parametrize("what", ["open to others", "a link", "a file"])
def test_a_folder_that_is_not_the_users_alone_is_not_used(
    place: Path, tmp_path: Path, handler: Handler, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    if what == "open to others":
        place.mkdir()
        place.chmod(0o755)
    elif what == "a link":
        (tmp_path / "other").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "other")
    else:
        place.write_text("")
    with Control(FOLDER, handler, dict):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "headers of this mount cannot be set while it runs" in caplog.text
    assert what != "a link" or list((tmp_path / "other").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used(place: Path, handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)
    with Control(FOLDER, handler, dict):
        pass
    assert "is not a folder that only this user may use" in caplog.text


def test_where_sockets_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, handler: Handler) -> None:
    monkeypatch.delenv("FASTLEGACY_RUN", raising=False)
    monkeypatch.setattr(meeting.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "xdg").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    with Control(FOLDER, handler, dict):
        assert [path.name for path in (tmp_path / "xdg").iterdir()] == ["fastlegacy"]
        # a client in another environment finds it where it usually is, here by the same variable
        assert result(PING)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "not there"))
    with Control(FOLDER, handler, dict):
        assert [path.name for path in (tmp_path / "tmp").iterdir()] == [f"fastlegacy-{os.geteuid()}"]
        assert result(PING)


def test_a_path_of_any_length_is_possible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, handler: Handler) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    monkeypatch.setenv("FASTLEGACY_RUN", str(deep / "run"))
    with Control(FOLDER, handler, dict):
        assert result(PING)


# ---- the client's side


def mount_at(folder: str, kind: str = "fuse.fastlegacy", ident: int = 1) -> Mount:
    return Mount(ident, "0:1", folder, kind, "u")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/data", ("/data", "")),
        ("/data/scan/1.1/", ("/data", "scan/1.1")),
        ("/data/scan/2.1/deep", ("/data/scan/2.1", "deep")),
        ("/data/other/x", None),  # another kind of mount in ours
        ("/database", None),
        ("/", None),
    ],
)
def test_the_mount_of_a_path(monkeypatch: pytest.MonkeyPatch, path: str, found: tuple[str, str] | None) -> None:
    there = [mount_at("/", "ext4"), mount_at("/data"), mount_at("/data/scan/2.1"), mount_at("/data/other", "tmpfs")]
    monkeypatch.setattr(meeting, "mounts", lambda: there)
    answer = meeting.mount_above(path)
    assert (answer and (answer[0].folder, answer[1])) == found


def test_a_mount_of_another_user_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_module, "mount_above", lambda path: (mount_at(FOLDER), ""))
    monkeypatch.setattr(ask_module, "owner_of", lambda mount: 4711)
    monkeypatch.setattr(ask_module.os, "geteuid", lambda: 4712)
    with pytest.raises(MountError, match="belongs to the user with the number 4711; ask that user, or root"):
        ask_module.ask(FOLDER, "ping")
    monkeypatch.setattr(ask_module, "owner_of", lambda mount: None)
    with pytest.raises(MountError, match="has just ended"):
        ask_module.ask(FOLDER, "ping")


@pytest.mark.usefixtures("listening")
def test_an_answer_of_a_stranger_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_module, "mount_above", lambda path: (mount_at(FOLDER), ""))
    monkeypatch.setattr(ask_module, "owner_of", lambda mount: os.geteuid())
    monkeypatch.setattr(ask_module, "peer_uid", lambda peer: os.geteuid() + 1)
    with pytest.raises(MountError, match="somebody else answers"):
        ask_module.ask(FOLDER, "ping")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "has ended, or does not answer"),
        (b"odd\n", "has ended, or does not answer"),
        (b"[]\n", "answers in another language"),
        (b'{"fastlegacy": 2, "ok": true}\n', "answers in another language"),
        (b'{"fastlegacy": 1}\n', "says no, and not why"),
    ],
)
def test_an_odd_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, line: bytes, says: str) -> None:
    one, other = socket.socketpair()
    monkeypatch.setattr(ask_module, "mount_above", lambda path: (mount_at(FOLDER), ""))
    monkeypatch.setattr(ask_module, "_connected", lambda mount: one)
    other.sendall(line)
    other.shutdown(socket.SHUT_WR)
    with other, pytest.raises(MountError, match=says):
        ask_module.ask(FOLDER, "ping")


def test_the_owner_of_a_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"7 1 0:33 / /a/folder rw - fuse.fastlegacy u rw,user_id=4711,group_id=5,default_permissions\n"
    monkeypatch.setattr(meeting.Path, "read_bytes", lambda path: b"17 1 0:3 / /x rw - tmpfs user_id=1 rw\n" + text)
    assert meeting.owner_of(mount_at(FOLDER, ident=7)) == 4711
    assert meeting.owner_of(mount_at("/x", ident=17)) is None
    assert meeting.owner_of(mount_at("/y", ident=1)) is None


def test_clients_that_cannot_connect_for_long_are_one_line_of_the_log(
    handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    made = Control(FOLDER, handler, dict)
    tries: list[float] = []

    def accept() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    made._point = SimpleNamespace(socket=SimpleNamespace(accept=accept))  # type: ignore[assignment]
    made._stopping = SimpleNamespace(is_set=lambda: len(tries) == 1000, wait=tries.append)  # type: ignore[assignment]
    made._run()
    assert [record.getMessage() for record in caplog.records] == ["the control socket: [Errno 24] Too many open files"]
