# SPDX-License-Identifier: MIT
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy.errors import DecodeError, UrlError
from fastlegacy.faces.cli import main as module
from fastlegacy.faces.cli.main import build_parser, main
from fastlegacy.faces.cli.tree_options import sources_and_folder
from fastlegacy.hdf5.url import DataUrl

COMMANDS = ("doctor", "export", "formats", "info", "ls", "mount", "set", "umount")


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    from fastlegacy.faces.cli import formats
    from fastlegacy.faces.cli.command import Command

    def run(args: object) -> int:
        raise error

    command = Command("formats", "raises", formats.COMMAND.configure, run)
    monkeypatch.setattr(module, "_commands", lambda: [command])


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{command} ", text, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_and_the_common_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: fastlegacy {command} ")
    assert all(option in text for option in ("--verbose", "--quiet", "--debug"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-V"]) == 0
    assert capsys.readouterr().out.startswith("fastlegacy ")


@pytest.mark.parametrize("words", [[], ["nothing"], ["formats", "--nothing"], ["ls"], ["mount", "a.h5"], ["export"]])
def test_bad_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("fastlegacy")
    assert text.endswith("--help`\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DecodeError("chunk 3\nis damaged", file="scan.h5", hint="copy it again"), 1),
        (UrlError("not understood"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_are_one_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    raising(monkeypatch, error)
    assert main(["formats"]) == code
    text = capsys.readouterr().err
    assert text.startswith("fastlegacy: ")
    assert text.count("\n") == 1


@pytest.mark.parametrize("words", [["--debug", "formats"], ["formats", "--debug"]])
def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    raising(monkeypatch, DecodeError("chunk 3 is damaged"))
    with pytest.raises(DecodeError):
        main(words)


def test_common_options_before_and_after_the_command() -> None:
    parser = build_parser()
    assert parser.parse_args(["-v", "formats"]).verbose == 1
    assert parser.parse_args(["formats", "-vv"]).verbose == 2
    assert parser.parse_args(["formats"]).quiet == 0


@pytest.mark.parametrize(
    "words",
    [
        ["a.h5", "/x", "folder", "--format", "npy"],
        ["--format", "npy", "a.h5", "/x", "folder"],
        ["a.h5", "--format", "npy", "/x", "folder"],
        ["a.h5", "/x", "--format=npy", "folder"],
    ],
)
def test_options_stand_anywhere(words: list[str]) -> None:
    args = build_parser().parse_args(["mount", *words])
    assert sources_and_folder(args.words) == ([DataUrl("a.h5", "/x")], "folder")
    assert args.format == "npy"


def test_two_words_are_url_and_folder() -> None:
    args = build_parser().parse_args(["mount", "a.h5::/x", "--rename", "folder"])
    assert sources_and_folder(args.words) == (["a.h5::/x"], "folder")


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m fastlegacy formats --json | sleep 0"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=os.environ)
    assert done.stderr == ""


def test_python_m_and_nothing_heavy_for_help() -> None:
    code = (
        "import sys; from fastlegacy.faces.cli.main import main; main(['--help']);"
        "print([m for m in ('h5py', 'numpy.linalg', 'refuse', 'hdf5plugin', 'fabio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = done.stdout.splitlines()[-1]
    assert not {"h5py", "refuse", "hdf5plugin", "fabio"} & set(re.findall(r"'(\w+)'", heavy))
    done = subprocess.run([sys.executable, "-m", "fastlegacy", "-V"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("fastlegacy ")
