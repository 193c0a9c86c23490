# SPDX-License-Identifier: MIT
"""The examples of docs/pixels.md and docs/formats.md do what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.faces.cli.main import build_parser
from fastlegacy.faces.cli.tree_options import opened_collection, sources_and_folder
from fastlegacy.pixels import Orientation
from fastlegacy.testing.files import write_stack

DOCS = Path(__file__).parents[2] / "docs"
TEXTS = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("pixels.md", "formats.md")}
COMMANDS = [
    line.strip() for text in TEXTS.values() for line in re.findall(r"^    (fastlegacy (?:mount|export) .*)", text, re.M)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the files that the examples speak of, which is the working folder."""
    frames = np.random.default_rng(4).poisson(3, (3, 128, 120)).astype("u2")
    write_stack(tmp_path / "scan.h5", frames, "/entry/data/data", filters="bslz4")
    mask = np.zeros((128, 120), "i4")
    mask[5] = 1
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["/entry/instrument/detector/pixel_mask"] = mask
    import fabio

    fabio.edfimage.EdfImage(data=mask).write(str(tmp_path / "mask.edf"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTLEGACY_CACHE", "none")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(folder: Path, command: str) -> None:
    args = build_parser().parse_args(shlex.split(command, comments=True)[1:])
    sources, _ = sources_and_folder(args.words)
    with opened_collection(args, sources) as collection:
        assert len(collection.root)
        assert all(len(file.read()) == file.size for file in collection.root.values())


def test_python(folder: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", TEXTS["pixels.md"], re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(program, "docs/pixels.md", "exec"), names)
    assert names["data"] != names["body"]


def test_the_drawing_of_the_orientations() -> None:
    lines = re.search(r"## Orientation\n\n(.*?)\n\n", TEXTS["pixels.md"], re.DOTALL)[1].splitlines()  # type: ignore[index]
    *rows, names = lines
    starts = [match.start() for match in re.finditer(r"(?<=  )\S", names)]
    columns = [slice(start, stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]
    drawn = {names[c].strip(): [row[c].split() for row in rows if row[c].strip()] for c in columns}
    image = np.arange(1, 7).reshape(2, 3)
    turns = {
        "as stored": Orientation(),
        "transpose": Orientation(transpose=True),
        "flip-ud": Orientation(flip_ud=True),
        "flip-lr": Orientation(flip_lr=True),
        "rotation 90": Orientation.of(rotation_deg=90),
    }
    assert drawn.keys() == turns.keys()
    for name, turn in turns.items():
        seen = image.T if turn.transpose else image
        seen = seen[:: -1 if turn.flip_ud else 1, :: -1 if turn.flip_lr else 1]
        assert [[int(word) for word in row] for row in drawn[name]] == seen.tolist(), name
