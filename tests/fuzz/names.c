/* SPDX-License-Identifier: MIT
 *
 * Names of virtual files and paths in a mount: any names, numbers and paths. A name belongs to at most one index of a
 * series, and that has this name; a listing tells each index once, in parts of any size; the folder that is found for a
 * path is below the real folder, and no link is on the way: so says the kernel itself (openat2). A folder that is told
 * of is one that was told: the real one, or a virtual one as if it were made there. Nothing stays open.
 */
#define _GNU_SOURCE
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "fuzz.h"

#include "names.h"

enum { MOST_SERIES = 3, MOST_FILES = 60, MOST_PARTS = 40, MOST_PATH = 600, PLACE = 100 };

static int real_folder; /* of the real folder: that of this process in /proc, which has folders, files and links out of it */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    real_folder = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(real_folder >= 0);
    fl_crc_prepare();
    return 0;
}

/* A text without the bytes that no name has. */
static char *text(fuzz_input *in, size_t n)
{
    char *out = malloc(n + 1);
    REQUIRE(out);
    for (size_t i = 0; i < n; i++) {
        out[i] = (char)fuzz_byte(in);
        out[i] = out[i] == 0 || out[i] == '/' ? '0' : out[i];
    }
    out[n] = 0;
    return out;
}

static void make_series(fl_series *s, fuzz_input *in)
{
    static const int64_t firsts[] = {0, 1, 9, 99, 9990, 1LL << 32, 999999999999999990, (1LL << 62) - MOST_FILES - 1};
    unsigned how = fuzz_byte(in);
    s->stem_bytes = fuzz_upto(in, how & 1 ? 300 : 9), s->ending_bytes = fuzz_upto(in, 5);
    s->stem = text(in, s->stem_bytes), s->ending = text(in, s->ending_bytes);
    s->numbered = how >> 1 & 3, s->reverse = how >> 3 & 1;
    s->digits = 1 + (int)fuzz_upto(in, 19);
    s->first = firsts[fuzz_upto(in, 7)];
    s->count = s->numbered ? (int64_t)fuzz_upto(in, MOST_FILES) : 1;
    s->size = how & 16 ? -1 : fuzz_upto(in, 5000);
    s->sizes = s->size < 0 ? calloc((size_t)s->count + 1, sizeof *s->sizes) : NULL;
}

/* What a path of a mount may be: names of the real folder, of series, and any. */
static void make_path(const fl_listing *l, fuzz_input *in, char *path)
{
    static const char *words[] = {"task", "fd", "net", "cwd", "root", "..", ".", "", "etc", "status", "ns", "fdinfo"};
    size_t n = 0, parts = fuzz_upto(in, 4);
    if (fuzz_upto(in, 3)) /* in the folder that is known */
        n = (size_t)snprintf(path, MOST_PATH, "%s", l->path[1] ? l->path : "");
    for (size_t i = 0; i <= parts; i++) {
        unsigned which = fuzz_upto(in, 15);
        char name[FL_LONGEST_NAME + 1] = "", *own = text(in, which < 12 ? 0 : fuzz_upto(in, 20));
        const fl_series *s = l->n ? &l->series[which % (unsigned)l->n] : NULL;
        if (which > 12 && s && s->count)
            fl_series_name(s, s->count / 2, name);
        const char *part = which < 12 ? words[which] : which == 12 ? own : name;
        if (n + strlen(part) + 2 < MOST_PATH)
            n += (size_t)snprintf(path + n, MOST_PATH - n, "/%s", part);
        free(own);
    }
    path[n] = 0;
}

static void check_names(const fl_series *s, fuzz_input *in)
{
    char name[FL_LONGEST_NAME + 1], again[FL_LONGEST_NAME + 1];
    for (int64_t i = 0; i < s->count; i++) {
        size_t n = fl_series_name(s, i, name);
        REQUIRE(n == 0 || (strlen(name) == n && fl_series_index(s, name, n) == i));
        if (n == 0)
            continue;
        uint8_t *other = malloc(n); /* not ended by 0: no more than n bytes are looked at */
        REQUIRE(other);
        memcpy(other, name, n);
        other[fuzz_upto(in, 255) % n] ^= (uint8_t)fuzz_byte(in);
        size_t less = n - (fuzz_upto(in, 7) == 0);
        int64_t found = fl_series_index(s, (char *)other, less);
        REQUIRE(found < s->count);
        REQUIRE(found < 0 || (fl_series_name(s, found, again) == less && memcmp(again, other, less) == 0));
        free(other);
    }
}

typedef struct {
    const fl_series *series;
    uint32_t seed;
    int64_t last, told;
    unsigned room;
} noted;

static int note(void *buffer, const char *name, const struct stat *status, off_t next)
{
    noted *x = buffer;
    if (x->room == 0)
        return 1;
    x->room--;
    x->told++;
    int64_t index = fl_series_index(x->series, name, strlen(name));
    REQUIRE(index > x->last && next == PLACE + index + 1 && status->st_ino == fl_inode(x->seed, name, strlen(name)));
    x->last = index;
    return 0;
}

static void check_listing(const fl_listing *l, int number, fuzz_input *in)
{
    const fl_series *s = &l->series[number];
    char name[FL_LONGEST_NAME + 1];
    int64_t wanted = 0, n = 0, *without = malloc((size_t)s->count * sizeof *without + 1);
    REQUIRE(without);
    for (int64_t i = 0; i < s->count; i++) {
        if (fuzz_upto(in, 3) == 1)
            without[n++] = i;
        else
            wanted += fl_series_name(s, i, name) > 0;
    }
    noted x = {.series = s, .seed = l->seed, .last = -1};
    int full = 1;
    for (int part = 0; full && part <= MOST_FILES; part++) {
        x.room = 1 + fuzz_upto(in, 20);
        full = fl_fill_series(l, number, x.last + 1, PLACE, without, n, note, &x);
    }
    REQUIRE(!full && x.told == wanted);
    free(without);
}

/* The kernel's word on whether a folder is below another, with no link on the way. */
static void check_folder(const char *path)
{
    size_t n;
    const char *name = fl_split(path, &n);
    if (!name)
        return;
    REQUIRE(name > path && name[-1] == '/' && *name && !strchr(name, '/') && (n == 1 || path[n] == '/'));
    int folder, code = fl_real_folder(real_folder, path, name, &folder);
    REQUIRE(code >= 0 && (code == 0) == (folder >= 0));
    if (code == 0 && folder != real_folder) {
        struct open_how how = {.flags = O_PATH | O_DIRECTORY, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
        char *above = strndup(path + 1, n - 1);
        int fd = (int)syscall(SYS_openat2, real_folder, above, &how, sizeof how);
        REQUIRE(fd >= 0 || errno == ENOSYS || errno == EPERM); /* an old kernel, a container */
        struct stat one, two;
        REQUIRE(fd < 0 || (!fstat(fd, &one) && !fstat(folder, &two) && one.st_ino == two.st_ino && one.st_dev == two.st_dev));
        if (fd >= 0)
            close(fd);
        free(above);
        close(folder);
    }
}

/* What was told of a folder (IN: the attributes that are told of it). */
static void check_told_folder(const fl_names *t, const char *path, const struct stat *out, uint64_t version)
{
    fl_listing *l = fl_listing_take((fl_names *)t, path, strlen(path));
    REQUIRE(l && version == l->version && S_ISDIR(out->st_mode));
    REQUIRE(!l->inode || out->st_ino == l->inode);
    struct stat real;
    const char *name = strrchr(path, '/') + 1;
    int code = *name ? fl_real_stat(t->dirfd, path, name, &real) : fstat(t->dirfd, &real) ? errno : 0;
    REQUIRE(code == 0 || code == ENOENT);
    REQUIRE(code || (real.st_mode == out->st_mode && real.st_uid == out->st_uid && real.st_gid == out->st_gid));
    if (code) { /* its parts that are there are those of this process in /proc */
        REQUIRE(l->mtime_ns != FL_NO_TIME && out->st_mtim.tv_sec * 1000000000 + out->st_mtim.tv_nsec == l->mtime_ns);
        mode_t mode = out->st_mode & 07777;
        REQUIRE((int64_t)out->st_nlink == 2 + l->folders && out->st_size == 0 && (mode == 0555 || mode == 0500));
    }
    fl_listing_leave((fl_names *)t, l);
}

static void check_stat(fl_names *t, const char *path, int64_t size)
{
    struct stat out;
    uint64_t version = 0;
    int before = fl_names_stat(t, path, &out, &version), has = fl_names_has(t, path);
    REQUIRE(before != FL_IS_VIRTUAL || has);
    REQUIRE(before != FL_IS_REAL || !S_ISDIR(out.st_mode));
    if (before == FL_IS_FOLDER)
        check_told_folder(t, path, &out, version);
    fl_names_learn_folder(t, path, size * 1000000001, fl_epoch(t));
    int64_t sizes[] = {size, -1, size / 2, 0, INT64_MAX};
    fl_names_learn(t, path, sizes, 1 + size % 5, fl_epoch(t));
    if (fl_names_stat(t, path, &out, &version) == FL_IS_VIRTUAL) {
        int64_t told = out.st_size;
        REQUIRE(has && version == 7 && told >= 0);
        REQUIRE(before == FL_IS_VIRTUAL || told == size);
        REQUIRE(fl_names_fstat(t, path, size, &out) && out.st_size == size);
    }
    REQUIRE(!fl_names_fstat(t, path, size, &out) || has);
}

static int next_descriptor(void)
{
    int fd = open("/", O_PATH | O_CLOEXEC);
    REQUIRE(fd >= 0 && close(fd) == 0);
    return fd;
}

/* Tell of a folder in the one that was told of: of a real one, of none, of a file, of a link. */
static void tell_of_one_below(fl_names *t, const fl_listing *above)
{
    static const char *names[] = {"fd", "etc", "status", "cwd"};
    char path[MOST_PATH];
    fl_listing *l = calloc(1, sizeof *l);
    REQUIRE(l);
    snprintf(path, sizeof path, "%s/%s", above->path[1] ? above->path : "", names[above->seed & 3]);
    *l = (fl_listing){.path = strdup(path), .epoch = 1, .version = 7, .mtime_ns = FL_NO_TIME};
    l->inode = above->seed >> 2, l->folders = above->seed >> 5;
    l->series = calloc(1, sizeof *l->series);
    REQUIRE(l->path && l->series);
    fl_listing_enter(t, l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *folders[] = {"/", "/task", "/fd", "/a/b", "/root"};
    fuzz_input in = {data, size};
    int next = next_descriptor();
    int64_t epoch = 1 + fuzz_upto(&in, 1);
    fl_names *t = calloc(1, sizeof *t);
    fl_listing *l = calloc(1, sizeof *l);
    REQUIRE(t && l && pthread_mutex_init(&t->lock, NULL) == 0);
    t->epoch = &epoch, t->dirfd = real_folder, t->mode = S_IFREG | 0444;
    *l = (fl_listing){.path = strdup(folders[fuzz_upto(&in, 4)]), .epoch = 1, .version = 7, .seed = fuzz_byte(&in)};
    l->n = (int)fuzz_upto(&in, MOST_SERIES);
    l->series = calloc((size_t)l->n + 1, sizeof *l->series);
    REQUIRE(l->path && l->series);
    for (int i = 0; i < l->n; i++)
        make_series(&l->series[i], &in);
    fl_listing_enter(t, l);
    tell_of_one_below(t, l);
    check_stat(t, "/", 1);
    for (int i = 0; i < MOST_PARTS && in.size; i++) {
        char path[MOST_PATH];
        make_path(l, &in, path);
        check_folder(path);
        check_stat(t, path, fuzz_upto(&in, 5000));
    }
    for (int i = 0; i < l->n; i++) {
        check_names(&l->series[i], &in);
        check_listing(l, i, &in);
    }
    fl_names_free(t);
    REQUIRE(next_descriptor() == next);
    return 0;
}
