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

#include "status.h"
#if defined(__x86_64__)
#include "bitshuffle_avx512.h"
#endif

enum { FL_SIMD_PORTABLE = 0, FL_SIMD_AVX2 = 1, FL_SIMD_AVX512 = 2 }; /* AVX512: with BW, VL and GFNI */

static int fl_simd_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("gfni"))
        return FL_SIMD_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return FL_SIMD_AVX2;
#endif
    return FL_SIMD_PORTABLE;
}

/* ---------------------------------------------------------------- 8 bit rows -> bytes */

/* Eight rows of `width` bytes each (IN), to 8*width bytes (OUT), from column `from` on. */
static void fl_rows_to_bytes_portable(const uint8_t *rows, size_t width, size_t from, uint8_t *out)
{
    for (size_t j = from; j < width; j++) {
        uint64_t x = 0, t;
        for (int i = 0; i < 8; i++)
            x |= (uint64_t)rows[(size_t)i * width + j] << (8 * i);
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

#if defined(__x86_64__)
/* Swap the bits of `a` above distance d with those of `b` below it, in each byte: one step of a bit transposition. */
#define FL_SWAP(a, b, d, m)                                                              \
    do {                                                                                 \
        __m256i t_ = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi16(a, d), b), m);  \
        b = _mm256_xor_si256(b, t_);                                                     \
        a = _mm256_xor_si256(a, _mm256_slli_epi16(t_, d));                               \
    } while (0)

__attribute__((target("avx2"))) static void fl_rows_to_bytes_avx2(const uint8_t *rows, size_t width, uint8_t *out)
{
    const __m256i m4 = _mm256_set1_epi8(0x0F), m2 = _mm256_set1_epi8(0x33), m1 = _mm256_set1_epi8(0x55);
    size_t j = 0;
    for (; j + 32 <= width; j += 32) {
        __m256i r[8];
        for (int i = 0; i < 8; i++)
            r[i] = _mm256_loadu_si256((const __m256i *)(rows + (size_t)i * width + j));
        __m256i any = _mm256_or_si256(_mm256_or_si256(_mm256_or_si256(r[0], r[1]), _mm256_or_si256(r[2], r[3])),
                                      _mm256_or_si256(_mm256_or_si256(r[4], r[5]), _mm256_or_si256(r[6], r[7])));
        __m256i *o = (__m256i *)(out + 8 * j);
        if (_mm256_testz_si256(any, any)) { /* the high bits of detector counts: most often all zero */
            for (int i = 0; i < 8; i++)
                _mm256_storeu_si256(o + i, _mm256_setzero_si256());
            continue;
        }
        for (int i = 0; i < 4; i++)
            FL_SWAP(r[i], r[i + 4], 4, m4);
        FL_SWAP(r[0], r[2], 2, m2);
        FL_SWAP(r[1], r[3], 2, m2);
        FL_SWAP(r[4], r[6], 2, m2);
        FL_SWAP(r[5], r[7], 2, m2);
        FL_SWAP(r[0], r[1], 1, m1);
        FL_SWAP(r[2], r[3], 1, m1);
        FL_SWAP(r[4], r[5], 1, m1);
        FL_SWAP(r[6], r[7], 1, m1);
        /* r[k] now holds element k of each column; put the eight of a column side by side */
        __m256i a[8], b[8];
        for (int i = 0; i < 4; i++) {
            a[2 * i] = _mm256_unpacklo_epi8(r[2 * i], r[2 * i + 1]);
            a[2 * i + 1] = _mm256_unpackhi_epi8(r[2 * i], r[2 * i + 1]);
        }
        for (int h = 0; h < 2; h++) {
            b[2 * h] = _mm256_unpacklo_epi16(a[h], a[2 + h]);
            b[2 * h + 1] = _mm256_unpackhi_epi16(a[h], a[2 + h]);
            b[4 + 2 * h] = _mm256_unpacklo_epi16(a[4 + h], a[6 + h]);
            b[4 + 2 * h + 1] = _mm256_unpackhi_epi16(a[4 + h], a[6 + h]);
        }
        for (int q = 0; q < 4; q++) { /* columns 4q .. 4q+3 in the low lane, 16 further on in the high one */
            __m256i lo = _mm256_unpacklo_epi32(b[q], b[4 + q]);
            __m256i hi = _mm256_unpackhi_epi32(b[q], b[4 + q]);
            _mm256_storeu_si256(o + q, _mm256_permute2x128_si256(lo, hi, 0x20));
            _mm256_storeu_si256(o + 4 + q, _mm256_permute2x128_si256(lo, hi, 0x31));
        }
    }
    if (j < width)
        fl_rows_to_bytes_portable(rows, width, j, out);
}
#endif

/* ---------------------------------------------------------------- byte planes -> elements */

/* n elements of `elem` bytes, plane b of n bytes holds byte b of each (IN), to elements (OUT), from element `from` on. */
static void fl_unshuffle_portable(const uint8_t *planes, size_t n, size_t elem, size_t from, uint8_t *out)
{
    for (size_t b = 0; b < elem; b++)
        for (size_t i = from; i < n; i++)
            out[i * elem + b] = planes[b * n + i];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void fl_unshuffle_avx2(const uint8_t *planes, size_t n, size_t elem, uint8_t *out)
{
    size_t i = 0;
    if (elem == 2) {
        for (; i + 32 <= n; i += 32) {
            __m256i p = _mm256_loadu_si256((const __m256i *)(planes + i));
            __m256i q = _mm256_loadu_si256((const __m256i *)(planes + n + i));
            __m256i lo = _mm256_unpacklo_epi8(p, q), hi = _mm256_unpackhi_epi8(p, q);
            __m256i *o = (__m256i *)(out + 2 * i);
            _mm256_storeu_si256(o, _mm256_permute2x128_si256(lo, hi, 0x20));
            _mm256_storeu_si256(o + 1, _mm256_permute2x128_si256(lo, hi, 0x31));
        }
    } else if (elem == 4) {
        for (; i + 32 <= n; i += 32) {
            __m256i p[4];
            for (size_t b = 0; b < 4; b++)
                p[b] = _mm256_loadu_si256((const __m256i *)(planes + b * n + i));
            __m256i al = _mm256_unpacklo_epi8(p[0], p[1]), ah = _mm256_unpackhi_epi8(p[0], p[1]);
            __m256i bl = _mm256_unpacklo_epi8(p[2], p[3]), bh = _mm256_unpackhi_epi8(p[2], p[3]);
            __m256i c0 = _mm256_unpacklo_epi16(al, bl), c1 = _mm256_unpackhi_epi16(al, bl);
            __m256i c2 = _mm256_unpacklo_epi16(ah, bh), c3 = _mm256_unpackhi_epi16(ah, bh);
            __m256i *o = (__m256i *)(out + 4 * i);
            _mm256_storeu_si256(o, _mm256_permute2x128_si256(c0, c1, 0x20));
            _mm256_storeu_si256(o + 1, _mm256_permute2x128_si256(c2, c3, 0x20));
            _mm256_storeu_si256(o + 2, _mm256_permute2x128_si256(c0, c1, 0x31));
            _mm256_storeu_si256(o + 3, _mm256_permute2x128_si256(c2, c3, 0x31));
        }
    } else if (elem == 8) {
        for (; i + 16 <= n; i += 16) {
            __m128i p[8], a[8], b[8];
            for (size_t k = 0; k < 8; k++)
                p[k] = _mm_loadu_si128((const __m128i *)(planes + k * n + i));
            for (int k = 0; k < 4; k++) {
                a[k] = _mm_unpacklo_epi8(p[2 * k], p[2 * k + 1]);
                a[4 + k] = _mm_unpackhi_epi8(p[2 * k], p[2 * k + 1]);
            }
            for (int h = 0; h < 2; h++)
                for (int k = 0; k < 2; k++) {
                    b[4 * h + k] = _mm_unpacklo_epi16(a[4 * h + 2 * k], a[4 * h + 2 * k + 1]);
                    b[4 * h + 2 + k] = _mm_unpackhi_epi16(a[4 * h + 2 * k], a[4 * h + 2 * k + 1]);
                }
            __m128i *o = (__m128i *)(out + 8 * i);
            for (int h = 0; h < 4; h++) {
                _mm_storeu_si128(o + 2 * h, _mm_unpacklo_epi32(b[2 * h], b[2 * h + 1]));
                _mm_storeu_si128(o + 2 * h + 1, _mm_unpackhi_epi32(b[2 * h], b[2 * h + 1]));
            }
        }
    }
    if (i < n)
        fl_unshuffle_portable(planes, n, elem, i, out);
}
#endif

static void fl_unshuffle(const uint8_t *planes, size_t n, size_t elem, uint8_t *out, int simd)
{
    if (elem == 1) {
        memcpy(out, planes, n);
        return;
    }
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX2) {
        fl_unshuffle_avx2(planes, n, elem, out);
        return;
    }
#endif
    (void)simd;
    fl_unshuffle_portable(planes, n, elem, 0, out);
}

/* One block of n elements (n a multiple of 8): IN n*elem bytes, OUT n*elem bytes, `planes` scratch of n*elem bytes. */
static void fl_unbitshuffle(const uint8_t *in, size_t n, size_t elem, uint8_t *out, uint8_t *planes, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512 && n % (8 * FL_COLUMNS) == 0 && (elem == 2 || elem == 4)) {
        if (elem == 2)
            fl_unbitshuffle2_avx512(in, n, out);
        else
            fl_unbitshuffle4_avx512(in, n, out);
        return;
    }
#endif
    uint8_t *bytes = elem == 1 ? out : planes;
    for (size_t b = 0; b < elem; b++) {
#if defined(__x86_64__)
        if (simd >= FL_SIMD_AVX2)
            fl_rows_to_bytes_avx2(in + b * n, n / 8, bytes + b * n);
        else
#endif
            fl_rows_to_bytes_portable(in + b * n, n / 8, 0, bytes + b * n);
    }
    if (elem > 1)
        fl_unshuffle(planes, n, elem, out, simd);
}

/* ---------------------------------------------------------------- the block stream */

typedef int (*fl_lz4_fn)(const char *src, char *dst, int src_size, int dst_size);
typedef size_t (*fl_zstd_fn)(void *dst, size_t dst_size, const void *src, size_t src_size);

enum { FL_BSHUF_PLAIN = 0, FL_BSHUF_LZ4 = 2, FL_BSHUF_ZSTD = 3 }; /* the filter's own numbers */

typedef struct {
    size_t elem;       /* bytes of an element */
    size_t block;      /* elements of a block, for streams that do not say it themselves */
    int compression;   /* FL_BSHUF_* */
    fl_lz4_fn lz4;
    fl_zstd_fn zstd;
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

/* A stored block, to `bytes` bytes (OUT). `bits` and `planes` are scratch of as many bytes each. */
static int fl_block_unpack(const fl_bshuf *f, const uint8_t *src, size_t stored, size_t bytes, uint8_t *out,
                           uint8_t *bits, uint8_t *planes, fl_error *e)
{
    const uint8_t *in = bits;
    if (f->compression == FL_BSHUF_PLAIN)
        in = src;
    else if (f->compression == FL_BSHUF_LZ4) {
        if (stored > INT32_MAX || f->lz4((const char *)src, (char *)bits, (int)stored, (int)bytes) != (int)bytes)
            return fl_fail(e, FL_CORRUPT, "LZ4 block");
    } else if (f->zstd(bits, bytes, src, stored) != bytes) {
        return fl_fail(e, FL_CORRUPT, "zstd block");
    }
    fl_unbitshuffle(in, bytes / f->elem, f->elem, out, planes, f->simd);
    return FL_OK;
}

static int fl_block_decode(const fl_blocks *b, const fl_bshuf *f, size_t i, uint8_t *out, uint8_t *bits,
                           uint8_t *planes, fl_error *e)
{
    size_t bytes = i + 1 == b->blocks ? b->last_bytes : b->block_bytes;
    if (!b->starts)
        return fl_block_unpack(f, b->data + i * b->block_bytes, bytes, bytes, out, bits, planes, e);
    size_t stored = b->starts[i + 1] - 4 - b->starts[i];
    return fl_block_unpack(f, b->data + b->starts[i], stored, bytes, out, bits, planes, e);
}

#define FL_SCRATCH_ON_STACK 16384

/* Vectors stored across the borders of cache lines take twice as long: where the caller's memory is not aligned (NumPy's
 * large arrays are not), a block is made in scratch and copied; for the copy the C library has instructions of its own. */
static inline int fl_is_aligned(const uint8_t *out)
{
    return (uintptr_t)out % 64 == 0;
}

/* Bytes of the largest block: so many does scratch have to have. */
static inline size_t fl_scratch_bytes(const fl_blocks *b)
{
    return b->blocks == 0 ? 0 : b->blocks > 1 ? b->block_bytes : b->last_bytes;
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
    int rc = FL_OK;
    size_t coded = b->total - b->tail_bytes;
    while (from < to && from < coded && rc == FL_OK) {
        size_t i = from / bb, start = i * bb;
        size_t end = i + 1 == b->blocks ? coded : start + bb;
        size_t stop = to < end ? to : end;
        if (from == start && stop == end && (bits != small || fl_is_aligned(out))) {
            rc = fl_block_decode(b, f, i, out, bits, planes, e);
        } else {
            rc = fl_block_decode(b, f, i, whole, bits, planes, e);
            if (rc == FL_OK)
                memcpy(out, whole + (from - start), stop - from);
        }
        out += stop - from;
        from = stop;
    }
    if (rc == FL_OK && from < to)
        memcpy(out, b->data + b->tail_at + (from - coded), to - from);
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
    uint8_t small[3 * FL_SCRATCH_ON_STACK] __attribute__((aligned(64)));
    fl_blocks b;
    int rc = more(from, size < 12 ? size : 12, e);
    if (rc == FL_OK)
        rc = fl_blocks_head(&b, f, data, size, total, e);
    if (rc)
        return rc;
    size_t at = 12, most = fl_scratch_bytes(&b);
    uint8_t *bits = most > FL_SCRATCH_ON_STACK ? malloc(2 * most) : small;
    if (!bits)
        return fl_fail(e, FL_NOMEM, "");
    uint8_t *whole = bits == small && !fl_is_aligned(out) ? small + 2 * FL_SCRATCH_ON_STACK : NULL;
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
            rc = fl_block_unpack(f, data + at, stored, bytes, whole ? whole : out, bits, bits + most, e);
        if (rc == FL_OK && whole)
            memcpy(out, whole, bytes);
        at += stored;
        out += bytes;
    }
    if (rc == FL_OK && size - at < b.tail_bytes)
        rc = fl_fail(e, FL_CORRUPT, "bitshuffle: the last elements are missing");
    if (rc == FL_OK)
        rc = more(from, at + b.tail_bytes, e);
    if (rc == FL_OK)
        memcpy(out, data + at, b.tail_bytes);
    if (bits != small)
        free(bits);
    return rc;
}

#endif
