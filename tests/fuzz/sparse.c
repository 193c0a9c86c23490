/* SPDX-License-Identifier: MIT
 *
 * Pixels above a cut: any pixels, any mask, any cut, frames of less than one piece and of several. All SIMD levels find
 * what a plain loop finds, and write nowhere else; a frame that cannot be read is an error.
 */
#include "fuzz.h"

#include "sparse.h"

enum { MOST_BYTES = 2 * FL_PIECE + 4000 };

static uint64_t pixel(const uint8_t *pixels, size_t i, size_t elem)
{
    uint16_t two = 0;
    uint32_t four = 0;
    memcpy(&two, pixels + i * elem, elem > 1 ? 2 : 0);
    memcpy(&four, pixels + i * elem, elem > 2 ? 4 : 0);
    return elem == 1 ? pixels[i] : elem == 2 ? two : four;
}

static size_t by_hand(const uint8_t *pixels, size_t n, size_t elem, const uint8_t *mask, uint64_t cut, uint32_t *indices)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (pixel(pixels, i, elem) > cut && !(mask && mask[i]))
            indices[found++] = (uint32_t)i;
    return found;
}

static void compare(const fl_stack *s, int64_t frame, uint64_t cut, const uint8_t *mask, int ends_early)
{
    size_t n = (size_t)(s->ny * s->nx), elem = s->itemsize;
    const uint8_t *pixels = s->parts->dataset->memory + (size_t)frame * n * elem;
    uint32_t *expected = malloc(n * sizeof *expected);
    REQUIRE(expected);
    size_t count = by_hand(pixels, n, elem, mask, cut, expected);
    for (int simd = 0; simd <= fl_simd_best(); simd++) {
        fl_found found = {malloc((n + 1) * sizeof *expected), malloc((n + 1) * elem), 7};
        fl_error e;
        REQUIRE(found.indices && found.values);
        fl_error_clear(&e);
        int rc = fl_stack_sparse(s, frame, cut, mask, &found, simd, &e);
        REQUIRE((rc == FL_OK) == !ends_early);
        if (rc == FL_OK) {
            REQUIRE(found.n == count && memcmp(found.indices, expected, count * sizeof *expected) == 0);
            for (size_t i = 0; i < count; i++)
                REQUIRE(pixel(found.values, i, elem) == pixel(pixels, expected[i], elem));
        }
        free(found.indices);
        free(found.values);
    }
    free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t elem = (size_t)1 << fuzz_upto(&in, 2);
    int large = fuzz_upto(&in, 15) == 15; /* several pieces: seldom, as it takes long */
    int64_t frames = 1 + fuzz_upto(&in, 1), ny = 1 + fuzz_upto(&in, large ? 300 : 12);
    int64_t nx = 1 + fuzz_upto(&in, large ? 400 : 70);
    uint64_t cut = (uint64_t)fuzz_byte(&in) >> fuzz_upto(&in, 7) << fuzz_upto(&in, 31) & UINT64_MAX >> (64 - 8 * elem);
    unsigned how = fuzz_byte(&in), shift = fuzz_upto(&in, 8 * (unsigned)elem - 1);
    if (ny * nx * (int64_t)elem > MOST_BYTES)
        ny = MOST_BYTES / (int64_t)elem / nx;
    size_t n = (size_t)(ny * nx), all = (size_t)frames * n;
    uint8_t *mask = how & 1 ? fuzz_bytes(&in, n) : NULL, *pixels = fuzz_bytes(&in, all * elem);
    for (size_t i = 0; mask && how & 2 && i < n; i++) /* most are not masked */
        mask[i] = mask[i] > 250;
    for (size_t i = 0; i < all; i++) {
        uint64_t value = pixel(pixels, i, elem) >> shift;
        memcpy(pixels + i * elem, &value, elem); /* the low bytes */
    }
    int ends_early = (how & 12) == 12;
    fl_dataset d = {.id = 1, .name = "f::d", .kind = FL_MEMORY, .ndim = 3, .ready = 1, .itemsize = elem, .n_chunks = 1};
    fl_part part = {.dataset = &d};
    int64_t shape[3] = {frames, ny, nx}, bounds[2] = {0, frames}, first[2] = {0, 1}, members[1] = {0};
    fl_stack s = {.n_axes = 3, .frames = frames, .ny = ny, .nx = nx, .itemsize = elem, .parts = &part, .n_bounds = 2};
    for (int k = 0; k < 3; k++) {
        d.shape[k] = d.chunk[k] = s.shape[k] = shape[k];
        d.grid[k] = 1;
        part.axes[k] = (fl_axis){.step = 1, .count = shape[k], .src_step = 1, .src_axis = k};
    }
    s.bounds = bounds, s.first = first, s.members = members;
    d.memory = pixels;
    d.chunk_bytes = all * elem - (size_t)ends_early; /* of the last frame the last pixel is not there */
    compare(&s, frames - 1, cut, mask, ends_early);
    free(mask);
    free(pixels);
    return 0;
}
