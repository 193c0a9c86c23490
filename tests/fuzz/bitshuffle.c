/* SPDX-License-Identifier: MIT
 *
 * Chunks of bitshuffle, plain, with LZ4 and with zstd: any bytes as a chunk, at each SIMD level. All ways to read a chunk
 * agree: whole, in parts, as it comes in, as a filter, from a file; and what libraries and portable loops make of it is
 * the same.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "fuzz.h"

#include "dataset.h"

enum { SMALL_BLOCKS = 32, LARGE_BLOCK = 512 }; /* of large blocks the kernels of the highest level take 512 elements at a time */

static fl_files files;
static char path[40];
static int fd;
static fl_zstd zstd;
static size_t (*zstd_once)(void *, size_t, const void *, size_t);
static int (*lz4_safe)(const char *, char *, int, int);

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fd = memfd_create("fuzz", 0);
    REQUIRE(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    zstd = fuzz_zstd();
    zstd_once = (size_t (*)(void *, size_t, const void *, size_t))(uintptr_t)fuzz_symbol("libzstd.so.1", "ZSTD_decompress");
    lz4_safe = (int (*)(const char *, char *, int, int))(uintptr_t)fuzz_symbol("liblz4.so.1", "LZ4_decompress_safe");
    return 0;
}

static int more(void *from, size_t upto, fl_error *e)
{
    return upto <= *(size_t *)from ? FL_OK : fl_fail(e, FL_SHORT, "");
}

/* 1 if a block has a match that is 0 bytes away: the format forbids it, the library lets it pass. */
static int has_no_distance(const uint8_t *p, size_t size)
{
    const uint8_t *end = p + size;
    while (p < end) {
        unsigned token = *p++;
        size_t literals = token >> 4;
        while (literals >= 15 && p < end && (literals += *p) && *p++ == 255)
            ;
        if (literals + 2 > (size_t)(end - p))
            return 0;
        p += literals + 2;
        if (p[-2] == 0 && p[-1] == 0)
            return 1;
        while ((token & 15) == 15 && p < end && *p++ == 255)
            ;
    }
    return 0;
}

/* The chunk by the library's LZ4 and without a vector instruction. 1 if it is whole. */
static int by_hand(const fl_bshuf *f, const uint8_t *data, size_t size, size_t total, uint8_t *out)
{
    fl_blocks b;
    fl_error e;
    int ok = fl_blocks_open(&b, f, data, size, total, &e) == FL_OK;
    for (size_t i = 0; ok && i < b.blocks; i++) {
        size_t bytes = i + 1 == b.blocks ? b.last_bytes : b.block_bytes, m = bytes / f->elem;
        const uint8_t *src = data + (b.starts ? b.starts[i] : i * b.block_bytes);
        uint8_t *bits = malloc(bytes);
        REQUIRE(bits);
        if (f->compression == FL_BSHUF_PLAIN)
            memcpy(bits, src, bytes);
        else if (f->compression == FL_BSHUF_LZ4)
            ok = lz4_safe((const char *)src, (char *)bits, (int)(b.starts[i + 1] - 4 - b.starts[i]), (int)bytes) ==
                     (int)bytes &&
                 !has_no_distance(src, b.starts[i + 1] - 4 - b.starts[i]);
        else
            ok = zstd_once(bits, bytes, src, b.starts[i + 1] - 4 - b.starts[i]) == bytes;
        uint8_t *block = out + i * b.block_bytes;
        memset(block, 0, bytes);
        for (size_t k = 0; ok && k < 8 * m * f->elem; k++) { /* bit k % m of row k / m */
            size_t row = k / m, element = k % m;
            block[element * f->elem + row / 8] |= (uint8_t)((bits[k / 8] >> (k % 8) & 1) << (row % 8));
        }
        free(bits);
    }
    if (ok)
        memcpy(out + total - b.tail_bytes, data + b.tail_at, b.tail_bytes);
    fl_blocks_close(&b);
    return ok;
}

/* The chunk in a file: its beginning, a part of it and the whole, through an empty cache. */
static void from_file(const fl_bshuf *f, const uint8_t *chunk, size_t size, size_t total, size_t from, size_t to,
                      const uint8_t *whole, int whole_rc)
{
    struct stat st;
    uint64_t address = 0, stored_size = size;
    uint32_t mask = 0;
    fl_cache cache;
    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, chunk, size, 0) == (ssize_t)size && fstat(fd, &st) == 0);
    fl_cache_init(&cache, 1 << 20);
    fl_files_init(&files, 2);
    fl_dataset d = {.id = 8, .name = "f::d", .kind = FL_CHUNKED, .ndim = 1, .ready = 1, .itemsize = 1, .n_chunks = 1};
    d.shape[0] = d.chunk[0] = (int64_t)total;
    d.grid[0] = 1;
    d.chunk_bytes = total;
    d.addresses = &address, d.sizes = &stored_size, d.masks = &mask;
    d.pipeline = (fl_pipeline){.n = 1, .stages = {{.kind = FL_STAGE_BSHUF, .bshuf = *f}}};
    d.files = &files, d.cache = &cache;
    int64_t mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    d.file = fl_files_add(&files, path, 0, (uint64_t)st.st_size, (uint64_t)st.st_ino, mtime_ns);
    REQUIRE(d.file >= 0);
    const size_t ranges[4][2] = {{0, to - from}, {from, to}, {0, total}, {0, to}};
    for (int i = 0; i < 4; i++) {
        size_t n = ranges[i][1] - ranges[i][0];
        uint8_t *part = malloc(n ? n : 1);
        REQUIRE(part);
        fl_error e;
        fl_error_clear(&e);
        int rc = fl_chunk_read(&d, 0, ranges[i][0], ranges[i][1], part, &e);
        REQUIRE(whole_rc != FL_OK || (rc == FL_OK && memcmp(part, whole + ranges[i][0], n) == 0));
        REQUIRE(whole_rc == FL_OK || rc != FL_OK || n < total);
        free(part);
    }
    fl_files_free(&files);
    fl_cache_free(&cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t elems[] = {1, 2, 4, 8, 3, 16, 5};
    static const int compressions[] = {FL_BSHUF_LZ4, FL_BSHUF_PLAIN, FL_BSHUF_ZSTD};
    fuzz_input in = {data, size};
    fl_bshuf f = {.codecs = {.zstd = zstd}};
    f.compression = compressions[fuzz_byte(&in) % 3];
    f.elem = elems[fuzz_byte(&in) % 7];
    f.block = fuzz_upto(&in, 40);
    f.block = f.block <= SMALL_BLOCKS ? 8 * f.block : LARGE_BLOCK * (f.block - SMALL_BLOCKS);
    f.simd = fuzz_simd(&in);
    size_t n = fuzz_upto(&in, 4000), from = fuzz_upto(&in, 65535), to = fuzz_upto(&in, 65535), stored;
    size_t shift = fuzz_byte(&in) % 64;
    if ((f.compression == FL_BSHUF_ZSTD && !(zstd.make && zstd_once)) || (f.compression == FL_BSHUF_LZ4 && !lz4_safe))
        return 0;
    uint8_t *chunk = fuzz_rest(&in, &stored);
    size_t total = f.compression == FL_BSHUF_PLAIN ? stored - stored % f.elem : n * f.elem;
    if (f.compression == FL_BSHUF_PLAIN)
        stored = total;

    uint8_t *room = malloc(total + shift + 1), *whole = room + shift, *again = malloc(total + 1), *hand = malloc(total + 1);
    REQUIRE(room && again && hand);
    fl_error e;
    fl_error_clear(&e);
    fl_blocks b;
    from %= total + 1;
    to = from + to % (total - from + 1);
    int rc = fl_blocks_open(&b, &f, chunk, stored, total, &e);
    if (rc == FL_OK) {
        rc = fl_blocks_read(&b, &f, 0, total, whole, &e);
        uint8_t *part = malloc(to - from ? to - from : 1);
        REQUIRE(part);
        int part_rc = fl_blocks_read(&b, &f, from, to, part, &e);
        REQUIRE(rc != FL_OK || (part_rc == FL_OK && memcmp(part, whole + from, to - from) == 0));
        free(part);
        fl_blocks_close(&b);
    }
    int hand_ok = by_hand(&f, chunk, stored, total, hand);
    REQUIRE(!hand_ok || (rc == FL_OK && memcmp(hand, whole, total) == 0));
    if (f.compression != FL_BSHUF_PLAIN) {
        fl_error_clear(&e);
        int streamed = fl_blocks_stream(&f, chunk, stored, total, again, more, &stored, &e);
        REQUIRE((streamed == FL_OK) == (rc == FL_OK));
        REQUIRE(rc != FL_OK || memcmp(again, whole, total) == 0);
    }
    if (total) /* no dataset has chunks of nothing */
        from_file(&f, chunk, stored, total, from, to, whole, rc);
    fl_pipeline p = {.n = 1, .stages = {{.kind = FL_STAGE_BSHUF, .bshuf = f}}};
    fl_error_clear(&e);
    int piped = fuzz_undo(&p, 0, chunk, stored, again, total, &e);
    REQUIRE((piped == FL_OK) == (rc == FL_OK));
    REQUIRE(rc != FL_OK || memcmp(again, whole, total) == 0);
    free(room);
    free(again);
    free(hand);
    return 0;
}
