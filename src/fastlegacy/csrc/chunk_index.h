/* SPDX-License-Identifier: MIT
 *
 * The chunk map of a dataset as HDF5's iterator tells it, one chunk after the other: into arrays, and nothing is kept
 * beside them. `fl_index_put` has the signature of H5D_chunk_iter_op_t of HDF5 1.14 and later.
 */
#ifndef FL_CHUNK_INDEX_H
#define FL_CHUNK_INDEX_H

#include "dataset.h"

typedef struct {
    int ndim;
    uint64_t chunk[FL_MAX_DIMS], grid[FL_MAX_DIMS];
    uint64_t *addresses, *sizes; /* in C order of the grid; a chunk that was not told of has no address */
    uint32_t *masks;
    int64_t outside, doubles; /* chunks that lie outside of the grid, and those whose place was taken */
} fl_index;

/* Note a chunk. Always 0: go on. */
static int fl_index_put(const uint64_t *offset, unsigned mask, uint64_t address, uint64_t size, void *index)
{
    fl_index *f = index;
    uint64_t number = 0;
    for (int k = 0; k < f->ndim; k++) {
        uint64_t place = offset[k] / f->chunk[k];
        if (place >= f->grid[k]) {
            f->outside++;
            return 0;
        }
        number = number * f->grid[k] + place;
    }
    f->doubles += f->addresses[number] != FL_NOWHERE;
    f->addresses[number] = address;
    f->sizes[number] = size;
    if (mask || f->masks[number]) /* rows that stay 0 take no memory */
        f->masks[number] = mask;
    return 0;
}

/* 1 if the chunks follow one another in the file as they do in the grid, and none reaches into the next. */
static int fl_index_is_in_order(const uint64_t *addresses, const uint64_t *sizes, int64_t n)
{
    uint64_t end = 0;
    for (int64_t i = 0; i < n; i++) {
        if (addresses[i] == FL_NOWHERE)
            continue;
        if (addresses[i] < end || sizes[i] > UINT64_MAX - addresses[i])
            return 0;
        end = addresses[i] + sizes[i];
    }
    return 1;
}

#endif
