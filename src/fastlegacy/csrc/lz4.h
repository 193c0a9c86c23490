/* SPDX-License-Identifier: MIT
 *
 * LZ4 blocks, decoded: what LZ4_decompress_safe makes of them, where it fills `room` bytes.
 *
 * Format: lz4_Block_format.md of LZ4. A sequence is a token (number of literals, length of the match less 4, four bits
 * each; 15 is continued in bytes of which the last is not 255), the literals, an offset (u16, little endian) and the
 * rest of the match's length. The last sequence ends behind its literals. An offset of 0 is refused, as the format has
 * it (the library lets it pass). How near to the end a match may come is a rule for encoders, and not looked at (the
 * library looks at it where it is in its way).
 *
 * Made for bit planes, of which most are like the one before them: where the last match says that all rows are equal
 * from one row on, they are not written out, and the caller is told which row that is.
 *
 * There are two functions for each level: for planes of bits, and for bytes that are none. What they have in common is
 * compiled for each of them: one for both took a fifth more time for planes.
 *
 * IN src, size. OUT room bytes at dst. Planes: FL_LZ4_SLACK more are written on; `width` is the length of a row and
 * divides room; *last_row becomes the last row that is there, if those behind it are equal to it and not there. Bytes:
 * everything is written; with `slack` FL_LZ4_SLACK so many more are written on, with less none: that is slower near to
 * the end. 1: all well, 0: damaged.
 */
#ifndef FL_LZ4_H
#define FL_LZ4_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define FL_LZ4_SLACK 64
#define FL_LZ4_NO_ROWS (SIZE_MAX / 4) /* a row that is longer than anything */
#define FL_LZ4_AHEAD 48        /* a token, the most literals without further length, and what is read beyond them */

/* The rest of a length, where its four bits are 15. */
static inline int fl_lz4_length(const uint8_t **ip, const uint8_t *iend, size_t *length)
{
    const uint8_t *p = *ip;
    size_t n = *length;
    uint8_t byte;
    for (uint64_t eight; iend - p >= 8; p += 8, n += 8 * 255) { /* a run of a whole block: eight at a time */
        memcpy(&eight, p, 8);
        if (eight != UINT64_MAX)
            break;
    }
    do {
        if (p >= iend)
            return -1;
        byte = *p++;
        n += byte;
    } while (byte == 255);
    *ip = p;
    *length = n;
    return 0;
}

/* 1 if literals up to the end are all that comes, `op` being where they go. */
static inline int fl_lz4_is_last(const uint8_t *ip, const uint8_t *iend, const uint8_t *op, const uint8_t *oend)
{
    ptrdiff_t n = oend - op;
    return n < 15 && iend - ip == n + 1 && ip[0] >> 4 == n;
}

/* A match at op and the last literals behind it: 1 if they make all rows from one on equal, and how long the match has to
 * be for the first of these (OUT). */
static inline int fl_lz4_rows(const uint8_t *literals, const uint8_t *dst, const uint8_t *op, size_t offset,
                              size_t length, const uint8_t *oend, size_t width, size_t *needed, size_t *last_row)
{
    const uint8_t *period = op - offset;
    if (width % offset) {
        if (memcmp(period, period + 1, offset - 1)) /* not one byte again and again: rows differ */
            return 0;
        offset = 1;
        period = op - 1;
    }
    size_t at = length % offset, row = ((size_t)(period - dst) + 2 * width - 1) / width;
    for (const uint8_t *o = op + length; o < oend; o++) {
        if (*literals++ != period[at])
            return 0;
        at = at + 1 == offset ? 0 : at + 1;
    }
    size_t end = row * width; /* from here on each byte is the one a row before it */
    if (end > (size_t)(op - dst) + length)
        return 0;
    *needed = end > (size_t)(op - dst) ? end - (size_t)(op - dst) : 0;
    *last_row = row - 1;
    return 1;
}

#define FL_LZ4_NAME fl_lz4_portable
#define FL_LZ4_TARGET
#define FL_LZ4_SHUFFLE 0
#include "lz4_level.h"

#if defined(__x86_64__)
/* Byte i of what repeats every `offset` bytes; from 16 on, what is there goes on as it is. */
#define FL_TURN(n) {0 % n, 1 % n, 2 % n, 3 % n, 4 % n, 5 % n, 6 % n, 7 % n, 8 % n, 9 % n, 10 % n, 11 % n, 12 % n,    \
                    13 % n, 14 % n, 15 % n, 16 % n, 17 % n, 18 % n, 19 % n, 20 % n, 21 % n, 22 % n, 23 % n, 24 % n, \
                    25 % n, 26 % n, 27 % n, 28 % n, 29 % n, 30 % n, 31 % n}
static const uint8_t fl_lz4_turns[17][32] __attribute__((aligned(32))) = {
    {0}, FL_TURN(1), FL_TURN(2), FL_TURN(3), FL_TURN(4), FL_TURN(5), FL_TURN(6), FL_TURN(7), FL_TURN(8), FL_TURN(9),
    FL_TURN(10), FL_TURN(11), FL_TURN(12), FL_TURN(13), FL_TURN(14), FL_TURN(15), FL_TURN(16)};

#define FL_LZ4_NAME fl_lz4_avx2
#define FL_LZ4_TARGET __attribute__((target("avx2,bmi2")))
#define FL_LZ4_SHUFFLE 1
#include "lz4_level.h"
#endif

#endif
