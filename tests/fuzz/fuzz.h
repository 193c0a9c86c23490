/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share: numbers taken from the input, codecs found in the system's libraries, and the end.
 *
 * A target is one function, LLVMFuzzerTestOneInput. libFuzzer calls it with inputs that it makes up, `replay.c` with files.
 * Memory that a kernel gets has the very size that it is told, so that a sanitizer sees each byte too far.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filters.h"

/* What must be so whatever the input is. */
#define REQUIRE(what)                                                          \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                           \
        }                                                                      \
    } while (0)

typedef struct {
    const uint8_t *data;
    size_t size;
} fuzz_input;

/* Numbers from the input; 0 where it has ended. */
static inline unsigned fuzz_byte(fuzz_input *in)
{
    if (!in->size)
        return 0;
    in->size--;
    return *in->data++;
}

static inline unsigned fuzz_upto(fuzz_input *in, unsigned most) /* most < 65536 */
{
    unsigned n = fuzz_byte(in);
    if (most > 255)
        n = n << 8 | fuzz_byte(in);
    return n % (most + 1);
}

/* `size` bytes of its own memory, the input's next ones over and over. */
static inline uint8_t *fuzz_bytes(fuzz_input *in, size_t size)
{
    uint8_t *out = malloc(size ? size : 1);
    REQUIRE(out);
    size_t n = in->size < size ? in->size : size;
    for (size_t i = 0; i < size; i++)
        out[i] = n ? in->data[i % n] : 0;
    in->data += n;
    in->size -= n;
    return out;
}

/* All that is left, in memory of just that size. */
static inline uint8_t *fuzz_rest(fuzz_input *in, size_t *size)
{
    *size = in->size;
    return fuzz_bytes(in, in->size);
}

static inline void *fuzz_symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW);
    return handle ? dlsym(handle, name) : NULL;
}

/* The functions of zstd, or NULL. */
static inline fl_zstd fuzz_zstd(void)
{
    return (fl_zstd){
        (void *(*)(void))(uintptr_t)fuzz_symbol("libzstd.so.1", "ZSTD_createDCtx"),
        (size_t (*)(void *, void *, size_t, const void *, size_t))(uintptr_t)fuzz_symbol("libzstd.so.1", "ZSTD_decompressDCtx"),
        (size_t (*)(void *))(uintptr_t)fuzz_symbol("libzstd.so.1", "ZSTD_freeDCtx"),
    };
}

static inline fl_uncompress_fn fuzz_uncompress(void)
{
    return (fl_uncompress_fn)(uintptr_t)fuzz_symbol("libz.so.1", "uncompress");
}

/* The functions of libdeflate, or NULL. */
static inline fl_libdeflate fuzz_libdeflate(void)
{
    return (fl_libdeflate){
        (void *(*)(void))(uintptr_t)fuzz_symbol("libdeflate.so.0", "libdeflate_alloc_decompressor"),
        (int (*)(void *, const void *, size_t, void *, size_t, size_t *))(uintptr_t)fuzz_symbol("libdeflate.so.0",
                                                                                                "libdeflate_zlib_decompress"),
        (void (*)(void *))(uintptr_t)fuzz_symbol("libdeflate.so.0", "libdeflate_free_decompressor"),
    };
}

/* Undo a pipeline on `size` bytes made by malloc (they are freed), to `expected` bytes (OUT). */
static inline int fuzz_undo(const fl_pipeline *p, uint32_t mask, void *stored, size_t size, uint8_t *out, size_t expected,
                            fl_error *e)
{
    fl_buffer buf = {stored, size};
    int rc = fl_pipeline_undo(p, mask, NULL, &buf, size, out, expected, e);
    fl_buffer_give(&buf, NULL);
    return rc;
}

static inline int fuzz_simd(fuzz_input *in)
{
    return (int)fuzz_upto(in, (unsigned)fl_simd_best());
}

#endif
