/* SPDX-License-Identifier: MIT
 *
 * The operations of a mount that carry bytes or tell attributes, as libfuse 2 calls them: no Python, no GIL.
 *
 * `fi->fh` is the address of an fl_handle, made by Python's `open`. The kernel sends RELEASE only after the last READ of
 * an open file was answered. Somebody else may have answered it, for one who still waits for the source: so handles
 * have users.
 */
#ifndef FL_FUSE_OPS_H
#define FL_FUSE_OPS_H

#include <sys/types.h>

#include "names.h"
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
#define FL_CHAINS 4096
#define FL_ERRORS 64 /* errors kept until somebody takes them; later ones are only counted */

typedef struct {
    uint64_t reads, read_bytes, read_ns, real_reads, real_read_bytes, writes, write_bytes, write_ns;
    uint64_t flushes, releases, opened, errors, attributes, attributes_ns;
} fl_counters;

typedef struct {
    char name[FL_NAME];
    int64_t at;
    uint64_t size;
    fl_error error;
    char place[FL_PLACE]; /* "file::dataset", copied: the dataset may be gone when the log is written */
} fl_failure;

/* What keeps the pixels of virtual files alive: Python holds on to it while anything of it is open. */
typedef struct {
    int64_t open; /* handles, written with __atomic */
} fl_owner;

struct fl_handle;

typedef struct {
    fl_counters counters;
    pthread_mutex_t lock; /* of all that follows */
    fl_failure failures[FL_ERRORS];
    int n_failures;
    uint64_t lost;
    struct fl_handle *open[FL_CHAINS]; /* open virtual files by their names */
    uint64_t last_number;
} fl_mount;

typedef struct fl_handle {
    fl_mount *mount;
    fl_vfile *file; /* NULL: a real file */
    fl_owner *owner;
    int fd;
    int users;                /* the kernel, and who reads; written with __atomic */
    int stale, used;          /* written with __atomic: may not be read any more; the kernel has asked for bytes */
    uint64_t version, number; /* of all headers when it was opened; no two handles have the same number */
    struct fl_handle *next, **link;
    char name[]; /* the whole path */
} fl_handle;

#define FL_COUNT(field, n) __atomic_fetch_add(&h->mount->counters.field, (uint64_t)(n), __ATOMIC_RELAXED)

/* `name` is "" where it is not known which file was asked for. */
static void fl_mount_note(fl_mount *m, const char *name, int64_t at, size_t size, const fl_error *e)
{
    __atomic_fetch_add(&m->counters.errors, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&m->lock);
    if (m->n_failures < FL_ERRORS) {
        fl_failure *f = &m->failures[m->n_failures++];
        snprintf(f->name, sizeof f->name, "%s", name);
        f->at = at;
        f->size = size;
        f->error = *e;
        snprintf(f->place, sizeof f->place, "%s", e->name ? e->name : "");
    } else {
        m->lost++;
    }
    pthread_mutex_unlock(&m->lock);
}

/* ---- open virtual files by name: what the kernel may still get from before a change of headers */

static fl_handle **fl_chain(fl_mount *m, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return &m->open[(hash ^ hash >> 32) % FL_CHAINS];
}

static void fl_handle_enter(fl_handle *h)
{
    fl_mount *m = h->mount;
    pthread_mutex_lock(&m->lock);
    h->number = ++m->last_number;
    h->link = fl_chain(m, h->name);
    h->next = *h->link;
    if (h->next)
        h->next->link = &h->next;
    *h->link = h;
    pthread_mutex_unlock(&m->lock);
}

static void fl_handle_leave(fl_handle *h)
{
    pthread_mutex_lock(&h->mount->lock);
    *h->link = h->next;
    if (h->next)
        h->next->link = h->link;
    pthread_mutex_unlock(&h->mount->lock);
}

/* 1 if two files have the same bytes for certain: equal texts, and the very same pixels. */
static int fl_vfile_same(const fl_vfile *a, const fl_vfile *b)
{
    if (a->stack != b->stack || a->size != b->size || a->n_pieces != b->n_pieces)
        return 0;
    for (int i = 0; i < a->n_pieces; i++) {
        const fl_piece *p = &a->pieces[i], *q = &b->pieces[i];
        if (p->kind != q->kind || p->size != q->size || p->first_frame != q->first_frame || p->swap != q->swap ||
            p->coder != q->coder || p->value != q->value)
            return 0;
        if (p->kind == FL_LITERAL && memcmp(p->data, q->data, (size_t)p->size))
            return 0;
    }
    return 1;
}

/* Look at what was opened by this name before a version, the file having `size` bytes now. The kernel knows one size
 * of a file only: handles on another one become stale, and those that just have are counted in OUT. Those of which
 * `now` (may be NULL) has the same bytes are of this version from here on. Returns how many of older ones there are. */
static int fl_retire(fl_mount *m, const char *name, uint64_t version, int64_t size, const fl_vfile *now, int *stale)
{
    int others = 0;
    *stale = 0;
    pthread_mutex_lock(&m->lock);
    for (fl_handle *h = *fl_chain(m, name); h; h = h->next) {
        if (h->version >= version || strcmp(h->name, name))
            continue;
        if (now && !h->stale && fl_vfile_same(h->file, now)) {
            h->version = version;
            continue;
        }
        others++;
        if (!h->stale && h->file->size != size) {
            __atomic_store_n(&h->stale, 1, __ATOMIC_RELEASE);
            ++*stale;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return others;
}

/* 1 if the kernel has certainly received the answer to the open that made this handle: it has used it, or closed it. */
static int fl_is_settled(fl_mount *m, const char *name, uint64_t number)
{
    int settled = 1;
    pthread_mutex_lock(&m->lock);
    for (fl_handle *h = *fl_chain(m, name); h; h = h->next)
        if (h->number == number)
            settled = __atomic_load_n(&h->used, __ATOMIC_ACQUIRE);
    pthread_mutex_unlock(&m->lock);
    return settled;
}

/* 1 if somebody has a file of this name open since before a version. */
static int fl_has_older(fl_mount *m, const char *name, uint64_t version)
{
    int found = 0;
    pthread_mutex_lock(&m->lock);
    for (fl_handle *h = *fl_chain(m, name); h && !found; h = h->next)
        found = h->version < version && !strcmp(h->name, name);
    pthread_mutex_unlock(&m->lock);
    return found;
}

/* ---- the functions that libfuse calls */

/* Who calls this for the last user frees the handle. After it the mount may be gone: when nothing is open any more,
 * whoever owns it is free to free it. */
static void fl_handle_drop(fl_handle *h)
{
    if (__atomic_sub_fetch(&h->users, 1, __ATOMIC_ACQ_REL))
        return;
    fl_mount *m = h->mount;
    if (h->file) {
        fl_vfile_release(h->file);
        /* the last: from now on Python may let go of the pixels */
        __atomic_fetch_sub(&h->owner->open, 1, __ATOMIC_RELEASE);
    } else {
        close(h->fd);
    }
    free(h);
    __atomic_fetch_add(&m->counters.releases, 1, __ATOMIC_RELEASE);
}

/* The kernel does not use the handle any more. */
static void fl_handle_free(fl_handle *h)
{
    if (h->file)
        fl_handle_leave(h);
    fl_handle_drop(h);
}

static int fl_handle_read(fl_handle *h, char *buf, size_t size, off_t at)
{
    uint64_t start = fl_now_ns();
    int64_t n;
    if (h->file) {
        if (__atomic_load_n(&h->stale, __ATOMIC_ACQUIRE))
            return -ESTALE;
        __atomic_store_n(&h->used, 1, __ATOMIC_RELEASE);
        fl_error e;
        fl_error_clear(&e);
        n = fl_vfile_read(h->file, (uint8_t *)buf, size, at, &e);
        if (n < 0) {
            fl_mount_note(h->mount, h->name, at, size, &e);
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

static int fl_fuse_read(const char *path, char *buf, size_t size, off_t at, struct fl_fuse_file_info *fi)
{
    fl_handle *h = (fl_handle *)(uintptr_t)fi->fh;
    (void)path;
    if (!h)
        return -EBADF;
    __atomic_add_fetch(&h->users, 1, __ATOMIC_ACQ_REL);
    int n = fl_handle_read(h, buf, size, at);
    fl_handle_drop(h);
    return n;
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

/* A descriptor that is kept for the moment when there are no more: who has saved a file must still be told at close. */
static struct {
    pthread_mutex_t lock;
    int fd; /* 0: none */
} fl_reserved = {PTHREAD_MUTEX_INITIALIZER, 0};

static void fl_reserve(void)
{
    if (__atomic_load_n(&fl_reserved.fd, __ATOMIC_ACQUIRE) > 0)
        return;
    pthread_mutex_lock(&fl_reserved.lock);
    if (fl_reserved.fd <= 0)
        __atomic_store_n(&fl_reserved.fd, open("/dev/null", O_RDONLY | O_CLOEXEC), __ATOMIC_RELEASE);
    pthread_mutex_unlock(&fl_reserved.lock);
}

static int fl_dup_to_close(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0 || errno != EMFILE)
        return copy;
    pthread_mutex_lock(&fl_reserved.lock);
    if (fl_reserved.fd > 0) {
        close(fl_reserved.fd);
        __atomic_store_n(&fl_reserved.fd, 0, __ATOMIC_RELEASE);
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
    pthread_mutex_unlock(&fl_reserved.lock);
    return copy;
}

/* 1 if nothing can be told at close, as nothing was written. */
static int fl_only_reads(int fd)
{
    int code = errno, flags = fcntl(fd, F_GETFL);
    errno = code;
    return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY;
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
    int copy = fl_dup_to_close(h->fd);
    if (copy < 0)
        return fl_only_reads(h->fd) ? 0 : -errno;
    int result = close(copy) < 0 ? -errno : 0;
    fl_reserve();
    return result;
}

/* ---- attributes: answered from what Python has told, and else by Python */

typedef int (*fl_getattr_fn)(const char *path, struct stat *out);
typedef int (*fl_fgetattr_fn)(const char *path, struct stat *out, struct fl_fuse_file_info *fi);

/* The mount of this process. There is one: libfuse 2 itself can serve no more. `getattr` comes without a handle. */
static struct {
    fl_mount *mount;
    fl_names *names;
    fl_getattr_fn getattr; /* Python's */
    fl_fgetattr_fn fgetattr;
} fl_served;

static int fl_counted(fl_mount *m, uint64_t start, int result)
{
    __atomic_fetch_add(&m->counters.attributes, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&m->counters.attributes_ns, fl_now_ns() - start, __ATOMIC_RELAXED);
    return result;
}

static int fl_fuse_getattr(const char *path, struct stat *out)
{
    uint64_t start = fl_now_ns(), version;
    fl_mount *m = fl_served.mount;
    /* who reads by an old handle is told by Python when the kernel hears of another size */
    if (m && fl_names_stat(fl_served.names, path, out, &version) && !fl_has_older(m, path, version))
        return fl_counted(m, start, 0);
    return fl_served.getattr(path, out);
}

static int fl_fuse_fgetattr(const char *path, struct stat *out, struct fl_fuse_file_info *fi)
{
    uint64_t start = fl_now_ns();
    fl_mount *m = fl_served.mount;
    fl_handle *h = fi ? (fl_handle *)(uintptr_t)fi->fh : NULL;
    if (!h)
        return fl_served.fgetattr(path, out, fi);
    if (!h->file)
        return fl_counted(h->mount, start, fstat(h->fd, out) ? -errno : 0);
    if (__atomic_load_n(&h->stale, __ATOMIC_ACQUIRE))
        return fl_counted(h->mount, start, -ESTALE);
    if (m && fl_names_fstat(fl_served.names, h->name, h->file->size, out))
        return fl_counted(m, start, 0);
    return fl_served.fgetattr(path, out, fi);
}

static int fl_fuse_release(const char *path, struct fl_fuse_file_info *fi)
{
    fl_handle *h = (fl_handle *)(uintptr_t)fi->fh;
    (void)path;
    if (!h)
        return -EBADF;
    fi->fh = 0;
    fl_handle_free(h);
    return 0;
}

#endif
