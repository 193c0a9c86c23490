/* SPDX-License-Identifier: MIT
 *
 * Chains of deflate, bzip2, zstd, shuffle, fletcher32, bitshuffle and blosc: any bytes as a chunk, any stages, any that were
 * skipped. The result is an error, or as many bytes as a chunk has; of zlib and libdeflate it is the same.
 */
#include "fuzz.h"

static fl_uncompress_fn uncompress_fn;
static fl_bunzip2_fn bunzip2;
static fl_zstd zstd;
static fl_libdeflate libdeflate;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    uncompress_fn = fuzz_uncompress();
    bunzip2 = (fl_bunzip2_fn)(uintptr_t)fuzz_symbol("libbz2.so.1.0", "BZ2_bzBuffToBuffDecompress");
    zstd = fuzz_zstd();
    libdeflate = fuzz_libdeflate();
    return 0;
}

/* A plug-in that does what plug-ins do: another buffer, a wrong size, a failure. What it does says its first byte. */
static size_t plugin(unsigned flags, size_t n_cd, const unsigned *cd, size_t n_bytes, size_t *buf_size, void **buf)
{
    REQUIRE(flags == FL_REVERSE && n_cd == 1 && *buf_size >= n_bytes);
    if (n_bytes == 0 || ((uint8_t *)*buf)[0] % 4 == 0)
        return 0;
    if (((uint8_t *)*buf)[0] % 4 == 1)
        return (size_t)-(int)cd[0] - 1;
    uint8_t *more = malloc(2 * n_bytes);
    REQUIRE(more);
    memcpy(more, *buf, n_bytes);
    memcpy(more + n_bytes, *buf, n_bytes);
    free(*buf);
    *buf = more;
    *buf_size = 2 * n_bytes;
    return 2 * n_bytes;
}

static const int kinds[] = {
    FL_STAGE_BSHUF,   FL_STAGE_DEFLATE,    FL_STAGE_BZIP2, FL_STAGE_ZSTD,
    FL_STAGE_SHUFFLE, FL_STAGE_FLETCHER32, FL_STAGE_PLUGIN,
    FL_STAGE_LZ4,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    fl_pipeline p = {.n = (int)fuzz_upto(&in, 4)};
    for (int i = 0; i < p.n; i++) {
        fl_stage *s = &p.stages[i];
        unsigned kind = fuzz_byte(&in);
        s->kind = kind > 251 ? FL_STAGE_BLOSC : kinds[kind % (sizeof kinds / sizeof *kinds)];
        s->elem = fuzz_upto(&in, 17);
        s->bshuf = (fl_bshuf){.elem = s->elem, .block = 8 * fuzz_upto(&in, 9), .simd = fuzz_simd(&in)};
        s->bshuf.codecs = (fl_codecs){.zstd = zstd, .uncompress = uncompress_fn, .bunzip2 = bunzip2};
        s->bshuf.compression = (int)fuzz_upto(&in, 1) * 2;
        s->plugin = plugin;
        s->id = fuzz_upto(&in, 1) ? FL_BLOSC : 32004;
        s->n_cd = 1;
        s->cd[0] = fuzz_byte(&in);
        if (!uncompress_fn || !bunzip2 || !zstd.make)
            return 0;
        if (s->kind == FL_STAGE_BSHUF && s->elem == 0)
            s->elem = s->bshuf.elem = 1; /* Pipeline.add_bitshuffle refuses it */
    }
    uint32_t mask = fuzz_byte(&in) & fuzz_byte(&in);
    size_t expected = fuzz_upto(&in, 5000), stored;
    void *buf = fuzz_rest(&in, &stored);
    fl_error e;
    uint8_t *out = malloc(expected ? expected : 1), *again = malloc(expected ? expected : 1);
    void *same = malloc(stored ? stored : 1);
    REQUIRE(out && again && same);
    memcpy(same, buf, stored);
    fl_error_clear(&e);
    int rc = fuzz_undo(&p, mask, buf, stored, out, expected, &e);
    REQUIRE(rc <= 0);
    for (int i = 0; i < p.n; i++)
        p.stages[i].bshuf.codecs.libdeflate = libdeflate; /* or zlib once more, where there is none */
    fl_error_clear(&e);
    int again_rc = fuzz_undo(&p, mask, same, stored, again, expected, &e);
    REQUIRE(again_rc <= 0 && (rc || again_rc || memcmp(out, again, expected) == 0));
    free(out);
    free(again);
    char text[300];
    fl_error_text(&e, text, sizeof text);
    return 0;
}
