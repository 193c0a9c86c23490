# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""What a mount needs of the kernels: handles on open files, and the C functions that serve them.

C in ``csrc/fuse_ops.h``; how these modules are built up says ``_core.pyx``.
"""

from threading import Lock

from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from fastlegacy._c cimport *
from fastlegacy._codec cimport exception
from fastlegacy._view cimport PieceFile


cdef extern from "<sys/stat.h>" nogil:
    struct stat:
        pass

cdef extern from *:
    """
    #define FL_ATOMIC_GET(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    """
    int64_t FL_ATOMIC_GET(void *) noexcept nogil


def stat_bytes():
    """Size of C's ``struct stat`` on this machine."""
    return sizeof(stat)


cdef bytes _raw(str name):
    return name.encode("utf-8", "surrogateescape")


cdef class _Owner:
    """A stack or view, and how many handles on its files are open: closing is C's, which cannot let go of objects."""

    cdef fl_owner *owner
    cdef object source

    def __cinit__(self, source):
        self.source = source
        self.owner = <fl_owner *>calloc(1, sizeof(fl_owner))
        if self.owner == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.owner != NULL and FL_ATOMIC_GET(&self.owner.open) == 0:
            free(self.owner)


cdef class Handles:
    """The open files of a mount, and the C functions that serve them.

    The four addresses are functions of libfuse 2's operations table. The object has to live until the mount has
    ended. A stack lives as long as a file of it is open, and then until :meth:`take_errors` is called next.
    """

    cdef fl_mount *mount
    cdef dict owners
    cdef object guard
    cdef uint64_t swept

    def __cinit__(self):
        self.owners = {}
        self.guard = Lock()
        self.mount = <fl_mount *>calloc(1, sizeof(fl_mount))
        if self.mount == NULL:
            raise MemoryError
        pthread_mutex_init(&self.mount.lock, NULL)

    def __dealloc__(self):
        # after a lazy unmount libfuse's threads may be gone with handles still open: the counters must stay for them
        if self.mount != NULL and self.mount.counters.opened == <uint64_t>FL_ATOMIC_GET(&self.mount.counters.releases):
            pthread_mutex_destroy(&self.mount.lock)
            free(self.mount)

    @property
    def read_address(self):
        return <size_t>&fl_fuse_read

    @property
    def write_address(self):
        return <size_t>&fl_fuse_write

    @property
    def flush_address(self):
        return <size_t>&fl_fuse_flush

    @property
    def release_address(self):
        return <size_t>&fl_fuse_release

    cdef fl_handle *_new(self, bytes name) except NULL:
        cdef fl_handle *h = <fl_handle *>calloc(1, sizeof(fl_handle) + len(name) + 1)
        if h == NULL:
            raise MemoryError
        h.mount = self.mount
        h.fd = -1
        memcpy(h.name, <const char *>name, len(name))
        FL_ATOMIC_ADD(&self.mount.counters.opened, 1)
        return h

    def open_virtual(self, PieceFile file not None, str name not None, uint64_t version=0):
        """A handle on a virtual file: what goes into ``fi.fh``.

        ``version`` is that of all headers, a number that grows when one changes.
        """
        cdef fl_handle *h = NULL
        cdef _Owner owner
        with self.guard:
            owner = self.owners.get(id(file.source))
            if owner is None:
                owner = self.owners[id(file.source)] = _Owner(file.source)
            h = self._new(_raw(name))
            FL_ATOMIC_ADD(&owner.owner.open, 1)
            h.owner = owner.owner
        FL_ATOMIC_ADD(&file.file.users, 1)
        h.file, h.version = file.file, version
        fl_handle_enter(h)
        return <uintptr_t>h

    @property
    def sources(self):
        """The stacks and views that are kept for open files."""
        with self.guard:
            return [(<_Owner>owner).source for owner in self.owners.values()]

    cdef list _idle(self):
        """Take out the stacks without an open file; they are freed with the list, when no lock is held."""
        cdef uint64_t releases = <uint64_t>FL_ATOMIC_GET(&self.mount.counters.releases)
        if releases == self.swept:
            return []
        self.swept = releases
        with self.guard:
            found = [key for key, owner in self.owners.items() if FL_ATOMIC_GET(&(<_Owner>owner).owner.open) == 0]
            return [self.owners.pop(key) for key in found]

    def retire(self, str name not None, uint64_t version, int64_t size, PieceFile now=None):
        """Look at what was opened by this name before a version; the file has ``size`` bytes now, and is ``now``.

        Handles on a file of another size become stale: to read them is ESTALE. Those of which ``now`` has the same
        bytes count as opened in this version from here on. Returns how many have just become stale, and how many
        older ones there are, stale or not: their readers must not meet others in the kernel's cache.
        """
        cdef int stale
        cdef int others = fl_retire(self.mount, _raw(name), version, size, NULL if now is None else now.file, &stale)
        return stale, others

    def number(self, uintptr_t handle):
        """A number that no other handle of this mount ever has."""
        return (<fl_handle *>handle).number

    def is_settled(self, str name not None, uint64_t number):
        """Whether the kernel has used or closed the handle of this number: it has received its ``open``."""
        return bool(fl_is_settled(self.mount, _raw(name), number))

    def is_stale(self, uintptr_t handle):
        """Whether the file has another size by now."""
        return bool((<fl_handle *>handle).stale)

    def open_real(self, int fd):
        """A handle on a file of the real folder. It owns the descriptor from now on."""
        cdef fl_handle *h = self._new(b"")
        h.fd = fd
        return <uintptr_t>h

    def fd(self, uintptr_t handle):
        """The descriptor of a real file, -1 of a virtual one."""
        return (<fl_handle *>handle).fd

    def size(self, uintptr_t handle):
        """The size of a virtual file, -1 of a real one."""
        cdef fl_handle *h = <fl_handle *>handle
        return -1 if h.file == NULL else h.file.size

    def release(self, uintptr_t handle):
        """Close a handle. In a mount the function at ``release_address`` does it."""
        fl_handle_free(<fl_handle *>handle)

    def statistics(self):
        """What was served so far: calls, bytes and seconds by operation."""
        cdef fl_counters *c = &self.mount.counters
        return {
            "reads": c.reads, "read_bytes": c.read_bytes, "read_seconds": c.read_ns * 1e-9,
            "real_reads": c.real_reads, "real_read_bytes": c.real_read_bytes,
            "writes": c.writes, "write_bytes": c.write_bytes, "write_seconds": c.write_ns * 1e-9,
            "flushes": c.flushes, "opened": c.opened, "releases": c.releases, "errors": c.errors,
        }

    def take_errors(self):
        """Messages of the reads that failed since the last call; of very many only the first.

        Who calls it now and then also lets go of the stacks without an open file.
        """
        self._idle()
        cdef fl_failure *failures = <fl_failure *>malloc(FL_ERRORS * sizeof(fl_failure))
        cdef int n, i
        cdef uint64_t lost
        if failures == NULL:
            raise MemoryError
        with nogil:
            pthread_mutex_lock(&self.mount.lock)
            n, lost = self.mount.n_failures, self.mount.lost
            memcpy(failures, self.mount.failures, n * sizeof(fl_failure))
            self.mount.n_failures = 0
            self.mount.lost = 0
            pthread_mutex_unlock(&self.mount.lock)
        messages = []
        for i in range(n):
            name = failures[i].name.decode("utf-8", "surrogateescape")
            exc = exception(&failures[i].error, failures[i].place.decode("utf-8", "surrogateescape"))
            messages.append(f"{name}, bytes {failures[i].at} to {failures[i].at + failures[i].size}: {exc}")
        free(failures)
        if lost:
            messages.append(f"and {lost} more reads that failed")
        return messages
