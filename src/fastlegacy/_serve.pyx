# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""What a mount needs of the kernels: handles on open files, and the C functions that serve them.

C in ``csrc/fuse_ops.h``; how these modules are built up says ``_core.pyx``.
"""

from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from fastlegacy._c cimport *
from fastlegacy._codec cimport exception
from fastlegacy._view cimport PieceFile


cdef extern from "<sys/stat.h>" nogil:
    struct stat:
        pass


def stat_bytes():
    """Size of C's ``struct stat`` on this machine."""
    return sizeof(stat)


cdef class Handles:
    """The open files of a mount, and the C functions that serve them.

    The four addresses are functions of libfuse 2's operations table. The object, and with it every stack that was
    opened through it, has to live until the mount has ended.
    """

    cdef fl_mount *mount
    cdef set stacks

    def __cinit__(self):
        self.mount = <fl_mount *>calloc(1, sizeof(fl_mount))
        if self.mount == NULL:
            raise MemoryError
        pthread_mutex_init(&self.mount.lock, NULL)
        self.stacks = set()

    def __dealloc__(self):
        # after a lazy unmount libfuse's threads may be gone with handles still open: the counters must stay for them
        if self.mount != NULL and self.mount.counters.opened == self.mount.counters.releases:
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

    cdef fl_handle *_new(self, str name) except NULL:
        cdef fl_handle *h = <fl_handle *>calloc(1, sizeof(fl_handle))
        cdef bytes raw = name.encode("utf-8", "surrogateescape")[: FL_NAME - 1]
        if h == NULL:
            raise MemoryError
        h.mount = self.mount
        h.fd = -1
        memcpy(h.name, <const char *>raw, len(raw))
        FL_ATOMIC_ADD(&self.mount.counters.opened, 1)
        return h

    def open_virtual(self, PieceFile file not None, str name not None):
        """A handle on a virtual file: what goes into ``fi.fh``."""
        cdef fl_handle *h = self._new(name)
        FL_ATOMIC_ADD(&file.file.users, 1)
        h.file = file.file
        self.stacks.add(file.source)
        return <uintptr_t>h

    def open_real(self, int fd):
        """A handle on a file of the real folder. It owns the descriptor from now on."""
        cdef fl_handle *h = self._new("")
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
        FL_ATOMIC_ADD(&self.mount.counters.releases, 1)
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
        """Messages of the reads that failed since the last call; of very many only the first."""
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
