/* SPDX-License-Identifier: MIT
 *
 * Extended attributes as libfuse asks for them. Programs that list folders ask for some of each file, and the kernel
 * before each write: those of real files are told here, and that a virtual file has none but one. The rest is Python's.
 */
#ifndef FL_FUSE_XATTR_H
#define FL_FUSE_XATTR_H

#include <stdio.h>
#include <sys/xattr.h>

#include "fuse_kernel.h"
#include "fuse_ops.h"

/* The request that this thread has given to libfuse: it is answered in the same thread. */
static __thread const struct fl_in_header *fl_asked;

#define FL_SOURCE_XATTR "user.fastlegacy.source" /* of a virtual file: where its pixels are from */
#define FL_TRUSTED_XATTR "trusted."

/* Why a virtual file has no attribute of a name. Labels and ACLs are not for such files at all: `ls -l` asks for them,
 * and asks no more in this file system when it is told so. */
static int fl_xattr_none(const char *name)
{
    return strncmp(name, "security.", 9) && strncmp(name, "system.", 7) ? ENODATA : EOPNOTSUPP;
}

/* Leave out of a list of names what only root may see. Returns the bytes that are left. */
static ssize_t fl_xattr_for(char *names, ssize_t n, int root)
{
    ssize_t kept = 0;
    for (ssize_t at = 0; at < n;) {
        ssize_t bytes = (ssize_t)strnlen(names + at, (size_t)(n - at - 1)) + 1;
        if (root || strncmp(names + at, FL_TRUSTED_XATTR, sizeof FL_TRUSTED_XATTR - 1)) {
            memmove(names + kept, names + at, (size_t)bytes);
            kept += bytes;
        }
        at += bytes;
    }
    return kept;
}

/* Open a real entry, so that it can be asked by way of /proc (OUT: where), links not followed anywhere. Its descriptor,
 * or -errno. */
static int fl_xattr_entry(int dirfd, const char *path, const char *name, char *out, size_t room)
{
    int folder, code = fl_real_folder(dirfd, path, name, &folder), fd = -1;
    if (code)
        return -code;
    fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    code = fd < 0 ? errno : 0;
    if (folder != dirfd)
        close(folder);
    snprintf(out, room, "/proc/self/fd/%d", fd);
    return code ? -code : fd;
}

/* ---- the functions that libfuse calls */

static int fl_fuse_getxattr(const char *path, const char *name, char *value, size_t size)
{
    size_t folder;
    const char *last = fl_served.names ? fl_split(path, &folder) : NULL;
    if (last) {
        char entry[40];
        int fd = fl_xattr_entry(fl_served.names->dirfd, path, last, entry, sizeof entry);
        if (fd >= 0) {
            ssize_t n = getxattr(entry, name, value, size);
            int code = errno;
            close(fd);
            return n < 0 ? -code : (int)n;
        }
        if (fd == -ENOENT && strcmp(name, FL_SOURCE_XATTR) && fl_names_has(fl_served.names, path))
            return -fl_xattr_none(name);
    }
    return fl_python()->getxattr(path, name, value, size);
}

static int fl_fuse_listxattr(const char *path, char *names, size_t size)
{
    size_t folder;
    const char *last = fl_served.names ? fl_split(path, &folder) : NULL;
    char entry[40];
    int fd = last ? fl_xattr_entry(fl_served.names->dirfd, path, last, entry, sizeof entry) : -ENOENT;
    if (fd < 0)
        return fl_python()->listxattr(path, names, size);
    ssize_t n = listxattr(entry, names, size);
    int code = errno;
    close(fd);
    if (n < 0)
        return -code;
    return (int)(size ? fl_xattr_for(names, n, !fl_asked || fl_asked->uid == 0) : n);
}

#endif
