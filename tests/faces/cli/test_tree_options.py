# SPDX-License-Identifier: MIT
"""Files and formats on the command line: what comes out, and what is refused before anything is opened."""

import os
import shutil
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.main import build_parser, main
from fastlegacy.faces.cli.tree_options import _companions, _format_options, opened_collection, sources_and_folder
from fastlegacy.faces.collection import Collection
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.lima import lima2_file


def export(scan: Path, out: Path, *options: str) -> int:
    return main(["export", f"{scan}::/entry/data", str(out), "-q", *options])


def test_one_format_is_at_the_root(scan: Path, tmp_path: Path) -> None:
    assert export(scan, tmp_path / "out", "--format", "npy", "--companions", "none") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"data000{i}.npy" for i in range(1, 6)]


def test_several_formats_are_a_folder_each(scan: Path, tmp_path: Path) -> None:
    assert export(scan, tmp_path / "out", "--format", "edf, npy-stack", "--companions", "none") == 0
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert found == [*(f"edf/data000{i}.edf" for i in range(1, 6)), "npy-stack/data.npy"]
    with fabio.open(str(tmp_path / "out" / "edf" / "data0003.edf")) as image:
        np.testing.assert_array_equal(image.data, np.load(tmp_path / "out" / "npy-stack" / "data.npy")[2])


@pytest.mark.parametrize("text", ["jpeg", "edf,jpeg", "edf,,npy", ""])
def test_a_format_that_is_not_there(scan: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(scan, tmp_path / "out", "--format", text) == 2
    assert "there is no format" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def parsed_options(*words: str) -> dict[str, str]:
    return _format_options(build_parser().parse_args(["export", "a.h5::/x", "out", *words]))


def test_options_of_formats_are_collected() -> None:
    assert parsed_options() == {}
    assert parsed_options("--format", "cbf,edf", "-O", "md5=yes", "--option", "cbf:size=constant") == {
        "md5": "yes",
        "cbf:size": "constant",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--format", "cbf", "-O", "md5"], "'md5' is not understood; write NAME=VALUE"),
        (["--format", "cbf", "-O", "=yes"], "'=yes' is not understood"),
        (["--format", "cbf", "-O", "md5=perhaps"], "'perhaps' is no value of the option 'md5'; give yes or no"),
        (["--format", "cbf", "-O", "size=huge"], "'huge' is no value .* give exact or constant"),
        (["--format", "cbf", "-O", "md6=yes"], "no option 'md6' of cbf; there are convention, md5, size"),
        (["--format", "cbf,edf", "-O", "edf:md5=yes"], "no option 'edf:md5' of cbf, edf; there are cbf:convention"),
        (["--format", "edf", "-O", "tiff:x=1"], "no option 'tiff:x' of edf"),
    ],
)
def test_options_that_are_not_there(scan: Path, tmp_path: Path, words: list[str], says: str) -> None:
    with pytest.raises(UrlError, match=says):
        parsed_options(*words)
    assert main(["export", str(tmp_path / "nothing.h5::/x"), str(tmp_path / "out"), *words]) == 2


def test_an_option_reaches_its_format(scan: Path, tmp_path: Path) -> None:
    assert export(scan, tmp_path / "out", "--format", "cbf", "-O", "md5=yes") == 0
    assert b"Content-MD5" in (tmp_path / "out" / "data0001.cbf").read_bytes()
    assert export(scan, tmp_path / "plain", "--format", "cbf") == 0
    assert b"Content-MD5" not in (tmp_path / "plain" / "data0001.cbf").read_bytes()


def test_companions_by_name_or_not_at_all(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    geometry = ["--distance", "140", "--x0", "3", "--y0", "4", "--pixelsize", "75"]
    assert export(scan, tmp_path / "a", "--companions", "poni", *geometry) == 0
    assert (tmp_path / "a" / "data.poni").read_text().startswith("#")
    assert export(scan, tmp_path / "b", "--companions", "none", *geometry) == 0
    assert list((tmp_path / "b").glob("*.poni")) == []
    assert export(scan, tmp_path / "c", "--companions", "poni") == 1
    assert "the companion poni cannot be made without distance" in capsys.readouterr().err
    assert export(scan, tmp_path / "c", "--companions", "pony") == 2
    assert "there is no companion 'pony'; there are " in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_words_for_companions() -> None:
    assert (_companions("auto"), _companions("none"), _companions("xds, poni")) == (None, [], ["xds", "poni"])
    with pytest.raises(UrlError, match="give auto, none, or names"):
        _companions("xds,,poni")


def test_pixels_come_through(scan: Path, tmp_path: Path) -> None:
    options = "--format npy --dtype int32 --rotation 90 --flip-lr --binning 2 --companions none"
    assert export(scan, tmp_path / "out", *options.split()) == 0
    with h5py.File(scan) as file:
        frame = file["entry/data"][1].astype("i8")
    expected = np.rot90(frame.reshape(4, 2, 3, 2).sum((1, 3))[:, ::-1])
    found = np.load(tmp_path / "out" / "data0002.npy")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


def test_a_mask_is_found_named_and_switched_off(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((8, 6), "u1")
    mask[2, 3] = 1
    with h5py.File(scan, "r+") as file:
        file["/entry/instrument/detector/pixel_mask"] = mask
        frame = file["entry/data"][0]
    np.save(tmp_path / "other.npy", mask[::-1, ::-1])
    np.save(tmp_path / "turned.npy", mask.T)
    common = ["--format", "npy", "--mask-value", "-1", "--dtype", "i4", "--companions", "none"]
    for words, masked in [
        ([], [(2, 3)]),
        (["--mask", "auto"], [(2, 3)]),
        (["--mask", "none"], []),
        (["--mask", str(tmp_path / "other.npy")], [(5, 2)]),
        (["--mask", f"{scan}::/entry/instrument/detector/pixel_mask"], [(2, 3)]),
    ]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert export(scan, out, *common, *words) == 0
        expected = frame.astype("i4")
        for place in masked:
            expected[place] = -1
        np.testing.assert_array_equal(np.load(out / "data0001.npy"), expected)
    assert export(scan, tmp_path / "x", *common, "--mask", str(tmp_path / "turned.npy")) == 2
    assert "orientation of the stored frames" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_motors_of_the_file_reach_the_geometry(scan: Path) -> None:
    with h5py.File(scan, "r+") as file:
        file["/entry/rot"] = np.arange(5) * 0.5
    words = ["--motor", "rot=/entry/rot", "--motor", "dty=-1.5", "--counter", "mon=7"]
    args = build_parser().parse_args(["export", f"{scan}::/entry/data", "out", *words])
    sources, folder = sources_and_folder(args.words)
    assert folder == "out"
    with opened_collection(args, sources) as found:
        assert found.label == f"{scan}::/entry/data"
        ((_, tree),) = found.root.trees()
        assert tree.facts.geometry.motors == {"rot": [0.0, 0.5, 1.0, 1.5, 2.0], "dty": -1.5}
        assert tree.facts.geometry.counters == {"mon": 7.0}


def test_what_was_typed_is_looked_at_before_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError(args, options)

    monkeypatch.setattr(Collection, "__init__", never)
    for words in (
        ["--mask-value", "many"],
        ["--dtype", "i3"],
        ["--binning", "0"],
        ["--thickness", "thin"],
        ["--motor", "x"],
        ["--option", "x=y"],
        ["--memory", "much"],
        ["--companions", ","],
        ["--name", "img_##_##"],
        ["--frames", "many"],
        ["--image-range", "5"],
        ["--first", "5", "--image-range", "1,10"],
        ["--scan", "1.1,,2.1"],
        ["--detector-name", ""],
        ["--channel", "0"],
        ["--channel", "one"],
        ["--frames", "1:2", "--image-range", "1,2"],
        ["--remember", "everything"],
    ):
        assert main(["export", "a.h5::/x", str(tmp_path / "out"), *words]) == 2


def test_the_help_has_a_group_for_each_theme(capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "--help"])
    text = capsys.readouterr().out
    assert "SOURCE [SOURCE ...] FOLDER" in text
    for title in ("selection:", "files:", "pixels:", "orientation:", "headers:", "reading:"):
        assert f"\n{title}\n" in text


# ------------------------------------------------------------------------------------------------- words


def test_the_last_word_is_the_folder(scan: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    shutil.copyfile(scan, other)
    assert sources_and_folder([str(scan), "out"]) == ([str(scan)], "out")
    assert sources_and_folder([str(tmp_path), "out"]) == ([str(tmp_path)], "out")
    assert sources_and_folder([str(scan), str(other), "out"]) == ([str(scan), str(other)], "out")
    assert sources_and_folder([str(scan), str(other), str(tmp_path), "out"]) == (
        [str(scan), str(other), str(tmp_path)],
        "out",
    )
    with pytest.raises(UrlError, match="'out' alone is too little"):
        sources_and_folder(["out"])


@pytest.mark.parametrize("path", ["/entry/data", "entry/data", "/entry/nothing"])
def test_a_file_and_a_dataset_may_be_two_words(scan: Path, path: str) -> None:
    expected = DataUrl(str(scan), "/" + path.strip("/"))
    assert sources_and_folder([str(scan), path, "out"]) == ([expected], "out")


def test_what_a_file_holds_goes_before_a_file_of_that_name(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "entry").mkdir()
    for name in ("data", "more"):
        shutil.copyfile(scan, tmp_path / "entry" / name)
    assert sources_and_folder([str(scan), "entry/data", "out"]) == ([DataUrl(str(scan), "/entry/data")], "out")
    assert sources_and_folder([str(scan), "entry/more", "out"]) == ([str(scan), "entry/more"], "out")


def test_words_with_colons_are_never_one_dataset(scan: Path) -> None:
    words = [f"{scan}::/entry/data", f"{scan}::/entry/data"]
    assert sources_and_folder([*words, "out"]) == (words, "out")


# ------------------------------------------------------------------------------------------------- names, selections


FRAMES = np.random.default_rng(5).poisson(3, (6, 12, 16)).astype("<u2")


@pytest.fixture
def bliss(tmp_path: Path) -> Path:
    """A file with three scans of 6 frames: 1.1, 2.1, 2.2; the frames of each are another multiple of FRAMES."""
    scans = {scan: FRAMES * factor for factor, scan in enumerate(("1.1", "2.1", "2.2"), 1)}
    return Path(bliss_dataset(tmp_path / "data", scans))


def arrays(out: Path) -> dict[str, np.ndarray]:
    """The images of EDF files by their paths, as fabio reads them."""
    found = {}
    for path in sorted(out.rglob("*.edf")):
        with fabio.open(str(path)) as image:
            found[str(path.relative_to(out))] = image.data.copy()
    return found


def exported(source: Path, out: Path, *options: str) -> dict[str, np.ndarray]:
    assert main(["export", str(source), str(out), "-q", "--companions", "none", *options]) == 0
    return arrays(out)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert sorted(found) == sorted(expected)
    for path, frame in expected.items():
        np.testing.assert_array_equal(found[path], frame, err_msg=path)


def stored(bliss: Path, scan: str) -> np.ndarray:
    """The frames of a scan as h5py reads them."""
    with h5py.File(bliss) as file:
        return file[f"{scan}/measurement/eiger"][:]


def test_all_scans_of_a_file(bliss: Path, tmp_path: Path) -> None:
    assert_same(
        exported(bliss, tmp_path / "out"),
        {
            f"sample_0001/{scan}/eiger/edf/sample_0001_{i:04d}.edf": frame
            for scan in ("1.1", "2.1", "2.2")
            for i, frame in enumerate(stored(bliss, scan), 1)
        },
    )


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("img_####", "img_{:04d}.edf"),
        ("img_{index:04d}", "img_{:04d}.edf"),
        ("img_{index}", "img_{}.edf"),
        ("a/{scan}_{detector}/{stem}_##", "a/2.1_eiger/data_{:02d}.edf"),
        ("{file}/x####_raw.edf", "sample_0001/x{:04d}_raw.edf"),
    ],
)
def test_the_names_of_one_scan(bliss: Path, tmp_path: Path, template: str, name: str) -> None:
    found = exported(bliss, tmp_path / "out", "--scan", "2.1", "--name", template)
    assert_same(found, {name.format(i): frame for i, frame in enumerate(stored(bliss, "2.1"), 1)})


def test_names_of_several_scans_must_differ(bliss: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(bliss), str(tmp_path / "out"), "--name", "img_####"]) == 2
    assert "same names by the template 'img_####'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    found = exported(bliss, tmp_path / "out", "--name", "img_{scan}_####")
    expected = {
        f"img_{scan}_{i:04d}.edf": frame
        for scan in ("1.1", "2.1", "2.2")
        for i, frame in enumerate(stored(bliss, scan), 1)
    }
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("options", "scans"),
    [
        (["--scan", "1.1,2.2"], ["1.1", "2.2"]),
        (["--scan", "2.*"], ["2.1", "2.2"]),
        (["--detector-name", "eig*"], ["1.1", "2.1", "2.2"]),
    ],
)
def test_scans_and_detectors_are_selected(bliss: Path, tmp_path: Path, options: list[str], scans: list[str]) -> None:
    found = exported(bliss, tmp_path / "out", "--name", "{scan}/####", *options)
    assert_same(
        found, {f"{scan}/{i:04d}.edf": frame for scan in scans for i, frame in enumerate(stored(bliss, scan), 1)}
    )


def test_a_selection_of_nothing_is_an_error(bliss: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(bliss), str(tmp_path / "out"), "--detector-name", "frelon"]) == 2
    assert "no stack is left by the selection" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_thresholds_are_selected(tmp_path: Path) -> None:
    lima2_file(tmp_path / "a.h5", np.stack([FRAMES, FRAMES // 2, FRAMES * 3], axis=1))
    found = exported(tmp_path / "a.h5", tmp_path / "out", "--channel", "1,3", "--name", "{detector}/####")
    expected = {f"eiger_threshold_1/{i:04d}.edf": frame for i, frame in enumerate(FRAMES, 1)}
    assert_same(found, expected | {f"eiger_threshold_3/{i:04d}.edf": frame * 3 for i, frame in enumerate(FRAMES, 1)})
    one = exported(tmp_path / "a.h5", tmp_path / "one", "--channel", "2", "--frames", "1:3")
    assert_same(one, {f"data{i:04d}.edf": frame // 2 for i, frame in enumerate(FRAMES[1:3], 1)})


@pytest.mark.parametrize(
    ("options", "numbers", "frames"),
    [
        (["--frames", "0:6:2"], [1, 2, 3], [0, 2, 4]),
        (["--frames", "4:"], [1, 2], [4, 5]),
        (["--frames=-2:"], [1, 2], [4, 5]),
        (["--frames", "3"], [1], [3]),
        (["--frames", "2:100"], [1, 2, 3, 4], [2, 3, 4, 5]),
        (["--frames", "0:2", "--first", "10"], [10, 11], [0, 1]),
        (["--image-range", "2,4"], [2, 3, 4], [1, 2, 3]),
        (["--image-range", "2,4", "--first", "0"], [2, 3, 4], [2, 3, 4]),
        (["--reverse"], [6, 5, 4, 3, 2, 1], [0, 1, 2, 3, 4, 5]),
        (["--reverse", "--frames", "1:4", "--first", "7"], [9, 8, 7], [1, 2, 3]),
    ],
)
def test_frames_and_their_numbers(
    bliss: Path, tmp_path: Path, options: list[str], numbers: list[int], frames: list[int]
) -> None:
    found = exported(bliss, tmp_path / "out", "--scan", "1.1", *options)
    all_frames = stored(bliss, "1.1")
    expected = {f"data{number:04d}.edf": all_frames[frame] for number, frame in zip(numbers, frames, strict=True)}
    assert_same(found, expected)


def test_the_angles_are_those_of_the_frames_that_are_selected(bliss: Path, tmp_path: Path) -> None:
    words = ["--scan", "1.1", "--startangle", "10", "--stepangle", "0.5", "--reverse"]
    exported(bliss, tmp_path / "out", *words)
    angles = []
    for i in range(1, 7):
        with fabio.open(str(tmp_path / "out" / f"data{i:04d}.edf")) as image:
            angles.append(float(image.header["Omega"]))
    assert angles == [12.5, 12.0, 11.5, 11.0, 10.5, 10.0]


def test_a_folder_with_a_damaged_file_is_exported_without_it(bliss: Path, tmp_path: Path) -> None:
    (bliss.parent / "broken.h5").write_text("damaged")
    assert len(exported(bliss.parent, tmp_path / "out")) == 18


def test_what_was_learnt_is_kept_where_it_is_asked_for(
    bliss: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in bliss.parent.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    cache, beside = tmp_path / "cache", bliss.parent / ".fastlegacy-cache"
    monkeypatch.setenv("FASTLEGACY_CACHE", str(cache))
    words = ["export", str(bliss.parent), "-q", "--format", "cbf", "--companions", "none"]
    assert main([*words, str(tmp_path / "a"), "--remember", "nothing"]) == 0
    assert not cache.exists()
    assert not beside.exists()
    assert main([*words, str(tmp_path / "b"), "--remember", "data"]) == 0
    assert sorted(path.name for path in beside.iterdir()) == ["catalogues", "sizes"]
    assert not cache.exists()
    assert main([*words, str(tmp_path / "c")]) == 0
    assert sorted(path.name for path in cache.iterdir()) == ["catalogues", "sizes"]
    assert len(list((beside / "catalogues").iterdir())) == len(list((cache / "catalogues").iterdir())) == 1
