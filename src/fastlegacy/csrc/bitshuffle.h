/* SPDX-License-Identifier: MIT
 *
 * Bitshuffle, backwards: bit planes -> byte planes -> elements, and the block stream around it.
 *
 * Format (bitshuffle's HDF5 filter 32008): a chunk of n elements of E bytes is cut into blocks of B elements, B a
 * multiple of 8; the last block holds what is left, rounded down to a multiple of 8; the rest (fewer than 8 elements)
 * stands unchanged at the end. A block of m elements is 8*E rows of m/8 bytes: row 8*b+i holds bit i of byte b of
 * every element, element k in bit k%8 of byte k/8. With compression the chunk starts with its size in bytes (u64,
 * big endian) and the block size in bytes (u32, big endian), and each block stands behind its compressed size (u32,
 * big endian). Without compression the blocks follow each other as they are.
 *
 * IN and OUT mark arguments that are read and written. No function writes outside [out, out + size).
 */
#ifndef FL_BITSHUFFLE_H
#define FL_BITSHUFFLE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "codecs.h"
#include "lz4.h"
#include "status.h"

#define FL_VECTOR 16 /* bytes of the vectors that every processor of a kind has: SSE2, NEON */
typedef uint8_t fl_v8 __attribute__((vector_size(FL_VECTOR)));
typedef uint16_t fl_v16 __attribute__((vector_size(FL_VECTOR)));
typedef uint32_t fl_v32 __attribute__((vector_size(FL_VECTOR)));
#define FL_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

/* In the order of their speed. VECTOR: SSE2 or NEON; AVX512: with BW, VL, VBMI and GFNI. */
enum { FL_SIMD_PORTABLE = 0, FL_SIMD_VECTOR = 1, FL_SIMD_AVX2 = 2, FL_SIMD_AVX512 = 3 };

static int fl_simd_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2"))
        return FL_SIMD_VECTOR;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni"))
        return FL_SIMD_AVX512;
    return FL_SIMD_AVX2;
#elif defined(__ARM_NEON) && FL_LITTLE_ENDIAN
    return FL_SIMD_VECTOR;
#else
    return FL_SIMD_PORTABLE;
#endif
}

static inline const char *fl_simd_vector_name(void)
{
#if defined(__ARM_NEON)
    return "neon";
#else
    return "sse2";
#endif
}

/* ---------------------------------------------------------------- 8 bit rows -> bytes */

/* Where the eight rows of byte plane b begin. Rows behind `last` are not there: they are equal to it. */
static inline void fl_rows_of_plane(const uint8_t *in, size_t width, size_t b, size_t last, const uint8_t *rows[8])
{
    for (size_t i = 0; i < 8; i++)
        rows[i] = in + (8 * b + i < last ? 8 * b + i : last) * width;
}

/* Eight rows of `width` bytes each (IN), to 8*width bytes (OUT), from column `from` on. */
static void fl_rows_to_bytes_portable(const uint8_t *const rows[8], size_t width, size_t from, uint8_t *out)
{
    for (size_t j = from; j < width; j++) {
        uint64_t x = 0, t;
        for (int i = 0; i < 8; i++)
            x |= (uint64_t)rows[i][j] << (8 * i);
        if (x) { /* transpose the 8 x 8 bit matrix by swapping ever larger squares across its diagonal */
            t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAULL;
            x ^= t ^ (t << 7);
            t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCULL;
            x ^= t ^ (t << 14);
            t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ULL;
            x ^= t ^ (t << 28);
        }
        for (int k = 0; k < 8; k++)
            out[8 * j + (size_t)k] = (uint8_t)(x >> (8 * k));
    }
}

/* The two halves of what is had by taking one of a, then one of b, in turn. */
#if defined(__clang__)
#define FL_LO8(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define FL_HI8(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define FL_LO16(a, b) ((fl_v8)__builtin_shufflevector((fl_v16)(a), (fl_v16)(b), 0, 8, 1, 9, 2, 10, 3, 11))
#define FL_HI16(a, b) ((fl_v8)__builtin_shufflevector((fl_v16)(a), (fl_v16)(b), 4, 12, 5, 13, 6, 14, 7, 15))
#define FL_LO32(a, b) ((fl_v8)__builtin_shufflevector((fl_v32)(a), (fl_v32)(b), 0, 4, 1, 5))
#define FL_HI32(a, b) ((fl_v8)__builtin_shufflevector((fl_v32)(a), (fl_v32)(b), 2, 6, 3, 7))
#else
#define FL_LO8(a, b) __builtin_shuffle(a, b, (fl_v8){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23})
#define FL_HI8(a, b) __builtin_shuffle(a, b, (fl_v8){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31})
#define FL_LO16(a, b) ((fl_v8)__builtin_shuffle((fl_v16)(a), (fl_v16)(b), (fl_v16){0, 8, 1, 9, 2, 10, 3, 11}))
#define FL_HI16(a, b) ((fl_v8)__builtin_shuffle((fl_v16)(a), (fl_v16)(b), (fl_v16){4, 12, 5, 13, 6, 14, 7, 15}))
#define FL_LO32(a, b) ((fl_v8)__builtin_shuffle((fl_v32)(a), (fl_v32)(b), (fl_v32){0, 4, 1, 5}))
#define FL_HI32(a, b) ((fl_v8)__builtin_shuffle((fl_v32)(a), (fl_v32)(b), (fl_v32){2, 6, 3, 7}))
#endif

static inline fl_v8 fl_load(const uint8_t *p)
{
    fl_v8 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void fl_store(uint8_t *p, fl_v8 v)
{
    memcpy(p, &v, sizeof v);
}

/* Swap the bits of `a` above distance d with those of `b` below it, in each byte: one step of a bit transposition. */
#define FL_SWAP(a, b, d, m)                                \
    do {                                                   \
        fl_v8 t_ = ((fl_v8)((fl_v16)(a) >> d) ^ (b)) & m;  \
        b ^= t_;                                           \
        a ^= (fl_v8)((fl_v16)t_ << d);                     \
    } while (0)

/* With the vectors of 16 bytes that the compiler knows by itself. */
static void fl_rows_to_bytes_vector(const uint8_t *const rows[8], size_t width, uint8_t *out)
{
    const fl_v8 m4 = (fl_v8){0} + 0x0F, m2 = (fl_v8){0} + 0x33, m1 = (fl_v8){0} + 0x55;
    size_t j = 0;
    for (; j + FL_VECTOR <= width; j += FL_VECTOR) {
        fl_v8 r[8], a[8], b[8];
        for (int i = 0; i < 8; i++)
            r[i] = fl_load(rows[i] + j);
        fl_v8 any = (r[0] | r[1] | r[2] | r[3]) | (r[4] | r[5] | r[6] | r[7]);
        uint64_t two[2];
        memcpy(two, &any, sizeof two);
        if (!(two[0] | two[1])) {
            memset(out + 8 * j, 0, 8 * FL_VECTOR);
            continue;
        }
        for (int i = 0; i < 4; i++)
            FL_SWAP(r[i], r[i + 4], 4, m4);
        for (int i = 0; i < 8; i += 4) {
            FL_SWAP(r[i], r[i + 2], 2, m2);
            FL_SWAP(r[i + 1], r[i + 3], 2, m2);
        }
        for (int i = 0; i < 8; i += 2)
            FL_SWAP(r[i], r[i + 1], 1, m1);
        /* r[k] now holds element k of each column; put the eight of a column side by side */
        for (int i = 0; i < 4; i++) {
            a[2 * i] = FL_LO8(r[2 * i], r[2 * i + 1]);
            a[2 * i + 1] = FL_HI8(r[2 * i], r[2 * i + 1]);
        }
        for (int h = 0; h < 2; h++) {
            b[2 * h] = FL_LO16(a[h], a[2 + h]);
            b[2 * h + 1] = FL_HI16(a[h], a[2 + h]);
            b[4 + 2 * h] = FL_LO16(a[4 + h], a[6 + h]);
            b[4 + 2 * h + 1] = FL_HI16(a[4 + h], a[6 + h]);
        }
        for (int q = 0; q < 4; q++) {
            fl_store(out + 8 * j + 32 * (size_t)q, FL_LO32(b[q], b[4 + q]));
            fl_store(out + 8 * j + 32 * (size_t)q + 16, FL_HI32(b[q], b[4 + q]));
        }
    }
    if (j < width)
        fl_rows_to_bytes_portable(rows, width, j, out);
}

/* ---------------------------------------------------------------- byte planes -> elements */

/* n elements of `elem` bytes; planes[b], n bytes, holds byte b of each (IN), to elements (OUT), from `from` on. */
static void fl_unshuffle_portable(const uint8_t *const *planes, size_t n, size_t elem, size_t from, uint8_t *out)
{
    for (size_t b = 0; b < elem; b++)
        for (size_t i = from; i < n; i++)
            out[i * elem + b] = planes[b][i];
}

/* `elem` is a constant wherever this is inlined: then all arrays are registers. */
static inline __attribute__((always_inline)) void fl_unshuffle_of(const uint8_t *const *planes, size_t n, size_t elem,
                                                                  uint8_t *out)
{
    size_t i = 0;
    for (; i + FL_VECTOR <= n; i += FL_VECTOR) {
        fl_v8 p[8] = {{0}}, a[8], b[8];
        uint8_t *o = out + elem * i;
        for (size_t k = 0; k < elem; k++)
            p[k] = fl_load(planes[k] + i);
        for (size_t k = 0; k < 4; k++) {
            a[2 * k] = FL_LO8(p[2 * k], p[2 * k + 1]);
            a[2 * k + 1] = FL_HI8(p[2 * k], p[2 * k + 1]);
        }
        for (size_t k = 0; k < 8; k += 4)
            for (size_t h = 0; h < 2; h++) { /* four bytes of elements 8h .. 8h + 3, then of the four behind them */
                b[k + 2 * h] = FL_LO16(a[k + h], a[k + 2 + h]);
                b[k + 2 * h + 1] = FL_HI16(a[k + h], a[k + 2 + h]);
            }
        for (size_t k = 0; k < elem; k++)
            if (elem == 2)
                fl_store(o + 16 * k, a[k]);
            else if (elem == 4)
                fl_store(o + 16 * k, b[k]);
            else
                fl_store(o + 16 * k, k % 2 ? FL_HI32(b[k / 2], b[4 + k / 2]) : FL_LO32(b[k / 2], b[4 + k / 2]));
    }
    if (i < n)
        fl_unshuffle_portable(planes, n, elem, i, out);
}

static void fl_unshuffle_vector(const uint8_t *const *planes, size_t n, size_t elem, uint8_t *out)
{
    if (elem == 2)
        fl_unshuffle_of(planes, n, 2, out);
    else if (elem == 4)
        fl_unshuffle_of(planes, n, 4, out);
    else
        fl_unshuffle_of(planes, n, 8, out);
}

#if defined(__x86_64__)
#include "bitshuffle_avx2.h"
#include "bitshuffle_avx512.h"
#endif

/* The same for elements of any size and planes one behind the other. */
static void fl_unshuffle_any(const uint8_t *planes, size_t n, size_t elem, uint8_t *out)
{
    for (size_t b = 0; b < elem; b++) {
        const uint8_t *plane = planes + b * n;
        for (size_t i = 0; i < n; i++)
            out[i * elem + b] = plane[i];
    }
}

/* For elements of 2, 4 and 8 bytes. */
static void fl_unshuffle_planes(const uint8_t *const *planes, size_t n, size_t elem, uint8_t *out, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX2 && elem < 8) {
        fl_unshuffle_avx2(planes, n, elem, out);
        return;
    }
#endif
    if (simd >= FL_SIMD_VECTOR)
        fl_unshuffle_vector(planes, n, elem, out);
    else
        fl_unshuffle_portable(planes, n, elem, 0, out);
}

static void fl_unshuffle(const uint8_t *planes, size_t n, size_t elem, uint8_t *out, int simd)
{
    if (elem == 1) {
        memcpy(out, planes, n);
    } else if (elem == 2 || elem == 4 || elem == 8) {
        const uint8_t *each[8];
        for (size_t b = 0; b < elem; b++)
            each[b] = planes + b * n;
        fl_unshuffle_planes(each, n, elem, out, simd);
    } else {
        fl_unshuffle_any(planes, n, elem, out);
    }
}

static void fl_rows_to_bytes(const uint8_t *const rows[8], size_t width, uint8_t *out, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX2) {
        fl_rows_to_bytes_avx2(rows, width, out);
        return;
    }
#endif
    if (simd >= FL_SIMD_VECTOR)
        fl_rows_to_bytes_vector(rows, width, out);
    else
        fl_rows_to_bytes_portable(rows, width, 0, out);
}

/* One block of n elements (n a multiple of 8): IN n*elem bytes, of which the rows of bits behind row `last` are not
 * there: they are equal to it. OUT n*elem bytes, `planes` scratch of n*elem bytes. */
static void fl_unbitshuffle(const uint8_t *in, size_t n, size_t elem, uint8_t *out, uint8_t *planes, int simd,
                            size_t last)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512 && n % (8 * FL_COLUMNS) == 0 && (elem == 2 || elem == 4)) {
        if (elem == 2)
            fl_unbitshuffle2_avx512(in, n, out, last);
        else
            fl_unbitshuffle4_avx512(in, n, out, last);
        return;
    }
    if (simd >= FL_SIMD_AVX2 && n % 256 == 0 && (elem == 2 || elem == 4)) {
        fl_unbitshuffle_avx2(in, n, elem, out, last);
        return;
    }
#endif
    const uint8_t *rows[8], *each[8] = {0};
    int by_planes = elem == 2 || elem == 4 || elem == 8;
    for (size_t b = 0; b < elem; b++) {
        fl_rows_of_plane(in, n / 8, b, last, rows);
        if (by_planes && b && 8 * (b - 1) >= last) { /* all rows of this plane and of the one before it are equal */
            each[b] = each[b - 1];
            continue;
        }
        uint8_t *plane = (elem == 1 ? out : planes) + b * n;
        fl_rows_to_bytes(rows, n / 8, plane, simd);
        if (by_planes)
            each[b] = plane;
    }
    if (by_planes)
        fl_unshuffle_planes(each, n, elem, out, simd);
    else if (elem > 1)
        fl_unshuffle_any(planes, n, elem, out);
}

/* ---------------------------------------------------------------- the block stream */

/* 1 if an LZ4 block fills `room` bytes (OUT, and FL_LZ4_SLACK more) in rows of `width` bytes; see lz4.h. */
static int fl_lz4_rows_of(const uint8_t *src, size_t size, uint8_t *dst, size_t room, size_t width, size_t *last_row,
                          int simd)
{
    if (size > SIZE_MAX / 256) /* lengths could run over; so large is a block only where size_t is small */
        return 0;
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX2)
        return fl_lz4_avx2_planes(src, size, dst, room, width, last_row);
#endif
    (void)simd;
    return fl_lz4_portable_planes(src, size, dst, room, width, last_row);
}

/* 1 if an LZ4 block fills `room` bytes (OUT, and `slack` more). */
static int fl_lz4(const uint8_t *src, size_t size, uint8_t *dst, size_t room, size_t slack, int simd)
{
    if (size > SIZE_MAX / 256)
        return 0;
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX2)
        return fl_lz4_avx2_bytes(src, size, dst, room, slack);
#endif
    (void)simd;
    return fl_lz4_portable_bytes(src, size, dst, room, slack);
}

enum { FL_BSHUF_PLAIN = 0, FL_BSHUF_LZ4 = 2, FL_BSHUF_ZSTD = 3 }; /* the filter's own numbers */

typedef struct {
    size_t elem;       /* bytes of an element */
    size_t block;      /* elements of a block, for streams that do not say it themselves */
    int compression;   /* FL_BSHUF_* */
    fl_codecs codecs;
    int simd;
} fl_bshuf;

/* A chunk's stored bytes with the places of its blocks. */
typedef struct {
    const uint8_t *data;
    size_t size;         /* stored bytes */
    size_t total;        /* bytes when decoded */
    size_t block_bytes;
    size_t blocks;       /* number of blocks, the last, shorter one included */
    size_t last_bytes;   /* bytes of the last block */
    size_t tail_bytes;   /* raw bytes behind the blocks */
    size_t tail_at;
    uint64_t *starts;    /* blocks + 1 positions of compressed blocks (behind their size), NULL when not compressed */
} fl_blocks;

static inline uint32_t fl_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t fl_be64(const uint8_t *p)
{
    return (uint64_t)fl_be32(p) << 32 | fl_be32(p + 4);
}

/* Bitshuffle's own choice where no block size is given: about 8 KiB, a multiple of 8, at least 128 elements. */
static inline size_t fl_bshuf_default_block(size_t elem)
{
    size_t block = 8192 / elem;
    block -= block % 8;
    return block < 128 ? 128 : block;
}

/* How many blocks a chunk of `total` bytes has with this block size. Their places need not be known for that. */
static int fl_blocks_shape(fl_blocks *b, size_t total, size_t elem, size_t block_elems, fl_error *e)
{
    if (elem == 0 || total % elem || block_elems == 0 || block_elems % 8 || block_elems > ((size_t)1 << 31) / elem)
        return fl_fail(e, FL_CORRUPT, "bitshuffle: impossible block or element size");
    size_t n = total / elem, rest = n % block_elems;
    b->total = total;
    b->block_bytes = block_elems * elem;
    b->blocks = n / block_elems + (rest >= 8 ? 1 : 0);
    b->last_bytes = rest >= 8 ? (rest - rest % 8) * elem : b->block_bytes;
    b->tail_bytes = (rest % 8) * elem;
    return FL_OK;
}

/* The shape of a chunk from its head: of `data` only the first 12 bytes are looked at. */
static int fl_blocks_head(fl_blocks *b, const fl_bshuf *f, const uint8_t *data, size_t size, size_t total, fl_error *e)
{
    size_t block = f->block ? f->block : fl_bshuf_default_block(f->elem ? f->elem : 1);
    memset(b, 0, sizeof *b);
    b->data = data;
    b->size = size;
    if (f->compression == FL_BSHUF_PLAIN) {
        if (size != total)
            return fl_fail(e, FL_CORRUPT, "bitshuffle: stored size is not the chunk's size");
        int rc = fl_blocks_shape(b, total, f->elem, block, e);
        b->tail_at = total - b->tail_bytes;
        return rc;
    }
    if (size < 12)
        return fl_fail(e, FL_CORRUPT, "bitshuffle: shorter than its own head");
    if (fl_be64(data) != total)
        return fl_fail(e, FL_CORRUPT, "bitshuffle: states another size than the chunk has");
    uint32_t stated = fl_be32(data + 8);
    if (stated) {
        if (f->elem == 0 || stated % f->elem)
            return fl_fail(e, FL_CORRUPT, "bitshuffle: impossible block size");
        block = stated / f->elem;
    }
    int rc = fl_blocks_shape(b, total, f->elem, block, e);
    if (rc)
        return rc;
    if (b->blocks > size / 4) /* each block has at least its own size: do not believe more, do not allocate for it */
        return fl_fail(e, FL_CORRUPT, "bitshuffle: more blocks than stored bytes");
    return FL_OK;
}

/* Where the blocks of a chunk are. */
static int fl_blocks_open(fl_blocks *b, const fl_bshuf *f, const uint8_t *data, size_t size, size_t total, fl_error *e)
{
    int rc = fl_blocks_head(b, f, data, size, total, e);
    if (rc || f->compression == FL_BSHUF_PLAIN)
        return rc;
    b->starts = malloc((b->blocks + 1) * sizeof *b->starts);
    if (!b->starts)
        return fl_fail(e, FL_NOMEM, "");
    size_t at = 12;
    for (size_t i = 0; i < b->blocks; i++) {
        if (size - at < 4 || fl_be32(data + at) > size - at - 4) {
            free(b->starts);
            b->starts = NULL;
            return fl_fail(e, FL_CORRUPT, "bitshuffle: a block reaches beyond the chunk");
        }
        b->starts[i] = at + 4;
        at += 4 + fl_be32(data + at);
    }
    b->starts[b->blocks] = at + 4;
    if (size - at < b->tail_bytes) {
        free(b->starts);
        b->starts = NULL;
        return fl_fail(e, FL_CORRUPT, "bitshuffle: the last elements are missing");
    }
    b->tail_at = at;
    return FL_OK;
}

static void fl_blocks_close(fl_blocks *b)
{
    free(b->starts);
    b->starts = NULL;
}

/* A stored block, to `bytes` bytes (OUT). `bits` and `planes` are scratch of FL_ROOM(bytes) each. */
static int fl_block_unpack(const fl_bshuf *f, fl_at_hand *hand, const uint8_t *src, size_t stored, size_t bytes,
                           uint8_t *out, uint8_t *bits, uint8_t *planes, fl_error *e)
{
    const uint8_t *in = bits;
    size_t last = 8 * f->elem - 1, n = 0;
    int ok = 1;
    if (f->compression == FL_BSHUF_PLAIN)
        in = src;
    else if (f->compression == FL_BSHUF_ZSTD)
        ok = fl_unzstd(&f->codecs, hand, bits, bytes, &n, src, stored) == FL_DECODED && n == bytes;
    else
        ok = fl_lz4_rows_of(src, stored, bits, bytes, bytes / f->elem / 8, &last, f->simd);
    if (!ok)
        return fl_fail(e, FL_CORRUPT, f->compression == FL_BSHUF_LZ4 ? "LZ4 block" : "zstd block");
    fl_unbitshuffle(in, bytes / f->elem, f->elem, out, planes, f->simd, last);
    return FL_OK;
}

static int fl_block_decode(const fl_blocks *b, const fl_bshuf *f, fl_at_hand *hand, size_t i, uint8_t *out,
                           uint8_t *bits, uint8_t *planes, fl_error *e)
{
    size_t bytes = i + 1 == b->blocks ? b->last_bytes : b->block_bytes;
    if (!b->starts)
        return fl_block_unpack(f, hand, b->data + i * b->block_bytes, bytes, bytes, out, bits, planes, e);
    size_t stored = b->starts[i + 1] - 4 - b->starts[i];
    return fl_block_unpack(f, hand, b->data + b->starts[i], stored, bytes, out, bits, planes, e);
}

#define FL_ROOM(bytes) (((bytes) + FL_LZ4_SLACK + 63) / 64 * 64)
#define FL_SCRATCH_ON_STACK FL_ROOM(16384)

/* Scratch for the largest block. */
static inline size_t fl_scratch_bytes(const fl_blocks *b)
{
    return FL_ROOM(b->blocks == 0 ? 0 : b->blocks > 1 ? b->block_bytes : b->last_bytes);
}

/* Bytes [from, to) of the decoded chunk (OUT: to - from bytes). Only the blocks that hold them are decoded. */
static int fl_blocks_read(const fl_blocks *b, const fl_bshuf *f, size_t from, size_t to, uint8_t *out, fl_error *e)
{
    if (from > to || to > b->total)
        return fl_fail(e, FL_RANGE, "range outside the chunk");
    uint8_t small[3 * FL_SCRATCH_ON_STACK] __attribute__((aligned(64)));
    size_t bb = b->block_bytes, most = fl_scratch_bytes(b);
    uint8_t *bits = most > FL_SCRATCH_ON_STACK ? malloc(3 * most) : small;
    if (!bits)
        return fl_fail(e, FL_NOMEM, "");
    uint8_t *planes = bits + most, *whole = planes + most;
    fl_at_hand hand = {NULL, NULL};
    int rc = FL_OK;
    size_t coded = b->total - b->tail_bytes;
    while (from < to && from < coded && rc == FL_OK) {
        size_t i = from / bb, start = i * bb;
        size_t end = i + 1 == b->blocks ? coded : start + bb;
        size_t stop = to < end ? to : end;
        if (from == start && stop == end) {
            rc = fl_block_decode(b, f, &hand, i, out, bits, planes, e);
        } else {
            rc = fl_block_decode(b, f, &hand, i, whole, bits, planes, e);
            if (rc == FL_OK)
                memcpy(out, whole + (from - start), stop - from);
        }
        out += stop - from;
        from = stop;
    }
    if (rc == FL_OK && from < to)
        memcpy(out, b->data + b->tail_at + (from - coded), to - from);
    fl_at_hand_drop(&f->codecs, &hand);
    if (bits != small)
        free(bits);
    return rc;
}

/* Sees to it that the first `upto` bytes of the stored chunk are there. */
typedef int (*fl_more_fn)(void *from, size_t upto, fl_error *e);

/* A whole compressed chunk of `size` stored bytes (OUT: total bytes), decoded while it comes in: what was just read is
 * still in the processor's cache, and the chain of blocks is walked only once. */
static int fl_blocks_stream(const fl_bshuf *f, const uint8_t *data, size_t size, size_t total, uint8_t *out,
                            fl_more_fn more, void *from, fl_error *e)
{
    uint8_t small[2 * FL_SCRATCH_ON_STACK] __attribute__((aligned(64)));
    fl_blocks b;
    int rc = more(from, size < 12 ? size : 12, e);
    if (rc == FL_OK)
        rc = fl_blocks_head(&b, f, data, size, total, e);
    if (rc)
        return rc;
    size_t at = 12, most = fl_scratch_bytes(&b);
    fl_at_hand hand = {NULL, NULL};
    uint8_t *bits = most > FL_SCRATCH_ON_STACK ? malloc(2 * most) : small;
    if (!bits)
        return fl_fail(e, FL_NOMEM, "");
    for (size_t i = 0; i < b.blocks && rc == FL_OK; i++) {
        size_t bytes = i + 1 == b.blocks ? b.last_bytes : b.block_bytes, stored;
        if (size - at < 4)
            rc = fl_fail(e, FL_CORRUPT, "bitshuffle: a block reaches beyond the chunk");
        else
            rc = more(from, at + 4, e);
        if (rc)
            break;
        stored = fl_be32(data + at);
        at += 4;
        if (stored > size - at)
            rc = fl_fail(e, FL_CORRUPT, "bitshuffle: a block reaches beyond the chunk");
        else
            rc = more(from, at + stored, e);
        if (rc == FL_OK)
            rc = fl_block_unpack(f, &hand, data + at, stored, bytes, out, bits, bits + most, e);
        at += stored;
        out += bytes;
    }
    if (rc == FL_OK && size - at < b.tail_bytes)
        rc = fl_fail(e, FL_CORRUPT, "bitshuffle: the last elements are missing");
    if (rc == FL_OK)
        rc = more(from, at + b.tail_bytes, e);
    if (rc == FL_OK)
        memcpy(out, data + at, b.tail_bytes);
    fl_at_hand_drop(&f->codecs, &hand);
    if (bits != small)
        free(bits);
    return rc;
}

#endif
