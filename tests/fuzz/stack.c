/* SPDX-License-Identifier: MIT
 *
 * Stacks over chunked datasets: random chunk maps over random bytes of a file that may be too short, with bitshuffle, other
 * filters or none, random shapes and parts. Where the whole can be read, any range of it is its slice; else it is an error.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "fuzz.h"

#include "stack.h"

enum { MOST_CHUNKS = 64, MOST_PARTS = 3 };

static fl_zstd zstd;
static fl_uncompress_fn uncompress_fn;
static fl_files files;
static char path[40];
static int fd;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    zstd = fuzz_zstd();
    uncompress_fn = fuzz_uncompress();
    fd = memfd_create("fuzz", 0);
    REQUIRE(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return 0;
}

static void make_pipeline(fl_pipeline *p, fuzz_input *in, size_t itemsize)
{
    static const int kinds[] = {FL_STAGE_BSHUF, FL_STAGE_DEFLATE, FL_STAGE_SHUFFLE, FL_STAGE_FLETCHER32};
    p->n = (int)fuzz_upto(in, 2);
    for (int i = 0; i < p->n; i++) {
        fl_stage *s = &p->stages[i];
        unsigned kind = fuzz_byte(in);
        *s = (fl_stage){.kind = kind > 251 ? FL_STAGE_BLOSC : kinds[kind % 4], .elem = itemsize};
        s->bshuf = (fl_bshuf){.elem = itemsize, .block = 8 * fuzz_upto(in, 3), .simd = fl_simd_best()};
        s->bshuf.codecs = (fl_codecs){.zstd = zstd, .uncompress = uncompress_fn};
        s->bshuf.compression = (int)fuzz_upto(in, 1) * 2;
    }
}

static void make_axis(fl_axis *a, fuzz_input *in, int64_t shape, int64_t source, int axis)
{
    *a = (fl_axis){.step = 1 + fuzz_upto(in, 2), .src_step = 1 + fuzz_upto(in, 2), .src_axis = axis};
    a->start = fuzz_upto(in, (unsigned)shape - 1);
    a->src_start = fuzz_upto(in, (unsigned)source - 1);
    int64_t most = (shape - 1 - a->start) / a->step + 1, other = (source - 1 - a->src_start) / a->src_step + 1;
    a->count = 1 + fuzz_upto(in, (unsigned)(most < other ? most : other) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    size_t itemsize = (size_t)1 << fuzz_upto(&in, 3);
    fl_cache cache;
    fl_dataset d = {.id = 1, .name = "f::d", .kind = fuzz_upto(&in, 3) ? FL_CHUNKED : FL_CONTIGUOUS, .ndim = 3, .ready = 1};
    fl_stack s = {.n_axes = 3, .itemsize = itemsize};
    fl_part parts[MOST_PARTS];
    uint64_t addresses[MOST_CHUNKS], sizes[MOST_CHUNKS];
    uint32_t masks[MOST_CHUNKS];
    int64_t bounds[2] = {0}, first[2] = {0}, members[MOST_PARTS] = {0, 1, 2};

    d.itemsize = itemsize;
    d.n_chunks = 1;
    d.chunk_bytes = itemsize;
    static const unsigned most[3] = {4, 12, 24};
    for (int k = 0; k < 3; k++) {
        d.shape[k] = 1 + fuzz_upto(&in, most[k] - 1);
        s.shape[k] = 1 + fuzz_upto(&in, most[k] - 1);
        d.chunk[k] = d.kind == FL_CHUNKED ? 1 + fuzz_upto(&in, (unsigned)d.shape[k] - 1) : d.shape[k];
        d.grid[k] = (d.shape[k] + d.chunk[k] - 1) / d.chunk[k];
        if (d.n_chunks * d.grid[k] > MOST_CHUNKS) {
            d.chunk[k] = d.shape[k];
            d.grid[k] = 1;
        }
        d.n_chunks *= d.grid[k];
        d.chunk_bytes *= (size_t)d.chunk[k];
    }
    make_pipeline(&d.pipeline, &in, itemsize);
    for (int i = 0; i < d.n_chunks; i++) {
        unsigned how = fuzz_byte(&in);
        addresses[i] = how == 255 ? FL_NOWHERE : fuzz_upto(&in, 2000);
        sizes[i] = how & 1 ? d.chunk_bytes : fuzz_upto(&in, 2000);
        masks[i] = how >> 1 & 3;
    }
    d.addresses = addresses;
    d.sizes = sizes;
    d.masks = masks;
    d.address = fuzz_upto(&in, 500);
    s.frames = s.shape[0], s.ny = s.shape[1], s.nx = s.shape[2];
    int n = (int)fuzz_upto(&in, MOST_PARTS), turned = (int)fuzz_upto(&in, 3) == 0;
    for (int i = 0; i < n; i++) {
        memset(&parts[i], 0, sizeof parts[i]);
        parts[i].dataset = fuzz_upto(&in, 7) ? &d : NULL;
        for (int k = 0; k < 3; k++) {
            int axis = turned ? 2 - k : k;
            make_axis(&parts[i].axes[k], &in, s.shape[k], d.shape[axis], parts[i].dataset ? axis : -1);
        }
    }
    bounds[1] = s.shape[0];
    first[1] = n;
    s.parts = parts;
    s.n_bounds = n ? 2 : 0;
    s.bounds = bounds, s.first = first, s.members = members;
    int64_t pixels = s.frames * s.ny * s.nx, from = fuzz_upto(&in, 65535) % (pixels + 1);
    int64_t to = from + fuzz_upto(&in, 65535) % (pixels - from + 1);

    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, in.data, in.size, 0) == (ssize_t)in.size);
    struct stat st;
    REQUIRE(fstat(fd, &st) == 0);
    fl_cache_init(&cache, fuzz_upto(&in, 1) ? 1 << 20 : 0);
    fl_files_init(&files, 2);
    d.files = &files;
    d.cache = &cache;
    int64_t mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    d.file = fl_files_add(&files, path, 0, (uint64_t)st.st_size, (uint64_t)st.st_ino, mtime_ns);
    REQUIRE(d.file >= 0);

    uint8_t *whole = malloc((size_t)pixels * itemsize), *part = malloc((size_t)(to - from) * itemsize + 1);
    REQUIRE(whole && part);
    fl_error e;
    fl_error_clear(&e);
    int rc = fl_stack_read(&s, 0, pixels, whole, &e);
    fl_error_clear(&e);
    int part_rc = fl_stack_read(&s, from, to, part, &e);
    REQUIRE(rc != FL_OK || part_rc == FL_OK);
    REQUIRE(rc != FL_OK || memcmp(part, whole + (size_t)from * itemsize, (size_t)(to - from) * itemsize) == 0);
    for (int64_t y = 0; y < s.ny && rc == FL_OK; y++) /* and row by row, through what is in the cache now */
        REQUIRE(fl_stack_read(&s, y * s.nx, (y + 1) * s.nx, whole + (size_t)(y * s.nx) * itemsize, &e) == FL_OK);
    REQUIRE(rc != FL_OK || fl_stack_read(&s, from, to, part, &e) == FL_OK);
    REQUIRE(rc != FL_OK || memcmp(part, whole + (size_t)from * itemsize, (size_t)(to - from) * itemsize) == 0);
    free(whole);
    free(part);
    fl_files_free(&files);
    fl_cache_free(&cache);
    return 0;
}
