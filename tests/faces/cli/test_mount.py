# SPDX-License-Identifier: MIT
"""What the command hands over; mounting itself is tested in ``tests/faces/mount``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.faces.cli.main import main
from fastlegacy.faces.collection import Collection
from fastlegacy.faces.mount import session

followed: list[bool] = []
"""Of each call: news is looked for."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return the calls of ``mount``, which mounts nothing."""
    found: list[tuple[Any, ...]] = []
    followed.clear()

    def mount(shown: Collection, folder: str, *, on_ready: Callable[[], None], **options: Any) -> dict[str, Any]:
        on_ready()
        ((_, tree),) = shown.root.trees()
        assert options.pop("settings")["format"] == tree.layout.name
        found.append((list(shown.root), tree.layout.name, folder, options, tree.facts.geometry))
        followed.append(shown.follows)
        return {"seconds": 1.5, "errors": 0, "operations": {}}

    monkeypatch.setattr(session, "mount", mount)
    return found


def test_the_shortest_way(
    scan: Path, tmp_path: Path, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mount", str(scan), "/entry/data", str(tmp_path / "out")]) == 0
    ((names, layout, folder, options, geometry),) = calls
    assert names == [f"data000{i}.edf" for i in range(1, 6)]
    assert (layout, folder) == ("edf", str(tmp_path / "out"))
    assert options == {
        "rename": False,
        "allow_other": False,
        "options": None,
        "xattr": True,
        "copy_up": False,
        "read_timeout_s": 60.0,
        "ignore_case": False,
        "prefetch": None,
    }
    assert geometry.start_deg is None
    shown = capsys.readouterr()
    assert "5 virtual files (data0001.edf and on)" in shown.err
    assert "served for 1.5 s" in shown.out


def test_all_options_are_handed_over(
    scan: Path, tmp_path: Path, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--format flat --stem s --first 7 --run 2 --rename --allow-other --no-xattr --copy-up -o ro,max_read=4096"
    options += " --read-timeout 5 --ignore-case --prefetch 3 --missing fill --memory 64MB -q"
    assert main(["mount", f"{scan}::/entry/data", str(tmp_path), *options.split()]) == 0
    ((names, layout, _, handed, geometry),) = calls
    assert names[0] == "s0007.raw"
    assert layout == "flat"
    assert handed == {
        "rename": True,
        "allow_other": True,
        "options": "ro,max_read=4096",
        "xattr": False,
        "copy_up": True,
        "read_timeout_s": 5.0,
        "ignore_case": True,
        "prefetch": 3,
    }
    assert geometry.run == 2
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_bad_input_does_not_come_to_a_mount(scan: Path, tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    assert main(["mount", f"{scan}::/entry/nothing", str(tmp_path)]) in (1, 2)
    assert main(["mount", f"{scan}::/entry/data", str(tmp_path), "--memory", "much"]) == 2
    assert main(["mount", f"{scan}::/entry/data", str(tmp_path), "--stem", "a/b"]) == 2
    assert main(["mount", f"{scan}::/entry/data", str(tmp_path), "--format", "jpeg"]) == 2
    assert main(["mount", str(scan)]) == 2
    assert calls == []


def test_news_is_looked_for_on_demand(scan: Path, tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    words = ["mount", f"{scan}::/entry/data", str(tmp_path / "out"), "-q"]
    assert main(words) == 0
    assert main([*words, "--follow"]) == 0
    assert followed == [False, True]
