/* SPDX-License-Identifier: MIT
 *
 * The files behind all stacks of a process: opened when needed, read by pread, a bounded number open at a time.
 * What is read must be of the file that was indexed: same inode, size and time before and after, or FL_CHANGED.
 * A growing file may get longer and newer, but never shorter than it was when somebody looked last.
 */
#ifndef FL_FILES_H
#define FL_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "status.h"

typedef struct {
    char *path;
    int fd;             /* -1 while closed */
    int users;          /* reads going on */
    uint64_t used_at;
    int growing;        /* size: the least that it may have; mtime_ns: not looked at */
    uint64_t size, inode;
    int64_t mtime_ns;
} fl_file;

typedef struct {
    pthread_mutex_t lock;
    fl_file **files;    /* by number; NULL where a number is free */
    int n, room, used, open, max_open;
    uint64_t clock;
} fl_files;

static void fl_files_init(fl_files *t, int max_open)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    t->max_open = max_open > 1 ? max_open : 1;
}

static void fl_files_free(fl_files *t)
{
    for (int i = 0; i < t->n; i++) {
        if (!t->files[i])
            continue;
        if (t->files[i]->fd >= 0)
            close(t->files[i]->fd);
        free(t->files[i]->path);
        free(t->files[i]);
    }
    free(t->files);
    pthread_mutex_destroy(&t->lock);
}

/* Number of the new file, one that is free by now if there is one, or -1 without memory. */
static int fl_files_add(fl_files *t, const char *path, int growing, uint64_t size, uint64_t inode, int64_t mtime_ns)
{
    int number = -1;
    fl_file *f = calloc(1, sizeof *f);
    char *copy = strdup(path);
    pthread_mutex_lock(&t->lock);
    for (int i = 0; t->used < t->n && i < t->n && number < 0; i++)
        if (!t->files[i])
            number = i;
    if (f && copy && number < 0 && t->n == t->room) {
        int room = t->room ? 2 * t->room : 64;
        fl_file **more = realloc(t->files, (size_t)room * sizeof *more);
        if (more) {
            t->files = more;
            t->room = room;
        }
    }
    if (number < 0 && t->n < t->room)
        number = t->n;
    if (f && copy && number >= 0) {
        *f = (fl_file){.path = copy, .fd = -1, .growing = growing, .size = size, .inode = inode, .mtime_ns = mtime_ns};
        t->files[number] = f;
        t->n += number == t->n;
        t->used++;
    } else {
        number = -1;
    }
    pthread_mutex_unlock(&t->lock);
    if (number < 0) {
        free(f);
        free(copy);
    }
    return number;
}

/* Nobody needs the file any more: its number may become that of another one. */
static void fl_files_remove(fl_files *t, int number)
{
    pthread_mutex_lock(&t->lock);
    fl_file *f = t->files[number];
    t->files[number] = NULL;
    t->used--;
    t->open -= f->fd >= 0;
    pthread_mutex_unlock(&t->lock);
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f);
}

static int fl_file_is(const fl_file *f, uint64_t size, uint64_t inode, int64_t mtime_ns)
{
    if (inode != f->inode)
        return 0;
    return f->growing ? size >= f->size : size == f->size && mtime_ns == f->mtime_ns;
}

static int fl_file_is_open(const fl_file *f, const struct stat *s)
{
    int64_t mtime_ns = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
    return fl_file_is(f, (uint64_t)s->st_size, (uint64_t)s->st_ino, mtime_ns);
}

/* 1 if a file with these is the one that was indexed. A growing one must not be shorter again from now on; once it was
 * another one or shorter, it is never again the same. */
static int fl_files_same(fl_files *t, int number, uint64_t size, uint64_t inode, int64_t mtime_ns)
{
    pthread_mutex_lock(&t->lock);
    fl_file *f = t->files[number];
    int same = fl_file_is(f, size, inode, mtime_ns);
    if (f->growing) {
        f->size = same ? size : f->size;
        f->inode = same ? inode : 0;
    }
    pthread_mutex_unlock(&t->lock);
    return same;
}

/* From now on open the file by this path. 0 if done. */
static int fl_files_rename(fl_files *t, int number, const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return -1;
    pthread_mutex_lock(&t->lock);
    free(t->files[number]->path);
    t->files[number]->path = copy;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

/* Close a file that nobody reads just now; it is opened again when it is needed. */
static void fl_files_close_idle(fl_files *t, int number)
{
    pthread_mutex_lock(&t->lock);
    fl_file *f = t->files[number];
    if (f->fd >= 0 && f->users == 0) {
        close(f->fd);
        f->fd = -1;
        t->open--;
    }
    pthread_mutex_unlock(&t->lock);
}

static void fl_files_close_oldest(fl_files *t)
{
    fl_file *oldest = NULL;
    for (int i = 0; i < t->n; i++) {
        fl_file *f = t->files[i];
        if (f && f->fd >= 0 && f->users == 0 && (!oldest || f->used_at < oldest->used_at))
            oldest = f;
    }
    if (oldest) {
        close(oldest->fd);
        oldest->fd = -1;
        t->open--;
    }
}

static int fl_files_open(fl_files *t, fl_file *f, fl_error *e)
{
    while (t->open >= t->max_open) {
        int before = t->open;
        fl_files_close_oldest(t);
        if (t->open == before)
            break; /* all of them are being read: go above the bound for as long as that lasts */
    }
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EMFILE && t->open > 0) {
        int before = t->open;
        fl_files_close_oldest(t);
        if (t->open == before)
            break;
        fd = open(f->path, O_RDONLY | O_CLOEXEC);
    }
    struct stat s;
    if (fd < 0 || fstat(fd, &s) < 0) {
        e->sys_errno = errno;
        if (fd >= 0)
            close(fd);
        return fl_fail(e, FL_SYSTEM, f->path);
    }
    if (!fl_file_is_open(f, &s)) {
        close(fd);
        return fl_fail(e, FL_CHANGED, f->path);
    }
    f->fd = fd;
    t->open++;
    return FL_OK;
}

/* `size` bytes at `at` (OUT: out). They count only if the file is still the same afterwards. */
static int fl_files_read(fl_files *t, int number, void *out, size_t size, uint64_t at, fl_error *e)
{
    struct stat s;
    int rc = FL_OK;
    pthread_mutex_lock(&t->lock);
    fl_file *f = t->files[number];
    f->used_at = ++t->clock;
    if (f->fd < 0)
        rc = fl_files_open(t, f, e);
    if (rc == FL_OK)
        f->users++;
    pthread_mutex_unlock(&t->lock);
    if (rc)
        return rc;
    size_t done = 0;
    while (done < size && rc == FL_OK) {
        ssize_t n = pread(f->fd, (char *)out + done, size - done, (off_t)(at + done));
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0) {
            rc = fl_fail(e, FL_SHORT, f->path);
        } else if (errno != EINTR) {
            e->sys_errno = errno;
            rc = fl_fail(e, FL_SYSTEM, f->path);
        }
    }
    int seen = fstat(f->fd, &s);
    pthread_mutex_lock(&t->lock);
    f->users--;
    if (rc == FL_OK && seen == 0 && !fl_file_is_open(f, &s))
        rc = fl_fail(e, FL_CHANGED, f->path);
    pthread_mutex_unlock(&t->lock);
    return rc;
}

#endif
