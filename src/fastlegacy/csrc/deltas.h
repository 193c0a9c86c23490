/* SPDX-License-Identifier: MIT
 *
 * What the two codecs of pixel differences share: numbers as little-endian bytes, the running sum of 16 small
 * differences, and one C text compiled for each SIMD level.
 *
 * The kernels are plain C that a compiler turns into vector instructions by itself: FL_AT_LEVELS makes a copy of a
 * `..._body` function for each level and a function that chooses among them at run time. Only the running sum is
 * beyond a compiler, and is written by hand.
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
#define FL_AT_LEVELS(type, name, parameters, ...)                                                                 \
    static type name##_portable parameters { return name##_body(__VA_ARGS__, FL_SIMD_PORTABLE); }                 \
    __attribute__((target("avx2"))) static type name##_avx2 parameters                                            \
    {                                                                                                             \
        return name##_body(__VA_ARGS__, FL_SIMD_AVX2);                                                            \
    }                                                                                                             \
    __attribute__((target("avx512f,avx512bw,avx512vl"))) static type name##_avx512 parameters                     \
    {                                                                                                             \
        return name##_body(__VA_ARGS__, FL_SIMD_AVX512);                                                          \
    }                                                                                                             \
    static type name parameters                                                                                   \
    {                                                                                                             \
        if (simd >= FL_SIMD_AVX512)                                                                               \
            return name##_avx512(__VA_ARGS__, simd);                                                              \
        return simd >= FL_SIMD_AVX2 ? name##_avx2(__VA_ARGS__, simd) : name##_portable(__VA_ARGS__, simd);        \
    }
#else
#define FL_AT_LEVELS(type, name, parameters, ...)                                                                 \
    static type name parameters                                                                                   \
    {                                                                                                             \
        (void)simd;                                                                                               \
        return name##_body(__VA_ARGS__, FL_SIMD_PORTABLE);                                                        \
    }
#endif

/* ---------------------------------------------------------------- little-endian bytes */

/* Byte by byte, so that the order of the machine does not matter; compilers make one load or store of it. */

static inline void fl_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void fl_put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline void fl_put_le64(uint8_t *p, uint64_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
    p[4] = (uint8_t)(v >> 32);
    p[5] = (uint8_t)(v >> 40);
    p[6] = (uint8_t)(v >> 48);
    p[7] = (uint8_t)(v >> 56);
}

static inline uint16_t fl_get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t fl_get_le32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t fl_get_le64(const uint8_t *p)
{
    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
           (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
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
__attribute__((target("avx2"))) static inline uint32_t fl_sum16_avx2(uint64_t low, uint64_t high, uint32_t base,
                                                                      int32_t *out)
{
    __m256i s = _mm256_cvtepi8_epi16(_mm_set_epi64x((long long)high, (long long)low));
    s = _mm256_add_epi16(s, _mm256_slli_si256(s, 2));
    s = _mm256_add_epi16(s, _mm256_slli_si256(s, 4));
    s = _mm256_add_epi16(s, _mm256_slli_si256(s, 8)); /* the sums of either lane */
    __m256i first = _mm256_permute2x128_si256(s, s, 0x08); /* the upper lane starts where the lower one ends */
    s = _mm256_add_epi16(s, _mm256_shuffle_epi8(first, _mm256_set1_epi16(0x0F0E)));
    __m256i from = _mm256_set1_epi32((int)base);
    __m128i upper = _mm256_extracti128_si256(s, 1);
    _mm256_storeu_si256((__m256i *)out, _mm256_add_epi32(from, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(s))));
    _mm256_storeu_si256((__m256i *)(out + 8), _mm256_add_epi32(from, _mm256_cvtepi16_epi32(upper)));
    return base + (uint32_t)(int16_t)_mm_extract_epi16(upper, 7);
}
#endif

/* Sixteen pixels (OUT) from the one before them and their differences, signed bytes of `low`, then of `high`, the
 * lowest first. The sum wraps at 32 bits. Returns the last pixel. */
FL_BODY uint32_t fl_sum16(uint64_t low, uint64_t high, uint32_t base, int32_t *out, int simd)
{
#if defined(__x86_64__)
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
