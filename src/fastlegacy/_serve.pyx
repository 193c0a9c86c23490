# SPDX-License-Identifier: MIT
# cython: auto_pickle=False, freethreading_compatible=True
"""What a mount needs of the kernels: handles on open files, and the C functions that serve them.

C in ``csrc/fuse_ops.h`` and ``csrc/names.h``; how these modules are built up says ``_core.pyx``.
"""

from os import strerror
from threading import Lock

cimport cython
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset, strdup

from fastlegacy._c cimport *
from fastlegacy._codec cimport exception
from fastlegacy._names cimport Names, raw_name
from fastlegacy._view cimport PieceFile


cdef extern from "<sys/stat.h>" nogil:
    struct stat:
        pass

cdef extern from *:
    """
    #define FL_ATOMIC_GET(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    """
    int64_t FL_ATOMIC_GET(void *) noexcept nogil

cdef extern from "Python.h" nogil:
    ctypedef struct PyThreadState:
        pass
    ctypedef enum PyGILState_STATE:
        pass
    PyGILState_STATE PyGILState_Ensure()
    void PyGILState_Release(PyGILState_STATE)
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *)

cdef extern from "fuse_xattr.h":
    """
    static void fl_serve(fl_mount *mount, fl_names *names)
    {
        fl_served.names = names;
        fl_served.mount = mount;
    }
    static uintptr_t fl_before(const char *slot, uintptr_t python)
    {
        const struct { const char *name; void *place; uintptr_t ours; } slots[] = {
            {"getattr", &fl_served.python.getattr, (uintptr_t)fl_fuse_getattr},
            {"fgetattr", &fl_served.python.fgetattr, (uintptr_t)fl_fuse_fgetattr},
            {"getxattr", &fl_served.python.getxattr, (uintptr_t)fl_fuse_getxattr},
            {"listxattr", &fl_served.python.listxattr, (uintptr_t)fl_fuse_listxattr},
            {"open", &fl_served.python.open, (uintptr_t)fl_fuse_open},
        };
        for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
            if (!strcmp(slots[i].name, slot)) {
                memcpy(slots[i].place, &python, sizeof python);
                return slots[i].ours;
            }
        return 0;
    }
    """
    void fl_serve(fl_mount *, fl_names *)
    uintptr_t fl_before(const char *, uintptr_t)

fl_crc_prepare()


def stat_bytes():
    """Size of C's ``struct stat`` on this machine."""
    return sizeof(stat)


@cython.no_gc_clear
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


@cython.no_gc_clear
cdef class Handles:
    """The open files of a mount, and the C functions that serve them.

    The addresses are functions of libfuse 2's operations table. The object has to live until the mount has
    ended. A stack lives as long as a file of it is open, and then until :meth:`take_errors` is called next.
    """

    cdef fl_mount *mount
    cdef dict owners
    cdef object guard
    cdef Names names
    cdef uint64_t prefetched_before

    def __cinit__(self):
        self.owners = {}
        self.guard = Lock()
        self.mount = <fl_mount *>calloc(1, sizeof(fl_mount))
        if self.mount == NULL:
            raise MemoryError
        pthread_mutex_init(&self.mount.lock, NULL)
        pthread_cond_init(&self.mount.news, NULL)

    def __del__(self):
        # a garbage collector calls this before it takes anything away, and empties `owners` then
        if self.mount != NULL:
            self.end_prefetch()
            self.unprepare()

    def __dealloc__(self):
        if self.mount != NULL:
            free(self.mount.asked)
            self.mount.asked = NULL
        # after a lazy unmount libfuse's threads may be gone with handles still open: the counters must stay for them
        if self.mount != NULL and self.mount.counters.opened == <uint64_t>FL_ATOMIC_GET(&self.mount.counters.releases):
            pthread_mutex_destroy(&self.mount.lock)
            pthread_cond_destroy(&self.mount.news)
            free(self.mount)

    def prefetch(self, int threads, int64_t window_bytes=1 << 27):
        """Let so many threads decode what readers in order will ask for next, until :meth:`end_prefetch`.

        The loop says who has read what. What is decoded goes to the cache of the stack; ``window_bytes``: no more than
        so many bytes of files before the reader.
        """
        cdef fl_ahead *ahead
        self.end_prefetch()
        if threads <= 0:
            return
        ahead = <fl_ahead *>calloc(1, sizeof(fl_ahead))
        if ahead == NULL:
            raise MemoryError
        fl_ahead_init(ahead, threads, max(1, window_bytes))
        self.mount.ahead = ahead

    def end_prefetch(self):
        """Forget what is still to be decoded, and let the threads end. The loop has ended, or has not begun."""
        cdef fl_ahead *ahead = <fl_ahead *>self.mount.ahead
        cdef int ended
        if ahead == NULL:
            return
        self.mount.ahead = NULL
        with nogil:
            ended = fl_ahead_stop(ahead)
        self.prefetched_before += ahead.frames
        if ended:  # else a disk hangs, and a thread will still look there
            free(ahead)

    def seen(self, uintptr_t handle, uint32_t thread, int64_t offset, int64_t size):
        """Say that a thread of a program has read ``size`` bytes of an open virtual file, as the loop does."""
        cdef fl_handle *h = <fl_handle *>handle
        if self.mount.ahead != NULL and h.file != NULL:
            with nogil:
                fl_ahead_seen(<fl_ahead *>self.mount.ahead, h, thread, offset, size)

    def wait_for_prefetch(self):
        """Wait until all that was to be decoded is. False if that takes longer than 30 s."""
        cdef int done = 1
        if self.mount.ahead != NULL:
            with nogil:
                done = fl_ahead_wait(<fl_ahead *>self.mount.ahead, 0)
        return bool(done)

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
    def fallocate_address(self):
        return <size_t>&fl_fuse_fallocate

    @property
    def release_address(self):
        return <size_t>&fl_fuse_release

    def serve(self, Names names, *, bint xattr=False):
        """Let the functions that tell attributes answer from what ``names`` is told; None: let Python answer all.

        ``xattr``: there are extended attributes, those of open files are told too.
        """
        self.names = names
        self.mount.xattr = xattr
        fl_serve(NULL, NULL)
        if names is not None:
            fl_serve(self.mount, names.names)

    @staticmethod
    def before(str slot not None, uintptr_t python):
        """The address of the C function that goes before Python's in a slot of libfuse's table; 0 if there is none."""
        return fl_before(slot.encode(), python)

    cdef fl_handle *_new(self, bytes name) except NULL:
        cdef fl_handle *h = fl_handle_new(self.mount, name)
        if h == NULL:
            raise MemoryError
        FL_ATOMIC_ADD(&self.mount.counters.opened, 1)
        return h

    def open_virtual(self, PieceFile file not None, str name not None, uint64_t version=0):
        """A handle on a virtual file: what goes into ``fi.fh``.

        ``version`` is that of all headers, a number that grows when one changes.
        """
        cdef fl_handle *h = self._new(raw_name(name))
        h.owner = self._owner(file)
        h.file, h.version = file.file, version
        fl_handle_enter(h)
        return <uintptr_t>h

    cdef fl_owner *_owner(self, PieceFile file):
        """What keeps the pixels of a file alive; one reference of that and one of the file are the caller's."""
        cdef _Owner owner
        with self.guard:
            owner = self.owners.get(id(file.source))
            if owner is None:
                owner = self.owners[id(file.source)] = _Owner(file.source)
            fl_file_keep(file.file, owner.owner)
        return owner.owner

    def prepare(self, str name not None, PieceFile file not None, uint64_t version, int64_t epoch, bint asks=False):
        """Have a file ready that will be opened soon: C opens it then without Python.

        Parameters
        ----------
        name : str
            The whole path.
        file : PieceFile
        version, epoch : int
            As they were before the file was made.
        asks : bool
            :meth:`wait_for_opens` is to return this name when the file is opened.
        """
        cdef fl_prepared p
        memset(&p, 0, sizeof(p))
        p.name = strdup(raw_name(name))
        if p.name == NULL:
            raise MemoryError
        p.owner = self._owner(file)
        p.file, p.version, p.epoch, p.asks = file.file, version, epoch, asks
        fl_prepared_enter(self.mount, p)

    def is_prepared(self, str name not None):
        """Whether a file is ready to be opened."""
        cdef bytes raw = raw_name(name)
        pthread_mutex_lock(&self.mount.lock)
        cdef bint found = fl_prepared_find(self.mount, raw) != NULL
        pthread_mutex_unlock(&self.mount.lock)
        return found

    def unprepare(self, str name=None):
        """Forget a file that was ready, or all of them."""
        cdef bytes raw
        if name is None:
            fl_prepared_forget(self.mount, NULL, 0, 1)
        else:
            raw = raw_name(name)
            fl_prepared_forget(self.mount, raw, 0, 0)

    def ask_for_opens(self, str name not None):
        """Say that files after this one will be opened, as C does when such a file is."""
        cdef bytes raw = raw_name(name)
        pthread_mutex_lock(&self.mount.lock)
        fl_ask(self.mount, raw)
        pthread_mutex_unlock(&self.mount.lock)

    def wait_for_opens(self):
        """The name of a file after which others will be opened; waits for it. None when it is over."""
        cdef char *name
        with nogil:
            name = fl_wait_asked(self.mount)
        if name == NULL:
            return None
        try:
            return name.decode("utf-8", "surrogateescape")
        finally:
            free(name)

    def end_opens(self):
        """Let who waits for the next file to prepare go; prepare no more."""
        pthread_mutex_lock(&self.mount.lock)
        self.mount.over = 1
        pthread_cond_broadcast(&self.mount.news)
        pthread_mutex_unlock(&self.mount.lock)
        self.unprepare()

    def name(self, uintptr_t handle):
        """The whole path by which a virtual file was opened."""
        return (<fl_handle *>handle).name.decode("utf-8", "surrogateescape")

    @property
    def sources(self):
        """The stacks and views that are kept for open files."""
        with self.guard:
            return [(<_Owner>owner).source for owner in self.owners.values()]

    cdef list _idle(self):
        """Take out the stacks without an open file; they are freed with the list, when no lock is held."""
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
        cdef bytes raw = raw_name(name)
        cdef int others = fl_retire(self.mount, raw, version, size, NULL if now is None else now.file, &stale)
        return stale, others

    def number(self, uintptr_t handle):
        """A number that no other handle of this mount ever has."""
        return (<fl_handle *>handle).number

    def is_settled(self, str name not None, uint64_t number):
        """Whether the kernel has used or closed the handle of this number: it has received its ``open``."""
        return bool(fl_is_settled(self.mount, raw_name(name), number))

    def is_stale(self, uintptr_t handle):
        """Whether the file has another size by now."""
        return bool((<fl_handle *>handle).stale)

    def open_real(self, int fd, *, bint writes=False):
        """A handle on a file of the real folder, which may be written by it. It owns the descriptor from now on."""
        cdef fl_handle *h = self._new(b"")
        h.fd, h.writes = fd, writes
        return <uintptr_t>h

    def follow(self, int fd):
        """Let who has the file open that is just being asked for, as a virtual one, read from a real one from now on.

        The descriptor stays the caller's; -1 changes nothing. Returns how many handles there were.
        """
        return fl_node_follow(self.mount, fd)

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
        cdef uint64_t prefetched = self.prefetched_before
        if self.mount.ahead != NULL:
            prefetched += <uint64_t>FL_ATOMIC_GET(&(<fl_ahead *>self.mount.ahead).frames)
        return {
            "reads": c.reads, "read_bytes": c.read_bytes, "read_seconds": c.read_ns * 1e-9,
            "real_reads": c.real_reads, "real_read_bytes": c.real_read_bytes,
            "writes": c.writes, "write_bytes": c.write_bytes, "write_seconds": c.write_ns * 1e-9,
            "flushes": c.flushes, "opened": c.opened, "releases": c.releases, "errors": c.errors,
            "attributes": c.attributes, "attributes_seconds": c.attributes_ns * 1e-9, "prefetched": prefetched,
            "native_opens": c.opens, "native_opens_seconds": c.opens_ns * 1e-9,
        }

    def take_errors(self):
        """Messages of the reads that failed since the last call; of very many only the first.

        Who calls it now and then also lets go of the stacks without an open file.
        """
        if self.names is not None:
            fl_prepared_forget(self.mount, NULL, self.names.epoch, 0)
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
            what = f"{name}, bytes {failures[i].at} to {failures[i].at + failures[i].size}: "
            if failures[i].error.code == FL_SILENT:
                what = ""
            messages.append(f"{what}{exc}")
        free(failures)
        if lost:
            messages.append(f"and {lost} more reads that failed")
        return messages


# ---------------------------------------------------------------------------------------------------- the loop

cdef struct _Attached:
    PyGILState_STATE state
    PyThreadState *thread


cdef void *_attach() noexcept nogil:
    # Python makes a new state of a thread for each call from a thread that it does not know, which takes long
    cdef _Attached *kept = <_Attached *>malloc(sizeof(_Attached))
    if kept != NULL:
        kept.state = PyGILState_Ensure()
        kept.thread = PyEval_SaveThread()
    return kept


cdef void _detach(void *attached) noexcept nogil:
    cdef _Attached *kept = <_Attached *>attached
    PyEval_RestoreThread(kept.thread)
    PyGILState_Release(kept.state)
    free(kept)


def channel_functions():
    """The address of what makes a channel of libfuse's (``struct fuse_chan_ops``) one that :func:`run_loop` can use."""
    return <size_t>fl_channel_functions()


def run_loop(int fd, size_t request_bytes, uintptr_t session, uintptr_t channel, functions, int workers,
             Handles handles, uintptr_t files):
    """Serve the requests of a mount until it is gone: reads by C, the others by libfuse.

    Parameters
    ----------
    fd, request_bytes : int
        Descriptor of libfuse's channel, and how large a request may be.
    session, channel : int
        Addresses of libfuse's objects; the channel is one with :func:`channel_functions`.
    functions : (int, int, int)
        Addresses of libfuse's ``fuse_session_process``, ``fuse_session_exited`` and ``fuse_session_exit``.
    workers : int
        How many threads stay when there is little to do.
    handles : Handles
        What is served.
    files : int
        Address of the table of source files, with their patience; 0: whoever waits for a source waits for ever.

    Returns
    -------
    int
        How many threads still wait for a source. All that they use has to be kept for ever.

    Raises
    ------
    OSError
        If the kernel's requests cannot be read.
    """
    cdef fl_loop *loop = <fl_loop *>calloc(1, sizeof(fl_loop))
    cdef uintptr_t process, exited, end
    cdef int code, left
    if loop == NULL:
        raise MemoryError
    process, exited, end = functions
    loop.fd, loop.request_bytes, loop.few = fd, request_bytes, max(1, min(workers, 32))
    loop.session, loop.channel = <void *>session, <void *>channel
    loop.process, loop.exited, loop.exit = <fl_process_fn>process, <fl_exited_fn>exited, <fl_exit_fn>end
    loop.attach, loop.detach = _attach, _detach
    loop.overdue.files, loop.overdue.mount = <fl_files *>files, handles.mount
    with nogil:
        code = fl_loop_run(loop)
    left = loop.left
    if not left:
        free(loop)
    if code:
        raise OSError(code, strerror(code))
    return left
