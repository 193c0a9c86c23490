# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""The codecs of legacy formats whose size depends on the pixels: CBF's byte offset and Esperanto's AGI_BITFIELD.

Both ways, without the GIL, from and to arrays of int32 that lie in one piece. The C is in ``csrc/byteoffset.h`` and
``csrc/bitfield.h``. Encoding goes over the pixels once, into room for what most images become; only where that is too
small, it is counted first.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport UINT32_MAX, int32_t, int64_t, uint8_t, uint64_t

from fastlegacy._c cimport FL_OK, fl_error, fl_error_clear, fl_error_text
from fastlegacy._codec cimport simd_level
from fastlegacy._encode_c cimport *
from fastlegacy.errors import DecodeError, LayoutError


# ---------------------------------------------------------------------------------------------------- what all need

cdef object _line(pixels):
    """The pixels as one line, over the same memory."""
    if pixels.ndim == 1:
        return pixels
    if not pixels.flags.c_contiguous:
        raise ValueError("the pixels do not lie in one piece; use numpy.ascontiguousarray")
    return pixels.reshape(-1)


cdef object _damaged(const fl_error *e):
    cdef char text[512]
    fl_error_text(e, text, sizeof(text))
    hint = "is it whole, and has the image that many rows and columns?"
    return DecodeError(text.decode("utf-8", "surrogateescape"), hint=hint)


cdef int _check_shape(Py_ssize_t ny, Py_ssize_t nx) except -1:
    if ny < 1 or nx < 1:
        raise ValueError(f"an image has at least one row and one column, not {ny} x {nx}")
    return 0


# ---------------------------------------------------------------------------------------------------- room

cdef extern from "Python.h":
    PyObject *_new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    int _resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t) except -1


@cython.no_gc_clear
cdef class _Room:
    """Bytes that are not whole yet: nobody else has seen them, so they may be written, and cut to what was."""

    cdef PyObject *data
    cdef size_t size

    def __dealloc__(self):
        if self.data != NULL:
            Py_DECREF(<object>self.data)

    cdef uint8_t *make(self, size_t size) except NULL:
        if self.data != NULL:
            Py_DECREF(<object>self.data)
            self.data = NULL
        self.data = _new_bytes(NULL, size)
        self.size = size
        return <uint8_t *>PyBytes_AS_STRING(<object>self.data)

    cdef uint8_t *make_likely(self, size_t pixels) except NULL:
        # what is not written costs no memory
        return self.make(3 * pixels + 512)

    cdef bytes cut(self, int rc, size_t written):
        if rc != FL_OK:
            raise ValueError("the pixels changed while they were encoded; encode a copy of them")
        if written != self.size:
            _resize_bytes(&self.data, written)
        data = <bytes>self.data
        Py_DECREF(data)
        self.data = NULL
        return data


# ---------------------------------------------------------------------------------------------------- byte offset

cdef int64_t _byte_offset_size(const int32_t[::1] line, int level):
    cdef int64_t n = line.shape[0], size = 0
    if n:
        with nogil:
            size = fl_byteoffset_size(&line[0], n, level)
    return size


def byte_offset_size(pixels not None, str simd=None):
    """Count the bytes that ``byte_offset_encode`` would return, without writing any."""
    return _byte_offset_size(_line(pixels), simd_level(simd))


def byte_offset_encode(pixels not None, str simd=None):
    """Encode pixels, int32 of any shape, as x-CBF_BYTE_OFFSET.

    Every pair of neighbours survives, also those whose difference needs more than 32 bits.
    """
    cdef const int32_t[::1] line = _line(pixels)
    cdef int level = simd_level(simd)
    cdef int64_t n = line.shape[0]
    if n == 0:
        return b""
    cdef _Room room = _Room()
    cdef uint8_t *out = room.make_likely(n)
    cdef size_t written = 0
    cdef int rc
    with nogil:
        rc = fl_byteoffset_encode(&line[0], n, 1, out, room.size, &written, level)
    if rc == FL_RANGE:
        out = room.make(_byte_offset_size(line, level))
        with nogil:
            rc = fl_byteoffset_encode(&line[0], n, 1, out, room.size, &written, level)
    return room.cut(rc, written)


def byte_offset_decode(const uint8_t[::1] data not None, out not None, str simd=None):
    """Decode into ``out``, int32 of any shape, and return how many bytes that took.

    Raises
    ------
    DecodeError
        The data end before the image does, or a pixel is no signed 32-bit number. ``out`` then means nothing.
    """
    cdef int32_t[::1] line = _line(out)
    cdef int64_t n = line.shape[0]
    cdef size_t size = data.shape[0], used = 0
    cdef int level = simd_level(simd)
    cdef uint8_t empty = 0
    cdef const uint8_t *src = &data[0] if size else &empty
    cdef int rc
    cdef fl_error error
    if n == 0:
        return 0
    fl_error_clear(&error)
    with nogil:
        rc = fl_byteoffset_decode(src, size, &line[0], n, &used, &error, level)
    if rc != FL_OK:
        raise _damaged(&error)
    return used


# ---------------------------------------------------------------------------------------------------- AGI_BITFIELD

cdef size_t _check_limit(size_t size) except 0:
    if size > UINT32_MAX:
        raise LayoutError("AGI_BITFIELD holds at most 4 GiB of an image", hint="use 4BYTE_LONG")
    return size


def agi_size(const int32_t[:, ::1] pixels not None, str simd=None):
    """Count the bytes that ``agi_encode`` would return, without writing any."""
    cdef int64_t ny = pixels.shape[0], nx = pixels.shape[1]
    cdef int level = simd_level(simd)
    cdef size_t size
    _check_shape(ny, nx)
    with nogil:
        size = fl_agi_size(&pixels[0, 0], ny, nx, level)
    return size


def agi_encode(const int32_t[:, ::1] pixels not None, str simd=None):
    """Encode an image as AGI_BITFIELD: the size of its rows, the rows, and the table of where they start.

    Differences wrap at 32 bits, as its readers' sums do.
    """
    cdef int64_t ny = pixels.shape[0], nx = pixels.shape[1]
    cdef int level = simd_level(simd)
    _check_shape(ny, nx)
    cdef _Room room = _Room()
    cdef uint8_t *out = room.make_likely(ny * (nx + 4))
    cdef size_t written = 0
    cdef int rc
    with nogil:
        rc = fl_agi_encode(&pixels[0, 0], ny, nx, out, room.size, &written, level)
    if rc == FL_RANGE:
        out = room.make(_check_limit(agi_size(pixels, simd)))
        with nogil:
            rc = fl_agi_encode(&pixels[0, 0], ny, nx, out, room.size, &written, level)
    return room.cut(rc, written)


def agi_encode_rows(const int32_t[:, ::1] pixels not None, uint64_t start=0, str simd=None):
    """Encode a block of rows of an image, so that several can be encoded at once.

    ``start`` is the size of the blocks before. The results are the rows, and their part of the table. An image is the
    size of all rows (u32, little endian), the rows of all blocks, and the tables of all blocks.
    """
    cdef int64_t ny = pixels.shape[0], nx = pixels.shape[1]
    cdef int level = simd_level(simd)
    _check_shape(ny, nx)
    cdef size_t size, written = 0
    with nogil:
        size = fl_agi_rows_size(&pixels[0, 0], ny, nx, level)
    _check_limit(min(start, UINT32_MAX) + size)
    cdef _Room rows = _Room(), table = _Room()
    cdef uint8_t *out = rows.make(size)
    cdef uint8_t *starts = table.make(4 * ny)
    cdef int rc
    with nogil:
        rc = fl_agi_encode_rows(&pixels[0, 0], ny, nx, start, out, size, starts, &written, level)
    return rows.cut(rc, written), table.cut(rc, 4 * ny)


def agi_decode(const uint8_t[::1] data not None, int32_t[:, ::1] out not None, str simd=None):
    """Decode an image into ``out``, and return how many bytes that took.

    Raises
    ------
    DecodeError
        The data are no AGI_BITFIELD image of this shape: they end too early, the table of rows is no such table, or a
        row has more or fewer bytes than it needs. ``out`` then means nothing.
    """
    cdef int64_t ny = out.shape[0], nx = out.shape[1]
    cdef size_t size = data.shape[0], used = 0
    cdef int level = simd_level(simd)
    cdef uint8_t empty = 0
    cdef const uint8_t *src = &data[0] if size else &empty
    cdef int rc
    cdef fl_error error
    _check_shape(ny, nx)
    fl_error_clear(&error)
    with nogil:
        rc = fl_agi_decode(src, size, &out[0, 0], ny, nx, &used, &error, level)
    if rc != FL_OK:
        raise _damaged(&error)
    return used
