/* SPDX-License-Identifier: MIT
 *
 * What can go wrong in a kernel, by code. Kernels never raise and never print: they return one of these, and
 * fill an fl_error where somebody will want to know which chunk of which dataset it was.
 */
#ifndef FL_STATUS_H
#define FL_STATUS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    FL_OK = 0,
    FL_CORRUPT = -1,     /* stored bytes are not what the filter says they are */
    FL_CHECKSUM = -2,    /* fletcher32 does not agree */
    FL_SHORT = -3,       /* the file ends before the chunk does */
    FL_SYSTEM = -4,      /* a system call failed: see `sys_errno` */
    FL_CHANGED = -5,     /* the file is not the one that was indexed */
    FL_NOMEM = -6,
    FL_PYTHON = -7,      /* the h5py way failed: its text is in `detail` */
    FL_RANGE = -8,       /* asked for what is not there: a fault of the caller */
    FL_UNSUPPORTED = -9, /* a filter without a decoder got here: a fault of the caller */
    FL_BEYOND = -10,     /* a pixel is beyond the limits of a legacy format, and that was to be an error */
    FL_RESIZED = -11,    /* an encoded frame has not the size that was measured */
    FL_SILENT = -12      /* the file system with the source does not answer */
};

typedef struct {
    int code;
    int sys_errno;
    const char *name;   /* "file::dataset", owned by the dataset, or NULL */
    int64_t chunk;      /* number of the chunk in the dataset, or -1 */
    int64_t frame;      /* frame of the stack, or -1 */
    char detail[200];   /* more words, or "" */
} fl_error;

static inline void fl_error_clear(fl_error *e)
{
    e->code = FL_OK;
    e->sys_errno = 0;
    e->name = NULL;
    e->chunk = -1;
    e->frame = -1;
    e->detail[0] = '\0';
}

static inline int fl_fail(fl_error *e, int code, const char *detail)
{
    e->code = code;
    snprintf(e->detail, sizeof e->detail, "%s", detail);
    return code;
}

/* The error as one sentence, without its place: the caller knows how to name file, dataset and frame. */
static inline void fl_error_text(const fl_error *e, char *out, size_t size)
{
    const char *what;
    switch (e->code) {
    case FL_CORRUPT: what = "the stored bytes are damaged"; break;
    case FL_CHECKSUM: what = "the checksum (fletcher32) does not agree with the stored bytes"; break;
    case FL_SHORT: what = "the file ends before the data do (truncated?)"; break;
    case FL_SYSTEM: what = strerror(e->sys_errno); break;
    case FL_CHANGED: what = "the file has changed since it was opened"; break;
    case FL_NOMEM: what = "out of memory"; break;
    case FL_PYTHON: what = "h5py could not read it"; break;
    case FL_SILENT: what = "the file system that it is on does not answer"; break;
    case FL_BEYOND: what = "a pixel is beyond the limits of the format"; break;
    case FL_RESIZED: what = "the frame is not the one that was measured"; break;
    case FL_UNSUPPORTED: what = "a filter has no decoder"; break;
    default: what = "internal error"; break;
    }
    char chunk[40] = "";
    if (e->chunk >= 0)
        snprintf(chunk, sizeof chunk, "chunk %lld: ", (long long)e->chunk);
    if (e->detail[0])
        snprintf(out, size, "%s%s (%s)", chunk, what, e->detail);
    else
        snprintf(out, size, "%s%s", chunk, what);
}

#endif
