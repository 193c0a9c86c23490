/* SPDX-License-Identifier: MIT
 *
 * A stack as legacy files show it: any pixels of a frame after mask, binning, conversion, turning and placing.
 *
 * A view says what all files of a stack have in common (mask, binning, orientation), a form what one layout wants
 * (type, limits, values of masked pixels, the frame around the image). The order of the steps is told in
 * `fastlegacy/pixels.py`; `tests/core/reference_pixels.py` is the same in NumPy.
 *
 * Pixels that stay in their rows are converted as they are decoded, a few rows at a time, which stay in the L2 cache.
 * A transposition needs the whole frame. Who asks for all of it gets it at once, some rows at a time; else it is made once,
 * and kept in the cache until all of it was asked for.
 */
#ifndef FL_PIXELS_H
#define FL_PIXELS_H

#include "convert.h"
#include "stack.h"
#include "turn.h"

#define FL_ROWS_BYTES 131072 /* stored pixels that are decoded at a time, and converted while they are in the L2 cache */
#define FL_BAND_BYTES 256    /* of each row of a turned image are written at a time */

typedef struct {
    const fl_stack *stack;
    int type, swap;       /* of the stored pixels; they have the byte order that this machine has not */
    const uint8_t *mask;  /* a class for each stored pixel of a frame, or NULL */
    int by_value;         /* without a mask: unsigned pixels whose bits are all set are gaps */
    int64_t side;         /* so many pixels along each axis become one */
    int64_t by, bx;       /* rows and columns then */
    int transpose, flip_ud, flip_lr;
    int64_t ny, nx;       /* rows and columns after turning */
    fl_cache *cache;
    int simd;
} fl_view;

typedef struct {
    uint64_t id;          /* unique in the process, and the next number too: the cache's keys of images and of codes */
    const fl_view *view;
    fl_conversion convert;
    int64_t ny, nx;       /* of the frame in the file */
    int64_t y, x;         /* where in it the image begins */
    fl_number pad;        /* in the file's byte order */
} fl_form;

static inline size_t fl_form_size(const fl_form *f)
{
    return fl_type_size(f->convert.to);
}

static int fl_read_stored(const fl_view *v, int64_t frame, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    int rc = fl_frame_read(v->stack, frame, from, to, out, e);
    if (rc == FL_OK && v->swap)
        fl_swap_bytes(out, (size_t)(to - from), v->stack->itemsize);
    return rc;
}

/* The name of the uppermost dataset that a frame is made of, or that of the first one behind the stack. */
static const char *fl_frame_name(const fl_stack *s, int64_t frame)
{
    int64_t place[FL_MAX_AXES], index[FL_MAX_DIMS], begin, end;
    fl_frame_place(s, frame, place, &begin, &end);
    while (end-- > begin) {
        const fl_part *p = &s->parts[s->members[end]];
        if (p->dataset && fl_part_has(s, p, place, index))
            return p->dataset->name;
    }
    return fl_stack_name(s);
}

/* A frame is what is wrong, and no stored byte of it. Returns the code. */
static int fl_frame_fail(const fl_view *v, int64_t frame, int code, const char *detail, fl_error *e)
{
    e->name = fl_frame_name(v->stack, frame);
    e->frame = frame;
    return fl_fail(e, code, detail);
}

static int fl_beyond_limits(const fl_view *v, int64_t frame, int64_t row, int64_t column, fl_error *e)
{
    char text[120];
    snprintf(text, sizeof text, "the one in row %lld, column %lld", (long long)(row * v->side),
             (long long)(column * v->side));
    return fl_frame_fail(v, frame, FL_BEYOND, text, e);
}

/* One row after binning (OUT: sums of 8 bytes, and classes), from `side` stored rows (IN). */
static void fl_bin_row(const fl_view *v, const uint8_t *rows, int64_t stored_row, uint8_t *sums, uint8_t *kinds)
{
    int64_t nx = v->stack->nx, used = v->bx * v->side;
    uint8_t found[FL_RUN];
    memset(sums, 0, (size_t)v->bx * 8);
    memset(kinds, 0, (size_t)v->bx);
    for (int64_t k = 0; k < v->side; k++) {
        const uint8_t *row = rows + (size_t)(k * nx) * v->stack->itemsize;
        const uint8_t *mask = v->mask ? v->mask + (stored_row + k) * nx : NULL;
        int64_t step = FL_RUN / v->side * v->side;
        for (int64_t i = 0; i < used; i += step) {
            int64_t n = used - i < step ? used - i : step;
            const uint8_t *src = row + (size_t)i * v->stack->itemsize, *kind = NULL;
            if (mask)
                kind = fl_any_class(mask + i, n) ? mask + i : NULL;
            else if (v->by_value && fl_classes_by_value(v->type, src, n, found, v->simd))
                kind = found;
            fl_add_to_squares(v->type, src, kind, n, v->side, sums + (size_t)(i / v->side) * 8, kinds + i / v->side);
        }
    }
    for (int64_t i = 0; i < v->bx; i++) /* a gap is stronger than a bad pixel */
        kinds[i] = kinds[i] & FL_IS_GAP ? FL_IS_GAP : kinds[i];
}

/* Rows [r0, r1) and columns [c0, c1) after binning and before turning (OUT, rows of c1 - c0 pixels with `stride` bytes
 * from one to the next; backwards with flip_ud, and each row with flip_lr, where `turn` says so). */
static int fl_convert_rows(const fl_form *f, int64_t frame, int64_t r0, int64_t r1, int64_t c0, int64_t c1, int turn,
                           uint8_t *out, size_t stride, fl_error *e)
{
    const fl_view *v = f->view;
    int64_t nx = v->stack->nx;
    size_t z = v->stack->itemsize;
    int64_t step = FL_ROWS_BYTES / (int64_t)((size_t)(nx * v->side) * z);
    step = step < 1 ? 1 : step > r1 - r0 ? r1 - r0 : step;
    size_t stored = ((size_t)(step * v->side * nx) * z + 2 * FL_LINE + 7) / 8 * 8;
    uint8_t *room = malloc(stored + (v->side > 1 ? (size_t)v->bx * 9 : 0));
    if (!room)
        return fl_fail(e, FL_NOMEM, "");
    uint8_t *line = room + (-(uintptr_t)room) % FL_LINE;
    uint8_t *sums = room + stored, *kinds = sums + (size_t)v->bx * 8;
    int rc = FL_OK;
    for (int64_t r = r0; r < r1 && rc == FL_OK; r += step) {
        int64_t end = r1 - r < step ? r1 : r + step;
        /* of a single row only what is asked for, else all from the first row to the last */
        int64_t from = r * v->side * nx, to = end * v->side * nx;
        if (v->side == 1)
            from += c0, to += c1 - nx;
        uint8_t *rows = line + (size_t)from * z % FL_LINE; /* so blocks of a chunk need not be moved after decoding */
        rc = fl_read_stored(v, frame, from, to, rows, e);
        for (int64_t k = r; k < end && rc == FL_OK; k++) {
            int64_t at = turn && v->flip_ud ? r1 - 1 - k : k - r0, wrong;
            uint8_t *to_here = out + (size_t)at * stride;
            if (v->side == 1) {
                const uint8_t *mask = v->mask ? v->mask + k * nx + c0 : NULL;
                wrong = fl_convert_row(&f->convert, rows + (size_t)(k * nx + c0 - from) * z, mask, v->by_value, c1 - c0,
                                       turn && v->flip_lr, to_here, v->simd);
            } else {
                fl_bin_row(v, rows + (size_t)((k - r) * v->side * nx) * z, k * v->side, sums, kinds);
                wrong = fl_convert_row(&f->convert, sums + (size_t)c0 * 8, kinds + c0, 0, c1 - c0, turn && v->flip_lr,
                                       to_here, v->simd);
            }
            if (wrong >= 0)
                rc = fl_beyond_limits(v, frame, k, c0 + wrong, e);
        }
    }
    free(room);
    return rc;
}

/* So many rows are turned at a time: what each row of the turned image gets of them fills a few lines of the cache. */
static inline int64_t fl_band_rows(const fl_form *f)
{
    int64_t rows = FL_BAND_BYTES / (int64_t)fl_form_size(f);
    return rows < f->view->by ? rows : f->view->by;
}

/* Bytes from row to row of them: an odd number of lines, so that a column does not crowd into one set of the cache. */
static inline size_t fl_band_stride(const fl_form *f)
{
    return ((size_t)f->view->bx * fl_form_size(f) / FL_LINE | 1) * FL_LINE + (2 * FL_LINE);
}

static inline size_t fl_band_bytes(const fl_form *f)
{
    return (size_t)fl_band_rows(f) * fl_band_stride(f);
}

/* The whole transposed image (OUT: ny rows of nx pixels, `stride` bytes from one to the next). */
static int fl_image_turned(const fl_form *f, int64_t frame, uint8_t *out, size_t stride, fl_error *e)
{
    const fl_view *v = f->view;
    size_t z = fl_form_size(f), below = fl_band_stride(f), room;
    int64_t step = fl_band_rows(f);
    fl_target to = {out, (ptrdiff_t)stride, (ptrdiff_t)z};
    uint8_t *rows = fl_cache_buffer(v->cache, fl_band_bytes(f), &room);
    if (!rows)
        return fl_fail(e, FL_NOMEM, "");
    if (v->flip_ud) {
        to.at += (v->ny - 1) * to.down;
        to.down = -to.down;
    }
    if (v->flip_lr) {
        to.at += (v->nx - 1) * to.right;
        to.right = -to.right;
    }
    int rc = FL_OK;
    for (int64_t y = 0; y < v->by && rc == FL_OK; y += step) {
        int64_t end = v->by - y < step ? v->by : y + step;
        rc = fl_convert_rows(f, frame, y, end, 0, v->bx, 0, rows, below, e);
        fl_target here = {to.at + y * to.right, to.down, to.right};
        if (rc == FL_OK)
            fl_turn(rows, (ptrdiff_t)below, end - y, v->bx, z, &here, v->simd);
    }
    fl_cache_give_back(v->cache, rows, room);
    return rc;
}

/* So much memory does it take at most to make a transposed image of `size` bytes. */
static size_t fl_image_need(const fl_form *f, size_t size)
{
    return size + fl_band_bytes(f) + fl_stack_need(f->view->stack);
}

static int fl_image_load(const fl_form *f, int64_t frame, size_t size, fl_entry *entry, fl_error *e)
{
    entry->size = size;
    entry->data = fl_cache_buffer(f->view->cache, size, &entry->room);
    entry->bytes = entry->data ? entry->room : 0;
    if (!entry->data)
        return fl_fail(e, FL_NOMEM, "");
    return fl_image_turned(f, frame, entry->data, (size_t)f->view->nx * fl_form_size(f), e);
}

/* The entry of the transposed image, held for the caller until fl_cache_release; NULL with an error. */
static fl_entry *fl_image_entry(const fl_form *f, int64_t frame, fl_error *e)
{
    const fl_view *v = f->view;
    size_t size = (size_t)(v->ny * v->nx) * fl_form_size(f);
    size_t need = fl_image_need(f, size);
    int mine, rc = FL_OK;
    fl_entry *entry = fl_cache_get(v->cache, f->id, (uint64_t)frame, need, &mine);
    if (!entry) {
        fl_cache_none(mine, e);
        return NULL;
    }
    if (!mine)
        return entry;
    rc = fl_image_load(f, frame, size, entry, e);
    fl_cache_loaded(v->cache, entry, need, rc == FL_OK);
    if (rc == FL_OK)
        return entry;
    fl_cache_release(v->cache, entry, 0);
    return NULL;
}

/* Rows [y0, y1) and columns [x0, x1) of the turned image (OUT, `stride` bytes from row to row). */
static int fl_image_read(const fl_form *f, int64_t frame, int64_t y0, int64_t y1, int64_t x0, int64_t x1, uint8_t *out,
                         size_t stride, fl_error *e)
{
    const fl_view *v = f->view;
    size_t z = fl_form_size(f), row = (size_t)(x1 - x0) * z;
    if (y0 >= y1 || x0 >= x1)
        return FL_OK;
    if (!v->transpose) {
        int64_t r0 = v->flip_ud ? v->ny - y1 : y0, c0 = v->flip_lr ? v->nx - x1 : x0;
        return fl_convert_rows(f, frame, r0, r0 + (y1 - y0), c0, c0 + (x1 - x0), 1, out, stride, e);
    }
    if (y1 - y0 == v->ny && x1 - x0 == v->nx)
        return fl_image_turned(f, frame, out, stride, e);
    fl_entry *entry = fl_image_entry(f, frame, e);
    if (!entry)
        return e->code;
    for (int64_t y = y0; y < y1; y++)
        memcpy(out + (size_t)(y - y0) * stride, entry->data + (size_t)(y * v->nx + x0) * z, row);
    fl_cache_release(v->cache, entry, (size_t)(y1 - y0) * row);
    return FL_OK;
}

/* n pixels of the frame's surroundings (OUT). */
static void fl_pad(const fl_form *f, uint8_t *out, int64_t n)
{
    if (n > 0)
        fl_fill(out, (size_t)n * fl_form_size(f), 0, f->pad.bytes, fl_form_size(f));
}

/* Part of one row of the frame in the file, columns [a, b) (OUT). */
static int fl_framed_row(const fl_form *f, int64_t frame, int64_t row, int64_t a, int64_t b, uint8_t *out, fl_error *e)
{
    size_t z = fl_form_size(f);
    int64_t y = row - f->y, x_end = f->x + f->view->nx;
    if (y < 0 || y >= f->view->ny || a >= x_end || b <= f->x) {
        fl_pad(f, out, b - a);
        return FL_OK;
    }
    int64_t from = a > f->x ? a : f->x, to = b < x_end ? b : x_end;
    fl_pad(f, out, from - a);
    fl_pad(f, out + (size_t)(to - a) * z, b - to);
    return fl_image_read(f, frame, y, y + 1, from - f->x, to - f->x, out + (size_t)(from - a) * z, 0, e);
}

/* Whole rows [r0, r1) of the frame in the file (OUT). */
static int fl_framed_rows(const fl_form *f, int64_t frame, int64_t r0, int64_t r1, uint8_t *out, fl_error *e)
{
    const fl_view *v = f->view;
    size_t z = fl_form_size(f), stride = (size_t)f->nx * z;
    int64_t y0 = r0 > f->y ? r0 : f->y, y1 = r1 < f->y + v->ny ? r1 : f->y + v->ny;
    if (y0 >= y1) {
        fl_pad(f, out, (r1 - r0) * f->nx);
        return FL_OK;
    }
    fl_pad(f, out, (y0 - r0) * f->nx);
    fl_pad(f, out + (size_t)(y1 - r0) * stride, (r1 - y1) * f->nx);
    uint8_t *image = out + (size_t)(y0 - r0) * stride;
    for (int64_t y = y0; y < y1 && f->nx > v->nx; y++) {
        uint8_t *row = image + (size_t)(y - y0) * stride;
        fl_pad(f, row, f->x);
        fl_pad(f, row + (size_t)(f->x + v->nx) * z, f->nx - f->x - v->nx);
    }
    return fl_image_read(f, frame, y0 - f->y, y1 - f->y, 0, v->nx, image + (size_t)f->x * z, stride, e);
}

/* Pixels [from, to) of the frame in the file (OUT). */
static int fl_framed_read(const fl_form *f, int64_t frame, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    size_t z = fl_form_size(f);
    int64_t row = from / f->nx, last = to / f->nx; /* `last` is cut, or the first one not asked for */
    int rc = FL_OK;
    if (from % f->nx || row == last) {
        int64_t b = row == last ? to - row * f->nx : f->nx;
        rc = fl_framed_row(f, frame, row, from % f->nx, b, out, e);
        out += (size_t)(b - from % f->nx) * z;
        row++;
    }
    if (rc == FL_OK && row < last) {
        rc = fl_framed_rows(f, frame, row, last, out, e);
        out += (size_t)((last - row) * f->nx) * z;
    }
    if (rc == FL_OK && row <= last && to % f->nx)
        rc = fl_framed_row(f, frame, last, 0, to % f->nx, out, e);
    return rc;
}

/* Pixels [from, to) counted through all frames as a file has them (OUT). */
static int fl_form_read(const fl_form *f, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    int64_t per_frame = f->ny * f->nx;
    while (from < to) {
        int64_t frame = from / per_frame, start = frame * per_frame;
        int64_t stop = to < start + per_frame ? to : start + per_frame;
        int rc = fl_framed_read(f, frame, from - start, stop - start, out, e);
        if (rc)
            return rc;
        out += (size_t)(stop - from) * fl_form_size(f);
        from = stop;
    }
    return FL_OK;
}

/* Load what pixels [from, to) of a frame in the file need, before anybody asks for it. 1 if there was any to load. */
static int fl_form_ahead(const fl_form *f, int64_t frame, int64_t from, int64_t to)
{
    const fl_view *v = f->view;
    int64_t y0 = from / f->nx - f->y, y1 = (to - 1) / f->nx + 1 - f->y, row = v->side * v->stack->nx;
    y0 = y0 < 0 ? 0 : y0;
    y1 = y1 > v->ny ? v->ny : y1;
    if (from >= to || y0 >= y1)
        return 0;
    if (!v->transpose)
        return v->flip_ud ? fl_frame_ahead(v->stack, frame, (v->ny - y1) * row, (v->ny - y0) * row)
                          : fl_frame_ahead(v->stack, frame, y0 * row, y1 * row);
    size_t size = (size_t)(v->ny * v->nx) * fl_form_size(f), need = fl_image_need(f, size);
    fl_entry *entry = fl_cache_get_ahead(v->cache, f->id, (uint64_t)frame, size, need);
    if (!entry)
        return 0;
    fl_error e;
    fl_error_clear(&e);
    return fl_cache_loaded_ahead(v->cache, entry, need, fl_image_load(f, frame, size, entry, &e) == FL_OK);
}

#endif
