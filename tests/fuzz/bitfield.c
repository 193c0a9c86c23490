/* SPDX-License-Identifier: MIT
 *
 * AGI_BITFIELD: any bytes as an encoded image, with a true head and table or any; any pixels to be encoded. All SIMD
 * levels agree; what was encoded is decoded to the same pixels; blocks of rows are the whole image's.
 */
#include "fuzz.h"

#include "bitfield.h"

static void both_ways(const int32_t *pixels, int64_t ny, int64_t nx)
{
    size_t n = (size_t)(ny * nx), size = fl_agi_size(pixels, ny, nx, FL_SIMD_PORTABLE);
    uint8_t *first = malloc(size), *out = malloc(size);
    int32_t *back = malloc(n * 4);
    REQUIRE(first && out && back);
    for (int simd = 0; simd <= fl_simd_best(); simd++) {
        size_t written = 0, used = 0;
        fl_error e;
        fl_error_clear(&e);
        REQUIRE(fl_agi_size(pixels, ny, nx, simd) == size);
        REQUIRE(fl_agi_encode(pixels, ny, nx, out, size, &written, simd) == FL_OK && written == size);
        REQUIRE(simd == 0 || memcmp(out, first, size) == 0);
        memcpy(first, out, size);
        REQUIRE(fl_agi_decode(out, size, back, ny, nx, &used, &e, simd) == FL_OK && used == size);
        REQUIRE(memcmp(back, pixels, n * 4) == 0);
        uint8_t *less = malloc(size - 1);
        REQUIRE(less);
        REQUIRE(fl_agi_encode(pixels, ny, nx, less, size - 1, &written, simd) == FL_RANGE);
        memcpy(less, out, size - 1);
        REQUIRE(fl_agi_decode(less, size - 1, back, ny, nx, &used, &e, simd) == FL_CORRUPT);
        free(less);
    }
    free(first);
    free(out);
    free(back);
}

/* Bytes of rows (IN) with the head and a table of rows that are alike: so the rows themselves are decoded. */
static uint8_t *dressed(const uint8_t *rows, size_t size, int64_t ny, size_t *whole)
{
    *whole = 4 + size + 4 * (size_t)ny;
    uint8_t *out = malloc(*whole);
    REQUIRE(out);
    fl_put_le32(out, (uint32_t)size);
    memcpy(out + 4, rows, size);
    for (int64_t y = 0; y < ny; y++)
        fl_put_le32(out + 4 + size + 4 * y, (uint32_t)((size_t)y * size / (size_t)ny));
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    int64_t ny = 1 + (int64_t)fuzz_upto(&in, 7), nx = 1 + (int64_t)fuzz_upto(&in, 90);
    size_t n = (size_t)(ny * nx), stored, used = 0, first_used = 0;
    unsigned how = fuzz_byte(&in) % 3;
    if (how == 0) {
        size_t shift = fuzz_byte(&in) % 25;
        int32_t *pixels = (int32_t *)fuzz_bytes(&in, n * 4);
        for (size_t i = 0; i < n; i++)
            pixels[i] = (int32_t)((int64_t)pixels[i] >> shift);
        both_ways(pixels, ny, nx);
        free(pixels);
        return 0;
    }
    uint8_t *code = fuzz_rest(&in, &stored);
    if (how == 1) {
        uint8_t *with = dressed(code, stored, ny, &stored);
        free(code);
        code = with;
    }
    int32_t *first = malloc(n * 4), *out = malloc(n * 4);
    REQUIRE(first && out);
    fl_error e;
    fl_error_clear(&e);
    int rc = fl_agi_decode(code, stored, first, ny, nx, &first_used, &e, FL_SIMD_PORTABLE);
    REQUIRE(rc == FL_OK || rc == FL_CORRUPT);
    for (int simd = 1; simd <= fl_simd_best(); simd++) {
        REQUIRE(fl_agi_decode(code, stored, out, ny, nx, &used, &e, simd) == rc);
        REQUIRE(rc != FL_OK || (used == first_used && memcmp(out, first, n * 4) == 0));
    }
    if (rc == FL_OK)
        both_ways(first, ny, nx);
    free(code);
    free(first);
    free(out);
    return 0;
}
