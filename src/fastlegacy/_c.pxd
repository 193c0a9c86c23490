# SPDX-License-Identifier: MIT
"""What the Cython modules use of the C headers in ``csrc/``."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "status.h" nogil:
    enum:
        FL_OK
        FL_CORRUPT
        FL_CHECKSUM
        FL_SHORT
        FL_SYSTEM
        FL_CHANGED
        FL_NOMEM
        FL_PYTHON
        FL_BEYOND
        FL_RESIZED
        FL_SILENT
    ctypedef struct fl_error:
        int code
        int sys_errno
        const char *name
        int64_t chunk
        int64_t frame
        char *detail
    void fl_error_clear(fl_error *)
    void fl_error_text(const fl_error *, char *, size_t)
    int fl_fail(fl_error *, int, const char *)

cdef extern from "codecs.h" nogil:
    ctypedef int (*fl_uncompress_fn)(uint8_t *, unsigned long *, const uint8_t *, unsigned long)
    ctypedef int (*fl_bunzip2_fn)(char *, unsigned *, char *, unsigned, int, int)
    ctypedef struct fl_libdeflate:
        void *(*make)() noexcept nogil
        int (*decode)(void *, const void *, size_t, void *, size_t, size_t *) noexcept nogil
        void (*drop)(void *) noexcept nogil
    ctypedef struct fl_zstd:
        void *(*make)() noexcept nogil
        size_t (*decode)(void *, void *, size_t, const void *, size_t) noexcept nogil
        size_t (*drop)(void *) noexcept nogil
    ctypedef struct fl_codecs:
        fl_zstd zstd
        fl_libdeflate libdeflate
        fl_uncompress_fn uncompress
        fl_bunzip2_fn bunzip2

cdef extern from "bitshuffle.h" nogil:
    enum:
        FL_BSHUF_PLAIN
        FL_BSHUF_LZ4
        FL_BSHUF_ZSTD
    int fl_simd_best()
    const char *fl_simd_vector_name()
    size_t FL_LZ4_SLACK
    int fl_lz4(const uint8_t *, size_t, uint8_t *, size_t, size_t, int)
    int fl_lz4_rows_of(const uint8_t *, size_t, uint8_t *, size_t, size_t, size_t *, int)
    ctypedef struct fl_bshuf:
        size_t elem
        size_t block
        int compression
        fl_codecs codecs
        int simd
    ctypedef struct fl_blocks:
        uint64_t *starts
    int fl_blocks_open(fl_blocks *, const fl_bshuf *, const uint8_t *, size_t, size_t, fl_error *)
    int fl_blocks_read(const fl_blocks *, const fl_bshuf *, size_t, size_t, uint8_t *, fl_error *)
    void fl_blocks_close(fl_blocks *)
    void fl_unbitshuffle(const uint8_t *, size_t, size_t, uint8_t *, uint8_t *, int, size_t)
    void fl_unshuffle(const uint8_t *, size_t, size_t, uint8_t *, int)

cdef extern from "cache.h" nogil:
    enum:
        FL_AHEAD_PART
    ctypedef struct fl_cache:
        size_t bytes
        size_t max_bytes
        uint64_t hits
        uint64_t misses
        size_t ahead_bytes
        uint64_t ahead_loads
        uint64_t ahead_hits
        uint64_t patience_ns
    void fl_cache_init(fl_cache *, size_t)
    void fl_cache_free(fl_cache *)
    void fl_cache_set_max(fl_cache *, size_t)
    void fl_cache_forget(fl_cache *, uint64_t)

cdef extern from "filters.h" nogil:
    enum:
        FL_MAX_FILTERS
        FL_MAX_CD
        FL_STAGE_BSHUF
        FL_STAGE_BLOSC
        FL_STAGE_LZ4
        FL_STAGE_DEFLATE
        FL_STAGE_BZIP2
        FL_STAGE_ZSTD
        FL_STAGE_SHUFFLE
        FL_STAGE_FLETCHER32
        FL_STAGE_PLUGIN
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_cond_init(pthread_cond_t *, void *)
    int pthread_cond_destroy(pthread_cond_t *)
    int pthread_cond_broadcast(pthread_cond_t *)
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_destroy(pthread_mutex_t *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    ctypedef size_t (*fl_h5z_fn)(unsigned, size_t, const unsigned *, size_t, size_t *, void **)
    ctypedef struct fl_stage:
        int kind
        int id
        unsigned *cd
        size_t n_cd
        size_t elem
        fl_bshuf bshuf
        fl_h5z_fn plugin
        pthread_mutex_t *one_at_a_time
    ctypedef struct fl_pipeline:
        fl_stage *stages
        int n
    uint32_t fl_fletcher32(const uint8_t *, size_t)
    ctypedef struct fl_buffer:
        uint8_t *data
        size_t room
    int fl_pipeline_undo(const fl_pipeline *, uint32_t, fl_cache *, fl_buffer *, size_t, uint8_t *, size_t, fl_error *)
    int fl_pipeline_is_blocks(const fl_pipeline *, uint32_t)

cdef extern from "files.h" nogil:
    ctypedef struct fl_visits:
        uint64_t patience_ns
    ctypedef struct fl_files:
        fl_visits visits
        int n
        int used
        int open
        int max_open
    void fl_files_init(fl_files *, int)
    void fl_files_free(fl_files *)
    int fl_files_add(fl_files *, const char *, int, uint64_t, uint64_t, int64_t)
    void fl_files_remove(fl_files *, int)
    int fl_files_same(fl_files *, int, uint64_t, uint64_t, int64_t)
    int fl_files_rename(fl_files *, int, const char *)
    void fl_files_close_idle(fl_files *, int)
    uint64_t fl_files_waited(fl_files *)
    int fl_files_answer(fl_files *, const char *, int)

cdef extern from "dataset.h" nogil:
    enum:
        FL_MAX_DIMS
        FL_CONTIGUOUS
        FL_CHUNKED
        FL_MEMORY
        FL_BY_PYTHON
    ctypedef struct fl_dataset:
        uint64_t id
        char *name
        int kind
        int ndim
        int64_t *shape
        int64_t *chunk
        int64_t *grid
        size_t itemsize
        size_t chunk_bytes
        uint8_t *fill
        int file
        uint64_t address
        const uint8_t *memory
        const uint64_t *addresses
        const uint64_t *sizes
        const uint32_t *masks
        int64_t n_chunks
        fl_pipeline pipeline
        fl_files *files
        fl_cache *cache
        void *owner
        int ready
        int (*prepare)(fl_dataset *, fl_error *) noexcept nogil
        int (*load)(fl_dataset *, int64_t, uint8_t *, fl_error *) noexcept nogil
    int fl_dataset_ready(fl_dataset *, fl_error *)

cdef extern from "stack.h" nogil:
    enum:
        FL_MAX_AXES
    ctypedef struct fl_axis:
        int64_t start
        int64_t step
        int64_t count
        int64_t src_start
        int64_t src_step
        int src_axis
    ctypedef struct fl_part:
        fl_dataset *dataset
        uint8_t *fill
        fl_axis *axes
        int64_t *base
    ctypedef struct fl_stack:
        int n_axes
        int64_t *shape
        int64_t frames
        int64_t ny
        int64_t nx
        size_t itemsize
        uint8_t *fill
        fl_part *parts
        int64_t n_bounds
        int64_t *bounds
        int64_t *first
        int64_t *members
    void fl_members_at(const fl_stack *, int64_t, int64_t *, int64_t *)
    int fl_stack_read(const fl_stack *, int64_t, int64_t, uint8_t *, fl_error *)

cdef extern from "sparse.h" nogil:
    ctypedef struct fl_found:
        uint32_t *indices
        uint8_t *values
        size_t n
    int fl_stack_sparse(const fl_stack *, int64_t, uint64_t, const uint8_t *, fl_found *, int, fl_error *)

cdef extern from "convert.h" nogil:
    ctypedef union fl_number:
        uint8_t *bytes
        uint64_t bits
    ctypedef struct fl_conversion:
        int to "to"
        int source "from"
        int has_gap
        int has_bad
        fl_number gap
        fl_number bad
        fl_number nan
        fl_number low
        fl_number high
        fl_number least
        fl_number most
        int64_t add
        int is_error
        int swap
    size_t fl_type_size(int)

cdef extern from "pixels.h" nogil:
    ctypedef struct fl_view:
        const fl_stack *stack
        int type
        int swap
        const uint8_t *mask
        int by_value
        int64_t side
        int64_t by
        int64_t bx
        int transpose
        int flip_ud
        int flip_lr
        int64_t ny
        int64_t nx
        fl_cache *cache
        int simd
    ctypedef struct fl_form:
        uint64_t id
        const fl_view *view
        fl_conversion convert
        int64_t ny
        int64_t nx
        int64_t y
        int64_t x
        fl_number pad
    int fl_framed_read(const fl_form *, int64_t, int64_t, int64_t, uint8_t *, fl_error *)

cdef extern from "coded.h" nogil:
    enum:
        FL_BYTE_OFFSET
        FL_AGI_BITFIELD
        FL_BRUKER
    ctypedef struct fl_coder:
        int codec
        fl_form form
    ctypedef struct fl_measured:
        int64_t size
        int64_t n16
        int64_t n32
    int fl_coded_read(const fl_coder *, int64_t, int64_t, int64_t, int64_t, uint8_t *, int64_t, fl_error *)
    int fl_measure(const fl_coder *, int64_t, fl_measured *, fl_error *)

cdef extern from "splice.h" nogil:
    enum:
        FL_LITERAL
        FL_PIXELS
        FL_FORMED
        FL_CODED
        FL_PADDING
    ctypedef struct fl_piece:
        int kind
        int64_t start
        int64_t size
        const uint8_t *data
        int64_t first_frame
        int swap
        const fl_coder *coder
        uint8_t value
    ctypedef struct fl_vfile:
        int64_t size
        int n_pieces
        fl_piece *pieces
        const fl_stack *stack
        int users
    void fl_vfile_release(fl_vfile *)
    int64_t fl_vfile_read(const fl_vfile *, uint8_t *, size_t, int64_t, fl_error *)

cdef extern from "names.h" nogil:
    enum:
        FL_LONGEST_NAME
    ctypedef struct fl_series:
        char *stem
        char *ending
        size_t stem_bytes, ending_bytes
        int numbered, reverse, digits
        int64_t first, count, size
        int64_t *sizes
        int64_t mtime_ns
    ctypedef struct fl_listing:
        char *path
        int64_t epoch
        uint64_t version
        uint32_t seed
        uint64_t inode
        int64_t folders, mtime_ns
        int n
        fl_series *series
    ctypedef struct fl_names:
        pthread_mutex_t lock
        const int64_t *epoch
        int dirfd
        uint32_t uid, gid, mode, block_bytes
        int gives_away
    const int64_t FL_NO_TIME
    ctypedef int (*fl_filler)(void *, const char *, const void *, int64_t)
    void fl_crc_prepare()
    int64_t fl_epoch(const fl_names *)
    int64_t fl_series_index(const fl_series *, const char *, size_t)
    fl_listing *fl_listing_take(fl_names *, const char *, size_t)
    void fl_listing_leave(fl_names *, fl_listing *)
    void fl_listing_enter(fl_names *, fl_listing *)
    void fl_listing_free(fl_listing *)
    void fl_names_free(fl_names *)
    void fl_names_learn(fl_names *, const char *, const int64_t *, int64_t, int64_t)
    void fl_names_learn_folder(fl_names *, const char *, int64_t, int64_t)
    int fl_fill_one(fl_filler, void *, const char *, uint32_t, uint64_t, int64_t)
    int fl_fill_series(const fl_listing *, int, int64_t, int64_t, const int64_t *, int64_t, fl_filler, void *)

cdef extern from "fuse_ops.h" nogil:
    enum:
        FL_NAME
        FL_ERRORS
    ctypedef struct fl_counters:
        uint64_t reads, read_bytes, read_ns, real_reads, real_read_bytes, writes, write_bytes, write_ns
        uint64_t flushes, releases, opened, errors, attributes, attributes_ns, opens, opens_ns
    ctypedef struct fl_failure:
        char *name
        int64_t at
        uint64_t size
        fl_error error
        char *place
    ctypedef struct fl_mount:
        fl_counters counters
        pthread_mutex_t lock
        fl_failure *failures
        int n_failures
        uint64_t lost
        char *asked
        int over
        pthread_cond_t news
        void *ahead
        int xattr
    ctypedef struct fl_owner:
        int64_t open
    void fl_file_keep(fl_vfile *, fl_owner *)
    ctypedef struct fl_prepared:
        char *name
        fl_vfile *file
        fl_owner *owner
        uint64_t version
        int64_t epoch
        int asks
    ctypedef struct fl_handle:
        fl_mount *mount
        fl_vfile *file
        fl_owner *owner
        int fd
        int users
        int stale
        uint64_t version
        uint64_t number
        int writes
        int follows
        char *name
    fl_handle *fl_handle_new(fl_mount *, const char *)
    void fl_handle_enter(fl_handle *)
    void fl_handle_free(fl_handle *)
    int fl_retire(fl_mount *, const char *, uint64_t, int64_t, const fl_vfile *, int *)
    int fl_is_settled(fl_mount *, const char *, uint64_t)
    fl_prepared *fl_prepared_find(fl_mount *, const char *)
    void fl_prepared_enter(fl_mount *, fl_prepared)
    void fl_prepared_forget(fl_mount *, const char *, int64_t, int)
    void fl_ask(fl_mount *, const char *)
    char *fl_wait_asked(fl_mount *)
    void fl_fuse_read()
    void fl_fuse_write()
    void fl_fuse_flush()
    void fl_fuse_fallocate()
    void fl_fuse_release()

cdef extern from "ahead.h" nogil:
    ctypedef struct fl_ahead:
        pthread_mutex_t lock
        int most
        uint64_t frames
    void fl_ahead_init(fl_ahead *, int, int64_t)
    void fl_ahead_seen(fl_ahead *, const fl_handle *, uint32_t, int64_t, int64_t)
    int fl_ahead_wait(fl_ahead *, int)
    int fl_ahead_stop(fl_ahead *)

cdef extern from "fuse_nodes.h" nogil:
    int fl_node_follow(fl_mount *, int)
    void *fl_channel_functions()

cdef extern from "overdue.h" nogil:
    ctypedef struct fl_overdue:
        fl_files *files
        fl_mount *mount

cdef extern from "fuse_loop.h" nogil:
    ctypedef void (*fl_process_fn)(void *, const char *, size_t, void *)
    ctypedef int (*fl_exited_fn)(void *)
    ctypedef void (*fl_exit_fn)(void *)
    ctypedef struct fl_loop:
        int fd
        size_t request_bytes
        void *session
        void *channel
        fl_process_fn process
        fl_exited_fn exited
        fl_exit_fn exit
        void *(*attach)() noexcept nogil
        void (*detach)(void *) noexcept nogil
        int few
        int left
        uint64_t answered
        fl_overdue overdue
    int fl_loop_run(fl_loop *)

cdef extern from *:
    """
    #define FL_ATOMIC_ADD(p, n) __atomic_fetch_add((p), (n), __ATOMIC_RELAXED)
    #define FL_ATOMIC_SET(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    """
    void FL_ATOMIC_ADD(void *, int) noexcept nogil
    void FL_ATOMIC_SET(int *, int) noexcept nogil
