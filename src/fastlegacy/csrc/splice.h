/* SPDX-License-Identifier: MIT
 *
 * A virtual file: pieces one after the other. Any range of its bytes goes straight into the caller's buffer.
 */
#ifndef FL_SPLICE_H
#define FL_SPLICE_H

#include "coded.h"

enum { FL_LITERAL, FL_PIXELS, FL_FORMED, FL_CODED, FL_PADDING };

typedef struct {
    int kind;
    int64_t start, size;    /* bytes in the file */
    const uint8_t *data;    /* literal: its bytes, owned by the virtual file */
    int64_t first_frame;    /* pixels: frames from here on */
    int swap;               /* pixels as stored: change their byte order */
    const fl_coder *coder;  /* pixels in a form: the form of a coder; coded pixels: the coder */
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

/* Pixels [from, to) counted through the piece's frames, as the file has them (OUT). */
static int fl_piece_pixels(const fl_stack *s, const fl_piece *p, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    if (p->kind == FL_FORMED) {
        int64_t first = p->first_frame * p->coder->form.ny * p->coder->form.nx;
        return fl_form_read(&p->coder->form, first + from, first + to, out, e);
    }
    int64_t first = p->first_frame * s->ny * s->nx;
    int rc = fl_stack_read(s, first + from, first + to, out, e);
    if (rc == FL_OK && p->swap)
        fl_swap_bytes(out, (size_t)(to - from), s->itemsize);
    return rc;
}

/* n bytes from byte `at` inside of one pixel (OUT). */
static int fl_part_of_pixel(const fl_stack *s, const fl_piece *p, int64_t pixel, size_t at, size_t n, uint8_t *out,
                            fl_error *e)
{
    _Alignas(16) uint8_t whole[16];
    int rc = fl_piece_pixels(s, p, pixel, pixel + 1, whole, e);
    if (rc == FL_OK)
        memcpy(out, whole + at, n);
    return rc;
}

/* Bytes [from, to) of a piece of pixels (OUT); pixels that are cut at either end are read on their own. */
static int fl_pixels_read(const fl_stack *s, const fl_piece *p, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    int64_t z = (int64_t)(p->kind == FL_FORMED ? fl_form_size(&p->coder->form) : s->itemsize);
    int rc = FL_OK;
    if (from % z) {
        int64_t stop = from - from % z + z < to ? from - from % z + z : to;
        rc = fl_part_of_pixel(s, p, from / z, (size_t)(from % z), (size_t)(stop - from), out, e);
        out += stop - from;
        from = stop;
    }
    if (rc == FL_OK && to / z > from / z) {
        int64_t n = to / z - from / z;
        rc = fl_piece_pixels(s, p, from / z, from / z + n, out, e);
        out += n * z;
        from += n * z;
    }
    if (rc == FL_OK && from < to)
        rc = fl_part_of_pixel(s, p, from / z, 0, (size_t)(to - from), out, e);
    return rc;
}

/* The last piece that starts at or before a byte. */
static int fl_piece_at(const fl_vfile *v, int64_t at)
{
    int lo = 0, hi = v->n_pieces;
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (v->pieces[mid].start <= at) lo = mid; else hi = mid;
    }
    return lo;
}

/* Up to `size` bytes from `at` on (OUT). Returns how many (0 at the end), or a negative status. */
static int64_t fl_vfile_read(const fl_vfile *v, uint8_t *out, size_t size, int64_t at, fl_error *e)
{
    if (at < 0 || at >= v->size)
        return 0;
    int64_t end = (uint64_t)(v->size - at) < size ? v->size : at + (int64_t)size, from = at;
    for (int i = fl_piece_at(v, from); i < v->n_pieces && from < end; i++) {
        const fl_piece *p = &v->pieces[i];
        int64_t a = from - p->start, b = (end < p->start + p->size ? end : p->start + p->size) - p->start;
        int rc = FL_OK;
        if (b <= a)
            continue;
        if (p->kind == FL_LITERAL)
            memcpy(out, p->data + a, (size_t)(b - a));
        else if (p->kind == FL_PADDING)
            memset(out, p->value, (size_t)(b - a));
        else if (p->kind == FL_CODED)
            rc = fl_coded_read(p->coder, p->first_frame, p->size, a, b, out, b - a, e);
        else
            rc = fl_pixels_read(v->stack, p, a, b, out, e);
        if (rc)
            return rc;
        out += b - a;
        from += b - a;
    }
    return from - at;
}

/* Bytes of one frame in a piece of pixels. */
static int64_t fl_piece_frame_bytes(const fl_stack *s, const fl_piece *p)
{
    if (p->kind == FL_CODED)
        return p->size;
    if (p->kind == FL_PIXELS)
        return s->ny * s->nx * (int64_t)s->itemsize;
    return p->coder->form.ny * p->coder->form.nx * (int64_t)fl_form_size(&p->coder->form);
}

/* Load what bytes [from, to) of a piece need before anybody asks for them, `shift` frames further on in the stack.
 * Returns how many frames there was something to load of. */
static int64_t fl_piece_ahead(const fl_stack *s, const fl_piece *p, int64_t shift, int64_t from, int64_t to)
{
    if (p->kind != FL_PIXELS && p->kind != FL_FORMED && p->kind != FL_CODED)
        return 0;
    int64_t loads = 0, bytes = fl_piece_frame_bytes(s, p);
    int64_t z = (int64_t)(p->kind == FL_FORMED ? fl_form_size(&p->coder->form) : s->itemsize);
    for (int64_t k = from / bytes; k * bytes < to; k++) {
        int64_t frame = p->first_frame + shift + k, a = from - k * bytes, b = to - k * bytes;
        if (frame < 0 || frame >= s->frames)
            continue;
        a = a < 0 ? 0 : a / z;
        b = (b > bytes ? bytes : b + z - 1) / z;
        loads += p->kind == FL_CODED    ? fl_coded_ahead(p->coder, frame)
                 : p->kind == FL_FORMED ? fl_form_ahead(&p->coder->form, frame, a, b)
                                        : fl_frame_ahead(s, frame, a, b);
    }
    return loads;
}

/* The piece with the pixels of a file that holds one frame and no more, or NULL. */
static const fl_piece *fl_vfile_frame(const fl_vfile *v)
{
    const fl_piece *found = NULL;
    for (int i = 0; i < v->n_pieces; i++) {
        const fl_piece *p = &v->pieces[i];
        if (p->kind != FL_PIXELS && p->kind != FL_FORMED && p->kind != FL_CODED)
            continue;
        if (found || p->size != fl_piece_frame_bytes(v->stack, p))
            return NULL;
        found = p;
    }
    return found;
}

/* The same of bytes [from, to) of a file; with a shift, of the file that is made in the same way of other frames. */
static int64_t fl_vfile_ahead(const fl_vfile *v, int64_t shift, int64_t from, int64_t to)
{
    int64_t loads = 0;
    for (int i = fl_piece_at(v, from); i < v->n_pieces && v->pieces[i].start < to; i++) {
        const fl_piece *p = &v->pieces[i];
        int64_t a = from > p->start ? from - p->start : 0, b = to - p->start < p->size ? to - p->start : p->size;
        if (a < b)
            loads += fl_piece_ahead(v->stack, p, shift, a, b);
    }
    return loads;
}

#endif
