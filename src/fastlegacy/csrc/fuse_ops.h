/* SPDX-License-Identifier: MIT
 *
 * The operations of a mount that carry bytes, as libfuse 2 calls them: no Python, no GIL.
 *
 * `fi->fh` is the address of an fl_handle, made by Python's `open`. libfuse sends RELEASE only after the last READ of
 * an open file, so a handle is never used after it was freed.
 */
#ifndef FL_FUSE_OPS_H
#define FL_FUSE_OPS_H

#include <sys/types.h>
#include <time.h>

#include "splice.h"

/* struct fuse_file_info of libfuse 2.9: only `fh` matters here. */
struct fl_fuse_file_info {
    int flags;
    unsigned long fh_old;
    int writepage;
    unsigned int bits;
    uint64_t fh;
    uint64_t lock_owner;
};
_Static_assert(sizeof(void *) != 8 || offsetof(struct fl_fuse_file_info, fh) == 24, "libfuse 2's struct differs");

#define FL_NAME 256
#define FL_PLACE 1024
#define FL_ERRORS 64 /* errors kept until somebody takes them; later ones are only counted */

typedef struct {
    uint64_t reads, read_bytes, read_ns, real_reads, real_read_bytes, writes, write_bytes, write_ns;
    uint64_t flushes, releases, opened, errors;
} fl_counters;

typedef struct {
    char name[FL_NAME];
    int64_t at;
    uint64_t size;
    fl_error error;
    char place[FL_PLACE]; /* "file::dataset", copied: the dataset may be gone when the log is written */
} fl_failure;

typedef struct {
    fl_counters counters;
    pthread_mutex_t lock;
    fl_failure failures[FL_ERRORS];
    int n_failures;
    uint64_t lost;
} fl_mount;

typedef struct {
    fl_mount *mount;
    fl_vfile *file; /* NULL: a real file */
    int fd;
    char name[FL_NAME];
} fl_handle;

#define FL_COUNT(field, n) __atomic_fetch_add(&h->mount->counters.field, (uint64_t)(n), __ATOMIC_RELAXED)

static inline uint64_t fl_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fl_mount_note(fl_handle *h, int64_t at, size_t size, const fl_error *e)
{
    fl_mount *m = h->mount;
    FL_COUNT(errors, 1);
    pthread_mutex_lock(&m->lock);
    if (m->n_failures < FL_ERRORS) {
        fl_failure *f = &m->failures[m->n_failures++];
        memcpy(f->name, h->name, sizeof f->name);
        f->at = at;
        f->size = size;
        f->error = *e;
        snprintf(f->place, sizeof f->place, "%s", e->name ? e->name : "");
    } else {
        m->lost++;
    }
    pthread_mutex_unlock(&m->lock);
}

static int fl_fuse_read(const char *path, char *buf, size_t size, off_t at, struct fl_fuse_file_info *fi)
{
    fl_handle *h = (fl_handle *)(uintptr_t)fi->fh;
    (void)path;
    if (!h)
        return -EBADF;
    uint64_t start = fl_now_ns();
    int64_t n;
    if (h->file) {
        fl_error e;
        fl_error_clear(&e);
        n = fl_vfile_read(h->file, (uint8_t *)buf, size, at, &e);
        if (n < 0) {
            fl_mount_note(h, at, size, &e);
            return -EIO;
        }
        FL_COUNT(reads, 1);
        FL_COUNT(read_bytes, n);
    } else {
        n = pread(h->fd, buf, size, at);
        if (n < 0)
            return -errno;
        FL_COUNT(real_reads, 1);
        FL_COUNT(real_read_bytes, n);
    }
    FL_COUNT(read_ns, fl_now_ns() - start);
    return (int)n;
}

static int fl_fuse_write(const char *path, const char *buf, size_t size, off_t at, struct fl_fuse_file_info *fi)
{
    fl_handle *h = (fl_handle *)(uintptr_t)fi->fh;
    (void)path;
    if (!h || h->file)
        return -EBADF;
    uint64_t start = fl_now_ns();
    size_t done = 0;
    while (done < size) {
        ssize_t n = pwrite(h->fd, buf + done, size - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && done == 0)
            return -errno;
        if (n <= 0)
            break; /* what was written counts; the next write says why no more could be */
        done += (size_t)n;
    }
    FL_COUNT(writes, 1);
    FL_COUNT(write_bytes, done);
    FL_COUNT(write_ns, fl_now_ns() - start);
    return (int)done;
}

/* close() of a descriptor to a real file: what the file system has to say at close (quota, NFS) reaches the program. */
static int fl_fuse_flush(const char *path, struct fl_fuse_file_info *fi)
{
    fl_handle *h = (fl_handle *)(uintptr_t)fi->fh;
    (void)path;
    if (!h)
        return -EBADF;
    FL_COUNT(flushes, 1);
    if (h->file)
        return 0;
    int copy = dup(h->fd);
    if (copy < 0)
        return -errno;
    return close(copy) < 0 ? -errno : 0;
}

static void fl_handle_free(fl_handle *h)
{
    if (h->file)
        fl_vfile_release(h->file);
    else
        close(h->fd);
    free(h);
}

static int fl_fuse_release(const char *path, struct fl_fuse_file_info *fi)
{
    fl_handle *h = (fl_handle *)(uintptr_t)fi->fh;
    (void)path;
    if (!h)
        return -EBADF;
    FL_COUNT(releases, 1);
    fi->fh = 0;
    fl_handle_free(h);
    return 0;
}

#endif
