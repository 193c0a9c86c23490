/* SPDX-License-Identifier: MIT
 *
 * A virtual file: pieces one after the other. Any range of its bytes goes straight into the caller's buffer.
 */
#ifndef FL_SPLICE_H
#define FL_SPLICE_H

#include "stack.h"

enum { FL_LITERAL, FL_PIXELS, FL_PADDING };

typedef struct {
    int kind;
    int64_t start, size;    /* bytes in the file */
    const uint8_t *data;    /* literal: its bytes, owned by the virtual file */
    int64_t first_frame;    /* pixels: frames from here on */
    int swap;               /* pixels: change their byte order */
    uint8_t value;          /* padding */
} fl_piece;

typedef struct {
    int64_t size;
    int n_pieces;
    fl_piece *pieces;
    const fl_stack *stack;
    int users;              /* written with __atomic */
} fl_vfile;

static void fl_vfile_release(fl_vfile *v)
{
    if (__atomic_sub_fetch(&v->users, 1, __ATOMIC_ACQ_REL))
        return;
    for (int i = 0; i < v->n_pieces; i++)
        free((void *)v->pieces[i].data);
    free(v->pieces);
    free(v);
}

static void fl_swap_bytes(uint8_t *data, size_t n, size_t itemsize)
{
    for (size_t i = 0; i < n; i++, data += itemsize) {
        for (size_t a = 0, b = itemsize - 1; a < b; a++, b--) {
            uint8_t t = data[a];
            data[a] = data[b];
            data[b] = t;
        }
    }
}

/* n bytes from byte `at` inside of one pixel (OUT). */
static int fl_part_of_pixel(const fl_stack *s, int64_t pixel, size_t at, size_t n, int swap, uint8_t *out, fl_error *e)
{
    uint8_t whole[16];
    int rc = fl_stack_read(s, pixel, pixel + 1, whole, e);
    if (rc)
        return rc;
    if (swap)
        fl_swap_bytes(whole, 1, s->itemsize);
    memcpy(out, whole + at, n);
    return FL_OK;
}

/* Bytes [from, to) of a piece of pixels (OUT); pixels that are cut at either end are read on their own. */
static int fl_pixels_read(const fl_stack *s, const fl_piece *p, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    int64_t z = (int64_t)s->itemsize, first = p->first_frame * s->ny * s->nx;
    int rc = FL_OK;
    if (from % z) {
        int64_t stop = from - from % z + z < to ? from - from % z + z : to;
        rc = fl_part_of_pixel(s, first + from / z, (size_t)(from % z), (size_t)(stop - from), p->swap, out, e);
        out += stop - from;
        from = stop;
    }
    if (rc == FL_OK && to / z > from / z) {
        int64_t n = to / z - from / z;
        rc = fl_stack_read(s, first + from / z, first + from / z + n, out, e);
        if (rc == FL_OK && p->swap)
            fl_swap_bytes(out, (size_t)n, s->itemsize);
        out += n * z;
        from += n * z;
    }
    if (rc == FL_OK && from < to)
        rc = fl_part_of_pixel(s, first + from / z, 0, (size_t)(to - from), p->swap, out, e);
    return rc;
}

/* Up to `size` bytes from `at` on (OUT). Returns how many (0 at the end), or a negative status. */
static int64_t fl_vfile_read(const fl_vfile *v, uint8_t *out, size_t size, int64_t at, fl_error *e)
{
    if (at < 0 || at >= v->size)
        return 0;
    int64_t end = (uint64_t)(v->size - at) < size ? v->size : at + (int64_t)size, from = at;
    int lo = 0, hi = v->n_pieces;
    while (hi - lo > 1) { /* the last piece that starts at or before `from` */
        int mid = (lo + hi) / 2;
        if (v->pieces[mid].start <= from) lo = mid; else hi = mid;
    }
    for (int i = lo; i < v->n_pieces && from < end; i++) {
        const fl_piece *p = &v->pieces[i];
        int64_t a = from - p->start, b = (end < p->start + p->size ? end : p->start + p->size) - p->start;
        int rc = FL_OK;
        if (b <= a)
            continue;
        if (p->kind == FL_LITERAL)
            memcpy(out, p->data + a, (size_t)(b - a));
        else if (p->kind == FL_PADDING)
            memset(out, p->value, (size_t)(b - a));
        else
            rc = fl_pixels_read(v->stack, p, a, b, out, e);
        if (rc)
            return rc;
        out += b - a;
        from += b - a;
    }
    return from - at;
}

#endif
