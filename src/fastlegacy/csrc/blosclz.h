/* SPDX-License-Identifier: MIT
 *
 * BloscLZ and Snappy, decoded: the two codecs of blosc that no library here has a plain function for.
 *
 * Both are rows of literals and of matches, which repeat what stands a distance before.
 *
 * BloscLZ (that of c-blosc, made after FastLZ): a byte below 32 stands before so many literals and one more. Any other
 * is a match: its upper three bits are the length and 2 more (7: further bytes are added, up to one that is not 255),
 * its lower five the high bits of the distance less 1, of which the low byte follows. If all 13 bits are 1, the distance
 * less 8192 follows (u16, big endian). Of the first byte only the lower five bits count. The last ones are literals.
 *
 * Snappy: format_description.txt of Snappy. The size (7 bits for each byte, the lowest first, the 8th says that there
 * are more), then tags: of its two lowest bits 0 are literals, 1, 2 and 3 a match with a distance of 11, 16, 32 bits.
 *
 * IN src, size. OUT room bytes at dst. 1: all well, 0: damaged, or not as many bytes as there is room.
 */
#ifndef FL_BLOSCLZ_H
#define FL_BLOSCLZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FL_BLOSCLZ_FAR 8192 /* distances from here on are written in two bytes more */

/* `length` bytes (OUT) of what begins `distance` bytes before; behind them are `left` bytes that may be written, too. */
static inline void fl_lz_repeat(uint8_t *out, size_t distance, size_t length, size_t left)
{
    const uint8_t *from = out - distance;
    if (distance == 1) {
        memset(out, *from, length);
    } else if (distance >= 16 && left >= 16) {
        for (size_t i = 0; i < length; i += 16)
            memcpy(out + i, from + i, 16);
    } else {
        for (size_t i = 0; i < length; i++)
            out[i] = from[i];
    }
}

static int fl_blosclz(const uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    const uint8_t *ip = src, *iend = src + size;
    uint8_t *op = dst, *oend = dst + room;
    if (size == 0)
        return 0;
    unsigned code = *ip++ & 31;
    for (;;) {
        if (code < 32) {
            size_t n = code + 1;
            if (n > (size_t)(oend - op) || n > (size_t)(iend - ip))
                return 0;
            memcpy(op, ip, n);
            op += n;
            ip += n;
            if (ip == iend)
                return op == oend;
        } else {
            size_t length = (code >> 5) + 2, distance = (size_t)(code & 31) << 8;
            unsigned more = code >> 5 == 7 ? 255 : 0;
            while (more == 255) {
                if (iend - ip < 2) /* a match is never the last: c-blosc refuses it */
                    return 0;
                more = *ip++;
                length += more;
            }
            if (iend - ip < 2)
                return 0;
            distance += (size_t)*ip++ + 1;
            if (distance == FL_BLOSCLZ_FAR) {
                if (iend - ip < 3)
                    return 0;
                distance += (size_t)ip[0] << 8 | ip[1];
                ip += 2;
            }
            if (length > (size_t)(oend - op) || distance > (size_t)(op - dst))
                return 0;
            fl_lz_repeat(op, distance, length, (size_t)(oend - op) - length);
            op += length;
        }
        code = *ip++;
    }
}

/* A little-endian number of `n` bytes, which are there. */
static inline uint64_t fl_lz_number(const uint8_t *p, size_t n)
{
    uint64_t number = 0;
    for (size_t i = 0; i < n; i++)
        number |= (uint64_t)p[i] << (8 * i);
    return number;
}

static int fl_snappy(const uint8_t *src, size_t size, uint8_t *dst, size_t room)
{
    const uint8_t *ip = src, *iend = src + size;
    uint8_t *op = dst, *oend = dst + room;
    uint64_t stated = 0;
    for (int shift = 0;; shift += 7) {
        if (ip == iend || shift > 28)
            return 0;
        stated |= (uint64_t)(*ip & 127) << shift;
        if (*ip++ < 128)
            break;
    }
    if (stated != room)
        return 0;
    while (ip < iend) {
        unsigned tag = *ip++;
        size_t more = (tag & 3) == 0 ? (tag >= 240 ? (tag >> 2) - 59 : 0) : (tag & 3) == 3 ? 4 : tag & 3;
        if (more > (size_t)(iend - ip))
            return 0;
        uint64_t number = fl_lz_number(ip, more);
        ip += more;
        if ((tag & 3) == 0) {
            uint64_t n = (more ? number : tag >> 2) + 1;
            if (n > (uint64_t)(oend - op) || n > (uint64_t)(iend - ip))
                return 0;
            memcpy(op, ip, (size_t)n);
            op += n;
            ip += n;
            continue;
        }
        size_t length = (tag & 3) == 1 ? (tag >> 2 & 7) + 4 : (tag >> 2) + 1;
        if ((tag & 3) == 1)
            number |= (uint64_t)(tag >> 5) << 8;
        if (number == 0 || number > (uint64_t)(op - dst) || length > (size_t)(oend - op))
            return 0;
        fl_lz_repeat(op, (size_t)number, length, (size_t)(oend - op) - length);
        op += length;
    }
    return op == oend;
}

#endif
