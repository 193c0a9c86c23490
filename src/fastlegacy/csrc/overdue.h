/* SPDX-License-Identifier: MIT
 *
 * What the kernel has asked and nobody has answered yet, and the errors for what waits too long for its source.
 *
 * A thread in a system call on a file system that does not answer cannot be called back. Its request can be answered by
 * another thread, though: with EIO, by the request's number. What the first one says later, the kernel does not take
 * (ENOENT). Its buffers stay its own, and the handle it reads has it as a user until then.
 */
#ifndef FL_OVERDUE_H
#define FL_OVERDUE_H

#include "files.h"
#include "fuse_kernel.h"
#include "fuse_ops.h"

#define FL_READ_MOST (1 << 20)         /* bytes of a reply; libfuse 2 has told the kernel to ask for 128 KiB at most */
#define FL_SLOTS 1024                  /* requests at a time, those that hang included */
#define FL_LOOK_NS 100000000u
#define FL_END_PATIENCE_NS 2000000000u /* who only asks something is waited for so long at the end of the mount */

typedef struct {
    uint64_t ticket; /* written with __atomic; 0: asks nothing. Odd: answered by the watcher. No two are the same */
    uint64_t start_ns, unique, nodeid, of; /* `of`: a number made from the rest of the question */
    uint32_t opcode;
    int is_question; /* it changes nothing: an error is true whatever comes of it later */
    pthread_t thread;
    fl_handle *handle; /* of a read */
    int64_t at;
    size_t size;
} fl_question;

typedef struct {
    fl_files *files; /* NULL: nothing is ever overdue */
    fl_mount *mount; /* for the log */
    uint64_t tickets, looked_ns;
    int hanging; /* written with __atomic: requests that were answered by the watcher, and their threads still wait */
    fl_question slots[FL_SLOTS];
} fl_overdue;

/* 0 if a read is as the kernel never sends it. */
static int fl_read_is_ours(const struct fl_in_header *in, size_t size)
{
    const struct fl_read_in *r = (const struct fl_read_in *)(in + 1);
    return size >= sizeof *in + sizeof *r && r->fh && r->size <= FL_READ_MOST && r->offset <= INT64_MAX;
}

static void fl_question_fill(fl_question *a, const struct fl_in_header *in, size_t size)
{
    const struct fl_read_in *r = (const struct fl_read_in *)(in + 1);
    const uint32_t *flags = (const uint32_t *)(in + 1);
    a->start_ns = fl_now_ns();
    a->unique = in->unique;
    a->nodeid = in->nodeid;
    a->opcode = in->opcode;
    a->thread = pthread_self();
    a->handle = NULL;
    a->of = 0;
    a->is_question = 0;
    switch (in->opcode) {
    case FL_OP_READ:
        if (fl_read_is_ours(in, size) && ((fl_handle *)(uintptr_t)r->fh)->file) {
            a->handle = (fl_handle *)(uintptr_t)r->fh;
            a->at = (int64_t)r->offset;
            a->size = r->size;
            a->of = r->offset;
            a->is_question = 1;
        }
        break;
    case FL_OP_OPEN:
        a->is_question = size >= sizeof *in + 4 && (*flags & (O_ACCMODE | O_TRUNC | O_CREAT)) == O_RDONLY;
        break;
    case FL_OP_LOOKUP:
        a->of = fl_hash_of((const uint8_t *)(in + 1), size - sizeof *in);
        a->is_question = 1;
        break;
    case FL_OP_GETATTR:
    case FL_OP_READLINK:
    case FL_OP_OPENDIR:
    case FL_OP_READDIR:
        a->is_question = 1;
    }
}

/* A request has come to the thread of a slot. 0 if the same question hangs already: it was answered with an error. */
static int fl_overdue_begin(fl_overdue *o, int slot, const struct fl_in_header *in, size_t size)
{
    fl_question *a = &o->slots[slot];
    fl_question_fill(a, in, size);
    for (int i = 0; a->is_question && i < FL_SLOTS && __atomic_load_n(&o->hanging, __ATOMIC_ACQUIRE); i++) {
        const fl_question *b = &o->slots[i];
        if (__atomic_load_n(&b->ticket, __ATOMIC_ACQUIRE) % 2 && b->opcode == a->opcode && b->nodeid == a->nodeid &&
            b->of == a->of && b->is_question) {
            fl_answer(in->unique, EIO, NULL, 0);
            return 0;
        }
    }
    __atomic_store_n(&a->ticket, 2 * __atomic_add_fetch(&o->tickets, 1, __ATOMIC_RELAXED), __ATOMIC_RELEASE);
    return 1;
}

/* The thread of a slot is done with its request, but for telling the kernel. 0 if the watcher has told it. */
static int fl_overdue_end(fl_overdue *o, int slot)
{
    if (__atomic_exchange_n(&o->slots[slot].ticket, 0, __ATOMIC_ACQ_REL) % 2 == 0)
        return 1;
    __atomic_sub_fetch(&o->hanging, 1, __ATOMIC_ACQ_REL);
    return 0;
}

/* From now on nobody waits for this one. 0 if it has changed meanwhile. */
static int fl_overdue_give_up(fl_overdue *o, fl_question *a, uint64_t ticket)
{
    __atomic_add_fetch(&o->hanging, 1, __ATOMIC_ACQ_REL);
    if (__atomic_compare_exchange_n(&a->ticket, &ticket, ticket | 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return 1;
    __atomic_sub_fetch(&o->hanging, 1, __ATOMIC_ACQ_REL);
    return 0;
}

/* The source that a thread waits for (OUT), for longer than the patience. 0: none. */
static int fl_overdue_source(fl_files *t, pthread_t thread, uint64_t now, uint64_t patience_ns, char *path, size_t room)
{
    int found = 0;
    pthread_mutex_lock(&t->lock);
    for (fl_visit *v = t->visits.oldest; v && now - v->start_ns > patience_ns && !found; v = v->after) {
        found = pthread_equal(v->thread, thread);
        if (found)
            snprintf(path, room, "%s", v->path);
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

/* Answer what has waited too long, if any source hangs. Questions that wait for something else meanwhile, such as a lock
 * of who waits for the source, are answered too. */
static void fl_overdue_look(fl_overdue *o)
{
    char oldest[sizeof((fl_error *)NULL)->detail];
    uint64_t now = fl_now_ns(), patience;
    if (!o->files || now - o->looked_ns < FL_LOOK_NS)
        return;
    o->looked_ns = now;
    pthread_mutex_lock(&o->files->lock);
    patience = o->files->visits.patience_ns;
    int hangs = fl_visits_any_hangs(&o->files->visits, now);
    if (hangs)
        snprintf(oldest, sizeof oldest, "%s", o->files->visits.oldest->path);
    pthread_mutex_unlock(&o->files->lock);
    for (int i = 0; i < FL_SLOTS && hangs; i++) {
        fl_question *a = &o->slots[i];
        uint64_t ticket = __atomic_load_n(&a->ticket, __ATOMIC_ACQUIRE);
        if (!ticket || ticket % 2)
            continue;
        fl_error e;
        fl_error_clear(&e);
        fl_fail(&e, FL_SILENT, oldest);
        int visits = fl_overdue_source(o->files, a->thread, now, patience, e.detail, sizeof e.detail);
        if (!visits && !(a->is_question && now - a->start_ns > patience))
            continue;
        if (!fl_overdue_give_up(o, a, ticket))
            continue;
        /* until the kernel has an answer, it does not release the handle */
        fl_mount_note(o->mount, a->handle ? a->handle->name : "", a->at, a->handle ? a->size : 0, &e);
        fl_answer(a->unique, EIO, NULL, 0);
    }
}

/* At the end of the mount: 1 if the thread of a slot is not waited for. `waited_ns`: so long was waited for all. */
static int fl_overdue_is_left(fl_overdue *o, int slot, uint64_t waited_ns)
{
    char path[8];
    fl_question *a = &o->slots[slot];
    uint64_t ticket = __atomic_load_n(&a->ticket, __ATOMIC_ACQUIRE);
    if (ticket % 2)
        return 1;
    if (!o->files || !ticket || waited_ns < FL_END_PATIENCE_NS)
        return 0;
    int is_left = a->is_question || fl_overdue_source(o->files, a->thread, fl_now_ns(), 0, path, sizeof path);
    return is_left && fl_overdue_give_up(o, a, ticket);
}

#endif
