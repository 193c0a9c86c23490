# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""Frames as legacy files show them, and the bytes of those files.

The C is in ``csrc/pixels.h``, ``csrc/coded.h`` and ``csrc/splice.h``; how these modules are built up says
``_core.pyx``.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastlegacy._c cimport *
from fastlegacy._codec cimport raised, simd_level

# bound of everything that is counted here in bytes or pixels: the sum of two such numbers still fits
cdef int64_t _LARGEST = 2 ** 62
cdef int64_t _LONGEST = 2 ** 31

cdef tuple _TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")
cdef dict _CODECS = {"byte_offset": FL_BYTE_OFFSET, "agi_bitfield": FL_AGI_BITFIELD, "bruker100": FL_BRUKER}


# ---------------------------------------------------------------------------------------------------- pixels

cdef int _number(fl_number *out, bytes value, size_t size) except -1:
    if <size_t>len(value) != size:
        raise ValueError(f"{len(value)} bytes for a number of {size}")
    memset(out, 0, sizeof(fl_number))
    memcpy(out, <const char *>value, size)
    return 0


@cython.no_gc_clear
cdef class View:
    """What all files of a stack have in common: mask, binning, orientation. See ``csrc/pixels.h``.

    Parameters
    ----------
    stack : Stack
    cache : Cache
        For whole frames that have to be kept.
    dtype : str
        NumPy code of the stored pixels without byte order.
    swap : bool
        They have the byte order that this machine has not.
    mask : bytes-like, optional
        A class for each pixel of a stored frame: 0 valid, 1 gap, 2 bad. Without it, unsigned pixels whose bits are all
        set are gaps.
    binning : int
    transpose, flip_ud, flip_lr : bool
    simd : str, optional
        Level of the kernels; the best that this machine has.
    """

    def __cinit__(self, Stack stack not None, Cache cache not None, str dtype not None, bint swap=False, *,
                  mask=None, int64_t binning=1, bint transpose=False, bint flip_ud=False, bint flip_lr=False,
                  str simd=None):
        cdef fl_view *v = &self.view
        cdef const uint8_t[::1] classes
        cdef int64_t i
        if dtype not in _TYPES or fl_type_size(_TYPES.index(dtype)) != stack.stack.itemsize:
            raise ValueError(f"{dtype!r} is not the type of these pixels")
        if not 1 <= binning <= min(stack.stack.ny, stack.stack.nx) or binning > 64:
            raise ValueError(f"squares of {binning} x {binning} pixels cannot be made of these frames")
        if max(stack.stack.ny, stack.stack.nx) > _LONGEST:
            raise ValueError("frames larger than any detector")
        memset(v, 0, sizeof(fl_view))
        v.stack = &stack.stack
        v.type, v.swap = _TYPES.index(dtype), swap
        if mask is not None:
            classes = mask
            if classes.shape[0] != stack.stack.ny * stack.stack.nx:
                raise ValueError("a mask has a class for each pixel of a frame")
            for i in range(classes.shape[0]):
                if classes[i] > 2:
                    raise ValueError(f"a mask has no class {classes[i]}")
            v.mask = &classes[0]
            mask = classes  # as long as it is there, nobody can move its bytes
        v.by_value = mask is None and dtype[0] == "u"
        v.side = binning
        v.by, v.bx = stack.stack.ny // binning, stack.stack.nx // binning
        v.transpose, v.flip_ud, v.flip_lr = transpose, flip_ud, flip_lr
        v.ny, v.nx = (v.bx, v.by) if transpose else (v.by, v.bx)
        v.cache = &cache.cache
        v.simd = simd_level(simd)
        self.stack, self.cache, self.mask, self.coders = stack, cache, mask, {}

    def __dealloc__(self):
        cdef fl_coder *coder
        if self.coders is not None:
            for address in self.coders.values():
                coder = <fl_coder *><uintptr_t>address
                fl_cache_forget(self.view.cache, coder.form.id)
                fl_cache_forget(self.view.cache, coder.form.id + 1)
                free(coder)

    @property
    def shape(self):
        """(ny, nx) of a frame as it is seen."""
        return self.view.ny, self.view.nx

    @property
    def source_dtype(self):
        """NumPy code of what forms are made from: of the stored pixels, or of their sums."""
        if self.view.side == 1:
            return _TYPES[self.view.type]
        return "f8" if _TYPES[self.view.type][0] == "f" else "i8"

    cdef fl_coder *coder(self, how) except NULL:
        """The coder for (codec or None, form): made once, so that the cache knows what it has of it."""
        address = self.coders.get(how)
        if address is not None:
            return <fl_coder *><uintptr_t>address
        cdef fl_coder *c = <fl_coder *>calloc(1, sizeof(fl_coder))
        if c == NULL:
            raise MemoryError
        try:
            self._fill(<uintptr_t>c, *how)
        except BaseException:
            free(c)
            raise
        # two threads may get here at once: the first one's stays
        kept = self.coders.setdefault(how, <uintptr_t>c)
        if <uintptr_t>kept != <uintptr_t>c:
            free(c)
        return <fl_coder *><uintptr_t>kept

    def _fill(self, uintptr_t address, codec, to, bint swap, shape, at, gap, bad, nan, pad, low, high, least, most,
              int64_t add, bint is_error):
        cdef fl_coder *c = <fl_coder *>address
        cdef fl_form *f = &c.form
        cdef fl_conversion *convert = &f.convert
        cdef size_t source_size, size
        if codec is not None and (codec not in _CODECS or to != "i4" or swap):
            raise ValueError("codecs take signed pixels of 32 bits")
        c.codec = _CODECS.get(codec, 0)
        f.id = <uint64_t>address
        f.view = &self.view
        f.ny, f.nx = shape
        f.y, f.x = at
        if not (0 <= f.y <= _LONGEST and f.y + self.view.ny <= f.ny <= _LONGEST and 0 <= f.x <= _LONGEST
                and f.x + self.view.nx <= f.nx <= _LONGEST):
            raise ValueError("the frame has no room for the image")
        if f.ny * f.nx > _LARGEST // 8:
            raise ValueError("a frame larger than any file")
        convert.source, convert.to = _TYPES.index(self.source_dtype), _TYPES.index(to)
        convert.swap = swap
        source_size, size = fl_type_size(convert.source), fl_type_size(convert.to)
        convert.has_gap, convert.has_bad = gap is not None, bad is not None
        if gap is not None:
            _number(&convert.gap, gap, size)
        if bad is not None:
            _number(&convert.bad, bad, size)
        _number(&convert.nan, nan, size)
        _number(&f.pad, pad, size)
        _number(&convert.low, low, source_size)
        _number(&convert.high, high, source_size)
        _number(&convert.least, least, size)
        _number(&convert.most, most, size)
        convert.add, convert.is_error = add, is_error

    cdef int64_t _check_frame(self, int64_t frame) except -1:
        if not 0 <= frame < self.stack.stack.frames:
            raise IndexError(f"frame {frame} of a stack of {self.stack.stack.frames}")
        return frame

    def develop(self, int64_t frame, how, uint8_t[::1] out not None):
        """Fill ``out`` with a frame in a form."""
        cdef fl_coder *c = self.coder(how)
        cdef fl_error error
        cdef int rc
        self._check_frame(frame)
        if <size_t>out.shape[0] != <size_t>(c.form.ny * c.form.nx) * fl_type_size(c.form.convert.to):
            raise ValueError("out has not the size of the frame")
        fl_error_clear(&error)
        with nogil:
            rc = fl_framed_read(&c.form, frame, 0, c.form.ny * c.form.nx, &out[0], &error)
        if rc:
            raise raised(&error)

    def measure(self, int64_t frame, how):
        """How large a frame becomes: (bytes, entries of Bruker's 16-bit and 32-bit tables)."""
        cdef fl_coder *c = self.coder(how)
        cdef fl_measured measured
        cdef fl_error error
        cdef int rc
        self._check_frame(frame)
        if how[0] is None:
            raise ValueError("only coded pixels are measured")
        fl_error_clear(&error)
        with nogil:
            rc = fl_measure(c, frame, &measured, &error)
        if rc:
            raise raised(&error)
        return measured.size, measured.n16, measured.n32

    def encoded(self, int64_t frame, int64_t size, how):
        """A frame through its codec; it stays in the cache for who reads it next."""
        cdef fl_coder *c = self.coder(how)
        cdef fl_error error
        cdef int rc
        cdef uint8_t[::1] out
        self._check_frame(frame)
        if how[0] is None or not 0 < size <= _LARGEST:
            raise ValueError("coded pixels have a codec and a size")
        data = bytearray(size)
        out = data
        fl_error_clear(&error)
        with nogil:
            rc = fl_coded_read(c, frame, size, 0, size, &out[0], 0, &error)
        if rc:
            raise raised(&error)
        return data


# ---------------------------------------------------------------------------------------------------- virtual files

@cython.no_gc_clear
cdef class PieceFile:
    """The bytes of a virtual file.

    Parameters
    ----------
    source : Stack or View
        A view where pieces have forms or codecs.
    pieces : sequence of tuple
        ``("literal", bytes)``, ``("padding", size, value)``, ``("pixels", first_frame, frames, swap)``,
        ``("formed", first_frame, frames, how)`` or ``("coded", frame, size, how)``, where ``how`` is what
        ``fastlegacy.index.conversion`` makes of a form.
    """

    def __cinit__(self, source not None, pieces):
        cdef View view = source if isinstance(source, View) else None
        cdef Stack stack = source if view is None else view.stack
        cdef fl_piece *p
        self.source = source
        self.file = <fl_vfile *>calloc(1, sizeof(fl_vfile))
        if self.file == NULL:
            raise MemoryError
        self.file.users = 1
        self.file.stack = &stack.stack
        pieces = tuple(pieces)
        self.file.pieces = <fl_piece *>calloc(len(pieces) + 1, sizeof(fl_piece))
        if self.file.pieces == NULL:
            raise MemoryError
        for kind, *rest in pieces:
            p = &self.file.pieces[self.file.n_pieces]
            p.start = self.file.size
            self._piece(p, stack, view, kind, rest)
            self.file.n_pieces += 1
            if self.file.size > _LARGEST - p.size:
                raise ValueError("a file larger than any file can be")
            self.file.size += p.size

    cdef int _piece(self, fl_piece *p, Stack stack, View view, str kind, rest) except -1:
        if kind == "literal":
            (literal,) = rest
            p.kind = FL_LITERAL
            self._literal(p, literal)
            return 0
        if kind == "padding":
            size, value = rest
            if size < 0:
                raise ValueError("padding of a negative size")
            p.kind = FL_PADDING
            p.size, p.value = size, value
            return 0
        if kind not in ("pixels", "formed", "coded"):
            raise ValueError(f"no such piece: {kind!r}")
        first, frames, how = rest if kind != "coded" else (rest[0], 1, rest[2])
        if not 0 <= first <= first + frames <= stack.stack.frames:
            raise IndexError(f"frames {first} to {first + frames} of a stack of {stack.stack.frames}")
        p.first_frame = first
        if kind == "pixels":
            p.kind, p.swap = FL_PIXELS, bool(how)
            p.size = frames * stack.stack.ny * stack.stack.nx * stack.stack.itemsize
            return 0
        if view is None:
            raise ValueError("only a view has forms")
        p.coder = view.coder(how)
        if kind == "formed":
            p.kind = FL_FORMED
            frame_bytes = p.coder.form.ny * p.coder.form.nx * <object>fl_type_size(p.coder.form.convert.to)
            if (first + frames) * frame_bytes > _LARGEST:
                raise ValueError("a file larger than any file can be")
            p.size = frames * frame_bytes
            return 0
        if how[0] is None or not 0 < rest[1] <= _LARGEST:
            raise ValueError("coded pixels have a codec and a size")
        p.kind, p.size = FL_CODED, rest[1]
        return 0

    cdef int _literal(self, fl_piece *p, bytes data) except -1:
        cdef uint8_t *copy = <uint8_t *>malloc(len(data) + 1)
        if copy == NULL:
            raise MemoryError
        memcpy(copy, <const char *>data, len(data))
        p.data, p.size = copy, len(data)
        return 0

    def __dealloc__(self):
        if self.file != NULL:
            fl_vfile_release(self.file)

    @property
    def size(self):
        return self.file.size

    def read_into(self, uint8_t[::1] buffer not None, int64_t offset=0):
        """Fill the buffer from a byte of the file on; returns how many bytes there were."""
        cdef size_t size = buffer.shape[0]
        cdef fl_error error
        cdef int64_t n
        if offset < 0:
            raise ValueError("an offset before the start of the file")
        if size == 0:
            return 0
        fl_error_clear(&error)
        with nogil:
            n = fl_vfile_read(self.file, &buffer[0], size, offset, &error)
        if n < 0:
            raise raised(&error)
        return n
