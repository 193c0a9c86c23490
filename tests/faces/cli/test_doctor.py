# SPDX-License-Identifier: MIT
import json

import pytest

from fastlegacy.faces.cli import doctor
from fastlegacy.faces.cli.checks import Check
from fastlegacy.faces.cli.main import main

GOOD = Check("Python", "3.11.2", ok=True, needed="all")
POOR = Check("open files", "64", ok=False, needed="", fix="ulimit -n 4096")
BAD = Check("libfuse 2", "missing", ok=False, needed="mount", fix="apt-get install libfuse2 fuse3")


@pytest.mark.parametrize(("found", "code"), [([GOOD], 0), ([GOOD, POOR], 0), ([GOOD, POOR, BAD], 1)])
def test_the_code_says_whether_something_needed_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: list[Check], code: int
) -> None:
    monkeypatch.setattr(doctor, "checks", lambda: iter(found))
    assert main(["doctor"]) == code
    text = capsys.readouterr().out
    assert all(check.fix in text and check.name in text for check in found)
    assert ("MISSING" in text) == bool(code)
    assert main(["doctor", "--json"]) == code
    assert [entry["ok"] for entry in json.loads(capsys.readouterr().out)] == [check.ok for check in found]


def test_this_machine_can_do_all_but_perhaps_mount(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert all(entry["ok"] for entry in found if entry["needed"] == "all")
    assert all(entry["ok"] == (entry["fix"] == "") for entry in found)


def test_it_says_which_kernels_are_in_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def kernels() -> dict[str, object]:
        main(["doctor", "--json"])
        return next(entry for entry in json.loads(capsys.readouterr().out) if entry["name"] == "kernels")

    monkeypatch.setenv("FASTLEGACY_SIMD", "portable")
    assert kernels()["found"] == "portable (FASTLEGACY_SIMD)"
    monkeypatch.setenv("FASTLEGACY_SIMD", "altivec")
    found = kernels()
    assert not found["ok"]
    assert found["fix"] == "unset FASTLEGACY_SIMD"
