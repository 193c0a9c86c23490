/* SPDX-License-Identifier: MIT
 *
 * The pixels of a frame that are above a cut, with their places: found piece by piece while the pixels are in the
 * processor's cache; the frame as a whole is never made.
 */
#ifndef FL_SPARSE_H
#define FL_SPARSE_H

#include "stack.h"

#define FL_PIECE 32768 /* bytes: four blocks of bitshuffle, and no more than the L1 cache has */
#define FL_GROUP 32    /* pixels that are looked at together before each is */

/* Where the next pixels go. Arrays with room for all pixels of the frame. */
typedef struct {
    uint32_t *indices;
    uint8_t *values;
    size_t n;
} fl_found;

/* Pixels of one type: IN n pixels, the first of which is number `first` of the frame; those whose byte in `mask` (NULL:
 * there is none) is not 0 are left out. */
#define FL_SPARSE(type)                                                                                             \
    static void fl_sparse_##type(const uint8_t *in, size_t n, uint32_t first, const uint8_t *mask, uint64_t cut,    \
                                 fl_found *found)                                                                   \
    {                                                                                                               \
        const type *pixels = (const type *)(const void *)in, least = (type)cut;                                     \
        type *values = (type *)(void *)found->values;                                                               \
        size_t k = found->n;                                                                                        \
        for (size_t i = 0; i < n; i += FL_GROUP) {                                                                  \
            size_t end = i + FL_GROUP < n ? i + FL_GROUP : n;                                                       \
            type most = 0;                                                                                          \
            for (size_t j = i; j < end; j++)                                                                        \
                most = pixels[j] > most ? pixels[j] : most;                                                         \
            if (most <= least)                                                                                      \
                continue;                                                                                           \
            for (size_t j = i; j < end; j++) { /* no branch; what is not wanted is written over by the next */      \
                found->indices[k] = first + (uint32_t)j;                                                            \
                values[k] = pixels[j];                                                                              \
                k += (pixels[j] > least) & (mask ? mask[j] == 0 : 1);                                               \
            }                                                                                                       \
        }                                                                                                           \
        found->n = k;                                                                                               \
    }

FL_SPARSE(uint8_t)
FL_SPARSE(uint16_t)
FL_SPARSE(uint32_t)

#if defined(__x86_64__)
/* Sixteen pixels as 32-bit numbers, those of the bits `keep`, to the end of what was found. Writes 16 of each. */
FL_AVX512 static inline void fl_keep_avx512(__m512i pixels, __mmask16 keep, uint32_t first, size_t elem, fl_found *found)
{
    const __m512i count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i at = _mm512_add_epi32(count, _mm512_set1_epi32((int)first));
    _mm512_storeu_si512(found->indices + found->n, _mm512_maskz_compress_epi32(keep, at));
    pixels = _mm512_maskz_compress_epi32(keep, pixels);
    if (elem == 2)
        _mm256_storeu_si256((__m256i *)(void *)(found->values + 2 * found->n), _mm512_cvtepi32_epi16(pixels));
    else
        _mm512_storeu_si512(found->values + 4 * found->n, pixels);
    found->n += (size_t)__builtin_popcount(keep);
}

/* For elements of 2 and 4 bytes; n a multiple of 16, and room for 16 more than are found. */
FL_AVX512 static void fl_sparse_avx512(const uint8_t *in, size_t n, size_t elem, uint32_t first, const uint8_t *mask,
                                       uint64_t cut, fl_found *found)
{
    const __m512i least = _mm512_set1_epi32((int)(uint32_t)cut);
    for (size_t i = 0; i < n; i += 16) {
        __m512i pixels = elem == 2 ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(in + 2 * i)))
                                   : _mm512_loadu_si512(in + 4 * i);
        __mmask16 keep = _mm512_cmpgt_epu32_mask(pixels, least);
        if (mask)
            keep &= _mm_testn_epi8_mask(_mm_loadu_si128((const __m128i *)(const void *)(mask + i)), _mm_set1_epi8(-1));
        if (keep)
            fl_keep_avx512(pixels, keep, first + (uint32_t)i, elem, found);
    }
}
#endif

static void fl_sparse_piece(const uint8_t *in, size_t n, size_t elem, uint32_t first, const uint8_t *mask, uint64_t cut,
                            size_t room, fl_found *found, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512 && elem > 1 && found->n + n + 16 <= room) {
        size_t most = n / 16 * 16;
        fl_sparse_avx512(in, most, elem, first, mask, cut, found);
        in += most * elem, first += (uint32_t)most, n -= most;
        if (mask)
            mask += most;
    }
#endif
    (void)simd;
    (void)room;
    if (elem == 1)
        fl_sparse_uint8_t(in, n, first, mask, cut, found);
    else if (elem == 2)
        fl_sparse_uint16_t(in, n, first, mask, cut, found);
    else
        fl_sparse_uint32_t(in, n, first, mask, cut, found);
}

/* The pixels of a frame above `cut`: unsigned ones of 1, 2 or 4 bytes. OUT: found, whose arrays have room for all pixels
 * of the frame and one more. */
static int fl_stack_sparse(const fl_stack *s, int64_t frame, uint64_t cut, const uint8_t *mask, fl_found *found, int simd,
                           fl_error *e)
{
    _Alignas(64) uint8_t piece[FL_PIECE];
    int64_t all = s->ny * s->nx, step = (int64_t)(FL_PIECE / s->itemsize), start = frame * all;
    int rc = FL_OK;
    found->n = 0;
    for (int64_t at = 0; at < all && rc == FL_OK; at += step) {
        int64_t n = all - at < step ? all - at : step;
        rc = fl_stack_read(s, start + at, start + at + n, piece, e);
        if (rc == FL_OK)
            fl_sparse_piece(piece, (size_t)n, s->itemsize, (uint32_t)at, mask ? mask + at : NULL, cut, (size_t)all + 1,
                            found, simd);
    }
    return rc;
}

#endif
