/* SPDX-License-Identifier: MIT
 *
 * A filter pipeline, backwards: stored chunk -> pixels, whole chunks at a time.
 *
 * A stage takes a buffer made by malloc and either changes it in place or puts another in its place: the contract of
 * HDF5's own filter functions (H5Z_func_t), so that those of plug-in libraries are stages like ours.
 */
#ifndef FL_FILTERS_H
#define FL_FILTERS_H

#include <pthread.h>

#include "bitshuffle.h"

#define FL_MAX_FILTERS 32  /* H5Z_MAX_NFILTERS */
#define FL_MAX_CD 64
#define FL_REVERSE 0x0100u /* H5Z_FLAG_REVERSE */
#define FL_BLOSC 32001
#define FL_MOST(expected) (16 * ((expected) + 1024)) /* no filter makes a chunk larger than this */

enum {
    FL_STAGE_BSHUF, FL_STAGE_DEFLATE, FL_STAGE_BZIP2, FL_STAGE_ZSTD, FL_STAGE_SHUFFLE, FL_STAGE_FLETCHER32, FL_STAGE_PLUGIN
};

typedef size_t (*fl_h5z_fn)(unsigned flags, size_t n_cd, const unsigned *cd, size_t n_bytes, size_t *buf_size,
                            void **buf);
/* zlib's uncompress, and libbz2's BZ2_bzBuffToBuffDecompress */
typedef int (*fl_uncompress_fn)(uint8_t *dst, unsigned long *dst_size, const uint8_t *src, unsigned long src_size);
typedef int (*fl_bunzip2_fn)(char *dst, unsigned *dst_size, char *src, unsigned src_size, int small, int verbosity);

typedef struct {
    int kind;              /* FL_STAGE_* */
    int id;                /* HDF5 filter number, for messages */
    unsigned cd[FL_MAX_CD];
    size_t n_cd;
    size_t elem;           /* shuffle: bytes of an element */
    fl_bshuf bshuf;
    fl_uncompress_fn uncompress;
    fl_bunzip2_fn bunzip2;
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

static int fl_stage_fletcher32(uint8_t *data, size_t *size, fl_error *e)
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

/* Decode into `room` bytes (OUT, and how many there were). 0: done, 1: perhaps not enough room, -1: damaged. */
static int fl_unpack(const fl_stage *s, uint8_t *out, size_t room, size_t *n, const void *in, size_t size)
{
    if (s->kind == FL_STAGE_DEFLATE) {
        unsigned long got = (unsigned long)room;
        int rc = s->uncompress(out, &got, in, (unsigned long)size);
        *n = got;
        return rc == 0 ? 0 : rc == -5 ? 1 : -1; /* Z_BUF_ERROR: no room, or the input ends early */
    }
    if (s->kind == FL_STAGE_BZIP2) {
        unsigned got = (unsigned)room;
        if (room > UINT32_MAX || size > UINT32_MAX)
            return -1;
        int rc = s->bunzip2((char *)out, &got, (char *)(uintptr_t)in, (unsigned)size, 0, 0);
        *n = got;
        return rc == 0 ? 0 : rc == -8 ? 1 : -1; /* BZ_OUTBUFF_FULL */
    }
    *n = s->bshuf.zstd(out, room, in, size);
    return *n <= room ? 0 : 1; /* any error: which one, zstd does not say in its number alone */
}

/* A codec for whole buffers. */
static int fl_stage_unpack(const fl_stage *s, void **buf, size_t *size, size_t expected, fl_error *e)
{
    /* filters that ran before this one may have made the data larger than a chunk: then try with more room */
    int rc = 1;
    for (size_t room = expected + 1024; rc == 1 && room <= FL_MOST(expected); room *= 4) {
        size_t n = 0;
        uint8_t *out = malloc(room);
        if (!out)
            return fl_fail(e, FL_NOMEM, "");
        rc = fl_unpack(s, out, room, &n, *buf, *size);
        if (rc) {
            free(out);
            continue;
        }
        free(*buf);
        *buf = out;
        *size = n;
        return FL_OK;
    }
    return fl_fail(e, FL_CORRUPT, s->kind == FL_STAGE_DEFLATE ? "deflate" : s->kind == FL_STAGE_BZIP2 ? "bzip2" : "zstd");
}

static int fl_stage_shuffle(const fl_stage *s, void **buf, size_t *size, fl_error *e)
{
    size_t n = s->elem ? *size / s->elem : 0;
    if (s->elem < 2 || n < 2)
        return FL_OK;
    uint8_t *out = malloc(*size);
    if (!out)
        return fl_fail(e, FL_NOMEM, "");
    fl_unshuffle(*buf, n, s->elem, out, s->bshuf.simd);
    memcpy(out + n * s->elem, (uint8_t *)*buf + n * s->elem, *size - n * s->elem);
    free(*buf);
    *buf = out;
    return FL_OK;
}

static int fl_stage_bshuf(const fl_stage *s, void **buf, size_t *size, size_t expected, fl_error *e)
{
    size_t total = *size;
    if (s->bshuf.compression != FL_BSHUF_PLAIN) {
        if (*size < 12)
            return fl_fail(e, FL_CORRUPT, "bitshuffle: shorter than its own head");
        total = (size_t)fl_be64(*buf);
        if (total > FL_MOST(expected))
            return fl_fail(e, FL_CORRUPT, "bitshuffle: states another size than the chunk has");
    }
    fl_blocks b;
    int rc = fl_blocks_open(&b, &s->bshuf, *buf, *size, total, e);
    if (rc)
        return rc;
    uint8_t *out = malloc(total ? total : 1);
    rc = out ? fl_blocks_read(&b, &s->bshuf, 0, total, out, e) : fl_fail(e, FL_NOMEM, "");
    fl_blocks_close(&b);
    if (rc) {
        free(out);
        return rc;
    }
    free(*buf);
    *buf = out;
    *size = total;
    return FL_OK;
}

/* c-blosc believes what the head of a chunk says of its size. Layout of the head: README_CHUNK_FORMAT.rst of c-blosc. */
static int fl_blosc_head_is_true(const uint8_t *p, size_t size)
{
    return size >= 16 && ((size_t)p[12] | (size_t)p[13] << 8 | (size_t)p[14] << 16 | (size_t)p[15] << 24) == size;
}

static int fl_stage_plugin(const fl_stage *s, void **buf, size_t *size, size_t expected, fl_error *e)
{
    size_t room = *size;
    if (s->id == FL_BLOSC && !fl_blosc_head_is_true(*buf, *size))
        return fl_fail(e, FL_CORRUPT, "blosc: states another size than it has");
    if (s->one_at_a_time)
        pthread_mutex_lock(s->one_at_a_time);
    size_t n = s->plugin(FL_REVERSE, s->n_cd, s->cd, *size, &room, buf);
    if (s->one_at_a_time)
        pthread_mutex_unlock(s->one_at_a_time);
    if (n == 0 || n > FL_MOST(expected)) { /* some give back an error code of their codec as a size */
        char text[60];
        snprintf(text, sizeof text, "HDF5 filter %d refused it", s->id);
        return fl_fail(e, FL_CORRUPT, text);
    }
    *size = n;
    return FL_OK;
}

/* Undo the pipeline on *buf (malloc'ed; OUT: replaced). Bit i of `mask`: filter i was skipped when writing.
 * At the end exactly `expected` bytes must be there. On failure *buf still has to be freed by the caller. */
static int fl_pipeline_undo(const fl_pipeline *p, uint32_t mask, void **buf, size_t size, size_t expected, fl_error *e)
{
    int rc = FL_OK;
    for (int i = p->n - 1; i >= 0 && rc == FL_OK; i--) {
        const fl_stage *s = &p->stages[i];
        if (mask >> i & 1)
            continue;
        switch (s->kind) {
        case FL_STAGE_BSHUF: rc = fl_stage_bshuf(s, buf, &size, expected, e); break;
        case FL_STAGE_DEFLATE:
        case FL_STAGE_BZIP2:
        case FL_STAGE_ZSTD: rc = fl_stage_unpack(s, buf, &size, expected, e); break;
        case FL_STAGE_SHUFFLE: rc = fl_stage_shuffle(s, buf, &size, e); break;
        case FL_STAGE_FLETCHER32: rc = fl_stage_fletcher32(*buf, &size, e); break;
        case FL_STAGE_PLUGIN: rc = fl_stage_plugin(s, buf, &size, expected, e); break;
        default: rc = fl_fail(e, FL_UNSUPPORTED, "");
        }
    }
    if (rc == FL_OK && size != expected)
        return fl_fail(e, FL_CORRUPT, "does not decode to the size of the chunk");
    return rc;
}

/* 1 if a range of the chunk can be had without decoding all of it: bitshuffle is the only filter that was applied. */
static inline int fl_pipeline_is_blocks(const fl_pipeline *p, uint32_t mask)
{
    return p->n == 1 && p->stages[0].kind == FL_STAGE_BSHUF && !(mask & 1);
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
