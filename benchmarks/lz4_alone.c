/* SPDX-License-Identifier: MIT
 *
 * LZ4 alone: all blocks of a chunk of bitshuffle+LZ4 into the same few KiB, by the LZ4 function that is given. The limit
 * beside which the kernels are measured. Returns the number of blocks, or -1.
 */
#include <stddef.h>
#include <stdint.h>

typedef int (*lz4_fn)(const char *src, char *dst, int src_size, int dst_size);

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int lz4_alone(lz4_fn lz4, const uint8_t *data, size_t size, int block, int first, int blocks)
{
    static char out[65536];
    size_t at = 12;
    int done = 0;
    for (int i = 0; i < first + blocks; i++) {
        uint32_t stored = size - at < 4 ? UINT32_MAX : be32(data + at);
        if (stored > size - at - 4)
            return -1;
        at += 4;
        if (i >= first && lz4((const char *)data + at, out, (int)stored, block) == block)
            done++;
        at += stored;
    }
    return done;
}
