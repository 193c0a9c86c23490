/* SPDX-License-Identifier: MIT
 *
 * The files behind all stacks of a process: opened when needed, read by pread, a bounded number open at a time.
 * What is read must be of the file that was indexed: same inode, size and time before and after, or FL_CHANGED.
 * A growing file may get longer and newer, but never shorter than it was when somebody looked last.
 * No system call that may wait for a file system is made with the lock held: other files go on.
 */
#ifndef FL_FILES_H
#define FL_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "status.h"
#include "visits.h"

#define FL_AT_ONCE ((size_t)16 << 20) /* bytes of one system call: slow is not the same as no answer */

typedef struct {
    char *path;
    int fd;             /* -1 while closed */
    int opening;        /* somebody opens it; the others wait */
    int users;          /* reads going on */
    uint64_t used_at;
    int growing;        /* size: the least that it may have; mtime_ns: not looked at */
    uint64_t size, inode, device;
    int64_t mtime_ns;
} fl_file;

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    fl_visits visits;
    fl_file **files;    /* by number; NULL where a number is free */
    int n, room, used, open, max_open;
    uint64_t clock;
} fl_files;

static void fl_files_init(fl_files *t, int max_open)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    fl_monotonic_cond_init(&t->opened);
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
    pthread_cond_destroy(&t->opened);
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
    fl_visits_rename(&t->visits, t->files[number]->path, copy);
    free(t->files[number]->path);
    t->files[number]->path = copy;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

/* The descriptor of a file that nobody reads just now, for the caller to close without the lock; -1 if it is read. */
static int fl_file_let_go(fl_files *t, fl_file *f)
{
    int fd = f && f->users == 0 && !f->opening ? f->fd : -1;
    if (fd >= 0) {
        f->fd = -1;
        t->open--;
    }
    return fd;
}

/* Close a file that nobody reads just now; it is opened again when it is needed. */
static void fl_files_close_idle(fl_files *t, int number)
{
    pthread_mutex_lock(&t->lock);
    int fd = fl_file_let_go(t, t->files[number]);
    pthread_mutex_unlock(&t->lock);
    if (fd >= 0)
        close(fd);
}

/* Close the file that was not read for the longest time. 0 if all are being read. The lock is let go meanwhile. */
static int fl_files_close_oldest(fl_files *t)
{
    fl_file *oldest = NULL;
    for (int i = 0; i < t->n; i++) {
        fl_file *f = t->files[i];
        if (f && f->fd >= 0 && f->users == 0 && !f->opening && (!oldest || f->used_at < oldest->used_at))
            oldest = f;
    }
    int fd = fl_file_let_go(t, oldest);
    if (fd < 0)
        return 0;
    pthread_mutex_unlock(&t->lock);
    close(fd);
    pthread_mutex_lock(&t->lock);
    return 1;
}

static int fl_fail_system(fl_error *e, int code, const char *path)
{
    e->sys_errno = code;
    return fl_fail(e, FL_SYSTEM, path);
}

/* Open a file, which nobody else does meanwhile. The lock is let go meanwhile. */
static int fl_files_open_now(fl_files *t, fl_file *f, fl_error *e)
{
    char *path = strdup(f->path); /* it may get another one meanwhile */
    struct stat s;
    int fd = -1, code = path ? 0 : ENOMEM, seen = -1, again;
    while (t->open >= t->max_open && fl_files_close_oldest(t))
        ; /* all of them are being read: go above the bound for as long as that lasts */
    do {
        fl_visit visit;
        fl_visit_begin(&t->visits, &visit, path ? path : "", f->device, fl_now_ns());
        pthread_mutex_unlock(&t->lock);
        fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (path && fd < 0)
            code = errno;
        if (fd >= 0 && (seen = fstat(fd, &s)) < 0)
            code = errno;
        pthread_mutex_lock(&t->lock);
        fl_visit_end(&t->visits, &visit);
        again = fd < 0 && (code == EMFILE || code == ENFILE) && fl_files_close_oldest(t);
    } while (again);
    free(path);
    if (fd >= 0 && seen == 0 && fl_file_is_open(f, &s)) {
        f->fd = fd;
        f->device = (uint64_t)s.st_dev;
        t->open++;
        return FL_OK;
    }
    if (fd >= 0) {
        pthread_mutex_unlock(&t->lock);
        close(fd);
        pthread_mutex_lock(&t->lock);
    }
    return fd < 0 || seen < 0 ? fl_fail_system(e, code, f->path) : fl_fail(e, FL_CHANGED, f->path);
}

/* See to it that a file is open, and stays so for the caller. The lock is held, and let go meanwhile. */
static int fl_files_enter(fl_files *t, fl_file *f, fl_error *e)
{
    uint64_t start = fl_now_ns();
    int rc = FL_OK, is_over = 0;
    for (;;) {
        if (is_over || fl_visits_hang(&t->visits, f->path, f->device, fl_now_ns()))
            return fl_fail(e, FL_SILENT, f->path);
        if (!f->opening)
            break;
        is_over = !fl_wait_patiently(&t->opened, &t->lock, start, t->visits.patience_ns);
    }
    f->used_at = ++t->clock;
    if (f->fd < 0) {
        f->opening = 1;
        rc = fl_files_open_now(t, f, e);
        f->opening = 0;
        pthread_cond_broadcast(&t->opened);
    }
    f->users += rc == FL_OK;
    return rc;
}

/* One piece of a file that is open. `visit` is in the list. */
static int fl_file_piece(fl_file *f, char *out, size_t size, uint64_t at, fl_error *e)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(f->fd, out + done, size - done, (off_t)(at + done));
        if (n == 0)
            return fl_fail(e, FL_SHORT, f->path);
        if (n < 0 && errno != EINTR)
            return fl_fail_system(e, errno, f->path);
        done += n > 0 ? (size_t)n : 0;
    }
    return FL_OK;
}

/* `size` bytes at `at` (OUT: out). They count only if the file is still the same afterwards. */
static int fl_files_read(fl_files *t, int number, void *out, size_t size, uint64_t at, fl_error *e)
{
    struct stat s;
    fl_visit visit;
    int seen = 0;
    size_t done = 0;
    pthread_mutex_lock(&t->lock);
    fl_file *f = t->files[number];
    int rc = fl_files_enter(t, f, e);
    if (rc) {
        pthread_mutex_unlock(&t->lock);
        return rc;
    }
    do {
        size_t piece = size - done < FL_AT_ONCE ? size - done : FL_AT_ONCE;
        fl_visit_begin(&t->visits, &visit, f->path, f->device, fl_now_ns());
        pthread_mutex_unlock(&t->lock);
        rc = fl_file_piece(f, (char *)out + done, piece, at + done, e);
        done += piece;
        if (rc || done == size)
            seen = fstat(f->fd, &s);
        pthread_mutex_lock(&t->lock);
        fl_visit_end(&t->visits, &visit);
    } while (rc == FL_OK && done < size);
    f->users--;
    if (rc == FL_OK && seen == 0 && !fl_file_is_open(f, &s))
        rc = fl_fail(e, FL_CHANGED, f->path);
    pthread_mutex_unlock(&t->lock);
    return rc;
}

/* For how long the first of those who wait has waited; 0: nobody waits. */
static uint64_t fl_files_waited(fl_files *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t waited = t->visits.oldest ? fl_now_ns() - t->visits.oldest->start_ns : 0;
    pthread_mutex_unlock(&t->lock);
    return waited;
}

/* See whether the file system of a path answers: as a visit, before others go there who cannot be told from here.
 * `deep`: open the file too, and read of it. 0 if it is known that it does not answer; nothing else is told. */
static int fl_files_answer(fl_files *t, const char *path, int deep)
{
    struct stat s;
    fl_visit visit;
    uint64_t now = fl_now_ns();
    pthread_mutex_lock(&t->lock);
    int hangs = fl_visits_hang(&t->visits, path, 0, now);
    if (!hangs)
        fl_visit_begin(&t->visits, &visit, path, 0, now);
    pthread_mutex_unlock(&t->lock);
    if (hangs)
        return 0;
    if (stat(path, &s) == 0 && deep && S_ISREG(s.st_mode)) {
        char byte;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        /* what is wrong with it is for HDF5 to say */
        if (fd >= 0 && pread(fd, &byte, 1, 0) > 0)
            (void)!pread(fd, &byte, 1, s.st_size - 1);
        if (fd >= 0)
            close(fd);
    }
    pthread_mutex_lock(&t->lock);
    fl_visit_end(&t->visits, &visit);
    pthread_mutex_unlock(&t->lock);
    return 1;
}

#endif
