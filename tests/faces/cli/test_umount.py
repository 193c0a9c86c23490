# SPDX-License-Identifier: MIT
from pathlib import Path

import pytest

from fastlegacy.faces.cli.main import main


def test_a_folder_that_is_no_mount(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["umount", str(tmp_path)]) == 1
    text = capsys.readouterr().err
    assert text.startswith("fastlegacy: ")
    assert str(tmp_path) in text
