/* SPDX-License-Identifier: MIT
 *
 * Reading ahead: who reads in order finds decoded already what comes next, by threads that have nothing else to do. The
 * kernel's own readahead is 128 KiB for all but root, and ends with the file.
 *
 * A reader is a thread of a program. What it reads in order makes a window, which grows as long as it goes on, beyond
 * the end of the file into those that follow: they are as many frames apart as the last two that it has read. Who jumps
 * begins anew, and what was still to be loaded for him is forgotten.
 *
 * Nothing is decoded to memory of its own: chunks are loaded into the one cache, as the reader himself would do it, and
 * fl_cache_get_ahead says how many bytes there may be that nobody has asked for yet.
 */
#ifndef FL_AHEAD_H
#define FL_AHEAD_H

#include <signal.h>

#include "fuse_ops.h"

#define FL_READERS 64
#define FL_JOBS 256
#define FL_AHEAD_THREADS 32
#define FL_IN_ORDER (256 << 10)   /* bytes; who has read so many in order, or half a file, goes on, it is supposed */
#define FL_AHEAD_FIRST (2 << 20)  /* bytes of the first window */
#define FL_AHEAD_LEAST (4 << 20)  /* bytes that a window may grow to where files are small: it holds several */
#define FL_OUT_OF_ORDER (4 << 20) /* bytes; the kernel asks for many ranges at a time, and they come as they come */
#define FL_AHEAD_END_NS 2000000000 /* so long the end of a mount waits: a disk may hang */
#define FL_AHEAD_IDLE_NS 30000000000

typedef struct {
    uint32_t who;         /* the kernel's number of the thread; with `what` and `turn` 0: nobody */
    const void *what;     /* what its files are made of */
    int64_t frame, stride;
    int64_t low, high;    /* bytes of the file that were asked for in order */
    int64_t until;        /* so far it was loaded, bytes from the beginning of the file; may be beyond its end */
    int64_t window;
    uint64_t turn, used;  /* another number after each jump; when it was used last */
} fl_reader;

typedef struct {
    fl_vfile *file;
    fl_owner *owner;
    int64_t shift, from, to; /* frames further on than this file; bytes */
    int reader;
    uint64_t turn;
} fl_job;

typedef struct {
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t news;
    fl_reader readers[FL_READERS];
    fl_job jobs[FL_JOBS]; /* a ring */
    int first, n;
    int threads, most;    /* that run; that may */
    int64_t most_bytes;   /* of a window */
    int busy, stop;
    uint64_t clock;
    uint64_t frames;      /* of which something was loaded */
} fl_ahead;

static void fl_ahead_init(fl_ahead *a, int most, int64_t most_bytes)
{
    memset(a, 0, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    fl_monotonic_cond_init(&a->news);
    a->most = most < 0 ? 0 : most > FL_AHEAD_THREADS ? FL_AHEAD_THREADS : most;
    a->most_bytes = most_bytes;
}

static fl_job fl_job_next(fl_ahead *a)
{
    fl_job j = a->jobs[a->first];
    a->first = (a->first + 1) % FL_JOBS;
    a->n--;
    return j;
}

static void *fl_ahead_work(void *argument)
{
    fl_ahead *a = argument;
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        if (a->n == 0) {
            pthread_cond_wait(&a->news, &a->lock);
            continue;
        }
        fl_job j = fl_job_next(a);
        int wanted = a->readers[j.reader].turn == j.turn;
        a->busy++;
        pthread_mutex_unlock(&a->lock);
        int64_t frames = wanted ? fl_vfile_ahead(j.file, j.shift, j.from, j.to) : 0;
        fl_file_leave(j.file, j.owner);
        pthread_mutex_lock(&a->lock);
        a->busy--;
        a->frames += (uint64_t)frames;
        if (a->n == 0 && a->busy == 0)
            pthread_cond_broadcast(&a->news); /* for who waits until all is done */
    }
    a->threads--;
    pthread_cond_broadcast(&a->news);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* See to it that somebody does what there is to do. The lock is held. */
static void fl_ahead_wake(fl_ahead *a)
{
    sigset_t all, before;
    pthread_attr_t detached;
    pthread_t thread;
    if (a->threads - a->busy < a->n && a->threads < a->most) {
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&thread, &detached, fl_ahead_work, a) == 0)
            a->threads++;
        pthread_attr_destroy(&detached);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_cond_signal(&a->news);
}

/* Let bytes [from, to) be loaded, counted from the beginning of an open file on through those that follow. */
static void fl_ahead_push(fl_ahead *a, const fl_handle *h, const fl_piece *one, const fl_reader *r, int64_t from, int64_t to)
{
    int64_t size = h->file->size;
    for (int64_t k = from / size; k * size < to && a->n < FL_JOBS && !a->stop; k++) {
        int64_t shift = k * r->stride;
        if (k > 0 && (!one || one->first_frame + shift < 0 || one->first_frame + shift >= h->file->stack->frames))
            break;
        fl_job j = {h->file, h->owner, shift, from - k * size, to - k * size, (int)(r - a->readers), r->turn};
        j.from = j.from < 0 ? 0 : j.from;
        j.to = j.to > size ? size : j.to;
        fl_file_keep(h->file, h->owner);
        a->jobs[(a->first + a->n++) % FL_JOBS] = j;
        fl_ahead_wake(a);
    }
}

static void fl_reader_begin(fl_ahead *a, fl_reader *r, int64_t at)
{
    r->low = r->high = r->until = at;
    r->window = FL_AHEAD_FIRST;
    r->turn = ++a->clock;
}

/* The reader that a request is of: the one that is known, or in place of who was not there for the longest time. */
static fl_reader *fl_reader_of(fl_ahead *a, uint32_t who, const void *what, int64_t frame)
{
    fl_reader *found = &a->readers[0];
    for (int i = 0; i < FL_READERS; i++) {
        fl_reader *r = &a->readers[i];
        if (r->turn && r->who == who && r->what == what)
            return r;
        if (r->used < found->used)
            found = r;
    }
    *found = (fl_reader){.who = who, .what = what, .frame = frame, .stride = 1};
    fl_reader_begin(a, found, 0);
    return found;
}

/* 1 if a reader has read so much in order that it goes on. */
static int fl_reader_goes_on(const fl_reader *r, int64_t size)
{
    return r->high - r->low >= (size / 2 < FL_IN_ORDER ? size / 2 : FL_IN_ORDER);
}

static void fl_reader_moves(fl_ahead *a, fl_reader *r, int64_t frame, int64_t size, int64_t at, int64_t n)
{
    if (frame != r->frame) {
        int64_t stride = frame - r->frame;
        int whole = fl_reader_goes_on(r, size) && r->high > size - FL_OUT_OF_ORDER;
        if (whole && stride == r->stride) {
            r->low = -FL_IN_ORDER;
            r->high = 0;
            r->until = r->until > size ? r->until - size : 0;
        } else {
            fl_reader_begin(a, r, 0);
        }
        r->frame = frame;
        r->stride = stride;
    }
    if (at > r->high + FL_OUT_OF_ORDER || at + n < r->high - FL_OUT_OF_ORDER)
        fl_reader_begin(a, r, at);
    if (at + n > r->high)
        r->high = at + n;
}

/* How large a window may become: each thread has a file to do, and the cache has room for all of it once decoded. */
static int64_t fl_ahead_widest(const fl_ahead *a, int64_t size)
{
    int64_t files = size > INT64_MAX / FL_AHEAD_THREADS ? size : a->most * size;
    files = files < FL_AHEAD_LEAST ? FL_AHEAD_LEAST : files;
    return files < a->most_bytes ? files : a->most_bytes;
}

/* Somebody was given `n` bytes of an open virtual file. */
static void fl_ahead_seen(fl_ahead *a, const fl_handle *h, uint32_t who, int64_t at, int64_t n)
{
    if (n <= 0)
        return;
    const fl_vfile *v = h->file;
    const fl_piece *one = fl_vfile_frame(v);
    const void *what = !one ? (const void *)v : one->kind == FL_PIXELS ? (const void *)v->stack : one->coder;
    int64_t frame = one ? one->first_frame : 0;
    pthread_mutex_lock(&a->lock);
    fl_reader *r = fl_reader_of(a, who, what, frame);
    r->used = ++a->clock;
    fl_reader_moves(a, r, frame, v->size, at, n);
    if (fl_reader_goes_on(r, v->size)) {
        int64_t from = r->until > r->high ? r->until : r->high, most = fl_ahead_widest(a, v->size);
        int64_t window = r->window < most ? r->window : most, to = r->high + window;
        if (!one && to > v->size)
            to = v->size;
        if (to - from >= window / 2 || (!one && to == v->size && from < to)) {
            fl_ahead_push(a, h, one, r, from, to);
            r->until = to;
            r->window = 2 * window < most ? 2 * window : most;
        }
    }
    pthread_mutex_unlock(&a->lock);
}

/* Wait until nothing is left to do, or all have ended. Returns 0 if that takes too long. */
static int fl_ahead_wait(fl_ahead *a, int until_ended)
{
    uint64_t start = fl_now_ns(), patience = until_ended ? FL_AHEAD_END_NS : FL_AHEAD_IDLE_NS;
    int late = 0, done;
    pthread_mutex_lock(&a->lock);
    while (!(done = until_ended ? a->threads == 0 : a->n == 0 && a->busy == 0) && !late)
        late = !fl_wait_patiently(&a->news, &a->lock, start, patience);
    pthread_mutex_unlock(&a->lock);
    return done;
}

/* Forget what is left to do. Returns 0 if a thread does not come back: then nothing here may be freed. */
static int fl_ahead_stop(fl_ahead *a)
{
    pthread_mutex_lock(&a->lock);
    a->stop = 1;
    while (a->n) {
        fl_job j = fl_job_next(a);
        fl_file_leave(j.file, j.owner);
    }
    pthread_cond_broadcast(&a->news);
    pthread_mutex_unlock(&a->lock);
    return fl_ahead_wait(a, 1);
}

#endif
