/* SPDX-License-Identifier: MIT
 *
 * What the kernel sends and takes, as far as it is looked at here: <linux/fuse.h>, which has been the same for these
 * since version 7.9 of the protocol.
 */
#ifndef FL_FUSE_KERNEL_H
#define FL_FUSE_KERNEL_H

#include <errno.h>
#include <stdint.h>
#include <sys/uio.h>

struct fl_in_header {
    uint32_t len, opcode;
    uint64_t unique, nodeid;
    uint32_t uid, gid, pid, padding;
};
struct fl_out_header {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};

enum {
    FL_OP_LOOKUP = 1,
    FL_OP_FORGET = 2,
    FL_OP_GETATTR = 3,
    FL_OP_SETATTR = 4,
    FL_OP_READLINK = 5,
    FL_OP_LINK = 13,
    FL_OP_OPEN = 14,
    FL_OP_READ = 15,
    FL_OP_WRITE = 16,
    FL_OP_RELEASE = 18,
    FL_OP_SETXATTR = 21,
    FL_OP_GETXATTR = 22,
    FL_OP_LISTXATTR = 23,
    FL_OP_REMOVEXATTR = 24,
    FL_OP_FLUSH = 25,
    FL_OP_OPENDIR = 27,
    FL_OP_READDIR = 28,
    FL_OP_ACCESS = 34,
    FL_OP_CREATE = 35,
    FL_OP_INTERRUPT = 36,
    FL_OP_BATCH_FORGET = 42,
};

struct fl_read_in {
    uint64_t fh, offset;
    uint32_t size, read_flags;
    uint64_t lock_owner;
    uint32_t flags, padding;
};
struct fl_open_in {
    uint32_t flags, more_flags;
};
struct fl_open_out {
    uint64_t fh;
    uint32_t flags, padding;
};
struct fl_release_in {
    uint64_t fh;
    uint32_t flags, release_flags;
    uint64_t lock_owner;
};
struct fl_attr {
    uint64_t ino, size, blocks, atime, mtime, ctime;
    uint32_t atime_ns, mtime_ns, ctime_ns, mode, nlink, uid, gid, rdev, blksize, padding;
};
struct fl_attr_out {
    uint64_t valid_s;
    uint32_t valid_ns, padding;
    struct fl_attr attr;
};
struct fl_entry_out {
    uint64_t nodeid, generation, entry_valid_s, attr_valid_s;
    uint32_t entry_valid_ns, attr_valid_ns;
    struct fl_attr attr;
};
enum {
    FL_SET_MODE = 1,
    FL_SET_UID = 2,
    FL_SET_GID = 4,
    FL_SET_SIZE = 8,
    FL_SET_ATIME = 16,
    FL_SET_MTIME = 32,
    FL_SET_ATIME_NOW = 128,
    FL_SET_MTIME_NOW = 256,
};
struct fl_setattr_in {
    uint32_t valid, padding;
    uint64_t fh, size, lock_owner, atime, mtime, ctime;
    uint32_t atime_ns, mtime_ns, ctime_ns, mode, unused4, uid, gid, unused5;
};
struct fl_link_in {
    uint64_t node;
};
struct fl_inval_inode_out {
    uint64_t node;
    int64_t from, bytes; /* of the pages to forget; from -1: only attributes */
};
#define FL_NOTIFY_INVAL_INODE 2 /* in place of an error: the kernel is told something, and has asked nothing */
struct fl_setxattr_in {
    uint32_t size, flags;
};
struct fl_getxattr_in {
    uint32_t size, padding;
};
struct fl_getxattr_out {
    uint32_t size, padding;
};
_Static_assert(sizeof(struct fl_in_header) == 40 && sizeof(struct fl_attr) == 88, "the kernel's structs differ");
_Static_assert(sizeof(struct fl_entry_out) == 128 && sizeof(struct fl_setattr_in) == 88, "the kernel's structs differ");

#define FL_XATTR_MOST 65536 /* the kernel's own limit of an extended attribute, and of a list of names */

static int fl_device = -1; /* of the mount of this process; there is one */

static int fl_send(uint64_t unique, int code, const void *data, size_t bytes)
{
    struct fl_out_header out = {(uint32_t)(sizeof out + bytes), code, unique};
    struct iovec parts[2] = {{&out, sizeof out}, {(void *)(uintptr_t)data, bytes}};
    ssize_t n;
    while ((n = writev(fl_device, parts, bytes ? 2 : 1)) < 0 && errno == EINTR)
        ;
    return n < 0 ? -errno : 0;
}

/* Answer a request: with an errno, or with some bytes. 0 or -errno; ENOENT: nobody waits for the answer any more. */
static int fl_answer(uint64_t unique, int code, const void *data, size_t bytes)
{
    return fl_send(unique, -code, data, code ? 0 : bytes);
}

/* Tell the kernel what it has not asked for. It may know nothing of that, which is an error of no meaning. */
static void fl_notify(int code, const void *data, size_t bytes)
{
    fl_send(0, code, data, bytes);
}

#endif
