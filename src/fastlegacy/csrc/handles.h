/* SPDX-License-Identifier: MIT
 *
 * The open files of a mount: handles, who finds them by name, what is counted and noted of them.
 *
 * `fi->fh` is the address of an fl_handle, made by Python's `open` or by csrc/opens.h. The kernel sends RELEASE only
 * after the last READ of an open file was answered. Somebody else may have answered it, for one who still waits for the
 * source: so handles have users.
 */
#ifndef FL_HANDLES_H
#define FL_HANDLES_H

#include <sys/types.h>

#include "splice.h"

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

/* Keep a virtual file and its pixels, until fl_file_leave. */
static inline void fl_file_keep(fl_vfile *file, fl_owner *owner)
{
    __atomic_fetch_add(&owner->open, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&file->users, 1, __ATOMIC_RELAXED);
}

static inline void fl_file_leave(fl_vfile *file, fl_owner *owner)
{
    fl_vfile_release(file);
    /* the last: from now on Python may let go of the pixels */
    __atomic_fetch_sub(&owner->open, 1, __ATOMIC_RELEASE);
}

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

static uint64_t fl_hash_of(const uint8_t *data, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    while (n--)
        hash = (hash ^ *data++) * 0x100000001b3u;
    return hash;
}

static fl_handle **fl_chain(fl_mount *m, const char *name)
{
    uint64_t hash = fl_hash_of((const uint8_t *)name, strlen(name));
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

#endif
