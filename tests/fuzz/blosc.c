/* SPDX-License-Identifier: MIT
 *
 * Chunks of blosc: any bytes as a chunk of a file, at each SIMD level. Where the whole can be read, any part of it is its
 * slice, and the portable loops make the same of it; else it is an error.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "fuzz.h"

#include "dataset.h"

enum { MOST_BYTES = 100000, ROUNDS = 4 };

static fl_codecs codecs;
static fl_files files;
static char path[40];
static int fd;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    codecs = (fl_codecs){.zstd = fuzz_zstd(), .uncompress = fuzz_uncompress()};
    fd = memfd_create("fuzz", 0);
    REQUIRE(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return 0;
}

static fl_stage stage_of(int simd)
{
    return (fl_stage){.kind = FL_STAGE_BLOSC, .id = FL_BLOSC, .bshuf = {.codecs = codecs, .simd = simd}};
}

/* The size that the chunk states is that of the pixels more often than not. */
static size_t expected_of(fuzz_input *in, const uint8_t *chunk, size_t stored)
{
    size_t other = fuzz_upto(in, 5000), stated = stored < FL_BLOSC_HEAD ? 0 : fl_le32(chunk + 4);
    return fuzz_upto(in, 7) && stated && stated <= MOST_BYTES ? stated : other + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    int simd = fuzz_simd(&in);
    unsigned parts[2 * ROUNDS];
    for (int i = 0; i < 2 * ROUNDS; i++)
        parts[i] = fuzz_upto(&in, 65535);
    fuzz_input rest = in; /* the chunk is what is behind these numbers and the size */
    rest.data += in.size < 3 ? in.size : 3;
    rest.size -= in.size < 3 ? in.size : 3;
    size_t stored, expected = expected_of(&in, rest.data, rest.size);
    uint8_t *chunk = fuzz_rest(&rest, &stored);
    if (!codecs.uncompress || !codecs.zstd.make) {
        free(chunk);
        return 0;
    }
    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, chunk, stored, 0) == (ssize_t)stored);
    struct stat st;
    REQUIRE(fstat(fd, &st) == 0);
    uint64_t address = 0, stored_size = stored;
    uint32_t mask = 0;
    fl_cache cache;
    fl_cache_init(&cache, parts[0] & 1 ? 1 << 20 : 0);
    fl_files_init(&files, 2);
    fl_dataset d = {.id = 8, .name = "f::d", .kind = FL_CHUNKED, .ndim = 1, .ready = 1, .itemsize = 1, .n_chunks = 1};
    d.shape[0] = d.chunk[0] = (int64_t)expected;
    d.grid[0] = 1;
    d.chunk_bytes = expected;
    d.addresses = &address, d.sizes = &stored_size, d.masks = &mask;
    d.pipeline = (fl_pipeline){.n = 1, .stages = {stage_of(simd)}};
    d.files = &files, d.cache = &cache;
    int64_t mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    d.file = fl_files_add(&files, path, 0, (uint64_t)st.st_size, (uint64_t)st.st_ino, mtime_ns);
    REQUIRE(d.file >= 0);

    uint8_t *whole = malloc(expected), *again = malloc(expected);
    REQUIRE(whole && again);
    fl_error e;
    fl_error_clear(&e);
    int rc = fl_chunk_read(&d, 0, 0, expected, whole, &e);
    for (int i = 0; i < ROUNDS; i++) {
        size_t from = parts[2 * i] % expected, to = from + parts[2 * i + 1] % (expected - from + 1);
        uint8_t *part = malloc(to - from + 1);
        REQUIRE(part);
        fl_error_clear(&e);
        int part_rc = fl_chunk_read(&d, 0, from, to, part, &e);
        REQUIRE(rc != FL_OK || (part_rc == FL_OK && memcmp(part, whole + from, to - from) == 0));
        free(part);
    }
    fl_pipeline portable = {.n = 1, .stages = {stage_of(FL_SIMD_PORTABLE)}};
    fl_error_clear(&e);
    int again_rc = fuzz_undo(&portable, 0, chunk, stored, again, expected, &e);
    REQUIRE((again_rc == FL_OK) == (rc == FL_OK));
    REQUIRE(rc != FL_OK || memcmp(again, whole, expected) == 0);
    free(whole);
    free(again);
    fl_files_free(&files);
    fl_cache_free(&cache);
    return 0;
}
