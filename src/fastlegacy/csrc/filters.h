/* SPDX-License-Identifier: MIT
 *
 * A filter pipeline, backwards: stored chunk -> pixels, whole chunks at a time.
 *
 * A stage decodes from one buffer to another; the last one straight to where the pixels are wanted. The stages of plug-in
 * libraries follow the contract of HDF5's own filter functions (H5Z_func_t): a buffer made by malloc goes in, and it or
 * another in its place comes out.
 */
#ifndef FL_FILTERS_H
#define FL_FILTERS_H

#include <pthread.h>

#include "blosc.h"
#include "cache.h"

#define FL_MAX_FILTERS 32  /* H5Z_MAX_NFILTERS */
#define FL_MAX_CD 64
#define FL_REVERSE 0x0100u /* H5Z_FLAG_REVERSE */
#define FL_BLOSC 32001
#define FL_MOST(expected) (16 * ((expected) + 1024)) /* no filter makes a chunk larger than this */

enum {
    FL_STAGE_BSHUF, FL_STAGE_BLOSC, FL_STAGE_LZ4, FL_STAGE_DEFLATE, FL_STAGE_BZIP2, FL_STAGE_ZSTD, FL_STAGE_SHUFFLE,
    FL_STAGE_FLETCHER32, FL_STAGE_PLUGIN
};

typedef size_t (*fl_h5z_fn)(unsigned flags, size_t n_cd, const unsigned *cd, size_t n_bytes, size_t *buf_size,
                            void **buf);
typedef struct {
    int kind;              /* FL_STAGE_* */
    int id;                /* HDF5 filter number, for messages */
    unsigned cd[FL_MAX_CD];
    size_t n_cd;
    size_t elem;           /* shuffle: bytes of an element */
    fl_bshuf bshuf;        /* its codecs and its level are those of every kind */
    fl_h5z_fn plugin;
    pthread_mutex_t *one_at_a_time; /* for plug-ins whose code keeps state between calls; NULL for the others */
} fl_stage;

typedef struct {
    fl_stage stages[FL_MAX_FILTERS];
    int n;
} fl_pipeline;

/* Fletcher's checksum over 16-bit big-endian words, the sums reduced to 16 bits by folding (as HDF5 defines it). */
static uint32_t fl_fletcher32(const uint8_t *data, size_t size)
{
    uint32_t a = 0, b = 0;
    size_t words = size / 2;
    while (words) { /* 360 words: the most before the 32-bit sums could run over */
        size_t part = words > 360 ? 360 : words;
        words -= part;
        do {
            a += (uint32_t)(data[0] << 8 | data[1]);
            b += a;
            data += 2;
        } while (--part);
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    if (size % 2) {
        a += (uint32_t)(*data << 8);
        b += a;
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    a = (a & 0xffff) + (a >> 16);
    b = (b & 0xffff) + (b >> 16);
    return b << 16 | a;
}

static int fl_stage_fletcher32(const uint8_t *data, size_t *size, fl_error *e)
{
    if (*size < 4)
        return fl_fail(e, FL_CORRUPT, "shorter than its checksum");
    *size -= 4;
    const uint8_t *p = data + *size;
    uint32_t stored = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    uint32_t sum = fl_fletcher32(data, *size);
    /* HDF5 before 1.6.3 wrote the bytes of each half swapped on little-endian machines; HDF5 reads both */
    uint32_t old = (sum & 0x00ff00ffu) << 8 | (sum & 0xff00ff00u) >> 8;
    if (stored != sum && stored != old)
        return fl_fail(e, FL_CHECKSUM, "");
    return FL_OK;
}

/* The filter LZ4 (32004): size when decoded (u64), bytes of a block (u32), and the blocks, each behind its stored size
 * (u32), all big endian; a block that is stored in its own size is stored as it is. */
static int fl_unpack_lz4(const fl_stage *s, uint8_t *out, size_t room, size_t *n, const uint8_t *in, size_t size)
{
    if (size < 12)
        return FL_DAMAGED;
    uint64_t total = fl_be64(in);
    size_t block = fl_be32(in + 8), at = 12;
    if (total > room)
        return FL_NO_ROOM;
    for (size_t done = 0; done < total; done += block) {
        if (block > total - done)
            block = (size_t)total - done;
        size_t stored = size - at < 4 ? SIZE_MAX : fl_be32(in + at);
        if (block == 0 || stored > size - at - 4)
            return FL_DAMAGED;
        at += 4;
        if (stored == block)
            memcpy(out + done, in + at, block);
        else if (!fl_lz4(in + at, stored, out + done, block, room - done - block, s->bshuf.simd))
            return FL_DAMAGED;
        at += stored;
    }
    *n = (size_t)total;
    return FL_DECODED;
}

static int fl_unpack_bshuf(const fl_stage *s, uint8_t *out, size_t room, size_t *n, const uint8_t *in, size_t size,
                           fl_error *e)
{
    uint64_t total = size;
    if (s->bshuf.compression != FL_BSHUF_PLAIN) {
        if (size < 12)
            return FL_DAMAGED;
        total = fl_be64(in);
    }
    if (total > room)
        return FL_NO_ROOM;
    fl_blocks b;
    int rc = fl_blocks_open(&b, &s->bshuf, in, size, (size_t)total, e);
    if (rc == FL_OK) {
        rc = fl_blocks_read(&b, &s->bshuf, 0, (size_t)total, out, e);
        fl_blocks_close(&b);
    }
    *n = (size_t)total;
    return rc == FL_OK ? FL_DECODED : FL_DAMAGED;
}

static int fl_unpack_blosc(const fl_stage *s, uint8_t *out, size_t room, size_t *n, const uint8_t *in, size_t size,
                           fl_error *e)
{
    fl_blosc b;
    if (fl_blosc_open(&b, &s->bshuf.codecs, s->bshuf.simd, in, size, e))
        return FL_DAMAGED;
    if (b.total > room)
        return FL_NO_ROOM;
    *n = b.total;
    int rc = fl_blosc_read(&b, in, out, e);
    fl_blosc_close(&b);
    return rc == FL_OK ? FL_DECODED : FL_DAMAGED;
}

static int fl_unpack_shuffle(const fl_stage *s, uint8_t *out, size_t room, size_t *n, const uint8_t *in, size_t size)
{
    size_t whole = s->elem > 1 ? size / s->elem : 0;
    if (size > room)
        return FL_NO_ROOM;
    if (whole > 1)
        fl_unshuffle(in, whole, s->elem, out, s->bshuf.simd);
    else
        whole = 0;
    memcpy(out + whole * s->elem, in + whole * s->elem, size - whole * s->elem);
    *n = size;
    return FL_DECODED;
}

/* Decode into `room` bytes (OUT, and how many there were). */
static int fl_unpack(const fl_stage *s, uint8_t *out, size_t room, size_t *n, const void *in, size_t size, fl_error *e)
{
    const fl_codecs *c = &s->bshuf.codecs;
    fl_at_hand hand = {NULL, NULL};
    int rc;
    switch (s->kind) {
    case FL_STAGE_BSHUF: return fl_unpack_bshuf(s, out, room, n, in, size, e);
    case FL_STAGE_BLOSC: return fl_unpack_blosc(s, out, room, n, in, size, e);
    case FL_STAGE_LZ4: return fl_unpack_lz4(s, out, room, n, in, size);
    case FL_STAGE_SHUFFLE: return fl_unpack_shuffle(s, out, room, n, in, size);
    case FL_STAGE_BZIP2: return fl_bunzip2(c, out, room, n, in, size);
    case FL_STAGE_DEFLATE: rc = fl_inflate(c, &hand, out, room, n, in, size); break;
    default: rc = fl_unzstd(c, &hand, out, room, n, in, size);
    }
    fl_at_hand_drop(c, &hand);
    return rc;
}

static const char *fl_stage_name(const fl_stage *s)
{
    switch (s->kind) {
    case FL_STAGE_BSHUF: return "bitshuffle";
    case FL_STAGE_BLOSC: return "blosc";
    case FL_STAGE_LZ4: return "LZ4";
    case FL_STAGE_BZIP2: return "bzip2";
    case FL_STAGE_ZSTD: return "zstd";
    case FL_STAGE_SHUFFLE: return "shuffle";
    default: return "deflate";
    }
}

/* What goes from stage to stage: made by malloc, or spare in a cache. */
typedef struct {
    uint8_t *data;
    size_t room;
} fl_buffer;

static inline int fl_buffer_take(fl_buffer *b, fl_cache *c, size_t size)
{
    b->room = size;
    b->data = c ? fl_cache_buffer(c, size, &b->room) : malloc(size ? size : 1);
    return b->data != NULL;
}

static inline void fl_buffer_give(fl_buffer *b, fl_cache *c)
{
    if (c && b->data)
        fl_cache_give_back(c, b->data, b->room);
    else
        free(b->data);
    b->data = NULL;
}

/* A stage whose output is another's input: filters that ran before this one may have made the data larger than a chunk;
 * then try with more room. */
static int fl_stage_between(const fl_stage *s, fl_cache *c, fl_buffer *buf, size_t *size, size_t expected, fl_error *e)
{
    int rc = FL_NO_ROOM;
    for (size_t room = expected + 1024; rc == FL_NO_ROOM && room <= FL_MOST(expected); room *= 4) {
        size_t n = 0;
        fl_buffer out;
        if (!fl_buffer_take(&out, c, room))
            return fl_fail(e, FL_NOMEM, "");
        rc = fl_unpack(s, out.data, room, &n, buf->data, *size, e);
        if (rc == FL_DECODED) {
            fl_buffer_give(buf, c);
            *buf = out;
            *size = n;
            return FL_OK;
        }
        fl_buffer_give(&out, c);
    }
    return e->code ? e->code : fl_fail(e, FL_CORRUPT, fl_stage_name(s));
}

/* The stage whose output are the pixels. */
static int fl_stage_last(const fl_stage *s, const fl_buffer *buf, size_t size, uint8_t *out, size_t expected, fl_error *e)
{
    size_t n = 0;
    int rc = fl_unpack(s, out, expected, &n, buf->data, size, e);
    if (rc == FL_DAMAGED)
        return e->code ? e->code : fl_fail(e, FL_CORRUPT, fl_stage_name(s));
    if (rc == FL_NO_ROOM || n != expected)
        return fl_fail(e, FL_CORRUPT, "does not decode to the size of the chunk");
    return FL_OK;
}

/* c-blosc believes what the head of a chunk says of its size. Layout of the head: README_CHUNK_FORMAT.rst of c-blosc. */
static int fl_blosc_head_is_true(const uint8_t *p, size_t size)
{
    return size >= 16 && ((size_t)p[12] | (size_t)p[13] << 8 | (size_t)p[14] << 16 | (size_t)p[15] << 24) == size;
}

static int fl_stage_plugin(const fl_stage *s, fl_buffer *buf, size_t *size, size_t expected, fl_error *e)
{
    size_t room = *size;
    void *data = buf->data;
    if (s->id == FL_BLOSC && !fl_blosc_head_is_true(data, *size))
        return fl_fail(e, FL_CORRUPT, "blosc: states another size than it has");
    if (s->one_at_a_time)
        pthread_mutex_lock(s->one_at_a_time);
    size_t n = s->plugin(FL_REVERSE, s->n_cd, s->cd, *size, &room, &data);
    if (s->one_at_a_time)
        pthread_mutex_unlock(s->one_at_a_time);
    if (data != buf->data)
        *buf = (fl_buffer){data, n};
    if (n == 0 || n > FL_MOST(expected)) { /* some give back an error code of their codec as a size */
        char text[60];
        buf->room = 0;
        snprintf(text, sizeof text, "HDF5 filter %d refused it", s->id);
        return fl_fail(e, FL_CORRUPT, text);
    }
    *size = n;
    return FL_OK;
}

/* Undo the pipeline on `size` bytes in *buf (IN and OUT: replaced; the caller gives it back). Bit i of `mask`: filter i
 * was skipped when writing. OUT: exactly `expected` bytes. `c` may be NULL: then buffers are not kept. */
static int fl_pipeline_undo(const fl_pipeline *p, uint32_t mask, fl_cache *c, fl_buffer *buf, size_t size, uint8_t *out,
                            size_t expected, fl_error *e)
{
    int first = 0, rc = FL_OK;
    while (first < p->n && mask >> first & 1)
        first++;
    for (int i = p->n - 1; i >= first && rc == FL_OK; i--) {
        const fl_stage *s = &p->stages[i];
        if (mask >> i & 1)
            continue;
        if (s->kind == FL_STAGE_FLETCHER32)
            rc = fl_stage_fletcher32(buf->data, &size, e);
        else if (s->kind == FL_STAGE_PLUGIN)
            rc = fl_stage_plugin(s, buf, &size, expected, e);
        else if (i > first)
            rc = fl_stage_between(s, c, buf, &size, expected, e);
        else
            return fl_stage_last(s, buf, size, out, expected, e);
    }
    if (rc)
        return rc;
    if (size != expected)
        return fl_fail(e, FL_CORRUPT, "does not decode to the size of the chunk");
    memcpy(out, buf->data, expected);
    return FL_OK;
}

/* 1 if a range of the chunk can be had without decoding all of it: bitshuffle is the only filter that was applied. */
static inline int fl_pipeline_is_blocks(const fl_pipeline *p, uint32_t mask)
{
    return p->n == 1 && p->stages[0].kind == FL_STAGE_BSHUF && !(mask & 1);
}

/* 1 if the same is so because of blosc. */
static inline int fl_pipeline_is_blosc(const fl_pipeline *p, uint32_t mask)
{
    return p->n == 1 && p->stages[0].kind == FL_STAGE_BLOSC && !(mask & 1);
}

/* 1 if the chunk is stored as it is. */
static inline int fl_pipeline_is_plain(const fl_pipeline *p, uint32_t mask)
{
    for (int i = 0; i < p->n; i++)
        if (!(mask >> i & 1))
            return 0;
    return 1;
}

#endif
