/* SPDX-License-Identifier: MIT
 *
 * Who waits for which source just now, and since when: a system call on a file system that does not answer never comes
 * back, and cannot be called off. Who finds that others wait for the same for too long does not even begin.
 *
 * A visit is one system call, or a few. They are in order of their beginnings, so that only the oldest have to be looked
 * at. The lock that every function here needs is that of the table of files.
 */
#ifndef FL_VISITS_H
#define FL_VISITS_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FL_MOST_WAITING 4 /* so many wait for files of one folder, or of one device, that does not answer */

typedef struct fl_visit {
    const char *path;
    uint64_t device;      /* 0: not known yet */
    uint64_t start_ns;
    pthread_t thread;
    int is_told;          /* the watcher has seen that it lasts too long */
    struct fl_visit *before, *after;
} fl_visit;

typedef struct {
    fl_visit *oldest, *newest;
    uint64_t patience_ns; /* 0: wait for ever */
} fl_visits;

static inline uint64_t fl_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t fl_folder_bytes(const char *path)
{
    const char *end = strrchr(path, '/');
    return end ? (size_t)(end - path) : 0;
}

/* 1 if it is known of a file that nobody who asks for it gets an answer. */
static int fl_visits_hang(const fl_visits *v, const char *path, uint64_t device, uint64_t now)
{
    size_t folder = fl_folder_bytes(path);
    int near = 0;
    for (const fl_visit *w = v->oldest; w && v->patience_ns && now - w->start_ns > v->patience_ns; w = w->after) {
        if (!strcmp(w->path, path))
            return 1;
        near += (device && device == w->device) || (folder == fl_folder_bytes(w->path) && !memcmp(path, w->path, folder));
    }
    return near >= FL_MOST_WAITING;
}

/* 1 if anybody waits for too long. */
static int fl_visits_any_hangs(const fl_visits *v, uint64_t now)
{
    return v->patience_ns && v->oldest && now - v->oldest->start_ns > v->patience_ns;
}

static void fl_visit_begin(fl_visits *v, fl_visit *w, const char *path, uint64_t device, uint64_t now)
{
    *w = (fl_visit){.path = path, .device = device, .start_ns = now, .thread = pthread_self(), .before = v->newest};
    if (v->newest)
        v->newest->after = w;
    else
        v->oldest = w;
    v->newest = w;
}

static void fl_visit_end(fl_visits *v, fl_visit *w)
{
    if (w->before)
        w->before->after = w->after;
    else
        v->oldest = w->after;
    if (w->after)
        w->after->before = w->before;
    else
        v->newest = w->before;
}

/* A path is about to be freed, and another one is to be read instead. */
static void fl_visits_rename(fl_visits *v, const char *old, const char *path)
{
    for (fl_visit *w = v->oldest; w; w = w->after)
        if (w->path == old)
            w->path = path;
}

/* When a wait of a condition shall end: so many ns after `start_ns`, by the monotonic clock. */
static struct timespec fl_until(uint64_t start_ns, uint64_t patience_ns)
{
    uint64_t end = start_ns + patience_ns;
    return (struct timespec){.tv_sec = (time_t)(end / 1000000000u), .tv_nsec = (long)(end % 1000000000u)};
}

static void fl_monotonic_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t how;
    pthread_condattr_init(&how);
    pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
    pthread_cond_init(c, &how);
    pthread_condattr_destroy(&how);
}

/* Wait, but not longer than the patience since `start_ns` (0: for ever). 0 if that is over. */
static int fl_wait_patiently(pthread_cond_t *c, pthread_mutex_t *lock, uint64_t start_ns, uint64_t patience_ns)
{
    struct timespec until = fl_until(start_ns, patience_ns);
    if (!patience_ns)
        return pthread_cond_wait(c, lock) == 0;
    return pthread_cond_timedwait(c, lock, &until) == 0;
}

#endif
