# SPDX-License-Identifier: MIT
"""Sharing work among threads."""

import threading

import pytest

from fastlegacy.hdf5.threads import share


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 100])
def test_each_item_is_worked_on_once(n, threads):
    seen = []
    share(seen.append, range(n), threads)
    assert sorted(seen) == list(range(n))


def test_threads_work_side_by_side():
    both = threading.Barrier(2, timeout=60)
    share(lambda item: both.wait(), range(2), 2)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_error_comes_out_and_ends_the_work(threads):
    seen = []

    def work(item):
        seen.append(item)
        if item == 5:
            raise LookupError(item)

    with pytest.raises(LookupError, match="5"):
        share(work, range(10**6), threads)
    assert len(seen) < 10**6


def test_items_that_are_none_are_items_too():
    seen = []
    share(seen.append, [None, 1, None], 1)
    assert seen == [None, 1, None]
