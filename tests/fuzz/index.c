/* SPDX-License-Identifier: MIT
 *
 * The chunk map as HDF5's iterator tells it: any offsets, addresses and sizes. Each chunk of the grid has what was told
 * of it last, those outside and those told of twice are counted, and nothing else is written.
 */
#include "fuzz.h"

#include "chunk_index.h"

enum { MOST_CHUNKS = 200, MOST_TOLD = 300 };

static uint64_t number_of(fuzz_input *in)
{
    static const uint64_t odd[] = {0, 1, FL_NOWHERE, FL_NOWHERE - 1, INT64_MAX, UINT32_MAX, 1ULL << 63};
    unsigned how = fuzz_byte(in);
    return how < 7 ? odd[how] : fuzz_upto(in, 65535);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    fl_index f = {.ndim = (int)fuzz_upto(&in, 4)};
    int64_t n = 1, outside = 0, doubles = 0;
    for (int k = 0; k < f.ndim; k++) {
        f.chunk[k] = 1 + fuzz_upto(&in, 1000);
        f.grid[k] = fuzz_upto(&in, 7);
        if (n * (int64_t)f.grid[k] > MOST_CHUNKS)
            f.grid[k] = 1;
        n *= (int64_t)f.grid[k];
    }
    size_t bytes = (size_t)n * sizeof(uint64_t), mask_bytes = (size_t)n * sizeof(uint32_t);
    uint64_t *addresses = malloc(bytes + 1), *sizes = calloc(bytes + 1, 1);
    f.addresses = malloc(bytes ? bytes : 1), f.sizes = calloc(bytes ? bytes : 1, 1);
    f.masks = calloc(mask_bytes ? mask_bytes : 1, 1);
    uint32_t *masks = calloc(mask_bytes + 1, 1);
    REQUIRE(addresses && sizes && masks && f.addresses && f.sizes && f.masks);
    memset(addresses, 255, bytes);
    memset(f.addresses, 255, bytes);
    for (int told = 0; in.size && told < MOST_TOLD; told++) {
        uint64_t offset[FL_MAX_DIMS], address, stored;
        int64_t number = 0;
        unsigned mask = fuzz_byte(&in) & 3;
        for (int k = f.ndim - 1, inner = 1; k >= 0; k--) {
            offset[k] = number_of(&in);
            if (fuzz_upto(&in, 3)) /* inside of the grid more often than not */
                offset[k] %= f.chunk[k] * (f.grid[k] + 1);
            uint64_t place = offset[k] / f.chunk[k];
            number = number < 0 || place >= f.grid[k] ? -1 : number + (int64_t)place * inner;
            inner *= (int)f.grid[k];
        }
        address = number_of(&in), stored = number_of(&in);
        REQUIRE(fl_index_put(offset, mask, address, stored, &f) == 0);
        if (number < 0) {
            outside++;
            continue;
        }
        doubles += addresses[number] != FL_NOWHERE;
        addresses[number] = address, sizes[number] = stored, masks[number] = mask;
    }
    REQUIRE(f.outside == outside && f.doubles == doubles);
    REQUIRE(!memcmp(f.addresses, addresses, bytes) && !memcmp(f.sizes, sizes, bytes) && !memcmp(f.masks, masks, mask_bytes));
    int in_order = 1;
    for (int64_t i = 0, before = -1; i < n; i++) {
        if (addresses[i] == FL_NOWHERE)
            continue;
        in_order &= before < 0 || addresses[before] + sizes[before] <= addresses[i];
        in_order &= addresses[i] + sizes[i] >= addresses[i]; /* the end is a number */
        before = i;
    }
    REQUIRE(fl_index_is_in_order(f.addresses, f.sizes, n) == in_order);
    free(addresses);
    free(sizes);
    free(masks);
    free(f.addresses);
    free(f.sizes);
    free(f.masks);
    return 0;
}
