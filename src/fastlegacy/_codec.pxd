# SPDX-License-Identifier: MIT
"""What ``_core.pyx`` uses of ``_codec.pyx``."""

from fastlegacy._c cimport fl_codecs, fl_error, fl_pipeline, fl_stage, pthread_mutex_t


cdef object exception(const fl_error *e, str place)
cdef object raised(const fl_error *e)
cdef int simd_level(str simd) except -1


cdef class Mutex:
    cdef pthread_mutex_t mutex


cdef class Pipeline:
    cdef fl_pipeline pipeline
    cdef tuple keep
    cdef int simd
    cdef fl_stage *_new(self, int kind, int number) except NULL
    cdef fl_codecs _codecs(self, libdeflate, size_t uncompress, zstd) except *
