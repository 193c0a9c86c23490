# SPDX-License-Identifier: MIT
"""Headers that change while files are shown: by words, and by side files."""

import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.errors import FastlegacyError, LayoutError, UrlError
from fastlegacy.faces.collection import Collection
from fastlegacy.faces.headers import Headers
from fastlegacy.index.template import Template
from fastlegacy.index.view import View
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.files import write_stack

FRAMES = np.ones((6, 12, 16), "<u2")

Start = Callable[..., Collection]

HOMES = {
    f"sample_000{number}/sample_000{number}/{scan}/eiger/edf": (number, scan)
    for number in (1, 2)
    for scan in ("1.1", "2.1")
}


def header(collection: Collection, path: str, name: str) -> str | None:
    """A value of the header of an EDF file, as text."""
    found = re.search(rf"^{name} = (.*?) ;", collection.root[path].read().decode("latin-1"), re.MULTILINE)
    return None if found is None else found[1]


ONE = "sample_0001/sample_0001/1.1/eiger/edf"
FILE = f"{ONE}/sample_0001_0002.edf"
OTHER = "sample_0001/sample_0001/2.1/eiger/edf/sample_0001_0002.edf"
ELSEWHERE = "sample_0002/sample_0002/1.1/eiger/edf/sample_0002_0002.edf"


def test_headers_are_set_for_all(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    before = found.root[FILE].read()
    version = found.version
    assert header(found, FILE, "SampleDistance") is None
    lines = found.set_headers("", {"distance": "141mm", "beam": "1024.5,1022"})
    for path in (FILE, OTHER, ELSEWHERE):
        assert header(found, path, "SampleDistance") == "0.141"
        assert header(found, path, "Center_1") == "1025"
    assert found.version > version
    assert f"{ONE}: distance unknown -> 0.141 m" in lines
    assert any("distance=141mm" in line and "3 stacks" in line for line in lines)
    after = found.root[FILE].read()
    assert after != before
    assert after[-2 * FRAMES[0].size :] == before[-2 * FRAMES[0].size :]


def test_what_was_set_is_taken_back(proposal: Path, collect: Start) -> None:
    found = collect(proposal, headers=Headers({"distance_m": 0.3}))
    before = {path: found.root[path].read() for path in (FILE, OTHER, ELSEWHERE)}
    found.set_headers("", {"distance": "141mm", "title": "lysozyme"})
    found.set_headers("sample_0001", {"distance": "150mm"})
    assert [header(found, path, "SampleDistance") for path in before] == ["0.15", "0.15", "0.141"]
    lines = found.set_headers("", {"distance": ""})
    assert [header(found, path, "SampleDistance") for path in before] == ["0.3"] * 3
    assert f"{ONE}: distance 0.15 m (set while mounted) -> 0.3 m" in lines
    found.set_headers("", {"title": ""})
    assert {path: found.root[path].read() for path in before} == before


def test_a_subfolder_has_headers_of_its_own(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    found.set_headers("sample_0001/sample_0001/1.1", {"distance": "150mm"})
    assert [header(found, path, "SampleDistance") for path in (FILE, OTHER, ELSEWHERE)] == ["0.15", None, None]
    found.set_headers("sample_0001/", {"distance": "160mm"})
    assert [header(found, path, "SampleDistance") for path in (FILE, OTHER, ELSEWHERE)] == ["0.16", "0.16", None]
    found.set_headers(ONE, {"distance": "170mm"})
    assert [header(found, path, "SampleDistance") for path in (FILE, OTHER, ELSEWHERE)] == ["0.17", "0.16", None]
    found.set_headers(FILE, {"distance": "180mm"})
    assert [header(found, path, "SampleDistance") for path in (FILE, OTHER, ELSEWHERE)] == ["0.18", "0.16", None]


def test_what_is_set_holds_for_the_folder_that_was_named(tmp_path: Path, collect: Start) -> None:
    for name in "xy":
        write_stack(tmp_path / f"{name}.h5", FRAMES)
    found = collect(tmp_path, template=Template("{file}/#"))
    found.set_headers("x", {"distance": "150mm"})
    assert [header(found, f"{name}/1.edf", "SampleDistance") for name in "xy"] == ["0.15", None]
    together = collect(tmp_path, template=Template("in/{stem}_#"))
    together.set_headers("in", {"distance": "150mm"})
    assert [header(together, f"in/{name}_1.edf", "SampleDistance") for name in "xy"] == ["0.15", "0.15"]


def test_a_stack_above_a_folder_is_not_concerned_by_it(tmp_path: Path, collect: Start) -> None:
    (tmp_path / "a").mkdir()
    write_stack(tmp_path / "a.h5", FRAMES)
    write_stack(tmp_path / "a" / "edf.h5", FRAMES)
    found = collect(tmp_path, template=Template("{file}/x_#"))
    assert {path for path, _ in found.root.walk()} == {"a", "a/edf"}
    found.set_headers("a/edf", {"distance": "150mm"})
    assert header(found, "a/edf/x_1.edf", "SampleDistance") == "0.15"
    assert header(found, "a/x_1.edf", "SampleDistance") is None


def test_of_two_words_for_the_same_the_later_one_wins(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    for words, expected in [
        ({"wavelength": "1.0"}, 1.0),
        ({"energy": "24.79684"}, 0.5),
        ({"wavelength": "2.0"}, 2.0),
        ({"energy": "24.79684"}, 0.5),
        ({"energy": ""}, 2.0),
    ]:
        found.set_headers("", words)
        wavelength = header(found, FILE, "WaveLength")
        assert wavelength is not None
        assert float(wavelength) == pytest.approx(expected * 1e-10, rel=1e-5)


def test_beam_after_x0_and_x0_after_beam(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    for words, expected in [
        ({"x0": "5"}, "5.5"),
        ({"beam": "7,8"}, "7.5"),
        ({"x0": "9"}, "9.5"),
        ({"beam": "3,8"}, "3.5"),
    ]:
        found.set_headers("", words)
        assert header(found, FILE, "Center_1") == expected


@pytest.mark.parametrize(
    "texts",
    [
        {"colour": "red"},
        {"distance": "near"},
        {"distance": "150mm", "beam": "5"},
        {"distance": "150mm", "run": "-1"},
        {"wavelength": "1", "energy": "12"},
        {"distance": "150kg"},
    ],
)
def test_nonsense_changes_nothing(proposal: Path, collect: Start, texts: dict[str, str]) -> None:
    found = collect(proposal)
    found.set_headers("", {"distance": "160mm"})
    before, version = found.root[FILE].read(), found.version
    time = found.root[FILE].mtime_ns
    with pytest.raises(UrlError):
        found.set_headers("", texts)
    assert (found.root[FILE].read(), found.version, found.root[FILE].mtime_ns) == (before, version, time)
    assert header(found, OTHER, "SampleDistance") == "0.16"


def test_a_header_that_cannot_be_made_changes_nothing(proposal: Path, collect: Start) -> None:
    found = collect(proposal, format="edf,cbf", companions=())
    before = {path: found.root[path].read() for path in (FILE, FILE.replace("edf", "cbf"))}
    with pytest.raises(LayoutError):
        found.set_headers("", {"startangle": "0", "stepangle": "1e15"})
    assert {path: found.root[path].read() for path in before} == before
    found.set_headers("", {"distance": "160mm"})
    assert header(found, FILE, "SampleDistance") == "0.16"


def test_there_has_to_be_such_a_folder(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    for path in ("sample_0003", "sample_0001/1.1", f"{ONE}/nothing.edf", ".."):
        with pytest.raises(UrlError, match="no virtual folder"):
            found.set_headers(path, {"distance": "160mm"})
    assert header(found, FILE, "SampleDistance") is None


def test_files_are_as_new_as_their_headers(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    before = found.root[FILE].mtime_ns
    found.set_headers("sample_0001/sample_0001/1.1", {"distance": "150mm"})
    assert found.root[FILE].mtime_ns > before
    assert found.root.mtime_ns >= found.root[FILE].mtime_ns
    assert found.root[OTHER].mtime_ns < found.root[FILE].mtime_ns


def test_a_file_that_is_open_keeps_its_header(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    file = found.root[FILE]
    before = file.read()
    opened = file.open()
    found.set_headers("", {"distance": "150mm"})
    buffer = bytearray(len(before))
    assert opened.read_into(buffer, 0) == len(before)
    assert buffer == before


def test_what_belongs_to_the_headers_changes_with_them(tmp_path: Path, collect: Start) -> None:
    found = collect(dectris_series(tmp_path, FRAMES), format="cbf", companions=["xds"])
    found.set_headers("", {"distance": "141mm", "beam": "1024.5,1022", "wavelength": "1.25"})
    text = found.root["XDS.INP"].read().decode()
    assert re.search(r"DETECTOR_DISTANCE= *141\n", text)
    assert re.search(r"ORGX= *1025\.5\d* ", text)
    found.set_headers("", {"distance": "142mm"})
    assert re.search(r"DETECTOR_DISTANCE= *142\n", found.root["XDS.INP"].read().decode())


def test_sizes_of_encoded_files_are_not_measured_again(
    proposal: Path, collect: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = collect(proposal, format="cbf", companions=())
    path = FILE.replace("edf", "cbf")
    size = found.root.size_of(path)
    monkeypatch.setattr(View, "measure", lambda *args: pytest.fail("measured again"))
    found.set_headers("", {"distance": "141mm"})
    assert found.root.size_of(path) == len(found.root[path].read()) >= size - 100


def test_all_that_is_known_is_told(proposal: Path, collect: Start) -> None:
    found = collect(proposal, headers=Headers({"exposure_s": 0.5}))
    found.set_headers("sample_0001", {"distance": "150mm"})
    rows = found.headers("")
    assert {folder for folder, *_ in rows} == set(HOMES)
    assert (ONE, "distance", "0.15 m", "set while mounted") in rows
    assert (ONE, "exposure", "0.5 s", "command line") in rows
    assert {folder for folder, *_ in found.headers("sample_0002")} == {home for home in HOMES if "sample_0002" in home}
    assert {folder for folder, *_ in found.headers(f"/{FILE}")} == {ONE}
    assert found.headers("nothing") == []


def test_all_that_is_known_of_one_stack_is_told_of_its_files_too(tmp_path: Path, collect: Start) -> None:
    found = collect(bliss_scan(tmp_path, FRAMES))
    assert found.headers("data0001.edf") == found.headers("") != []


# ------------------------------------------------------------------------------------------------- side files


def toml(distance: str) -> str:
    return f'[geometry]\ndistance = "{distance}"\n'


def told_by(found: Collection, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What looking for news writes to the log."""
    caplog.clear()
    assert found.poll() == []
    return list(caplog.messages)


def test_a_side_file_that_is_edited_changes_the_headers(
    proposal: Path, collect: Start, caplog: pytest.LogCaptureFixture
) -> None:
    side_file = proposal / "sample_0001" / "fastlegacy.toml"
    side_file.write_text(toml("150mm"))
    found = collect(proposal)
    assert [header(found, path, "SampleDistance") for path in (FILE, OTHER, ELSEWHERE)] == ["0.15", "0.15", None]
    assert told_by(found, caplog) == []
    version = found.version
    side_file.write_text(toml("151.5mm"))
    (line,) = told_by(found, caplog)
    assert line.startswith(str(side_file))
    assert [header(found, path, "SampleDistance") for path in (FILE, OTHER, ELSEWHERE)] == ["0.1515", "0.1515", None]
    assert found.version > version
    assert told_by(found, caplog) == []
    side_file.unlink()
    assert len(told_by(found, caplog)) == 1
    assert header(found, FILE, "SampleDistance") is None


def test_a_side_file_that_comes_is_noticed(proposal: Path, collect: Start, caplog: pytest.LogCaptureFixture) -> None:
    found = collect(proposal)
    assert header(found, FILE, "SampleDistance") is None
    (proposal / "sample_0001" / "fastlegacy.toml").write_text(toml("150mm"))
    assert len(told_by(found, caplog)) == 1
    assert header(found, FILE, "SampleDistance") == "0.15"


def test_a_side_file_with_a_fault_is_told_and_the_others_hold(
    proposal: Path, collect: Start, caplog: pytest.LogCaptureFixture
) -> None:
    side_files = [proposal / f"sample_000{number}" / "fastlegacy.toml" for number in (1, 2)]
    for side_file in side_files:
        side_file.write_text(toml("150mm"))
    found = collect(proposal)
    assert [header(found, path, "SampleDistance") for path in (FILE, ELSEWHERE)] == ["0.15", "0.15"]
    side_files[0].write_text("distance = nonsense [")
    side_files[1].write_text(toml("151mm"))
    assert str(side_files[0]) in "\n".join(told_by(found, caplog))
    assert [header(found, path, "SampleDistance") for path in (FILE, ELSEWHERE)] == ["0.15", "0.151"]
    side_files[0].write_text(toml("152mm"))
    assert len(told_by(found, caplog)) == 1
    assert header(found, FILE, "SampleDistance") == "0.152"


def test_the_order_of_who_says_what(proposal: Path, collect: Start) -> None:
    (proposal / "sample_0001" / "fastlegacy.toml").write_text('[geometry]\ndistance = "150mm"\nexposure = "1s"\n')
    found = collect(proposal, headers=Headers({"distance_m": 0.2}))
    assert [header(found, FILE, name) for name in ("SampleDistance", "ExposureTime")] == ["0.2", "1"]
    found.set_headers("", {"distance": "210mm"})
    assert [header(found, FILE, name) for name in ("SampleDistance", "ExposureTime")] == ["0.21", "1"]
    found.set_headers("", {"distance": "", "expotime": "3"})
    assert [header(found, FILE, name) for name in ("SampleDistance", "ExposureTime")] == ["0.2", "3"]


# ------------------------------------------------------------------------------------------------- many threads


def test_headers_change_while_others_read(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    paths = [FILE, OTHER, ELSEWHERE]
    texts = ["0.141", "0.142", "0.143"]
    found.set_headers("", {"distance": "141mm"})

    def read(seed: int) -> bool:
        choose = random.Random(seed)
        return all(header(found, choose.choice(paths), "SampleDistance") in texts for _ in range(60))

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read, seed) for seed in range(6)]
        for i in range(40):
            found.set_headers("", {"distance": f"{141 + i % 3}mm"})
            found.poll()
        assert all(reader.result(60) for reader in readers)
    found.set_headers("", {"distance": "143mm"})
    assert {header(found, path, "SampleDistance") for path in paths} == {"0.143"}


# ------------------------------------------------------------------------------------------------- closed stacks


def test_what_no_header_can_hold_is_refused_though_nobody_has_opened_a_stack(proposal: Path, collect: Start) -> None:
    found = collect(proposal, format="cbf", companions=())
    assert all(stand.stack is None for stand in found.stands)
    version = found.version
    with pytest.raises(LayoutError, match=r"sample_0001\.h5"):
        found.set_headers("", {"startangle": "0", "stepangle": "1e15"})
    found.set_headers("", {"distance": "160mm"})  # what was refused does not stand in the way
    assert found.version > version
    assert re.search(rb"Detector_distance 0\.160* m", found.root[FILE.replace("edf", "cbf")].read())


def test_a_damaged_stack_does_not_keep_headers_from_being_set_on_the_others(proposal: Path, collect: Start) -> None:
    found = collect(proposal, companions=())
    first = found.stands[0]
    assert "sample_0001" in first.folders[0]
    damaged = proposal / "sample_0001" / "sample_0001.h5"
    damaged.write_bytes(damaged.read_bytes()[:100])
    lines = found.set_headers("", {"distance": "160mm"})
    assert lines == ["all files: distance=160mm holds for 4 stacks that nobody has opened yet"]
    assert header(found, ELSEWHERE, "SampleDistance") == "0.16"
    with pytest.raises(FastlegacyError):
        found.root[FILE].read()
