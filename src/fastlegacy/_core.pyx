# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
# distutils: language = c
"""The kernels: stored chunks to pixels, pixels to any byte range of a virtual file, without the GIL.

Design, in three storeys:

a) ``csrc/*.h``: plain C on raw buffers, one theme a file, each building on those before it:
   status, visits, codecs, lz4, bitshuffle, blosclz, blosc, cache, filters, files, dataset, chunk_index, stack, sparse,
   convert, pixels, coded, splice, names, handles, opens, fuse_ops, fuse_loop. Errors by code.
b) ``_codec``, this module, ``_chunks``, ``_view``, ``_names``, ``_serve`` and ``_encode``: extension types that own
   the C structs, check what comes in, drop the GIL around the C call and turn codes into the exceptions of
   ``fastlegacy.errors``.
c) ``fastlegacy.hdf5`` and the faces: everything with names, paths and defaults.

What has C pointers into other objects, or frees something at its end, keeps its references until then
(``no_gc_clear``): a garbage collector that breaks a ring of objects would take them away before.

Two hooks lead from C back to Python, and take the GIL for it: ``prepare`` (a dataset's chunk map, once) and ``load``
(a chunk that only h5py can decode).
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strdup

import math
import threading

from fastlegacy._c cimport *
from fastlegacy._codec cimport Pipeline, raised, simd_level

cdef extern from "dataset.h" nogil:
    int fl_chunk_read(fl_dataset *, int64_t, size_t, size_t, uint8_t *, fl_error *)


# ---------------------------------------------------------------------------------------------------- sources

# bound of everything that is counted here in bytes or pixels: the sum of two such numbers still fits
cdef int64_t _LARGEST = 2 ** 62


@cython.no_gc_clear
cdef class Cache:
    """The chunks that are kept, up to a number of bytes."""

    def __cinit__(self, size_t max_bytes):
        fl_cache_init(&self.cache, max_bytes)

    def __dealloc__(self):
        fl_cache_free(&self.cache)

    @property
    def max_bytes(self):
        return self.cache.max_bytes

    @max_bytes.setter
    def max_bytes(self, size_t value):
        with nogil:
            fl_cache_set_max(&self.cache, value)

    @property
    def used_bytes(self):
        return self.cache.bytes

    @property
    def hits(self):
        return self.cache.hits

    @property
    def misses(self):
        return self.cache.misses

    @property
    def ahead_bytes(self):
        """Bytes of what was loaded before anybody has asked for it, and nobody has up to now."""
        return self.cache.ahead_bytes

    @property
    def ahead_max_bytes(self):
        """How many there may be."""
        return self.cache.max_bytes // FL_AHEAD_PART

    @property
    def ahead_loads(self):
        return self.cache.ahead_loads

    @property
    def ahead_hits(self):
        return self.cache.ahead_hits

    @property
    def patience_s(self):
        """For how long one reader waits for what another one loads; 0: for ever."""
        return self.cache.patience_ns * 1e-9

    @patience_s.setter
    def patience_s(self, double value):
        self.cache.patience_ns = <uint64_t>(value * 1e9)


@cython.no_gc_clear
cdef class Files:
    """The files that are read, with a bound on how many are open at a time."""

    cdef fl_files files

    def __cinit__(self, int max_open):
        fl_files_init(&self.files, max_open)

    def __dealloc__(self):
        fl_files_free(&self.files)

    def __len__(self):
        return self.files.used

    @property
    def open_files(self):
        return self.files.open

    @property
    def address(self):
        """Of the table in C."""
        return <size_t>&self.files

    @property
    def patience_s(self):
        """After how many seconds without an answer nobody else begins to wait for a file; 0: never."""
        return self.files.visits.patience_ns * 1e-9

    @patience_s.setter
    def patience_s(self, double value):
        self.files.visits.patience_ns = <uint64_t>(value * 1e9)

    @property
    def waiting_s(self):
        """For how long somebody waits for a file by now; 0: nobody does."""
        cdef uint64_t waited_ns
        with nogil:
            waited_ns = fl_files_waited(&self.files)
        return waited_ns * 1e-9

    def answers(self, bytes path not None, *, bint deep=False):
        """Whether a file's file system answers: False if others wait in vain. It may never come back itself.

        ``deep``: the file is opened and read, too.
        """
        cdef const char *raw = path
        cdef int answer
        with nogil:
            answer = fl_files_answer(&self.files, raw, deep)
        return bool(answer)

    def add(self, bytes path not None, uint64_t size, uint64_t inode, int64_t mtime_ns, *, bint growing=False):
        """A file from now on, for as long as the File is kept that comes back.

        The numbers say which file it has to be when it is opened; a growing one may get longer and newer.
        """
        cdef File file = File.__new__(File)
        file.number = fl_files_add(&self.files, path, growing, size, inode, mtime_ns)
        if file.number < 0:
            raise MemoryError
        file.table, file.growing = self, growing
        return file


@cython.no_gc_clear
cdef class File:
    """One of the files of a table; when nobody has this object any more, the file is closed and forgotten."""

    cdef Files table
    cdef int number
    cdef readonly bint growing
    cdef object __weakref__

    def __dealloc__(self):
        if self.table is not None:
            fl_files_remove(&self.table.files, self.number)

    def same(self, uint64_t size, uint64_t inode, int64_t mtime_ns):
        """Whether a file with these numbers is this one. A growing file must not be shorter again from then on."""
        return bool(fl_files_same(&self.table.files, self.number, size, inode, mtime_ns))

    def close_idle(self):
        """Close the file unless it is being read; it is opened again when needed."""
        fl_files_close_idle(&self.table.files, self.number)

    def rename(self, bytes path not None):
        """Open the file by another path from now on."""
        if fl_files_rename(&self.table.files, self.number, path):
            raise MemoryError


cdef void _note_python(fl_error *error, object exc) noexcept:
    cdef bytes text = str(exc).encode("utf-8", "replace")
    fl_fail(error, FL_PYTHON, text)


cdef int _prepare(fl_dataset *d, fl_error *error) noexcept with gil:
    try:
        (<Dataset>d.owner).prepare()
    except BaseException as exc:
        _note_python(error, exc)
        return FL_PYTHON
    return FL_OK


cdef int _load(fl_dataset *d, int64_t chunk, uint8_t *out, fl_error *error) noexcept with gil:
    cdef const uint8_t[::1] data
    try:
        data = (<Dataset>d.owner).loader(chunk)
        if <size_t>data.shape[0] != d.chunk_bytes:
            raise ValueError(f"{data.shape[0]} bytes where a chunk has {d.chunk_bytes}")
        memcpy(out, &data[0], d.chunk_bytes)
    except BaseException as exc:
        _note_python(error, exc)
        return FL_PYTHON
    return FL_OK


@cython.no_gc_clear
cdef class Dataset:
    """One dataset as it is stored.

    Parameters
    ----------
    name : str
        ``file::path``, for messages.
    shape, chunk : tuple of int
        Of the dataset; ``chunk`` equals ``shape`` where it is not chunked.
    fill : bytes
        Fill value, one element.
    files, cache : Files, Cache
    kind : {"contiguous", "chunked", "memory", "python"}
    file : File
        Of ``files``: where the bytes are.
    address : int or None
        Of a contiguous dataset; None where nothing was ever written.
    memory : bytes
        The bytes of a compact dataset.
    pipeline : Pipeline
    chunk_map : callable
        Gives (addresses, sizes, masks) of all chunks in C order of the grid: arrays of uint64, uint64, uint32;
        address 2**64-1 is a chunk that was never written. Called once, when first needed.
    loader : callable
        For kind "python": number of a chunk -> its bytes, decoded.
    """

    cdef fl_dataset dataset
    cdef object keep, fetch, loader, lock, arrays

    def __cinit__(self, str name not None, shape, chunk, bytes fill not None, Files files not None,
                  Cache cache not None, str kind not None, *, File file=None, address=None, bytes memory=None,
                  Pipeline pipeline=None, chunk_map=None, loader=None):
        cdef fl_dataset *d = &self.dataset
        cdef int k
        memset(d, 0, sizeof(self.dataset))
        if not 0 < len(shape) <= FL_MAX_DIMS or len(chunk) != len(shape) or not 0 < len(fill) <= 16:
            raise ValueError("impossible shape, chunk or fill value")
        if any(c < 1 for c in chunk) or any(s < 0 for s in shape):
            raise ValueError("impossible shape or chunk")
        d.id = <uint64_t><uintptr_t>d
        d.name = strdup(name.encode("utf-8", "surrogateescape"))
        kinds = {"contiguous": FL_CONTIGUOUS, "chunked": FL_CHUNKED, "memory": FL_MEMORY, "python": FL_BY_PYTHON}
        if kind not in kinds:
            raise ValueError(f"no such kind of storage: {kind!r}")
        if kind in ("contiguous", "memory") and any(c != max(1, n) for c, n in zip(chunk, shape)):
            raise ValueError("a dataset that is not chunked is one chunk of its own shape")
        if math.prod(chunk) * len(fill) > _LARGEST or math.prod(-(-n // c) for n, c in zip(shape, chunk)) > _LARGEST \
                or any(n > _LARGEST or c > _LARGEST for n, c in zip(shape, chunk)):
            raise ValueError("a dataset larger than any file")
        d.kind = kinds[kind]
        d.ndim = len(shape)
        d.itemsize = len(fill)
        d.chunk_bytes = d.itemsize
        d.n_chunks = 1
        for k in range(d.ndim):
            d.shape[k], d.chunk[k] = shape[k], chunk[k]
            d.grid[k] = (d.shape[k] + d.chunk[k] - 1) // d.chunk[k]
            d.n_chunks *= d.grid[k]
            d.chunk_bytes *= d.chunk[k]
        memcpy(d.fill, <const char *>fill, d.itemsize)
        if file is not None and file.table is not files:
            raise ValueError("a file of another table")
        if file is None and (d.kind == FL_CHUNKED or (d.kind == FL_CONTIGUOUS and address is not None)):
            raise ValueError("no such file")
        if d.kind == FL_MEMORY and (memory is None or <size_t>len(memory) < d.chunk_bytes):
            raise ValueError("compact dataset shorter than its shape")
        d.file = -1 if file is None else file.number
        d.address = <uint64_t>-1 if address is None else <uint64_t>address
        if memory is not None:
            d.memory = <const uint8_t *><const char *>memory
        if pipeline is not None:
            d.pipeline = pipeline.pipeline
        d.files = &files.files
        d.cache = &cache.cache
        d.owner = <void *>self
        d.prepare = _prepare
        d.load = _load
        d.ready = d.kind != FL_CHUNKED
        self.keep = (files, file, cache, memory, pipeline)  # not a list: a garbage collector empties those
        self.fetch, self.loader, self.lock = chunk_map, loader, threading.Lock()

    def __dealloc__(self):
        if self.dataset.cache != NULL:
            fl_cache_forget(self.dataset.cache, self.dataset.id)
            fl_cache_forget(self.dataset.cache, self.dataset.id + 1)  # blocks of blosc
        free(self.dataset.name)

    @property
    def chunk(self):
        """Shape of a chunk; the whole shape where the dataset is not chunked."""
        return tuple(self.dataset.chunk[k] for k in range(self.dataset.ndim))

    @property
    def grid(self):
        """Number of chunks along each axis."""
        return tuple(self.dataset.grid[k] for k in range(self.dataset.ndim))

    @property
    def allocated(self):
        """False for a contiguous dataset that was never written."""
        return self.dataset.kind != FL_CONTIGUOUS or self.dataset.address != <uint64_t>-1

    @property
    def address(self):
        """Where a contiguous dataset begins in its file; None where it is not contiguous, or was never written."""
        if self.dataset.kind != FL_CONTIGUOUS or not self.allocated:
            return None
        return self.dataset.address

    def chunk_map(self):
        """(addresses, sizes, masks) of all chunks, fetched if need be; None where the dataset has no chunk map."""
        if self.dataset.kind != FL_CHUNKED:
            return None
        self.prepare()
        return self.arrays

    def prepare(self):
        """Fetch the chunk map now; at once where it is there already."""
        cdef const uint64_t[::1] addresses, sizes
        cdef const uint32_t[::1] masks
        cdef int64_t n = self.dataset.n_chunks
        with self.lock:
            if self.dataset.ready:
                return
            addresses, sizes, masks = arrays = self.fetch()
            if addresses.shape[0] != n or sizes.shape[0] != n or masks.shape[0] != n:
                raise ValueError("the chunk map has not one row for each chunk")
            if n:
                self.dataset.addresses = &addresses[0]
                self.dataset.sizes = &sizes[0]
                self.dataset.masks = &masks[0]
            self.arrays = arrays
            FL_ATOMIC_SET(&self.dataset.ready, 1)

    def read(self, int64_t chunk, int64_t first_byte, uint8_t[::1] out not None):
        """Fill ``out`` with the decoded bytes of a chunk, from the given one on."""
        cdef size_t n = out.shape[0]
        cdef fl_error error
        cdef int rc
        if first_byte < 0 or n > self.dataset.chunk_bytes or <size_t>first_byte > self.dataset.chunk_bytes - n:
            raise IndexError(f"a chunk has {self.dataset.chunk_bytes} bytes")
        if n == 0:
            return
        fl_error_clear(&error)
        with nogil:
            rc = fl_dataset_ready(&self.dataset, &error)
            if rc:
                error.name = self.dataset.name
            else:
                rc = fl_chunk_read(&self.dataset, chunk, first_byte, first_byte + n, &out[0], &error)
        if rc:
            raise raised(&error)


@cython.no_gc_clear
cdef class Stack:
    """Frames over datasets; see ``csrc/stack.h`` for what a part is.

    Parameters
    ----------
    shape : tuple of int
        Leading axes, then ny, nx.
    fill : bytes
        One element, for where no part is.
    parts : sequence of (dataset or bytes, axes, base)
        ``axes``: for each axis of the stack (start, step, count, src_axis, src_start, src_step);
        ``base``: index along each axis of the dataset; bytes instead of a dataset: a constant.
    """

    def __cinit__(self, shape, bytes fill not None, parts):
        cdef fl_stack *s = &self.stack
        cdef int k
        memset(s, 0, sizeof(self.stack))
        if not 2 <= len(shape) <= FL_MAX_AXES or not 0 < len(fill) <= 16 or any(n < 1 for n in shape):
            raise ValueError("impossible shape or fill value")
        if math.prod(shape) * len(fill) > _LARGEST:
            raise ValueError("a stack larger than any file")
        s.n_axes = len(shape)
        s.frames = 1
        for k in range(s.n_axes):
            s.shape[k] = shape[k]
            if k < s.n_axes - 2:
                s.frames *= s.shape[k]
        s.ny, s.nx = s.shape[s.n_axes - 2], s.shape[s.n_axes - 1]
        s.itemsize = len(fill)
        memcpy(s.fill, <const char *>fill, s.itemsize)
        self.keep = []
        self.n_parts = len(parts)
        s.parts = <fl_part *>calloc(len(parts) + 1, sizeof(fl_part))
        if s.parts == NULL:
            raise MemoryError
        for number, (source, axes, base) in enumerate(parts):
            self._part(number, source, axes, base)
        self._index([axes[0] for _, axes, _ in parts])

    cdef int _part(self, Py_ssize_t number, source, axes, base) except -1:
        cdef fl_part *p = &self.stack.parts[number]
        cdef Dataset dataset = source if isinstance(source, Dataset) else None
        cdef fl_axis *a
        cdef int k
        cdef int64_t last
        if dataset is not None:
            if dataset.dataset.itemsize != self.stack.itemsize or len(base) != dataset.dataset.ndim:
                raise ValueError("a part's dataset does not fit the stack")
            p.dataset = &dataset.dataset
            self.keep.append(dataset)
            for k in range(dataset.dataset.ndim):
                p.base[k] = base[k]
                if not 0 <= p.base[k] < dataset.dataset.shape[k]:
                    raise ValueError("a part reaches outside its dataset")
        else:
            if <size_t>len(source) != self.stack.itemsize:
                raise ValueError("a constant has the size of an element")
            memcpy(p.fill, <const char *>source, self.stack.itemsize)
        if len(axes) != self.stack.n_axes:
            raise ValueError("a part has as many axes as the stack")
        for k in range(self.stack.n_axes):
            a = &p.axes[k]
            if any(abs(number) >= 1 << 31 for number in axes[k]):
                raise ValueError("a part reaches outside the stack")
            a.start, a.step, a.count, a.src_axis, a.src_start, a.src_step = axes[k]
            if a.start < 0 or a.step < 1 or a.count < 1 or a.start + a.step * (a.count - 1) >= self.stack.shape[k]:
                raise ValueError("a part reaches outside the stack")
            if dataset is None or a.src_axis < 0:
                a.src_axis = -1
                if dataset is not None and a.count != 1:
                    raise ValueError("an axis without an axis of the dataset has one place")
                continue
            last = a.src_start + a.src_step * (a.count - 1)
            if a.src_axis >= dataset.dataset.ndim or a.src_start < 0 or a.src_step < 1 \
                    or last >= dataset.dataset.shape[a.src_axis]:
                raise ValueError("a part reaches outside its dataset")
        return 0

    cdef int _index(self, first_axes) except -1:
        """Lists of the parts by place along the first axis: of all parts where the stack is a single frame."""
        cdef Py_ssize_t i
        cdef int one_frame = self.stack.n_axes == 2
        spans = [(0, 1) if one_frame else (a[0], a[0] + a[1] * (a[2] - 1) + 1) for a in first_axes]
        bounds = sorted({place for span in spans for place in span})
        number = {place: i for i, place in enumerate(bounds)}
        members = [[] for _ in bounds]
        for part, (start, stop) in enumerate(spans):
            for i in range(number[start], number[stop]):
                members[i].append(part)
        flat = [part for group in members for part in group]
        self.stack.bounds = <int64_t *>calloc(len(bounds) + 1, sizeof(int64_t))
        self.stack.first = <int64_t *>calloc(len(bounds) + 1, sizeof(int64_t))
        self.stack.members = <int64_t *>calloc(len(flat) + 1, sizeof(int64_t))
        if self.stack.bounds == NULL or self.stack.first == NULL or self.stack.members == NULL:
            raise MemoryError
        self.stack.n_bounds = len(bounds)
        for i in range(len(bounds)):
            self.stack.bounds[i] = bounds[i]
            self.stack.first[i + 1] = self.stack.first[i] + len(members[i])
        for i in range(len(flat)):
            self.stack.members[i] = flat[i]
        return 0

    def __dealloc__(self):
        free(self.stack.parts)
        free(self.stack.bounds)
        free(self.stack.first)
        free(self.stack.members)

    def prepare(self, int64_t first, int64_t last):
        """Fetch the chunk maps of the parts between two places along the first axis (both inclusive)."""
        cdef fl_stack *s = &self.stack
        cdef int64_t j, begin, end, unused
        cdef Dataset dataset
        if s.n_bounds == 0:
            return
        first, last = max(first, s.bounds[0]), min(last, s.bounds[s.n_bounds - 1] - 1)
        if first > last:
            return
        fl_members_at(s, first, &begin, &unused)
        fl_members_at(s, last, &unused, &end)
        for j in range(begin, end):
            if s.parts[s.members[j]].dataset != NULL and not s.parts[s.members[j]].dataset.ready:
                dataset = <Dataset>s.parts[s.members[j]].dataset.owner
                dataset.prepare()

    def read(self, int64_t first_pixel, uint8_t[::1] out not None):
        """Fill ``out`` with pixels, from the given one on, counted through all frames."""
        cdef int64_t n = out.shape[0] // self.stack.itemsize
        cdef fl_error error
        cdef int rc
        if <size_t>out.shape[0] % self.stack.itemsize:
            raise ValueError("out is not a whole number of pixels")
        if not 0 <= first_pixel <= _LARGEST:
            raise IndexError(f"no stack has a pixel {first_pixel}")
        if n == 0:
            return
        fl_error_clear(&error)
        with nogil:
            rc = fl_stack_read(&self.stack, first_pixel, first_pixel + n, &out[0], &error)
        if rc:
            raise raised(&error)

    def sparse(self, int64_t frame, uint64_t cut, const uint8_t[::1] mask, uint32_t[::1] indices not None,
               uint8_t[::1] values not None, str simd=None):
        """Find the pixels of a frame that are above ``cut``: unsigned ones of 1, 2 or 4 bytes, in native order.

        Parameters
        ----------
        mask : buffer of bytes or None
            One for each pixel; those that are not 0 leave a pixel out.
        indices, values : buffers
            With room for all pixels of a frame and one more; the first of them are filled.

        Returns
        -------
        int
            How many were found.
        """
        cdef int64_t n = self.stack.ny * self.stack.nx
        cdef int level = simd_level(simd), rc
        cdef fl_found found
        cdef fl_error error
        if self.stack.itemsize not in (1, 2, 4) or n >= 2 ** 32 or cut >> 8 * self.stack.itemsize:
            raise ValueError("pixels of 1, 2 or 4 bytes, fewer than 2**32 of them, and a cut that is one of them")
        if not 0 <= frame < self.stack.frames:
            raise IndexError(f"there is no frame {frame}")
        if indices.shape[0] <= n or values.shape[0] < (n + 1) * <int64_t>self.stack.itemsize \
                or (mask is not None and mask.shape[0] != n):
            raise ValueError("room for each pixel and one more, and a mask for each pixel")
        found.indices, found.values = &indices[0], &values[0]
        fl_error_clear(&error)
        with nogil:
            rc = fl_stack_sparse(&self.stack, frame, cut, &mask[0] if mask is not None else NULL, &found, level, &error)
        if rc:
            raise raised(&error)
        return found.n
