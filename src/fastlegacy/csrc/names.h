/* SPDX-License-Identifier: MIT
 *
 * What Python has told of the virtual files of some folders, so that `stat` and listings need no Python.
 *
 * A listing holds for one state of all that is shown: `epoch` is a number that grows before anybody may rely on a
 * change. Who has taken a listing and still sees its epoch afterwards has given the answer that Python would have given
 * at some moment in between. Whatever is not certain here is left to Python: names that are not known, folders of which
 * nothing was told, errors, sizes that were not measured yet.
 */
#ifndef FL_NAMES_H
#define FL_NAMES_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FL_LISTINGS 256 /* folders that are known at a time, in as many places of a table */
#define FL_LONGEST_NAME 255

/* Files whose names differ in their number: stem, digits, ending. Or one file, by its name. */
typedef struct {
    char *stem, *ending;
    size_t stem_bytes, ending_bytes;
    int numbered, reverse;
    int digits;
    int64_t first, count;
    int64_t size;      /* of each file; -1: see `sizes` */
    int64_t *sizes;    /* by index: one more than the size, 0: not known; written with __atomic */
    int64_t mtime_ns;
} fl_series;

typedef struct {
    char *path;        /* of the folder, "/" or "/a/b" */
    int users;         /* written with the table's lock held; the table itself is one */
    int64_t epoch;
    uint64_t version;  /* of all headers */
    uint32_t seed;     /* of the inode numbers of what is in it */
    uint64_t inode;    /* of the folder itself; 0: that of the real one */
    int64_t folders;   /* virtual ones in it */
    int64_t mtime_ns;  /* where there is no real one; written with __atomic */
    int n, room;
    fl_series *series; /* the first that has a name counts */
} fl_listing;

typedef struct {
    pthread_mutex_t lock; /* of the table */
    fl_listing *listings[FL_LISTINGS];
    const int64_t *epoch; /* read with __atomic */
    int dirfd;            /* of the real folder */
    uint32_t uid, gid, mode, block_bytes;
    int gives_away;       /* new entries belong to who made them, not to this process */
} fl_names;

#define FL_NO_TIME INT64_MIN

/* ---- inode numbers: CRC-32 as in zlib */

static uint32_t fl_crc_table[256];

static void fl_crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
        fl_crc_table[i] = c;
    }
}

static inline uint32_t fl_crc(uint32_t crc, const char *text, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++)
        crc = fl_crc_table[(crc ^ (uint8_t)text[i]) & 255] ^ crc >> 8;
    return ~crc;
}

static inline uint64_t fl_inode(uint32_t seed, const char *name, size_t n)
{
    uint32_t crc = fl_crc(seed, name, n);
    return crc ? crc : 1;
}

/* ---- names */

/* Index of the file of this name, -1 if there is none. */
static int64_t fl_series_index(const fl_series *s, const char *name, size_t n)
{
    if (s->count <= 0 || n < s->stem_bytes + s->ending_bytes || memcmp(name, s->stem, s->stem_bytes) ||
        memcmp(name + n - s->ending_bytes, s->ending, s->ending_bytes))
        return -1;
    const char *number = name + s->stem_bytes;
    size_t digits = n - s->stem_bytes - s->ending_bytes;
    if (!s->numbered)
        return digits ? -1 : 0;
    if (digits < (size_t)s->digits || (digits > (size_t)s->digits && number[0] == '0'))
        return -1;
    int64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (number[i] < '0' || number[i] > '9' || value > (INT64_MAX - 9) / 10)
            return -1;
        value = 10 * value + (number[i] - '0');
    }
    if (value < s->first || value - s->first >= s->count)
        return -1;
    return s->reverse ? s->count - 1 - (value - s->first) : value - s->first;
}

/* The name of a file (OUT: at least FL_LONGEST_NAME + 1 bytes); returns its length, 0 if it would be too long. */
static size_t fl_series_name(const fl_series *s, int64_t index, char *out)
{
    char digits[24];
    int n = 0;
    if (s->numbered) {
        uint64_t value = (uint64_t)(s->first + (s->reverse ? s->count - 1 - index : index));
        do {
            digits[n++] = (char)('0' + value % 10);
        } while (value /= 10);
        while (n < s->digits && n < (int)sizeof digits)
            digits[n++] = '0';
    }
    size_t length = s->stem_bytes + (size_t)n + s->ending_bytes;
    if (length > FL_LONGEST_NAME)
        return 0;
    memcpy(out, s->stem, s->stem_bytes);
    for (int i = 0; i < n; i++)
        out[s->stem_bytes + (size_t)i] = digits[n - 1 - i];
    memcpy(out + s->stem_bytes + n, s->ending, s->ending_bytes);
    out[length] = '\0';
    return length;
}

static const fl_series *fl_listing_find(const fl_listing *l, const char *name, size_t n, int64_t *index)
{
    for (int i = 0; i < l->n; i++)
        if ((*index = fl_series_index(&l->series[i], name, n)) >= 0)
            return &l->series[i];
    return NULL;
}

static int64_t fl_series_size(const fl_series *s, int64_t index)
{
    return s->size >= 0 || !s->sizes ? s->size : __atomic_load_n(&s->sizes[index], __ATOMIC_ACQUIRE) - 1;
}

/* ---- the table */

static void fl_listing_free(fl_listing *l)
{
    for (int i = 0; i < l->n; i++) {
        free(l->series[i].stem);
        free(l->series[i].ending);
        free(l->series[i].sizes);
    }
    free(l->series);
    free(l->path);
    free(l);
}

static inline int64_t fl_epoch(const fl_names *t)
{
    return __atomic_load_n(t->epoch, __ATOMIC_ACQUIRE);
}

static fl_listing **fl_listing_place(fl_names *t, const char *path, size_t n)
{
    return &t->listings[fl_crc(0, path, n) % FL_LISTINGS];
}

static void fl_listing_leave(fl_names *t, fl_listing *l)
{
    pthread_mutex_lock(&t->lock);
    int users = --l->users;
    pthread_mutex_unlock(&t->lock);
    if (!users)
        fl_listing_free(l);
}

/* What is known of the folder whose path has n bytes, held until fl_listing_leave; NULL where nothing holds any more. */
static fl_listing *fl_listing_take(fl_names *t, const char *path, size_t n)
{
    pthread_mutex_lock(&t->lock);
    fl_listing *l = *fl_listing_place(t, path, n);
    if (l && l->epoch == fl_epoch(t) && strlen(l->path) == n && !memcmp(l->path, path, n))
        l->users++;
    else
        l = NULL;
    pthread_mutex_unlock(&t->lock);
    return l;
}

/* Take a listing into the table, which owns it from now on. */
static void fl_listing_enter(fl_names *t, fl_listing *l)
{
    fl_listing **place = fl_listing_place(t, l->path, strlen(l->path)), *before;
    l->users = 1;
    pthread_mutex_lock(&t->lock);
    before = *place;
    *place = l;
    pthread_mutex_unlock(&t->lock);
    if (before)
        fl_listing_leave(t, before);
}

static void fl_names_free(fl_names *t)
{
    for (int i = 0; i < FL_LISTINGS; i++)
        if (t->listings[i])
            fl_listing_leave(t, t->listings[i]);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- attributes */

/* The last name in a path, and OUT: how many bytes the path of its folder has. NULL where Python should look at it. */
static const char *fl_split(const char *path, size_t *folder)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash || path[0] != '/' || !slash[1] || !strcmp(slash, "/.") || !strcmp(slash, "/.."))
        return NULL;
    *folder = slash == path ? 1 : (size_t)(slash - path);
    return slash + 1;
}

#define FL_WALK (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Go down to a folder in one call, which Linux has since 5.6. Its descriptor or -errno. */
static int fl_walk_at_once(int dirfd, const char *path)
{
#ifdef SYS_openat2
    struct {
        uint64_t flags, mode, resolve;
    } how = {FL_WALK, 0, 4 | 8}; /* RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH */
    long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
#else
    (void)dirfd;
    (void)path;
    return -ENOSYS;
#endif
}

/* Go down to a folder step by step, as each may be a link. Its descriptor or -errno. `path` is changed. */
static int fl_walk_in_steps(int dirfd, char *path)
{
    int fd = dirfd;
    for (char *slash; path; path = slash) {
        slash = strchr(path, '/');
        if (slash)
            *slash++ = '\0';
        int below = openat(fd, path, FL_WALK), code = errno;
        if (fd != dirfd)
            close(fd);
        if (below < 0)
            return -code;
        fd = below;
    }
    return fd;
}

/* Whether a path of folders names each by its own name. */
static int fl_is_plain_path(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
        size_t n = strcspn(at, "/");
        if (n == 0 || n > FL_LONGEST_NAME || (at[0] == '.' && (n == 1 || (n == 2 && at[1] == '.'))))
            return 0;
    }
    return 1;
}

/* Open the folder that holds a real entry, links not followed anywhere on the way: OUT, `dirfd` itself or one to be
 * closed. 0 or an errno. */
static int fl_real_folder(int dirfd, const char *path, const char *name, int *folder)
{
    *folder = dirfd;
    if (name == path + 1)
        return 0;
    char *folders = strndup(path + 1, (size_t)(name - path - 2));
    int fd = !folders ? -ENOMEM : fl_is_plain_path(folders) ? fl_walk_at_once(dirfd, folders) : -EINVAL;
    /* links are told otherwise; not known, not allowed, longer than a path may be, or renamed meanwhile: without it */
    if (fd == -ELOOP || fd == -ENOSYS || fd == -EPERM || fd == -ENAMETOOLONG || fd == -EAGAIN)
        fd = fl_walk_in_steps(dirfd, folders);
    free(folders);
    *folder = fd < 0 ? -1 : fd;
    return fd < 0 ? -fd : 0;
}

/* The attributes of a real entry (OUT), links not followed anywhere on the way. 0 or an errno. */
static int fl_real_stat(int dirfd, const char *path, const char *name, struct stat *out)
{
    int folder, code = fl_real_folder(dirfd, path, name, &folder);
    if (!code && fstatat(folder, name, out, AT_SYMLINK_NOFOLLOW))
        code = errno;
    if (folder != dirfd && folder >= 0)
        close(folder);
    return code;
}

static void fl_virtual_stat(const fl_names *t, const fl_listing *l, const fl_series *s, const char *name, int64_t size,
                            struct stat *out)
{
    struct timespec time = {s->mtime_ns / 1000000000, s->mtime_ns % 1000000000};
    memset(out, 0, sizeof *out);
    out->st_mode = t->mode;
    out->st_nlink = 1;
    out->st_uid = t->uid;
    out->st_gid = t->gid;
    out->st_ino = fl_inode(l->seed, name, strlen(name));
    out->st_size = size;
    out->st_blksize = t->block_bytes;
    out->st_blocks = size / 512 + (size % 512 != 0);
    out->st_atim = out->st_mtim = out->st_ctim = time;
}

/* The attributes of the nearest real folder above a virtual one (OUT). 0 where Python should look. */
static int fl_stat_above(const fl_names *t, const char *path, struct stat *out)
{
    char *above = strdup(path);
    int code = !above ? ENOMEM : fstatat(t->dirfd, ".", out, AT_SYMLINK_NOFOLLOW) ? errno : 0;
    for (char *end = above; !code && (end = strchr(end + 1, '/'));) {
        struct stat s;
        *end = '\0';
        code = fl_real_stat(t->dirfd, above, strrchr(above, '/') + 1, &s);
        *end = '/';
        if (!code)
            *out = s;
    }
    free(above);
    return (!code || code == ENOENT) && S_ISDIR(out->st_mode); /* what is below one that is not there is not there */
}

/* A virtual folder has the permissions that a real one would have if it were made there. */
static int fl_virtual_folder_stat(const fl_names *t, const fl_listing *l, struct stat *out)
{
    int64_t mtime_ns = __atomic_load_n(&l->mtime_ns, __ATOMIC_ACQUIRE);
    struct stat above;
    if (mtime_ns == FL_NO_TIME || !l->inode || !fl_stat_above(t, l->path, &above))
        return 0;
    struct timespec time = {mtime_ns / 1000000000, mtime_ns % 1000000000};
    memset(out, 0, sizeof *out);
    out->st_mode = S_IFDIR | (above.st_mode & 07777);
    out->st_nlink = (nlink_t)(2 + l->folders); /* its name, its ".", and the ".." of each folder in it */
    out->st_uid = t->gives_away ? above.st_uid : geteuid();
    out->st_gid = t->gives_away || above.st_mode & S_ISGID ? above.st_gid : getegid();
    out->st_ino = l->inode;
    out->st_blksize = t->block_bytes;
    out->st_atim = out->st_mtim = out->st_ctim = time;
    return 1;
}

enum { FL_IS_REAL = 1, FL_IS_VIRTUAL, FL_IS_FOLDER };

/* Answer `stat` of a folder that virtual files may be in (IN: the attributes of the real one, if there is one). Returns
 * as fl_names_stat does. */
static int fl_folder_stat(fl_names *t, const char *path, int is_real, struct stat *out, uint64_t *version)
{
    fl_listing *l = fl_listing_take(t, path, strlen(path));
    if (!l)
        return 0;
    int answered = is_real || fl_virtual_folder_stat(t, l, out);
    if (is_real && l->inode)
        out->st_ino = l->inode;
    if (is_real && l->folders)
        out->st_nlink = 1; /* which says that nobody has counted the folders in it */
    *version = l->version;
    if (l->epoch != fl_epoch(t))
        answered = 0;
    fl_listing_leave(t, l);
    return answered ? FL_IS_FOLDER : 0;
}

/* Answer `stat` of an entry (OUT). Returns what it is if it is answered, else 0: then it is Python's to answer. OUT: the
 * version of all headers for which it holds. */
static int fl_names_stat(fl_names *t, const char *path, struct stat *out, uint64_t *version)
{
    size_t folder;
    if (path && !strcmp(path, "/"))
        return fstatat(t->dirfd, ".", out, AT_SYMLINK_NOFOLLOW) ? 0 : fl_folder_stat(t, path, 1, out, version);
    const char *name = fl_split(path, &folder);
    fl_listing *l = name ? fl_listing_take(t, path, folder) : NULL;
    if (!l)
        return 0;
    int code = fl_real_stat(t->dirfd, path, name, out), answered = code == 0 && !S_ISDIR(out->st_mode) ? FL_IS_REAL : 0;
    if (code == ENOENT) {
        int64_t index, size;
        const fl_series *s = fl_listing_find(l, name, strlen(name), &index);
        if (s && (size = fl_series_size(s, index)) >= 0) {
            fl_virtual_stat(t, l, s, name, size, out);
            answered = FL_IS_VIRTUAL;
        }
    }
    *version = l->version;
    if (l->epoch != fl_epoch(t))
        answered = 0;
    fl_listing_leave(t, l);
    if (!answered && (code ? code == ENOENT : S_ISDIR(out->st_mode)))
        answered = fl_folder_stat(t, path, !code, out, version);
    return answered;
}

/* Answer `fstat` of an open virtual file (OUT) of which the size is known, whatever may hide its name by now. */
static int fl_names_fstat(fl_names *t, const char *path, int64_t size, struct stat *out)
{
    size_t folder;
    const char *name = fl_split(path, &folder);
    fl_listing *l = name ? fl_listing_take(t, path, folder) : NULL;
    if (!l)
        return 0;
    int64_t index;
    const fl_series *s = fl_listing_find(l, name, strlen(name), &index);
    if (s)
        fl_virtual_stat(t, l, s, name, size, out);
    int answered = s && l->epoch == fl_epoch(t);
    fl_listing_leave(t, l);
    return answered;
}

/* 1 if there is certainly a virtual file of this name, seen or hidden by a real one. */
static int fl_names_has(fl_names *t, const char *path)
{
    size_t folder;
    int64_t index;
    const char *name = fl_split(path, &folder);
    fl_listing *l = name ? fl_listing_take(t, path, folder) : NULL;
    if (!l)
        return 0;
    int has = fl_listing_find(l, name, strlen(name), &index) && l->epoch == fl_epoch(t);
    fl_listing_leave(t, l);
    return has;
}

/* Note the sizes of N files, of which the first has this path, that were looked for at an epoch; -1: not known. */
static void fl_names_learn(fl_names *t, const char *path, const int64_t *sizes, int64_t n, int64_t epoch)
{
    size_t folder;
    int64_t index;
    const char *name = fl_split(path, &folder);
    fl_listing *l = name ? fl_listing_take(t, path, folder) : NULL;
    if (!l)
        return;
    const fl_series *s = fl_listing_find(l, name, strlen(name), &index);
    if (s && s->sizes && l->epoch == epoch)
        for (int64_t i = 0; i < n && i < s->count - index; i++)
            if (sizes[i] >= 0 && sizes[i] < INT64_MAX)
                __atomic_store_n(&s->sizes[index + i], sizes[i] + 1, __ATOMIC_RELEASE);
    fl_listing_leave(t, l);
}

/* Note when a virtual folder was modified, as it was found at an epoch. */
static void fl_names_learn_folder(fl_names *t, const char *path, int64_t mtime_ns, int64_t epoch)
{
    fl_listing *l = fl_listing_take(t, path, strlen(path));
    if (!l)
        return;
    if (l->epoch == epoch)
        __atomic_store_n(&l->mtime_ns, mtime_ns, __ATOMIC_RELEASE);
    fl_listing_leave(t, l);
}

/* ---- listings */

typedef int (*fl_filler)(void *buffer, const char *name, const struct stat *, off_t);

/* Hand over one entry; `next` is where the listing goes on after it. 1: the buffer is full, it was not taken. */
static int fl_fill_one(fl_filler fill, void *buffer, const char *name, uint32_t kind, uint64_t inode, int64_t next)
{
    struct stat s;
    memset(&s, 0, sizeof s);
    s.st_mode = kind;
    s.st_ino = inode;
    return fill(buffer, name, &s, (off_t)next);
}

/* Hand over the names of a series from one index on, but for those of the indices in `without` (in order). `place`: of
 * the first of the series in the whole listing. Returns 1, and stops, when the buffer is full. */
static int fl_fill_series(const fl_listing *l, int number, int64_t from, int64_t place, const int64_t *without,
                          int64_t n_without, fl_filler fill, void *buffer)
{
    const fl_series *s = &l->series[number];
    char name[FL_LONGEST_NAME + 1];
    for (int64_t i = from; i < s->count; i++) {
        while (n_without && *without < i) {
            without++;
            n_without--;
        }
        if (n_without && *without == i)
            continue;
        size_t n = fl_series_name(s, i, name);
        if (n && fl_fill_one(fill, buffer, name, S_IFREG, fl_inode(l->seed, name, n), place + i + 1))
            return 1;
    }
    return 0;
}

#endif
