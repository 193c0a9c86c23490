/* SPDX-License-Identifier: MIT
 *
 * Codecs of other libraries: the functions that are called, and what they want to have at hand while they decode.
 *
 * zstd and libdeflate work in memory of their own. To make it costs more than to decode a block of 8 KiB, so it is made
 * once for all blocks of a chunk, when the first one needs it.
 */
#ifndef FL_CODECS_H
#define FL_CODECS_H

#include <stddef.h>
#include <stdint.h>

enum { FL_DECODED = 0, FL_NO_ROOM = 1, FL_DAMAGED = -1 };

/* zlib's uncompress, and libbz2's BZ2_bzBuffToBuffDecompress */
typedef int (*fl_uncompress_fn)(uint8_t *dst, unsigned long *dst_size, const uint8_t *src, unsigned long src_size);
typedef int (*fl_bunzip2_fn)(char *dst, unsigned *dst_size, char *src, unsigned src_size, int small, int verbosity);
/* libdeflate's libdeflate_alloc_decompressor, libdeflate_zlib_decompress, libdeflate_free_decompressor */
typedef struct {
    void *(*make)(void);
    int (*decode)(void *with, const void *src, size_t src_size, void *dst, size_t dst_size, size_t *n);
    void (*drop)(void *with);
} fl_libdeflate;
/* ZSTD_createDCtx, ZSTD_decompressDCtx, ZSTD_freeDCtx */
typedef struct {
    void *(*make)(void);
    size_t (*decode)(void *with, void *dst, size_t dst_size, const void *src, size_t src_size);
    size_t (*drop)(void *with);
} fl_zstd;

typedef struct {
    fl_zstd zstd;
    fl_libdeflate libdeflate; /* in place of uncompress, where its functions are there */
    fl_uncompress_fn uncompress;
    fl_bunzip2_fn bunzip2;
} fl_codecs;

/* The memory of zstd and of libdeflate, for one thread; all NULL at first. */
typedef struct {
    void *zstd, *deflate;
} fl_at_hand;

static void fl_at_hand_drop(const fl_codecs *c, fl_at_hand *hand)
{
    if (hand->zstd)
        c->zstd.drop(hand->zstd);
    if (hand->deflate)
        c->libdeflate.drop(hand->deflate);
    hand->zstd = hand->deflate = NULL;
}

/* A zstd frame into `room` bytes (OUT, and how many there were). */
static int fl_unzstd(const fl_codecs *c, fl_at_hand *hand, uint8_t *out, size_t room, size_t *n, const void *in,
                     size_t size)
{
    if (!hand->zstd && !(hand->zstd = c->zstd.make()))
        return FL_DAMAGED;
    *n = c->zstd.decode(hand->zstd, out, room, in, size);
    return *n <= room ? FL_DECODED : FL_NO_ROOM; /* any error: which one, zstd does not say in its number alone */
}

/* A zlib stream into `room` bytes (OUT, and how many there were). */
static int fl_inflate(const fl_codecs *c, fl_at_hand *hand, uint8_t *out, size_t room, size_t *n, const void *in,
                      size_t size)
{
    if (!c->libdeflate.make) {
        unsigned long got = (unsigned long)room;
        int rc = c->uncompress(out, &got, in, (unsigned long)size);
        *n = got;
        return rc == 0 ? FL_DECODED : rc == -5 ? FL_NO_ROOM : FL_DAMAGED; /* Z_BUF_ERROR: or the input ends early */
    }
    if (!hand->deflate && !(hand->deflate = c->libdeflate.make()))
        return FL_DAMAGED;
    int rc = c->libdeflate.decode(hand->deflate, in, size, out, room, n);
    return rc == 0 ? FL_DECODED : rc == 3 ? FL_NO_ROOM : FL_DAMAGED; /* 3: LIBDEFLATE_INSUFFICIENT_SPACE */
}

static int fl_bunzip2(const fl_codecs *c, uint8_t *out, size_t room, size_t *n, const void *in, size_t size)
{
    unsigned got = (unsigned)room;
    if (room > UINT32_MAX || size > UINT32_MAX)
        return FL_DAMAGED;
    int rc = c->bunzip2((char *)out, &got, (char *)(uintptr_t)in, (unsigned)size, 0, 0);
    *n = got;
    return rc == 0 ? FL_DECODED : rc == -8 ? FL_NO_ROOM : FL_DAMAGED; /* BZ_OUTBUFF_FULL */
}

#endif
