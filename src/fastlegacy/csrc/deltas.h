/* SPDX-License-Identifier: MIT
 *
 * What the two codecs of pixel differences share: numbers as little-endian bytes, the running sum of 16 small
 * differences, and one C text compiled for each SIMD level.
 *
 * FL_AT_LEVELS makes a copy of a `..._body` function for each SIMD level and a function that chooses among them at run
 * time; `simd` is a constant in each copy. Steps that a compiler does not turn into good vector instructions by itself
 * are written by hand for that level, and chosen by `simd` where they are used.
 */
#ifndef FL_DELTAS_H
#define FL_DELTAS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bitshuffle.h" /* the levels */

#define FL_BODY static inline __attribute__((always_inline))
#define FL_LIKELY(x) __builtin_expect(!!(x), 1)
#define FL_UNLIKELY(x) __builtin_expect(!!(x), 0)

#if defined(__x86_64__)
#define FL_AVX2 __attribute__((target("avx2")))
#define FL_DELTAS512 \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi2,bmi2,popcnt")))

/* The level that runs here. Every processor with GFNI in 512 bits has the rest too, but a virtual one may hide some. */
static inline int fl_deltas_level(int simd)
{
    if (simd < FL_SIMD_AVX512)
        return simd;
    int all = __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") &&
              __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi2") &&
              __builtin_cpu_supports("popcnt");
    return all ? FL_SIMD_AVX512 : FL_SIMD_AVX2;
}

#define FL_AT_LEVELS(type, name, parameters, ...)                                                                 \
    static type name##_portable parameters { return (void)simd, name##_body(__VA_ARGS__, FL_SIMD_PORTABLE); }     \
    FL_AVX2 static type name##_avx2 parameters { return (void)simd, name##_body(__VA_ARGS__, FL_SIMD_AVX2); }     \
    FL_DELTAS512 static type name##_avx512 parameters                                                             \
    {                                                                                                             \
        return (void)simd, name##_body(__VA_ARGS__, FL_SIMD_AVX512);                                              \
    }                                                                                                             \
    static type name parameters                                                                                   \
    {                                                                                                             \
        int level = fl_deltas_level(simd);                                                                        \
        if (level == FL_SIMD_AVX512)                                                                              \
            return name##_avx512(__VA_ARGS__, level);                                                             \
        return level == FL_SIMD_AVX2 ? name##_avx2(__VA_ARGS__, level) : name##_portable(__VA_ARGS__, level);     \
    }
#else
#define FL_AT_LEVELS(type, name, parameters, ...)                                                                 \
    static type name parameters { return (void)simd, name##_body(__VA_ARGS__, FL_SIMD_PORTABLE); }
#endif

/* ---------------------------------------------------------------- little-endian bytes */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FL_LE(bits, v) (v)
#else
#define FL_LE(bits, v) __builtin_bswap##bits(v)
#endif

static inline void fl_put_le16(uint8_t *p, uint16_t v)
{
    v = FL_LE(16, v);
    memcpy(p, &v, sizeof v);
}

static inline void fl_put_le32(uint8_t *p, uint32_t v)
{
    v = FL_LE(32, v);
    memcpy(p, &v, sizeof v);
}

static inline void fl_put_le64(uint8_t *p, uint64_t v)
{
    v = FL_LE(64, v);
    memcpy(p, &v, sizeof v);
}

static inline uint16_t fl_get_le16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return FL_LE(16, v);
}

static inline uint32_t fl_get_le32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return FL_LE(32, v);
}

static inline uint64_t fl_get_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return FL_LE(64, v);
}

/* ---------------------------------------------------------------- bytes in a word */

#define FL_BYTES(b) (0x0101010101010101ULL * (uint8_t)(b)) /* eight times the same byte */

/* Not 0 if one of the eight bytes of x is 0. */
static inline uint64_t fl_has_zero_byte(uint64_t x)
{
    return (x - FL_BYTES(0x01)) & ~x & FL_BYTES(0x80);
}

/* ---------------------------------------------------------------- the running sum */

#if defined(__x86_64__)
/* The sums of 16 signed bytes, in 16 bits. */
FL_AVX2 static inline __m256i fl_sums16(uint64_t low, uint64_t high)
{
    __m256i s = _mm256_cvtepi8_epi16(_mm_set_epi64x((long long)high, (long long)low));
    s = _mm256_add_epi16(s, _mm256_slli_si256(s, 2));
    s = _mm256_add_epi16(s, _mm256_slli_si256(s, 4));
    s = _mm256_add_epi16(s, _mm256_slli_si256(s, 8)); /* the sums of either lane */
    __m256i first = _mm256_permute2x128_si256(s, s, 0x08); /* the upper lane starts where the lower one ends */
    return _mm256_add_epi16(s, _mm256_shuffle_epi8(first, _mm256_set1_epi16(0x0F0E)));
}

FL_AVX2 static inline uint32_t fl_sum16_avx2(uint64_t low, uint64_t high, uint32_t base, int32_t *out)
{
    __m256i s = fl_sums16(low, high), from = _mm256_set1_epi32((int)base);
    __m128i upper = _mm256_extracti128_si256(s, 1);
    _mm256_storeu_si256((__m256i *)out, _mm256_add_epi32(from, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(s))));
    _mm256_storeu_si256((__m256i *)(out + 8), _mm256_add_epi32(from, _mm256_cvtepi16_epi32(upper)));
    return base + (uint32_t)(int16_t)_mm_extract_epi16(upper, 7);
}

FL_DELTAS512 static inline uint32_t fl_sum16_avx512(uint64_t low, uint64_t high, uint32_t base, int32_t *out)
{
    __m256i s = fl_sums16(low, high);
    _mm512_storeu_si512(out, _mm512_add_epi32(_mm512_set1_epi32((int)base), _mm512_cvtepi16_epi32(s)));
    return base + (uint32_t)(int16_t)_mm_extract_epi16(_mm256_extracti128_si256(s, 1), 7);
}
#endif

/* Sixteen pixels (OUT) from the one before them and their differences, signed bytes of `low`, then of `high`, the
 * lowest first. The sum wraps at 32 bits. Returns the last pixel. */
FL_BODY uint32_t fl_sum16(uint64_t low, uint64_t high, uint32_t base, int32_t *out, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX512)
        return fl_sum16_avx512(low, high, base, out);
    if (simd >= FL_SIMD_AVX2)
        return fl_sum16_avx2(low, high, base, out);
#endif
    (void)simd;
    for (int i = 0; i < 8; i++, low >>= 8)
        out[i] = (int32_t)(base += (uint32_t)(int8_t)low);
    for (int i = 8; i < 16; i++, high >>= 8)
        out[i] = (int32_t)(base += (uint32_t)(int8_t)high);
    return base;
}

#endif
