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
    FL_AGI_PLAIN = 126              /* a field with `any` below has nothing that runs over */
};

/* ---------------------------------------------------------------- differences and widths */

/* Two fields. A difference less 1 is, in w bits of two's complement, exactly what a field of width w can hold. */
typedef struct {
    uint64_t a, b;  /* the differences less 1, cut to what a signed byte holds, the first in the lowest byte */
    uint32_t any_a, any_b; /* their bits without the sign (x, or ~x where x < 0), all or-ed together */
} fl_agi_fields;

static inline int32_t fl_agi_difference(const int32_t *p)
{
    return (int32_t)((uint32_t)p[0] - (uint32_t)p[-1]);
}

#if defined(__x86_64__)
FL_AVX2 static inline fl_agi_fields fl_agi_fold(__m128i cut)
{
    __m128i any = _mm_xor_si128(cut, _mm_cmpgt_epi8(_mm_setzero_si128(), cut));
    any = _mm_or_si128(any, _mm_srli_epi64(any, 32));
    any = _mm_or_si128(any, _mm_srli_epi64(any, 16));
    any = _mm_or_si128(any, _mm_srli_epi64(any, 8));
    fl_agi_fields f = {(uint64_t)_mm_cvtsi128_si64(cut), (uint64_t)_mm_extract_epi64(cut, 1),
                       (uint32_t)_mm_extract_epi8(any, 0), (uint32_t)_mm_extract_epi8(any, 8)};
    return f;
}

FL_AVX2 static inline __m256i fl_agi_less_one_avx2(const int32_t *p)
{
    __m256i left = _mm256_loadu_si256((const __m256i *)(p - 1)), right = _mm256_loadu_si256((const __m256i *)p);
    return _mm256_add_epi32(_mm256_sub_epi32(right, left), _mm256_set1_epi32(-1));
}

FL_AVX2 static inline fl_agi_fields fl_agi_fields_avx2(const int32_t *p)
{
    __m256i words = _mm256_packs_epi32(fl_agi_less_one_avx2(p), fl_agi_less_one_avx2(p + FL_AGI_FIELD));
    words = _mm256_permute4x64_epi64(words, 0xD8);
    return fl_agi_fold(_mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

FL_DELTAS512 static inline fl_agi_fields fl_agi_fields_avx512(const int32_t *p)
{
    __m512i less_one = _mm512_sub_epi32(_mm512_loadu_si512(p), _mm512_loadu_si512(p - 1));
    less_one = _mm512_add_epi32(less_one, _mm512_set1_epi32(-1));
    return fl_agi_fold(_mm512_cvtsepi32_epi8(less_one));
}
#endif

static inline uint64_t fl_agi_field_portable(const int32_t *p, uint32_t *any)
{
    uint64_t cut = 0;
    *any = 0;
    for (int i = 0; i < FL_AGI_FIELD; i++) {
        int32_t x = (int32_t)((uint32_t)fl_agi_difference(p + i) - 1);
        x = x < -128 ? -128 : x > 127 ? 127 : x;
        *any |= (uint32_t)(x < 0 ? ~x : x);
        cut |= (uint64_t)(uint8_t)x << 8 * i;
    }
    return cut;
}

/* Sixteen differences; p[-1] can be read. */
FL_BODY fl_agi_fields fl_agi_take_fields(const int32_t *p, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512)
        return fl_agi_fields_avx512(p);
    if (simd >= FL_SIMD_AVX2)
        return fl_agi_fields_avx2(p);
#endif
    (void)simd;
    fl_agi_fields f;
    f.a = fl_agi_field_portable(p, &f.any_a);
    f.b = fl_agi_field_portable(p + FL_AGI_FIELD, &f.any_b);
    return f;
}

/* Width of a field. `any` is below 128, because the differences are cut. */
static inline unsigned fl_agi_width(uint32_t any)
{
    return 32 - (unsigned)__builtin_clz(any << 1 | 1);
}

/* Words of 16 bits that run over for one difference, in a field of 8 bits: none for -127 <= d < 127, one for
 * -32767 <= d < 32767, else two. No jump: in noise nobody can foresee which. */
static inline unsigned fl_agi_over(int32_t d)
{
    return ((uint32_t)d + 127 > 253) + ((uint32_t)d + 32767 > 65533);
}

/* Bytes of an escaped number. fabio's bound of 16 bits is another one here. */
static inline unsigned fl_agi_escaped_size(int32_t v)
{
    return v >= -127 && v < 127 ? 1 : v > -32767 && v < 32767 ? 3 : 5;
}

/* ---------------------------------------------------------------- size */

FL_BODY size_t fl_agi_field_over(const int32_t *p)
{
    size_t size = 0;
    for (int i = 0; i < FL_AGI_FIELD; i++)
        size += 2 * fl_agi_over(fl_agi_difference(p + i));
    return size;
}

FL_BODY size_t fl_agi_row_size_body(const int32_t *row, int64_t nx, int simd)
{
    size_t size = fl_agi_escaped_size(row[0]);
    int64_t i = 1;
    for (; i + FL_AGI_GROUP <= nx; i += FL_AGI_GROUP) {
        fl_agi_fields f = fl_agi_take_fields(row + i, simd);
        size += 1 + fl_agi_width(f.any_a) + fl_agi_width(f.any_b);
        if (FL_UNLIKELY(f.any_a >= FL_AGI_PLAIN))
            size += fl_agi_field_over(row + i);
        if (FL_UNLIKELY(f.any_b >= FL_AGI_PLAIN))
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

#if defined(__x86_64__)
FL_DELTAS512 static inline uint64_t fl_agi_pack_bmi2(uint64_t x, uint64_t mask)
{
    return _pext_u64(x, mask);
}

FL_DELTAS512 static inline uint64_t fl_agi_spread_bmi2(uint64_t x, uint64_t mask)
{
    return _pdep_u64(x, mask);
}
#endif

/* The codes of a field, 8 bytes of which the low `width` bits count, moved together to `width` bytes. */
FL_BODY uint64_t fl_agi_pack(uint64_t x, unsigned width, int simd)
{
    uint64_t odd8 = 0xFF00FF00FF00FF00ULL, odd16 = 0xFFFF0000FFFF0000ULL, odd32 = 0xFFFFFFFF00000000ULL;
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512) /* not with AVX2: there are processors that take hundreds of cycles for it */
        return fl_agi_pack_bmi2(x, FL_BYTES((1U << width) - 1));
#endif
    (void)simd;
    x &= FL_BYTES((1U << width) - 1);
    x = (x & ~odd8) | (x & odd8) >> (8 - width);
    x = (x & ~odd16) | (x & odd16) >> (16 - 2 * width);
    return (x & ~odd32) | (x & odd32) >> (32 - 4 * width);
}

/* The codes of a field of 8 bits, and behind `at` what runs over. Returns the end of that. */
FL_BODY uint8_t *fl_agi_put_over(const int32_t *p, uint8_t *codes, uint8_t *at)
{
    for (int i = 0; i < FL_AGI_FIELD; i++) {
        int32_t d = fl_agi_difference(p + i);
        unsigned over = fl_agi_over(d);
        codes[i] = (uint8_t)(over ? 253 + over : (uint32_t)d + 127);
        fl_put_le32(at, (uint32_t)d); /* the next one goes over what does not count */
        at += 2 * over;
    }
    return at;
}

/* Sixteen differences (p[-1] can be read). Returns the end of their bytes. */
FL_BODY uint8_t *fl_agi_put_group(const int32_t *p, uint8_t *out, int simd)
{
    fl_agi_fields f = fl_agi_take_fields(p, simd);
    unsigned wa = fl_agi_width(f.any_a), wb = fl_agi_width(f.any_b);
    uint8_t *codes_b = out + 1 + wa, *at = codes_b + wb;
    out[0] = (uint8_t)(wb << 4 | wa);
    /* a difference less 1 with its sign bit turned over is the code */
    fl_put_le64(out + 1, fl_agi_pack(f.a ^ FL_BYTES(1U << (wa - 1)), wa, simd));
    fl_put_le64(codes_b, fl_agi_pack(f.b ^ FL_BYTES(1U << (wb - 1)), wb, simd));
    if (FL_UNLIKELY(f.any_a >= FL_AGI_PLAIN))
        at = fl_agi_put_over(p, out + 1, at);
    if (FL_UNLIKELY(f.any_b >= FL_AGI_PLAIN))
        at = fl_agi_put_over(p + FL_AGI_FIELD, codes_b, at);
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
    uint8_t last[FL_AGI_ROOM]; /* the last steps go by here, and are copied when they fit */
    size_t done = 0;
    *written = 0;
    for (int64_t i = 0; i < nx;) {
        if (i > 0)
            for (; nx - i >= FL_AGI_GROUP && out_size - done >= FL_AGI_ROOM; i += FL_AGI_GROUP)
                done = (size_t)(fl_agi_put_group(row + i, out + done, simd) - out);
        if (i == nx)
            break;
        int group = i > 0 && nx - i >= FL_AGI_GROUP;
        uint8_t *end = group ? fl_agi_put_group(row + i, last, simd)
                             : fl_agi_put_escaped(i == 0 ? row[0] : fl_agi_difference(row + i), last);
        size_t used = (size_t)(end - last);
        if (used > out_size - done)
            return FL_RANGE;
        memcpy(out + done, last, used);
        done += used;
        i += group ? FL_AGI_GROUP : 1;
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

/* A whole image (IN) to at most out_size bytes (OUT); FL_RANGE where they are too few. */
static int fl_agi_encode(const int32_t *src, int64_t ny, int64_t nx, uint8_t *out, size_t out_size, size_t *written,
                         int simd)
{
    size_t table = 4 * (size_t)ny, rows;
    *written = 0;
    if (out_size < 4 + table)
        return FL_RANGE;
    /* the table grows at the end of `out`, until it is known how far the rows go */
    int rc = fl_agi_encode_rows(src, ny, nx, 0, out + 4, out_size - 4 - table, out + out_size - table, &rows, simd);
    if (rc != FL_OK || rows > UINT32_MAX)
        return FL_RANGE;
    memmove(out + 4 + rows, out + out_size - table, table);
    fl_put_le32(out, (uint32_t)rows);
    *written = 4 + rows + table;
    return FL_OK;
}

/* ---------------------------------------------------------------- decode */

/* `width` bytes spread to eight: the reverse of fl_agi_pack. */
FL_BODY uint64_t fl_agi_spread(uint64_t x, unsigned width, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512)
        return fl_agi_spread_bmi2(x, FL_BYTES((1U << width) - 1));
#endif
    (void)simd;
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
__attribute__((noinline)) static uint32_t fl_agi_take_over(uint64_t codes, uint8_t above, const uint8_t **at, uint32_t base, int32_t *out)
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
    uint64_t a = fl_agi_spread(fl_get_le64(p + 1), wa, simd);
    uint64_t b = fl_agi_spread(fl_get_le64(p + 1 + wa), wb, simd);
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
