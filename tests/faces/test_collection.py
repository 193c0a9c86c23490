# SPDX-License-Identifier: MIT
import io
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from fabio.fabioutils import BytesIO

import fastlegacy
from fastlegacy.errors import FastlegacyError, NotAStackError, SourceError, UrlError
from fastlegacy.faces import collection as module
from fastlegacy.faces.collection import Collection
from fastlegacy.faces.headers import Headers
from fastlegacy.faces.wanted import Wanted
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.index.template import Template
from fastlegacy.testing.bliss import bliss_dataset, bliss_scan
from fastlegacy.testing.files import write_stack

FRAMES = np.random.default_rng(5).poisson(3, (6, 12, 16)).astype("<u2")

Start = Callable[..., Collection]

HOMES = {
    f"sample_000{number}/sample_000{number}/{scan}/eiger/edf": (number, scan)
    for number in (1, 2)
    for scan in ("1.1", "2.1")
}


def frames_of(number: int, scan: str) -> Any:
    return FRAMES[:: 1 if scan == "1.1" else -1] * number


def image_of(data: bytes) -> Any:
    with fabio.edfimage.EdfImage().read(BytesIO(data)) as image:
        return image.data.copy()


# ------------------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("form", ["url", "file", "words"])
def test_one_stack_is_in_the_root(tmp_path: Path, collect: Start, form: str) -> None:
    url = bliss_scan(tmp_path, FRAMES)
    file, _, dataset = url.partition("::")
    found = collect({"url": url, "file": file, "words": DataUrl(file, dataset)}[form])
    assert list(found.root) == [f"data000{i}.edf" for i in range(1, 7)]
    assert dict(found.root.children) == {}
    for frame, virtual in zip(FRAMES, found.root.values(), strict=True):
        np.testing.assert_array_equal(image_of(virtual.read()), frame)
    assert found.label == url
    assert found.summary() == "6 virtual files (data0001.edf and on)"


def test_one_stack_in_several_formats_is_a_folder_each(tmp_path: Path, collect: Start) -> None:
    found = collect(bliss_scan(tmp_path, FRAMES), format="edf,npy-stack", companions=())
    assert list(found.root) == [*(f"edf/data000{i}.edf" for i in range(1, 7)), "npy-stack/data.npy"]


def test_it_is_what_the_library_makes_of_the_stack(tmp_path: Path, collect: Start) -> None:
    url = bliss_scan(tmp_path, FRAMES)
    found = collect(url, format="cbf")
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(stack, "cbf")
        assert {path: file.read() for path, file in found.root.items()} == {
            path: file.read() for path, file in tree.items()
        }


def test_many_stacks_are_in_folders(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    expected = [f"{home}/{home.split('/')[1]}_{i:04d}.edf" for home in HOMES for i in range(1, 7)]
    assert list(found.root) == expected
    for home, which in HOMES.items():
        for i, frame in enumerate(frames_of(*which), 1):
            path = f"{home}/{home.split('/')[1]}_{i:04d}.edf"
            np.testing.assert_array_equal(image_of(found.root[path].read()), frame)
    assert found.summary() == "4 stacks in 2 HDF5 files"


def test_several_files_are_in_a_folder_each(proposal: Path, collect: Start) -> None:
    files = [proposal / f"sample_000{number}" / f"sample_000{number}.h5" for number in (1, 2)]
    found = collect(*files)
    assert [path for path, _ in found.root.walk()] == [home.partition("/")[2] for home in HOMES]
    one = collect(files[0])
    assert [path for path, _ in one.root.walk()] == ["sample_0001/1.1/eiger/edf", "sample_0001/2.1/eiger/edf"]


def test_a_dataset_beside_a_folder(proposal: Path, collect: Start, tmp_path: Path) -> None:
    url = write_stack(tmp_path / "flat.h5", FRAMES, "/a/flat")
    found = collect(url, proposal / "sample_0001")
    assert [path for path, _ in found.root.walk()] == [
        "flat/edf",
        "sample_0001/1.1/eiger/edf",
        "sample_0001/2.1/eiger/edf",
    ]


def test_only_what_is_wanted_is_there(proposal: Path, collect: Start) -> None:
    found = collect(proposal, wanted=Wanted(scans=("2.*",), frames=slice(1, 6, 2)))
    assert [path for path, _ in found.root.walk()] == [home for home in HOMES if "/2.1/" in home]
    for home, which in HOMES.items():
        if which[1] == "2.1":
            files = [file.read() for path, file in found.root.items() if path.startswith(home)]
            np.testing.assert_array_equal([image_of(file) for file in files], frames_of(*which)[1:6:2])


def test_one_scan_of_a_file_is_in_the_root(proposal: Path, collect: Start) -> None:
    found = collect(proposal / "sample_0002/sample_0002.h5", wanted=Wanted(scans=("2.1",)))
    assert next(iter(found.root)) == "data0001.edf"
    np.testing.assert_array_equal(image_of(found.root["data0003.edf"].read()), frames_of(2, "2.1")[2])


def test_the_users_own_template(proposal: Path, collect: Start) -> None:
    found = collect(proposal, template=Template("{scan}/{file}_##"), format="cbf", first=0, reverse=True, companions=())
    names = [f"sample_000{n}_sample_000{n}_0{i}.cbf" for n in (1, 2) for i in range(5, -1, -1)]
    assert list(found.root) == [f"{scan}/{name}" for scan in ("1.1", "2.1") for name in names]
    with fastlegacy.open(str(proposal / "sample_0002/sample_0002.h5"), "/2.1/measurement/eiger") as stack:
        expected = fastlegacy.tree(stack, "cbf")["data0001.cbf"].read()
    assert found.root[f"2.1/{names[6]}"].read() == expected


def test_stacks_that_would_meet_are_an_error(proposal: Path, collect: Start) -> None:
    with pytest.raises(UrlError, match="same names by the template"):
        collect(proposal, template=Template("{scan}/x_####"))


def test_what_holds_no_stack_is_an_error(tmp_path: Path, proposal: Path, collect: Start) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotAStackError, match="holds no stack"):
        collect(tmp_path / "empty")
    with pytest.raises(SourceError, match="broken"):
        collect(proposal / "broken.h5")
    with pytest.raises(SourceError, match="is not there"):
        collect(tmp_path / "nothing.h5")
    with pytest.raises(UrlError, match=r"no stack is left by the selection.*1\.1, 2\.1"):
        collect(proposal, wanted=Wanted(scans=("7.1",)))


def test_companions_of_many_stacks_do_not_meet_in_one_folder(proposal: Path, collect: Start) -> None:
    headers = Headers({"distance_m": 0.2, "wavelength_angstrom": 1.0, "beam_x_px": 1.0, "beam_y_px": 2.0})
    values = {"pixel_x_m": 75e-6, "pixel_y_m": 75e-6, "start_deg": 0.0, "step_deg": 0.1}
    found = collect(
        proposal,
        format="cbf",
        template=Template("all/{file}_{scan}_####"),
        headers=Headers({**headers.values, **values}),
    )
    names = list(found.root)
    assert len(set(names)) == len(names)
    assert "XDS.INP" not in {name.rpartition("/")[2] for name in names}


# ------------------------------------------------------------------------------------------------- when it is opened


def test_a_folder_that_is_looked_into_opens_its_stack_and_no_other(
    proposal: Path, collect: Start, opened: list[str]
) -> None:
    found = collect(proposal, format="edf,cbf", companions=())
    folders = [path for path, _ in found.root.walk()]
    assert len(folders) == 8
    assert found.root.mtime_ns > 0
    assert found.root.folder(folders[0]) is not None
    assert list(found.root.children) == ["sample_0001", "sample_0002"]
    assert found.summary() == "4 stacks in 2 HDF5 files"
    assert opened == []
    folder = found.root.folder("sample_0002/sample_0002/1.1/eiger/cbf")
    assert folder is not None
    assert len(list(folder.files)) == 6
    assert found.root.size_of("sample_0002/sample_0002/1.1/eiger/edf/sample_0002_0004.edf") > 0
    assert opened == [f"{proposal}/sample_0002/sample_0002.h5::/1.1/measurement/eiger"]


def test_what_is_not_used_is_let_go_of_and_opened_again(
    proposal: Path, collect: Start, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = module.Shelf
    monkeypatch.setattr(module, "Shelf", lambda: shelf(2))
    found = collect(proposal)
    paths = [f"{home}/{home.split('/')[1]}_0001.edf" for home in HOMES]
    contents = [found.root[path].read() for path in paths]
    assert len(opened) == 4
    assert sum(stand.stack is not None for stand in found.stands) == 2
    assert [found.root[path].read() for path in paths] == contents
    assert len(opened) == 8


def test_a_stack_that_cannot_be_opened_hurts_no_other(proposal: Path, collect: Start) -> None:
    found = collect(proposal)
    for path in (proposal / "sample_0001" / "scan0001").iterdir():
        path.unlink()
    assert len(found.root.folder("sample_0001/sample_0001/2.1/eiger/edf") or ()) == 6
    with pytest.raises(SourceError, match="missing"):
        list(found.root["sample_0001/sample_0001/1.1/eiger/edf/sample_0001_0001.edf"].read())
    filled = collect(proposal, missing="fill")
    assert not image_of(filled.root["sample_0001/sample_0001/1.1/eiger/edf/sample_0001_0001.edf"].read()).any()


def test_many_threads_open_each_stack_once(proposal: Path, collect: Start, opened: list[str]) -> None:
    found = collect(proposal, format="edf,cbf", companions=())
    expected = {path: file.read() for path, file in collect(proposal, format="edf,cbf", companions=()).root.items()}
    opened.clear()
    paths = sorted(expected)

    def work(seed: int) -> bool:
        mine = random.Random(seed).choices(paths, k=40)
        return all(found.root[path].read() == expected[path] for path in mine)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert sorted(opened) == sorted(set(opened))


# ------------------------------------------------------------------------------------------------- what was learnt


def test_what_was_learnt_is_remembered(proposal: Path, collect: Start, tmp_path: Path) -> None:
    for path in proposal.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    first = collect(proposal, memory=tmp_path / "cache")
    told: list[tuple[int, int]] = []
    second = collect(proposal, memory=tmp_path / "cache", told=lambda *count: told.append(count))
    assert told == [(1, 1)]  # the broken one: an error may be gone by now
    assert list(second.root) == list(first.root)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["catalogues"]


def test_a_cache_that_cannot_be_made_is_a_warning(
    proposal: Path, collect: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    found = collect(proposal, memory=tmp_path / "file")
    assert len(found.stands) == 4
    assert [str(tmp_path / "file") in text for text in caplog.messages].count(True) == 1


# ------------------------------------------------------------------------------------------------- the library


def test_users_of_the_library_have_it_too(proposal: Path) -> None:
    with fastlegacy.collection(proposal, "npy", scans=["1.*"], frames=slice(0, 2), companions=()) as found:
        arrays = {path: np.load(io.BytesIO(file.read())) for path, file in found.root.items()}
    assert list(arrays) == [
        f"sample_000{n}/sample_000{n}/1.1/eiger/npy/sample_000{n}_000{i}.npy" for n in (1, 2) for i in (1, 2)
    ]
    for (path, array), expected in zip(arrays.items(), [*FRAMES[:2], *(FRAMES[:2] * 2)], strict=True):
        np.testing.assert_array_equal(array, expected, err_msg=path)
    with pytest.raises(FastlegacyError):
        fastlegacy.collection(proposal / "nothing")


def test_files_that_cannot_be_read_are_one_warning(
    proposal: Path, collect: Start, caplog: pytest.LogCaptureFixture
) -> None:
    collect(proposal)
    (text,) = caplog.messages
    assert "1 HDF5 file of 3 cannot be read" in text
    assert "broken.h5" in text


def test_of_many_scans_some_have_no_frames_of_these_numbers(tmp_path: Path, collect: Start) -> None:
    bliss_dataset(tmp_path / "raw", {"1.1": FRAMES, "2.1": np.concatenate([FRAMES, FRAMES])})
    found = collect(tmp_path / "raw", wanted=Wanted(frames=slice(len(FRAMES), None)))
    assert sorted({path.split("/")[1] for path in found.root}) == ["2.1"]
    assert len(found.root) == len(FRAMES)


def test_only_the_absence_of_frames_is_an_empty_folder(tmp_path: Path, collect: Start) -> None:
    """Of many scans, too, what is not understood is an error."""
    bliss_dataset(tmp_path / "raw", {"1.1": FRAMES, "2.1": FRAMES})
    assert list(collect(tmp_path / "raw", wanted=Wanted(frames=slice(100, None))).root) == []
    backwards = collect(tmp_path / "raw", wanted=Wanted(frames=slice(5, 0, -1)))
    with pytest.raises(UrlError, match="backwards"):
        list(backwards.root)
    mask = tmp_path / "mask.npy"
    np.save(mask, np.zeros((3, 4), bool))
    bliss_dataset(tmp_path / "live", {"1.1": FRAMES, "2.1": FRAMES}, running=["1.1", "2.1"])
    for raw, follow in (("raw", False), ("live", True)):
        masked = collect(tmp_path / raw, mask=str(mask), follow=follow)
        with pytest.raises(UrlError, match="mask has the shape"):
            list(masked.root)


def test_one_scan_that_is_followed_is_not_alone(tmp_path: Path, collect: Start) -> None:
    bliss_dataset(tmp_path / "raw", {"1.1": FRAMES}, name="a.h5")
    one = collect(tmp_path / "raw" / "a.h5", follow=True)
    assert list(one.root.children) == ["a"]
