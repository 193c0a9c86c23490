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
#include <sys/uio.h>

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

#define FL_KEEP_CACHE 2u /* the second of `bits`: what the kernel has of the file is right */
#define FL_NAME 256
#define FL_PLACE 1024
#define FL_CHAINS 4096
#define FL_PREPARED 128 /* files that are ready to be opened */
#define FL_PREPARED_NS 30000000000 /* until when they are kept for somebody who does not come */
#define FL_ERRORS 64 /* errors kept until somebody takes them; later ones are only counted */

typedef struct {
    uint64_t reads, read_bytes, read_ns, real_reads, real_read_bytes, writes, write_bytes, write_ns;
    uint64_t flushes, releases, opened, errors, attributes, attributes_ns, opens, opens_ns;
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

/* A virtual file that Python has made ready because somebody will open it soon. */
typedef struct {
    char *name;     /* the whole path; NULL: nothing is here */
    fl_vfile *file;
    fl_owner *owner;
    uint64_t version;
    int64_t epoch;  /* it holds as long as csrc/names.h holds what it was told at that number */
    uint64_t since_ns;
    int asks;       /* Python is to be told when it is opened: more will be wanted */
} fl_prepared;

typedef struct {
    fl_counters counters;
    pthread_mutex_t lock; /* of all that follows */
    fl_failure failures[FL_ERRORS];
    int n_failures;
    uint64_t lost;
    struct fl_handle *open[FL_CHAINS];  /* open virtual files by their names */
    struct fl_handle *nodes[FL_CHAINS]; /* all open files by the kernel's numbers of their nodes */
    int xattr;                          /* real files have extended attributes here */
    uint64_t last_number;
    fl_prepared prepared[FL_PREPARED];
    int next_prepared;
    char *asked; /* the name of a file after which others will be opened, for Python to free; NULL: none */
    int over;    /* no more files are to be made ready */
    pthread_cond_t news; /* of these two */
    void *ahead; /* an fl_ahead, or NULL; set before the first request and after the last */
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
    uint64_t node; /* 0: not known yet */
    struct fl_handle *node_next, **node_link;
    int writes;     /* a real file that may be written by this descriptor */
    int ours;       /* libfuse does not know of it */
    int follows;    /* of a virtual file that has become a real one: its descriptor, else -1; written with __atomic */
    char name[];    /* the whole path */
} fl_handle;

/* A handle on nothing yet, with one user, or NULL without memory. */
static fl_handle *fl_handle_new(fl_mount *m, const char *name)
{
    size_t room = strlen(name) + 1;
    fl_handle *h = calloc(1, sizeof *h + room);
    if (!h)
        return NULL;
    h->mount = m;
    h->fd = h->follows = -1;
    h->users = 1;
    memcpy(h->name, name, room);
    return h;
}

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

/* The lock is held. */
static void fl_handle_link(fl_handle *h)
{
    fl_mount *m = h->mount;
    h->number = ++m->last_number;
    h->link = fl_chain(m, h->name);
    h->next = *h->link;
    if (h->next)
        h->next->link = &h->next;
    *h->link = h;
}

static void fl_handle_enter(fl_handle *h)
{
    pthread_mutex_lock(&h->mount->lock);
    fl_handle_link(h);
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

/* ---- files that are ready to be opened: opening one of them needs no Python */

static void fl_prepared_drop(fl_prepared *p)
{
    if (!p->name)
        return;
    fl_vfile_release(p->file);
    __atomic_fetch_sub(&p->owner->open, 1, __ATOMIC_RELEASE);
    free(p->name);
    p->name = NULL;
}

/* The lock is held. */
static fl_prepared *fl_prepared_find(fl_mount *m, const char *name)
{
    for (int i = 0; i < FL_PREPARED; i++)
        if (m->prepared[i].name && !strcmp(m->prepared[i].name, name))
            return &m->prepared[i];
    return NULL;
}

/* Take a file in place of the oldest one, or of that with this name. Its name and references are the table's now. */
static void fl_prepared_enter(fl_mount *m, fl_prepared new)
{
    pthread_mutex_lock(&m->lock);
    fl_prepared *p = fl_prepared_find(m, new.name);
    if (!p) {
        p = &m->prepared[m->next_prepared];
        m->next_prepared = (m->next_prepared + 1) % FL_PREPARED;
    }
    fl_prepared_drop(p);
    *p = new;
    p->since_ns = fl_now_ns();
    pthread_mutex_unlock(&m->lock);
}

/* Forget the one of this name; with no name those that hold no longer, or that nobody came for; with `all`, all. */
static void fl_prepared_forget(fl_mount *m, const char *name, int64_t epoch, int all)
{
    uint64_t now_ns = fl_now_ns();
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < FL_PREPARED; i++) {
        fl_prepared *p = &m->prepared[i];
        if (p->name && (name ? !strcmp(p->name, name)
                             : all || p->epoch != epoch || now_ns - p->since_ns > FL_PREPARED_NS))
            fl_prepared_drop(p);
    }
    pthread_mutex_unlock(&m->lock);
}

/* Say that files after this one will be opened. The lock is held. */
static void fl_ask(fl_mount *m, const char *name)
{
    free(m->asked);
    m->asked = strdup(name);
    pthread_cond_broadcast(&m->news);
}

/* Wait until somebody asks. Returns the name, which is the caller's to free; NULL when it is over. */
static char *fl_wait_asked(fl_mount *m)
{
    pthread_mutex_lock(&m->lock);
    while (!m->asked && !m->over)
        pthread_cond_wait(&m->news, &m->lock);
    char *name = m->over ? NULL : m->asked;
    if (name)
        m->asked = NULL;
    pthread_mutex_unlock(&m->lock);
    return name;
}

/* A handle on a file that is ready (name and reference go over to it), or NULL where Python has to open it. `size` is
 * what the kernel was told; it is looked at under the lock whether all this still holds, as fl_retire comes after a
 * change. */
static fl_handle *fl_prepared_open(fl_mount *m, const fl_names *names, const char *path, uint64_t version, int64_t size)
{
    fl_handle *h = fl_handle_new(m, path);
    int opened = 0;
    if (!h)
        return NULL;
    pthread_mutex_lock(&m->lock);
    fl_prepared *p = fl_prepared_find(m, path);
    if (p && p->epoch == fl_epoch(names) && p->version == version && p->file->size == size) {
        h->file = p->file;
        h->owner = p->owner;
        h->version = version;
        fl_handle_link(h);
        if (p->asks)
            fl_ask(m, path);
        free(p->name);
        p->name = NULL;
        opened = 1;
    }
    pthread_mutex_unlock(&m->lock);
    if (opened)
        return h;
    free(h);
    return NULL;
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
        if (h->follows >= 0)
            close(h->follows);
        /* the last: from now on Python may let go of the pixels */
        __atomic_fetch_sub(&h->owner->open, 1, __ATOMIC_RELEASE);
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

/* The mount of this process. There is one: libfuse 2 itself can serve no more. `getattr` comes without a handle. */
static struct {
    fl_mount *mount;
    fl_names *names;
    fl_getattr_fn getattr; /* this and the following: Python's */
    fl_fgetattr_fn fgetattr;
    fl_open_fn open;
    fl_getxattr_fn getxattr;
    fl_listxattr_fn listxattr;
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
    int fd = h->file ? __atomic_load_n(&h->follows, __ATOMIC_ACQUIRE) : h->fd;
    if (fd >= 0)
        return fl_counted(h->mount, start, fstat(fd, out) ? -errno : 0);
    if (__atomic_load_n(&h->stale, __ATOMIC_ACQUIRE))
        return fl_counted(h->mount, start, -ESTALE);
    if (m && fl_names_fstat(fl_served.names, h->name, h->file->size, out))
        return fl_counted(m, start, 0);
    return fl_served.fgetattr(path, out, fi);
}

/* Only to read, only a file that is ready, and only as long as no real one hides it. */
static int fl_fuse_open(const char *path, struct fl_fuse_file_info *fi)
{
    uint64_t start = fl_now_ns(), version;
    fl_mount *m = fl_served.mount;
    struct stat s;
    if (!m || (fi->flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY ||
        fl_names_stat(fl_served.names, path, &s, &version) != FL_IS_VIRTUAL)
        return fl_served.open(path, fi);
    fl_handle *h = fl_prepared_open(m, fl_served.names, path, version, s.st_size);
    if (!h)
        return fl_served.open(path, fi);
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
