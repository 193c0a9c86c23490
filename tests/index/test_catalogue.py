# SPDX-License-Identifier: MIT
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fastlegacy.errors import SourceError
from fastlegacy.index import catalogue
from fastlegacy.index.catalogue import Catalogue, Memory
from fastlegacy.index.crawl import Record, look_into
from fastlegacy.index.store import seal
from fastlegacy.testing.bliss import bliss_dataset, bliss_scan
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.lambda_ import lambda_scan
from fastlegacy.testing.lima import lima2_file
from fastlegacy.testing.nxmx import filewriter2_series, nxmx_scan

FRAMES = np.random.default_rng(5).poisson(3, (6, 12, 16)).astype("<u2")
TWO_THRESHOLDS = np.stack([FRAMES, FRAMES // 2], axis=1)

Shown = list[tuple[str, str, str]]


def shown(found: Catalogue) -> Shown:
    """Name, scan and detector of each stack, in order."""
    return [(entry.name, entry.stored.found.scan, entry.stored.found.detector) for entry in found.entries]


def age(*folders: Path) -> None:
    """Make everything old enough to be remembered."""
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            os.utime(path, ns=(10**18, 10**18 + hash(path) % 10**9), follow_symlinks=False)


# ------------------------------------------------------------------------------------------------- each stack once


def write_plain_virtual(folder: Path) -> None:
    layout = h5py.VirtualLayout((12, *FRAMES.shape[1:]), FRAMES.dtype)
    for i in range(2):
        write_stack(folder / f"raw_{i}.h5", FRAMES, "/images")
        layout[i * 6 : i * 6 + 6] = h5py.VirtualSource(f"raw_{i}.h5", "/images", FRAMES.shape)
    with h5py.File(folder / "all.h5", "w") as file:
        file.create_virtual_dataset("everything", layout)


def write_collection(folder: Path) -> None:
    """A dataset's file, a collection's that leads to its scans, and a proposal's that leads there too."""
    bliss_dataset(folder / "sample_0001", {"1.1": FRAMES, "2.1": FRAMES})
    with h5py.File(folder / "sample.h5", "w") as file:
        for scan in ("1.1", "2.1"):
            file[f"sample_0001_{scan}"] = h5py.ExternalLink("sample_0001/sample_0001.h5", f"/{scan}")
    with h5py.File(folder / "proposal.h5", "w") as file:
        for scan in ("1.1", "2.1"):
            file[f"sample_0001_{scan}"] = h5py.ExternalLink("sample.h5", f"/sample_0001_{scan}")


ONCE: dict[str, tuple[Callable[[Path], object], Shown]] = {
    "LImA behind bliss": (
        lambda to: bliss_dataset(to, {"1.1": FRAMES, "2.1": FRAMES}),
        [("sample_0001", "1.1", "eiger"), ("sample_0001", "2.1", "eiger")],
    ),
    "blocks beside their master": (
        lambda to: dectris_series(to, FRAMES, blocks=(4, 2)),
        [("series_master", "", "eiger2")],
    ),
    "blocks, one missing": (
        lambda to: dectris_series(to, FRAMES, blocks=(4, 2), missing=(0,)),
        [("series_master", "", "eiger2")],
    ),
    "thresholds": (
        lambda to: filewriter2_series(to, TWO_THRESHOLDS),
        [("series_master", "", "threshold_1"), ("series_master", "", "threshold_2")],
    ),
    "NXmx": (lambda to: nxmx_scan(to, FRAMES), [("scan", "", "")]),
    "modules of a Lambda": (lambda to: lambda_scan(to, FRAMES), [("scan", "", "lambda")]),
    "LImA2 alone": (
        lambda to: lima2_file(to / "a.h5", TWO_THRESHOLDS),
        [("a", "", "eiger_threshold_1"), ("a", "", "eiger_threshold_2")],
    ),
    "collection and proposal": (
        write_collection,
        [("sample_0001/sample_0001", "1.1", "eiger"), ("sample_0001/sample_0001", "2.1", "eiger")],
    ),
    "virtual over plain files": (write_plain_virtual, [("all", "", "")]),
}


@pytest.mark.parametrize("case", ONCE)
def test_each_stack_is_shown_once(tmp_path: Path, case: str) -> None:
    write, expected = ONCE[case]
    write(tmp_path)
    assert len(list(tmp_path.rglob("*.h5")) + list(tmp_path.rglob("*.nxs"))) >= 1
    assert shown(Catalogue([str(tmp_path)])) == expected


def test_a_file_of_a_collection_alone_shows_what_it_leads_to(tmp_path: Path) -> None:
    write_collection(tmp_path)
    found = Catalogue([str(tmp_path / "sample.h5")])
    assert [(entry.name, entry.stored.found.scan) for entry in found.entries] == [
        ("sample", "sample_0001_1.1"),
        ("sample", "sample_0001_2.1"),
    ]


def test_files_of_lima_alone_are_shown(tmp_path: Path) -> None:
    bliss_dataset(tmp_path, {"1.1": FRAMES})
    assert shown(Catalogue([str(tmp_path / "scan0001")])) == [
        ("eiger_0000", "", "eiger"),
        ("eiger_0001", "", "eiger"),
        ("eiger_0002", "", "eiger"),
    ]


def test_a_file_by_two_names_is_shown_once(tmp_path: Path) -> None:
    write_stack(tmp_path / "b.h5", FRAMES)
    (tmp_path / "a.h5").symlink_to("b.h5")
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "c.h5").symlink_to("../b.h5")
    assert len(Catalogue([str(tmp_path)]).entries) == 1


def test_an_entry_is_told_from_all_others(tmp_path: Path) -> None:
    lima2_file(tmp_path / "a.h5", TWO_THRESHOLDS)
    bliss_dataset(tmp_path / "b", {"1.1": FRAMES, "2.1": FRAMES})
    found = Catalogue([str(tmp_path)])
    assert len({entry.key for entry in found.entries}) == len(found.entries) == 4
    assert [entry.mtime_ns for entry in found.entries] == [os.stat(entry.file).st_mtime_ns for entry in found.entries]


# ------------------------------------------------------------------------------------------------- names


def test_names_are_below_the_folder_that_was_named(tmp_path: Path) -> None:
    for name in ("a/scan.h5", "b/c/scan.h5", "scan.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_stack(tmp_path / name, FRAMES)
    assert [name for name, *_ in shown(Catalogue([str(tmp_path)]))] == ["scan", "a/scan", "b/c/scan"]
    assert [name for name, *_ in shown(Catalogue([str(tmp_path / "b")]))] == ["c/scan"]
    assert [name for name, *_ in shown(Catalogue([str(tmp_path / "b/c/scan.h5")]))] == ["scan"]


def test_files_that_differ_in_their_suffix_only_keep_it(tmp_path: Path) -> None:
    for name in ("scan.h5", "scan.nxs", "other.h5"):
        write_stack(tmp_path / name, FRAMES)
    assert [name for name, *_ in shown(Catalogue([str(tmp_path)]))] == ["other", "scan.h5", "scan.nxs"]


def test_the_same_names_below_several_folders(tmp_path: Path) -> None:
    for name in ("x/1/scan.h5", "x/2/scan.h5", "y/1/scan.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_stack(tmp_path / name, FRAMES)
    found = Catalogue([str(tmp_path / "x" / "1"), str(tmp_path / "x" / "2"), str(tmp_path / "y" / "1")])
    names = [name for name, *_ in shown(found)]
    assert len(set(names)) == 3
    assert all(name.endswith("1/scan.h5") or name.endswith("2/scan.h5") for name in names)


def test_a_folder_and_a_file_in_it_are_each_looked_for_once(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_stack(tmp_path / name, FRAMES)
    found = Catalogue([str(tmp_path / "b.h5"), str(tmp_path)])
    assert sorted(name for name, *_ in shown(found)) == ["a", "b"]


# ------------------------------------------------------------------------------------------------- where it looks


def test_only_hdf5_files_are_looked_into_and_hidden_folders_and_loops_are_not(tmp_path: Path) -> None:
    for name in ("a.h5", "deep/er/b.NXS", "c.cxi", ".hidden/d.h5", "e.edf", "f.h5.bak"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_stack(tmp_path / "x", FRAMES)
        os.replace(tmp_path / "x", tmp_path / name)
    (tmp_path / "deep" / "loop").symlink_to("..")
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "nowhere.h5").symlink_to("gone.h5")
    assert [name for name, *_ in shown(Catalogue([str(tmp_path)]))] == ["a", "c", "deep/er/b"]


def test_a_damaged_file_among_others_does_not_hurt(tmp_path: Path) -> None:
    write_stack(tmp_path / "b.h5", FRAMES)
    (tmp_path / "a.h5").write_text("damaged")
    (tmp_path / "c.h5").touch()
    found = Catalogue([str(tmp_path)])
    assert [name for name, *_ in shown(found)] == ["b"]
    assert {os.path.basename(file): bool(record.error) for file, record in found.files.items()} == {
        "a.h5": True,
        "b.h5": False,
        "c.h5": True,
    }


def test_a_damaged_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("damaged")
    with pytest.raises(SourceError, match=r"a\.h5"):
        Catalogue([str(tmp_path / "a.h5")])
    with pytest.raises(SourceError, match="is not there"):
        Catalogue([str(tmp_path / "b.h5")])


def test_a_folder_without_stacks_has_none(tmp_path: Path) -> None:
    assert Catalogue([str(tmp_path)]).entries == ()


def test_a_folder_that_cannot_be_listed_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_stack(tmp_path / "a.h5", FRAMES)
    (tmp_path / "closed").mkdir()
    list_folder = os.scandir

    def scandir(path: Any) -> Any:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with caplog.at_level(logging.WARNING):
        found = Catalogue([str(tmp_path)])
        found.look()
        found.look()
    assert [name for name, *_ in shown(found)] == ["a"]
    assert len([text for text in caplog.messages if "closed" in text and "Permission denied" in text]) == 1


# ------------------------------------------------------------------------------------------------- memory


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were looked into."""
    names: list[str] = []

    def look_into_all(files: list[str], told: Any = None, guard: Any = None, **options: Any) -> Iterator[Record]:
        for file in files:
            names.append(os.path.basename(file))
            yield look_into(file, **options)

    monkeypatch.setattr(catalogue, "look_into_all", look_into_all)
    return names


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a scan of bliss, two files of LImA behind it, and a plain file."""
    folder = tmp_path / "data"
    bliss_scan(folder, FRAMES)
    write_stack(folder / "plain.h5", FRAMES)
    age(folder)
    return folder


FILES = ["plain.h5", "sample_0001.h5"]  # what is behind a scan is not looked into


def remembered(data: Path, cache: Path) -> Catalogue:
    memory = Memory(cache, str(data))
    try:
        return Catalogue([str(data)], memory=memory)
    finally:
        memory.close()


def test_the_second_time_nothing_is_read(data: Path, tmp_path: Path, read: list[str]) -> None:
    first = remembered(data, tmp_path / "cache")
    assert sorted(read) == FILES
    read.clear()
    second = remembered(data, tmp_path / "cache")
    assert read == []
    assert second.entries == first.entries
    assert dict(second.files) == dict(first.files)
    assert len(second.entries) == 2


@pytest.mark.parametrize("name", ["plain.h5", "sample_0001.h5"])
@pytest.mark.parametrize("change", ["time", "size", "another file"])
def test_a_file_that_has_changed_is_read_again_and_only_that(
    data: Path, tmp_path: Path, read: list[str], name: str, change: str
) -> None:
    remembered(data, tmp_path / "cache")
    read.clear()
    status = os.stat(data / name)
    if change == "time":
        os.utime(data / name, ns=(1, status.st_mtime_ns + 1))
    elif change == "size":
        with open(data / name, "ab") as file:
            file.write(b"\0")
        os.utime(data / name, ns=(1, status.st_mtime_ns))
    else:
        shutil.copyfile(data / name, data / "copy")
        os.replace(data / "copy", data / name)
        os.utime(data / name, ns=(1, status.st_mtime_ns))
    remembered(data, tmp_path / "cache")
    assert read == [name]


def test_a_missing_file_that_a_link_leads_to_is_noticed_when_it_comes(tmp_path: Path, read: list[str]) -> None:
    dectris_series(tmp_path / "data", FRAMES, blocks=(3, 3))
    os.rename(tmp_path / "data/series_data_000002.h5", tmp_path / "later")
    age(tmp_path)
    remembered(tmp_path / "data", tmp_path / "cache")
    read.clear()
    os.rename(tmp_path / "later", tmp_path / "data/series_data_000002.h5")
    remembered(tmp_path / "data", tmp_path / "cache")
    assert read == ["series_master.h5"]


def test_an_error_is_not_remembered(data: Path, tmp_path: Path, read: list[str]) -> None:
    """It may be one of a moment, or of permissions, which no signature tells of."""
    (data / "odd.h5").write_bytes(b"this is not HDF5")
    age(data)
    for _ in range(2):
        assert remembered(data, tmp_path / "cache").files[str(data / "odd.h5")].error
    assert sorted(read) == sorted([*FILES, "odd.h5", "odd.h5"])


def test_a_link_to_what_is_not_there_yet_is_not_forgotten(data: Path, tmp_path: Path) -> None:
    (data / "later.h5").symlink_to(tmp_path / "later.h5")
    age(data)
    assert len(remembered(data, tmp_path / "cache").entries) == 2
    write_stack(tmp_path / "later.h5", FRAMES)
    assert "later" in [name for name, *_ in shown(remembered(data, tmp_path / "cache"))]


def test_a_file_that_was_written_a_moment_ago_is_not_remembered(data: Path, tmp_path: Path, read: list[str]) -> None:
    os.utime(data / "plain.h5", (2**32, 2**32))  # by a clock that is ahead: this machine may be slow
    remembered(data, tmp_path / "cache")
    read.clear()
    remembered(data, tmp_path / "cache")
    assert read == ["plain.h5"]


def kept_file(cache: Path) -> Path:
    (path,) = cache.glob("*.catalogue")
    return path


def sealed(plain: Any) -> bytes:
    return seal(b"fastlegacy catalogue 1\n" + json.dumps(plain).encode())


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    "empty": lambda content: b"",
    "foreign": lambda content: b"something else altogether",
    "another version": lambda content: content.replace(b"catalogue 1", b"catalogue 0"),
    "no JSON": lambda content: seal(b"fastlegacy catalogue 1\n{"),
    "no object": lambda content: sealed([1, 2]),
    "no records": lambda content: seal(content[:-32].replace(b'"records"', b'"recollections"')),
    "records of another kind": lambda content: seal(content[:-32].replace(b'"stacks"', b'"tracks"')),
    "no folders": lambda content: seal(content[:-32].replace(b'"folders": {', b'"folders": {"/x": [1], ')),
    "another program": lambda content: seal(content[:-32].replace(b'"by": ["', b'"by": ["9')),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_memory_that_is_not_as_it_was_written_is_not_used(
    data: Path, tmp_path: Path, read: list[str], damage: str
) -> None:
    expected = remembered(data, tmp_path / "cache").entries
    path = kept_file(tmp_path / "cache")
    good = path.read_bytes()
    path.write_bytes(DAMAGE[damage](good))
    read.clear()
    assert remembered(data, tmp_path / "cache").entries == expected
    assert sorted(read) == FILES
    assert kept_file(tmp_path / "cache").read_bytes() == good


def test_with_another_convention_all_files_are_looked_into_again(
    data: Path, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = remembered(data, tmp_path / "cache").entries
    read.clear()
    conventions = catalogue.plugins("fastlegacy.sources", "SOURCE")
    monkeypatch.setattr(catalogue, "plugins", lambda *which: {**conventions, "one more": conventions["bliss"]})
    assert remembered(data, tmp_path / "cache").entries == expected
    assert sorted(read) == FILES


def test_a_damaged_memory_is_removed(data: Path, tmp_path: Path) -> None:
    remembered(data, tmp_path / "cache")
    path = kept_file(tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:-1])
    memory = Memory(tmp_path / "cache", str(data))
    assert memory.load() == ([], {})
    memory.close()
    assert not path.exists()


def test_each_key_has_a_memory_of_its_own(tmp_path: Path) -> None:
    a, b = (Memory(tmp_path, key) for key in ("a", "b\udcff"))
    first, second = ([Record("x", ())], {"/d": (5, ["x"], ["e"])}), ([Record("y\udcff", ())], {})
    a.save(*first)
    assert (a.load(), b.load()) == (first, ([], {}))
    b.save(*second)
    assert (a.load(), b.load()) == (first, second)
    a.close()
    b.close()
    a.close()


def test_two_processes_that_save_at_once_leave_a_valid_file(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from fastlegacy.index.catalogue import Memory
from fastlegacy.index.crawl import Record
memory = Memory(Path(sys.argv[1]), "key")
print("ready", flush=True)
sys.stdin.readline()
for i in range(100):
    memory.save([Record(f"{sys.argv[2]} {i}", ((f"{sys.argv[2]}", 1, 2, 3),) * 50)], {})
    (record,), _ = memory.load()
    assert len(record.sources) == 50 and record.sources[0][0] == record.file.split(" ")[0], record.file
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", program, tmp_path, name], **pipes) for name in ("a", "b")]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    memory = Memory(tmp_path, "key")
    assert [record.file for record in memory.load()[0]] in (["a 99"], ["b 99"])
    memory.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".catalogue"]


def test_where_nothing_can_be_kept_there_is_one_warning(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(tmp_path / "cache", "key")
    (tmp_path / "cache").rmdir()  # from now on nothing can be made in it, not even by root
    found = Catalogue([str(data)], memory=memory)
    write_stack(data / "new.h5", FRAMES)
    assert found.look()
    memory.close()
    assert len(found.entries) == 3
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert str(tmp_path / "cache") in warnings[0]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Memory(tmp_path / "file" / "cache", "key")


# ------------------------------------------------------------------------------------------------- looking again


def test_looking_again_reads_what_is_new_and_only_that(data: Path, read: list[str]) -> None:
    found = Catalogue([str(data)])
    before = found.entries
    read.clear()
    assert not found.look()
    assert found.entries is before
    write_stack(data / "deep.h5", FRAMES)
    assert found.look()
    assert read == ["deep.h5"]
    assert [name for name, *_ in shown(found)] == ["deep", "plain", "sample_0001"]
    read.clear()
    os.unlink(data / "deep.h5")
    assert found.look()
    assert read == []
    assert found.entries == before


def test_looking_again_finds_new_folders_and_changed_files(data: Path, read: list[str]) -> None:
    found = Catalogue([str(data)])
    read.clear()
    (data / "new").mkdir()
    assert not found.look()
    write_stack(data / "new" / "a.h5", FRAMES)
    assert found.look()
    assert read == ["a.h5"]
    read.clear()
    with h5py.File(data / "sample_0001.h5", "r+") as file:
        file.copy("1.1", "2.1")
    assert found.look()
    assert read == ["sample_0001.h5"]
    assert ("sample_0001", "2.1", "eiger") in shown(found)
    read.clear()
    shutil.rmtree(data / "new")
    assert found.look()
    assert read == []
    assert all(name != "new/a" for name, *_ in shown(found))


def test_a_file_that_is_named_and_goes_is_an_error_when_looked_for_again(data: Path) -> None:
    found = Catalogue([str(data / "plain.h5")])
    os.unlink(data / "plain.h5")
    with pytest.raises(SourceError, match="is not there"):
        found.look()
    assert [name for name, *_ in shown(found)] == ["plain"]


def test_files_are_looked_at_by_another_path_where_they_are_covered(data: Path, tmp_path: Path) -> None:
    os.rename(data, tmp_path / "elsewhere")

    def real_path(path: str) -> str:
        return path.replace(str(data), str(tmp_path / "elsewhere"))

    found = Catalogue([str(data)], real_path=real_path)
    assert [(entry.name, os.path.dirname(entry.file)) for entry in found.entries] == [
        ("plain", str(data)),
        ("sample_0001", str(data)),
    ]
    assert not found.look()


# ------------------------------------------------------------------------------------------------- parts of scans


def test_files_behind_a_scan_are_looked_into_when_the_scan_is_gone(data: Path, read: list[str]) -> None:
    found = Catalogue([str(data)])
    assert sorted(read) == FILES
    read.clear()
    os.unlink(data / "sample_0001.h5")
    assert found.look()
    assert sorted(read) == ["eiger_0000.h5", "eiger_0001.h5"]
    assert [name for name, *_ in shown(found)] == ["plain", "scan0001/eiger_0000", "scan0001/eiger_0001"]


def test_a_new_file_behind_a_scan_is_not_looked_into(data: Path, read: list[str]) -> None:
    os.rename(data / "scan0001" / "eiger_0001.h5", data.parent / "later")
    found = Catalogue([str(data)])
    read.clear()
    os.rename(data.parent / "later", data / "scan0001" / "eiger_0001.h5")
    found.look()
    assert "eiger_0001.h5" not in read
    assert [name for name, *_ in shown(found)] == ["plain", "sample_0001"]


def test_what_is_in_a_folder_is_remembered_as_long_as_it_has_not_changed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = remembered(data, tmp_path / "cache").entries
    listed: list[str] = []
    list_folder = os.scandir

    def scandir(path: Any) -> Any:
        listed.append(os.path.basename(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert remembered(data, tmp_path / "cache").entries == expected
    assert listed == []
    (data / "scan0001" / "new").touch()
    assert remembered(data, tmp_path / "cache").entries == expected
    assert listed == ["scan0001"]


def test_better_known_scans_are_not_lost_behind_a_file_over_them(tmp_path: Path) -> None:
    """A file of another convention, nearer to the root, shows pixels of one of two scans of a file."""
    (tmp_path / "deep").mkdir()
    write_stack(tmp_path / "deep" / "sample.h5", FRAMES, "/1.1/measurement/eiger")
    with h5py.File(tmp_path / "deep" / "sample.h5", "r+") as file:
        file["2.1/measurement/eiger"] = FRAMES
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource("deep/sample.h5", "/1.1/measurement/eiger", FRAMES.shape)
    with h5py.File(tmp_path / "over.h5", "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXmx"
        detector = entry.create_group("instrument/detector")
        entry["instrument"].attrs["NX_class"] = "NXinstrument"
        detector.attrs["NX_class"] = "NXdetector"
        entry.create_virtual_dataset("data/data", layout)
        entry["data"].attrs["NX_class"] = "NXdata"
    found = Catalogue([str(tmp_path)])
    assert ("deep/sample", "2.1", "eiger") in shown(found)


def test_names_that_were_given_stay_when_files_come(tmp_path: Path) -> None:
    frames = np.ones((2, 8, 9), "u2")
    write_stack(tmp_path / "a.nxs", frames)
    catalogue = Catalogue([str(tmp_path)])
    assert [entry.name for entry in catalogue.entries] == ["a"]
    write_stack(tmp_path / "a.h5", frames)
    assert catalogue.look()
    assert {os.path.basename(entry.file): entry.name for entry in catalogue.entries} == {"a.nxs": "a", "a.h5": "a.h5"}
