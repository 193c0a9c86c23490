# SPDX-License-Identifier: MIT
"""What ``_serve.pyx`` uses of ``_view.pyx``."""

from libc.stdint cimport int64_t

from fastlegacy._c cimport fl_coder, fl_number, fl_piece, fl_vfile, fl_view
from fastlegacy._core cimport Cache, Stack


cdef class View:
    cdef fl_view view
    cdef readonly Stack stack
    cdef Cache cache
    cdef object mask
    cdef dict coders
    cdef fl_coder *coder(self, how) except NULL
    cdef int64_t _check_frame(self, int64_t frame) except -1


cdef class PieceFile:
    cdef fl_vfile *file
    cdef readonly object source
    cdef int _literal(self, fl_piece *p, bytes data) except -1
    cdef int _piece(self, fl_piece *p, Stack stack, View view, str kind, rest) except -1
