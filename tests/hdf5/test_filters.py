# SPDX-License-Identifier: MIT
"""Who undoes which filter."""

import h5py
import pytest

from fastlegacy.errors import FilterError
from fastlegacy.hdf5 import filters as filters_module
from fastlegacy.hdf5.filters import Filter, make_plan, read_filters
from fastlegacy.testing.filters import filter_arguments, filter_names


def filters_of(name, dtype="u2"):
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("d", (1, 32, 40), dtype, chunks=(1, 32, 40), **filter_arguments(name))
        return read_filters(dataset.id.get_create_plist())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", []),
        ("bslz4", ["bitshuffle+lz4"]),
        ("bitshuffle", ["bitshuffle"]),
        ("bszstd", ["bitshuffle+zstd"]),
        ("shuffle+gzip+fletcher32", ["shuffle", "deflate", "fletcher32"]),
        ("shuffle+lz4", ["shuffle", "lz4"]),
        ("scaleoffset", ["scaleoffset"]),
        ("lzf", ["lzf"]),
    ],
)
def test_names_in_the_order_of_writing(name, words):
    assert [str(f) for f in filters_of(name)] == words


@pytest.mark.parametrize("name", filter_names("f4"))
def test_every_filter_has_somebody(name):
    plan = make_plan(filters_of(name, "f4"), 4)
    assert set(plan.by) <= {"kernel", "plugin", "h5py"}
    assert (plan.pipeline is None) == ("h5py" in plan.by)
    if plan.pipeline is not None:
        assert len(plan.pipeline) == len(plan.by)


def test_one_that_only_h5py_knows_takes_all():
    plan = make_plan([Filter(2, (2,)), Filter(32000, (), "lzf")], 2)
    assert plan.pipeline is None
    assert plan.by == ("h5py", "h5py")


def test_unknown_filter_is_named():
    with pytest.raises(FilterError, match=r"^a\.h5::/d: the HDF5 filter 305 \(odd\) is not installed here"):
        make_plan([Filter(305, (), "odd")], 2, file="a.h5", dataset="/d")


@pytest.mark.parametrize("name", ["bslz4", "lz4"])
def test_lz4_needs_no_library(monkeypatch, name):
    monkeypatch.setattr(filters_module, "_plugin_paths", dict)
    assert make_plan(filters_of(name), 2).by == ("kernel",)


@pytest.mark.parametrize(
    ("name", "by"),
    [("gzip", "h5py"), ("zstd", "plugin"), ("bszstd", "plugin"), ("bzip2", "plugin"), ("blosc-zlib", "plugin")],
)
def test_without_the_library_of_a_codec(monkeypatch, name, by):
    assert make_plan(filters_of(name), 2).by == ("kernel",)
    monkeypatch.setattr(filters_module, "libdeflate", tuple)
    assert make_plan(filters_of(name), 2).by == ("kernel",)
    monkeypatch.setattr(filters_module, "codec_function", lambda number: 0)
    monkeypatch.setattr(filters_module, "zstd", tuple)
    assert make_plan(filters_of(name), 2).by == (by,)
