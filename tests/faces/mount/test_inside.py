# SPDX-License-Identifier: MIT
"""What a mount tells of itself in ``.fastlegacy``: status, metrics, log and settings."""

from __future__ import annotations

import errno
import logging
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.faces.mount.figures import Figures, duration
from fastlegacy.faces.mount.inside import About, InsideFiles, as_toml, metrics, status, with_inside
from fastlegacy.faces.mount.logbook import LastLines, kept_log
from fastlegacy.index.folder import Folder

Serve = Callable[..., Any]

NAMES = ["status", "metrics", "log", "settings"]
STATISTICS = {
    "seconds": 65.25,
    "errors": 2,
    "operations": {
        "read": {"calls": 7, "seconds": 0.5, "bytes": 12_000, "megabytes_per_second": 0.024},
        "open": {"calls": 3, "seconds": 0.25},
    },
}


@pytest.fixture
def about() -> About:
    return About("/data/work", 'a "b\\c".h5', {"format": "cbf"}, LastLines(), 1e9, 4711)


def samples(text: str) -> dict[str, float]:
    """Parse the text format of Prometheus strictly, as far as it is used: each sample after its HELP and TYPE."""
    found: dict[str, float] = {}
    declared: set[str] = set()
    label = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
    sample = re.compile(rf"([a-z_]+)(?:\{{{label}(?:,{label})*\}})? ([0-9.e+-]+)")
    for line in text.splitlines():
        if line.startswith("#"):
            word, name = re.fullmatch(r"# (HELP|TYPE) (fastlegacy_[a-z_]+) .+", line).groups()  # type: ignore[union-attr]
            assert f"{word} {name}" not in declared
            declared.add(f"{word} {name}")
            continue
        match = sample.fullmatch(line)
        assert match, line
        assert {f"HELP {match[1]}", f"TYPE {match[1]}"} <= declared
        key = line.rpartition(" ")[0]
        assert key not in found
        found[key] = float(match[2])
    return found


def test_metrics_are_those_of_the_statistics(about: About) -> None:
    text = metrics(about, STATISTICS).decode()
    assert text.endswith("\n")
    assert samples(text) == {
        r'fastlegacy_info{folder="/data/work",source="a \"b\\c\".h5",pid="4711"}': 1,
        "fastlegacy_start_time_seconds": 1e9,
        "fastlegacy_uptime_seconds": 65.25,
        "fastlegacy_prefetched_frames_total": 0,
        "fastlegacy_read_errors_total": 2,
        'fastlegacy_operations_total{operation="open"}': 3,
        'fastlegacy_operations_total{operation="read"}': 7,
        'fastlegacy_operation_seconds_total{operation="open"}': 0.25,
        'fastlegacy_operation_seconds_total{operation="read"}': 0.5,
        'fastlegacy_operation_bytes_total{operation="read"}': 12_000,
    }


def test_metrics_of_a_mount_that_served_nothing(about: About) -> None:
    assert len(samples(metrics(about, {}).decode())) == 5


def test_the_status_is_for_people(about: About) -> None:
    lines = dict(line.split(": ", 1) for line in status(about, STATISTICS).decode().splitlines())
    assert lines["source"].strip() == about.source
    assert lines["since"].endswith("(1 min 5 s)")
    assert lines["served"].strip() == "3 files opened, 12.0 kB read, 2 reads failed"
    assert lines["to end it"].strip() == "fastlegacy umount /data/work"


VALUES = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.text(), st.floats(allow_nan=False))


@given(st.dictionaries(st.text(min_size=1), st.one_of(VALUES, st.lists(VALUES))))
def test_settings_are_toml(values: dict[str, Any]) -> None:
    assert tomllib.loads(as_toml(values).decode()) == values


def test_settings_that_were_not_made_are_left_out_and_odd_names_have_a_mark() -> None:
    found = tomllib.loads(as_toml({"a": None, "b": Path("/x"), "c": os.fsdecode(b"x\xff"), "d": [None, 1]}).decode())
    assert found == {"b": "/x", "c": "x\N{REPLACEMENT CHARACTER}", "d": [1]}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (200_000, "2 d 7 h")],
)
def test_times_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_figures_of_a_mount_that_wrote() -> None:
    figures = Figures.of({"operations": {"write": {"calls": 2, "bytes": 3_000_000}, "create": {"calls": 1}}})
    assert str(figures) == "1 file opened, 0 B read, 3.0 MB written, 0 reads failed"


# ------------------------------------------------------------------------------------ the log


def test_the_last_lines_are_kept_each_with_time_and_level() -> None:
    log = logging.getLogger("fastlegacy.test")
    with kept_log() as kept:
        for number in range(600):
            log.warning("number %d\nof many", number)
        log.error("%s", "x" * 1000)
    log.warning("later")
    lines = kept.text().splitlines()
    assert len(lines) == 500
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} warning: number 101 of many", lines[0])
    assert re.search("error: x+$", lines[-1])
    assert len(lines[-1]) == 400


# ------------------------------------------------------------------------------------ files without a mount


def test_who_opens_a_file_gets_what_its_size_was_told_of() -> None:
    texts = iter([b"first", b"the second", b"third"])
    times = iter([10, 20, 30])
    files = InsideFiles({"status": lambda: next(texts)}, clock_ns=lambda: next(times))
    buffer = bytearray(20)

    def bytes_of(file: Any) -> bytes:
        return bytes(buffer[: file.read_into(buffer)])

    assert files.size_of("status") == 5
    assert bytes_of(files["status"].open()) == b"first"
    assert files.mtime_ns_of(0) == 10
    assert files.size_of("status") == 10
    opened = files["status"].open()
    assert files.size_of("status") == 5
    assert bytes_of(opened) == b"the second", "an open file does not change"
    assert bytes_of(files["status"].open()) == b"third"


def test_names_of_files(about: About) -> None:
    files = InsideFiles({"a": lambda: b"", "b": lambda: b"x"})
    assert (len(files), list(files), "a" in files, "c" in files) == (2, ["a", "b"], True, False)
    assert files["a"].read() == b""
    assert not files["b"].stays, "the kernel must not keep its pages"
    with pytest.raises(KeyError):
        files["c"]


def test_the_folder_is_there_by_name_and_in_no_listing(about: About, served: ModuleType) -> None:
    shown = [served.make_folder()]
    root = with_inside(lambda: shown[0], about, lambda: STATISTICS)
    assert list(root().children) == ["img", "deep"]
    assert list(root()) == list(shown[0])
    found = root().folder(".fastlegacy")
    assert found is not None
    assert list(found.files) == NAMES
    assert ".fastlegacy/status" in root()
    assert ".fastlegacy/other" not in root()
    assert root().folder(".fastlegacy/img") is None
    assert root() is root()
    shown[0] = served.make_folder()
    assert root()["img/data0001.img"]._tree is shown[0]["img/data0001.img"]._tree


def test_a_folder_of_that_name_that_is_shown_wins(about: About, served: ModuleType) -> None:
    root = with_inside(lambda: Folder({".fastlegacy": served.make_tree()}), about, lambda: STATISTICS)
    assert ".fastlegacy/data0001.img" in root()
    assert ".fastlegacy/status" not in root()


# ------------------------------------------------------------------------------------ in a mount


@pytest.mark.fuse
def test_a_mount_tells_of_itself(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    mount = serve(settings={"format": "test"})
    inside = folder / ".fastlegacy"
    assert ".fastlegacy" not in os.listdir(folder)
    assert sorted(os.listdir(inside)) == sorted(NAMES)
    assert f"process:     {mount.process.pid}\n" in (inside / "status").read_text()
    (folder / "data0001.img").read_bytes()
    for _ in range(3):
        before = samples((inside / "metrics").read_text())
        assert (inside / "metrics").stat().st_mode & 0o777 == 0o444
    reads = 'fastlegacy_operations_total{operation="open"}'
    assert samples((inside / "metrics").read_text())[reads] > before[reads] >= 3
    settings = tomllib.loads((inside / "settings").read_text())
    assert settings == {"folder": os.path.realpath(folder), "format": "test"}
    _, errors = mount.interrupt()
    assert errors == ""
    assert not inside.exists()


@pytest.mark.fuse
def test_what_is_read_is_whole_whatever_size_the_kernel_remembers(serve: Serve, tmp_path: Path) -> None:
    """The kernel keeps sizes for a second, and these files are new each time: longer or shorter by some digits."""
    serve()
    folder = tmp_path / "demo"
    for number in range(60):
        (folder / f"data{number % 6 + 1:04d}.img").read_bytes()
        found = (folder / ".fastlegacy" / "metrics").read_bytes()
        assert found.endswith(b"\n")
        assert samples(found.decode())
        assert (folder / ".fastlegacy" / "status").read_text().endswith("demo\n")


@pytest.mark.fuse
def test_a_failed_read_is_in_the_log_of_the_mount(
    serve: Serve, tmp_path: Path, wait: Callable[..., bool], served: ModuleType
) -> None:
    serve(broken=True)
    with pytest.raises(OSError, match="Input/output error"):
        (tmp_path / "demo" / f"data{served.BROKEN_FRAME + 1:04d}.img").read_bytes()
    log = tmp_path / "demo" / ".fastlegacy" / "log"
    assert wait(lambda: "this chunk is broken" in log.read_text())
    assert " error: " in log.read_text()


@pytest.mark.fuse
def test_nothing_can_be_put_into_it(serve: Serve, tmp_path: Path) -> None:
    mount = serve()
    inside = tmp_path / "demo" / ".fastlegacy"
    (tmp_path / "demo" / "mine").write_text("x")
    for change in (
        lambda: (inside / "status").write_text("x"),
        lambda: (inside / "new").write_text("x"),
        lambda: (inside / "new").mkdir(),
        lambda: os.rename(tmp_path / "demo" / "mine", inside / "log"),
        lambda: os.unlink(inside / "log"),
        lambda: os.rmdir(inside),
    ):
        with pytest.raises(OSError, match="Read-only file system") as raised:
            change()
        assert raised.value.errno == errno.EROFS
    mount.interrupt()
    assert os.listdir(tmp_path / "demo") == ["mine"]


@pytest.mark.fuse
def test_a_real_folder_of_that_name_stays_usable(serve: Serve, tmp_path: Path) -> None:
    inside = tmp_path / "demo" / ".fastlegacy"
    inside.mkdir(parents=True)
    mount = serve()
    (inside / "mine").write_text("x")
    assert sorted(os.listdir(inside)) == sorted([*NAMES, "mine"])
    mount.interrupt()
    assert os.listdir(inside) == ["mine"]
