# SPDX-License-Identifier: MIT
"""``import fastlegacy``: what a program writes."""

import io
import re
import zlib
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest

import fastlegacy
from fastlegacy.errors import DecodeError, FilterError, LayoutError, SourceError, UrlError
from fastlegacy.hdf5.files import default_context
from fastlegacy.sources.frame_values import frame_values
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.filters import filter_arguments, filter_names
from fastlegacy.testing.frames import counting_frames, plain_frames
from fastlegacy.testing.storage import stored_chunk

FRAMES = counting_frames(4, (20, 30), "<u2")


@pytest.fixture
def url(tmp_path):
    return write_stack(tmp_path / "a.h5", FRAMES, "/e/d", filters="bslz4")


def test_names_of_the_package():
    assert set(fastlegacy.__all__) <= set(dir(fastlegacy))
    assert all(getattr(fastlegacy, name) is not None for name in fastlegacy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastlegacy.nothing  # noqa: B018  (the look-up is what is tested)


def test_open(url, tmp_path):
    for words in ([url], [tmp_path / "a.h5", "/e/d"], [tmp_path / "a.h5", "e/d"], [tmp_path / "a.h5"]):
        with fastlegacy.open(*words) as stack:
            assert stack.url == url
            assert np.array_equal(stack[3], FRAMES[3])
    with fastlegacy.open(f"{tmp_path / 'a.h5'}?path=/e/d&slice=1:3,::2") as stack:
        assert stack.shape == (2, 10, 30)
    with pytest.raises(SourceError):
        fastlegacy.open(tmp_path / "b.h5")
    with pytest.raises(UrlError):
        fastlegacy.open("")


def test_memory_is_one_bound_for_all(url):
    before = default_context().cache.max_bytes
    try:
        with fastlegacy.open(url, memory_bytes=12_345):
            assert default_context().cache.max_bytes == 12_345
        with fastlegacy.open(url):
            assert default_context().cache.max_bytes == 12_345
    finally:
        default_context().cache.max_bytes = before


def test_stacks(url, tmp_path):
    assert [info.url for info in fastlegacy.stacks(tmp_path)] == [url]
    assert [info.url for info in fastlegacy.stacks(tmp_path / "a.h5")] == [url]
    with pytest.raises(SourceError):
        fastlegacy.stacks(tmp_path / "nothing")


@pytest.mark.parametrize("format", fastlegacy.formats())
def test_tree(url, format):
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(stack, format=format, stem="scan", first=0, companions=[])
        names = list(tree)
        assert len(names) == len(tree) == (4 if tree.layout.per_frame else 1)
        assert all(name.startswith("scan") and name.endswith(tree.layout.suffix) for name in names)
        whole = tree[names[-1]].read()
        assert len(whole) == tree.size_of(names[-1])
        assert tree[names[-1]].read(10, 20) == whole[10:30]


@pytest.mark.parametrize("format", ["edf", "edf-stack", "flat", "npy", "npy-stack", "raw", "tiff"])
def test_pixels_are_as_stored(url, format):
    with fastlegacy.open(url) as stack:
        *_, last = fastlegacy.tree(stack, format, companions=[]).values()
        whole = last.read()
        assert all(frame.tobytes() in whole for frame in (FRAMES if "stack" in format else FRAMES[-1:]))


def test_several_formats_are_a_folder_each(url):
    with fastlegacy.open(url) as stack:
        for formats in ("edf,npy", ["edf", "npy"]):
            folder = fastlegacy.tree(stack, formats, "s", companions=[])
            assert isinstance(folder, fastlegacy.Folder)
            assert list(folder) == [f"{name}/s000{i}.{name}" for name in ("edf", "npy") for i in range(1, 5)]
            assert folder["edf/s0002.edf"].read() == fastlegacy.tree(stack, "edf", "s")["s0002.edf"].read()
        assert isinstance(fastlegacy.tree(stack, ["edf"]), fastlegacy.Tree)


def test_options_of_one_format_and_of_all(url):
    with fastlegacy.open(url) as stack:
        plain, summed = (
            fastlegacy.tree(stack, "cbf", options={"md5": md5})["data0001.cbf"].read() for md5 in (False, True)
        )
        assert b"Content-MD5" in summed
        assert b"Content-MD5" not in plain
        folder = fastlegacy.tree(stack, "cbf,edf", options={"cbf:md5": "yes"})
        assert folder["cbf/data0001.cbf"].read() == summed
        with pytest.raises(UrlError, match="no option 'md5' of edf"):
            fastlegacy.tree(stack, "edf", options={"md5": True})


def read_npy(tree, name="data0001.npy"):
    return np.load(io.BytesIO(tree[name].read()))


def test_the_way_of_a_pixel(url):
    frame = FRAMES[0].astype("i8")
    mask = np.zeros((20, 30), bool)
    mask[4, 5] = True
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(
            stack, "npy", mask=mask, mask_value=-1, dtype=np.int32, binning=2, transpose=True, flip_ud=True,
            flip_lr=True, rotation_deg=270,
        )  # fmt: skip
        binned = frame.reshape(10, 2, 15, 2).sum((1, 3))
        binned[2, 2] = -1
        expected = np.rot90(binned.T[::-1, ::-1], 3)
        found = read_npy(tree)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)


def test_the_mask_of_the_file_is_used_by_itself(url, tmp_path):
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["/e/pixel_mask"] = np.eye(20, 30, dtype="u4")
    np.save(tmp_path / "none.npy", np.zeros((20, 30)))
    masked = np.where(np.eye(20, 30), 7, FRAMES[0])
    with fastlegacy.open(url) as stack:
        for mask, expected in [
            ("auto", masked),
            (f"{tmp_path / 'a.h5'}::/e/pixel_mask", masked),
            (np.eye(20, 30), masked),
            ("none", FRAMES[0]),
            (None, FRAMES[0]),
            (tmp_path / "none.npy", FRAMES[0]),
        ]:
            found = read_npy(fastlegacy.tree(stack, "npy", mask=mask, mask_value=7))
            np.testing.assert_array_equal(found, expected)


def test_a_mask_is_that_of_the_frames_that_are_selected(url, tmp_path):
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["/e/pixel_mask"] = np.eye(20, 30, dtype="u4")
    with fastlegacy.open(f"{tmp_path / 'a.h5'}?path=/e/d&slice=:,2:12,1::3") as stack:
        found = read_npy(fastlegacy.tree(stack, "npy", mask_value=7))
    np.testing.assert_array_equal(found, np.where(np.eye(20, 30), 7, FRAMES[0])[2:12, 1::3])


def test_the_direct_beam_goes_where_its_pixel_goes(url):
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(stack, flip_lr=True, rotation_deg=90, beam_x_px=4.0, beam_y_px=7.0)
        spot = np.zeros((20, 30))
        spot[7, 4] = 1
        y, x = np.argwhere(np.rot90(spot[:, ::-1]))[0]
        assert (tree.facts.geometry.beam_x_px, tree.facts.geometry.beam_y_px) == (x, y)
        assert stack.geometry.beam_x_px is None


def test_companions(url):
    known = {"distance_m": 0.2, "beam_x_px": 1.0, "beam_y_px": 2.0, "pixel_x_m": 1e-4, "pixel_y_m": 1e-4}
    with fastlegacy.open(url) as stack:
        assert "data.poni" in fastlegacy.tree(stack, "edf", **known)
        assert "data.poni" not in fastlegacy.tree(stack, "edf")  # too little is known for it
        assert "data.poni" not in fastlegacy.tree(stack, "edf", companions=[], **known)
        tree = fastlegacy.tree(stack, "npy", companions=["poni", "mask"], mask=np.eye(20, 30), **known)
        assert {"data.poni", "data_mask.edf", "data_mask.npy"} <= set(tree)
        np.testing.assert_array_equal(read_npy(tree, "data_mask.npy"), np.eye(20, 30))
        folder = fastlegacy.tree(stack, "npy,edf", companions=["poni"], **known)
        assert {"npy/data.poni", "edf/data.poni"} <= set(folder)
        with pytest.raises(LayoutError, match="the companion poni cannot be made without distance, direct beam"):
            fastlegacy.tree(stack, "edf", companions=["poni"])
        with pytest.raises(UrlError, match="there is no companion 'pony'; there are "):
            fastlegacy.tree(stack, "edf", companions=["pony"])


def test_sizes_are_remembered_on_demand(url, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTLEGACY_CACHE", str(tmp_path / "cache"))
    with fastlegacy.open(url) as stack:
        for remember, number in [(False, 0), (True, 1), (True, 1)]:
            tree = fastlegacy.tree(stack, "cbf", remember_sizes=remember)
            sizes = [file.size for file in tree.values()]
            tree.close()
            assert len(list((tmp_path / "cache").rglob("*.sizes"))) == number
            assert sizes == [len(file.read()) for file in tree.values()]
        for choice in ({"mask_value": 5}, {"transpose": True}, {"mask": np.eye(20, 30)}):
            tree = fastlegacy.tree(stack, "cbf", remember_sizes=True, **choice)
            assert [file.size for file in tree.values()] == [len(file.read()) for file in tree.values()]
            tree.close()
        assert len(list((tmp_path / "cache").rglob("*.sizes"))) == 4


def test_choices_that_are_not_possible(url):
    with fastlegacy.open(url) as stack:
        for choice, error, says in [
            ({"rotation_deg": 45}, UrlError, "turned by 0, 90, 180 or 270 degrees, not by 45"),
            ({"saturate": "wrap"}, UrlError, "give one of clip, keep, error"),
            ({"dtype": "c8"}, UrlError, "pixels cannot be of type"),
            ({"binning": 21}, LayoutError, "cannot be binned by 21"),
            ({"mask": np.eye(3)}, UrlError, r"the mask has the shape \(3, 3\)"),
            ({"mask_value": 1.5}, LayoutError, "the mask value 1.5 is no pixel of type uint16"),
        ]:
            with pytest.raises(error, match=says):
                fastlegacy.tree(stack, "npy", **choice)


def test_tree_with_values_for_the_headers(url):
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(stack, start_deg=-10, step_deg=0.5)
        assert b"-9.0" in tree["data0003.edf"].read(0, 1024)
        assert tree.facts.geometry.origin == {"start_deg": "the caller", "step_deg": "the caller"}
        assert stack.geometry.start_deg is None
        with pytest.raises(TypeError, match=r"'wavelenght' is no value of a header; there are .*wavelength_angstrom"):
            fastlegacy.tree(stack, wavelenght=1.0)
        with pytest.raises(TypeError, match="'origin'"):
            fastlegacy.tree(stack, origin=1.0)
        with pytest.raises(LayoutError, match=r"no format 'papyrus'; there are .*edf"):
            fastlegacy.tree(stack, format="papyrus")


def test_a_tree_of_a_url_says_what_to_do(url):
    with pytest.raises(TypeError, match=rf"tree\(fastlegacy\.open\('{re.escape(str(url))}'\)"):
        fastlegacy.tree(url)


# ---------------------------------------------------------------------------------------------------- decode


@pytest.mark.parametrize(
    ("written", "filters"),
    [
        ("bslz4", ["bitshuffle+lz4"]),
        ("bslz4", [32008]),
        ("bslz4-block64", ["bitshuffle+lz4"]),
        ("bszstd", ["bitshuffle+zstd"]),
        ("bitshuffle", ["bitshuffle"]),
        ("gzip", ["deflate"]),
        ("gzip", ["gzip"]),
        ("gzip", [1]),
        ("shuffle+gzip", ["shuffle", "deflate"]),
        ("shuffle+gzip+fletcher32", [2, 1, 3]),
        ("shuffle+gzip+fletcher32", [(2, (4,)), (1, (2,)), "fletcher32"]),
        ("lz4", ["lz4"]),
        ("zstd", ["zstd"]),
        ("blosc-lz4", ["blosc"]),
        ("bzip2", ["bzip2"]),
        ("shuffle+lz4", ["shuffle", "lz4"]),
        ("none", []),
    ],
)
def test_decode(written, filters):
    chunk = plain_frames(3, (17, 23), "<i4")
    raw = stored_chunk(chunk, written)
    result = fastlegacy.decode(raw, shape=chunk.shape, dtype="<i4", filters=filters)
    assert result.dtype == chunk.dtype
    assert np.array_equal(result, chunk)
    for kind in (bytearray(raw), memoryview(raw), np.frombuffer(raw, np.uint8)):
        assert np.array_equal(fastlegacy.decode(kind, shape=chunk.shape, dtype="<i4", filters=filters), chunk)


@pytest.mark.parametrize("name", [name for name in filter_names("f4") if name not in ("lzf", "szip", "shuffle+lzf")])
def test_decode_with_the_client_data_of_a_file(tmp_path, name):
    path = write_stack(tmp_path / "a.h5", plain_frames(1, (32, 40), "f4"), "/d", filters=name, chunks=(1, 32, 40))
    with h5py.File(path.partition("::")[0]) as file:
        properties = file["d"].id.get_create_plist()
        found = [properties.get_filter(i) for i in range(properties.get_nfilters())]
        mask, raw = file["d"].id.read_direct_chunk((0, 0, 0))
        expected = file["d"][()]
    filters = [(number, values) for number, _, values, _ in found]
    result = fastlegacy.decode(raw, shape=(1, 32, 40), dtype="f4", filters=filters, filter_mask=mask)
    assert result.tobytes() == expected.tobytes()


def test_decode_of_frames_of_bitshuffle_is_the_default():
    frame = counting_frames(1, (64, 70), "u2")
    assert np.array_equal(fastlegacy.decode(stored_chunk(frame, "bslz4"), shape=frame.shape, dtype="u2"), frame)


@pytest.mark.parametrize("mask", range(4))
def test_decode_with_a_filter_mask(mask):
    chunk = counting_frames(2, (8, 9), "u4")
    raw = stored_chunk(chunk, "shuffle+gzip", mask)
    result = fastlegacy.decode(raw, shape=chunk.shape, dtype="u4", filters=["shuffle", "deflate"], filter_mask=mask)
    assert np.array_equal(result, chunk)


def test_decode_into_memory_of_the_caller():
    chunk = counting_frames(1, (8, 9), ">u4")
    raw = stored_chunk(chunk, "bslz4")
    out = np.empty((8, 9), ">u4")
    assert fastlegacy.decode(raw, shape=(8, 9), dtype=">u4", out=out) is out
    assert np.array_equal(out, chunk[0])
    for other in (np.empty((9, 8), ">u4"), np.empty((8, 9), "<u4"), np.empty((9, 8), ">u4").T):
        with pytest.raises(ValueError, match=r"C-contiguous array of shape \(8, 9\) and dtype >u4"):
            fastlegacy.decode(raw, shape=(8, 9), dtype=">u4", out=other)


def test_decode_of_damaged_bytes():
    raw = stored_chunk(counting_frames(1, (64, 70), "u2"), "bslz4")
    for damaged in (b"", raw[:-1], raw[:11], b"\xff" * 100):
        with pytest.raises(DecodeError):
            fastlegacy.decode(damaged, shape=(64, 70), dtype="u2")
    for shape in [(64, 71), (63, 70), (0,), ()]:
        with pytest.raises(DecodeError):
            fastlegacy.decode(raw, shape=shape, dtype="u2")
    with pytest.raises(DecodeError):
        fastlegacy.decode(zlib.compress(bytes(10)), shape=(11,), dtype="u1", filters=["deflate"])
    with pytest.raises(DecodeError):
        fastlegacy.decode(bytes(10), shape=(11,), dtype="u1", filters=[])


def test_decode_with_filters_that_cannot_be_used():
    for filters, says in [
        (["rot13"], "there is no filter 'rot13'; there are bitshuffle,"),
        ([305], "305"),
        (["shuffle", 6], "only HDF5 itself"),
    ]:
        with pytest.raises(FilterError, match=says):
            fastlegacy.decode(b"1234", shape=(2,), dtype="u2", filters=filters)
    assert "bslz4" in filter_names()
    assert filter_arguments("none") == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_value_of_a_header(value: float) -> None:
    with pytest.raises(UrlError, match="distance_m cannot be"):
        fastlegacy.encode(np.zeros((4, 6), "u2"), "edf", distance_m=value)


def test_trees_and_folders_close_what_measures_ahead(tmp_path: Path) -> None:
    url = write_stack(tmp_path / "scan.h5", np.zeros((3, 4, 5), "u2"))
    with fastlegacy.open(url) as stack:
        for format in ("cbf", "cbf,edf"):
            with fastlegacy.tree(stack, format) as files:
                assert all(file.size for file in files.values())


def test_a_series_of_blocks_has_its_mask_and_its_counters(tmp_path: Path) -> None:
    frames = plain_frames(6, (40, 50), "u2")
    mask = np.zeros((40, 50), "u4")
    mask[3, 4], mask[5, 6] = 1, 2
    url = dectris_series(tmp_path, frames, blocks=(4, 2), detector={"detectorSpecific/pixel_mask": mask})
    master = url.partition("::")[0]
    with h5py.File(master, "a") as h5:
        h5["monitor"] = np.arange(6.0)
    with fastlegacy.open(master + "?path=/entry/data&slice=2:5") as stack:
        tree = fastlegacy.tree(stack, "cbf")
        with fabio.open(io.BytesIO(next(iter(tree.values())).read())) as image:
            assert image.data[3, 4] == -1
            assert image.data[5, 6] == -2
        values = frame_values(stack.url, "/monitor", len(stack), stored_shape=stack.stored_shape)
        assert values == [2.0, 3.0, 4.0]
