# SPDX-License-Identifier: MIT
"""What C is told of names, for ``_serve``."""

from fastlegacy._c cimport fl_names, fl_series


cdef inline bytes raw_name(str name):
    return name.encode("utf-8", "surrogateescape")


cdef class Names:
    cdef fl_names *names
    cdef object keep
    cdef int _series(self, fl_series *s, row) except -1
