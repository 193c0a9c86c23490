# SPDX-License-Identifier: MIT
"""Headers that change in a running mount: who sees the new bytes, and that nobody sees a mixture."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastlegacy.errors import MountError, UrlError
from fastlegacy.faces.cli.main import main
from fastlegacy.faces.mount.ask import ask
from fastlegacy.testing.beside import module_at

pytestmark = pytest.mark.fuse

KINDS = ("fixed", "varying")
OLD, NEW = "0.14", "0.1415"
Wait = Callable[..., bool]

_PROGRAM = Path(__file__).with_name("changing.py")


@pytest.fixture(scope="module")
def changing() -> ModuleType:
    """The module ``changing.py`` beside this file."""
    return module_at(_PROGRAM)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sockets are; the mounts of a test inherit it."""
    monkeypatch.setenv("FASTLEGACY_RUN", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def mount(serve: Callable[..., Any], tmp_path: Path) -> Any:
    """Return a mount whose headers can be changed."""
    return serve(tmp_path / "demo", program=_PROGRAM)


@pytest.fixture
def demo(mount: Any) -> Path:
    folder: Path = mount.folder
    return folder


def name(kind: str, frame: int = 0) -> str:
    return f"{kind}/data{frame + 1:04d}.img"


def set_to(folder: Path, text: str) -> None:
    ask(folder, "set", values={"distance": text})


def can_be_mapped(path: Path, content: bytes) -> bool:
    """Tell whether a file can be mapped: the kernel tells a mount that one was closed a moment later."""
    with open(path, "rb") as file:
        try:
            image = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        except OSError:
            return False
    with image:
        assert image[:] == content
    return True


def read_at(fd: int, size: int, at: int) -> bytes:
    return os.pread(fd, size, at)


# ---- new opens


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_open_sees_the_new_header_at_once(demo: Path, changing: ModuleType, kind: str) -> None:
    path = demo / name(kind)
    for text in (OLD, NEW, "0.2", "0.14157", NEW):
        set_to(demo, text)
        for _ in range(2):
            with open(path, "rb") as file:
                assert os.fstat(file.fileno()).st_size == len(changing.content(kind, text))
                assert file.read() == changing.content(kind, text)
        assert path.stat().st_size == len(changing.content(kind, text))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_open_sees_the_new_header_though_names_and_sizes_were_just_asked_for(
    demo: Path, changing: ModuleType, kind: str
) -> None:
    path = demo / name(kind)
    path.read_bytes()
    for text in ("0.2", NEW, "0.3", "0.14157"):
        assert path.stat().st_size > 0
        set_to(demo, text)
        image = np.memmap(path, np.uint8, "r")
        assert image.tobytes() == changing.content(kind, text)
        del image


def test_a_change_of_one_folder_leaves_the_other_alone(demo: Path, changing: ModuleType) -> None:
    set_to(demo / "fixed", NEW)
    assert (demo / name("fixed")).read_bytes() == changing.content("fixed", NEW)
    assert (demo / name("varying")).read_bytes() == changing.content("varying", OLD)


def test_pages_are_read_again_once_after_a_change(mount: Any, demo: Path, changing: ModuleType) -> None:
    path = demo / name("fixed")
    for _ in range(4):
        path.read_bytes()
    set_to(demo, NEW)
    for _ in range(4):
        path.read_bytes()
    statistics, _ = mount.interrupt()
    size = len(changing.content("fixed", OLD))
    # twice; of eight reads the kernel may have forgotten a page where memory is short
    assert 2 * size <= statistics["operations"]["read"]["bytes"] < 4 * size


def test_stat_is_new_within_the_second_that_the_kernel_remembers_attributes(
    demo: Path, changing: ModuleType, wait: Wait
) -> None:
    path = demo / name("varying")
    assert path.stat().st_size == len(changing.content("varying", OLD))
    set_to(demo, NEW)

    def is_new() -> bool:
        found = path.stat()
        new_size = len(changing.content("varying", NEW))
        return (found.st_size, found.st_mtime_ns) == (new_size, changing.FIRST_CHANGE_NS)

    assert wait(is_new)
    other = (demo / name("varying", 1)).stat()  # was not asked for before
    assert (other.st_size, other.st_mtime_ns) == (len(changing.content("varying", NEW)), changing.FIRST_CHANGE_NS)


# ---- files that are open meanwhile


def test_who_has_a_file_open_goes_on_with_the_old_bytes(demo: Path, changing: ModuleType) -> None:
    path, old, new = demo / name("fixed"), changing.content("fixed", OLD), changing.content("fixed", NEW)
    before = os.open(path, os.O_RDONLY)
    assert read_at(before, 4096, 0) == old[:4096]
    set_to(demo, NEW)
    assert read_at(before, 4096, 20 * 4096) == old[20 * 4096 : 21 * 4096]
    for _ in range(3):  # each of the two tries to leave its bytes for the other
        assert path.read_bytes() == new
        assert read_at(before, len(old) + 1, 0) == old
    os.close(before)


def test_who_has_a_file_mapped_goes_on_with_the_old_bytes(demo: Path, changing: ModuleType) -> None:
    path, old, new = demo / name("fixed"), changing.content("fixed", OLD), changing.content("fixed", NEW)
    image = np.memmap(path, np.uint8, "r")
    assert image[0] == old[0]
    set_to(demo, NEW)
    for _ in range(3):
        assert path.read_bytes() == new
        assert image.tobytes() == old


def test_while_somebody_has_the_old_file_open_the_new_one_cannot_be_mapped_for_sharing(
    demo: Path, changing: ModuleType, wait: Wait
) -> None:
    path, new = demo / name("fixed"), changing.content("fixed", NEW)
    before = os.open(path, os.O_RDONLY)
    set_to(demo, NEW)
    with open(path, "rb") as file:
        with pytest.raises(OSError, match="No such device") as caught:
            mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        assert caught.value.errno == errno.ENODEV
        assert file.read() == new
    os.close(before)
    assert wait(lambda: can_be_mapped(path, new))


def test_the_old_pages_of_a_closed_file_are_not_left_behind(demo: Path, changing: ModuleType, wait: Wait) -> None:
    path, old, new = demo / name("fixed"), changing.content("fixed", OLD), changing.content("fixed", NEW)
    before = os.open(path, os.O_RDONLY)
    set_to(demo, NEW)
    assert path.read_bytes() == new
    assert read_at(before, len(old), 0) == old
    os.close(before)
    for _ in range(5):
        assert path.read_bytes() == new


def test_a_file_with_the_same_header_as_before_can_be_mapped_by_all(demo: Path, changing: ModuleType) -> None:
    path, content = demo / name("varying"), changing.content("varying", OLD)
    before = np.memmap(path, np.uint8, "r")
    set_to(demo / "fixed", NEW)
    after = np.memmap(path, np.uint8, "r")
    assert before.tobytes() == after.tobytes() == content


def test_who_has_a_file_of_another_size_open_gets_an_error_and_not_a_mixture(
    mount: Any, demo: Path, changing: ModuleType, wait: Wait
) -> None:
    path, old, new = demo / name("varying"), changing.content("varying", OLD), changing.content("varying", NEW)
    assert len(old) != len(new)
    before = os.open(path, os.O_RDONLY)
    assert read_at(before, 10, 0) == old[:10]
    set_to(demo, NEW)
    assert read_at(before, len(old) + 9, 0) == old, "nobody has looked at the new file yet"
    assert path.read_bytes() == new
    with pytest.raises(OSError, match=r".") as caught:
        read_at(before, 10, 0)
    assert caught.value.errno == errno.ESTALE
    assert path.read_bytes() == new
    os.close(before)
    assert wait(lambda: can_be_mapped(path, new))
    _, errors = mount.interrupt()
    assert errors.count("data0001.img has another size by now") == 1


def test_a_map_of_a_file_of_another_size_ends_as_that_of_a_file_that_was_cut(
    demo: Path, changing: ModuleType, tmp_path: Path
) -> None:
    program = (
        "import mmap, sys\nwith open(sys.argv[1], 'rb') as f: m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)"
    )
    program += "\nprint(m[0], flush=True)\nsys.stdin.readline()\nprint(m[0])"
    path = demo / name("varying")
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == f"{ord('d')}\n"
        set_to(demo, NEW)
        assert path.read_bytes() == changing.content("varying", NEW)
        out, _ = child.communicate("go\n", timeout=100)
    assert (child.returncode, out) == (-signal.SIGBUS, "")


def test_readers_beside_changes_see_whole_files_and_never_older_ones(
    demo: Path, changing: ModuleType, wait: Wait
) -> None:
    texts = [f"{i:04d}" for i in range(60)]
    contents = {changing.content("fixed", text): i for i, text in enumerate(texts)}
    path = demo / name("fixed")
    set_to(demo, texts[0])
    done, last = threading.Event(), [0]
    wrong: list[str] = []
    seen: set[int] = set()

    def read() -> None:
        while not done.is_set():
            least = last[0]
            found = contents.get(path.read_bytes())
            if found is None or found < least:
                wrong.append(f"{found} after {least}")
            else:
                seen.add(found)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert wait(lambda: 0 in seen)
        for i, text in enumerate(texts):
            set_to(demo, text)
            last[0] = i
        assert wait(lambda: len(texts) - 1 in seen)
    finally:
        done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(seen) > 1


def test_opens_beside_changes_of_size_see_whole_files_and_never_older_ones(
    demo: Path, changing: ModuleType, wait: Wait
) -> None:
    texts = ["1" * (1 + i % 7) + f"{i:02d}" for i in range(60)]
    contents = {changing.content("varying", text): i for i, text in enumerate(texts)}
    path = demo / name("varying")
    set_to(demo, texts[0])
    done, last = threading.Event(), [0]
    wrong: list[str] = []
    seen: set[int] = set()

    def read() -> None:
        while not done.is_set():
            least = last[0]
            try:
                data = path.read_bytes()
            except OSError as error:
                if error.errno != errno.ESTALE:  # which says that it was changed between open and read
                    wrong.append(str(error))
                continue
            found = contents.get(data)
            if found is None or found < least:
                wrong.append(f"{found} after {least}: {len(data)} bytes, {data[:20]!r}")
            else:
                seen.add(found)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert wait(lambda: 0 in seen)
        for i, text in enumerate(texts):
            set_to(demo, text)
            last[0] = i
        assert wait(lambda: len(texts) - 1 in seen)
    finally:
        done.set()
    thread.join()
    assert wrong == []
    assert len(seen) > 1


# ---- the command


def test_the_command_changes_headers_and_the_log_of_the_mount_tells(
    mount: Any, demo: Path, changing: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo / "fixed")
    assert main(["set", ".", "distance=0.15"]) == 0
    assert capsys.readouterr().out == "fixed: distance 0.14 -> 0.15\n"
    assert (demo / name("fixed")).read_bytes() == changing.content("fixed", "0.15")
    assert main(["set", str(demo), "--json", "distance=0.16"]) == 0
    assert '"varying: distance 0.14 -> 0.16"' in capsys.readouterr().out
    assert main(["set", str(demo), "distance="]) == 0
    assert (demo / name("fixed")).read_bytes() == changing.content("fixed", OLD)
    monkeypatch.chdir("/")
    _, log = mount.interrupt()
    assert "set: fixed: distance 0.14 -> 0.15" in log
    assert "set: varying: distance 0.16 -> 0.14" in log


def test_the_command_prints_the_values(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", str(demo)]) == 0
    assert capsys.readouterr().out == "fixed    distance  0.14  set\nvarying  distance  0.14  set\n"
    assert main(["set", "--json", f"{demo}/varying/"]) == 0
    text = capsys.readouterr().out
    assert '"folder": "varying"' in text
    assert "fixed" not in text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["distanze=1"], 2, "distanze is no value of a header; there are distance"),
        (["distance=far"], 2, "'far' is not understood"),
        (["distance"], 2, "write NAME=VALUE"),
        (["=1"], 2, "write NAME=VALUE"),
        (["distance=1", "distance=2"], 2, "distance is there twice"),
    ],
)
def test_bad_words_change_nothing(
    demo: Path, changing: ModuleType, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    assert main(["set", str(demo), *words]) == code
    assert says in capsys.readouterr().err
    assert (demo / name("fixed")).read_bytes() == changing.content("fixed", OLD)


def test_who_asks_beside_a_mount_is_told_where_mounts_are(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(MountError, match=f"is not in a mount; mounts of fastlegacy: .*{demo}"):
        ask(tmp_path, "ping")
    with pytest.raises(UrlError, match="there is no folder data0001"):
        ask(demo / "data0001", "set", values={"distance": "1"})


# ---- the socket and the mount


def test_a_mount_answers(mount: Any, demo: Path, place: Path, tmp_path: Path) -> None:
    found = ask(demo / "varying", "ping")
    assert found["pid"] == mount.process.pid
    assert (found["folder"], found["label"]) == (str(demo), "two folders")
    (tmp_path / "link").symlink_to(demo / "fixed")
    assert ask(tmp_path / "link", "ping") == found
    assert ask(f"{demo}_real", "ping") == found
    assert len(list(place.iterdir())) == 1
    mount.interrupt()
    assert list(place.iterdir()) == []
    with pytest.raises(MountError, match="is not in a mount"):
        ask(demo, "ping")


def test_the_socket_may_be_in_the_folder_that_is_covered(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changing: ModuleType
) -> None:
    demo = tmp_path / "demo"
    (demo / "deep").mkdir(parents=True)
    monkeypatch.setenv("FASTLEGACY_RUN", str(demo / "deep" / "run"))
    mount = serve(demo, program=_PROGRAM)
    set_to(demo, NEW)
    assert (demo / name("fixed")).read_bytes() == changing.content("fixed", NEW)
    mount.interrupt()
    assert list((demo / "deep" / "run").iterdir()) == []


def test_a_mount_that_cannot_listen_goes_on_with_one_warning(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changing: ModuleType
) -> None:
    monkeypatch.setenv("FASTLEGACY_RUN", str(tmp_path / "not" / "there"))
    mount = serve(tmp_path / "demo", program=_PROGRAM)
    assert (mount.folder / name("fixed")).read_bytes() == changing.content("fixed", OLD)
    with pytest.raises(MountError, match="does not listen"):
        ask(mount.folder, "ping")
    _, log = mount.interrupt()
    assert log.count("headers of this mount cannot be set while it runs") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel keeps a dead mount that nobody else takes away")
def test_a_killed_server_leaves_a_socket_that_the_next_one_replaces(
    serve: Callable[..., Any], tmp_path: Path, place: Path
) -> None:
    first = serve(tmp_path / "demo", program=_PROGRAM)
    first.process.kill()
    first.process.wait()
    assert len(list(place.iterdir())) == 1
    second = serve(tmp_path / "demo", program=_PROGRAM)
    assert ask(second.folder, "ping")["pid"] == second.process.pid
