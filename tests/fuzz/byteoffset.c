/* SPDX-License-Identifier: MIT
 *
 * CBF's byte offset: any bytes as an encoded image, any pixels to be encoded. All SIMD levels agree on the pixels, on
 * the bytes and on what is damaged; what was encoded is decoded to the same pixels.
 */
#include "fuzz.h"

#include "byteoffset.h"
#include "sizes.h"

static void both_ways(const int32_t *pixels, int64_t n)
{
    size_t size = (size_t)fl_byteoffset_size(pixels, n, FL_SIMD_PORTABLE);
    uint8_t *first = malloc(size), *out = malloc(size);
    int32_t *back = malloc((size_t)n * sizeof *back);
    REQUIRE(first && out && back);
    for (int simd = 0; simd <= fl_simd_best(); simd++) {
        size_t written = 0, used = 0;
        fl_error e;
        fl_error_clear(&e);
        REQUIRE((size_t)fl_byteoffset_size(pixels, n, simd) == size);
        REQUIRE(fl_byteoffset_encode(pixels, n, 1, out, size, &written, simd) == FL_OK && written == size);
        REQUIRE(simd == 0 || memcmp(out, first, size) == 0);
        memcpy(first, out, size);
        size_t begin = 0, end = 0; /* the same in two parts */
        REQUIRE(fl_byteoffset_encode(pixels, n / 2, 1, out, size, &begin, simd) == FL_OK);
        REQUIRE(fl_byteoffset_encode(pixels + n / 2, n - n / 2, n / 2 == 0, out + begin, size - begin, &end, simd) == FL_OK);
        REQUIRE(begin + end == size && memcmp(out, first, size) == 0);
        REQUIRE(fl_byteoffset_decode(out, size, back, n, &used, &e, simd) == FL_OK && used == size);
        REQUIRE(memcmp(back, pixels, (size_t)n * sizeof *back) == 0);
        uint8_t *less = malloc(size - 1 ? size - 1 : 1); /* too little room, and an end that is missing */
        REQUIRE(less);
        REQUIRE(fl_byteoffset_encode(pixels, n, 1, less, size - 1, &written, simd) == FL_RANGE);
        memcpy(less, out, size - 1);
        REQUIRE(fl_byteoffset_decode(less, size - 1, back, n, &used, &e, simd) == FL_CORRUPT);
        free(less);
    }
    free(first);
    free(out);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    int64_t n = 1 + (int64_t)fuzz_upto(&in, 2000);
    if (fuzz_upto(&in, 1)) {
        size_t shift = fuzz_byte(&in) % 25;
        int32_t *pixels = (int32_t *)fuzz_bytes(&in, (size_t)n * 4);
        for (int64_t i = 0; i < n; i++) /* small numbers are what there is most of */
            pixels[i] = (int32_t)((int64_t)pixels[i] >> shift);
        both_ways(pixels, n);
        free(pixels);
        return 0;
    }
    size_t stored, used = 0, first_used = 0;
    uint8_t *code = fuzz_rest(&in, &stored);
    int32_t *first = malloc((size_t)n * 4), *out = malloc((size_t)n * 4);
    REQUIRE(first && out);
    fl_error e;
    fl_error_clear(&e);
    int rc = fl_byteoffset_decode(code, stored, first, n, &first_used, &e, FL_SIMD_PORTABLE);
    REQUIRE(rc == FL_OK || rc == FL_CORRUPT);
    for (int simd = 1; simd <= fl_simd_best(); simd++) {
        REQUIRE(fl_byteoffset_decode(code, stored, out, n, &used, &e, simd) == rc);
        REQUIRE(rc != FL_OK || (used == first_used && memcmp(out, first, (size_t)n * 4) == 0));
    }
    REQUIRE(rc != FL_OK || first_used <= stored);
    if (rc == FL_OK)
        both_ways(first, n);
    free(code);
    free(first);
    free(out);
    return 0;
}
