/* SPDX-License-Identifier: MIT
 *
 * Bit planes to elements with AVX2: for elements of 2 and 4 bytes in one go, 32 columns, that is 256 elements, at a time.
 */
#ifndef FL_BITSHUFFLE_AVX2_H
#define FL_BITSHUFFLE_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define FL_AVX2 __attribute__((target("avx2")))

#define FL_SWAP_AVX2(a, b, d, m)                                                        \
    do {                                                                                \
        __m256i t_ = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi16(a, d), b), m); \
        b = _mm256_xor_si256(b, t_);                                                    \
        a = _mm256_xor_si256(a, _mm256_slli_epi16(t_, d));                              \
    } while (0)

/* Eight rows from column j on, 32 columns of them (IN). OUT: w[k], the bytes of elements 32*k ... 32*k + 31. */
FL_AVX2 static inline void fl_plane_avx2(const uint8_t *const rows[8], size_t j, __m256i w[8])
{
    const __m256i m4 = _mm256_set1_epi8(0x0F), m2 = _mm256_set1_epi8(0x33), m1 = _mm256_set1_epi8(0x55);
    __m256i r[8], a[8], b[8];
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_si256((const __m256i *)(rows[i] + j));
    __m256i any = _mm256_or_si256(_mm256_or_si256(_mm256_or_si256(r[0], r[1]), _mm256_or_si256(r[2], r[3])),
                                  _mm256_or_si256(_mm256_or_si256(r[4], r[5]), _mm256_or_si256(r[6], r[7])));
    if (_mm256_testz_si256(any, any)) { /* the high bits of detector counts: most often all zero */
        for (int i = 0; i < 8; i++)
            w[i] = _mm256_setzero_si256();
        return;
    }
    for (int i = 0; i < 4; i++)
        FL_SWAP_AVX2(r[i], r[i + 4], 4, m4);
    FL_SWAP_AVX2(r[0], r[2], 2, m2);
    FL_SWAP_AVX2(r[1], r[3], 2, m2);
    FL_SWAP_AVX2(r[4], r[6], 2, m2);
    FL_SWAP_AVX2(r[5], r[7], 2, m2);
    FL_SWAP_AVX2(r[0], r[1], 1, m1);
    FL_SWAP_AVX2(r[2], r[3], 1, m1);
    FL_SWAP_AVX2(r[4], r[5], 1, m1);
    FL_SWAP_AVX2(r[6], r[7], 1, m1);
    /* r[k] now holds element k of each column; put the eight of a column side by side */
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
        w[q] = _mm256_permute2x128_si256(lo, hi, 0x20);
        w[4 + q] = _mm256_permute2x128_si256(lo, hi, 0x31);
    }
}

/* A row of bits from column j on, 32 columns of it (IN). OUT: w[k], for elements 32*k ... 32*k + 31, 0 or 255. */
FL_AVX2 static inline void fl_spread_avx2(const uint8_t *row, __m256i w[8])
{
    const __m256i which = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3,
                                           3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ULL);
    for (int k = 0; k < 8; k++) {
        int32_t mask;
        memcpy(&mask, row + 4 * k, 4);
        __m256i each = _mm256_shuffle_epi8(_mm256_set1_epi32(mask), which);
        w[k] = _mm256_cmpeq_epi8(_mm256_and_si256(each, bit), bit);
    }
}

FL_AVX2 static inline void fl_store2_avx2(uint8_t *out, __m256i p, __m256i q)
{
    __m256i lo = _mm256_unpacklo_epi8(p, q), hi = _mm256_unpackhi_epi8(p, q);
    _mm256_storeu_si256((__m256i *)out, _mm256_permute2x128_si256(lo, hi, 0x20));
    _mm256_storeu_si256((__m256i *)out + 1, _mm256_permute2x128_si256(lo, hi, 0x31));
}

FL_AVX2 static inline void fl_store4_avx2(uint8_t *out, __m256i p0, __m256i p1, __m256i p2, __m256i p3)
{
    __m256i al = _mm256_unpacklo_epi8(p0, p1), ah = _mm256_unpackhi_epi8(p0, p1);
    __m256i bl = _mm256_unpacklo_epi8(p2, p3), bh = _mm256_unpackhi_epi8(p2, p3);
    __m256i c0 = _mm256_unpacklo_epi16(al, bl), c1 = _mm256_unpackhi_epi16(al, bl);
    __m256i c2 = _mm256_unpacklo_epi16(ah, bh), c3 = _mm256_unpackhi_epi16(ah, bh);
    __m256i *o = (__m256i *)out;
    _mm256_storeu_si256(o, _mm256_permute2x128_si256(c0, c1, 0x20));
    _mm256_storeu_si256(o + 1, _mm256_permute2x128_si256(c2, c3, 0x20));
    _mm256_storeu_si256(o + 2, _mm256_permute2x128_si256(c0, c1, 0x31));
    _mm256_storeu_si256(o + 3, _mm256_permute2x128_si256(c2, c3, 0x31));
}

/* For elements of 2 and 4 bytes, n a multiple of 256. Where all rows of a byte equal row `last`, that row is a mask. */
FL_AVX2 static void fl_unbitshuffle_avx2(const uint8_t *in, size_t n, size_t elem, uint8_t *out, size_t last)
{
    const uint8_t *rows[4][8];
    for (size_t b = 0; b < elem; b++)
        fl_rows_of_plane(in, n / 8, b, last, rows[b]);
    for (size_t j = 0; j < n / 8; j += 32) {
        __m256i p[4][8];
        size_t b = 0;
        for (; b < elem && (b == 0 || last > 8 * b); b++)
            fl_plane_avx2(rows[b], j, p[b]);
        if (b < elem)
            fl_spread_avx2(in + last * (n / 8) + j, p[b]);
        size_t second = b < 1 ? b : 1, third = b < 2 ? b : 2, fourth = b < 3 ? b : 3;
        for (size_t k = 0; k < 8; k++, out += 32 * elem)
            if (elem == 2)
                fl_store2_avx2(out, p[0][k], p[second][k]);
            else
                fl_store4_avx2(out, p[0][k], p[second][k], p[third][k], p[fourth][k]);
    }
}

/* From column 0 on, to bytes in memory. */
FL_AVX2 static void fl_rows_to_bytes_avx2(const uint8_t *const rows[8], size_t width, uint8_t *out)
{
    size_t j = 0;
    for (; j + 32 <= width; j += 32) {
        __m256i w[8];
        fl_plane_avx2(rows, j, w);
        for (size_t k = 0; k < 8; k++)
            _mm256_storeu_si256((__m256i *)(out + 8 * j) + k, w[k]);
    }
    if (j < width)
        fl_rows_to_bytes_portable(rows, width, j, out);
}

/* Byte planes to elements of 2 or 4 bytes. */
FL_AVX2 static void fl_unshuffle_avx2(const uint8_t *const *planes, size_t n, size_t elem, uint8_t *out)
{
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i p[4];
        for (size_t b = 0; b < elem; b++)
            p[b] = _mm256_loadu_si256((const __m256i *)(planes[b] + i));
        if (elem == 2)
            fl_store2_avx2(out + 2 * i, p[0], p[1]);
        else
            fl_store4_avx2(out + 4 * i, p[0], p[1], p[2], p[3]);
    }
    if (i < n)
        fl_unshuffle_portable(planes, n, elem, i, out);
}

#endif
