/* SPDX-License-Identifier: MIT
 *
 * The operations of a mount that carry bytes or tell attributes, as libfuse 2 calls them: no Python, no GIL.
 */
#ifndef FL_FUSE_OPS_H
#define FL_FUSE_OPS_H

#include <sys/uio.h>

#include "opens.h"

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

#define FL_KEEP_CACHE 2u /* the second of `bits`: what the kernel has of the file is right */

/* ---- the functions that libfuse calls */

/* Who calls this for the last user frees the handle. After it the mount may be gone: when nothing is open any more,
 * whoever owns it is free to free it. */
static void fl_handle_drop(fl_handle *h)
{
    if (__atomic_sub_fetch(&h->users, 1, __ATOMIC_ACQ_REL))
        return;
    fl_mount *m = h->mount;
    if (h->file) {
        if (h->follows >= 0)
            close(h->follows);
        fl_file_leave(h->file, h->owner);
    } else {
        close(h->fd);
    }
    free(h);
    __atomic_fetch_add(&m->counters.releases, 1, __ATOMIC_RELEASE);
}

/* The kernel does not use the handle any more; nobody finds it by its name or node from now on. */
static void fl_handle_free(fl_handle *h)
{
    fl_mount *m = h->mount;
    pthread_mutex_lock(&m->lock);
    if (h->link) {
        *h->link = h->next;
        if (h->next)
            h->next->link = h->link;
    }
    if (h->node) {
        *h->node_link = h->node_next;
        if (h->node_next)
            h->node_next->node_link = h->node_link;
        h->node = 0;
    }
    pthread_mutex_unlock(&m->lock);
    fl_handle_drop(h);
}

static int fl_handle_read(fl_handle *h, char *buf, size_t size, off_t at)
{
    uint64_t start = fl_now_ns();
    int64_t n;
    int fd = h->file ? __atomic_load_n(&h->follows, __ATOMIC_ACQUIRE) : h->fd;
    if (fd < 0) {
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
        n = pread(fd, buf, size, at);
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

/* Write at a place of a file, whatever its descriptor says of appending. */
static ssize_t fl_write_in_place(int fd, const char *buf, size_t size, off_t at)
{
#ifdef RWF_NOAPPEND
    struct iovec part = {(void *)(uintptr_t)buf, size};
    ssize_t n = pwritev2(fd, &part, 1, at, RWF_NOAPPEND);
    if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS))
        return n;
#endif
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int other = open(link, O_WRONLY | O_CLOEXEC);
    if (other < 0)
        return -1;
    ssize_t done = pwrite(other, buf, size, at);
    int code = errno;
    close(other);
    errno = code;
    return done;
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
        const char *from = buf + done;
        off_t to = at + (off_t)done;
        /* what was changed by way of a map: the kernel takes any handle for it, and an appending one would append */
        ssize_t n = fi->writepage ? fl_write_in_place(h->fd, from, size - done, to)
                                  : pwrite(h->fd, from, size - done, to);
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

static int fl_fuse_fallocate(const char *path, int mode, off_t at, off_t size, struct fl_fuse_file_info *fi)
{
    fl_handle *h = (fl_handle *)(uintptr_t)fi->fh;
    (void)path;
    if (!h)
        return -EBADF;
    if (h->file)
        return -EROFS;
    int code;
    while ((code = fallocate(h->fd, mode, at, size)) && errno == EINTR)
        ;
    return code ? -errno : 0;
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
typedef int (*fl_open_fn)(const char *path, struct fl_fuse_file_info *fi);

typedef int (*fl_getxattr_fn)(const char *path, const char *name, char *value, size_t size);
typedef int (*fl_listxattr_fn)(const char *path, char *names, size_t size);

/* What Python answers by. */
typedef struct {
    fl_getattr_fn getattr;
    fl_fgetattr_fn fgetattr;
    fl_open_fn open;
    fl_getxattr_fn getxattr;
    fl_listxattr_fn listxattr;
} fl_python_fns;

/* The mount of this process. There is one: libfuse 2 itself can serve no more. `getattr` comes without a handle. */
static struct {
    fl_mount *mount;
    fl_names *names;
    fl_python_fns python;
} fl_served;

/* How a thread makes itself known to Python, and what came of it (NULL: it has not yet). */
typedef struct {
    void *(*attach)(void);
    void *attached;
} fl_thread;

static __thread fl_thread *fl_this_thread;

/* Python's functions. A thread that is not known to Python waits here for as long as it is busy; what C answers by itself
 * must not wait so, and does not come here. */
static const fl_python_fns *fl_python(void)
{
    fl_thread *t = fl_this_thread;
    if (t && !t->attached)
        t->attached = t->attach();
    return &fl_served.python;
}

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
    return fl_python()->getattr(path, out);
}

static int fl_fuse_fgetattr(const char *path, struct stat *out, struct fl_fuse_file_info *fi)
{
    uint64_t start = fl_now_ns();
    fl_mount *m = fl_served.mount;
    fl_handle *h = fi ? (fl_handle *)(uintptr_t)fi->fh : NULL;
    if (!h)
        return fl_python()->fgetattr(path, out, fi);
    int fd = h->file ? __atomic_load_n(&h->follows, __ATOMIC_ACQUIRE) : h->fd;
    if (fd >= 0)
        return fl_counted(h->mount, start, fstat(fd, out) ? -errno : 0);
    if (__atomic_load_n(&h->stale, __ATOMIC_ACQUIRE))
        return fl_counted(h->mount, start, -ESTALE);
    if (m && fl_names_fstat(fl_served.names, h->name, h->file->size, out))
        return fl_counted(m, start, 0);
    return fl_python()->fgetattr(path, out, fi);
}

/* Only to read, only a file that is ready, and only as long as no real one hides it. */
static int fl_fuse_open(const char *path, struct fl_fuse_file_info *fi)
{
    uint64_t start = fl_now_ns(), version;
    fl_mount *m = fl_served.mount;
    struct stat s;
    if (!m || (fi->flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY ||
        fl_names_stat(fl_served.names, path, &s, &version) != FL_IS_VIRTUAL)
        return fl_python()->open(path, fi);
    fl_handle *h = fl_prepared_open(m, fl_served.names, path, version, s.st_size);
    if (!h)
        return fl_python()->open(path, fi);
    fi->fh = (uint64_t)(uintptr_t)h;
    fi->bits |= FL_KEEP_CACHE;
    FL_COUNT(opened, 1);
    FL_COUNT(opens, 1);
    FL_COUNT(opens_ns, fl_now_ns() - start);
    return 0;
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
