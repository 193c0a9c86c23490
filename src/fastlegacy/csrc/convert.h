/* SPDX-License-Identifier: MIT
 *
 * Rows of pixels from one type to another: limits, pedestal, gaps and bad pixels, in one pass.
 *
 * A class for each pixel says what it is: FL_VALID, FL_IS_GAP or FL_IS_BAD. Rows are handled in runs of FL_RUN pixels,
 * whose classes are found first: most runs of a detector are all valid, and take the short way.
 *
 * One text makes a function for each pair of the ten types; compilers turn its loops into vector instructions.
 */
#ifndef FL_CONVERT_H
#define FL_CONVERT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "deltas.h" /* FL_AVX2, FL_BODY */

enum { FL_U1, FL_U2, FL_U4, FL_U8, FL_I1, FL_I2, FL_I4, FL_I8, FL_F4, FL_F8, FL_TYPES };
enum { FL_VALID, FL_IS_GAP, FL_IS_BAD, FL_NO_CLASS = 255 };
enum { FL_RUN = 1024 };

/* A number as it lies in memory: the first bytes are those of the type that it has. */
typedef union {
    uint8_t bytes[8];
    uint64_t bits;
} fl_number;

typedef struct {
    int from, to;          /* types */
    int has_gap, has_bad;  /* 0: such a pixel is treated as a valid one */
    fl_number gap, bad;    /* of type `to` */
    fl_number nan;         /* of type `to`: what becomes of a floating-point pixel that is no number */
    fl_number low, high;   /* of type `from`: limits of valid pixels, so that no sum leaves `to` unless bits are kept */
    fl_number least, most; /* of type `to`: what floating-point pixels beyond the limits become */
    int64_t add;
    int is_error;          /* a valid pixel beyond the limits is an error */
    int swap;              /* pixels are written in the byte order that this machine has not */
} fl_conversion;

static inline size_t fl_type_size(int type)
{
    return type >= FL_F4 ? (type == FL_F4 ? 4 : 8) : (size_t)1 << (type & 3);
}

/* What one pixel becomes: integers, then floating-point pixels, from (S, s) to (D, d). `sum` is an unsigned type. */
#define FL_INT_TO_INT(v, d, sum) ((d)(sum)((sum)(v) + (sum)add))
#define FL_INT_TO_FLOAT(v, d, sum) ((d)(v) + (d)add)

#define FL_CONVERT_BODY(S, s, D, d, sum, LIMIT, STEP)                                                          \
    FL_BODY void fl_convert_##S##_##D##_body(const void *in, const uint8_t *restrict kind, int64_t n, void *to, \
                                             const fl_conversion *c)                                           \
    {                                                                                                          \
        const s *restrict src = in;                                                                            \
        d *restrict out = to, gap, bad, no_number, least, most;                                                \
        s low, high;                                                                                           \
        const int64_t add = c->add;                                                                            \
        const uint8_t is_gap = c->has_gap ? FL_IS_GAP : FL_NO_CLASS, is_bad = c->has_bad ? FL_IS_BAD : FL_NO_CLASS; \
        memcpy(&low, &c->low, sizeof low);                                                                     \
        memcpy(&high, &c->high, sizeof high);                                                                  \
        memcpy(&gap, &c->gap, sizeof gap);                                                                     \
        memcpy(&bad, &c->bad, sizeof bad);                                                                     \
        memcpy(&no_number, &c->nan, sizeof no_number);                                                         \
        memcpy(&least, &c->least, sizeof least);                                                               \
        memcpy(&most, &c->most, sizeof most);                                                                  \
        (void)low, (void)high, (void)no_number, (void)least, (void)most;                                       \
        if (!kind) {                                                                                           \
            for (int64_t i = 0; i < n; i++) {                                                                  \
                s v = src[i];                                                                                  \
                LIMIT                                                                                          \
                out[i] = STEP;                                                                                 \
            }                                                                                                  \
            return;                                                                                            \
        }                                                                                                      \
        for (int64_t i = 0; i < n; i++) {                                                                      \
            s v = src[i];                                                                                      \
            LIMIT                                                                                              \
            d made = STEP;                                                                                     \
            made = kind[i] == is_gap ? gap : made;                                                             \
            out[i] = kind[i] == is_bad ? bad : made;                                                           \
        }                                                                                                      \
    }

#define FL_INT_LIMIT v = v > high ? high : v; v = v < low ? low : v;
#define FL_NO_LIMIT
#define FL_FROM_INT(S, s)                                                                      \
    FL_CONVERT_BODY(S, s, U1, uint8_t, uint8_t, FL_INT_LIMIT, FL_INT_TO_INT(v, uint8_t, uint8_t))      \
    FL_CONVERT_BODY(S, s, U2, uint16_t, uint16_t, FL_INT_LIMIT, FL_INT_TO_INT(v, uint16_t, uint16_t))  \
    FL_CONVERT_BODY(S, s, U4, uint32_t, uint32_t, FL_INT_LIMIT, FL_INT_TO_INT(v, uint32_t, uint32_t))  \
    FL_CONVERT_BODY(S, s, U8, uint64_t, uint64_t, FL_INT_LIMIT, FL_INT_TO_INT(v, uint64_t, uint64_t))  \
    FL_CONVERT_BODY(S, s, I1, int8_t, uint8_t, FL_INT_LIMIT, FL_INT_TO_INT(v, int8_t, uint8_t))        \
    FL_CONVERT_BODY(S, s, I2, int16_t, uint16_t, FL_INT_LIMIT, FL_INT_TO_INT(v, int16_t, uint16_t))    \
    FL_CONVERT_BODY(S, s, I4, int32_t, uint32_t, FL_INT_LIMIT, FL_INT_TO_INT(v, int32_t, uint32_t))    \
    FL_CONVERT_BODY(S, s, I8, int64_t, uint64_t, FL_INT_LIMIT, FL_INT_TO_INT(v, int64_t, uint64_t))    \
    FL_CONVERT_BODY(S, s, F4, float, float, FL_NO_LIMIT, FL_INT_TO_FLOAT(v, float, float))             \
    FL_CONVERT_BODY(S, s, F8, double, double, FL_NO_LIMIT, FL_INT_TO_FLOAT(v, double, double))

/* What is no number is 0 until the end. The limits are what floating-point pixels have that is nearest to those of the
 * file, from inside: who is beyond them gets the file's own. */
#define FL_FLOAT_LIMIT                                        \
    int is_number = v == v, below = v < low, above = v > high; \
    v = is_number ? v : 0;                                    \
    v = v > high ? high : v;                                  \
    v = v < low ? low : v;
#define FL_FLOAT_TO_INT(v, wide, d, sum)                                                                 \
    (!is_number ? no_number : below ? least : above ? most : (d)(sum)((sum)(wide)__builtin_rint(v) + (sum)add))
#define FL_FROM_FLOAT(S, s)                                                                                            \
    FL_CONVERT_BODY(S, s, U1, uint8_t, uint8_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, int64_t, uint8_t, uint8_t))         \
    FL_CONVERT_BODY(S, s, U2, uint16_t, uint16_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, int64_t, uint16_t, uint16_t))     \
    FL_CONVERT_BODY(S, s, U4, uint32_t, uint32_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, int64_t, uint32_t, uint32_t))     \
    FL_CONVERT_BODY(S, s, U8, uint64_t, uint64_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, fl_wide, uint64_t, uint64_t))     \
    FL_CONVERT_BODY(S, s, I1, int8_t, uint8_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, int64_t, int8_t, uint8_t))           \
    FL_CONVERT_BODY(S, s, I2, int16_t, uint16_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, int64_t, int16_t, uint16_t))       \
    FL_CONVERT_BODY(S, s, I4, int32_t, uint32_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, int64_t, int32_t, uint32_t))       \
    FL_CONVERT_BODY(S, s, I8, int64_t, uint64_t, FL_FLOAT_LIMIT, FL_FLOAT_TO_INT(v, fl_wide, int64_t, uint64_t))       \
    FL_CONVERT_BODY(S, s, F4, float, float, FL_NO_LIMIT, FL_INT_TO_FLOAT(v, float, float))                             \
    FL_CONVERT_BODY(S, s, F8, double, double, FL_NO_LIMIT, FL_INT_TO_FLOAT(v, double, double))

typedef __int128 fl_wide; /* holds what a number of 64 bits is before its pedestal is added */

FL_FROM_INT(U1, uint8_t)
FL_FROM_INT(U2, uint16_t)
FL_FROM_INT(U4, uint32_t)
FL_FROM_INT(U8, uint64_t)
FL_FROM_INT(I1, int8_t)
FL_FROM_INT(I2, int16_t)
FL_FROM_INT(I4, int32_t)
FL_FROM_INT(I8, int64_t)
FL_FROM_FLOAT(F4, float)
FL_FROM_FLOAT(F8, double)

typedef void (*fl_convert_fn)(const void *, const uint8_t *, int64_t, void *, const fl_conversion *);

#define FL_EACH_TO(X, S) X(S, U1) X(S, U2) X(S, U4) X(S, U8) X(S, I1) X(S, I2) X(S, I4) X(S, I8) X(S, F4) X(S, F8)
#define FL_EACH_PAIR(X)                                                                                       \
    FL_EACH_TO(X, U1) FL_EACH_TO(X, U2) FL_EACH_TO(X, U4) FL_EACH_TO(X, U8) FL_EACH_TO(X, I1)                 \
    FL_EACH_TO(X, I2) FL_EACH_TO(X, I4) FL_EACH_TO(X, I8) FL_EACH_TO(X, F4) FL_EACH_TO(X, F8)

#define FL_PARAMETERS const void *in, const uint8_t *kind, int64_t n, void *out, const fl_conversion *c
#define FL_PORTABLE_CONVERT(S, D) \
    static void fl_convert_##S##_##D(FL_PARAMETERS) { fl_convert_##S##_##D##_body(in, kind, n, out, c); }
#define FL_PORTABLE_ENTRY(S, D) [FL_##S][FL_##D] = fl_convert_##S##_##D,
FL_EACH_PAIR(FL_PORTABLE_CONVERT)
static const fl_convert_fn fl_converts[FL_TYPES][FL_TYPES] = {FL_EACH_PAIR(FL_PORTABLE_ENTRY)};

#if defined(__x86_64__)
#define FL_AVX2_CONVERT(S, D) \
    FL_AVX2 static void fl_convert_avx2_##S##_##D(FL_PARAMETERS) { fl_convert_##S##_##D##_body(in, kind, n, out, c); }
#define FL_AVX2_ENTRY(S, D) [FL_##S][FL_##D] = fl_convert_avx2_##S##_##D,
FL_EACH_PAIR(FL_AVX2_CONVERT)
static const fl_convert_fn fl_converts_avx2[FL_TYPES][FL_TYPES] = {FL_EACH_PAIR(FL_AVX2_ENTRY)};
#endif

static inline fl_convert_fn fl_convert_of(int from, int to, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX2)
        return fl_converts_avx2[from][to];
#endif
    (void)simd;
    return fl_converts[from][to];
}

/* ---------------------------------------------------------------- classes */

#define FL_CLASSES_BODY(S, s)                                                                  \
    FL_BODY int fl_classes_##S##_body(const void *in, int64_t n, uint8_t *kind)                \
    {                                                                                          \
        const s *src = in;                                                                     \
        uint8_t any = 0;                                                                       \
        for (int64_t i = 0; i < n; i++)                                                        \
            any |= kind[i] = src[i] == (s)~(s)0;                                               \
        return any;                                                                            \
    }                                                                                          \
    static int fl_classes_##S(const void *in, int64_t n, uint8_t *kind)                        \
    {                                                                                          \
        return fl_classes_##S##_body(in, n, kind);                                             \
    }

FL_CLASSES_BODY(U1, uint8_t)
FL_CLASSES_BODY(U2, uint16_t)
FL_CLASSES_BODY(U4, uint32_t)
FL_CLASSES_BODY(U8, uint64_t)
#if defined(__x86_64__)
FL_AVX2 static int fl_classes_avx2_U2(const void *in, int64_t n, uint8_t *kind) { return fl_classes_U2_body(in, n, kind); }
FL_AVX2 static int fl_classes_avx2_U4(const void *in, int64_t n, uint8_t *kind) { return fl_classes_U4_body(in, n, kind); }
#endif

/* The classes (OUT) of unsigned pixels without a mask: gaps have all bits set. Returns 0 where all are valid. */
static int fl_classes_by_value(int type, const void *in, int64_t n, uint8_t *kind, int simd)
{
#if defined(__x86_64__)
    if (simd >= FL_SIMD_AVX2 && type == FL_U2)
        return fl_classes_avx2_U2(in, n, kind);
    if (simd >= FL_SIMD_AVX2 && type == FL_U4)
        return fl_classes_avx2_U4(in, n, kind);
#endif
    (void)simd;
    switch (type) {
    case FL_U1: return fl_classes_U1(in, n, kind);
    case FL_U2: return fl_classes_U2(in, n, kind);
    case FL_U4: return fl_classes_U4(in, n, kind);
    case FL_U8: return fl_classes_U8(in, n, kind);
    default: return 0;
    }
}

static inline int fl_any_class(const uint8_t *kind, int64_t n)
{
    uint8_t any = 0;
    for (int64_t i = 0; i < n; i++)
        any |= kind[i];
    return any;
}

/* ---------------------------------------------------------------- limits that are errors */

#define FL_BEYOND(S, s)                                                                                          \
    static int64_t fl_beyond_##S(const void *in, const uint8_t *kind, int64_t n, const fl_conversion *c)         \
    {                                                                                                            \
        const s *src = in;                                                                                       \
        s low, high;                                                                                             \
        memcpy(&low, &c->low, sizeof low);                                                                       \
        memcpy(&high, &c->high, sizeof high);                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                                        \
            int is_valid = !kind || !((kind[i] == FL_IS_GAP && c->has_gap) || (kind[i] == FL_IS_BAD && c->has_bad)); \
            if ((src[i] < low || src[i] > high) && is_valid)                                                     \
                return i;                                                                                        \
        }                                                                                                        \
        return -1;                                                                                               \
    }

FL_BEYOND(U1, uint8_t)
FL_BEYOND(U2, uint16_t)
FL_BEYOND(U4, uint32_t)
FL_BEYOND(U8, uint64_t)
FL_BEYOND(I1, int8_t)
FL_BEYOND(I2, int16_t)
FL_BEYOND(I4, int32_t)
FL_BEYOND(I8, int64_t)

typedef int64_t (*fl_beyond_fn)(const void *, const uint8_t *, int64_t, const fl_conversion *);

static const fl_beyond_fn fl_beyonds[FL_TYPES] = {fl_beyond_U1, fl_beyond_U2, fl_beyond_U4, fl_beyond_U8, fl_beyond_I1,
                                                  fl_beyond_I2, fl_beyond_I4, fl_beyond_I8, NULL,         NULL};

/* ---------------------------------------------------------------- rows */

#define FL_SWAP_CASE(bits)                                  \
    case bits / 8:                                          \
        for (size_t i = 0; i < n; i++) {                    \
            uint##bits##_t v;                               \
            memcpy(&v, data + i * sizeof v, sizeof v);      \
            v = __builtin_bswap##bits(v);                   \
            memcpy(data + i * sizeof v, &v, sizeof v);      \
        }                                                   \
        break

/* Change the byte order of n numbers. */
static void fl_swap_bytes(uint8_t *data, size_t n, size_t itemsize)
{
    switch (itemsize) {
        FL_SWAP_CASE(16);
        FL_SWAP_CASE(32);
        FL_SWAP_CASE(64);
    default:
        for (size_t i = 0; i < n; i++, data += itemsize)
            for (size_t a = 0, b = itemsize - 1; a < b; a++, b--) {
                uint8_t t = data[a];
                data[a] = data[b];
                data[b] = t;
            }
    }
}

#undef FL_SWAP_CASE

#define FL_REVERSE_CASE(size)                                                  \
    case size:                                                                 \
        for (int64_t i = 0; i < n; i++)                                        \
            memcpy(out + (n - 1 - i) * (size), in + i * (size), (size));       \
        break

/* n numbers (IN), the last one first (OUT). */
static void fl_reverse(const uint8_t *restrict in, int64_t n, size_t size, uint8_t *restrict out)
{
    switch (size) {
        FL_REVERSE_CASE(1);
        FL_REVERSE_CASE(2);
        FL_REVERSE_CASE(4);
        FL_REVERSE_CASE(8);
    }
}

#undef FL_REVERSE_CASE

/* n pixels (IN) to n pixels (OUT, at any address); `reverse`: the last one first.
 * `mask`: a class for each pixel, or NULL; `by_value`: without a mask, find the classes by value.
 * Returns -1, or the number of the first pixel that is an error. */
static int64_t fl_convert_row(const fl_conversion *c, const uint8_t *in, const uint8_t *mask, int by_value, int64_t n,
                              int reverse, uint8_t *out, int simd)
{
    fl_convert_fn convert = fl_convert_of(c->from, c->to, simd);
    size_t in_size = fl_type_size(c->from), size = fl_type_size(c->to);
    int direct = !reverse && (uintptr_t)out % size == 0;
    uint8_t found[FL_RUN];
    _Alignas(64) uint8_t run[FL_RUN * 8];
    for (int64_t i = 0; i < n; i += FL_RUN) {
        int64_t count = n - i < FL_RUN ? n - i : FL_RUN;
        const uint8_t *src = in + (size_t)i * in_size, *kind = NULL;
        uint8_t *to = direct ? out + (size_t)i * size : run;
        if (mask)
            kind = fl_any_class(mask + i, count) ? mask + i : NULL;
        else if (by_value && fl_classes_by_value(c->from, src, count, found, simd))
            kind = found;
        if (c->is_error && fl_beyonds[c->from]) {
            int64_t at = fl_beyonds[c->from](src, kind, count, c);
            if (at >= 0)
                return i + at;
        }
        convert(src, kind, count, to, c);
        if (c->swap)
            fl_swap_bytes(to, (size_t)count, size);
        if (reverse)
            fl_reverse(run, count, size, out + (size_t)(n - i - count) * size);
        else if (!direct)
            memcpy(out + (size_t)i * size, run, (size_t)count * size);
    }
    return -1;
}

/* ---------------------------------------------------------------- squares of pixels */

#define FL_ADD_CASE(T, t, wide)                          \
    case T:                                              \
        for (int64_t k = 0; k < n / side; k++) {         \
            const t *first = (const t *)in + k * side;   \
            wide sum = 0;                                \
            for (int64_t i = 0; i < side; i++)           \
                sum += (wide)first[i];                   \
            ((wide *)sums)[k] += sum;                    \
        }                                                \
        break

/* Add n pixels (IN), a multiple of `side`, to n/side sums (OUT, int64 or double), and their classes to those of the
 * squares: FL_IS_GAP | FL_IS_BAD where a square has both. */
static void fl_add_to_squares(int type, const void *in, const uint8_t *kind, int64_t n, int64_t side, void *sums,
                              uint8_t *kinds)
{
    switch (type) {
        FL_ADD_CASE(FL_U1, uint8_t, int64_t);
        FL_ADD_CASE(FL_U2, uint16_t, int64_t);
        FL_ADD_CASE(FL_U4, uint32_t, int64_t);
        FL_ADD_CASE(FL_I1, int8_t, int64_t);
        FL_ADD_CASE(FL_I2, int16_t, int64_t);
        FL_ADD_CASE(FL_I4, int32_t, int64_t);
        FL_ADD_CASE(FL_F4, float, double);
        FL_ADD_CASE(FL_F8, double, double);
    case FL_U8: /* sums that leave 63 bits stay at their end */
        for (int64_t i = 0; i < n; i++) {
            uint64_t v = ((const uint64_t *)in)[i];
            int64_t *sum = &((int64_t *)sums)[i / side];
            if (v > INT64_MAX || __builtin_add_overflow(*sum, (int64_t)v, sum))
                *sum = INT64_MAX;
        }
        break;
    case FL_I8:
        for (int64_t i = 0; i < n; i++) {
            int64_t v = ((const int64_t *)in)[i], *sum = &((int64_t *)sums)[i / side];
            if (__builtin_add_overflow(*sum, v, sum))
                *sum = v < 0 ? INT64_MIN : INT64_MAX;
        }
        break;
    }
    if (!kind)
        return;
    for (int64_t k = 0; k < n / side; k++)
        for (int64_t i = 0; i < side; i++)
            kinds[k] |= kind[k * side + i];
}

#undef FL_ADD_CASE
#endif
