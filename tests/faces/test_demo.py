# SPDX-License-Identifier: MIT
"""The demonstration, which is also the first thing that a user sees."""

import os

import pytest

from fastlegacy.faces import demo as module
from fastlegacy.faces.demo import demo
from fastlegacy.testing.mounts import reason_for_no_mount


@pytest.mark.fuse
def test_through_a_mount(capsys):
    reason = reason_for_no_mount()
    if reason and os.environ.get("FASTLEGACY_REQUIRE_FUSE") != "1":
        pytest.skip(reason)
    assert demo(3) == 0
    out = capsys.readouterr().out
    assert "3 of 3, every pixel of both" in out
    assert "kept" in out


def test_through_the_library_where_nothing_can_be_mounted(capsys, monkeypatch):
    monkeypatch.setattr(module, "reason_for_no_mount", lambda: "there is no FUSE in this test")
    assert demo(2) == 0
    out = capsys.readouterr().out
    assert "there is no FUSE in this test: nothing can be mounted here" in out
    assert "2 of 2, every pixel of both" in out


@pytest.mark.parametrize(("path", "at"), [("edf/data0002.edf", -1), ("cbf/data0002.cbf", 40_000)])
def test_a_wrong_byte_is_found(capsys, monkeypatch, path, at):
    from fastlegacy.faces import library

    class Wrong:
        def __getitem__(self, name):
            data = bytearray(self.tree[name].read())
            data[at] ^= name == path
            self.data = bytes(data)
            return self

        def read(self):
            return self.data

    def tree(*args, **options):
        wrong = Wrong()
        wrong.tree = right(*args, **options)
        return wrong

    right = library.tree
    monkeypatch.setattr(library, "tree", tree)
    monkeypatch.setattr(module, "reason_for_no_mount", lambda: "no FUSE")
    assert demo(2) == 1
    out = capsys.readouterr().out
    assert f"frame 1 differs from what h5py reads: {path[:3]}\n" in out
    assert "1 of 2" in out
