/* SPDX-License-Identifier: MIT
 *
 * Rows of numbers to columns: squares of them in vectors, what is left number by number.
 */
#ifndef FL_TURN_H
#define FL_TURN_H

#include "deltas.h"

#define FL_LINE 64 /* bytes of a line of the processor's cache */

typedef uint64_t fl_v64 __attribute__((vector_size(FL_VECTOR)));
#if defined(__clang__)
#define FL_LO64(a, b) ((fl_v8)__builtin_shufflevector((fl_v64)(a), (fl_v64)(b), 0, 2))
#define FL_HI64(a, b) ((fl_v8)__builtin_shufflevector((fl_v64)(a), (fl_v64)(b), 1, 3))
#else
#define FL_LO64(a, b) ((fl_v8)__builtin_shuffle((fl_v64)(a), (fl_v64)(b), (fl_v64){0, 2}))
#define FL_HI64(a, b) ((fl_v8)__builtin_shuffle((fl_v64)(a), (fl_v64)(b), (fl_v64){1, 3}))
#endif

/* From where on, and in which steps: bytes from a number to the one in the next row, and in the next column. */
typedef struct {
    uint8_t *at;
    ptrdiff_t down, right;
} fl_target;

/* Four rows of four numbers of 4 bytes (IN: `below` bytes from row to row) to columns (OUT). */
FL_BODY void fl_square4(const uint8_t *in, ptrdiff_t below, uint8_t *out, ptrdiff_t down)
{
    fl_v8 r[4], low[2], high[2];
    for (int i = 0; i < 4; i++)
        r[i] = fl_load(in + i * below);
    for (int i = 0; i < 2; i++) {
        low[i] = FL_LO32(r[2 * i], r[2 * i + 1]);
        high[i] = FL_HI32(r[2 * i], r[2 * i + 1]);
    }
    fl_store(out, FL_LO64(low[0], low[1]));
    fl_store(out + down, FL_HI64(low[0], low[1]));
    fl_store(out + 2 * down, FL_LO64(high[0], high[1]));
    fl_store(out + 3 * down, FL_HI64(high[0], high[1]));
}

/* The same of eight rows of eight numbers of 2 bytes. */
FL_BODY void fl_square2(const uint8_t *in, ptrdiff_t below, uint8_t *out, ptrdiff_t down)
{
    fl_v8 pairs[2][4], fours[4][2];
    for (int i = 0; i < 4; i++) {
        fl_v8 a = fl_load(in + 2 * i * below), b = fl_load(in + (2 * i + 1) * below);
        pairs[0][i] = FL_LO16(a, b);
        pairs[1][i] = FL_HI16(a, b);
    }
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 2; i++) {
            fours[2 * h][i] = FL_LO32(pairs[h][2 * i], pairs[h][2 * i + 1]);
            fours[2 * h + 1][i] = FL_HI32(pairs[h][2 * i], pairs[h][2 * i + 1]);
        }
    for (int c = 0; c < 4; c++) {
        fl_store(out + 2 * c * down, FL_LO64(fours[c][0], fours[c][1]));
        fl_store(out + (2 * c + 1) * down, FL_HI64(fours[c][0], fours[c][1]));
    }
}

/* Rows [y0, y1) and columns [x0, x1), one number of z bytes after the other. */
FL_BODY void fl_turn_each(const uint8_t *in, ptrdiff_t below, int64_t y0, int64_t y1, int64_t x0, int64_t x1, size_t z,
                          const fl_target *to)
{
    for (int64_t x = x0; x < x1; x++)
        for (int64_t y = y0; y < y1; y++)
            memcpy(to->at + x * to->down + y * to->right, in + y * below + x * (ptrdiff_t)z, z);
}

FL_BODY void fl_turn_body(const uint8_t *in, ptrdiff_t below, int64_t rows, int64_t columns, size_t z, const fl_target *to,
                          int simd)
{
    const int64_t step = FL_LINE / (int64_t)z, side = FL_VECTOR / (int64_t)z;
    const int64_t whole = simd >= FL_SIMD_VECTOR && (z == 2 || z == 4) ? rows / side * side : 0;
    for (int64_t x0 = 0; x0 < columns; x0 += step) { /* a line of each row at a time */
        int64_t x1 = columns - x0 < step ? columns : x0 + step, x = x0;
        for (; whole && x1 - x >= side; x += side) {
            for (int64_t y = 0; y < whole; y += side) {
                int64_t first = to->right < 0 ? y + side - 1 : y; /* the row whose numbers have the lowest addresses */
                const uint8_t *from = in + first * below + x * (ptrdiff_t)z;
                uint8_t *out = to->at + x * to->down + first * to->right;
                if (z == 2)
                    fl_square2(from, to->right < 0 ? -below : below, out, to->down);
                else
                    fl_square4(from, to->right < 0 ? -below : below, out, to->down);
            }
            fl_turn_each(in, below, whole, rows, x, x + side, z, to);
        }
        fl_turn_each(in, below, 0, rows, x, x1, z, to);
    }
}

/* Rows of numbers of z bytes (IN: `rows` times `columns` of them, `below` bytes from row to row) to columns (OUT: a row of
 * `to` for each column; to->right is z or -z). */
static void fl_turn(const uint8_t *in, ptrdiff_t below, int64_t rows, int64_t columns, size_t z, const fl_target *to,
                    int simd)
{
    switch (z) { /* a copy of a constant size is one instruction */
    case 1: fl_turn_body(in, below, rows, columns, 1, to, simd); break;
    case 2: fl_turn_body(in, below, rows, columns, 2, to, simd); break;
    case 4: fl_turn_body(in, below, rows, columns, 4, to, simd); break;
    default: fl_turn_body(in, below, rows, columns, 8, to, simd);
    }
}

#endif
