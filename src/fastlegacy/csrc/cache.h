/* SPDX-License-Identifier: MIT
 *
 * The one cache of a process: chunks that will be asked for again, either as stored with the places of their blocks
 * (bitshuffle) or decoded (every other filter). Least recently used ones go first. A chunk as stored goes as soon as all
 * its bytes have been asked for: who reads a frame from end to end seldom comes back, and it is cheap to have again.
 * A chunk that several threads want is loaded by one of them while the others wait.
 *
 * Chunks that are loaded before anybody asks for them take a part of the room at most, and go after some time if nobody
 * has asked.
 *
 * Buffers of chunks that went are kept for the next ones, a few: fresh memory costs a page fault for each 4 KiB.
 *
 * Who is going to need memory says how much before (fl_plan_begin), and waits until there is as much below the bound: what
 * is kept goes first. When nobody else is at work he need not wait, whatever he needs: so a chunk that is larger than
 * the bound can be read, too. But what somebody has used a moment ago, shorter than it took to load it, is not pushed out
 * at once: of many readers for whom there is not enough room, some come to the end of their chunk, and then others;
 * otherwise each request would load a chunk anew. A thread that has a plan never waits for another one, whatever it does: so those that work
 * come to an end. A thread that loads an entry always has a plan.
 */
#ifndef FL_CACHE_H
#define FL_CACHE_H

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "bitshuffle.h"
#include "status.h"
#include "visits.h"

#define FL_CACHE_SLOTS 4096
#define FL_SPARE 8 /* buffers that are kept */
#define FL_SPARE_BYTES 65536 /* smaller ones are not worth it */
#define FL_AHEAD_PART 4 /* 1/4 of the room is for what nobody has asked for yet */
#define FL_AHEAD_NS 5000000000 /* what nobody has asked for until then was loaded in vain */
#define FL_MOST_HOT_NS 300000000
#define FL_PATIENCE_NS 2000000000
#define FL_COOLER_NS 4000000

enum { FL_LOADING, FL_READY, FL_FAILED };

typedef struct fl_entry {
    uint64_t owner, chunk; /* the key */
    int state;             /* FL_LOADING ... */
    int users;
    uint8_t *data;
    size_t room;           /* bytes that are allocated at data */
    size_t bytes;          /* what it costs: data and block places */
    uint64_t made_ns, used_ns, cost_ns; /* when, and how long it took to load it */
    uint64_t size, served; /* it may go when so many bytes were asked for; so many were */
    fl_blocks blocks;      /* used where the chunk is kept as stored */
    size_t ahead;          /* bytes that count as loaded before anybody has asked; 0 as soon as somebody has */
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
    size_t bytes, max_bytes, ahead_bytes;
    size_t planned;    /* bytes that those at work have said they need */
    int working, waiting, in_use;
    uint64_t hits, misses, ahead_loads, ahead_hits;
    uint64_t patience_ns; /* how long one waits for what another loads; 0: for ever */
} fl_cache;

static _Thread_local int fl_plans_here; /* of this thread; those within the first one count for nothing */

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
    c->ahead_bytes -= e->ahead;
    fl_blocks_close(&e->blocks);
    fl_cache_keep(c, e->data, e->room);
    free(e);
}

/* Let go of what nobody uses, but for one entry (or NULL), until no more than so much is left. The lock is held. */
static void fl_cache_shrink(fl_cache *c, size_t max_bytes, const fl_entry *but)
{
    for (int i = 0; i < FL_SPARE && c->bytes > max_bytes; i++) {
        c->bytes -= c->spare[i].room;
        free(c->spare[i].data);
        c->spare[i] = (fl_spare){NULL, 0};
    }
    fl_entry *e = c->oldest;
    while (e && c->bytes > max_bytes) {
        fl_entry *newer = e->newer;
        if (e->users == 0 && e->state == FL_READY && e != but)
            fl_cache_drop(c, e);
        e = newer;
    }
}

/* Keep the bound. What was decoded last stays even if it is larger: else each part that is read of it would decode all
 * of it anew. The lock is held. */
static void fl_cache_tidy(fl_cache *c)
{
    const fl_entry *last = c->newest;
    size_t left = c->max_bytes > c->planned ? c->max_bytes - c->planned : 0;
    int is_dear = last && last->size == UINT64_MAX && c->max_bytes >= FL_SPARE_BYTES;
    fl_cache_shrink(c, left, is_dear ? last : NULL);
}

/* 1 if somebody still reads what would have to go for so much to be left. The lock is held. */
static int fl_cache_is_hot(const fl_cache *c, size_t left, uint64_t now)
{
    size_t bytes = c->bytes;
    for (int i = 0; i < FL_SPARE; i++)
        bytes -= c->spare[i].room;
    for (const fl_entry *e = c->oldest; e && bytes > left; e = e->newer) {
        uint64_t hold = e->cost_ns < FL_MOST_HOT_NS ? e->cost_ns : FL_MOST_HOT_NS;
        if (e->state == FL_READY && now < e->used_ns + hold)
            return 1;
        bytes -= e->bytes;
    }
    return 0;
}

/* 1 if somebody who needs so much, and waits since then, may begin; there is room for him then. The lock is held. */
static int fl_plan_fits(fl_cache *c, size_t need, uint64_t since)
{
    if (fl_plans_here)
        return 1;
    size_t planned = c->planned + need, left = planned > c->max_bytes ? 0 : c->max_bytes - planned;
    uint64_t now = fl_now_ns();
    if (c->working && planned > c->max_bytes)
        return 0;
    if (c->bytes > left && now < since + FL_PATIENCE_NS && fl_cache_is_hot(c, left, now))
        return 0;
    fl_cache_shrink(c, left, NULL);
    return c->bytes <= left || (!c->working && !c->in_use);
}

static void fl_plan_enter(fl_cache *c, size_t need)
{
    if (fl_plans_here++ == 0) {
        c->planned += need;
        c->working++;
    }
}

static void fl_plan_wait(fl_cache *c)
{
    c->waiting++;
    fl_wait_patiently(&c->loaded, &c->lock, fl_now_ns(), FL_COOLER_NS); /* what is hot becomes cold by itself */
    c->waiting--;
}

/* 1 if those who would have to make room have not done so for too long: they wait for a source that does not answer. */
static int fl_plan_is_late(const fl_cache *c, uint64_t since)
{
    return c->patience_ns && fl_now_ns() - since > c->patience_ns;
}

/* Wait until there is room for so many bytes. They count until fl_plan_end with the same number. */
static void fl_plan_begin(fl_cache *c, size_t need)
{
    uint64_t since = fl_now_ns();
    pthread_mutex_lock(&c->lock);
    while (!fl_plan_fits(c, need, since) && !fl_plan_is_late(c, since))
        fl_plan_wait(c);
    fl_plan_enter(c, need);
    pthread_mutex_unlock(&c->lock);
}

static void fl_plan_end(fl_cache *c, size_t need)
{
    pthread_mutex_lock(&c->lock);
    if (--fl_plans_here == 0) {
        c->planned -= need;
        c->working--;
        fl_cache_tidy(c);
        pthread_cond_broadcast(&c->loaded);
    }
    pthread_mutex_unlock(&c->lock);
}

static void fl_cache_set_max(fl_cache *c, size_t max_bytes)
{
    pthread_mutex_lock(&c->lock);
    c->max_bytes = max_bytes;
    fl_cache_shrink(c, max_bytes, NULL);
    pthread_cond_broadcast(&c->loaded);
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

/* The entry of a chunk, or NULL. The lock is held. */
static fl_entry *fl_cache_find(fl_cache *c, uint64_t owner, uint64_t chunk)
{
    fl_entry *e = *fl_cache_slot(c, owner, chunk);
    while (e && (e->owner != owner || e->chunk != chunk))
        e = e->next;
    return e;
}

/* A new entry that its maker has to load, for which it has a plan of `need` bytes from now on; NULL without memory. The
 * lock is held. */
static fl_entry *fl_cache_make(fl_cache *c, uint64_t owner, uint64_t chunk, size_t need)
{
    fl_entry *e = calloc(1, sizeof *e), **slot = fl_cache_slot(c, owner, chunk);
    if (!e)
        return NULL;
    fl_plan_enter(c, need);
    e->owner = owner;
    e->chunk = chunk;
    e->state = FL_LOADING;
    e->users = 1;
    e->made_ns = fl_now_ns();
    c->in_use++;
    e->next = *slot;
    *slot = e;
    fl_cache_link_newest(c, e);
    return e;
}

/* The entry of a chunk, held for the caller until fl_cache_release. `*mine` is set to 1 where the caller has to load
 * it, for which it needs `need` bytes, and then call fl_cache_loaded. `need` 0: NULL where the chunk is not there; NULL
 * also without memory, and, with `*mine` -1, where those who have to come first wait for a source that does not answer. */
static fl_entry *fl_cache_get(fl_cache *c, uint64_t owner, uint64_t chunk, size_t need, int *mine)
{
    uint64_t since = fl_now_ns();
    fl_entry *e;
    *mine = 0;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        e = fl_cache_find(c, owner, chunk);
        if (!e) {
            if (need && !fl_plan_fits(c, need, since)) {
                if (fl_plan_is_late(c, since)) {
                    *mine = -1;
                    break;
                }
                fl_plan_wait(c);
                continue;
            }
            e = need ? fl_cache_make(c, owner, chunk, need) : NULL;
            c->misses += e != NULL;
            *mine = e != NULL;
            break;
        }
        if (e->state == FL_READY) {
            e->users++;
            e->used_ns = fl_now_ns();
            c->in_use++;
            c->hits++;
            c->ahead_hits += e->ahead != 0;
            c->ahead_bytes -= e->ahead;
            e->ahead = 0;
            fl_cache_unlink_use(c, e);
            fl_cache_link_newest(c, e);
            break;
        }
        if (!need && e->state == FL_LOADING) {
            e = NULL;
            break;
        }
        /* a failed one goes away, and the next of us tries again */
        if (!fl_wait_patiently(&c->loaded, &c->lock, e->made_ns, c->patience_ns)) {
            *mine = -1;
            e = NULL;
            break;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return e;
}

static int fl_cache_none(int mine, fl_error *e)
{
    return mine < 0 ? fl_fail(e, FL_SILENT, "another read waits for it") : fl_fail(e, FL_NOMEM, "");
}

/* 1 if a chunk is there, or is being loaded. */
static int fl_cache_has(fl_cache *c, uint64_t owner, uint64_t chunk)
{
    pthread_mutex_lock(&c->lock);
    int found = fl_cache_find(c, owner, chunk) != NULL;
    pthread_mutex_unlock(&c->lock);
    return found;
}

/* Let go of what was loaded in vain. The lock is held. */
static void fl_cache_drop_vain(fl_cache *c, uint64_t now_ns)
{
    for (fl_entry *e = c->oldest, *newer; e; e = newer) {
        newer = e->newer;
        if (e->ahead && e->users == 0 && e->state == FL_READY && now_ns - e->made_ns > FL_AHEAD_NS)
            fl_cache_drop(c, e);
    }
}

/* An entry of about `bytes` to load before anybody asks for it, for which `need` bytes are needed; then
 * fl_cache_loaded_ahead. NULL where it is there already, where there is no room for what nobody has asked for,
 * or where one would have to wait for memory. */
static fl_entry *fl_cache_get_ahead(fl_cache *c, uint64_t owner, uint64_t chunk, size_t bytes, size_t need)
{
    fl_entry *e = NULL;
    uint64_t now_ns = fl_now_ns();
    pthread_mutex_lock(&c->lock);
    size_t most = c->max_bytes / FL_AHEAD_PART;
    if (c->ahead_bytes + bytes > most)
        fl_cache_drop_vain(c, now_ns);
    if (c->ahead_bytes + bytes <= most && !fl_cache_find(c, owner, chunk) && fl_plan_fits(c, need, now_ns))
        e = fl_cache_make(c, owner, chunk, need);
    if (e) {
        e->ahead = bytes;
        c->ahead_bytes += bytes;
        c->ahead_loads++;
    }
    pthread_mutex_unlock(&c->lock);
    return e;
}

/* The caller has taken `served` bytes from the entry and needs it no longer. */
static void fl_cache_release(fl_cache *c, fl_entry *e, size_t served)
{
    pthread_mutex_lock(&c->lock);
    int left = --e->users;
    c->in_use--;
    e->served += served;
    if (e->state == FL_FAILED && e->users == 0) {
        fl_cache_drop(c, e);
        pthread_cond_broadcast(&c->loaded);
    } else if (e->state == FL_READY && e->users == 0 && e->served >= e->size) {
        fl_cache_drop(c, e);
    } else {
        fl_cache_tidy(c);
    }
    if (c->waiting && left == 0)
        pthread_cond_broadcast(&c->loaded);
    pthread_mutex_unlock(&c->lock);
}

/* The caller of fl_cache_get has filled data and blocks (ok), or could not. It still holds the entry. */
static void fl_cache_loaded(fl_cache *c, fl_entry *e, size_t need, int ok)
{
    pthread_mutex_lock(&c->lock);
    e->state = ok ? FL_READY : FL_FAILED;
    e->used_ns = fl_now_ns();
    e->cost_ns = e->used_ns - e->made_ns;
    c->bytes += e->bytes;
    if (e->ahead) { /* until now it was a guess */
        c->ahead_bytes += e->bytes - e->ahead;
        e->ahead = e->bytes;
    }
    pthread_cond_broadcast(&c->loaded);
    pthread_mutex_unlock(&c->lock);
    fl_plan_end(c, need);
}

/* The caller of fl_cache_get_ahead is done. Returns `ok`. */
static int fl_cache_loaded_ahead(fl_cache *c, fl_entry *e, size_t need, int ok)
{
    fl_cache_loaded(c, e, need, ok);
    fl_cache_release(c, e, 0);
    return ok;
}

#endif
