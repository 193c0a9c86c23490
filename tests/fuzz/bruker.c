/* SPDX-License-Identifier: MIT
 *
 * Bruker's body of bytes and tables: any pixels to be encoded. All SIMD levels agree on the size and on the bytes; a
 * decoder written from the description of the format finds the same pixels; no other size is taken.
 */
#include "fuzz.h"

#include "bruker.h"

static size_t table(size_t bytes)
{
    return bytes + (16 - bytes % 16) % 16;
}

/* The pixels of a body that has exactly `size` bytes. 1 if nothing of it is left over, and tables end with zeros. */
static int decoded(const uint8_t *in, size_t size, const size_t entries[2], size_t n, int64_t *out)
{
    size_t words = n, words_end = n + 2 * entries[0], longs = n + table(2 * entries[0]), longs_end = longs + 4 * entries[1];
    if (size != longs + table(4 * entries[1]))
        return 0;
    for (size_t i = words_end; i < longs; i++)
        if (in[i])
            return 0;
    for (size_t i = longs_end; i < size; i++)
        if (in[i])
            return 0;
    for (size_t i = 0; i < n; i++) {
        out[i] = in[i];
        if (out[i] == 255) {
            if (words == words_end)
                return 0;
            out[i] = in[words] | (int64_t)in[words + 1] << 8;
            words += 2;
        }
        if (in[i] == 255 && out[i] == 65535) {
            if (longs == longs_end)
                return 0;
            out[i] = in[longs] | in[longs + 1] << 8 | in[longs + 2] << 16 | (int64_t)in[longs + 3] << 24;
            longs += 4;
        }
    }
    return words == words_end && longs == longs_end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t n = 1 + fuzz_upto(&in, 3000), other = fuzz_upto(&in, 20000), entries[2] = {0, 0};
    unsigned shift = fuzz_byte(&in) % 32, is_signed = fuzz_byte(&in) % 4 == 0;
    int32_t *pixels = (int32_t *)fuzz_bytes(&in, n * 4);
    for (size_t i = 0; i < n; i++) { /* small numbers are what there is most of; each table has its first number */
        pixels[i] = is_signed ? pixels[i] >> shift : (int32_t)((uint32_t)pixels[i] >> shift);
        entries[0] += pixels[i] >= 255;
        entries[1] += pixels[i] >= 65535;
    }
    size_t whole = n + table(2 * entries[0]) + table(4 * entries[1]);
    uint8_t *first = malloc(whole), *out = malloc(whole), *less = malloc(other ? other : 1);
    int64_t *back = malloc(n * sizeof *back);
    REQUIRE(first && out && less && back);
    for (int simd = 0; simd <= fl_simd_best(); simd++) {
        int64_t n32;
        int64_t n16 = fl_bruker_count(pixels, (int64_t)n, &n32, simd);
        REQUIRE((size_t)n16 == entries[0] && (size_t)n32 == entries[1]);
        REQUIRE((size_t)fl_bruker_size((int64_t)n, n16, n32) == whole);
        REQUIRE(fl_bruker_encode(pixels, (int64_t)n, out, (int64_t)whole, simd) == FL_OK);
        REQUIRE(simd == 0 || memcmp(out, first, whole) == 0);
        memcpy(first, out, whole);
        REQUIRE(other == whole || fl_bruker_encode(pixels, (int64_t)n, less, (int64_t)other, simd) == FL_RANGE);
    }
    REQUIRE(decoded(first, whole, entries, n, back));
    for (size_t i = 0; i < n; i++)
        REQUIRE(back[i] == (pixels[i] < 0 ? 0 : pixels[i]));
    free(pixels);
    free(first);
    free(out);
    free(less);
    free(back);
    return 0;
}
