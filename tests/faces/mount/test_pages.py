# SPDX-License-Identifier: MIT
"""What is decided about the kernel's pages when headers change; that the kernel agrees is tested with real mounts."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import numpy as np
import pytest

from fastlegacy import _core, _serve, _view
from fastlegacy.faces.mount import pages
from fastlegacy.faces.mount.pages import KernelPages, Use

PATH, OTHER = "/data0001.edf", "/data0002.edf"
STACK = _core.Stack(
    (1, 2, 2),
    bytes(2),
    [
        (
            _core.Dataset(
                "m", (1, 2, 2), (1, 2, 2), bytes(2), _core.Files(1), _core.Cache(1 << 16), "memory", memory=bytes(8)
            ),
            [(0, 1, 1, 0, 0, 1), (0, 1, 2, 1, 0, 1), (0, 1, 2, 2, 0, 1)],
            (0, 0, 0),
        )
    ],
)


def file(header: str = "old") -> _view.PieceFile:
    return _view.PieceFile(STACK, [("literal", header.encode()), ("pixels", 0, 1, False)])


class Kernel:
    """A mount whose time and version are set by hand."""

    def __init__(self) -> None:
        self.version = 7
        self.now = 100.0
        self.paused: list[float] = []
        self.handles = _serve.Handles()
        self.pages = KernelPages(
            self.handles, lambda: self.version, remembered_s=1.0, clock=lambda: self.now, pause=self.paused.append
        )
        self.made: list[int] = []

    def open(self, path: str = PATH, header: str = "old", looked: int | None = None) -> Use:
        """Open a file, and use it at once."""
        use = self.open_unused(path, header, looked)
        info = SimpleNamespace(fh=self.made[-1])
        buffer = np.zeros(16, np.uint8)
        read(self.handles, info.fh, buffer)
        return use

    def open_unused(self, path: str = PATH, header: str = "old", looked: int | None = None) -> Use:
        entered = self.pages.enter(path, self.version, self.version if looked is None else looked, file(header))
        assert entered
        self.made.append(entered[0])
        return entered[1]

    def close(self, which: int = -1) -> None:
        self.handles.release(self.made.pop(which))

    def change(self) -> None:
        self.version += 1


def read(handles: _serve.Handles, handle: int, buffer: np.ndarray) -> int:
    import ctypes

    class Info(ctypes.Structure):
        _fields_ = (("before", ctypes.c_char * 24), ("fh", ctypes.c_uint64), ("after", ctypes.c_uint64))

    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.POINTER(Info)
    )
    return int(kind(handles.read_address)(b"", buffer.ctypes.data, buffer.nbytes, 0, Info(fh=handle)))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def test_without_a_change_pages_are_kept(kernel: Kernel) -> None:
    for _ in range(3):
        assert kernel.pages.looked_at(PATH, 1) == 7
        assert kernel.open() is Use.KEEP
    assert kernel.paused == []


def test_the_first_open_after_a_change_drops_the_pages_and_later_ones_keep_them(kernel: Kernel) -> None:
    kernel.open()
    kernel.close()
    for header in ("new", "odd"):
        kernel.change()
        assert [kernel.open(header=header), kernel.open(OTHER), kernel.open(header=header)] == [
            Use.DROP,
            Use.DROP,
            Use.KEEP,
        ]
        for _ in range(3):
            kernel.close()


def test_as_long_as_the_kernel_may_not_have_heard_of_the_first_the_second_drops_them_too(kernel: Kernel) -> None:
    kernel.change()
    assert [kernel.open_unused(), kernel.open_unused()] == [Use.DROP, Use.DROP]
    kernel.close(0)  # which it does only after it has heard of the open
    assert kernel.open() is Use.KEEP


def test_beside_a_file_that_was_open_before_pages_are_not_used(kernel: Kernel) -> None:
    kernel.open(header="old")
    kernel.change()
    assert [kernel.open(header="new") for _ in range(3)] == [Use.BYPASS] * 3
    assert kernel.open(OTHER) is Use.DROP
    kernel.close(0)
    assert kernel.open(header="new") is Use.DROP, "there may be pages of the old one"
    assert kernel.open(header="new") is Use.KEEP
    kernel.change()
    assert kernel.open(header="odd") is Use.BYPASS


def test_a_file_whose_bytes_did_not_change_is_no_danger(kernel: Kernel) -> None:
    kernel.open(header="old")
    kernel.change()
    assert [kernel.open(header="old"), kernel.open(header="old")] == [Use.DROP, Use.KEEP]
    kernel.change()
    assert kernel.open(header="new") is Use.BYPASS


def test_a_file_of_another_size_is_stale_for_who_has_it_open(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    kernel.open(header="old")
    old = kernel.made[0]
    kernel.change()
    kernel.pages.tell_size(OTHER, kernel.version, 99)
    kernel.pages.check(old, PATH)
    assert kernel.open(header="longer") is Use.BYPASS
    with pytest.raises(OSError, match=PATH) as caught:
        kernel.pages.check(old, PATH)
    assert caught.value.errno == errno.ESTALE
    assert read(kernel.handles, old, np.zeros(4, np.uint8)) == -errno.ESTALE
    kernel.pages.check(kernel.made[1], PATH)
    assert [record.getMessage() for record in caplog.records] == [
        f"{PATH} has another size by now: who had it open before cannot read on"
    ]


def test_who_hears_the_new_size_makes_it_stale_too(kernel: Kernel) -> None:
    kernel.open(header="old")
    kernel.pages.tell_size(PATH, kernel.version, 99)  # the same version: such a file is not there
    kernel.pages.check(kernel.made[0], PATH)
    kernel.change()
    kernel.pages.tell_size(PATH, kernel.version, len("old") + 8)
    kernel.pages.check(kernel.made[0], PATH)
    kernel.pages.tell_size(PATH, kernel.version, len("longer") + 8)
    with pytest.raises(OSError, match=PATH):
        kernel.pages.check(kernel.made[0], PATH)


def test_a_file_made_before_a_change_and_opened_after_it_is_made_anew(kernel: Kernel) -> None:
    version = kernel.pages.version()
    made = file("old")
    kernel.change()
    assert kernel.pages.enter(PATH, version, version, made) is None
    assert kernel.handles.statistics()["opened"] == 0


def test_for_some_seconds_after_a_change_the_kernel_has_to_ask_for_attributes_first(kernel: Kernel) -> None:
    kernel.change()
    assert kernel.pages.looked_at(PATH, 1) is None
    assert kernel.pages.looked_at(PATH, 2) is None, "another thread, whose kernel call has not asked yet"
    assert kernel.pages.looked_at(OTHER, 1) is None
    assert [kernel.pages.looked_at(PATH, 1), kernel.pages.looked_at(PATH, 2)] == [8, 8]
    assert kernel.pages.looked_at(PATH, 1) is None, "the next open"
    kernel.now += 1.9
    assert kernel.pages.looked_at(PATH, 3) is None
    kernel.now += 0.2
    assert kernel.pages.looked_at(PATH, 4) == 8


def test_who_cannot_be_told_from_others_is_not_sent_back(kernel: Kernel) -> None:
    kernel.change()
    assert kernel.pages.looked_at(PATH, 0) == 8


def test_answers_that_are_on_their_way_are_waited_for(kernel: Kernel) -> None:
    kernel.change()
    kernel.pages.looked_at(PATH, 1)
    kernel.now += 0.015
    kernel.pages.looked_at(PATH, 2)
    kernel.now += 0.015
    kernel.pages.looked_at(PATH, 3)
    assert kernel.paused == pytest.approx([0.02, 0.005])


def test_nobody_is_sent_back_twice_even_if_headers_change_again(kernel: Kernel) -> None:
    kernel.change()
    assert kernel.pages.looked_at(PATH, 1) is None
    kernel.change()
    assert kernel.pages.looked_at(PATH, 1) == 8
    # the kernel may have the size of version 8
    assert kernel.open(looked=8) is Use.BYPASS


def test_opens_that_were_given_up_are_forgotten(kernel: Kernel) -> None:
    kernel.change()
    assert kernel.pages.looked_at(PATH, 1) is None
    kernel.now += 10
    kernel.change()
    assert kernel.pages.looked_at(PATH, 1) is None


def test_pages_of_a_real_file_are_dropped_once(kernel: Kernel) -> None:
    kernel.pages.shadow(PATH)
    assert [kernel.open(), kernel.open()] == [Use.DROP, Use.KEEP]
    kernel.change()
    assert [kernel.open(), kernel.open()] == [Use.DROP, Use.KEEP]
    kernel.pages.shadow(PATH)
    assert [kernel.open(), kernel.open()] == [Use.DROP, Use.KEEP]


def test_what_is_kept_of_a_million_files_is_bounded(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_FRESH_MAX", 3)
    kernel.change()
    for i in range(10):
        assert kernel.open(f"/{i}") is Use.DROP
        assert len(kernel.pages._fresh) <= 3
    assert kernel.open("/9") is Use.KEEP
    assert kernel.open("/0") is Use.DROP, "forgotten, which costs a read and no more"
