/* SPDX-License-Identifier: MIT
 *
 * Frames through the codecs of legacy formats: how large one becomes, and any range of its bytes.
 *
 * To measure a frame, its rows are converted a few at a time and counted while they are in the L2 cache; nothing is
 * written, and the most usual pixels are counted as they are stored. To read one, it is encoded as a whole, once, again
 * a few rows at a time, and kept in the cache until all of it was asked for.
 */
#ifndef FL_CODED_H
#define FL_CODED_H

#include "bitfield.h"
#include "bruker.h"
#include "byteoffset.h"
#include "pixels.h"
#include "sizes.h"

enum { FL_BYTE_OFFSET, FL_AGI_BITFIELD, FL_BRUKER };
enum { FL_SHORT_PART = 8 }; /* the first 1/8 of the rows is a beginning that is encoded by itself */

typedef struct {
    int codec;
    fl_form form;      /* of 32-bit signed pixels, in this machine's byte order */
} fl_coder;

typedef struct {
    int64_t size;      /* bytes */
    int64_t n16, n32;  /* Bruker: entries of the tables */
} fl_measured;

/* So many rows are converted at a time: all of them where they are columns of what is stored. */
static int64_t fl_coder_step(const fl_coder *c)
{
    const fl_form *f = &c->form;
    int64_t row = (f->nx ? f->nx : 1) * (int64_t)sizeof(int32_t);
    int64_t step = 2 * FL_ROWS_BYTES / row; /* twice: stored pixels are seldom so large */
    return f->view->transpose || step > f->ny ? f->ny : step < 1 ? 1 : step;
}

static int fl_coder_pixels(const fl_coder *c, int64_t frame, int32_t **pixels, size_t *room, fl_error *e)
{
    int64_t n = c->form.ny * c->form.nx;
    *pixels = (int32_t *)fl_cache_buffer(c->form.view->cache, (size_t)n * sizeof **pixels, room);
    if (!*pixels)
        return fl_fail(e, FL_NOMEM, "");
    return fl_framed_read(&c->form, frame, 0, n, (uint8_t *)*pixels, e);
}

/* A number that is a u2, a u4 or an i4. */
static inline int64_t fl_number_of(const fl_number *number, int type)
{
    uint16_t two;
    uint32_t four;
    memcpy(&two, number, sizeof two);
    memcpy(&four, number, sizeof four);
    return type == FL_U2 ? two : type == FL_U4 ? (int64_t)four : (int32_t)four;
}

/* 1 if it is known that no two pixels of the form are 2^31 or more apart. */
static int fl_is_near(const fl_form *f)
{
    const fl_conversion *c = &f->convert;
    const fl_number *others[] = {&c->gap, &c->bad, &f->pad};
    if (c->from != FL_U2 && c->from != FL_U4)
        return 0;
    int64_t least = fl_number_of(&c->low, c->from) + c->add, most = fl_number_of(&c->high, c->from) + c->add;
    if (least < INT32_MIN || most > INT32_MAX)
        return 0; /* those bits that are kept may be any number */
    for (int i = 0; i < 3; i++) {
        int64_t other = fl_number_of(others[i], FL_I4);
        least = other < least ? other : least;
        most = other > most ? other : most;
    }
    return most - least <= INT32_MAX;
}

/* 1 if a frame becomes what csrc/sizes.h counts as it is stored. */
static int fl_is_counted_as_stored(const fl_coder *c)
{
    const fl_form *f = &c->form;
    const fl_view *v = f->view;
    const fl_conversion *how = &f->convert;
    return c->codec == FL_BYTE_OFFSET && fl_is_near(f) && v->by_value && v->side == 1 && !v->transpose &&
           !v->flip_ud && !v->flip_lr && f->ny == v->ny && f->nx == v->nx && how->has_gap &&
           fl_number_of(&how->gap, FL_I4) == -1 && how->add == 0 && fl_number_of(&how->low, how->from) == 0 &&
           !how->is_error;
}

static int fl_measure_stored(const fl_coder *c, int64_t frame, fl_measured *m, fl_error *e)
{
    const fl_view *v = c->form.view;
    size_t z = v->stack->itemsize;
    int64_t n = v->ny * v->nx, step = FL_ROWS_BYTES / (int64_t)z;
    int64_t most = fl_number_of(&c->form.convert.high, v->type) + 1;
    uint8_t *room = aligned_alloc(FL_LINE, FL_LINE + FL_ROWS_BYTES), *stored = room + FL_LINE;
    int rc = FL_OK;
    if (!room)
        return fl_fail(e, FL_NOMEM, "");
    memset(stored - z, 0, z); /* the pixel before the first one is 0 */
    for (int64_t from = 0; from < n && rc == FL_OK; from += step) {
        int64_t to = n - from < step ? n : from + step;
        rc = fl_read_stored(v, frame, from, to, stored, e);
        if (rc == FL_OK && v->type == FL_U2)
            m->size += fl_size_of_u16((const uint16_t *)stored, to - from, most > UINT16_MAX ? UINT16_MAX : most, v->simd);
        else if (rc == FL_OK)
            m->size += fl_size_of_u32((const uint32_t *)stored, to - from, (uint32_t)most, v->simd);
        memcpy(stored - z, stored + (size_t)(to - from - 1) * z, z);
    }
    free(room);
    return rc;
}

/* Add what some rows (IN) become; row[-1] is the pixel before them where `first` is not set. */
static void fl_measure_rows(const fl_coder *c, const int32_t *rows, int64_t ny, int first, int near, fl_measured *m)
{
    int64_t n = ny * c->form.nx, n32;
    int simd = c->form.view->simd;
    switch (c->codec) {
    case FL_BYTE_OFFSET:
        if (first) {
            m->size += fl_byteoffset_size(rows++, 1, simd);
            n--;
        }
        m->size += near ? fl_size_of_i32((const uint32_t *)rows, n, 0, simd)
                        : fl_byteoffset_size(rows - 1, n + 1, simd) - fl_byteoffset_size(rows - 1, 1, simd);
        break;
    case FL_AGI_BITFIELD:
        m->size += (int64_t)fl_agi_rows_size(rows, ny, c->form.nx, simd);
        break;
    default:
        m->n16 += fl_bruker_count(rows, n, &n32, simd);
        m->n32 += n32;
    }
}

/* How large a frame is that is in the cache (OUT); 0 if it is not there. */
static int fl_coded_size(const fl_coder *c, int64_t frame, int64_t *size)
{
    int mine;
    fl_entry *entry = fl_cache_get(c->form.view->cache, c->form.id + 1, (uint64_t)frame, 0, &mine);
    if (!entry)
        return 0;
    *size = (int64_t)entry->size;
    fl_cache_release(c->form.view->cache, entry, 0);
    return 1;
}

/* How large a frame becomes (OUT). */
static int fl_measure(const fl_coder *c, int64_t frame, fl_measured *m, fl_error *e)
{
    const fl_form *f = &c->form;
    int64_t step = fl_coder_step(c);
    int near = fl_is_near(f);
    memset(m, 0, sizeof *m);
    if (c->codec != FL_BRUKER && fl_coded_size(c, frame, &m->size))
        return FL_OK;
    if (fl_is_counted_as_stored(c))
        return fl_measure_stored(c, frame, m, e);
    int32_t *rows = malloc(((size_t)(step * f->nx) + 1) * sizeof *rows);
    if (!rows)
        return fl_fail(e, FL_NOMEM, "");
    int rc = FL_OK;
    for (int64_t y = 0; y < f->ny && rc == FL_OK; y += step) {
        int64_t end = f->ny - y < step ? f->ny : y + step;
        rows[0] = y ? rows[step * f->nx] : 0; /* all blocks before the last have `step` rows */
        rc = fl_framed_read(f, frame, y * f->nx, end * f->nx, (uint8_t *)(rows + 1), e);
        if (rc == FL_OK)
            fl_measure_rows(c, rows + 1, end - y, y == 0, near, m);
    }
    free(rows);
    if (c->codec == FL_AGI_BITFIELD)
        m->size += 4 + 4 * f->ny;
    if (c->codec == FL_BRUKER)
        m->size = fl_bruker_size(f->ny * f->nx, m->n16, m->n32);
    if (rc == FL_OK && c->codec == FL_AGI_BITFIELD && m->size > UINT32_MAX)
        rc = fl_frame_fail(f->view, frame, FL_BEYOND, "AGI_BITFIELD holds 4 GiB of an image", e);
    return rc;
}

/* So much memory does it take at most to encode a frame that becomes `size` bytes. */
static size_t fl_coded_need(const fl_coder *c, int64_t size)
{
    const fl_form *f = &c->form;
    int64_t rows = c->codec == FL_BRUKER ? f->ny : fl_coder_step(c);
    size_t pixels = (size_t)(rows * f->nx + 1) * sizeof(int32_t) + (f->view->transpose ? fl_band_bytes(f) : 0);
    return pixels + (size_t)size + fl_stack_need(f->view->stack);
}

/* Bruker's tables: each begins behind the whole of the one before, so all pixels are there first. */
static int fl_encode_bruker(const fl_coder *c, int64_t frame, uint8_t *out, int64_t size, fl_error *e)
{
    const fl_form *f = &c->form;
    int32_t *pixels;
    size_t room;
    int rc = fl_coder_pixels(c, frame, &pixels, &room, e);
    if (rc == FL_OK && fl_bruker_encode(pixels, f->ny * f->nx, out, size, f->view->simd) != FL_OK)
        rc = fl_frame_fail(f->view, frame, FL_RESIZED, "", e);
    if (pixels)
        fl_cache_give_back(f->view->cache, (uint8_t *)pixels, room);
    return rc;
}

/* Encode a whole frame (OUT: `size` bytes, as it was measured), a few rows at a time: they stay in the L2 cache. */
static int fl_encode(const fl_coder *c, int64_t frame, uint8_t *out, int64_t size, fl_error *e)
{
    const fl_form *f = &c->form;
    int64_t step = fl_coder_step(c);
    size_t lead = c->codec == FL_AGI_BITFIELD ? 4 : 0, table = lead * (size_t)f->ny, done = 0, written, room;
    if (c->codec == FL_BRUKER)
        return fl_encode_bruker(c, frame, out, size, e);
    if ((size_t)size < lead + table)
        return fl_frame_fail(f->view, frame, FL_RESIZED, "", e);
    int32_t *rows = (int32_t *)fl_cache_buffer(f->view->cache, (size_t)(step * f->nx + 1) * sizeof *rows, &room);
    if (!rows)
        return fl_fail(e, FL_NOMEM, "");
    uint8_t *codes = out + lead, *starts = out + size - table;
    size_t most = (size_t)size - lead - table;
    int rc = FL_OK;
    for (int64_t y = 0; y < f->ny && rc == FL_OK; y += step) {
        int64_t end = f->ny - y < step ? f->ny : y + step, n = (end - y) * f->nx;
        rows[0] = y ? rows[step * f->nx] : 0; /* all blocks before the last have `step` rows */
        rc = fl_framed_read(f, frame, y * f->nx, end * f->nx, (uint8_t *)(rows + 1), e);
        if (rc)
            break;
        if (c->codec == FL_BYTE_OFFSET)
            rc = fl_byteoffset_encode(rows + 1, n, y == 0, codes + done, most - done, &written, f->view->simd);
        else
            rc = fl_agi_encode_rows(rows + 1, end - y, f->nx, done, codes + done, most - done, starts + 4 * y, &written,
                                    f->view->simd);
        if (rc)
            rc = fl_frame_fail(f->view, frame, rc == FL_RANGE ? FL_RESIZED : rc, "", e);
        else
            done += written;
    }
    fl_cache_give_back(f->view->cache, (uint8_t *)rows, room);
    if (rc == FL_OK && done != most)
        rc = fl_frame_fail(f->view, frame, FL_RESIZED, "", e);
    if (rc == FL_OK && lead)
        fl_put_le32(out, (uint32_t)done); /* no more than 4 GiB were measured */
    return rc;
}

static int fl_coded_load(const fl_coder *c, int64_t frame, int64_t size, fl_entry *entry, fl_error *e)
{
    entry->size = (uint64_t)size;
    entry->data = fl_cache_buffer(c->form.view->cache, (size_t)size, &entry->room);
    entry->bytes = entry->data ? entry->room : 0;
    return entry->data ? fl_encode(c, frame, entry->data, size, e) : fl_fail(e, FL_NOMEM, "");
}

/* ---------------------------------------------------------------- the beginning of a frame */

/* So many rows have `to` bytes of code at least, whatever their pixels are. */
static int64_t fl_beginning_rows(const fl_coder *c, int64_t to)
{
    int64_t nx = c->form.nx;
    /* a byte for each pixel; in AGI_BITFIELD three for each group of 16 differences, after the first pixel */
    int64_t least = c->codec == FL_AGI_BITFIELD ? 1 + (nx - 1) / FL_AGI_GROUP * 3 + (nx - 1) % FL_AGI_GROUP : nx;
    return (to + least - 1) / least;
}

static int fl_encode_rows(const fl_coder *c, const int32_t *pixels, int64_t rows, uint8_t *out, size_t room)
{
    int64_t n = rows * c->form.nx;
    int simd = c->form.view->simd, rc;
    size_t written;
    if (c->codec == FL_BYTE_OFFSET)
        return fl_byteoffset_encode(pixels, n, 1, out, room, &written, simd);
    if (c->codec == FL_BRUKER) {
        for (int64_t i = 0; i < n; i++)
            out[i] = (uint8_t)(pixels[i] < 0 ? 0 : pixels[i] < FL_BRUKER_MOST8 ? pixels[i] : FL_BRUKER_MOST8);
        return FL_OK;
    }
    uint8_t *table = malloc(4 * (size_t)rows);
    rc = table ? fl_agi_encode_rows(pixels, rows, c->form.nx, 0, out, room, table, &written, simd) : FL_NOMEM;
    free(table);
    return rc;
}

/* Who wants a header gets some of what follows it: only the first rows are encoded for that, and nothing is kept. */
static int fl_coded_beginning(const fl_coder *c, int64_t frame, int64_t rows, int64_t size, int64_t from, int64_t to,
                              uint8_t *out, fl_error *e)
{
    const fl_form *f = &c->form;
    size_t n = (size_t)(rows * f->nx), room = n, lead = c->codec == FL_AGI_BITFIELD ? 4 : 0;
    uint8_t *codes = NULL;
    int32_t *pixels = malloc(n * sizeof *pixels);
    int rc = pixels ? fl_framed_read(f, frame, 0, (int64_t)n, (uint8_t *)pixels, e) : fl_fail(e, FL_NOMEM, "");
    if (rc == FL_OK) {
        if (c->codec == FL_BYTE_OFFSET)
            room = (size_t)fl_byteoffset_size(pixels, (int64_t)n, f->view->simd);
        else if (c->codec == FL_AGI_BITFIELD)
            room = fl_agi_rows_size(pixels, rows, f->nx, f->view->simd);
        codes = malloc(lead + room);
        rc = codes ? fl_encode_rows(c, pixels, rows, codes + lead, room) : FL_NOMEM;
        if (rc == FL_OK && (int64_t)(lead + room) > size)
            rc = FL_RESIZED;
        if (rc)
            rc = fl_frame_fail(f->view, frame, rc == FL_RANGE ? FL_RESIZED : rc, "", e);
    }
    if (rc == FL_OK) {
        if (lead)
            fl_put_le32(codes, (uint32_t)(size - 4 - 4 * f->ny));
        memcpy(out, codes + from, (size_t)(to - from));
    }
    free(codes);
    free(pixels);
    return rc;
}

/* ---------------------------------------------------------------- any part of a frame */

/* Bytes [from, to) of an encoded frame (OUT), which takes `size` bytes; `counted`: so many of them count as asked for. */
static int fl_coded_read(const fl_coder *c, int64_t frame, int64_t size, int64_t from, int64_t to, uint8_t *out,
                         int64_t counted, fl_error *e)
{
    fl_cache *cache = c->form.view->cache;
    int64_t rows = fl_beginning_rows(c, to);
    int mine, rc = FL_OK, is_short = rows <= c->form.ny / FL_SHORT_PART && !c->form.view->transpose;
    size_t need = is_short ? 0 : fl_coded_need(c, size);
    fl_entry *entry = fl_cache_get(cache, c->form.id + 1, (uint64_t)frame, need, &mine);
    if (!entry)
        return is_short ? fl_coded_beginning(c, frame, rows, size, from, to, out, e) : fl_cache_none(mine, e);
    if (mine) {
        rc = fl_coded_load(c, frame, size, entry, e);
        fl_cache_loaded(cache, entry, need, rc == FL_OK);
    }
    if (rc == FL_OK && (uint64_t)size != entry->size)
        rc = fl_frame_fail(c->form.view, frame, FL_RESIZED, "", e);
    if (rc == FL_OK)
        memcpy(out, entry->data + from, (size_t)(to - from));
    /* what lies before the part that the frame was encoded for has been read as its beginning */
    fl_cache_release(cache, entry, (size_t)(counted && mine ? counted + from : counted));
    return rc;
}

/* Encode a frame before anybody asks for it. 1 if there was something to do. */
static int fl_coded_ahead(const fl_coder *c, int64_t frame)
{
    fl_cache *cache = c->form.view->cache;
    fl_measured m;
    fl_error e;
    fl_error_clear(&e);
    if (fl_cache_has(cache, c->form.id + 1, (uint64_t)frame) || fl_measure(c, frame, &m, &e))
        return 0;
    size_t need = fl_coded_need(c, m.size);
    fl_entry *entry = fl_cache_get_ahead(cache, c->form.id + 1, (uint64_t)frame, (size_t)m.size, need);
    if (!entry)
        return 0;
    return fl_cache_loaded_ahead(cache, entry, need, fl_coded_load(c, frame, m.size, entry, &e) == FL_OK);
}

#endif
