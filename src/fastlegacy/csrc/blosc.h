/* SPDX-License-Identifier: MIT
 *
 * Chunks of blosc (HDF5 filter 32001, c-blosc 1), backwards: block by block, straight to where the bytes are wanted.
 *
 * Format: README_CHUNK_FORMAT.rst of c-blosc; numbers are little endian. The head, 16 bytes: version (2), version of
 * the codec (1), flags, bytes of an element; then as u32 the size when decoded, that of a block, and the stored size
 * with the head. Flags: 1 bytes are shuffled, 2 stored as they are, behind the head, 4 bits are shuffled, 16 blocks are not
 * split; the codec in the upper three bits. Behind the head there is for each block where it begins, counted from the
 * beginning of the chunk. A block is one stream, or one for each byte of an element: where elements have 16 bytes at
 * most, the block 128 elements at least, and it is not a last, shorter one. Before each stream is its size (i32);
 * one that is stored in its own size is stored as it is. Only snappy's may be larger than what they become.
 *
 * What the description leaves open, as c-blosc does it: bits are shuffled only in blocks whose number of elements is a
 * multiple of 8; a rest that is no whole element is at the end of its block as it was; with both flags, bytes are
 * shuffled. Blocks may lie in any order (c-blosc has threads), but not over each other: what is before the next one's
 * beginning is a block's own.
 *
 * IN and OUT mark arguments that are read and written. No function writes outside [out, out + size).
 */
#ifndef FL_BLOSC_H
#define FL_BLOSC_H

#include "bitshuffle.h"
#include "blosclz.h"
#include "codecs.h"

#define FL_BLOSC_HEAD 16
#define FL_BLOSC_SPLITS 16  /* elements of more bytes are not split */
#define FL_BLOSC_LEAST 128  /* nor blocks of fewer elements */

enum { FL_BLOSC_LZ = 0, FL_BLOSC_LZ4 = 1, FL_BLOSC_SNAPPY = 2, FL_BLOSC_ZLIB = 3, FL_BLOSC_ZSTD = 4 };
enum { FL_BLOSC_SHUFFLED = 1, FL_BLOSC_AS_IS = 2, FL_BLOSC_BITS = 4, FL_BLOSC_UNKNOWN = 8, FL_BLOSC_WHOLE = 16 };

/* What the head of a chunk says, and who decodes it. For one thread. */
typedef struct {
    size_t size;         /* stored bytes */
    size_t total;        /* bytes when decoded */
    size_t block_bytes;
    size_t blocks;       /* number of blocks, the last, shorter one included; 0: stored as it is */
    size_t elem;
    int flags, codec, simd;
    const fl_codecs *codecs;
    fl_at_hand hand;
} fl_blosc;

/* Where a block is stored. */
typedef struct {
    size_t at, size;
} fl_extent;

static inline size_t fl_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Of `size` stored bytes only the first 16 are looked at. */
static int fl_blosc_open(fl_blosc *b, const fl_codecs *codecs, int simd, const uint8_t *head, size_t size, fl_error *e)
{
    *b = (fl_blosc){.codecs = codecs, .simd = simd};
    if (size < FL_BLOSC_HEAD)
        return fl_fail(e, FL_CORRUPT, "blosc: shorter than its head");
    b->elem = head[3];
    b->flags = head[2];
    b->codec = head[2] >> 5;
    b->total = fl_le32(head + 4);
    b->block_bytes = fl_le32(head + 8);
    b->size = fl_le32(head + 12);
    if (head[0] != 2 || head[1] != 1 || b->flags & FL_BLOSC_UNKNOWN || b->codec > FL_BLOSC_ZSTD)
        return fl_fail(e, FL_CORRUPT, "blosc: unknown version or codec");
    if (b->size > size || b->size < FL_BLOSC_HEAD)
        return fl_fail(e, FL_CORRUPT, "blosc: states another size than it has");
    if (b->elem == 0 || b->block_bytes == 0 || b->block_bytes > INT32_MAX || b->total > INT32_MAX)
        return fl_fail(e, FL_CORRUPT, "blosc: impossible block or element size");
    if (b->flags & FL_BLOSC_AS_IS && b->total != b->size - FL_BLOSC_HEAD)
        return fl_fail(e, FL_CORRUPT, "blosc: states another size than it has");
    if (b->flags & FL_BLOSC_AS_IS || b->total == 0)
        return FL_OK;
    if (b->block_bytes > b->total) /* scratch is made for a block: no more than the pixels take */
        return fl_fail(e, FL_CORRUPT, "blosc: a block larger than the chunk");
    b->blocks = (b->total - 1) / b->block_bytes + 1;
    if (b->blocks > (b->size - FL_BLOSC_HEAD) / 4)
        return fl_fail(e, FL_CORRUPT, "blosc: more blocks than stored bytes");
    return FL_OK;
}

static void fl_blosc_close(fl_blosc *b)
{
    fl_at_hand_drop(b->codecs, &b->hand);
}

/* Bytes before the first block. */
static inline size_t fl_blosc_lead(const fl_blosc *b)
{
    return FL_BLOSC_HEAD + 4 * b->blocks;
}

static inline size_t fl_blosc_bytes(const fl_blosc *b, size_t block)
{
    return block + 1 < b->blocks ? b->block_bytes : b->total - block * b->block_bytes;
}

/* How many streams a block is split into. */
static inline size_t fl_blosc_streams(const fl_blosc *b, size_t block)
{
    if (b->flags & FL_BLOSC_WHOLE || b->elem > FL_BLOSC_SPLITS || b->block_bytes / b->elem < FL_BLOSC_LEAST)
        return 1;
    return fl_blosc_bytes(b, block) == b->block_bytes ? b->elem : 1;
}

/* Stored bytes that a stream of `room` bytes has at most: c-blosc gives snappy the room that it asks for at worst, and
 * stores what it made of it. */
static inline size_t fl_blosc_most(const fl_blosc *b, size_t room)
{
    return b->codec == FL_BLOSC_SNAPPY ? 32 + room + room / 6 : room;
}

/* Where a block is stored; of the chunk's `lead` only what is before the first block is looked at. */
static int fl_blosc_find(const fl_blosc *b, const uint8_t *lead, size_t block, fl_extent *where, fl_error *e)
{
    const uint8_t *start = lead + FL_BLOSC_HEAD + 4 * block;
    size_t at = fl_le32(start), end = block + 1 < b->blocks ? fl_le32(start + 4) : b->size;
    size_t streams = fl_blosc_streams(b, block);
    size_t most = streams * (4 + fl_blosc_most(b, fl_blosc_bytes(b, block) / streams + 1));
    if (at < fl_blosc_lead(b) || at > b->size || end > b->size)
        return fl_fail(e, FL_CORRUPT, "blosc: a block outside of the chunk");
    if (end <= at)
        end = b->size;
    *where = (fl_extent){at, end - at < most ? end - at : most};
    return FL_OK;
}

/* 1 if a stream fills `room` bytes (OUT, and `slack` more that may be written). */
static int fl_blosc_stream(fl_blosc *b, const uint8_t *in, size_t size, uint8_t *out, size_t room, size_t slack)
{
    size_t n = 0;
    if (size == room) {
        memcpy(out, in, size);
        return 1;
    }
    switch (b->codec) {
    case FL_BLOSC_LZ: return fl_blosclz(in, size, out, room);
    case FL_BLOSC_LZ4: return fl_lz4(in, size, out, room, slack, b->simd);
    case FL_BLOSC_SNAPPY: return fl_snappy(in, size, out, room);
    case FL_BLOSC_ZLIB: return fl_inflate(b->codecs, &b->hand, out, room, &n, in, size) == FL_DECODED && n == room;
    default: return fl_unzstd(b->codecs, &b->hand, out, room, &n, in, size) == FL_DECODED && n == room;
    }
}

/* Scratch for a block. */
static inline size_t fl_blosc_scratch(const fl_blosc *b)
{
    return 2 * FL_ROOM(b->block_bytes);
}

/* The elements of a block from their shuffled bytes or bits (IN; OUT: `bytes` bytes). `planes` is scratch. */
static void fl_blosc_unshuffle(const fl_blosc *b, const uint8_t *in, size_t bytes, uint8_t *out, uint8_t *planes)
{
    size_t n = bytes / b->elem;
    if (b->flags & FL_BLOSC_SHUFFLED && b->elem > 1)
        fl_unshuffle(in, n, b->elem, out, b->simd);
    else if (n && n % 8 == 0)
        fl_unbitshuffle(in, n, b->elem, out, planes, b->simd, 8 * b->elem - 1);
    else
        n = 0;
    memcpy(out + n * b->elem, in + n * b->elem, bytes - n * b->elem);
}

/* One block (IN: its stored bytes; OUT: its bytes, and `slack` more that may be written). `scratch`: fl_blosc_scratch
 * bytes. */
static int fl_blosc_block(fl_blosc *b, size_t block, const uint8_t *in, size_t stored, uint8_t *out, size_t slack,
                          uint8_t *scratch, fl_error *e)
{
    size_t bytes = fl_blosc_bytes(b, block), streams = fl_blosc_streams(b, block), each = bytes / streams;
    int shuffled = b->flags & FL_BLOSC_BITS || (b->flags & FL_BLOSC_SHUFFLED && b->elem > 1);
    uint8_t *to = shuffled ? scratch : out;
    if (shuffled)
        slack = FL_LZ4_SLACK;
    if (each * streams != bytes)
        return fl_fail(e, FL_CORRUPT, "blosc: a block that cannot be split");
    for (size_t i = 0; i < streams; i++) {
        size_t size = stored < 4 ? SIZE_MAX : fl_le32(in), behind = bytes - (i + 1) * each + slack;
        if (stored < 4 || size > stored - 4 || size > fl_blosc_most(b, each))
            return fl_fail(e, FL_CORRUPT, "blosc: a block reaches beyond its end");
        if (!fl_blosc_stream(b, in + 4, size, to + i * each, each, behind))
            return fl_fail(e, FL_CORRUPT, "blosc: a block cannot be decoded");
        in += 4 + size;
        stored -= 4 + size;
    }
    if (shuffled)
        fl_blosc_unshuffle(b, scratch, bytes, out, scratch + FL_ROOM(b->block_bytes));
    return FL_OK;
}

/* A whole chunk (IN: all its stored bytes; OUT: total bytes). */
static int fl_blosc_read(fl_blosc *b, const uint8_t *data, uint8_t *out, fl_error *e)
{
    fl_extent where;
    int rc = FL_OK;
    if (b->flags & FL_BLOSC_AS_IS)
        memcpy(out, data + FL_BLOSC_HEAD, b->total);
    if (b->blocks == 0)
        return FL_OK;
    uint8_t *scratch = malloc(fl_blosc_scratch(b));
    if (!scratch)
        return fl_fail(e, FL_NOMEM, "");
    for (size_t i = 0; i < b->blocks && rc == FL_OK; i++) {
        size_t start = i * b->block_bytes, behind = b->total - start - fl_blosc_bytes(b, i);
        rc = fl_blosc_find(b, data, i, &where, e);
        if (rc == FL_OK)
            rc = fl_blosc_block(b, i, data + where.at, where.size, out + start, behind, scratch, e);
    }
    free(scratch);
    return rc;
}

#endif
