/* SPDX-License-Identifier: MIT
 *
 * The body of a Bruker image (FORMAT 100) with one byte for each pixel, and what does not fit into it.
 *
 * Format: a byte for each pixel; the pixels of 255 and more, in their order, as u16; those of 65535 and more as i32.
 * A pixel that has an entry in the next table has the largest number of its own. Each table is filled with zeros to a
 * multiple of 16 bytes. Numbers are little endian. Pixels are not negative: there is no table of underflows.
 */
#ifndef FL_BRUKER_H
#define FL_BRUKER_H

#include "deltas.h"
#include "status.h"

enum {
    FL_BRUKER_MOST8 = 255,
    FL_BRUKER_MOST16 = 65535,
    FL_BRUKER_ROUND = 16,
    FL_BRUKER_SUMMED = 1 << 20 /* pixels that are counted in 32 bits before they go into a sum of 64 */
};

FL_BODY int64_t fl_bruker_count_body(const int32_t *src, int64_t n, int64_t *n32, int simd)
{
    int64_t n16 = 0;
    (void)simd;
    *n32 = 0;
    for (int64_t from = 0; from < n; from += FL_BRUKER_SUMMED) {
        int64_t to = n - from < FL_BRUKER_SUMMED ? n : from + FL_BRUKER_SUMMED;
        uint32_t past8 = 0, past16 = 0;
        for (int64_t i = from; i < to; i++) {
            past8 += src[i] >= FL_BRUKER_MOST8;
            past16 += src[i] >= FL_BRUKER_MOST16;
        }
        n16 += past8;
        *n32 += past16;
    }
    return n16;
}

/* How many of n pixels (IN) have an entry in the table of 16 bits, and in that of 32 (OUT). */
FL_AT_LEVELS(int64_t, fl_bruker_count, (const int32_t *src, int64_t n, int64_t *n32, int simd), src, n, n32)

static inline int64_t fl_bruker_table(int64_t bytes)
{
    return (bytes + FL_BRUKER_ROUND - 1) / FL_BRUKER_ROUND * FL_BRUKER_ROUND;
}

static inline int64_t fl_bruker_size(int64_t n, int64_t n16, int64_t n32)
{
    return n + fl_bruker_table(2 * n16) + fl_bruker_table(4 * n32);
}

/* n pixels (IN) to exactly `size` bytes (OUT). FL_RANGE where that is not what they take. */
static int fl_bruker_encode(const int32_t *src, int64_t n, uint8_t *out, int64_t size, int simd)
{
    int64_t n32, n16 = fl_bruker_count(src, n, &n32, simd);
    if (fl_bruker_size(n, n16, n32) != size)
        return FL_RANGE;
    uint8_t *words = out + n, *longs = words + fl_bruker_table(2 * n16);
    memset(words, 0, (size_t)(size - n));
    for (int64_t i = 0; i < n; i++) {
        int32_t v = src[i] < 0 ? 0 : src[i];
        out[i] = (uint8_t)(v < FL_BRUKER_MOST8 ? v : FL_BRUKER_MOST8);
        if (v < FL_BRUKER_MOST8)
            continue;
        fl_put_le16(words, (uint16_t)(v < FL_BRUKER_MOST16 ? v : FL_BRUKER_MOST16));
        words += 2;
        if (v < FL_BRUKER_MOST16)
            continue;
        fl_put_le32(longs, (uint32_t)v);
        longs += 4;
    }
    return FL_OK;
}

#endif
