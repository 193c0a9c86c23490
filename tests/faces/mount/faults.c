/* SPDX-License-Identifier: MIT
 *
 * Goes before libc in a mount (LD_PRELOAD) and lets calls fail by the names of files: NAME.quota at close, NAME.full
 * after 64 KiB, NAME.sync at fsync; and large allocations while there is a file $FASTLEGACY_NO_MEMORY.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_called(int fd, const char *ending)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    size_t m = strlen(ending);
    return n >= (ssize_t)m && !memcmp(path + n - m, ending, m);
}

int close(int fd)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "close");
    int fails = is_called(fd, ".quota"), result = real(fd);
    if (!fails)
        return result;
    errno = EDQUOT;
    return -1;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pwrite");
    if (at + (off_t)size > 65536 && is_called(fd, ".full")) {
        if (at >= 65536) {
            errno = EDQUOT;
            return -1;
        }
        size = (size_t)(65536 - at);
    }
    return real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return pwrite(fd, data, size, at);
}

int fsync(int fd)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "fsync");
    if (!is_called(fd, ".sync"))
        return real(fd);
    errno = EIO;
    return -1;
}

static int is_too_much(size_t size)
{
    const char *flag = getenv("FASTLEGACY_NO_MEMORY");
    return size > 200000 && size < 100000000 && flag && access(flag, F_OK) == 0;
}

void *malloc(size_t size)
{
    static void *(*real)(size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "malloc");
    if (is_too_much(size)) {
        errno = ENOMEM;
        return NULL;
    }
    return real(size);
}
