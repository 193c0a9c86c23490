/* SPDX-License-Identifier: MIT
 *
 * A stack of frames over any number of datasets: any range of its pixels.
 *
 * A stack is made of parts. A part is a box of the stack, regular with steps along each axis, and the box of a dataset
 * that it shows (or a constant: the fill value of a gap). Axes of a stack: the leading ones, then y, then x.
 * Along axis d of a part, its i-th place (0 <= i < count) is start + step*i in the stack, and
 * src_start + src_step*i along axis `src_axis` of the dataset. Where no part is, the stack has its fill value.
 */
#ifndef FL_STACK_H
#define FL_STACK_H

#include "dataset.h"

#define FL_MAX_AXES 10

typedef struct {
    int64_t start, step, count;
    int64_t src_start, src_step;
    int src_axis; /* -1: this axis of the part has one place only, and no axis of the dataset */
} fl_axis;

typedef struct {
    fl_dataset *dataset;        /* NULL: a constant */
    uint8_t fill[16];
    fl_axis axes[FL_MAX_AXES];
    int64_t base[FL_MAX_DIMS];  /* index along the dataset's axes that no axis of the part moves along */
} fl_part;

typedef struct {
    int n_axes;                 /* leading axes + 2 */
    int64_t shape[FL_MAX_AXES];
    int64_t frames, ny, nx;
    size_t itemsize;
    uint8_t fill[16];
    fl_part *parts;
    /* parts by place along the first axis: those of bounds[i] <= place < bounds[i+1] are
     * members[first[i]] ... members[first[i+1] - 1], in the order in which they are laid over each other */
    int64_t n_bounds;
    int64_t *bounds, *first, *members;
} fl_stack;

/* "file::dataset" of the first dataset behind a stack, NULL where all of it is constant. */
static inline const char *fl_stack_name(const fl_stack *s)
{
    for (int64_t i = 0; s->n_bounds && i < s->first[s->n_bounds]; i++)
        if (s->parts[s->members[i]].dataset)
            return s->parts[s->members[i]].dataset->name;
    return NULL;
}

/* So much memory does it take at most to decode a chunk of the stack, and to keep it. */
static size_t fl_stack_need(const fl_stack *s)
{
    size_t most = 1;
    for (int64_t i = 0; s->n_bounds && i < s->first[s->n_bounds]; i++) {
        const fl_dataset *d = s->parts[s->members[i]].dataset;
        size_t need = d ? fl_dataset_need(d) : 1;
        most = need > most ? need : most;
    }
    return most;
}

/* Number of the dataset's chunk, and of the element in it, at an index. */
static inline void fl_locate(const fl_dataset *d, const int64_t *index, int64_t *chunk, size_t *element)
{
    *chunk = 0;
    *element = 0;
    for (int k = 0; k < d->ndim; k++) {
        *chunk = *chunk * d->grid[k] + index[k] / d->chunk[k];
        *element = *element * (size_t)d->chunk[k] + (size_t)(index[k] % d->chunk[k]);
    }
}

/* Elements from one place to the next along an axis of the dataset, inside of one chunk. */
static inline size_t fl_stride(const fl_dataset *d, int axis)
{
    size_t n = 1;
    for (int k = axis + 1; k < d->ndim; k++)
        n *= (size_t)d->chunk[k];
    return n;
}

/* A tile: the places [y0, y1) x [x0, x1) of a part that lie in one chunk. */
typedef struct {
    const fl_part *part;
    int64_t y0, y1, x0, x1;
    int64_t chunk;  /* its number */
    size_t element; /* the one of (y0, x0) in the chunk */
    size_t sy, sx;  /* elements from row to row, and from column to column */
} fl_tile;

/* Where the place (y, x) of a part lies in the frame, counted in pixels. */
static inline int64_t fl_pixel(const fl_stack *s, const fl_part *p, int64_t y, int64_t x)
{
    const fl_axis *ay = &p->axes[s->n_axes - 2], *ax = ay + 1;
    return (ay->start + ay->step * y) * s->nx + ax->start + ax->step * x;
}

/* Smallest i >= 0 with start + step*i >= at. */
static inline int64_t fl_first_at(int64_t start, int64_t step, int64_t at)
{
    return at <= start ? 0 : (at - start + step - 1) / step;
}

/* The places [*x0, *x1) of row y of a tile whose pixels lie in [from, to). */
static inline void fl_clip_row(const fl_stack *s, const fl_tile *t, int64_t y, int64_t from, int64_t to, int64_t *x0,
                               int64_t *x1)
{
    int64_t row = fl_pixel(s, t->part, y, 0), step = t->part->axes[s->n_axes - 1].step;
    int64_t a = fl_first_at(row, step, from), b = fl_first_at(row, step, to);
    *x0 = a > t->x0 ? a : t->x0;
    *x1 = b < t->x1 ? b : t->x1;
}

static void fl_copy_row(uint8_t *out, size_t out_step, const uint8_t *in, size_t in_step, int64_t n, size_t itemsize)
{
    if (out_step == 1 && in_step == 1) {
        memcpy(out, in, (size_t)n * itemsize);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(out + (size_t)i * out_step * itemsize, in + (size_t)i * in_step * itemsize, itemsize);
}

/* One row of a tile at a time: where the rows of a chunk lie far from each other. */
static int fl_tile_by_rows(const fl_stack *s, const fl_tile *t, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    fl_dataset *d = t->part->dataset;
    const fl_axis *ax = &t->part->axes[s->n_axes - 1];
    size_t z = s->itemsize;
    size_t most = (size_t)(t->x1 - t->x0 - 1) * t->sx + 1;
    int direct = t->sx == 1 && ax->step == 1;
    uint8_t *row = direct ? NULL : malloc(most * z);
    if (!direct && !row)
        return fl_fail(e, FL_NOMEM, "");
    int rc = FL_OK;
    for (int64_t y = t->y0; y < t->y1 && rc == FL_OK; y++) {
        int64_t x0, x1;
        fl_clip_row(s, t, y, from, to, &x0, &x1);
        if (x0 >= x1)
            continue;
        size_t at = t->element + (size_t)(y - t->y0) * t->sy + (size_t)(x0 - t->x0) * t->sx;
        size_t n = (size_t)(x1 - x0 - 1) * t->sx + 1;
        uint8_t *to_here = out + (size_t)(fl_pixel(s, t->part, y, x0) - from) * z;
        rc = fl_chunk_read(d, t->chunk, at * z, (at + n) * z, direct ? to_here : row, e);
        if (rc == FL_OK && !direct)
            fl_copy_row(to_here, (size_t)ax->step, row, t->sx, x1 - x0, z);
    }
    free(row);
    return rc;
}

/* All rows of a tile in one go: decode from its first to its last element, then lay the rows where they belong. */
static int fl_tile_at_once(const fl_stack *s, const fl_tile *t, size_t first, size_t last, int64_t from, int64_t to,
                           uint8_t *out, fl_error *e)
{
    fl_dataset *d = t->part->dataset;
    const fl_axis *ax = &t->part->axes[s->n_axes - 1];
    size_t z = s->itemsize;
    uint8_t *rows = malloc((last - first) * z);
    if (!rows)
        return fl_fail(e, FL_NOMEM, "");
    int rc = fl_chunk_read(d, t->chunk, first * z, last * z, rows, e);
    for (int64_t y = t->y0; y < t->y1 && rc == FL_OK; y++) {
        int64_t x0, x1;
        fl_clip_row(s, t, y, from, to, &x0, &x1);
        if (x0 >= x1)
            continue;
        size_t at = t->element + (size_t)(y - t->y0) * t->sy + (size_t)(x0 - t->x0) * t->sx;
        fl_copy_row(out + (size_t)(fl_pixel(s, t->part, y, x0) - from) * z, (size_t)ax->step, rows + (at - first) * z,
                    t->sx, x1 - x0, z);
    }
    free(rows);
    return rc;
}

static int fl_tile_read(const fl_stack *s, const fl_tile *t, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    fl_dataset *d = t->part->dataset;
    const fl_axis *ay = &t->part->axes[s->n_axes - 2], *ax = ay + 1;
    int64_t rows = 0, first_pixel = 0;
    size_t z = s->itemsize, wanted = 0, first = SIZE_MAX, last = 0;
    if (t->sx == 1 && ax->step == 1 && ay->step == 1 && t->x1 - t->x0 == s->nx && t->sy == (size_t)s->nx) {
        /* whole rows, one after the other on both sides: the very bytes that are asked for */
        int64_t start = fl_pixel(s, t->part, t->y0, 0), stop = fl_pixel(s, t->part, t->y1, 0);
        int64_t a = from > start ? from : start, b = to < stop ? to : stop;
        if (a >= b)
            return FL_OK;
        first = t->element + (size_t)(a - start);
        return fl_chunk_read(d, t->chunk, first * z, (first + (size_t)(b - a)) * z, out + (size_t)(a - from) * z, e);
    }
    for (int64_t y = t->y0; y < t->y1; y++) { /* from which element to which? The axes may come in any order */
        int64_t x0, x1;
        fl_clip_row(s, t, y, from, to, &x0, &x1);
        if (x0 >= x1)
            continue;
        size_t row = t->element + (size_t)(y - t->y0) * t->sy, a = row + (size_t)(x0 - t->x0) * t->sx;
        size_t b = row + (size_t)(x1 - 1 - t->x0) * t->sx + 1;
        if (rows++ == 0)
            first_pixel = fl_pixel(s, t->part, y, x0);
        first = a < first ? a : first;
        last = b > last ? b : last;
        wanted += (size_t)(x1 - x0);
    }
    if (rows == 0)
        return FL_OK;
    if (rows == 1 && t->sx == 1 && ax->step == 1)
        return fl_chunk_read(d, t->chunk, first * z, last * z, out + (size_t)(first_pixel - from) * z, e);
    if (d->kind == FL_CONTIGUOUS && last - first > 4 * wanted + 65536)
        return fl_tile_by_rows(s, t, from, to, out, e);
    return fl_tile_at_once(s, t, first, last, from, to, out, e);
}

/* The end of the run of places from `i` on that lie in the same chunk as place i along an axis. */
static inline int64_t fl_same_chunk(const fl_dataset *d, const fl_axis *a, int64_t i, int64_t end)
{
    if (a->src_axis < 0)
        return end;
    int64_t size = d->chunk[a->src_axis];
    int64_t next = ((a->src_start + a->src_step * i) / size + 1) * size; /* first index of the next chunk */
    int64_t stop = fl_first_at(a->src_start, a->src_step, next);
    return stop < end ? stop : end;
}

static void fl_part_fill(const fl_stack *s, const fl_part *p, const uint8_t *fill, int64_t from, int64_t to,
                         uint8_t *out)
{
    const fl_axis *ay = &p->axes[s->n_axes - 2], *ax = ay + 1;
    fl_tile t = {.part = p, .y0 = 0, .y1 = ay->count, .x0 = 0, .x1 = ax->count};
    for (int64_t y = fl_first_at(ay->start, ay->step, from / s->nx); y < ay->count; y++) {
        int64_t x0, x1;
        if (fl_pixel(s, p, y, 0) >= to)
            break;
        fl_clip_row(s, &t, y, from, to, &x0, &x1);
        for (int64_t x = x0; x < x1; x++)
            memcpy(out + (size_t)(fl_pixel(s, p, y, x) - from) * s->itemsize, fill, s->itemsize);
    }
}

typedef int (*fl_tile_fn)(const fl_stack *, const fl_tile *, int64_t from, int64_t to, uint8_t *out, fl_error *);

/* Go over the tiles of a part that have something of the pixels [from, to) of a frame. `index`: the dataset's index,
 * leading axes filled in. */
static int fl_part_tiles(const fl_stack *s, const fl_part *p, const int64_t *index, int64_t from, int64_t to,
                         fl_tile_fn visit, uint8_t *out, fl_error *e)
{
    fl_dataset *d = p->dataset;
    int rc = fl_dataset_ready(d, e);
    if (rc) {
        e->name = d->name;
        return rc;
    }
    const fl_axis *ay = &p->axes[s->n_axes - 2], *ax = ay + 1;
    int64_t y = fl_first_at(ay->start, ay->step, from / s->nx);
    int64_t y_end = fl_first_at(ay->start, ay->step, (to - 1) / s->nx + 1);
    if (y_end > ay->count)
        y_end = ay->count;
    int64_t here[FL_MAX_DIMS];
    memcpy(here, index, sizeof here);
    fl_tile t = {.part = p};
    t.sy = ay->src_axis < 0 ? 0 : fl_stride(d, ay->src_axis) * (size_t)ay->src_step;
    t.sx = ax->src_axis < 0 ? 0 : fl_stride(d, ax->src_axis) * (size_t)ax->src_step;
    while (y < y_end && rc == FL_OK) {
        int64_t y1 = fl_same_chunk(d, ay, y, y_end);
        for (int64_t x = 0; x < ax->count && rc == FL_OK;) {
            int64_t x1 = fl_same_chunk(d, ax, x, ax->count);
            t.y0 = y, t.y1 = y1, t.x0 = x, t.x1 = x1;
            if (ay->src_axis >= 0)
                here[ay->src_axis] = ay->src_start + ay->src_step * y;
            if (ax->src_axis >= 0)
                here[ax->src_axis] = ax->src_start + ax->src_step * x;
            fl_locate(d, here, &t.chunk, &t.element);
            rc = visit(s, &t, from, to, out, e);
            x = x1;
        }
        y = y1;
    }
    return rc;
}

/* What a part shows of the pixels [from, to) of a frame. */
static int fl_part_read(const fl_stack *s, const fl_part *p, const int64_t *index, int64_t from, int64_t to,
                        uint8_t *out, fl_error *e)
{
    if (p->dataset)
        return fl_part_tiles(s, p, index, from, to, fl_tile_read, out, e);
    fl_part_fill(s, p, p->fill, from, to, out);
    return FL_OK;
}

/* 1 if the frame at `place` (along the leading axes) belongs to the part; OUT: the dataset's index. */
static int fl_part_has(const fl_stack *s, const fl_part *p, const int64_t *place, int64_t *index)
{
    memcpy(index, p->base, sizeof p->base);
    for (int k = 0; k < s->n_axes - 2; k++) {
        const fl_axis *a = &p->axes[k];
        int64_t off = place[k] - a->start;
        if (off < 0 || off % a->step || off / a->step >= a->count)
            return 0;
        if (a->src_axis >= 0)
            index[a->src_axis] = a->src_start + a->src_step * (off / a->step);
    }
    return 1;
}

/* The range of `members` that may belong to a place along the first axis. */
static void fl_members_at(const fl_stack *s, int64_t place, int64_t *begin, int64_t *end)
{
    int64_t lo = 0, hi = s->n_bounds - 1; /* bounds[lo] <= place < bounds[hi] */
    *begin = *end = 0;
    if (s->n_bounds < 2 || place < s->bounds[0] || place >= s->bounds[hi])
        return;
    while (hi - lo > 1) {
        int64_t mid = (lo + hi) / 2;
        if (s->bounds[mid] <= place) lo = mid; else hi = mid;
    }
    *begin = s->first[lo];
    *end = s->first[lo + 1];
}

/* Where a frame is along the leading axes (OUT), and the range of `members` that may belong to it. */
static void fl_frame_place(const fl_stack *s, int64_t frame, int64_t *place, int64_t *begin, int64_t *end)
{
    memset(place, 0, FL_MAX_AXES * sizeof *place);
    for (int k = s->n_axes - 3; k >= 0; k--) {
        place[k] = frame % s->shape[k];
        frame /= s->shape[k];
    }
    /* with no leading axis there is one frame, and all parts belong to it */
    fl_members_at(s, s->n_axes > 2 ? place[0] : 0, begin, end);
}

/* Pixels [from, to) of one frame (OUT: (to - from) * itemsize bytes). */
static int fl_frame_read(const fl_stack *s, int64_t frame, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    int64_t place[FL_MAX_AXES], index[FL_MAX_DIMS], begin, end;
    int covered = 0;
    fl_frame_place(s, frame, place, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const fl_part *p = &s->parts[s->members[i]];
        if (fl_part_has(s, p, place, index) &&
            p->axes[s->n_axes - 2].count * p->axes[s->n_axes - 1].count == s->ny * s->nx)
            covered = 1;
    }
    if (!covered)
        fl_fill(out, (size_t)(to - from) * s->itemsize, 0, s->fill, s->itemsize);
    int rc = FL_OK;
    for (int64_t i = begin; i < end && rc == FL_OK; i++) {
        const fl_part *p = &s->parts[s->members[i]];
        if (fl_part_has(s, p, place, index))
            rc = fl_part_read(s, p, index, from, to, out, e);
    }
    if (rc)
        e->frame = frame;
    return rc;
}

static int fl_tile_ahead(const fl_stack *s, const fl_tile *t, int64_t from, int64_t to, uint8_t *loads, fl_error *e)
{
    (void)s, (void)from, (void)to, (void)e;
    *loads = (uint8_t)(fl_chunk_ahead(t->part->dataset, t->chunk) | *loads);
    return FL_OK;
}

/* Load the chunks that pixels [from, to) of a frame need before anybody asks for them. 1 if there was any to load. */
static int fl_frame_ahead(const fl_stack *s, int64_t frame, int64_t from, int64_t to)
{
    int64_t place[FL_MAX_AXES], index[FL_MAX_DIMS], begin, end;
    uint8_t loads = 0;
    fl_frame_place(s, frame, place, &begin, &end);
    for (int64_t i = begin; i < end && from < to; i++) {
        const fl_part *p = &s->parts[s->members[i]];
        fl_error e;
        fl_error_clear(&e);
        if (p->dataset && fl_part_has(s, p, place, index))
            fl_part_tiles(s, p, index, from, to, fl_tile_ahead, &loads, &e); /* who reads the frame is told what fails */
    }
    return loads;
}

/* Pixels [from, to) counted through all frames of the stack. */
static int fl_stack_read(const fl_stack *s, int64_t from, int64_t to, uint8_t *out, fl_error *e)
{
    int64_t per_frame = s->ny * s->nx;
    if (from < 0 || from > to || to > s->frames * per_frame)
        return fl_fail(e, FL_RANGE, "range outside the stack");
    while (from < to) {
        int64_t frame = from / per_frame, start = frame * per_frame;
        int64_t stop = to < start + per_frame ? to : start + per_frame;
        int rc = fl_frame_read(s, frame, from - start, stop - start, out, e);
        if (rc)
            return rc;
        out += (size_t)(stop - from) * s->itemsize;
        from = stop;
    }
    return FL_OK;
}

#endif
