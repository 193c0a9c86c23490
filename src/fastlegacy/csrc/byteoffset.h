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
    FL_BO_STEP = 16 * 15,   /* bytes of a step, at most; it may touch all of them */
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

__attribute__((noinline)) static size_t fl_bo_put_each(const int32_t *src, int64_t count, int64_t before, uint8_t *out)
{
    uint8_t *at = out;
    for (int64_t i = 0; i < count; before = src[i++])
        at = fl_bo_put(at, (int64_t)src[i] - before);
    return (size_t)(at - out);
}

/* Sixteen pixels, src[-1] being the one before them (OUT: up to FL_BO_STEP bytes). Returns their bytes. */
FL_BODY size_t fl_bo_put_step_portable(const int32_t *src, uint8_t *out)
{
    uint8_t narrow[FL_BO_PIXELS];
    uint32_t past = 0;
    for (int i = 0; i < FL_BO_PIXELS; i++) {
        uint32_t p = (uint32_t)src[i], q = (uint32_t)src[i - 1], delta = p - q;
        past |= ((p ^ q) & (p ^ delta)) >> 31 | (delta + 127 > 254);
        narrow[i] = (uint8_t)delta;
    }
    memcpy(out, narrow, sizeof narrow);
    return FL_LIKELY(!past) ? FL_BO_PIXELS : fl_bo_put_each(src, FL_BO_PIXELS, src[-1], out);
}

#if defined(__x86_64__)
/* Eight differences; the sign bits of *past are set where they are no byte. */
FL_AVX2 static inline __m256i fl_bo_delta_avx2(const int32_t *src, __m256i *past)
{
    __m256i p = _mm256_loadu_si256((const __m256i *)src), q = _mm256_loadu_si256((const __m256i *)(src - 1));
    __m256i delta = _mm256_sub_epi32(p, q), size = _mm256_abs_epi32(delta); /* that of INT_MIN keeps its sign bit */
    __m256i over = _mm256_and_si256(_mm256_xor_si256(p, q), _mm256_xor_si256(p, delta));
    *past = _mm256_or_si256(_mm256_or_si256(over, size), _mm256_cmpgt_epi32(size, _mm256_set1_epi32(127)));
    return delta;
}

FL_AVX2 static inline size_t fl_bo_put_step_avx2(const int32_t *src, uint8_t *out)
{
    __m256i past0, past1, d0 = fl_bo_delta_avx2(src, &past0), d1 = fl_bo_delta_avx2(src + 8, &past1);
    if (FL_UNLIKELY(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(past0, past1)))))
        return fl_bo_put_each(src, FL_BO_PIXELS, src[-1], out);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(d0, d1), 0xD8);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)out, bytes);
    return FL_BO_PIXELS;
}

FL_DELTAS512 static inline size_t fl_bo_put_step_avx512(const int32_t *src, uint8_t *out)
{
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    __m512i p = _mm512_loadu_si512(src), q = _mm512_loadu_si512(src - 1), delta = _mm512_sub_epi32(p, q);
    __m512i size = _mm512_abs_epi32(delta), over = _mm512_ternarylogic_epi32(p, q, delta, 0x18); /* (p^q) & (p^delta) */
    __mmask16 wide = _mm512_test_epi32_mask(over, sign);
    __mmask16 past8 = wide | _mm512_cmpgt_epu32_mask(size, _mm512_set1_epi32(127));
    if (FL_LIKELY(!past8)) {
        _mm_storeu_si128((__m128i *)out, _mm512_cvtepi32_epi8(delta));
        return FL_BO_PIXELS;
    }
    if (FL_UNLIKELY(wide | _mm512_cmpgt_epu32_mask(size, _mm512_set1_epi32(32767))))
        return fl_bo_put_each(src, FL_BO_PIXELS, src[-1], out);
    /* four bytes for each difference, of which one or three are kept */
    __m512i words = _mm512_mask_or_epi32(delta, past8, _mm512_slli_epi32(delta, 8), _mm512_set1_epi32(0x80));
    words = _mm512_mask_and_epi32(words, past8, words, _mm512_set1_epi32(0xFFFFFF));
    __m512i kept = _mm512_mask_mov_epi32(_mm512_set1_epi32(0xFF), past8, _mm512_set1_epi32(0xFFFFFF));
    __mmask64 bytes = _mm512_movepi8_mask(kept);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi8(bytes, words));
    return (size_t)__builtin_popcountll(bytes);
}
#endif

FL_BODY size_t fl_bo_put_step(const int32_t *src, uint8_t *out, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512)
        return fl_bo_put_step_avx512(src, out);
    if (simd >= FL_SIMD_AVX2)
        return fl_bo_put_step_avx2(src, out);
#endif
    (void)simd;
    return fl_bo_put_step_portable(src, out);
}

FL_BODY int fl_byteoffset_encode_body(const int32_t *src, int64_t n, int first, uint8_t *out, size_t out_size,
                                      size_t *written, int simd)
{
    uint8_t last[FL_BO_STEP]; /* the last steps go by here, and are copied when they fit */
    size_t done = 0;
    *written = 0;
    for (int64_t i = 0; i < n;) {
        if (!first || i > 0)
            for (; n - i >= FL_BO_PIXELS && out_size - done >= FL_BO_STEP; i += FL_BO_PIXELS)
                done += fl_bo_put_step(src + i, out + done, simd);
        /* the first pixel of all by itself: afterwards each has one before it */
        int is_first = first && i == 0;
        int64_t count = is_first ? 1 : n - i < FL_BO_PIXELS ? n - i : FL_BO_PIXELS;
        size_t used = fl_bo_put_each(src + i, count, is_first ? 0 : src[i - 1], last);
        if (used > out_size - done)
            return FL_RANGE;
        memcpy(out + done, last, used);
        done += used;
        i += count;
    }
    *written = done;
    return FL_OK;
}

/* n pixels (IN) to at most out_size bytes (OUT); src[-1] is the pixel before them where they are not the `first` of an
 * image: so its parts are encoded one after the other. FL_RANGE where the bytes are too few. */
FL_AT_LEVELS(int, fl_byteoffset_encode,
             (const int32_t *src, int64_t n, int first, uint8_t *out, size_t out_size, size_t *written, int simd), src,
             n, first, out, out_size, written)

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

/* Up to 16 pixels (OUT), one by one. Returns their bytes, 0 where something is wrong: see `e`. */
static size_t fl_bo_take_each(const uint8_t *src, size_t size, int64_t count, int64_t base, int32_t *out, fl_error *e)
{
    size_t at = 0, used = 1;
    uint64_t beyond = 0; /* not 0 once a pixel has left 32 bits */
    for (int64_t i = 0; i < count; i++) {
        int64_t d;
        used = fl_bo_take(src + at, size - at, &d);
        if (used == 0)
            break;
        at += used;
        base = (int64_t)((uint64_t)base + (uint64_t)d);
        beyond |= (uint64_t)base ^ (uint64_t)(int32_t)base;
        out[i] = (int32_t)base;
    }
    if (beyond)
        fl_fail(e, FL_CORRUPT, "byte offset: a pixel is no signed 32-bit number");
    else if (used == 0)
        fl_fail(e, FL_CORRUPT, "byte offset: the data end before the image does");
    return beyond || used == 0 ? 0 : at;
}

/* Bytes or pixels that go through a register at once, the bytes that are read for that, and where a pixel can be so
 * that no sum of 64 differences of 16 bits leaves 32 bits. */
enum { FL_BO_RUN = 64, FL_BO_WINDOW = FL_BO_RUN + 2, FL_BO_FAR = INT32_MAX - FL_BO_RUN * 32768 };

#if defined(__x86_64__)
/* Pixels (OUT) of at most `most` bytes, in runs of 64 up to one with an escape. Returns how many that are.
 *
 * VPDPBUSD adds products of four bytes to a 32-bit number. With 1 for the bytes up to a pixel's own, and 0 for those
 * behind it, four of them are the running sums of 16 bytes. */
FL_DELTAS512 static int64_t fl_bo_take_runs_avx512(const uint8_t *src, int64_t most, int64_t *base, int32_t *out)
{
    __m512i upto[4], from = _mm512_set1_epi32((int)*base), numbers = _mm512_set1_epi32(0x01010101);
    for (int q = 0; q < 4; q++) {
        __m512i edge = _mm512_maskz_set1_epi32((__mmask16)(1 << 4 * q), 0x01);
        edge = _mm512_mask_set1_epi32(edge, (__mmask16)(2 << 4 * q), 0x0101);
        edge = _mm512_mask_set1_epi32(edge, (__mmask16)(4 << 4 * q), 0x010101);
        upto[q] = _mm512_mask_mov_epi32(edge, (__mmask16)(0xFFF8 << 4 * q), numbers);
    }
    int64_t done = 0;
    for (; done + FL_BO_RUN <= most; done += FL_BO_RUN) {
        int32_t start = _mm512_cvtsi512_si32(from);
        __m512i bytes = _mm512_loadu_si512(src + done);
        if (FL_UNLIKELY(_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(-128)) != 0 || start < -FL_BO_FAR ||
                        start > FL_BO_FAR))
            break;
        for (int64_t i = done; i < done + FL_BO_RUN; i += 16) {
            __m512i s = _mm512_setzero_si512(), t = s;
            s = _mm512_dpbusd_epi32(s, upto[0], _mm512_set1_epi32((int)fl_get_le32(src + i)));
            t = _mm512_dpbusd_epi32(t, upto[1], _mm512_set1_epi32((int)fl_get_le32(src + i + 4)));
            s = _mm512_dpbusd_epi32(s, upto[2], _mm512_set1_epi32((int)fl_get_le32(src + i + 8)));
            t = _mm512_dpbusd_epi32(t, upto[3], _mm512_set1_epi32((int)fl_get_le32(src + i + 12)));
            s = _mm512_add_epi32(s, t);
            _mm512_storeu_si512(out + i, _mm512_add_epi32(from, s));
            from = _mm512_add_epi32(from, _mm512_permutexvar_epi32(_mm512_set1_epi32(15), s));
        }
    }
    *base = _mm512_cvtsi512_si32(from);
    return done;
}

/* The running sums of 16 numbers. */
FL_DELTAS512 static inline __m512i fl_sums16_avx512(__m512i x)
{
    const __m512i zero = _mm512_setzero_si512();
    x = _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, 15));
    x = _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, 14));
    x = _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, 12));
    return _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, 8));
}

/* The pixels of 64 bytes (IN, two more can be read) among which are escapes to 16 bits (OUT: 64 pixels, of which the
 * first count). Returns how many count; 0 where 0x80 stands so near to another that it may not be an escape.  */
FL_DELTAS512 static int64_t fl_bo_take_window_avx512(const uint8_t *src, int64_t *base, int32_t *out, size_t *bytes)
{
    __m512i low = _mm512_loadu_si512(src), high = _mm512_movm_epi8(_mm512_movepi8_mask(low)); /* the sign */
    uint64_t escapes = _mm512_cmpeq_epi8_mask(low, _mm512_set1_epi8(-128));
    uint64_t behind = escapes << 1 | escapes << 2; /* the bytes of their numbers */
    if (escapes & behind)
        return 0;
    low = _mm512_maskz_compress_epi8(~behind, _mm512_mask_loadu_epi8(low, escapes, src + 1));
    high = _mm512_maskz_compress_epi8(~behind, _mm512_mask_loadu_epi8(high, escapes, src + 2));
    __mmask64 smallest = _mm512_cmpeq_epi8_mask(high, _mm512_set1_epi8(-128)); /* may be 80 00 80, if it ends behind */
    if (_mm512_mask_testn_epi8_mask(smallest, low, low))
        return 0;
    int64_t count = __builtin_popcountll(~behind);
    uint8_t lows[FL_BO_RUN], highs[FL_BO_RUN];
    _mm512_storeu_si512(lows, low);
    _mm512_storeu_si512(highs, high);
    for (int64_t i = 0; i < count; i += 16) {
        __m512i x = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(lows + i)));
        __m512i y = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(highs + i)));
        x = fl_sums16_avx512(_mm512_or_si512(x, _mm512_slli_epi32(y, 8)));
        _mm512_storeu_si512(out + i, _mm512_add_epi32(x, _mm512_set1_epi32((int)*base)));
        *base += _mm_extract_epi32(_mm512_extracti32x4_epi32(x, 3), 3);
    }
    *bytes = FL_BO_RUN + (size_t)(escapes >> 63 ? 2 : escapes >> 62); /* a number may end behind the window */
    return count;
}
#endif

/* The same for any level. */
FL_BODY int64_t fl_bo_take_runs(const uint8_t *src, int64_t most, int64_t *base, int32_t *out, int simd)
{
    int64_t done = 0;
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512)
        done = fl_bo_take_runs_avx512(src, most, base, out);
#endif
    for (; done + FL_BO_PIXELS <= most && *base >= -FL_BO_FAR && *base <= FL_BO_FAR; done += FL_BO_PIXELS) {
        uint64_t low = fl_get_le64(src + done), high = fl_get_le64(src + done + 8);
        if (FL_UNLIKELY(fl_has_zero_byte(low ^ FL_BYTES(0x80)) | fl_has_zero_byte(high ^ FL_BYTES(0x80))))
            break;
        *base = (int32_t)fl_sum16(low, high, (uint32_t)*base, out + done, simd);
    }
    return done;
}

/* At least one pixel and at most `count`, in the fastest way that does for them. Returns how many, and their bytes; 0
 * where something is wrong. */
FL_BODY int64_t fl_bo_take_step(const uint8_t *src, size_t size, int64_t count, int64_t *base, int32_t *out,
                                size_t *bytes, fl_error *e, int simd)
{
    int64_t taken;
    (void)simd;
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512 && count >= FL_BO_RUN && size >= FL_BO_WINDOW && *base >= -FL_BO_FAR &&
        *base <= FL_BO_FAR && (taken = fl_bo_take_window_avx512(src, base, out, bytes)) > 0)
        return taken;
#endif
    taken = count < FL_BO_PIXELS ? count : FL_BO_PIXELS;
    *bytes = fl_bo_take_each(src, size, taken, *base, out, e);
    if (*bytes == 0)
        return 0;
    *base = out[taken - 1];
    return taken;
}

FL_BODY int fl_byteoffset_decode_body(const uint8_t *src, size_t size, int32_t *out, int64_t n, size_t *used,
                                      fl_error *e, int simd)
{
    size_t at = 0, bytes = 0;
    int64_t base = 0;
    *used = 0;
    for (int64_t i = 0; i < n;) {
        int64_t most = n - i < (int64_t)(size - at) ? n - i : (int64_t)(size - at);
        int64_t run = fl_bo_take_runs(src + at, most, &base, out + i, simd);
        at += (size_t)run;
        i += run;
        if (i == n)
            break;
        int64_t taken = fl_bo_take_step(src + at, size - at, n - i, &base, out + i, &bytes, e, simd);
        if (taken == 0)
            return e->code;
        at += bytes;
        i += taken;
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
