# SPDX-License-Identifier: MIT
"""What ``_serve.pyx`` uses of ``_core.pyx``."""

from fastlegacy._c cimport fl_piece, fl_stack, fl_vfile


cdef class Stack:
    cdef fl_stack stack
    cdef Py_ssize_t n_parts
    cdef list keep
    cdef int _part(self, Py_ssize_t number, source, axes, base) except -1
    cdef int _index(self, first_axes) except -1


cdef class PieceFile:
    cdef fl_vfile *file
    cdef readonly Stack stack
    cdef int _literal(self, fl_piece *p, bytes data) except -1
