# SPDX-License-Identifier: MIT
"""Finding the stacks of files and folders, and opening one by its name."""

import os

import h5py
import numpy as np
import pytest

from fastlegacy.errors import NotAStackError, SourceError, UrlError
from fastlegacy.sources.find import describe, find_stacks, open_stack
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.storage import write_compact
from fastlegacy.testing.virtual import virtual_series

FRAMES = counting_frames(6, (20, 30), "<u2")


def test_description_of_a_stack(tmp_path):
    url = write_stack(
        tmp_path / "a.h5", FRAMES, "/e/d", filters="shuffle+gzip", chunks=(2, 20, 30), written=slice(0, 3)
    )
    (info,) = find_stacks(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        stored = file["e/d"].id.get_storage_size()
    assert info.url == url
    assert (info.shape, info.dtype, info.nbytes) == ((6, 20, 30), "<u2", FRAMES.nbytes)
    assert (info.filters, info.chunks, info.decoded_by) == (["shuffle", "deflate"], (2, 20, 30), "kernel")
    assert (info.stored_bytes, info.frames, info.frames_stored) == (stored, 6, 4)
    assert (info.source, info.why) == ("dataset", "3 axes of numbers")
    with open_stack(url) as stack:
        named = describe(stack)
    assert named.why == "named by the user"
    assert (named.url, named.frames_stored, named.stored_bytes) == (info.url, 4, stored)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda p: write_stack(p / "a.h5", FRAMES.astype("u1")), ("uint8", [], None, "stored", 6)),
        (lambda p: write_compact(p / "a.h5", FRAMES.astype(">u2")), (">u2", [], None, "stored", 6)),
        (lambda p: write_stack(p / "a.h5", FRAMES, filters="lzf"), ("<u2", ["lzf"], (1, 20, 30), "h5py", 6)),
        (lambda p: write_stack(p / "a.h5", FRAMES, filters="blosc-lz4"), ("<u2", ["blosc"], (1, 20, 30), "kernel", 6)),
        (lambda p: bliss_scan(p, FRAMES, written=4), ("<u2", ["bitshuffle+lz4"], (1, 20, 30), "kernel", 4)),
        (lambda p: virtual_series(p, FRAMES, missing=[2]), ("<u2", ["bitshuffle+lz4"], (1, 20, 30), "kernel", 4)),
    ],
    ids=["contiguous", "compact", "lzf", "blosc", "bliss", "missing"],
)
def test_descriptions(tmp_path, build, expected):
    url = build(tmp_path)
    (info,) = find_stacks(url.partition("::")[0])
    assert (info.dtype, info.filters, info.chunks, info.decoded_by, info.frames_stored) == expected


def test_a_folder_and_below(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    urls = [write_stack(tmp_path / name, FRAMES, "/d") for name in ("a.h5", "b/c/x.NXS", "b/z.hdf5")]
    write_stack(tmp_path / "other.dat", FRAMES)
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "b" / "gone.h5").symlink_to(tmp_path / "nothing")
    write_stack(tmp_path / "a_cut.h5", FRAMES)
    os.truncate(tmp_path / "a_cut.h5", 1000)
    assert [info.url for info in find_stacks(tmp_path)] == [urls[0], urls[2], urls[1]]


def test_a_stack_that_cannot_be_read_is_listed_with_the_reason(tmp_path):
    write_stack(tmp_path / "a.h5", FRAMES, "/good")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 20, 30))
        properties.set_filter(305, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((2, 20, 30))
        h5py.h5d.create(file.id, b"bad", h5py.h5t.STD_U16LE, space, properties)
    bad, good = find_stacks(tmp_path / "a.h5")
    assert (bad.url, bad.shape, bad.decoded_by) == (f"{tmp_path / 'a.h5'}::/bad", (2, 20, 30), "nothing")
    assert bad.why.startswith("cannot be read: ")
    assert "305" in bad.why
    assert good.frames_stored == 6


def test_a_file_that_is_named_has_to_be_readable(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    for name in ("text.h5", "nothing.h5"):
        with pytest.raises(SourceError) as caught:
            list(find_stacks(tmp_path / name))
        assert caught.value.file == str(tmp_path / name)


def test_urls_that_are_listed_can_be_opened(tmp_path):
    names = ["plain", "a+b", "50%", "x&slice=1", "k=v", "c;d#e?", "two words", "ångström", "a::b", "a[3]"]
    with h5py.File(tmp_path / "a b.h5", "w") as file:
        for i, name in enumerate(names):
            file[name] = FRAMES + i
    infos = list(find_stacks(tmp_path))
    assert len(infos) == len(names)
    for info in infos:
        with open_stack(info.url) as stack, h5py.File(tmp_path / "a b.h5") as file:
            assert np.array_equal(stack[1], file[stack._url.dataset][1])


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_is_an_error_of_ours(tmp_path, seed):
    write_stack(tmp_path / "a.h5", FRAMES, "/x/y/z", filters="bslz4", libver=("earliest", "latest")[seed % 2])
    data = bytearray((tmp_path / "a.h5").read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(8, len(data), 40):
        data[place] ^= 1 << rng.integers(0, 8)
    (tmp_path / "a.h5").write_bytes(data)
    try:
        infos = list(find_stacks(tmp_path / "a.h5"))
    except SourceError as exc:
        infos = []
        named = str(exc)
    else:
        named = f"{tmp_path / 'a.h5'} {[info.url for info in infos]}"
    assert str(tmp_path / "a.h5") in named


def test_a_file_alone(tmp_path):
    write_stack(tmp_path / "one.h5", FRAMES, "/e/d")
    with open_stack(tmp_path / "one.h5") as stack:
        assert stack.url == f"{tmp_path / 'one.h5'}::/e/d"
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(7):
            file[f"d{i}"] = FRAMES
    with pytest.raises(
        UrlError, match=r"holds 7 stacks \(/d0, /d1, /d2, /d3, /d4, \.\.\.\); name one: .*many\.h5::/d0"
    ):
        open_stack(tmp_path / "many.h5")
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["d"] = 3
    with pytest.raises(NotAStackError, match="holds no stack of images"):
        open_stack(tmp_path / "none.h5")


def test_two_words_and_missing(tmp_path):
    url = virtual_series(tmp_path, FRAMES, missing=[0])
    file, _, dataset = url.partition("::")
    with pytest.raises(SourceError):
        open_stack(file, dataset)
    with open_stack(file, dataset, missing="fill") as stack:
        assert not stack[0].any()
