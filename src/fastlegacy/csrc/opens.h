/* SPDX-License-Identifier: MIT
 *
 * Files that are ready to be opened: opening one of them needs no Python.
 */
#ifndef FL_OPENS_H
#define FL_OPENS_H

#include "handles.h"
#include "names.h"

static void fl_prepared_drop(fl_prepared *p)
{
    if (!p->name)
        return;
    fl_file_leave(p->file, p->owner);
    free(p->name);
    p->name = NULL;
}

/* The lock is held. */
static fl_prepared *fl_prepared_find(fl_mount *m, const char *name)
{
    for (int i = 0; i < FL_PREPARED; i++)
        if (m->prepared[i].name && !strcmp(m->prepared[i].name, name))
            return &m->prepared[i];
    return NULL;
}

/* Take a file in place of the oldest one, or of that with this name. Its name and references are the table's now. */
static void fl_prepared_enter(fl_mount *m, fl_prepared new)
{
    pthread_mutex_lock(&m->lock);
    fl_prepared *p = fl_prepared_find(m, new.name);
    if (!p) {
        p = &m->prepared[m->next_prepared];
        m->next_prepared = (m->next_prepared + 1) % FL_PREPARED;
    }
    fl_prepared_drop(p);
    *p = new;
    p->since_ns = fl_now_ns();
    pthread_mutex_unlock(&m->lock);
}

/* Forget the one of this name; with no name those that hold no longer, or that nobody came for; with `all`, all. */
static void fl_prepared_forget(fl_mount *m, const char *name, int64_t epoch, int all)
{
    uint64_t now_ns = fl_now_ns();
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < FL_PREPARED; i++) {
        fl_prepared *p = &m->prepared[i];
        if (p->name && (name ? !strcmp(p->name, name)
                             : all || p->epoch != epoch || now_ns - p->since_ns > FL_PREPARED_NS))
            fl_prepared_drop(p);
    }
    pthread_mutex_unlock(&m->lock);
}

/* Say that files after this one will be opened. The lock is held. */
static void fl_ask(fl_mount *m, const char *name)
{
    free(m->asked);
    m->asked = strdup(name);
    pthread_cond_broadcast(&m->news);
}

/* Wait until somebody asks. Returns the name, which is the caller's to free; NULL when it is over. */
static char *fl_wait_asked(fl_mount *m)
{
    pthread_mutex_lock(&m->lock);
    while (!m->asked && !m->over)
        pthread_cond_wait(&m->news, &m->lock);
    char *name = m->over ? NULL : m->asked;
    if (name)
        m->asked = NULL;
    pthread_mutex_unlock(&m->lock);
    return name;
}

/* A handle on a file that is ready (name and reference go over to it), or NULL where Python has to open it. `size` is
 * what the kernel was told; it is looked at under the lock whether all this still holds, as fl_retire comes after a
 * change. */
static fl_handle *fl_prepared_open(fl_mount *m, const fl_names *names, const char *path, uint64_t version, int64_t size)
{
    fl_handle *h = fl_handle_new(m, path);
    int opened = 0;
    if (!h)
        return NULL;
    pthread_mutex_lock(&m->lock);
    fl_prepared *p = fl_prepared_find(m, path);
    if (p && p->epoch == fl_epoch(names) && p->version == version && p->file->size == size) {
        h->file = p->file;
        h->owner = p->owner;
        h->version = version;
        fl_handle_link(h);
        if (p->asks)
            fl_ask(m, path);
        free(p->name);
        p->name = NULL;
        opened = 1;
    }
    pthread_mutex_unlock(&m->lock);
    if (opened)
        return h;
    free(h);
    return NULL;
}

#endif
