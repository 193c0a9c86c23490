/* SPDX-License-Identifier: MIT
 *
 * Files that are open although their name is gone: what libfuse cannot answer, as it knows paths only.
 *
 * The kernel asks for attributes by node, also for fstat. Here it is noted which files were opened by which node. When
 * libfuse says that a node has no path any more, and somebody has it open, the answer is that of the open file. So a
 * file can be removed at once while it is open, as in any folder, and nothing of it stays behind. (libfuse would rename
 * it to .fuse_hidden until it is closed: then its folder could not be removed.)
 *
 * All answers of libfuse pass through here: it is given a channel of our own.
 */
#ifndef FL_FUSE_NODES_H
#define FL_FUSE_NODES_H

#include <stdio.h>
#include <sys/uio.h>

#include "fuse_kernel.h"
#include "fuse_xattr.h"

/* libfuse's struct fuse_chan_ops. */
struct fl_channel_ops {
    int (*receive)(void **channel, char *buf, size_t size);
    int (*send)(void *channel, const struct iovec *parts, size_t n);
    void (*destroy)(void *channel);
};

/* ---- which files were opened by which node */

static fl_handle **fl_node_chain(fl_mount *m, uint64_t node)
{
    return &m->nodes[(node ^ node >> 12) % FL_CHAINS];
}

static void fl_node_enter(fl_handle *h, uint64_t node)
{
    fl_mount *m = h->mount;
    pthread_mutex_lock(&m->lock);
    h->node = node;
    h->node_link = fl_node_chain(m, node);
    h->node_next = *h->node_link;
    if (h->node_next)
        h->node_next->node_link = &h->node_next;
    *h->node_link = h;
    pthread_mutex_unlock(&m->lock);
}

/* A handle on a node, which is not freed before fl_handle_drop; NULL if nobody has it open. One that may be written
 * is taken before others if there is one. */
static fl_handle *fl_node_pin(fl_mount *m, uint64_t node)
{
    fl_handle *found = NULL;
    pthread_mutex_lock(&m->lock);
    for (fl_handle *h = *fl_node_chain(m, node); h; h = h->node_next)
        if (h->node == node && (!found || (!found->writes && h->writes)))
            found = h;
    if (found)
        __atomic_add_fetch(&found->users, 1, __ATOMIC_ACQ_REL);
    pthread_mutex_unlock(&m->lock);
    return found;
}

/* Handles on virtual files by the node that this thread was asked about: how many there are that follow nothing. With
 * a descriptor (not -1) they read from there from now on, as the file has become a real one: the kernel has one cache
 * for all that have it open. */
static int fl_node_follow(fl_mount *m, int fd)
{
    int n = 0;
    if (!fl_asked)
        return 0;
    pthread_mutex_lock(&m->lock);
    for (fl_handle *h = *fl_node_chain(m, fl_asked->nodeid); h; h = h->node_next) {
        if (h->node != fl_asked->nodeid || !h->file || h->follows >= 0)
            continue;
        n++;
        if (fd >= 0)
            __atomic_store_n(&h->follows, fcntl(fd, F_DUPFD_CLOEXEC, 0), __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&m->lock);
    return n;
}

/* ---- answers */

static int fl_node_stat(fl_handle *h, struct stat *s)
{
    struct fl_fuse_file_info fi = {.fh = (uint64_t)(uintptr_t)h};
    memset(s, 0, sizeof *s);
    return -fl_fuse_fgetattr(NULL, s, &fi);
}

static int fl_node_links(fl_handle *h)
{
    struct stat s;
    return fl_node_stat(h, &s) || s.st_nlink > 0;
}

static int fl_answer_attributes(uint64_t unique, fl_handle *h)
{
    struct stat s;
    int code = fl_node_stat(h, &s);
    struct fl_attr_out out = {
        .attr = {.ino = s.st_ino,
                 .size = (uint64_t)s.st_size,
                 .blocks = (uint64_t)s.st_blocks,
                 .atime = (uint64_t)s.st_atim.tv_sec,
                 .mtime = (uint64_t)s.st_mtim.tv_sec,
                 .ctime = (uint64_t)s.st_ctim.tv_sec,
                 .atime_ns = (uint32_t)s.st_atim.tv_nsec,
                 .mtime_ns = (uint32_t)s.st_mtim.tv_nsec,
                 .ctime_ns = (uint32_t)s.st_ctim.tv_nsec,
                 .mode = s.st_mode,
                 .nlink = (uint32_t)s.st_nlink,
                 .uid = s.st_uid,
                 .gid = s.st_gid,
                 .rdev = (uint32_t)s.st_rdev,
                 .blksize = (uint32_t)s.st_blksize}};
    return fl_answer(unique, code, &out, sizeof out);
}

/* Open the very file of a handle once more, by its descriptor: it may have no name. Below zero: -errno. */
static int fl_open_again(const fl_handle *h, int flags)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", h->fd);
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int fl_node_cut(const fl_handle *h, off_t size)
{
    if (h->writes)
        return ftruncate(h->fd, size) ? errno : 0;
    int fd = fl_open_again(h, O_WRONLY), code;
    if (fd < 0)
        return -fd;
    code = ftruncate(fd, size) ? errno : 0;
    return close(fd) && !code ? errno : code;
}

/* Change attributes as a request says; returns an errno. */
static int fl_node_change(fl_handle *h, const struct fl_setattr_in *in)
{
    if (h->file)
        return EROFS;
    if (in->valid & FL_SET_MODE && fchmod(h->fd, in->mode & 07777))
        return errno;
    uid_t uid = in->valid & FL_SET_UID ? in->uid : (uid_t)-1;
    gid_t gid = in->valid & FL_SET_GID ? in->gid : (gid_t)-1;
    if (in->valid & (FL_SET_UID | FL_SET_GID) && fchown(h->fd, uid, gid))
        return errno;
    int code = in->valid & FL_SET_SIZE ? fl_node_cut(h, (off_t)in->size) : 0;
    if (!code && in->valid & (FL_SET_ATIME | FL_SET_MTIME)) {
        struct timespec times[2] = {{(time_t)in->atime, in->atime_ns}, {(time_t)in->mtime, in->mtime_ns}};
        if (in->valid & (FL_SET_ATIME_NOW | FL_SET_MTIME_NOW)) {
            times[0].tv_nsec = in->valid & FL_SET_ATIME_NOW ? UTIME_NOW : times[0].tv_nsec;
            times[1].tv_nsec = in->valid & FL_SET_MTIME_NOW ? UTIME_NOW : times[1].tv_nsec;
        }
        times[0].tv_nsec = in->valid & FL_SET_ATIME ? times[0].tv_nsec : UTIME_OMIT;
        times[1].tv_nsec = in->valid & FL_SET_MTIME ? times[1].tv_nsec : UTIME_OMIT;
        code = futimens(h->fd, times) ? errno : 0;
    }
    return code;
}

/* Open a file by way of /proc although its name is gone. libfuse has not counted this, and must not see its release. */
static int fl_node_open(uint64_t unique, const fl_handle *h, uint64_t node, int flags)
{
    fl_handle *again = fl_handle_new(h->mount, "");
    if (!again)
        return fl_answer(unique, ENOMEM, NULL, 0);
    flags &= O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC | O_TRUNC;
    again->fd = fl_open_again(h, flags);
    if (again->fd < 0) {
        int code = -again->fd;
        free(again);
        return fl_answer(unique, code, NULL, 0);
    }
    again->writes = (flags & O_ACCMODE) != O_RDONLY;
    again->ours = 1;
    __atomic_fetch_add(&h->mount->counters.opened, 1, __ATOMIC_RELAXED);
    fl_node_enter(again, node);
    struct fl_open_out out = {(uint64_t)(uintptr_t)again, 0, 0};
    int sent = fl_answer(unique, 0, &out, sizeof out);
    if (sent == -ENOENT) /* who wanted it does not wait any more, and will not close it */
        fl_handle_free(again);
    return sent;
}

static int fl_answer_bytes(uint64_t unique, ssize_t n, uint32_t asked, const char *data)
{
    struct fl_getxattr_out size = {(uint32_t)(n > 0 ? n : 0), 0};
    if (n < 0)
        return fl_answer(unique, (int)-n, NULL, 0);
    return asked ? fl_answer(unique, 0, data, (size_t)n) : fl_answer(unique, 0, &size, sizeof size);
}

/* Tell an extended attribute, or the names of all (`name` NULL), of an open file. */
static int fl_node_xattr(uint64_t unique, const fl_handle *h, const char *name, uint32_t size, int all)
{
    char *data = NULL;
    ssize_t n;
    if (size > FL_XATTR_MOST)
        size = FL_XATTR_MOST;
    if (size && !(data = malloc(size)))
        return fl_answer(unique, ENOMEM, NULL, 0);
    if (h->file)
        n = name ? -fl_xattr_none(name) : 0;
    else if ((n = name ? fgetxattr(h->fd, name, data, size) : flistxattr(h->fd, data, size)) < 0)
        n = -errno;
    else if (!name && size)
        n = fl_xattr_for(data, n, all);
    int sent = fl_answer_bytes(unique, n, size, data);
    free(data);
    return sent;
}

static int fl_node_set_xattr(const fl_handle *h, const struct fl_in_header *in, const char *end)
{
    const struct fl_setxattr_in *set = (const struct fl_setxattr_in *)(in + 1);
    const char *name = (const char *)(set + 1);
    const char *zero = name < end ? memchr(name, 0, (size_t)(end - name)) : NULL;
    if (!zero || (size_t)(end - zero - 1) < set->size)
        return EINVAL;
    if (h->file)
        return EROFS;
    return fsetxattr(h->fd, name, zero + 1, set->size, (int)set->flags) ? errno : 0;
}

/* ---- requests */

/* Answer a request that libfuse had an error for by an open file. Returns 0 and what came of it; 1: it has to fail. */
static int fl_node_answer(const struct fl_in_header *in, fl_handle *h, int error, int *sent)
{
    const char *body = (const char *)(in + 1), *end = (const char *)in + in->len;
    const struct fl_getxattr_in *get = (const struct fl_getxattr_in *)body;
    int code = 0;
    switch (in->opcode) {
    case FL_OP_GETATTR:
        *sent = fl_answer_attributes(in->unique, h);
        return 0;
    case FL_OP_SETATTR:
        code = fl_node_change(h, (const struct fl_setattr_in *)body);
        *sent = code ? fl_answer(in->unique, code, NULL, 0) : fl_answer_attributes(in->unique, h);
        return 0;
    case FL_OP_OPEN:
        /* ESTALE: the header of a virtual file has changed, the kernel tries again */
        if (error == -ESTALE || h->file || fl_node_links(h))
            return 1;
        *sent = fl_node_open(in->unique, h, in->nodeid, (int)((const struct fl_open_in *)body)->flags);
        return 0;
    case FL_OP_GETXATTR:
        *sent = fl_node_xattr(in->unique, h, (const char *)(get + 1), get->size, 0);
        return 0;
    case FL_OP_LISTXATTR:
        *sent = fl_node_xattr(in->unique, h, NULL, get->size, in->uid == 0);
        return 0;
    case FL_OP_SETXATTR:
        *sent = fl_answer(in->unique, fl_node_set_xattr(h, in, end), NULL, 0);
        return 0;
    case FL_OP_REMOVEXATTR:
        code = h->file ? EROFS : fremovexattr(h->fd, body) ? errno : 0;
        *sent = fl_answer(in->unique, code, NULL, 0);
        return 0;
    }
    return 1;
}

/* Note what libfuse has opened, before the kernel hears of it and can ask. */
static void fl_node_note(const struct fl_in_header *in, const struct iovec *parts, size_t n)
{
    const char *data = n > 1 ? parts[1].iov_base : NULL;
    size_t bytes = n > 1 ? parts[1].iov_len : 0, at = in->opcode == FL_OP_CREATE ? sizeof(struct fl_entry_out) : 0;
    if ((in->opcode != FL_OP_OPEN && in->opcode != FL_OP_CREATE) || bytes < at + sizeof(struct fl_open_out))
        return;
    uint64_t node = at ? ((const struct fl_entry_out *)data)->nodeid : in->nodeid;
    fl_handle *h = (fl_handle *)(uintptr_t)((const struct fl_open_out *)(data + at))->fh;
    if (h)
        fl_node_enter(h, node);
}

/* For the kernel each name of a file is a file of its own: libfuse gives it no way to know better. So that all names tell
 * the same, it remembers the attributes of none where there are several, and forgets those of the first when a second one
 * comes. */
static void fl_node_names(const struct fl_in_header *in, const struct iovec *parts, size_t n)
{
    char *data = n > 1 ? parts[1].iov_base : NULL;
    size_t bytes = n > 1 ? parts[1].iov_len : 0;
    if ((in->opcode == FL_OP_LOOKUP || in->opcode == FL_OP_LINK) && bytes >= sizeof(struct fl_entry_out)) {
        struct fl_entry_out *entry = (struct fl_entry_out *)data;
        if (!S_ISDIR(entry->attr.mode) && entry->attr.nlink > 1)
            entry->attr_valid_s = entry->attr_valid_ns = 0;
    }
    if ((in->opcode == FL_OP_GETATTR || in->opcode == FL_OP_SETATTR) && bytes >= sizeof(struct fl_attr_out)) {
        struct fl_attr_out *known = (struct fl_attr_out *)data;
        if (!S_ISDIR(known->attr.mode) && known->attr.nlink > 1)
            known->valid_s = known->valid_ns = 0;
    }
    if (in->opcode == FL_OP_LINK) {
        struct fl_inval_inode_out old = {((const struct fl_link_in *)(in + 1))->node, -1, 0};
        fl_notify(FL_NOTIFY_INVAL_INODE, &old, sizeof old);
    }
}

/* 1 if the kernel asks by number, not by name: "no such entry" says then that it is not the one that is meant. */
static int fl_is_by_number(uint32_t opcode)
{
    return opcode == FL_OP_GETATTR || opcode == FL_OP_SETATTR || opcode == FL_OP_READLINK || opcode == FL_OP_OPEN ||
           opcode == FL_OP_OPENDIR || opcode == FL_OP_ACCESS;
}

/* libfuse's answers. Returns 0 or -errno, as libfuse's own channel does.
 *
 * Where a file has just been replaced, libfuse knows no path to the old one, or none that is there. A program that asked
 * by the name must not hear of that: ESTALE lets the kernel look the name up again. */
static int fl_channel_send(void *channel, const struct iovec *parts, size_t n)
{
    const struct fl_in_header *in = fl_asked;
    (void)channel;
    if (!parts) /* no answer is wanted */
        return 0;
    struct fl_out_header *out = parts[0].iov_base;
    fl_mount *m = fl_served.mount;
    if (m && in && out->unique == in->unique) {
        if (!out->error) {
            fl_node_note(in, parts, n);
            fl_node_names(in, parts, n);
        }
        fl_handle *h = out->error == -ESTALE || out->error == -ENOENT ? fl_node_pin(m, in->nodeid) : NULL;
        int sent = 0, answered = h && !fl_node_answer(in, h, out->error, &sent);
        if (h)
            fl_handle_drop(h);
        if (answered)
            return sent;
        if (out->error == -ENOENT && fl_is_by_number(in->opcode))
            out->error = -ESTALE;
    }
    ssize_t done;
    while ((done = writev(fl_device, parts, (int)n)) < 0 && errno == EINTR)
        ;
    return done < 0 ? -errno : 0;
}

static void *fl_channel_functions(void)
{
    static struct fl_channel_ops functions = {NULL, fl_channel_send, NULL};
    return &functions;
}

/* chown(2) to nobody changes the time of the last change, and no more: the kernel sends a request that changes nothing,
 * and libfuse would do nothing. Here it becomes what it was. */
static void fl_node_complete(struct fl_in_header *in)
{
    struct fl_setattr_in *set = (struct fl_setattr_in *)(in + 1);
    const uint32_t changes = FL_SET_MODE | FL_SET_UID | FL_SET_GID | FL_SET_SIZE | FL_SET_ATIME | FL_SET_MTIME;
    if (in->opcode != FL_OP_SETATTR || in->len < sizeof *in + sizeof *set || set->valid & changes)
        return;
    set->valid |= FL_SET_UID | FL_SET_GID;
    set->uid = set->gid = UINT32_MAX;
}

/* Answer what needs no path at all, and what libfuse must not see. 1 if it is answered. */
static int fl_node_take(const struct fl_in_header *in)
{
    const char *body = (const char *)(in + 1);
    if (in->opcode == FL_OP_RELEASE) {
        fl_handle *h = (fl_handle *)(uintptr_t)((const struct fl_release_in *)body)->fh;
        if (!h || !h->ours)
            return 0;
        fl_handle_free(h);
        fl_answer(in->unique, 0, NULL, 0);
        return 1;
    }
    /* the kernel asks for this one before each write */
    if (in->opcode != FL_OP_GETXATTR || strcmp(body + sizeof(struct fl_getxattr_in), "security.capability"))
        return 0;
    fl_mount *m = fl_served.mount;
    fl_handle *h = m && m->xattr ? fl_node_pin(m, in->nodeid) : NULL;
    if (!h)
        return 0;
    fl_node_xattr(in->unique, h, "security.capability", ((const struct fl_getxattr_in *)body)->size, 0);
    fl_handle_drop(h);
    return 1;
}

#endif
