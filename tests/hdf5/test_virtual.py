# SPDX-License-Identifier: MIT
"""Virtual datasets: taken apart once, and then what HDF5 shows, or an error where HDF5 would invent pixels."""

import os
import shutil

import h5py
import numpy as np
import pytest

from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.virtual import (
    virtual_modules,
    virtual_nested,
    virtual_printf,
    virtual_series,
    virtual_strided,
)

FRAMES = counting_frames(12, (20, 30), "<u2")


def source(number, shape=(10, 20, 30)):
    return h5py.VirtualSource(f"s{number}.h5", "entry/data", shape)


@pytest.fixture
def master(tmp_path):
    """Three files of ten frames, and ``master(name, shape, parts, fillvalue)`` that writes a virtual dataset."""
    for i in range(3):
        write_stack(tmp_path / f"s{i}.h5", counting_frames(10, (20, 30), "<u2", 10 * i), "/entry/data", filters="bslz4")

    def write(shape, parts, fillvalue=9, dtype="<u2", name="m.h5"):
        layout = h5py.VirtualLayout(shape, dtype)
        for place, part in parts:
            layout[place] = part
        with h5py.File(tmp_path / name, "w", libver="latest") as file:
            file.create_virtual_dataset("d", layout, fillvalue=fillvalue)
        return f"{tmp_path / name}::/d"

    return write


@pytest.mark.parametrize(
    "build",
    [
        virtual_series,
        lambda folder, frames: virtual_series(folder, frames, files=4, gap=2, fillvalue=77),
        virtual_nested,
        lambda folder, frames: virtual_nested(folder, frames, depth=3),
        virtual_printf,
        virtual_modules,
        lambda folder, frames: virtual_modules(folder, frames, grid=(2, 3), gap=1),
        virtual_strided,
        lambda folder, frames: virtual_strided(folder, frames, files=5),
    ],
    ids=["series", "gaps", "nested", "deep", "printf", "modules", "six modules", "strided", "five receivers"],
)
def test_shipped_builders(tmp_path, same_as_h5py, build):
    assert same_as_h5py(build(tmp_path, FRAMES)) == {"kernel"}


def test_bliss(tmp_path, same_as_h5py):
    assert same_as_h5py(bliss_scan(tmp_path, FRAMES[:3], files=3, frames_per_file=5, written=11)) == {"kernel"}


S = np.s_
CASES = {
    "gaps and steps": (
        (40, 25, 70),
        [
            (S[2:12, :20, :30], source(0)),
            (S[2:12, 5:25, 35:65], source(1)),
            (S[20:40:2, :20, :30], source(2)),
        ],
    ),
    "five axes": ((2, 3, 5, 20, 30), [(S[a, b], source(b)[a * 5 : a * 5 + 5]) for a in range(2) for b in range(3)]),
    "interleaved columns, cropped rows": (
        (5, 10, 30),
        [(S[:, :, 0::2], source(0)[::2, ::2, :15]), (S[:, :, 1::2], source(1)[1::2, 1::2, 15:])],
    ),
    "a frame of each": ((3, 20, 30), [(S[b], source(b)[4]) for b in range(3)]),
    "one frame of two": ((20, 60), [(S[:, b * 30 : b * 30 + 30], source(b)[4]) for b in range(2)]),
    "rows of many frames": ((10, 20, 30), [(S[:, y], source(y % 3)[:, 19 - y]) for y in range(20)]),
    "one column": ((10, 20, 3), [(S[:, :, x], source(x)[:, :, 7]) for x in range(3)]),
    "one pixel": ((10, 2, 2), [(S[:, 1, 0], source(0)[:, 3, 4])]),
    "time along x": ((20, 30, 10), [(S[:, y], source(0)[y, :, :10]) for y in range(10)]),
    "laid over each other": ((10, 20, 30), [(S[:], source(0)), (S[3:5, 4:9, 6:20], source(1)[3:5, 4:9, 6:20])]),
    "nothing at all": ((4, 20, 30), []),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fillvalue", [None, 0, 300])
def test_every_way_to_lay_boxes(master, same_as_h5py, case, fillvalue):
    shape, parts = CASES[case]
    assert same_as_h5py(master(shape, parts, fillvalue)) <= {"kernel"}


def test_blocks_that_repeat(master, tmp_path, same_as_h5py):
    """A hyperslab of several blocks along an axis: two frames of every five."""
    space, part = h5py.h5s.create_simple((20, 20, 30)), h5py.h5s.create_simple((10, 20, 30))
    space.select_hyperslab((1, 0, 0), (4, 1, 1), stride=(5, 20, 30), block=(2, 20, 30))
    part.select_hyperslab((0, 0, 0), (2, 1, 1), stride=(6, 20, 30), block=(4, 20, 30))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, b"s1.h5", b"entry/data", part)
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        h5py.h5d.create(file.id, b"d", h5py.h5t.STD_U16LE, space, properties)
    assert same_as_h5py(f"{tmp_path / 'm.h5'}::/d") == {"kernel"}


def test_the_master_s_own_dataset(tmp_path, same_as_h5py):
    write_stack(tmp_path / "m.h5", FRAMES, "/raw", filters="bslz4")
    layout = h5py.VirtualLayout((6, 20, 30), "<u2")
    layout[:] = h5py.VirtualSource(".", "/raw", (12, 20, 30))[1::2]
    with h5py.File(tmp_path / "m.h5", "r+", libver="latest") as file:
        file.create_virtual_dataset("d", layout)
    same_as_h5py(f"{tmp_path / 'm.h5'}::/d")


def test_over_virtual_datasets_with_gaps(master, same_as_h5py):
    """Each level's gaps have that level's fill value."""
    master((30, 20, 30), [(S[5:15], source(0)), (S[20:30], source(2))], fillvalue=5, name="low.h5")
    low = h5py.VirtualSource("low.h5", "d", (30, 20, 30))
    same_as_h5py(master((50, 20, 30), [(S[5:35], low), (S[35:50], low[1::2])], fillvalue=1))
    same_as_h5py(master((7, 25, 70), [(S[:, 2:12, 3:18], low[2:30:4, 10:, ::2])], fillvalue=1))
    same_as_h5py(master((3, 20, 30), [(S[0], low[0]), (S[2], low[7])], fillvalue=1))


def test_over_a_virtual_dataset_that_shows_nothing(master, same_as_h5py):
    master((10, 20, 30), [], fillvalue=7, name="low.h5")
    url = master((10, 20, 30), [(S[:8], h5py.VirtualSource("low.h5", "d", (10, 20, 30))[:8])], fillvalue=1)
    same_as_h5py(url)


@pytest.mark.parametrize("dtype", ["<u4", ">u2", "<f4", "<i2"])
def test_conversion_goes_through_h5py(master, same_as_h5py, dtype):
    url = master((30, 20, 30), [(S[i * 10 : i * 10 + 10], source(i)) for i in range(3)], dtype=dtype)
    assert same_as_h5py(url) == {"h5py"}


def test_a_selection_that_is_no_box(master, tmp_path, same_as_h5py):
    space, part = h5py.h5s.create_simple((4, 20, 30)), h5py.h5s.create_simple((10, 20, 30))
    space.select_hyperslab((0, 0, 0), (1, 20, 30))
    space.select_hyperslab((2, 0, 0), (1, 7, 30), op=h5py.h5s.SELECT_OR)
    part.select_hyperslab((0, 0, 0), (1, 20, 30))
    part.select_hyperslab((5, 1, 0), (1, 7, 30), op=h5py.h5s.SELECT_OR)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, b"s1.h5", b"entry/data", part)
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        h5py.h5d.create(file.id, b"d", h5py.h5t.STD_U16LE, h5py.h5s.create_simple((4, 20, 30)), properties)
    assert same_as_h5py(f"{tmp_path / 'm.h5'}::/d") == {"h5py"}


def test_found_wherever_the_folder_is(tmp_path, same_as_h5py, monkeypatch):
    (tmp_path / "here").mkdir()
    url = virtual_nested(tmp_path / "here", FRAMES)
    shutil.move(tmp_path / "here", tmp_path / "there")
    same_as_h5py(url.replace("/here/", "/there/"))
    monkeypatch.chdir(tmp_path / "there")
    same_as_h5py("master.h5::/1.1/measurement/detector")


def test_url_with_a_slice(master, same_as_h5py):
    shape, parts = CASES["five axes"]
    file = master(shape, parts).partition("::")[0]
    for text in (
        "1,:,2:4,3:9,...",
        "...,4,:,:",
        "0,0,0",
        ":,-1,::2",
        "1,2,3,:,4:8",
        ":,:,:,7,3:",
        "0:1,1:3,...,2:20:3,1::7",
    ):
        same_as_h5py(f"{file}?path=/d&slice={text}")


# ---------------------------------------------------------------------------------------------------- what is missing


def test_a_missing_source_is_an_error_unless_asked(tmp_path, same_as_h5py):
    url = virtual_series(tmp_path, FRAMES, missing=[1], fillvalue=3)
    with pytest.raises(SourceError, match=r"'master_0001\.h5' is missing.*--missing fill"):
        Stack(url)
    same_as_h5py(url, missing="fill")
    with Stack(url, missing="fill") as stack:
        assert len(stack.missing_sources) == 1
        assert "master_0001.h5" in stack.missing_sources[0]
        assert (stack[5] == 3).all()


def test_a_missing_dataset_in_a_source(master):
    url = master((10, 20, 30), [(S[:], h5py.VirtualSource("s0.h5", "entry/other", (10, 20, 30)))])
    with pytest.raises(SourceError, match=r"virtual source cannot be used.*'other'"):
        Stack(url)
    with Stack(url, missing="fill") as stack:
        assert (stack[3] == 9).all()


def test_a_missing_source_deeper_down(tmp_path, same_as_h5py):
    url = virtual_nested(tmp_path, FRAMES, depth=3)
    os.remove(next(path for path in tmp_path.iterdir() if path.name.count("_") == 3))
    with pytest.raises(SourceError, match="is missing"):
        Stack(url)
    same_as_h5py(url, missing="fill")
    with Stack(url, missing="fill") as stack:
        assert len(stack.missing_sources) == 1


def test_a_missing_source_of_what_h5py_has_to_read(master, tmp_path):
    """The first mapping needs h5py, which would show the fill value for the second without a word."""
    url = master((20, 20, 30), [(S[:10], source(0)), (S[10:], source(1))], dtype="<u4")
    os.remove(tmp_path / "s1.h5")
    with pytest.raises(SourceError, match=r"'s1\.h5' is missing"):
        Stack(url)
    with Stack(url, missing="fill") as stack:
        assert (stack[15] == 9).all()
        assert len(stack.missing_sources) == 1


@pytest.mark.parametrize("missing", [[1], [3], [1, 3], [2, 3]])
def test_numbered_files_that_are_not_there_are_gaps(tmp_path, same_as_h5py, missing):
    same_as_h5py(virtual_printf(tmp_path, FRAMES, files=4, missing=missing))


def test_a_numbered_file_that_is_damaged_is_no_gap(tmp_path):
    url = virtual_printf(tmp_path, FRAMES)
    os.truncate(tmp_path / "data_1.h5", 900)
    with pytest.raises(SourceError, match=r"master\.h5.*truncated file"):
        Stack(url)


def test_a_circle(master, tmp_path):
    master((10, 20, 30), [(S[:], h5py.VirtualSource("b.h5", "d", (10, 20, 30)))], name="a.h5")
    url = master((10, 20, 30), [(S[:], h5py.VirtualSource("a.h5", "d", (10, 20, 30)))], name="b.h5")
    with pytest.raises(SourceError, match="nested more than"):
        Stack(url)


def test_missing_is_one_of_two_words(master):
    with pytest.raises(ValueError, match="'error' and 'fill'"):
        Stack(master((4, 20, 30), []), missing="ignore")


def test_a_virtual_line_is_no_stack(tmp_path):
    write_stack(tmp_path / "s.h5", FRAMES, "/d")
    layout = h5py.VirtualLayout((12,), "<u2")
    layout[:] = h5py.VirtualSource("s.h5", "/d", (12, 20, 30))[:, 3, 4]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("line", layout)
    with pytest.raises(NotAStackError, match="not that of frames"):
        Stack(tmp_path / "m.h5", "/line")


def test_many_files_and_few_descriptors(tmp_path):
    n = 300
    layout = h5py.VirtualLayout((n, 4, 5), "<u2")
    for i in range(n):
        with h5py.File(tmp_path / f"s{i}.h5", "w") as file:
            file.create_dataset("d", data=np.full((1, 4, 5), i, "<u2"), chunks=(1, 4, 5), compression="gzip")
        layout[i] = h5py.VirtualSource(f"s{i}.h5", "d", (1, 4, 5))[0]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    context = Context(max_open=4)
    most = []
    with Stack(tmp_path / "m.h5", "/d", context=context) as stack:
        for i in range(n):
            assert (stack[i] == i).all()
            most.append(sum(link.startswith(str(tmp_path)) for link in descriptors()))
        assert context.files.open_files == 4
        assert len(stack.files()) == n + 1
    assert max(most) <= 8


def descriptors():
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the one that listed the folder
            continue
