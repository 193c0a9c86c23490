/* SPDX-License-Identifier: MIT
 *
 * Bit planes to elements in one go, for elements of 2 and 4 bytes, with AVX-512 and GFNI.
 *
 * GF2P8AFFINEQB multiplies bit matrices: with the unit vectors as one operand it transposes the 8 x 8 bits of each
 * quadword of the other. So eight rows are interleaved byte by byte, the quadwords are transposed, and the byte planes
 * are interleaved, all in registers: 64 columns, that is 512 elements, at a time.
 */
#ifndef FL_BITSHUFFLE_AVX512_H
#define FL_BITSHUFFLE_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define FL_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,gfni")))
#define FL_COLUMNS 64 /* columns of a tile: a register's bytes */

/* Eight rows of `width` bytes, 64 columns of them (IN). OUT: w[q], whose 128-bit lane L holds the bytes of the eight
 * elements of column 16*L + 2*q, then those of the next column. */
FL_AVX512 static inline void fl_plane_avx512(const uint8_t *rows, size_t width, __m512i w[8])
{
    __m512i r[8], a[8], b[8], any;
    for (int i = 0; i < 8; i++) /* from the last row to the first: the instruction counts bytes from the top */
        r[i] = _mm512_loadu_si512(rows + (size_t)(7 - i) * width);
    any = _mm512_ternarylogic_epi64(_mm512_or_si512(r[0], r[1]), r[2], r[3], 0xFE);
    any = _mm512_or_si512(any, _mm512_ternarylogic_epi64(_mm512_or_si512(r[4], r[5]), r[6], r[7], 0xFE));
    if (!_mm512_test_epi64_mask(any, any)) { /* the high bits of detector counts: most often all zero */
        for (int i = 0; i < 8; i++)
            w[i] = _mm512_setzero_si512();
        return;
    }
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm512_unpacklo_epi8(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi8(r[2 * i], r[2 * i + 1]);
    }
    for (int h = 0; h < 2; h++) {
        b[2 * h] = _mm512_unpacklo_epi16(a[h], a[2 + h]);
        b[2 * h + 1] = _mm512_unpackhi_epi16(a[h], a[2 + h]);
        b[4 + 2 * h] = _mm512_unpacklo_epi16(a[4 + h], a[6 + h]);
        b[4 + 2 * h + 1] = _mm512_unpackhi_epi16(a[4 + h], a[6 + h]);
    }
    const __m512i unit = _mm512_set1_epi64((long long)0x8040201008040201ULL);
    for (int q = 0; q < 4; q++) {
        w[2 * q] = _mm512_gf2p8affine_epi64_epi8(unit, _mm512_unpacklo_epi32(b[q], b[4 + q]), 0);
        w[2 * q + 1] = _mm512_gf2p8affine_epi64_epi8(unit, _mm512_unpackhi_epi32(b[q], b[4 + q]), 0);
    }
}

/* Store the four lanes of a, b, c, d side by side: lane L of each to out + L*step, in this order. */
FL_AVX512 static inline void fl_store_lanes(uint8_t *out, size_t step, __m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i t0 = _mm512_shuffle_i64x2(a, b, 0x44), t1 = _mm512_shuffle_i64x2(a, b, 0xEE);
    __m512i t2 = _mm512_shuffle_i64x2(c, d, 0x44), t3 = _mm512_shuffle_i64x2(c, d, 0xEE);
    _mm512_storeu_si512(out, _mm512_shuffle_i64x2(t0, t2, 0x88));
    _mm512_storeu_si512(out + step, _mm512_shuffle_i64x2(t0, t2, 0xDD));
    _mm512_storeu_si512(out + 2 * step, _mm512_shuffle_i64x2(t1, t3, 0x88));
    _mm512_storeu_si512(out + 3 * step, _mm512_shuffle_i64x2(t1, t3, 0xDD));
}

FL_AVX512 static void fl_unbitshuffle2_avx512(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t width = n / 8;
    for (size_t j = 0; j < width; j += FL_COLUMNS, out += 8 * FL_COLUMNS * 2) {
        __m512i p[8], q[8];
        fl_plane_avx512(in + j, width, p);
        fl_plane_avx512(in + n + j, width, q);
        for (int i = 0; i < 8; i += 2)
            fl_store_lanes(out + 32 * (size_t)i, 256, _mm512_unpacklo_epi8(p[i], q[i]),
                           _mm512_unpackhi_epi8(p[i], q[i]), _mm512_unpacklo_epi8(p[i + 1], q[i + 1]),
                           _mm512_unpackhi_epi8(p[i + 1], q[i + 1]));
    }
}

FL_AVX512 static void fl_unbitshuffle4_avx512(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t width = n / 8;
    for (size_t j = 0; j < width; j += FL_COLUMNS, out += 8 * FL_COLUMNS * 4) {
        __m512i p[4][8];
        for (size_t b = 0; b < 4; b++)
            fl_plane_avx512(in + b * n + j, width, p[b]);
        for (int i = 0; i < 8; i++) {
            __m512i al = _mm512_unpacklo_epi8(p[0][i], p[1][i]), ah = _mm512_unpackhi_epi8(p[0][i], p[1][i]);
            __m512i bl = _mm512_unpacklo_epi8(p[2][i], p[3][i]), bh = _mm512_unpackhi_epi8(p[2][i], p[3][i]);
            fl_store_lanes(out + 64 * (size_t)i, 512, _mm512_unpacklo_epi16(al, bl), _mm512_unpackhi_epi16(al, bl),
                           _mm512_unpacklo_epi16(ah, bh), _mm512_unpackhi_epi16(ah, bh));
        }
    }
}

#endif
