/* SPDX-License-Identifier: MIT
 *
 * AGI_BITFIELD, the compression of Esperanto images, both ways: 32-bit pixels as differences from the left neighbour.
 *
 * Format (all numbers little endian): u32 bytes of all rows; the rows, one after the other; for each row u32 where it
 * starts, counted from the first row. Rows know nothing of each other, so row blocks can be coded in parallel.
 *
 * A row: its first pixel as an escaped number; (nx - 1)/16 groups of 16 differences; the rest of the differences as
 * escaped numbers. A group is two fields A and B of 8 differences: a byte (width of B) << 4 | width of A, the codes of
 * A, those of B, what ran over in A, what ran over in B. A width is the smallest of 1..8 so that all differences d of
 * the field are -(2^(w-1) - 1) <= d <= 2^(w-1), or 8; the code of d is d + 2^(w-1) - 1, in w bits, the first code in
 * the lowest bits: 8 codes of w bits are w bytes. In fields of 8 bits the code 254 stands for an i16 among what ran
 * over, and 255 for an i32. An escaped number is a code of 8 bits that is followed at once by what ran over.
 *
 * Differences wrap at 32 bits. What is taken for 16 bits is fabio's choice to the number, so that both write the same
 * bytes; readers do not care. A width of 0 is never written here; it is read as 8 differences of 0.
 *
 * IN and OUT mark arguments that are read and written. No function reads or writes outside what it is given.
 */
#ifndef FL_BITFIELD_H
#define FL_BITFIELD_H

#include <stdint.h>
#include <string.h>

#include "deltas.h"
#include "status.h"

enum {
    FL_AGI_GROUP = 16,              /* differences of a group */
    FL_AGI_FIELD = 8,               /* differences of a field */
    FL_AGI_STEP = 1 + 16 + 16 * 4,  /* bytes of a group, at most; an escaped number has 5 */
    FL_AGI_ROOM = FL_AGI_STEP + 4,  /* bytes that a step may touch */
    FL_AGI_PLAIN = 126              /* magnitudes below never need an escape; see fl_agi_magnitude */
};

/* ---------------------------------------------------------------- differences and widths */

/* Difference of two pixels less 1: in w bits of two's complement exactly what a field of width w can hold. */
static inline uint32_t fl_agi_less_one(const int32_t *p)
{
    return (uint32_t)p[0] - (uint32_t)p[-1] - 1;
}

/* The bits that this needs, without its sign: 2^(w-1) - 1 at most in a field of width w. */
static inline uint32_t fl_agi_magnitude(uint32_t less_one)
{
    return less_one ^ (uint32_t)((int32_t)less_one >> 31);
}

/* Width of a field from all its magnitudes or-ed together. */
static inline unsigned fl_agi_width(uint32_t magnitudes)
{
    unsigned width = 32 - (unsigned)__builtin_clz(magnitudes << 1 | 1);
    return width < 8 ? width : 8;
}

/* Bytes that run over for one difference, in a field of 8 bits. */
static inline unsigned fl_agi_over(int32_t d)
{
    return d >= -127 && d < 127 ? 0 : d >= -32767 && d < 32767 ? 2 : 4;
}

/* Bytes of an escaped number. fabio's bound of 16 bits is another one here. */
static inline unsigned fl_agi_escaped_size(int32_t v)
{
    return v >= -127 && v < 127 ? 1 : v > -32767 && v < 32767 ? 3 : 5;
}

static inline int32_t fl_agi_difference(const int32_t *p)
{
    return (int32_t)((uint32_t)p[0] - (uint32_t)p[-1]);
}

/* ---------------------------------------------------------------- size */

static size_t fl_agi_field_over(const int32_t *p)
{
    size_t size = 0;
    for (int i = 0; i < FL_AGI_FIELD; i++)
        size += fl_agi_over(fl_agi_difference(p + i));
    return size;
}

FL_BODY uint32_t fl_agi_field_magnitudes(const int32_t *p)
{
    uint32_t all = 0;
    for (int i = 0; i < FL_AGI_FIELD; i++)
        all |= fl_agi_magnitude(fl_agi_less_one(p + i));
    return all;
}

FL_BODY size_t fl_agi_row_size_body(const int32_t *row, int64_t nx, int simd)
{
    (void)simd;
    size_t size = fl_agi_escaped_size(row[0]);
    int64_t i = 1;
    for (; i + FL_AGI_GROUP <= nx; i += FL_AGI_GROUP) {
        uint32_t a = fl_agi_field_magnitudes(row + i), b = fl_agi_field_magnitudes(row + i + FL_AGI_FIELD);
        size += 1 + fl_agi_width(a) + fl_agi_width(b);
        if (FL_UNLIKELY(a >= FL_AGI_PLAIN))
            size += fl_agi_field_over(row + i);
        if (FL_UNLIKELY(b >= FL_AGI_PLAIN))
            size += fl_agi_field_over(row + i + FL_AGI_FIELD);
    }
    for (; i < nx; i++)
        size += fl_agi_escaped_size(fl_agi_difference(row + i));
    return size;
}

/* Bytes that a row of nx pixels (IN, nx > 0) becomes. */
FL_AT_LEVELS(size_t, fl_agi_row_size, (const int32_t *row, int64_t nx, int simd), row, nx)

/* Bytes that some rows become, without what stands before and behind them in a whole image. */
static size_t fl_agi_rows_size(const int32_t *src, int64_t rows, int64_t nx, int simd)
{
    size_t size = 0;
    for (int64_t y = 0; y < rows; y++)
        size += fl_agi_row_size(src + y * nx, nx, simd);
    return size;
}

/* Bytes that a whole image becomes. */
static size_t fl_agi_size(const int32_t *src, int64_t ny, int64_t nx, int simd)
{
    return 4 + fl_agi_rows_size(src, ny, nx, simd) + 4 * (size_t)ny;
}

/* ---------------------------------------------------------------- encode */

/* Eight bytes, of which the low `width` bits count, moved together to `width` bytes; the bits above are 0. */
static inline uint64_t fl_agi_pack(uint64_t x, unsigned width)
{
    uint64_t odd8 = 0xFF00FF00FF00FF00ULL, odd16 = 0xFFFF0000FFFF0000ULL, odd32 = 0xFFFFFFFF00000000ULL;
    x = (x & ~odd8) | (x & odd8) >> (8 - width);
    x = (x & ~odd16) | (x & odd16) >> (16 - 2 * width);
    return (x & ~odd32) | (x & odd32) >> (32 - 4 * width);
}

/* The codes of a field from its differences less 1: their low bits with the sign bit turned over. */
static inline uint64_t fl_agi_codes(uint64_t less_one, unsigned width)
{
    return (less_one & FL_BYTES((1U << width) - 1)) ^ FL_BYTES(1U << (width - 1));
}

/* The codes of a field of 8 bits, and behind `at` what runs over. Returns the end of that. */
static uint8_t *fl_agi_put_over(const int32_t *p, uint8_t *codes, uint8_t *at)
{
    for (int i = 0; i < FL_AGI_FIELD; i++) {
        int32_t d = fl_agi_difference(p + i);
        unsigned over = fl_agi_over(d);
        codes[i] = over ? (uint8_t)(253 + over / 2) : (uint8_t)(d + 127);
        fl_put_le32(at, (uint32_t)d); /* no jump: the next one writes over what does not count */
        at += over;
    }
    return at;
}

/* Sixteen differences (p[-1] can be read). Returns the end of their bytes. */
FL_BODY uint8_t *fl_agi_put_group(const int32_t *p, uint8_t *out)
{
    uint8_t low[FL_AGI_GROUP];
    uint32_t a = 0, b = 0;
    for (int i = 0; i < FL_AGI_FIELD; i++) {
        uint32_t less_one = fl_agi_less_one(p + i);
        a |= fl_agi_magnitude(less_one);
        low[i] = (uint8_t)less_one;
    }
    for (int i = FL_AGI_FIELD; i < FL_AGI_GROUP; i++) {
        uint32_t less_one = fl_agi_less_one(p + i);
        b |= fl_agi_magnitude(less_one);
        low[i] = (uint8_t)less_one;
    }
    unsigned wa = fl_agi_width(a), wb = fl_agi_width(b);
    uint8_t *at = out + 1 + wa + wb;
    out[0] = (uint8_t)(wb << 4 | wa);
    fl_put_le64(out + 1, fl_agi_pack(fl_agi_codes(fl_get_le64(low), wa), wa));
    fl_put_le64(out + 1 + wa, fl_agi_pack(fl_agi_codes(fl_get_le64(low + FL_AGI_FIELD), wb), wb));
    if (FL_UNLIKELY(a >= FL_AGI_PLAIN))
        at = fl_agi_put_over(p, out + 1, at);
    if (FL_UNLIKELY(b >= FL_AGI_PLAIN))
        at = fl_agi_put_over(p + FL_AGI_FIELD, out + 1 + wa, at);
    return at;
}

static inline uint8_t *fl_agi_put_escaped(int32_t v, uint8_t *out)
{
    unsigned size = fl_agi_escaped_size(v);
    out[0] = size == 1 ? (uint8_t)(v + 127) : (uint8_t)(253 + size / 2);
    fl_put_le32(out + 1, (uint32_t)v);
    return out + size;
}

FL_BODY int fl_agi_encode_row_body(const int32_t *row, int64_t nx, uint8_t *out, size_t out_size, size_t *written,
                                   int simd)
{
    (void)simd;
    uint8_t last[FL_AGI_ROOM]; /* the last steps go by here, and are copied when they fit */
    size_t done = 0;
    *written = 0;
    for (int64_t i = 0; i < nx;) {
        uint8_t *to = out_size - done >= FL_AGI_ROOM ? out + done : last, *end;
        int64_t count = i > 0 && nx - i >= FL_AGI_GROUP ? FL_AGI_GROUP : 1;
        if (FL_LIKELY(count == FL_AGI_GROUP))
            end = fl_agi_put_group(row + i, to);
        else
            end = fl_agi_put_escaped(i == 0 ? row[0] : fl_agi_difference(row + i), to);
        size_t used = (size_t)(end - to);
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

/* A row of nx pixels (IN) to at most out_size bytes (OUT). FL_RANGE where they are too few. */
FL_AT_LEVELS(int, fl_agi_encode_row,
             (const int32_t *row, int64_t nx, uint8_t *out, size_t out_size, size_t *written, int simd), row, nx, out,
             out_size, written)

/* Some rows (IN) to at most out_size bytes (OUT), and where each starts to the table of rows (OUT, 4*rows bytes): the
 * first of them at `start`. Blocks of rows that are encoded apart make a whole image, `start` being the size of the
 * blocks before. FL_RANGE where out_size is too small, or a row starts behind 4 GiB. */
static int fl_agi_encode_rows(const int32_t *src, int64_t rows, int64_t nx, uint64_t start, uint8_t *out,
                              size_t out_size, uint8_t *table, size_t *written, int simd)
{
    size_t done = 0;
    *written = 0;
    for (int64_t y = 0; y < rows; y++) {
        size_t used;
        int rc = fl_agi_encode_row(src + y * nx, nx, out + done, out_size - done, &used, simd);
        if (rc != FL_OK)
            return rc;
        if (start + done > UINT32_MAX)
            return FL_RANGE;
        fl_put_le32(table + 4 * y, (uint32_t)(start + done));
        done += used;
    }
    *written = done;
    return FL_OK;
}

/* A whole image (IN) to the out_size bytes (OUT) that fl_agi_size has counted. */
static int fl_agi_encode(const int32_t *src, int64_t ny, int64_t nx, uint8_t *out, size_t out_size, int simd)
{
    size_t table = 4 * (size_t)ny, used;
    if (out_size < 4 + table || out_size - 4 - table > UINT32_MAX)
        return FL_RANGE;
    size_t rows = out_size - 4 - table;
    fl_put_le32(out, (uint32_t)rows);
    int rc = fl_agi_encode_rows(src, ny, nx, 0, out + 4, rows, out + 4 + rows, &used, simd);
    return rc == FL_OK && used != rows ? FL_RANGE : rc;
}

/* ---------------------------------------------------------------- decode */

/* `width` bytes spread to eight: the reverse of fl_agi_pack. */
static inline uint64_t fl_agi_spread(uint64_t x, unsigned width)
{
    uint64_t one = (1ULL << width) - 1, two = (1ULL << 2 * width) - 1, four = (1ULL << 4 * width) - 1;
    x = (x & four) | (x >> 4 * width & four) << 32;
    x = (x & two * 0x0000000100000001ULL) | (x >> 2 * width & two * 0x0000000100000001ULL) << 16;
    return (x & one * 0x0001000100010001ULL) | (x >> width & one * 0x0001000100010001ULL) << 8;
}

/* What the codes of a field are above their differences. */
static inline uint8_t fl_agi_above(unsigned width)
{
    return (uint8_t)(((1U << width) >> 1) - 1 + (width == 0));
}

/* Eight bytes less the same byte each, without a borrow from the next. */
static inline uint64_t fl_agi_subtract(uint64_t x, uint8_t above)
{
    uint64_t high = FL_BYTES(0x80);
    return ((x | high) - FL_BYTES(above)) ^ (~x & high);
}

/* Not 0 if one of the eight codes is 254 or 255. */
static inline uint64_t fl_agi_has_over(uint64_t codes)
{
    return fl_has_zero_byte(~(codes | FL_BYTES(0x01)));
}

/* Eight pixels (OUT) of a field with codes that stand for what ran over at *at (IN), which goes on behind it. */
static uint32_t fl_agi_take_over(uint64_t codes, uint8_t above, const uint8_t **at, uint32_t base, int32_t *out)
{
    for (int i = 0; i < FL_AGI_FIELD; i++, codes >>= 8) {
        uint8_t code = (uint8_t)codes;
        uint32_t d = (uint32_t)code - above;
        if (code == 254) {
            d = (uint32_t)(int16_t)fl_get_le16(*at);
            *at += 2;
        } else if (code == 255) {
            d = fl_get_le32(*at);
            *at += 4;
        }
        out[i] = (int32_t)(base += d);
    }
    return base;
}

/* Sixteen pixels (OUT) behind `base`, from bytes of which FL_AGI_ROOM can be read (IN). Returns the end of their
 * bytes, NULL where the widths are impossible. */
FL_BODY const uint8_t *fl_agi_take_group(const uint8_t *p, uint32_t *base, int32_t *out, int simd)
{
    unsigned wa = p[0] & 15, wb = p[0] >> 4;
    if (FL_UNLIKELY(wa > 8 || wb > 8))
        return NULL;
    const uint8_t *at = p + 1 + wa + wb;
    uint64_t a = fl_agi_spread(fl_get_le64(p + 1), wa), b = fl_agi_spread(fl_get_le64(p + 1 + wa), wb);
    uint8_t above_a = fl_agi_above(wa), above_b = fl_agi_above(wb);
    if (FL_UNLIKELY(fl_agi_has_over(a) | fl_agi_has_over(b))) {
        *base = fl_agi_take_over(a, above_a, &at, *base, out);
        *base = fl_agi_take_over(b, above_b, &at, *base, out + FL_AGI_FIELD);
        return at;
    }
    *base = fl_sum16(fl_agi_subtract(a, above_a), fl_agi_subtract(b, above_b), *base, out, simd);
    return at;
}

/* One escaped number (OUT), from bytes of which 5 can be read. */
static inline const uint8_t *fl_agi_take_escaped(const uint8_t *p, uint32_t *v)
{
    *v = p[0] == 255 ? fl_get_le32(p + 1) : p[0] == 254 ? (uint32_t)(int16_t)fl_get_le16(p + 1) : p[0] - 127U;
    return p + (p[0] == 255 ? 5 : p[0] == 254 ? 3 : 1);
}

FL_BODY int fl_agi_decode_row_body(const uint8_t *src, size_t size, int32_t *row, int64_t nx, int simd)
{
    uint8_t last[FL_AGI_ROOM]; /* the last steps are read from here, where zeros follow them */
    size_t at = 0;
    uint32_t base = 0;
    for (int64_t i = 0; i < nx;) {
        const uint8_t *from = src + at, *end;
        if (FL_UNLIKELY(size - at < FL_AGI_ROOM)) {
            memset(last, 0, sizeof last);
            memcpy(last, src + at, size - at);
            from = last;
        }
        if (FL_LIKELY(i > 0 && nx - i >= FL_AGI_GROUP)) {
            end = fl_agi_take_group(from, &base, row + i, simd);
            if (FL_UNLIKELY(end == NULL))
                return FL_CORRUPT;
            i += FL_AGI_GROUP;
        } else {
            uint32_t d;
            end = fl_agi_take_escaped(from, &d);
            row[i++] = (int32_t)(base += d);
        }
        if (FL_UNLIKELY((size_t)(end - from) > size - at))
            return FL_CORRUPT;
        at += (size_t)(end - from);
    }
    return at == size ? FL_OK : FL_CORRUPT;
}

/* All of `size` bytes (IN) to a row of nx pixels (OUT). FL_CORRUPT where they are not just that. */
FL_AT_LEVELS(int, fl_agi_decode_row, (const uint8_t *src, size_t size, int32_t *row, int64_t nx, int simd), src, size,
             row, nx)

/* Where row y starts; behind the last row: where it ends. */
static inline size_t fl_agi_start(const uint8_t *src, int64_t ny, int64_t y)
{
    size_t rows = fl_get_le32(src);
    return y < ny ? fl_get_le32(src + 4 + rows + 4 * (size_t)y) : rows;
}

/* Rows first .. last-1 to their pixels (OUT: those of row `first` first), from an image that fl_agi_open has found
 * good. Blocks of rows can be decoded in parallel. */
static int fl_agi_decode_rows(const uint8_t *src, int64_t ny, int64_t nx, int64_t first, int64_t last, int32_t *out,
                              fl_error *e, int simd)
{
    for (int64_t y = first; y < last; y++, out += nx) {
        size_t start = fl_agi_start(src, ny, y), size = fl_agi_start(src, ny, y + 1) - start;
        if (fl_agi_decode_row(src + 4 + start, size, out, nx, simd) != FL_OK) {
            char text[80];
            snprintf(text, sizeof text, "AGI_BITFIELD: row %lld is not what its bytes say", (long long)y);
            return fl_fail(e, FL_CORRUPT, text);
        }
    }
    return FL_OK;
}

/* Check that `size` bytes (IN) have room for ny rows and that the table puts them one behind the other; `used` are the
 * bytes of the image. */
static int fl_agi_open(const uint8_t *src, size_t size, int64_t ny, size_t *used, fl_error *e)
{
    *used = 0;
    if (size < 4 || (size - 4) / 4 < (size_t)ny || fl_get_le32(src) > size - 4 - 4 * (size_t)ny)
        return fl_fail(e, FL_CORRUPT, "AGI_BITFIELD: the data end before the image does");
    size_t before = 0;
    for (int64_t y = 0; y <= ny; y++) {
        size_t start = fl_agi_start(src, ny, y);
        if (y == 0 ? start != 0 : start < before)
            return fl_fail(e, FL_CORRUPT, "AGI_BITFIELD: the table of rows is wrong");
        before = start;
    }
    *used = 4 + before + 4 * (size_t)ny;
    return FL_OK;
}

/* A whole image, from at most `size` bytes (IN) to ny*nx pixels (OUT). FL_CORRUPT where they are no such image. */
static int fl_agi_decode(const uint8_t *src, size_t size, int32_t *out, int64_t ny, int64_t nx, size_t *used,
                         fl_error *e, int simd)
{
    int rc = fl_agi_open(src, size, ny, used, e);
    return rc != FL_OK ? rc : fl_agi_decode_rows(src, ny, nx, 0, ny, out, e, simd);
}

#endif
