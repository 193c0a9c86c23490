/* SPDX-License-Identifier: MIT
 *
 * CBF's x-CBF_BYTE_OFFSET, both ways: signed 32-bit pixels as differences from the pixel before.
 *
 * Format (CBFlib's manual; all numbers little endian): the image is one line, the pixel before the first is 0. A
 * difference of at most +-127 is a signed byte; else 0x80 and a signed 16-bit number of at most +-32767; else these
 * three bytes as 80 00 80 and a signed 32-bit number of at most +-(2^31 - 1); else as 80 00 80 00 00 00 80 and a
 * signed 64-bit number. The smallest number of each width thus says "wider", and the difference of two pixels, which
 * has 33 bits, always finds room: (2^31 - 1, -1), a saturated pixel next to a gap, needs the widest form.
 *
 * IN and OUT mark arguments that are read and written. No function reads or writes outside what it is given.
 */
#ifndef FL_BYTEOFFSET_H
#define FL_BYTEOFFSET_H

#include <stdint.h>
#include <string.h>

#include "deltas.h"
#include "status.h"

enum {
    FL_BO_PIXELS = 16,      /* pixels of a step */
    FL_BO_WIDEST = 15,      /* bytes of the longest difference */
    FL_BO_STEP = 16 * 15,   /* bytes of a step, at most */
    FL_BO_SUMMED = 1 << 20  /* pixels that are counted in 32 bits before they go into a sum of 64 */
};

/* ---------------------------------------------------------------- size */

FL_BODY int64_t fl_byteoffset_size_body(const int32_t *src, int64_t n, int simd)
{
    (void)simd;
    if (n <= 0)
        return 0;
    int64_t d = src[0], size = d < -INT32_MAX ? 15 : d < -32767 || d > 32767 ? 7 : d < -127 || d > 127 ? 3 : 1;
    for (int64_t from = 1; from < n; from += FL_BO_SUMMED) {
        int64_t to = n - from < FL_BO_SUMMED ? n : from + FL_BO_SUMMED;
        uint32_t past8 = 0, past16 = 0, past32 = 0;
        for (int64_t i = from; i < to; i++) {
            uint32_t p = (uint32_t)src[i], q = (uint32_t)src[i - 1], delta = p - q;
            uint32_t wide = ((p ^ q) & (p ^ delta)) >> 31 | (delta == 0x80000000U); /* more than 32 bits; or INT_MIN */
            past8 += wide | (delta + 127 > 254);
            past16 += wide | (delta + 32767 > 65534);
            past32 += wide;
        }
        size += (to - from) + 2 * (int64_t)past8 + 4 * (int64_t)past16 + 8 * (int64_t)past32;
    }
    return size;
}

/* Bytes that n pixels (IN) become. */
FL_AT_LEVELS(int64_t, fl_byteoffset_size, (const int32_t *src, int64_t n, int simd), src, n)

/* ---------------------------------------------------------------- encode */

/* One difference (OUT: up to 15 bytes, and 4 at least, of which the first count). Returns where the next one goes. */
static inline uint8_t *fl_bo_put(uint8_t *out, int64_t d)
{
    int narrow = (uint64_t)(d + 127) <= 254;
    fl_put_le32(out, narrow ? (uint8_t)d : 0x80 | (uint32_t)(uint16_t)d << 8);
    if (FL_LIKELY((uint64_t)(d + 32767) <= 65534))
        return out + (narrow ? 1 : 3); /* no jump: in noise nobody can foresee which */
    fl_put_le16(out + 1, 0x8000);
    fl_put_le32(out + 3, (uint32_t)d);
    if (d >= -INT32_MAX && d <= INT32_MAX)
        return out + 7;
    fl_put_le32(out + 3, 0x80000000U);
    fl_put_le64(out + 7, (uint64_t)d);
    return out + 15;
}

static size_t fl_bo_put_each(const int32_t *src, int64_t count, int64_t before, uint8_t *out)
{
    uint8_t *at = out;
    for (int64_t i = 0; i < count; before = src[i++])
        at = fl_bo_put(at, (int64_t)src[i] - before);
    return (size_t)(at - out);
}

/* Sixteen differences as bytes. Returns 0 where one of them does not fit: then the bytes mean nothing. */
FL_BODY int fl_bo_put_narrow(const int32_t *src, uint8_t *out)
{
    uint32_t past = 0;
    for (int i = 0; i < FL_BO_PIXELS; i++) {
        uint32_t p = (uint32_t)src[i], q = (uint32_t)src[i - 1], delta = p - q;
        past |= ((p ^ q) & (p ^ delta)) >> 31 | (delta + 127 > 254);
        out[i] = (uint8_t)delta;
    }
    return !past;
}

FL_BODY int fl_byteoffset_encode_body(const int32_t *src, int64_t n, uint8_t *out, size_t out_size, size_t *written,
                                      int simd)
{
    (void)simd;
    uint8_t last[FL_BO_STEP]; /* the last steps go by here, and are copied when they fit */
    size_t done = 0;
    int64_t i = 0;
    *written = 0;
    while (i < n) {
        /* the first pixel by itself: afterwards each has one before it */
        int64_t count = i == 0 ? 1 : n - i < FL_BO_PIXELS ? n - i : FL_BO_PIXELS;
        uint8_t *to = out_size - done >= FL_BO_STEP ? out + done : last;
        size_t used = FL_BO_PIXELS;
        if (count < FL_BO_PIXELS || FL_UNLIKELY(!fl_bo_put_narrow(src + i, to)))
            used = fl_bo_put_each(src + i, count, i == 0 ? 0 : src[i - 1], to);
        if (FL_UNLIKELY(to == last)) {
            if (used > out_size - done)
                return FL_RANGE;
            memcpy(out + done, last, used);
        }
        done += used;
        i += count;
    }
    *written = done;
    return FL_OK;
}

/* n pixels (IN) to at most out_size bytes (OUT). FL_RANGE where they are too few. */
FL_AT_LEVELS(int, fl_byteoffset_encode,
             (const int32_t *src, int64_t n, uint8_t *out, size_t out_size, size_t *written, int simd), src, n, out,
             out_size, written)

/* ---------------------------------------------------------------- decode */

/* One difference (OUT) from at most `size` bytes (IN). Returns its bytes, 0 where it goes on behind the end. */
static inline size_t fl_bo_take(const uint8_t *p, size_t size, int64_t *d)
{
    if (size < 1)
        return 0;
    *d = (int8_t)p[0];
    if (p[0] != 0x80)
        return 1;
    if (size < 3)
        return 0;
    *d = (int16_t)fl_get_le16(p + 1);
    if (*d != INT16_MIN)
        return 3;
    if (size < 7)
        return 0;
    *d = (int32_t)fl_get_le32(p + 3);
    if (*d != INT32_MIN)
        return 7;
    if (size < FL_BO_WIDEST)
        return 0;
    *d = (int64_t)fl_get_le64(p + 7);
    return FL_BO_WIDEST;
}

/* The same where 15 bytes can be read, without a jump for the two usual forms. */
static inline size_t fl_bo_take_fast(const uint8_t *p, int64_t *d)
{
    int wider = p[0] == 0x80;
    int64_t word = (int16_t)fl_get_le16(p + 1);
    if (FL_UNLIKELY(wider & (word == INT16_MIN)))
        return fl_bo_take(p, FL_BO_WIDEST, d);
    *d = wider ? word : (int8_t)p[0];
    return wider ? 3 : 1;
}

/* Up to 16 pixels (OUT), one by one. Returns their bytes, 0 where something is wrong: see `e`. */
static size_t fl_bo_take_each(const uint8_t *src, size_t size, int64_t count, int64_t base, int32_t *out, fl_error *e)
{
    size_t at = 0;
    uint64_t beyond = 0; /* not 0 once a pixel has left 32 bits */
    for (int64_t i = 0; i < count; i++) {
        int64_t d = 0;
        size_t used = size - at >= FL_BO_WIDEST ? fl_bo_take_fast(src + at, &d) : fl_bo_take(src + at, size - at, &d);
        if (used == 0) {
            fl_fail(e, FL_CORRUPT, "byte offset: the data end before the image does");
            return 0;
        }
        base = (int64_t)((uint64_t)base + (uint64_t)d);
        beyond |= (uint64_t)base ^ (uint64_t)(int32_t)base;
        out[i] = (int32_t)base;
        at += used;
    }
    if (beyond) {
        fl_fail(e, FL_CORRUPT, "byte offset: a pixel is no signed 32-bit number");
        return 0;
    }
    return at;
}

FL_BODY int fl_byteoffset_decode_body(const uint8_t *src, size_t size, int32_t *out, int64_t n, size_t *used,
                                      fl_error *e, int simd)
{
    const int64_t room = INT32_MAX - FL_BO_PIXELS * 128; /* where no sum of 16 bytes can run over */
    size_t at = 0;
    int64_t i = 0, base = 0;
    *used = 0;
    while (i < n) {
        int64_t count = n - i < FL_BO_PIXELS ? n - i : FL_BO_PIXELS;
        if (FL_LIKELY(count == FL_BO_PIXELS && size - at >= FL_BO_PIXELS && base > -room && base < room)) {
            uint64_t low = fl_get_le64(src + at), high = fl_get_le64(src + at + 8);
            if (FL_LIKELY(!(fl_has_zero_byte(low ^ FL_BYTES(0x80)) | fl_has_zero_byte(high ^ FL_BYTES(0x80))))) {
                base = (int32_t)fl_sum16(low, high, (uint32_t)base, out + i, simd);
                at += FL_BO_PIXELS;
                i += FL_BO_PIXELS;
                continue;
            }
        }
        size_t bytes = fl_bo_take_each(src + at, size - at, count, base, out + i, e);
        if (bytes == 0)
            return e->code;
        at += bytes;
        i += count;
        base = out[i - 1];
    }
    *used = at;
    return FL_OK;
}

/* `size` bytes (IN) to n pixels (OUT); `used` are the bytes that these took. FL_CORRUPT where the bytes end too early,
 * or give a pixel that is no signed 32-bit number. */
FL_AT_LEVELS(int, fl_byteoffset_decode,
             (const uint8_t *src, size_t size, int32_t *out, int64_t n, size_t *used, fl_error *e, int simd), src,
             size, out, n, used, e)

#endif
