# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""Where HDF5 says that each chunk of a dataset is, without an object of Python for each.

C in ``csrc/chunk_index.h``; how these modules are built up says ``_core.pyx``.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t

import math

from fastlegacy._c cimport FL_MAX_DIMS

cdef extern from "chunk_index.h" nogil:
    ctypedef struct fl_index:
        int ndim
        uint64_t *chunk
        uint64_t *grid
        uint64_t *addresses
        uint64_t *sizes
        uint32_t *masks
        int64_t outside
        int64_t doubles
    int fl_index_put(const uint64_t *, unsigned, uint64_t, uint64_t, void *)
    int fl_index_is_in_order(const uint64_t *, const uint64_t *, int64_t)


@cython.no_gc_clear
cdef class ChunkIndex:
    """Takes what HDF5's iterator tells of the chunks of a dataset, by a function that needs no Python.

    Parameters
    ----------
    chunk, grid : sequence of int
        Shape of a chunk, and number of chunks along each axis.
    addresses, sizes : ndarray of uint64, masks : ndarray of uint32
        One element for each chunk, in C order of the grid. Addresses have to be 2**64 - 1.
    """

    cdef fl_index index
    cdef object arrays

    def __init__(self, chunk, grid, uint64_t[::1] addresses not None, uint64_t[::1] sizes not None,
                 uint32_t[::1] masks not None):
        n = math.prod(grid)
        if len(chunk) != len(grid) or len(grid) > FL_MAX_DIMS or min(chunk, default=1) < 1 or min(grid, default=0) < 0:
            raise ValueError("impossible chunks")
        if not n == addresses.shape[0] == sizes.shape[0] == masks.shape[0]:
            raise ValueError("the arrays have not one element for each chunk")
        self.index.ndim = len(grid)
        for k in range(self.index.ndim):
            self.index.chunk[k], self.index.grid[k] = chunk[k], grid[k]
        if n:
            self.index.addresses, self.index.sizes, self.index.masks = &addresses[0], &sizes[0], &masks[0]
        self.arrays = addresses, sizes, masks

    @property
    def function(self):
        """Address of the function for H5Dchunk_iter of HDF5 1.14 and later."""
        return <uintptr_t>&fl_index_put

    @property
    def argument(self):
        """Address of what that function is given as its last argument."""
        return <uintptr_t>&self.index

    @property
    def outside(self):
        """How many chunks lie outside of the grid."""
        return self.index.outside

    @property
    def doubles(self):
        """How many chunks have the place of another one."""
        return self.index.doubles

    def put(self, offset, unsigned mask, uint64_t address, uint64_t size):
        """Note one chunk, as the function does."""
        cdef uint64_t first[FL_MAX_DIMS]
        if len(offset) != self.index.ndim:
            raise ValueError("a chunk has one number for each axis")
        for k in range(self.index.ndim):
            first[k] = offset[k]
        fl_index_put(first, mask, address, size, &self.index)


def chunks_in_order(const uint64_t[::1] addresses not None, const uint64_t[::1] sizes not None):
    """Whether chunks follow one another in the file as they do in the arrays, none reaching into the next."""
    cdef int64_t n = addresses.shape[0]
    cdef int found
    if n != sizes.shape[0]:
        raise ValueError("addresses and sizes have to be as many")
    if n == 0:
        return True
    with nogil:
        found = fl_index_is_in_order(&addresses[0], &sizes[0], n)
    return bool(found)
