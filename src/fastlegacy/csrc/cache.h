/* SPDX-License-Identifier: MIT
 *
 * The one cache of a process: chunks that will be asked for again, either as stored with the places of their blocks
 * (bitshuffle) or decoded (every other filter). Least recently used ones go first. A chunk as stored goes as soon as all
 * its bytes have been asked for: who reads a frame from end to end seldom comes back, and it is cheap to have again.
 * A chunk that several threads want is loaded by one of them while the others wait.
 *
 * Buffers of chunks that went are kept for the next ones, a few: fresh memory costs a page fault for each 4 KiB.
 */
#ifndef FL_CACHE_H
#define FL_CACHE_H

#include <pthread.h>
#include <stdlib.h>

#include "bitshuffle.h"
#include "status.h"
#include "visits.h"

#define FL_CACHE_SLOTS 4096
#define FL_SPARE 8 /* buffers that are kept */
#define FL_SPARE_BYTES 65536 /* smaller ones are not worth it */

enum { FL_LOADING, FL_READY, FL_FAILED };

typedef struct fl_entry {
    uint64_t owner, chunk; /* the key */
    int state;             /* FL_LOADING ... */
    int users;
    uint64_t start_ns;     /* when somebody began to load it */
    uint8_t *data;
    size_t room;           /* bytes that are allocated at data */
    size_t bytes;          /* what it costs: data and block places */
    uint64_t size, served; /* it may go when so many bytes were asked for; so many were */
    fl_blocks blocks;      /* used where the chunk is kept as stored */
    struct fl_entry *next;            /* in its slot */
    struct fl_entry *newer, *older;   /* by last use */
} fl_entry;

typedef struct {
    uint8_t *data;
    size_t room;
} fl_spare;

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t loaded;
    fl_spare spare[FL_SPARE];
    fl_entry *slots[FL_CACHE_SLOTS];
    fl_entry *newest, *oldest;
    size_t bytes, max_bytes;
    uint64_t hits, misses, patience_ns; /* how long one waits for what another loads; 0: for ever */
} fl_cache;

static void fl_cache_init(fl_cache *c, size_t max_bytes)
{
    memset(c, 0, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    fl_monotonic_cond_init(&c->loaded);
    c->max_bytes = max_bytes;
}

static inline fl_entry **fl_cache_slot(fl_cache *c, uint64_t owner, uint64_t chunk)
{
    uint64_t h = (owner * 0x9E3779B97F4A7C15ULL) ^ (chunk * 0xC2B2AE3D27D4EB4FULL);
    return &c->slots[(h >> 40) % FL_CACHE_SLOTS];
}

static void fl_cache_unlink_use(fl_cache *c, fl_entry *e)
{
    if (e->newer) e->newer->older = e->older; else c->newest = e->older;
    if (e->older) e->older->newer = e->newer; else c->oldest = e->newer;
    e->newer = e->older = NULL;
}

static void fl_cache_link_newest(fl_cache *c, fl_entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    if (c->newest) c->newest->newer = e; else c->oldest = e;
    c->newest = e;
}

/* Keep a buffer for later, in place of a smaller one if need be. Spare ones count as used. The lock is held. */
static void fl_cache_keep(fl_cache *c, uint8_t *data, size_t room)
{
    fl_spare *smallest = &c->spare[0];
    for (int i = 1; i < FL_SPARE; i++)
        if (c->spare[i].room < smallest->room)
            smallest = &c->spare[i];
    if (data && room >= FL_SPARE_BYTES && room > smallest->room && room <= c->max_bytes / (2 * FL_SPARE)) {
        fl_spare out = *smallest;
        *smallest = (fl_spare){data, room};
        c->bytes += room - out.room;
        data = out.data;
    }
    free(data);
}

/* A buffer of at least `size` bytes (OUT: how many), or NULL. */
static uint8_t *fl_cache_buffer(fl_cache *c, size_t size, size_t *room)
{
    fl_spare found = {NULL, 0};
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < FL_SPARE; i++) {
        fl_spare *s = &c->spare[i];
        if (s->room >= size && s->room / 4 <= size) {
            found = *s;
            *s = (fl_spare){NULL, 0};
            c->bytes -= found.room;
            break;
        }
    }
    pthread_mutex_unlock(&c->lock);
    *room = found.data ? found.room : size;
    if (!found.data && size >= FL_SPARE_BYTES)
        *room += size / 8; /* the next chunk will be a little larger or smaller */
    return found.data ? found.data : malloc(*room ? *room : 1);
}

static void fl_cache_give_back(fl_cache *c, uint8_t *data, size_t room)
{
    pthread_mutex_lock(&c->lock);
    fl_cache_keep(c, data, room);
    pthread_mutex_unlock(&c->lock);
}

/* Take an entry out and free it. The lock is held; nobody uses the entry. */
static void fl_cache_drop(fl_cache *c, fl_entry *e)
{
    fl_entry **p = fl_cache_slot(c, e->owner, e->chunk);
    while (*p != e)
        p = &(*p)->next;
    *p = e->next;
    fl_cache_unlink_use(c, e);
    c->bytes -= e->bytes;
    fl_blocks_close(&e->blocks);
    fl_cache_keep(c, e->data, e->room);
    free(e);
}

static void fl_cache_shrink(fl_cache *c, size_t max_bytes)
{
    for (int i = 0; i < FL_SPARE && c->bytes > max_bytes; i++) {
        c->bytes -= c->spare[i].room;
        free(c->spare[i].data);
        c->spare[i] = (fl_spare){NULL, 0};
    }
    fl_entry *e = c->oldest;
    while (e && c->bytes > max_bytes) {
        fl_entry *newer = e->newer;
        if (e->users == 0 && e->state == FL_READY)
            fl_cache_drop(c, e);
        e = newer;
    }
}

static void fl_cache_set_max(fl_cache *c, size_t max_bytes)
{
    pthread_mutex_lock(&c->lock);
    c->max_bytes = max_bytes;
    fl_cache_shrink(c, max_bytes);
    pthread_mutex_unlock(&c->lock);
}

/* Forget all chunks of an owner that goes away; nobody reads from it any more. */
static void fl_cache_forget(fl_cache *c, uint64_t owner)
{
    pthread_mutex_lock(&c->lock);
    for (fl_entry *e = c->oldest; e;) {
        fl_entry *newer = e->newer;
        if (e->owner == owner && e->users == 0)
            fl_cache_drop(c, e);
        e = newer;
    }
    pthread_mutex_unlock(&c->lock);
}

static void fl_cache_free(fl_cache *c)
{
    while (c->oldest)
        fl_cache_drop(c, c->oldest);
    for (int i = 0; i < FL_SPARE; i++)
        free(c->spare[i].data);
    pthread_cond_destroy(&c->loaded);
    pthread_mutex_destroy(&c->lock);
}

/* The entry of a chunk, held for the caller until fl_cache_release. `*mine` is set to 1 where the caller has to load
 * it and then call fl_cache_loaded. Without `make`, NULL where the chunk is not there; NULL also without memory, and,
 * with `*mine` -1, where whoever loads it waits for a source that does not answer. */
static fl_entry *fl_cache_get(fl_cache *c, uint64_t owner, uint64_t chunk, int make, int *mine)
{
    *mine = 0;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        fl_entry *e = *fl_cache_slot(c, owner, chunk);
        while (e && (e->owner != owner || e->chunk != chunk))
            e = e->next;
        if (!e) {
            if (make && (e = calloc(1, sizeof *e))) {
                fl_entry **slot = fl_cache_slot(c, owner, chunk);
                e->owner = owner;
                e->chunk = chunk;
                e->state = FL_LOADING;
                e->users = 1;
                e->start_ns = fl_now_ns();
                e->next = *slot;
                *slot = e;
                fl_cache_link_newest(c, e);
                c->misses++;
                *mine = 1;
            }
            pthread_mutex_unlock(&c->lock);
            return e;
        }
        if (e->state == FL_READY) {
            e->users++;
            c->hits++;
            fl_cache_unlink_use(c, e);
            fl_cache_link_newest(c, e);
            pthread_mutex_unlock(&c->lock);
            return e;
        }
        if (!make && e->state == FL_LOADING) {
            pthread_mutex_unlock(&c->lock);
            return NULL;
        }
        /* a failed one goes away, and the next of us tries again */
        if (!fl_wait_patiently(&c->loaded, &c->lock, e->start_ns, c->patience_ns)) {
            *mine = -1;
            pthread_mutex_unlock(&c->lock);
            return NULL;
        }
    }
}

static int fl_cache_none(int mine, fl_error *e)
{
    return mine < 0 ? fl_fail(e, FL_SILENT, "another read waits for it") : fl_fail(e, FL_NOMEM, "");
}

/* The caller has taken `served` bytes from the entry and needs it no longer. */
static void fl_cache_release(fl_cache *c, fl_entry *e, size_t served)
{
    pthread_mutex_lock(&c->lock);
    e->users--;
    e->served += served;
    if (e->state == FL_FAILED && e->users == 0) {
        fl_cache_drop(c, e);
        pthread_cond_broadcast(&c->loaded);
    } else if (e->state == FL_READY && e->users == 0 && e->served >= e->size) {
        fl_cache_drop(c, e);
    } else {
        fl_cache_shrink(c, c->max_bytes);
    }
    pthread_mutex_unlock(&c->lock);
}

/* The caller of fl_cache_get has filled data and blocks (ok), or could not. It still holds the entry. */
static void fl_cache_loaded(fl_cache *c, fl_entry *e, int ok)
{
    pthread_mutex_lock(&c->lock);
    e->state = ok ? FL_READY : FL_FAILED;
    c->bytes += e->bytes;
    if (ok)
        fl_cache_shrink(c, c->max_bytes);
    pthread_cond_broadcast(&c->loaded);
    pthread_mutex_unlock(&c->lock);
}

#endif
