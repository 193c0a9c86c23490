# SPDX-License-Identifier: MIT
"""Names of filter pipelines."""

import h5py
import pytest

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.filters import filter_arguments, filter_names
from fastlegacy.testing.frames import plain_frames


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'gzap'; known are .*gzip"):
        filter_arguments("shuffle+gzap")


def test_combination_is_the_sum_of_its_parts():
    assert filter_arguments("shuffle+gzip") == filter_arguments("shuffle") | filter_arguments("gzip")


def test_dtype_narrows_the_names():
    assert "sz" in filter_names("f4")
    assert "sz" not in filter_names("u2")
    assert "zfp-reversible" not in filter_names(">f4")
    assert set(filter_names("u4")) < set(filter_names())


@pytest.mark.parametrize("name", [name for name in filter_names() if name != "none"])
def test_each_name_stores_by_that_filter(tmp_path, name):
    dtype = "f4" if name in filter_names("f4") else "u2"
    url = write_stack(tmp_path / "a.h5", plain_frames(2, (32, 40), dtype), filters=name)
    with h5py.File(url.partition("::")[0]) as file:
        properties = file["/entry/data/data"].id.get_create_plist()
        assert properties.get_nfilters() == len(name.split("+"))
