/* SPDX-License-Identifier: MIT
 *
 * Bit planes to elements in one go, for elements of 2 and 4 bytes, with AVX-512 (BW, VL, VBMI) and GFNI.
 *
 * GF2P8AFFINEQB multiplies bit matrices: with the unit vectors as one operand it transposes the 8 x 8 bits of each
 * quadword of the other. So eight rows are interleaved byte by byte, the quadwords are transposed, and the byte planes
 * are interleaved, all in registers: 64 columns, that is 512 elements, at a time.
 *
 * Of the counts of a detector the high bits are most often all equal: zero, or one where a pixel is in a gap. Where all
 * rows of the high bytes equal one row, that row is a mask of elements, and nothing has to be transposed.
 */
#ifndef FL_BITSHUFFLE_AVX512_H
#define FL_BITSHUFFLE_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define FL_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,gfni")))
#define FL_COLUMNS 64 /* columns of a tile: a register's bytes */

/* For the bytes of a register made of two: byte 16*l + 4*s + 2*t + r is that of row r (of two) in column
 * 32*h + 8*s + 2*l + t. Then unpacking inside of the lanes leaves the columns in order. */
#define FL_TURN4(h, s, l) \
    (char)(32 * h + 8 * s + 2 * l), (char)(64 + 32 * h + 8 * s + 2 * l), (char)(32 * h + 8 * s + 2 * l + 1), \
        (char)(64 + 32 * h + 8 * s + 2 * l + 1)
#define FL_TURN16(h, l) FL_TURN4(h, 0, l), FL_TURN4(h, 1, l), FL_TURN4(h, 2, l), FL_TURN4(h, 3, l)
#define FL_TURN64(h) FL_TURN16(h, 0), FL_TURN16(h, 1), FL_TURN16(h, 2), FL_TURN16(h, 3)
static const char fl_columns[2][64] __attribute__((aligned(64))) = {{FL_TURN64(0)}, {FL_TURN64(1)}};

/* Eight rows from column j on, 64 columns of them (IN). OUT: w[k], the bytes of elements 64*k ... 64*k + 63. */
FL_AVX512 static inline void fl_plane_avx512(const uint8_t *const rows[8], size_t j, __m512i w[8])
{
    const __m512i turn0 = _mm512_load_si512(fl_columns[0]), turn1 = _mm512_load_si512(fl_columns[1]);
    const __m512i unit = _mm512_set1_epi64((long long)0x8040201008040201ULL);
    __m512i r[8], a[2][4], b[4];
    for (int i = 0; i < 8; i++) /* from the last row to the first: the instruction counts bytes from the top */
        r[i] = _mm512_loadu_si512(rows[7 - i] + j);
    __m512i any = _mm512_ternarylogic_epi64(_mm512_or_si512(r[0], r[1]), r[2], r[3], 0xFE);
    any = _mm512_or_si512(any, _mm512_ternarylogic_epi64(_mm512_or_si512(r[4], r[5]), r[6], r[7], 0xFE));
    if (!_mm512_test_epi64_mask(any, any)) {
        for (int i = 0; i < 8; i++)
            w[i] = _mm512_setzero_si512();
        return;
    }
    for (int i = 0; i < 4; i++) {
        a[0][i] = _mm512_permutex2var_epi8(r[2 * i], turn0, r[2 * i + 1]);
        a[1][i] = _mm512_permutex2var_epi8(r[2 * i], turn1, r[2 * i + 1]);
    }
    for (int h = 0; h < 2; h++) {
        b[0] = _mm512_unpacklo_epi16(a[h][0], a[h][1]);
        b[1] = _mm512_unpacklo_epi16(a[h][2], a[h][3]);
        b[2] = _mm512_unpackhi_epi16(a[h][0], a[h][1]);
        b[3] = _mm512_unpackhi_epi16(a[h][2], a[h][3]);
        for (int s = 0; s < 4; s += 2) {
            w[4 * h + s] = _mm512_gf2p8affine_epi64_epi8(unit, _mm512_unpacklo_epi32(b[s], b[s + 1]), 0);
            w[4 * h + s + 1] = _mm512_gf2p8affine_epi64_epi8(unit, _mm512_unpackhi_epi32(b[s], b[s + 1]), 0);
        }
    }
}

/* Where the bytes of two registers come from to stand side by side, for the first and for the second half. */
FL_AVX512 static inline void fl_pairs(__m512i pair[2])
{
    const __m512i count = _mm512_set_epi8(63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44,
        43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16,
        15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i half = _mm512_and_si512(_mm512_srli_epi16(count, 1), _mm512_set1_epi8(0x1F));
    pair[0] = _mm512_mask_add_epi8(half, 0xAAAAAAAAAAAAAAAAULL, half, _mm512_set1_epi8(64));
    pair[1] = _mm512_add_epi8(pair[0], _mm512_set1_epi8(32));
}

FL_AVX512 static void fl_unbitshuffle2_avx512(const uint8_t *in, size_t n, uint8_t *out, size_t last)
{
    size_t width = n / 8;
    const uint8_t *low[8], *high[8], *gap = in + last * width;
    fl_rows_of_plane(in, width, 0, last, low);
    fl_rows_of_plane(in, width, 1, last, high);
    __m512i pair[2], p[8], q[8];
    fl_pairs(pair);
    for (size_t j = 0; j < width; j += FL_COLUMNS, out += 8 * FL_COLUMNS * 2) {
        fl_plane_avx512(low, j, p);
        if (last <= 8) {
            for (int k = 0; k < 8; k++) {
                uint64_t mask;
                memcpy(&mask, gap + j + 8 * k, 8);
                __m512i ones = _mm512_movm_epi8(mask);
                _mm512_storeu_si512(out + 128 * k, _mm512_permutex2var_epi8(p[k], pair[0], ones));
                _mm512_storeu_si512(out + 128 * k + 64, _mm512_permutex2var_epi8(p[k], pair[1], ones));
            }
            continue;
        }
        fl_plane_avx512(high, j, q);
        for (int k = 0; k < 8; k++) {
            _mm512_storeu_si512(out + 128 * k, _mm512_permutex2var_epi8(p[k], pair[0], q[k]));
            _mm512_storeu_si512(out + 128 * k + 64, _mm512_permutex2var_epi8(p[k], pair[1], q[k]));
        }
    }
}

/* Elements of which only the lowest byte has to be transposed: the others are 0 or, where the mask says so, 255. */
FL_AVX512 static inline void fl_widen4_avx512(uint8_t *out, const __m512i p[8], const uint8_t *gap)
{
    const __m512i ones = _mm512_set1_epi8(-1);
    const __m512i quarter = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (int k = 0; k < 8; k++) {
        uint64_t mask;
        memcpy(&mask, gap + 8 * k, 8);
        for (int h = 0; h < 4; h++, mask >>= 16) {
            __m512i high = _mm512_maskz_mov_epi32((__mmask16)mask, ones);
            __m512i from = _mm512_add_epi32(quarter, _mm512_set1_epi32(16 * h));
            _mm512_storeu_si512(out + 256 * k + 64 * h,
                                _mm512_mask_permutexvar_epi8(high, 0x1111111111111111ULL, from, p[k]));
        }
    }
}

FL_AVX512 static void fl_unbitshuffle4_avx512(const uint8_t *in, size_t n, uint8_t *out, size_t last)
{
    size_t width = n / 8;
    const uint8_t *rows[4][8], *gap = in + last * width;
    for (size_t b = 0; b < 4; b++)
        fl_rows_of_plane(in, width, b, last, rows[b]);
    __m512i pair[2], p[4][8];
    fl_pairs(pair);
    for (size_t j = 0; j < width; j += FL_COLUMNS, out += 8 * FL_COLUMNS * 4) {
        fl_plane_avx512(rows[0], j, p[0]);
        if (last <= 8) {
            fl_widen4_avx512(out, p[0], gap + j);
            continue;
        }
        for (size_t b = 1; b < 4; b++)
            fl_plane_avx512(rows[b], j, p[b]);
        for (int k = 0; k < 8; k++)
            for (int h = 0; h < 2; h++) {
                __m512i a = _mm512_permutex2var_epi8(p[0][k], pair[h], p[1][k]);
                __m512i b = _mm512_permutex2var_epi8(p[2][k], pair[h], p[3][k]);
                __m512i lo = _mm512_unpacklo_epi16(a, b), hi = _mm512_unpackhi_epi16(a, b);
                __m512i c = _mm512_shuffle_i64x2(lo, hi, 0x44), d = _mm512_shuffle_i64x2(lo, hi, 0xEE);
                _mm512_storeu_si512(out + 256 * k + 128 * h, _mm512_shuffle_i64x2(c, c, 0xD8));
                _mm512_storeu_si512(out + 256 * k + 128 * h + 64, _mm512_shuffle_i64x2(d, d, 0xD8));
            }
    }
}

#endif
