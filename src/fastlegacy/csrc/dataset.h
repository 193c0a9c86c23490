/* SPDX-License-Identifier: MIT
 *
 * One dataset as HDF5 stores it: any range of the bytes of any of its chunks.
 *
 * A dataset that is not chunked counts as one chunk that is the whole of it.
 */
#ifndef FL_DATASET_H
#define FL_DATASET_H

#include "files.h"
#include "filters.h"

#define FL_MAX_DIMS 16
#define FL_NOWHERE UINT64_MAX /* the address of a chunk that was never written (HADDR_UNDEF) */

enum {
    FL_CONTIGUOUS, /* in one piece at `address` of `file` */
    FL_CHUNKED,    /* by the chunk map */
    FL_MEMORY,     /* compact storage: in `memory` */
    FL_BY_PYTHON   /* chunk by chunk through `load`, which is h5py */
};

typedef struct fl_dataset fl_dataset;

struct fl_dataset {
    uint64_t id;             /* unique in the process: the cache's key */
    char *name;              /* "file::path" for messages */
    int kind;                /* FL_CONTIGUOUS ... */
    int ndim;
    int64_t shape[FL_MAX_DIMS], chunk[FL_MAX_DIMS], grid[FL_MAX_DIMS];
    size_t itemsize, chunk_bytes;
    uint8_t fill[16];        /* fill value, itemsize bytes */
    int file;
    uint64_t address;
    const uint8_t *memory;
    /* the chunk map, in order of the grid: arrays that belong to Python */
    const uint64_t *addresses, *sizes;
    const uint32_t *masks;
    int64_t n_chunks;
    fl_pipeline pipeline;
    fl_files *files;
    fl_cache *cache;
    void *owner;             /* the Python object, for the two hooks */
    int ready;               /* the chunk map is there; written once, read with __atomic */
    int (*prepare)(fl_dataset *, fl_error *);
    int (*load)(fl_dataset *, int64_t chunk, uint8_t *out, fl_error *);
};

/* `n` bytes of an endless row of fill values, from byte `at` on. */
static void fl_fill(uint8_t *out, size_t n, size_t at, const uint8_t *fill, size_t itemsize)
{
    int same = 1;
    for (size_t i = 1; i < itemsize; i++)
        same &= fill[i] == fill[0];
    if (same) {
        memset(out, fill[0], n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = fill[(at + i) % itemsize];
}

static int fl_dataset_ready(fl_dataset *d, fl_error *e)
{
    if (__atomic_load_n(&d->ready, __ATOMIC_ACQUIRE))
        return FL_OK;
    return d->prepare ? d->prepare(d, e) : fl_fail(e, FL_RANGE, "no chunk map");
}

static int fl_chunk_read_raw(const fl_dataset *d, int64_t chunk, uint8_t *out, fl_error *e)
{
    return fl_files_read(d->files, d->file, out, d->sizes[chunk], d->addresses[chunk], e);
}

/* So much memory does it take at most to decode a chunk to the caller's memory. What a plugin, or HDF5, takes counts. */
static size_t fl_chunk_need(const fl_dataset *d, int64_t chunk)
{
    if (d->kind == FL_BY_PYTHON)
        return 4 * d->chunk_bytes;
    if (d->kind != FL_CHUNKED)
        return 1;
    size_t stored = d->sizes[chunk] + d->sizes[chunk] / 8 + 1, between = 0;
    for (int i = 0; i < d->pipeline.n; i++)
        if (d->pipeline.stages[i].kind == FL_STAGE_PLUGIN || i)
            between = d->chunk_bytes;
    return stored + between;
}

/* The same of any chunk of a dataset of which the chunk map need not be there. */
static size_t fl_dataset_need(const fl_dataset *d)
{
    return d->kind == FL_BY_PYTHON ? 4 * d->chunk_bytes : d->kind == FL_CHUNKED ? 2 * d->chunk_bytes : 1;
}

/* A whole chunk, decoded to the caller's memory. */
static int fl_chunk_whole(const fl_dataset *d, int64_t chunk, uint8_t *out, fl_error *e)
{
    fl_buffer stored;
    if (!fl_buffer_take(&stored, d->cache, d->sizes[chunk]))
        return fl_fail(e, FL_NOMEM, "");
    int rc = fl_chunk_read_raw(d, chunk, stored.data, e);
    if (rc == FL_OK)
        rc = fl_pipeline_undo(&d->pipeline, d->masks[chunk], d->cache, &stored, d->sizes[chunk], out, d->chunk_bytes, e);
    fl_buffer_give(&stored, d->cache);
    return rc;
}

/* Fill a cache entry: stored bytes with block places, or the decoded chunk. */
static int fl_chunk_load(fl_dataset *d, int64_t chunk, int by_blocks, fl_entry *entry, fl_error *e)
{
    size_t kept = by_blocks ? d->sizes[chunk] : d->chunk_bytes;
    entry->size = by_blocks ? d->chunk_bytes : UINT64_MAX; /* what was dear to decode is kept as long as there is room */
    entry->data = fl_cache_buffer(d->cache, kept, &entry->room);
    if (!entry->data)
        return fl_fail(e, FL_NOMEM, "");
    entry->bytes = entry->room;
    if (d->kind == FL_BY_PYTHON)
        return d->load(d, chunk, entry->data, e);
    if (!by_blocks)
        return fl_chunk_whole(d, chunk, entry->data, e);
    int rc = fl_chunk_read_raw(d, chunk, entry->data, e);
    if (rc == FL_OK)
        rc = fl_blocks_open(&entry->blocks, &d->pipeline.stages[0].bshuf, entry->data, kept, d->chunk_bytes, e);
    if (rc == FL_OK)
        entry->bytes += (entry->blocks.blocks + 1) * sizeof *entry->blocks.starts;
    return rc;
}

/* The same of a chunk that is kept then. */
static size_t fl_chunk_load_need(const fl_dataset *d, int64_t chunk, int by_blocks)
{
    return fl_chunk_need(d, chunk) + (by_blocks ? d->chunk_bytes / 512 : d->chunk_bytes);
}

/* Load a chunk before anybody asks for it; blosc is left out: who wants a part of it decodes no more. What is wrong with it is told to who does. 1 if it was loaded. */
static int fl_chunk_ahead(fl_dataset *d, int64_t chunk)
{
    if (d->kind != FL_CHUNKED || chunk < 0 || chunk >= d->n_chunks || d->addresses[chunk] == FL_NOWHERE ||
        fl_pipeline_is_plain(&d->pipeline, d->masks[chunk]) || fl_pipeline_is_blosc(&d->pipeline, d->masks[chunk]))
        return 0;
    int by_blocks = fl_pipeline_is_blocks(&d->pipeline, d->masks[chunk]);
    size_t kept = by_blocks ? d->sizes[chunk] : d->chunk_bytes, need = fl_chunk_load_need(d, chunk, by_blocks);
    fl_entry *entry = fl_cache_get_ahead(d->cache, d->id, (uint64_t)chunk, kept, need);
    if (!entry)
        return 0;
    fl_error e;
    fl_error_clear(&e);
    return fl_cache_loaded_ahead(d->cache, entry, need, fl_chunk_load(d, chunk, by_blocks, entry, &e) == FL_OK);
}

#define FL_START 65536 /* bytes; who reads so little from the beginning on of a chunk has often read enough */

/* The first bytes of a chunk of blocks (OUT: `to` bytes): no more is read than they may need, and nothing is kept.
 * Returns 0 if that is not possible: then the chunk has to be read. */
static int fl_chunk_start(fl_dataset *d, int64_t chunk, size_t to, uint8_t *out)
{
    const fl_bshuf *f = &d->pipeline.stages[0].bshuf;
    uint8_t head[12], *data = NULL;
    fl_blocks b;
    fl_error e;
    fl_error_clear(&e);
    if (f->compression == FL_BSHUF_PLAIN || d->sizes[chunk] < sizeof head ||
        fl_files_read(d->files, d->file, head, sizeof head, d->addresses[chunk], &e) ||
        fl_blocks_head(&b, f, head, d->sizes[chunk], d->chunk_bytes, &e))
        return 0;
    if (b.blocks == 0)
        return 0;
    size_t need = (to + b.block_bytes - 1) / b.block_bytes, one = 4 + b.block_bytes + b.block_bytes / 128 + 64;
    if (need >= b.blocks || need > 2 * FL_START / one + 1) /* the last one may be shorter; rows of very large blocks */
        return 0;
    size_t have = sizeof head + need * one;
    have = have < d->sizes[chunk] ? have : d->sizes[chunk];
    data = malloc(have);
    b.starts = malloc((need + 1) * sizeof *b.starts);
    b.data = data;
    int ok = data && b.starts && !fl_files_read(d->files, d->file, data, have, d->addresses[chunk], &e);
    size_t at = sizeof head;
    for (size_t i = 0; i < need && ok; i++) {
        ok = have - at >= 4 && fl_be32(data + at) <= have - at - 4;
        b.starts[i] = at + 4;
        at += ok ? 4 + fl_be32(data + at) : 0;
    }
    if (ok) {
        b.starts[need] = at + 4;
        ok = !fl_blocks_read(&b, f, 0, to, out, &e);
    }
    free(b.starts);
    free(data);
    return ok;
}

static int fl_chunk_cached(fl_dataset *d, int64_t chunk, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    int by_blocks = d->kind == FL_CHUNKED && fl_pipeline_is_blocks(&d->pipeline, d->masks[chunk]);
    int mine, rc = FL_OK;
    size_t need = fl_chunk_load_need(d, chunk, by_blocks);
    fl_entry *entry = fl_cache_get(d->cache, d->id, (uint64_t)chunk, need, &mine);
    if (!entry)
        return fl_cache_none(mine, e);
    if (mine) {
        rc = fl_chunk_load(d, chunk, by_blocks, entry, e);
        fl_cache_loaded(d->cache, entry, need, rc == FL_OK);
    }
    if (rc == FL_OK && by_blocks)
        rc = fl_blocks_read(&entry->blocks, &d->pipeline.stages[0].bshuf, from, to, out, e);
    else if (rc == FL_OK)
        memcpy(out, entry->data + from, to - from);
    /* what comes before was read by fl_chunk_start, if at all: without it the chunk would seem to be still needed */
    fl_cache_release(d->cache, entry, mine && by_blocks && from <= FL_START ? to : to - from);
    return rc;
}

/* ---------------------------------------------------------------- parts of a chunk of blosc */

/* What is before the first block: it says where each of them is. */
static int fl_blosc_lead_load(fl_dataset *d, int64_t chunk, fl_entry *entry, fl_error *e)
{
    uint8_t head[FL_BLOSC_HEAD];
    size_t stored = d->sizes[chunk], n = stored < sizeof head ? stored : sizeof head;
    const fl_bshuf *f = &d->pipeline.stages[0].bshuf;
    fl_blosc b;
    int rc = fl_files_read(d->files, d->file, head, n, d->addresses[chunk], e);
    if (rc == FL_OK)
        rc = fl_blosc_open(&b, &f->codecs, f->simd, head, stored, e);
    if (rc)
        return rc;
    if (b.total != d->chunk_bytes)
        return fl_fail(e, FL_CORRUPT, "does not decode to the size of the chunk");
    entry->size = d->chunk_bytes;
    entry->data = fl_cache_buffer(d->cache, fl_blosc_lead(&b), &entry->room);
    entry->bytes = entry->data ? entry->room : 0;
    return entry->data ? fl_files_read(d->files, d->file, entry->data, fl_blosc_lead(&b), d->addresses[chunk], e)
                       : fl_fail(e, FL_NOMEM, "");
}

/* A chunk of which blocks are read one by one. */
typedef struct {
    fl_dataset *dataset;
    int64_t chunk;
    const uint8_t *lead;
    fl_blosc head;
} fl_blosc_chunk;

static int fl_blosc_block_read(fl_blosc_chunk *c, size_t block, uint8_t *out, fl_error *e)
{
    fl_dataset *d = c->dataset;
    size_t scratch = fl_blosc_scratch(&c->head);
    fl_extent where;
    fl_buffer work;
    int rc = fl_blosc_find(&c->head, c->lead, block, &where, e);
    if (rc)
        return rc;
    if (!fl_buffer_take(&work, d->cache, scratch + where.size))
        return fl_fail(e, FL_NOMEM, "");
    uint8_t *stored = work.data + scratch;
    rc = fl_files_read(d->files, d->file, stored, where.size, d->addresses[c->chunk] + where.at, e);
    if (rc == FL_OK)
        rc = fl_blosc_block(&c->head, block, stored, where.size, out, 0, work.data, e);
    fl_buffer_give(&work, d->cache);
    return rc;
}

/* Bytes [from, to) of a block of which not all is wanted: it is kept until all of it has been asked for. */
static int fl_blosc_block_part(fl_blosc_chunk *c, size_t block, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    fl_dataset *d = c->dataset;
    uint64_t key = (uint64_t)c->chunk * d->chunk_bytes + block * c->head.block_bytes;
    int mine, rc = FL_OK;
    fl_entry *entry = fl_cache_get(d->cache, d->id + 1, key, 1, &mine); /* within the plan of the chunk */
    if (!entry)
        return fl_fail(e, FL_NOMEM, "");
    if (mine) {
        entry->size = fl_blosc_bytes(&c->head, block);
        entry->data = fl_cache_buffer(d->cache, entry->size, &entry->room);
        entry->bytes = entry->data ? entry->room : 0;
        rc = entry->data ? fl_blosc_block_read(c, block, entry->data, e) : fl_fail(e, FL_NOMEM, "");
        fl_cache_loaded(d->cache, entry, 1, rc == FL_OK);
    }
    if (rc == FL_OK)
        memcpy(out, entry->data + from, to - from);
    fl_cache_release(d->cache, entry, to - from);
    return rc;
}

static int fl_blosc_parts(fl_blosc_chunk *c, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    const fl_dataset *d = c->dataset;
    size_t size = c->head.block_bytes;
    int rc = FL_OK;
    if (c->head.flags & FL_BLOSC_AS_IS)
        return fl_files_read(d->files, d->file, out, to - from, d->addresses[c->chunk] + FL_BLOSC_HEAD + from, e);
    while (from < to && rc == FL_OK) {
        size_t block = from / size, start = block * size, bytes = fl_blosc_bytes(&c->head, block);
        size_t stop = to - start < bytes ? to : start + bytes;
        if (stop - from == bytes)
            rc = fl_blosc_block_read(c, block, out, e);
        else
            rc = fl_blosc_block_part(c, block, from - start, stop - start, out, e);
        out += stop - from;
        from = stop;
    }
    return rc;
}

#define FL_BLOSC_USUAL (1 << 20) /* bytes; blocks are seldom larger */

/* Bytes [from, to) of a chunk of blosc: only the blocks that hold them are read and decoded. The caller has a plan. */
static int fl_chunk_blocks_blosc(fl_dataset *d, int64_t chunk, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    int mine, rc = FL_OK;
    fl_entry *entry = fl_cache_get(d->cache, d->id, (uint64_t)chunk, 1, &mine);
    if (!entry)
        return fl_fail(e, FL_NOMEM, "");
    if (mine) {
        rc = fl_blosc_lead_load(d, chunk, entry, e);
        fl_cache_loaded(d->cache, entry, 1, rc == FL_OK);
    }
    fl_blosc_chunk c = {.dataset = d, .chunk = chunk, .lead = entry->data};
    const fl_bshuf *f = &d->pipeline.stages[0].bshuf;
    if (rc == FL_OK)
        rc = fl_blosc_open(&c.head, &f->codecs, f->simd, entry->data, d->sizes[chunk], e);
    if (rc == FL_OK) {
        rc = fl_blosc_parts(&c, from, to, out, e);
        fl_blosc_close(&c.head);
    }
    fl_cache_release(d->cache, entry, to - from);
    return rc;
}

static int fl_chunk_part_blosc(fl_dataset *d, int64_t chunk, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    /* a block, as it is stored, and what comes between: of each no more than one at a time */
    size_t block = d->chunk_bytes < FL_BLOSC_USUAL ? d->chunk_bytes : FL_BLOSC_USUAL, need = 3 * block + d->chunk_bytes / 64;
    fl_plan_begin(d->cache, need);
    int rc = fl_chunk_blocks_blosc(d, chunk, from, to, out, e);
    fl_plan_end(d->cache, need);
    return rc;
}

/* ---------------------------------------------------------------- any chunk */

#define FL_STEP 262144 /* bytes of a stored chunk that are read at a time, to be decoded while they are in the L2 cache */

typedef struct {
    const fl_dataset *dataset;
    int64_t chunk;
    uint8_t *data;
    size_t have;
} fl_coming;

static int fl_chunk_more(void *from, size_t upto, fl_error *e)
{
    fl_coming *c = from;
    const fl_dataset *d = c->dataset;
    int rc = FL_OK;
    while (c->have < upto && rc == FL_OK) {
        size_t left = d->sizes[c->chunk] - c->have, step = left < FL_STEP ? left : FL_STEP;
        rc = fl_files_read(d->files, d->file, c->data + c->have, step, d->addresses[c->chunk] + c->have, e);
        c->have += step;
    }
    return rc;
}

/* A whole chunk that is not in the cache goes past it: it would push out what others still need. */
static int fl_chunk_whole_blocks(fl_dataset *d, int64_t chunk, uint8_t *out, fl_error *e)
{
    size_t stored = d->sizes[chunk], room;
    fl_coming coming = {d, chunk, fl_cache_buffer(d->cache, stored, &room), 0};
    if (!coming.data)
        return fl_fail(e, FL_NOMEM, "");
    const fl_bshuf *f = &d->pipeline.stages[0].bshuf;
    int rc;
    if (f->compression == FL_BSHUF_PLAIN) {
        fl_blocks b;
        rc = fl_chunk_more(&coming, stored, e);
        if (rc == FL_OK)
            rc = fl_blocks_open(&b, f, coming.data, stored, d->chunk_bytes, e);
        if (rc == FL_OK)
            rc = fl_blocks_read(&b, f, 0, d->chunk_bytes, out, e);
    } else {
        rc = fl_blocks_stream(f, coming.data, stored, d->chunk_bytes, out, fl_chunk_more, &coming, e);
    }
    fl_cache_give_back(d->cache, coming.data, room);
    return rc;
}

static int fl_chunk_whole_planned(fl_dataset *d, int64_t chunk, uint8_t *out, fl_error *e)
{
    size_t need = fl_chunk_need(d, chunk);
    fl_plan_begin(d->cache, need);
    int rc = fl_pipeline_is_blocks(&d->pipeline, d->masks[chunk]) ? fl_chunk_whole_blocks(d, chunk, out, e)
                                                                  : fl_chunk_whole(d, chunk, out, e);
    fl_plan_end(d->cache, need);
    return rc;
}

static int fl_chunk_bytes_at(fl_dataset *d, int64_t chunk, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    if (d->kind == FL_MEMORY) {
        memcpy(out, d->memory + from, to - from);
        return FL_OK;
    }
    if (d->kind == FL_BY_PYTHON)
        return fl_chunk_cached(d, chunk, from, to, out, e);
    uint64_t address = d->kind == FL_CONTIGUOUS ? d->address : d->addresses[chunk];
    if (address == FL_NOWHERE) {
        fl_fill(out, to - from, from, d->fill, d->itemsize);
        return FL_OK;
    }
    if (d->kind == FL_CONTIGUOUS)
        return fl_files_read(d->files, d->file, out, to - from, address + from, e);
    uint32_t mask = d->masks[chunk];
    if (fl_pipeline_is_plain(&d->pipeline, mask)) {
        if (d->sizes[chunk] < d->chunk_bytes)
            return fl_fail(e, FL_CORRUPT, "stored size is not the chunk's size");
        return fl_files_read(d->files, d->file, out, to - from, address + from, e);
    }
    int is_whole = from == 0 && to == d->chunk_bytes;
    if (fl_pipeline_is_blosc(&d->pipeline, mask))
        return is_whole ? fl_chunk_whole_planned(d, chunk, out, e) : fl_chunk_part_blosc(d, chunk, from, to, out, e);
    if (is_whole) {
        int by_blocks = fl_pipeline_is_blocks(&d->pipeline, mask), mine, rc = FL_OK;
        fl_entry *there = fl_cache_get(d->cache, d->id, (uint64_t)chunk, 0, &mine);
        if (!there)
            return fl_chunk_whole_planned(d, chunk, out, e);
        if (by_blocks)
            rc = fl_blocks_read(&there->blocks, &d->pipeline.stages[0].bshuf, from, to, out, e);
        else
            memcpy(out, there->data, to);
        fl_cache_release(d->cache, there, to - from);
        return rc;
    }
    if (from == 0 && to <= FL_START && d->kind == FL_CHUNKED && fl_pipeline_is_blocks(&d->pipeline, mask)) {
        int mine;
        fl_entry *there = fl_cache_get(d->cache, d->id, (uint64_t)chunk, 0, &mine);
        if (there)
            fl_cache_release(d->cache, there, 0);
        else if (fl_chunk_start(d, chunk, to, out))
            return FL_OK;
    }
    return fl_chunk_cached(d, chunk, from, to, out, e);
}

/* Bytes [from, to) of a chunk (OUT: to - from bytes). The chunk map must be ready. */
static int fl_chunk_read(fl_dataset *d, int64_t chunk, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    if (from > to || to > d->chunk_bytes || chunk < 0 || chunk >= d->n_chunks)
        return fl_fail(e, FL_RANGE, "range outside the dataset");
    int rc = from == to ? FL_OK : fl_chunk_bytes_at(d, chunk, from, to, out, e);
    if (rc) {
        e->name = d->name;
        e->chunk = d->kind == FL_CHUNKED ? chunk : -1;
    }
    return rc;
}

#endif
