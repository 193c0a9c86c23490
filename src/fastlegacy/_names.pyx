# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""What C may tell of virtual files without Python: names, sizes, listings.

C in ``csrc/names.h``; how these modules are built up says ``_core.pyx``.
"""

from array import array

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc
from libc.string cimport strdup

from fastlegacy._c cimport *

fl_crc_prepare()


@cython.no_gc_clear
cdef class Names:
    """What C may tell of virtual files without Python, for as long as a number stays the same. See ``csrc/names.h``.

    Parameters
    ----------
    dirfd : int
        Of the real folder; it stays the caller's.
    epoch : address
        Of 8 bytes: a number that grows before anybody relies on a change.
    uid, gid, mode, block_bytes : int
        Of every virtual file.
    gives_away : bool
        Virtual folders belong to the owner of the real folder above them, not to this process.
    keep : object
        What has to live as long.
    """

    def __cinit__(self, int dirfd, uintptr_t epoch, *, uint32_t uid, uint32_t gid, uint32_t mode,
                  uint32_t block_bytes, bint gives_away=False, keep=None):
        self.names = <fl_names *>calloc(1, sizeof(fl_names))
        if self.names == NULL:
            raise MemoryError
        pthread_mutex_init(&self.names.lock, NULL)
        self.names.dirfd, self.names.epoch = dirfd, <const int64_t *>epoch
        self.names.uid, self.names.gid, self.names.mode, self.names.block_bytes = uid, gid, mode, block_bytes
        self.names.gives_away = gives_away
        self.keep = keep

    def __dealloc__(self):
        if self.names != NULL:
            fl_names_free(self.names)

    @property
    def epoch(self):
        """The number at this moment."""
        return fl_epoch(self.names)

    def knows(self, str path not None):
        """Whether what was told of a folder still holds."""
        cdef bytes raw = raw_name(path)
        cdef fl_listing *told = fl_listing_take(self.names, raw, len(raw))
        if told == NULL:
            return False
        fl_listing_leave(self.names, told)
        return True

    def tell(self, str path not None, int64_t epoch, uint64_t version, uint32_t seed, series, *, int64_t folders=0,
             uint64_t inode=0):
        """Tell of all virtual files in a folder.

        Parameters
        ----------
        path : str
            Of the folder, ``"/"`` or ``"/a/b"``.
        epoch, version : int
            Both as they were before anything of this was looked for.
        seed : int
            CRC-32 of all that comes before the name, for inode numbers.
        series : sequence of tuple
            ``(stem, ending, numbered, digits, first, count, reverse, size, mtime_ns)``; ``size`` is -1 where files
            differ: such sizes are told by :meth:`learn`.
        folders : int
            How many virtual folders are in it.
        inode : int
            Inode number of the folder; 0: that of the real one, which is always there.
        """
        cdef fl_listing *told = <fl_listing *>calloc(1, sizeof(fl_listing))
        if told == NULL:
            raise MemoryError
        try:
            told.path = strdup(raw_name(path))
            told.epoch, told.version, told.seed = epoch, version, seed
            told.folders, told.inode, told.mtime_ns = folders, inode, FL_NO_TIME
            told.series = <fl_series *>calloc(len(series) + 1, sizeof(fl_series))
            if told.path == NULL or told.series == NULL:
                raise MemoryError
            for row in series:
                self._series(&told.series[told.n], row)
                told.n += 1
        except BaseException:
            told.n += 1 if told.series != NULL else 0  # what was begun is freed too
            fl_listing_free(told)
            raise
        fl_listing_enter(self.names, told)

    cdef int _series(self, fl_series *s, row) except -1:
        stem, ending, numbered, digits, first, count, reverse, size, mtime_ns = row
        cdef bytes raw_stem = raw_name(stem), raw_ending = raw_name(ending)
        if not 0 <= first <= first + count < 2 ** 62 or not 0 <= digits <= 20 or (not numbered and count > 1):
            raise ValueError("impossible names")
        s.stem_bytes, s.ending_bytes = len(raw_stem), len(raw_ending)
        s.stem, s.ending = strdup(raw_stem), strdup(raw_ending)
        s.numbered, s.digits, s.first, s.count, s.reverse = numbered, digits, first, count, reverse
        s.size, s.mtime_ns = size, mtime_ns
        if size < 0:
            s.sizes = <int64_t *>calloc(count + 1, sizeof(int64_t))
        if s.stem == NULL or s.ending == NULL or (size < 0 and s.sizes == NULL):
            raise MemoryError
        return 0

    def learn(self, str path not None, const int64_t[::1] sizes, int64_t epoch):
        """Tell the sizes of some files, which were looked for when the number was ``epoch``.

        Parameters
        ----------
        path : str
            Of the first of them.
        sizes : ndarray of int64
            Of this file and of those that follow it; -1 where it is not known.
        epoch : int
        """
        if sizes.shape[0]:
            fl_names_learn(self.names, raw_name(path), &sizes[0], sizes.shape[0], epoch)

    def learn_folder(self, str path not None, int64_t mtime_ns, int64_t epoch):
        """Tell when a virtual folder was modified, nanoseconds since 1970, found when the number was ``epoch``."""
        fl_names_learn_folder(self.names, raw_name(path), mtime_ns, epoch)

    def listing(self, str path not None, entries, taken):
        """Begin to list a folder: first some entries, then the virtual files, all as they are now.

        Parameters
        ----------
        path : str
        entries : sequence of (str, int, int)
            Name, type and inode number of what comes first.
        taken : set of str
            Names of virtual files that are not shown.

        Returns
        -------
        Listing or None
            None: nothing is known of the folder.
        """
        cdef bytes raw = raw_name(path)
        cdef Listing listing = Listing.__new__(Listing)
        listing.told = fl_listing_take(self.names, raw, len(raw))
        if listing.told == NULL:
            return None
        listing.names = self
        listing.entries = [(raw_name(name), kind, inode) for name, kind, inode in entries]
        listing.without = [_indices(&listing.told.series[k], taken) for k in range(listing.told.n)]
        return listing


cdef _indices(fl_series *s, taken):
    """Those of a series that have these names, in order, and one number more."""
    found = []
    for name in taken:
        raw = raw_name(name)
        index = fl_series_index(s, raw, len(raw))
        if index >= 0:
            found.append(index)
    return array("q", [*sorted(found), 0])


@cython.no_gc_clear
cdef class Listing:
    """One listing of a folder, which is handed over in parts: what is in it is computed, and not kept anywhere."""

    cdef Names names
    cdef fl_listing *told
    cdef list entries, without

    def __dealloc__(self):
        if self.told != NULL:
            fl_listing_leave(self.names.names, self.told)

    def fill(self, uintptr_t filler, uintptr_t buffer, int64_t place):
        """Hand over entries by libfuse's own function until its buffer is full.

        Parameters
        ----------
        filler, buffer : int
            Addresses that libfuse gave.
        place : int
            Where to go on: 0, or what was told with the last entry that was taken.
        """
        cdef const int64_t[::1] without
        cdef int64_t n, begin = len(self.entries), end
        cdef int number, full
        if place < 0:
            return
        for name, kind, inode in self.entries[place:]:
            place += 1
            if fl_fill_one(<fl_filler>filler, <void *>buffer, name, kind, inode, place):
                return
        for number in range(self.told.n):
            indices = self.without[number]
            without, n, end = indices, len(indices) - 1, begin + self.told.series[number].count
            if place < end:
                with nogil:
                    full = fl_fill_series(self.told, number, place - begin, begin, &without[0], n, <fl_filler>filler,
                                          <void *>buffer)
                if full:
                    return
                place = end
            begin = end
