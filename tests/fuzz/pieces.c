/* SPDX-License-Identifier: MIT
 *
 * Virtual files: random frames in random views, forms and pieces. Any range of a file is the slice of the whole, all SIMD
 * levels give the same bytes, and an encoded frame has the size that was measured.
 */
#include "fuzz.h"

#include "splice.h"

enum { MOST_PIECES = 6, MOST_BYTES = 1 << 20 };

typedef struct {
    fl_dataset dataset;
    fl_part part;
    fl_stack stack;
    fl_view view;
    fl_coder coders[MOST_PIECES];
    fl_piece pieces[MOST_PIECES];
    fl_vfile file;
    fl_cache cache;
    uint8_t *pixels, *mask;
    int64_t bounds[2], first[2], members[1];
} fixture;

static void put(fl_number *out, int type, int64_t value)
{
    float f = (float)value;
    double d = (double)value;
    memset(out, 0, sizeof *out);
    if (type == FL_F4)
        memcpy(out, &f, sizeof f);
    else if (type == FL_F8)
        memcpy(out, &d, sizeof d);
    else
        memcpy(out, &value, fl_type_size(type)); /* the low bytes */
}

static void make_stack(fixture *x, fuzz_input *in, int type)
{
    int64_t n = 1 + fuzz_upto(in, 2), ny = 1 + fuzz_upto(in, 30), nx = 1 + fuzz_upto(in, 70);
    int64_t shape[3] = {n, ny, nx};
    size_t z = fl_type_size(type);
    x->dataset = (fl_dataset){.id = 1, .name = "f::d", .kind = FL_MEMORY, .ndim = 3, .itemsize = z, .n_chunks = 1};
    x->dataset.ready = 1;
    x->dataset.cache = &x->cache;
    x->dataset.chunk_bytes = (size_t)(n * ny * nx) * z;
    x->stack = (fl_stack){.n_axes = 3, .frames = n, .ny = ny, .nx = nx, .itemsize = z, .parts = &x->part, .n_bounds = 2};
    x->part.dataset = &x->dataset;
    for (int k = 0; k < 3; k++) {
        x->dataset.shape[k] = x->dataset.chunk[k] = x->stack.shape[k] = shape[k];
        x->dataset.grid[k] = 1;
        x->part.axes[k] = (fl_axis){.step = 1, .count = shape[k], .src_step = 1, .src_axis = k};
    }
    if (fuzz_upto(in, 3) == 0) { /* steps in the stack, so that the fill value is seen */
        int64_t step = 1 + fuzz_upto(in, 2), start = fuzz_upto(in, 1) % nx;
        x->part.axes[2] = (fl_axis){start, step, (nx - start + step - 1) / step, 0, 1, 2};
        start = fuzz_upto(in, 1) % ny;
        x->part.axes[1] = (fl_axis){start, 1, ny - start, start, 1, 1};
    }
    x->bounds[1] = n;
    x->first[1] = 1;
    x->stack.bounds = x->bounds;
    x->stack.first = x->first;
    x->stack.members = x->members;
    for (size_t i = 0; i < z; i++)
        x->stack.fill[i] = (uint8_t)fuzz_byte(in);
}

static void make_view(fixture *x, fuzz_input *in, int type)
{
    fl_stack *s = &x->stack;
    unsigned how = fuzz_byte(in);
    int64_t side = (how & 64) ? 1 + fuzz_upto(in, 5) : 1;
    if (side > s->ny || side > s->nx)
        side = 1;
    fl_view *v = &x->view;
    *v = (fl_view){.stack = s, .type = type, .swap = how & 1, .side = side, .by = s->ny / side, .bx = s->nx / side};
    v->transpose = how >> 1 & 1, v->flip_ud = how >> 2 & 1, v->flip_lr = how >> 3 & 1;
    v->ny = v->transpose ? v->bx : v->by;
    v->nx = v->transpose ? v->by : v->bx;
    v->cache = &x->cache;
    if (how & 16) {
        size_t n = (size_t)(s->ny * s->nx);
        x->mask = fuzz_bytes(in, n);
        for (size_t i = 0; i < n; i++)
            x->mask[i] = (uint8_t)(x->mask[i] > 2 ? 0 : x->mask[i]);
        v->mask = x->mask;
    }
    v->by_value = !v->mask && type <= FL_U8;
}

static void make_coder(fixture *x, fuzz_input *in, fl_coder *c, int coded)
{
    const fl_view *v = &x->view;
    fl_form *f = &c->form;
    fl_conversion *how = &f->convert;
    unsigned bits = fuzz_byte(in);
    how->from = v->side == 1 ? v->type : v->type >= FL_F4 ? FL_F8 : FL_I8;
    how->to = coded ? FL_I4 : (int)fuzz_upto(in, FL_TYPES - 1);
    how->swap = !coded && (bits & 1);
    how->has_gap = bits >> 1 & 1, how->has_bad = bits >> 2 & 1, how->is_error = (bits >> 3 & 3) == 3 && how->to < FL_F4;
    put(&how->gap, how->to, (int64_t)(int8_t)fuzz_byte(in));
    put(&how->bad, how->to, (int64_t)(int8_t)fuzz_byte(in));
    put(&how->nan, how->to, 0);
    put(&f->pad, how->to, fuzz_byte(in));
    int64_t low = how->from <= FL_U8 || how->to <= FL_U8 ? 0 : -(int64_t)fuzz_upto(in, 100), high = fuzz_upto(in, 127);
    if (how->from < FL_F4 && (bits & 32)) { /* all that a number of the type may be: bits are kept */
        low = how->from <= FL_U8 ? 0 : INT64_MIN >> (64 - 8 * fl_type_size(how->from));
        high = how->from <= FL_U8 ? -1 : INT64_MAX >> (64 - 8 * fl_type_size(how->from));
        how->add = (int8_t)fuzz_byte(in);
    }
    put(&how->low, how->from, low);
    put(&how->high, how->from, high);
    put(&how->least, how->to, low);
    put(&how->most, how->to, high);
    f->id = 16 + 2 * (uint64_t)(c - x->coders);
    f->view = v;
    f->y = fuzz_upto(in, 3), f->x = fuzz_upto(in, 9);
    f->ny = f->y + v->ny + fuzz_upto(in, 3);
    f->nx = f->x + v->nx + fuzz_upto(in, 9);
    c->codec = (int)fuzz_upto(in, 2);
}

/* A piece. 0 if it cannot be made: its frame is beyond the limits. */
static int make_piece(fixture *x, fuzz_input *in, int number)
{
    fl_piece *p = &x->pieces[number];
    p->kind = (int)fuzz_byte(in) % (FL_PADDING + 1);
    p->first_frame = fuzz_upto(in, (unsigned)x->stack.frames - 1);
    int64_t frames = 1 + fuzz_upto(in, (unsigned)(x->stack.frames - 1 - p->first_frame));
    p->coder = &x->coders[number];
    p->start = x->file.size;
    p->swap = (int)fuzz_upto(in, 1);
    p->value = 7;
    if (p->kind == FL_LITERAL || p->kind == FL_PADDING) {
        p->size = fuzz_upto(in, 300);
        p->data = p->kind == FL_LITERAL ? fuzz_bytes(in, (size_t)p->size) : NULL;
    } else if (p->kind == FL_PIXELS) {
        p->size = frames * x->stack.ny * x->stack.nx * (int64_t)x->stack.itemsize;
    } else {
        make_coder(x, in, &x->coders[number], p->kind == FL_CODED);
        const fl_form *f = &p->coder->form;
        p->size = frames * f->ny * f->nx * (int64_t)fl_form_size(f);
    }
    if (p->kind == FL_CODED) {
        fl_measured portable, m;
        fl_error e;
        int best = x->view.simd;
        fl_error_clear(&e);
        int rc = fl_measure(p->coder, p->first_frame, &m, &e);
        x->view.simd = FL_SIMD_PORTABLE;
        REQUIRE(fl_measure(p->coder, p->first_frame, &portable, &e) == rc);
        x->view.simd = best;
        REQUIRE(rc != FL_OK || (m.size == portable.size && m.n16 == portable.n16 && m.n32 == portable.n32));
        if (rc)
            return 0;
        p->size = m.size;
    }
    x->file.size += p->size;
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    fixture *x = calloc(1, sizeof *x);
    REQUIRE(x);
    int type = (int)fuzz_byte(&in) % FL_TYPES, n = 1 + (int)fuzz_upto(&in, MOST_PIECES - 1), ok = 1;
    unsigned ranges[8];
    for (int i = 0; i < 8; i++)
        ranges[i] = fuzz_byte(&in) << 8 | fuzz_byte(&in);
    fl_cache_init(&x->cache, (size_t)fuzz_upto(&in, 1) << 20);
    make_stack(x, &in, type);
    make_view(x, &in, type);
    x->view.simd = fl_simd_best();
    x->file = (fl_vfile){.pieces = x->pieces, .stack = &x->stack};
    /* the pixels are what is left, and the descriptions of pieces too: they are few bytes */
    x->pixels = fuzz_bytes(&(fuzz_input){in.data, in.size}, x->dataset.chunk_bytes);
    x->dataset.memory = x->pixels;
    for (int i = 0; i < n && ok; i++) {
        ok = make_piece(x, &in, i);
        x->file.n_pieces += ok;
    }
    if (x->file.size <= MOST_BYTES) {
        size_t all = (size_t)x->file.size;
        uint8_t *whole = malloc(all + 1), *portable = malloc(all + 1);
        REQUIRE(whole && portable);
        fl_error e;
        fl_error_clear(&e);
        int64_t got = fl_vfile_read(&x->file, whole, all, 0, &e);
        REQUIRE(got == (int64_t)all || got == FL_BEYOND);
        for (int i = 0; i < 8 && got >= 0; i += 2) {
            size_t from = ranges[i] % (all + 2), count = ranges[i + 1] % (all + 2), left = from < all ? all - from : 0;
            uint8_t *part = malloc(count ? count : 1);
            REQUIRE(part);
            left = count < left ? count : left;
            REQUIRE(fl_vfile_read(&x->file, part, count, (int64_t)from, &e) == (int64_t)left);
            REQUIRE(memcmp(part, whole + from, left) == 0);
            free(part);
        }
        for (int i = 0; i < n; i++) {
            fl_cache_forget(&x->cache, x->coders[i].form.id);
            fl_cache_forget(&x->cache, x->coders[i].form.id + 1);
        }
        x->view.simd = FL_SIMD_PORTABLE;
        REQUIRE(fl_vfile_read(&x->file, portable, all, 0, &e) == got);
        REQUIRE(got < 0 || memcmp(whole, portable, all) == 0);
        free(whole);
        free(portable);
    }
    for (int i = 0; i < MOST_PIECES; i++)
        free((void *)(uintptr_t)x->pieces[i].data);
    fl_cache_free(&x->cache);
    free(x->pixels);
    free(x->mask);
    free(x);
    return 0;
}
