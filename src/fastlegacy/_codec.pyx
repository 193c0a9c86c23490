# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""The decoders: one stored chunk to its pixels, without the GIL.

The C is in ``csrc/bitshuffle.h`` and ``csrc/filters.h``; how these modules are built up says ``_core.pyx``.
"""

import os

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastlegacy._c cimport *
from fastlegacy.errors import DecodeError, LayoutError, SilentSourceError, SourceError, UrlError


# ---------------------------------------------------------------------------------------------------- errors

cdef object exception(const fl_error *e, str place):
    cdef char text[512]
    fl_error_text(e, text, sizeof(text))
    message = text.decode("utf-8", "surrogateescape")
    file, _, dataset = place.partition("::")
    where = {"file": file or None, "dataset": dataset or None, "frame": e.frame if e.frame >= 0 else None}
    if e.code == FL_NOMEM:
        return MemoryError(f"{place}: {message}")
    if e.code == FL_BEYOND:
        hint = "clip such pixels (--saturate clip), or choose a format with larger numbers"
        return LayoutError(message, **where, hint=hint)
    if e.code == FL_SILENT:
        # about the file: whatever is read of it fails alike
        silent = file or (<const char *>e.detail).decode("utf-8", "surrogateescape")
        hint = "wait for the file server; what it holds can be read again then"
        return SilentSourceError("the file system that it is on does not answer", file=silent or None, hint=hint)
    if e.code in (FL_SHORT, FL_SYSTEM, FL_CHANGED, FL_RESIZED):
        has_changed = e.code in (FL_CHANGED, FL_RESIZED)
        hint = "open the stack again" if has_changed else "check the file, or copy it again from its source"
        return SourceError(message, **where, hint=hint)
    if e.code in (FL_CORRUPT, FL_CHECKSUM, FL_PYTHON):
        return DecodeError(message, **where, hint="other frames may be fine; copy the file again from its source")
    return IndexError(f"{place}: {message}")


cdef object raised(const fl_error *e):
    place = e.name.decode("utf-8", "surrogateescape") if e.name != NULL else ""
    return exception(e, place)


# ---------------------------------------------------------------------------------------------------- kernels

cdef tuple _LEVELS = ("portable", fl_simd_vector_name().decode(), "avx2", "avx512")


cdef int simd_level(str simd) except -1:
    """Number of a level by its name; None: what the environment says, or else the best that this machine has."""
    asked = os.environ.get("FASTLEGACY_SIMD") if simd is None else simd
    if not asked:
        return fl_simd_best()
    if asked in simd_levels():
        return _LEVELS.index(asked)
    message = f"this machine has no {asked!r} kernels; it has {', '.join(simd_levels())}"
    if simd is not None:
        raise ValueError(message)
    raise UrlError(message, hint="unset FASTLEGACY_SIMD, or set it to one of these")


def simd_levels():
    """Names of the kernel levels that run on this machine, slowest first ("avx512": with VBMI and GFNI)."""
    return list(_LEVELS[: fl_simd_best() + 1])


def simd_in_use():
    """Name of the kernel level that is used: the best, or the one in the environment variable FASTLEGACY_SIMD.

    Raises
    ------
    UrlError
        If this machine has no such level.
    """
    return _LEVELS[simd_level(None)]


def unlz4(const uint8_t[::1] data not None, uint8_t[::1] out not None, Py_ssize_t row=0, str simd=None):
    """Decode an LZ4 block that fills ``out``.

    Parameters
    ----------
    row : int
        Length of a row of bit planes, which divides that of ``out``; 0: no rows.

    Returns
    -------
    int or None
        None if the block is damaged. Otherwise the last row that was written: those behind it are equal to it, and
        ``out`` does not have them. Without rows 0.
    """
    cdef size_t size = data.shape[0], room = out.shape[0], last = 0
    cdef int level = simd_level(simd), ok
    cdef uint8_t empty = 0
    cdef const uint8_t *src = &data[0] if size else &empty
    cdef uint8_t *dst = &out[0] if room else &empty
    cdef uint8_t *roomy = NULL
    if row < 0 or (row and out.shape[0] % row):
        raise ValueError("out is not a whole number of rows")
    if row and room:
        last = room // row - 1
        roomy = <uint8_t *>malloc(room + FL_LZ4_SLACK)
        if roomy == NULL:
            raise MemoryError
    with nogil:
        if roomy == NULL:
            ok = fl_lz4(src, size, dst, room, 0, level)
        else:
            ok = fl_lz4_rows_of(src, size, roomy, room, row, &last, level)
            if ok:
                memcpy(dst, roomy, (last + 1) * row)
            free(roomy)
    return last if ok else None


def unbitshuffle(const uint8_t[::1] data not None, uint8_t[::1] out not None, Py_ssize_t itemsize, str simd=None):
    """Undo the bit transposition of one block of whole groups of 8 elements."""
    cdef Py_ssize_t size = data.shape[0]
    cdef int level = simd_level(simd)
    if itemsize < 1 or size % (8 * itemsize) or out.shape[0] != size:
        raise ValueError("a block is a multiple of 8 elements, and out has its size")
    if size == 0:
        return
    cdef uint8_t *planes = <uint8_t *>malloc(size)
    if planes == NULL:
        raise MemoryError
    with nogil:
        fl_unbitshuffle(&data[0], size // itemsize, itemsize, &out[0], planes, level, 8 * itemsize - 1)
        free(planes)


def unshuffle(const uint8_t[::1] data not None, uint8_t[::1] out not None, Py_ssize_t itemsize, str simd=None):
    """Undo HDF5's byte shuffle of whole elements."""
    cdef Py_ssize_t size = data.shape[0]
    cdef int level = simd_level(simd)
    if itemsize < 1 or size % itemsize or out.shape[0] != size:
        raise ValueError("data are whole elements, and out has their size")
    if size:
        with nogil:
            fl_unshuffle(&data[0], size // itemsize, itemsize, &out[0], level)


def fletcher32(const uint8_t[::1] data not None):
    """HDF5's fletcher32 checksum of some bytes."""
    cdef Py_ssize_t size = data.shape[0]
    return fl_fletcher32(&data[0] if size else NULL, size)


@cython.no_gc_clear
cdef class Mutex:
    """Lets one plug-in call run at a time: for filter libraries that keep state between calls."""

    def __cinit__(self):
        pthread_mutex_init(&self.mutex, NULL)

    def __dealloc__(self):
        pthread_mutex_destroy(&self.mutex)


cdef class Pipeline:
    """The filters of a dataset, in the order in which HDF5 applied them when writing."""

    def __cinit__(self, str simd=None):
        memset(&self.pipeline, 0, sizeof(self.pipeline))
        self.keep = ()
        self.simd = simd_level(simd)

    def __len__(self):
        return self.pipeline.n

    cdef fl_stage *_new(self, int kind, int number) except NULL:
        if self.pipeline.n >= FL_MAX_FILTERS:
            raise ValueError("more filters than HDF5 allows")
        cdef fl_stage *stage = &self.pipeline.stages[self.pipeline.n]
        self.pipeline.n += 1
        stage.kind = kind
        stage.id = number
        stage.bshuf.simd = self.simd
        return stage

    def add_bitshuffle(self, Py_ssize_t itemsize, Py_ssize_t block_elements, int compression, zstd=()):
        """Filter 32008. ``compression``: 0 none, 2 LZ4, 3 zstd, as the filter counts; ``zstd``: for that the addresses
        that `add_zstd` takes."""
        if itemsize < 1 or itemsize > 1 << 20 or block_elements < 0 or block_elements > 1 << 28:
            raise ValueError("impossible element or block size")
        if compression not in (FL_BSHUF_PLAIN, FL_BSHUF_LZ4) and not (compression == FL_BSHUF_ZSTD and zstd):
            raise ValueError("unknown compression, or no decoder for it")
        cdef fl_codecs codecs = self._codecs((), 0, zstd)
        cdef fl_stage *stage = self._new(FL_STAGE_BSHUF, 32008)
        stage.bshuf.elem = itemsize
        stage.bshuf.block = block_elements
        stage.bshuf.compression = compression
        stage.bshuf.codecs = codecs

    def add_blosc(self, libdeflate, size_t uncompress, zstd):
        """Filter 32001 by the addresses that `add_libdeflate` takes, or none of them and that of zlib's ``uncompress``,
        and those that `add_zstd` takes."""
        if not (libdeflate or uncompress) or not zstd:
            raise ValueError("no decoder")
        cdef fl_codecs codecs = self._codecs(libdeflate, uncompress, zstd)
        self._new(FL_STAGE_BLOSC, 32001).bshuf.codecs = codecs

    def add_codec(self, str name not None, size_t decoder):
        """A codec for whole chunks by the address of its function: "deflate" (filter 1, zlib's ``uncompress``) or
        "bzip2" (307, ``BZ2_bzBuffToBuffDecompress``)."""
        if not decoder:
            raise ValueError("no decoder")
        if name == "deflate":
            self._new(FL_STAGE_DEFLATE, 1).bshuf.codecs.uncompress = <fl_uncompress_fn>decoder
        elif name == "bzip2":
            self._new(FL_STAGE_BZIP2, 307).bshuf.codecs.bunzip2 = <fl_bunzip2_fn>decoder
        else:
            raise ValueError(f"unknown codec {name!r}")

    def add_libdeflate(self, size_t make, size_t decode, size_t drop):
        """Filter 1 by the addresses of libdeflate's ``libdeflate_alloc_decompressor``, ``libdeflate_zlib_decompress``
        and ``libdeflate_free_decompressor``."""
        cdef fl_codecs codecs = self._codecs((make, decode, drop), 0, ())
        self._new(FL_STAGE_DEFLATE, 1).bshuf.codecs = codecs

    def add_zstd(self, size_t make, size_t decode, size_t drop):
        """Filter 32015 by the addresses of ``ZSTD_createDCtx``, ``ZSTD_decompressDCtx`` and ``ZSTD_freeDCtx``."""
        cdef fl_codecs codecs = self._codecs((), 0, (make, decode, drop))
        self._new(FL_STAGE_ZSTD, 32015).bshuf.codecs = codecs

    cdef fl_codecs _codecs(self, libdeflate, size_t uncompress, zstd) except *:
        """Functions by their addresses; those that are not there are NULL."""
        cdef fl_codecs c
        cdef size_t make, decode, drop
        memset(&c, 0, sizeof(c))
        if any(not all(addresses) for addresses in (libdeflate, zstd)):
            raise ValueError("no decoder")
        c.uncompress = <fl_uncompress_fn>uncompress
        if libdeflate:
            make, decode, drop = libdeflate
            c.libdeflate.make = <void *(*)() noexcept nogil>make
            c.libdeflate.decode = <int (*)(void *, const void *, size_t, void *, size_t, size_t *) noexcept nogil>decode
            c.libdeflate.drop = <void (*)(void *) noexcept nogil>drop
        if zstd:
            make, decode, drop = zstd
            c.zstd.make = <void *(*)() noexcept nogil>make
            c.zstd.decode = <size_t (*)(void *, void *, size_t, const void *, size_t) noexcept nogil>decode
            c.zstd.drop = <size_t (*)(void *) noexcept nogil>drop
        return c

    def add_lz4(self):
        """Filter 32004."""
        self._new(FL_STAGE_LZ4, 32004)

    def add_shuffle(self, Py_ssize_t itemsize):
        """Filter 2."""
        if itemsize < 1:
            raise ValueError("impossible element size")
        self._new(FL_STAGE_SHUFFLE, 2).elem = itemsize

    def add_fletcher32(self):
        """Filter 3."""
        self._new(FL_STAGE_FLETCHER32, 3)

    def add_plugin(self, int number, size_t function, cd_values, Mutex mutex=None):
        """Any filter by the H5Z function at an address; with ``mutex`` one call at a time."""
        if not function or len(cd_values) > FL_MAX_CD:
            raise ValueError("no filter function, or too many client data values")
        cdef fl_stage *stage = self._new(FL_STAGE_PLUGIN, number)
        cdef Py_ssize_t i
        stage.plugin = <fl_h5z_fn>function
        stage.n_cd = len(cd_values)
        for i in range(<Py_ssize_t>stage.n_cd):
            stage.cd[i] = cd_values[i]
        if mutex is not None:
            self.keep += (mutex,)
            stage.one_at_a_time = &mutex.mutex

    def decode(self, const uint8_t[::1] data not None, uint8_t[::1] out not None, uint32_t mask=0):
        """Decode one stored chunk into ``out``, which has the size of the chunk. Bit i of ``mask``: filter i was
        skipped when the chunk was written."""
        cdef Py_ssize_t size = data.shape[0], expected = out.shape[0]
        cdef uint8_t empty = 0
        cdef const uint8_t *src = &data[0] if size else &empty
        cdef uint8_t *dst = &out[0] if expected else &empty
        cdef fl_error error
        cdef fl_blocks blocks
        cdef fl_buffer buf
        cdef int rc
        fl_error_clear(&error)
        with nogil:
            if fl_pipeline_is_blocks(&self.pipeline, mask):
                rc = fl_blocks_open(&blocks, &self.pipeline.stages[0].bshuf, src, size, expected, &error)
                if rc == FL_OK:
                    rc = fl_blocks_read(&blocks, &self.pipeline.stages[0].bshuf, 0, expected, dst, &error)
                    fl_blocks_close(&blocks)
            else:
                buf.room = size + 1
                buf.data = <uint8_t *>malloc(buf.room)
                if buf.data == NULL:
                    rc = fl_fail(&error, FL_NOMEM, b"")
                else:
                    memcpy(buf.data, src, size)
                    rc = fl_pipeline_undo(&self.pipeline, mask, NULL, &buf, size, dst, expected, &error)
                    free(buf.data)
        if rc:
            raise raised(&error)
