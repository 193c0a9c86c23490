# SPDX-License-Identifier: MIT
"""What ``_view.pyx`` uses of ``_core.pyx``."""

from fastlegacy._c cimport fl_cache, fl_stack


cdef class Cache:
    cdef fl_cache cache


cdef class Stack:
    cdef fl_stack stack
    cdef Py_ssize_t n_parts
    cdef list keep
    cdef int _part(self, Py_ssize_t number, source, axes, base) except -1
    cdef int _index(self, first_axes) except -1
