# SPDX-License-Identifier: MIT
"""Files and formats on the command line: what comes out, and what is refused before anything is opened."""

from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest

from fastlegacy.errors import UrlError
from fastlegacy.faces import library
from fastlegacy.faces.cli.main import build_parser, main
from fastlegacy.faces.cli.tree_options import _companions, _format_options, opened_tree


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
    with opened_tree(args) as (url, tree):
        assert url == f"{scan}::/entry/data"
        assert tree.facts.geometry.motors == {"rot": [0.0, 0.5, 1.0, 1.5, 2.0], "dty": -1.5}
        assert tree.facts.geometry.counters == {"mon": 7.0}


def test_what_was_typed_is_looked_at_before_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError(args, options)

    monkeypatch.setattr(library, "open", never)
    for words in (
        ["--mask-value", "many"],
        ["--dtype", "i3"],
        ["--binning", "0"],
        ["--thickness", "thin"],
        ["--motor", "x"],
        ["--option", "x=y"],
        ["--memory", "much"],
        ["--companions", ","],
    ):
        assert main(["export", "a.h5::/x", str(tmp_path / "out"), *words]) == 2


def test_the_help_has_a_group_for_each_theme(capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "--help"])
    text = capsys.readouterr().out
    for title in ("files:", "pixels:", "orientation:", "headers:", "reading:"):
        assert f"\n{title}\n" in text
