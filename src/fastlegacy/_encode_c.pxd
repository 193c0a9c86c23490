# SPDX-License-Identifier: MIT
"""What ``_encode.pyx`` uses of the C headers in ``csrc/``."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fastlegacy._c cimport fl_error

cdef extern from "status.h" nogil:
    enum:
        FL_RANGE

cdef extern from "byteoffset.h" nogil:
    int64_t fl_byteoffset_size(const int32_t *, int64_t, int)
    int fl_byteoffset_encode(const int32_t *, int64_t, int, uint8_t *, size_t, size_t *, int)
    int fl_byteoffset_decode(const uint8_t *, size_t, int32_t *, int64_t, size_t *, fl_error *, int)

cdef extern from "bitfield.h" nogil:
    size_t fl_agi_row_size(const int32_t *, int64_t, int)
    size_t fl_agi_rows_size(const int32_t *, int64_t, int64_t, int)
    size_t fl_agi_size(const int32_t *, int64_t, int64_t, int)
    int fl_agi_encode_rows(const int32_t *, int64_t, int64_t, uint64_t, uint8_t *, size_t, uint8_t *, size_t *, int)
    int fl_agi_encode(const int32_t *, int64_t, int64_t, uint8_t *, size_t, size_t *, int)
    int fl_agi_open(const uint8_t *, size_t, int64_t, size_t *, fl_error *)
    int fl_agi_decode_rows(const uint8_t *, int64_t, int64_t, int64_t, int64_t, int32_t *, fl_error *, int)
    int fl_agi_decode(const uint8_t *, size_t, int32_t *, int64_t, int64_t, size_t *, fl_error *, int)
