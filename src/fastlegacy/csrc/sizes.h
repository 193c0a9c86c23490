/* SPDX-License-Identifier: MIT
 *
 * How many bytes pixels become in byte offset (csrc/byteoffset.h) where no two of them are 2^31 or more apart: their
 * differences have 32 bits at most, and are counted faster than any differences.
 *
 * Unsigned pixels whose gaps become -1 are counted as they are stored. A gap has all its bits set: pixels plus 1, which
 * wrap, are unsigned numbers with the same differences.
 */
#ifndef FL_SIZES_H
#define FL_SIZES_H

#include "deltas.h"

enum { FL_SIZES_RUN = 32768 }; /* pixels that are counted in 16 bits before they go into a sum of 64 */

#define FL_SIZES(name, s, PIXEL, COUNT)                                           \
    FL_BODY int64_t name##_body(const s *src, int64_t n, s most, int simd)        \
    {                                                                             \
        int64_t size = n > 0 ? n : 0;                                             \
        (void)simd, (void)most;                                                   \
        for (int64_t from = 0; from < n; from += FL_SIZES_RUN) {                  \
            int64_t to = n - from < FL_SIZES_RUN ? n : from + FL_SIZES_RUN;       \
            s past8 = 0, past16 = 0;                                              \
            for (int64_t i = from; i < to; i++) {                                 \
                s p = PIXEL(s, src[i]), q = PIXEL(s, src[i - 1]);                 \
                COUNT                                                             \
            }                                                                     \
            size += 2 * (int64_t)past8 + 4 * (int64_t)past16;                     \
        }                                                                         \
        return size;                                                              \
    }                                                                             \
    FL_AT_LEVELS(int64_t, name, (const s *src, int64_t n, s most, int simd), src, n, most)

#define FL_AS_IT_IS(s, v) (v)
#define FL_GAP_IS_0(s, v) ((s)((v) + 1U) < most ? (s)((v) + 1U) : most)
#define FL_COUNT16                                                                \
    uint16_t apart = p > q ? (uint16_t)(p - q) : (uint16_t)(q - p);               \
    past8 = (uint16_t)(past8 + (apart > 127));                                    \
    past16 = (uint16_t)(past16 + (apart > 32767));
#define FL_COUNT32                                                                \
    past8 += p - q + 127 > 254;                                                   \
    past16 += p - q + 32767 > 65534;

/* Bytes of n pixels (IN), of which src[-1] is the one before. Pixels with all bits set are -1, the others at most
 * most - 1: of 32 bits, `most` is below 2^31. */
FL_SIZES(fl_size_of_u16, uint16_t, FL_GAP_IS_0, FL_COUNT16)
FL_SIZES(fl_size_of_u32, uint32_t, FL_GAP_IS_0, FL_COUNT32)
/* The same of the bits of signed pixels. */
FL_SIZES(fl_size_of_i32, uint32_t, FL_AS_IT_IS, FL_COUNT32)

#undef FL_SIZES
#undef FL_AS_IT_IS
#undef FL_GAP_IS_0
#undef FL_COUNT16
#undef FL_COUNT32
#endif
