# SPDX-License-Identifier: MIT
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastlegacy.faces.cli.main import main
from fastlegacy.faces.show import BEAM, MASKED, RING
from fastlegacy.testing.files import write_stack

GEOMETRY = ["--x0", "250.3", "--y0", "190.6", "--distance", "100mm", "--wavelength", "1", "--pixelsize", "100um"]


@pytest.fixture
def eiger(tmp_path: Path) -> str:
    """Return the url of 5 frames with a gap of 10 rows, and a peak that wanders."""
    frames = np.random.default_rng(3).poisson(2, (5, 400, 500)).astype("<u4")
    for i, frame in enumerate(frames):
        frame[50, 100 + i] = 10**5
    frames[:, 200:210] = 2**32 - 1
    return str(write_stack(tmp_path / "scan.h5", frames, "/entry/data", filters="bslz4"))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).copy()


def has(rgb: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (rgb == np.array(colour, np.uint8)).all(axis=-1)


def test_a_png_file(eiger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    assert main(["show", eiger, "--frame", "3", "--png", str(out), *GEOMETRY]) == 0
    rgb = pixels(out)
    assert rgb.shape == (400, 500, 3)
    assert has(rgb, MASKED)[205].sum() > 450
    assert rgb[50, 103].tolist() == [255, 255, 255]
    assert rgb[50, 104].tolist() != [255, 255, 255]
    assert has(rgb, BEAM).any()
    assert has(rgb, RING).any()
    text = capsys.readouterr()
    assert text.err == ""
    assert text.out.startswith(f"{eiger} frame 3\n")
    assert "2.5 % masked" in text.out
    assert "250.3, 190.6 px (" in text.out
    assert "100 mm (" in text.out


def test_what_is_missing_is_said(eiger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    words = ["show", eiger, "--png", str(out), "--x0", "30", "--y0", "40", "--wavelength", "1"]
    assert main(words) == 0
    assert has(pixels(out), BEAM).any()
    error = capsys.readouterr().err
    assert error == "fastlegacy: no rings: nobody said distance (--distance), pixel size (--pixelsize)\n"
    assert main([*words, "--rings", "none"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["show", eiger, "--png", str(out), "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_beam_and_rings_outside_of_the_frame_are_told(
    eiger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", eiger, "--png", str(tmp_path / "a.png"), *GEOMETRY, "--x0", "-20", "--rings", "3.5,0.2"]
    assert main(words) == 0
    text = capsys.readouterr()
    assert "direct beam at x -20, y 190.6 is outside of the frame" in text.err
    assert "no ring of 0.2 \u00c5 goes through the frame" in text.err
    assert "rings        3.5 \u00c5" in text.out


def test_several_frames(eiger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    for words in (["1:4"], ["1:4", "--combine", "max"]):
        assert main(["show", eiger, "--png", str(out), "--frames", *words]) == 0
        assert has(pixels(out), (255, 255, 255))[50, 99:106].tolist() == [False, False, True, True, True, False, False]
    assert "frames 1 to 3 (3)" in capsys.readouterr().out


def test_options_of_a_mount_turn_the_picture(eiger: str, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    words = ["show", eiger, "--png", str(out), "--frame", "3", *GEOMETRY, "--rings", "none"]
    assert main(words) == 0
    plain = pixels(out)
    mask = np.zeros((400, 500), np.uint8)
    mask[:, 5] = 1
    np.save(tmp_path / "mask.npy", mask)
    assert main([*words, "--rotation", "90", "--mask", str(tmp_path / "mask.npy")]) == 0
    turned = pixels(out)
    assert turned.shape == (500, 400, 3)
    assert has(turned, MASKED)[494].all()
    np.testing.assert_allclose(
        np.argwhere(has(turned, BEAM)).mean(axis=0), np.argwhere(has(np.rot90(plain), BEAM)).mean(axis=0), atol=1
    )
    assert main([*words, "--binning", "2", "--width", "100"]) == 0
    assert pixels(out).shape == (67, 84, 3)


def test_without_a_terminal_it_says_what_to_do(
    eiger: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["show", eiger]) == 2
    assert "the output goes to no terminal" in (error := capsys.readouterr().err)
    assert "--png FILE" in error
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert main(["show", eiger]) == 2
    assert "a terminal without colours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("term", "words", "start"),
    [
        ("xterm-kitty", [], "\x1b_Ga=T,f=100"),
        ("foot", [], "\x1bPq"),
        ("xterm-256color", [], "\x1b[38;5;"),
        ("xterm-256color", ["--terminal", "sixel"], "\x1bPq"),
        ("foot", ["--terminal", "blocks"], "\x1b[38;5;"),
    ],
)
def test_in_a_terminal(
    eiger: str,
    term: str,
    words: list[str],
    start: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TMUX", "STY", "KITTY_WINDOW_ID", "TERM_PROGRAM", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name, value in {"TERM": term, "COLUMNS": "60", "LINES": "38"}.items():
        monkeypatch.setenv(name, value)
    assert main(["show", eiger, *words]) == 0
    out = capsys.readouterr().out
    assert out.startswith(start)
    assert f"{eiger} frame 0\n" in out
    if "38;5" in start:
        lines = [line for line in out.splitlines() if "\u2580" in line]
        assert len(lines) <= 30
        assert max(line.count("\u2580") for line in lines) <= 60


def test_a_width_that_was_asked_for(eiger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", eiger, "--terminal", "blocks", "--width", "25"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "\u2580" in line]
    assert [line.count("\u2580") for line in lines] == [25] * 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frame", "5"], "there is no frame 5; there are frames 0 to 4"),
        (["--frame", "-1"], "there is no frame -1; there are frames 0 to 4"),
        (["--frames", "3:9"], "'3:9' is not possible; there are frames 0 to 4"),
        (["--frames", "3:3"], "'3:3' is not possible"),
        (["--frames", "7"], "'7' is not understood; write A:B"),
        (["--frames", "0:4:0"], "'0:4:0' is not understood"),
        (["--frames", "a:b"], "'a:b' is not understood"),
        (["--rings", "3.5,x"], "--rings: '3.5,x' is not understood"),
        (["--rings", "-1"], "a ring of -1 angstrom is not possible"),
        (["--width", "0"], "--width: 0 is not possible"),
        (["--mask", "no.edf"], "no.edf"),
    ],
)
def test_what_is_not_possible_is_one_line(
    eiger: str, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    assert main(["show", eiger, "--png", str(out), *words]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_only_a_png_file_is_written_over(eiger: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(eiger.split("::")[0])
    before = path.read_bytes()
    assert main(["show", eiger, "--png", str(path)]) == 2
    assert "is no name of a PNG file" in capsys.readouterr().err
    assert path.read_bytes() == before
