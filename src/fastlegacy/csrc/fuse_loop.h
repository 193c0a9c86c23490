/* SPDX-License-Identifier: MIT
 *
 * The loop that takes requests from the kernel: reads are answered here, everything else is given to libfuse.
 *
 * Why not libfuse's own: it allocates each reply anew and 16 bytes off a page, so that the kernel looks up two pages for
 * each that it fills; it takes locks and looks at the path first; and it has a thread for each of many requests at a
 * time, so that no reply is ever written to memory that is still in a cache. Here few threads stay with their buffers.
 *
 * A worker that takes a request which may last (anything but a read) sees to it that another one waits for the next. So
 * does one whose read has lasted, and the main thread when nothing has been answered for a while.
 */
#ifndef FL_FUSE_LOOP_H
#define FL_FUSE_LOOP_H

#include <semaphore.h>
#include <signal.h>
#include <sys/uio.h>

#include "fuse_ops.h"

/* What the kernel sends and takes: <linux/fuse.h>, which has been the same for these since version 7.9. */
struct fl_in_header {
    uint32_t len, opcode;
    uint64_t unique, nodeid;
    uint32_t uid, gid, pid, padding;
};
struct fl_read_in {
    uint64_t fh, offset;
    uint32_t size, read_flags;
    uint64_t lock_owner;
    uint32_t flags, padding;
};
struct fl_out_header {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};
enum {
    FL_OP_GETATTR = 3,
    FL_OP_SETATTR = 4,
    FL_OP_READLINK = 5,
    FL_OP_RENAME = 12,
    FL_OP_OPEN = 14,
    FL_OP_READ = 15,
    FL_OP_OPENDIR = 27,
    FL_OP_ACCESS = 34,
    FL_OP_INTERRUPT = 36
};


#define FL_PAGE 4096
#define FL_READ_MOST (1 << 20) /* bytes of a reply; libfuse 2 has told the kernel to ask for 128 KiB at most */
#define FL_SLOW_NS 1000000     /* a read that lasts longer waits for a disk, or for Python */
#define FL_WORKERS 64
#define FL_END_SIGNAL (SIGRTMAX - 3)
#define FL_TICK_MS 2
#define FL_QUIET_TICKS 25
#define FL_NAP_MS 500 /* a signal may come just before the nap begins */

typedef void (*fl_process_fn)(void *session, const char *request, size_t size, void *channel);
typedef int (*fl_exited_fn)(void *session);
typedef void (*fl_exit_fn)(void *session);

enum { FL_FREE, FL_RUNNING, FL_ENDED };

typedef struct {
    pthread_t thread;
    int state, reading; /* written with __atomic */
    struct fl_loop *loop;
} fl_worker;

typedef struct fl_loop {
    int fd;
    size_t request_bytes;
    void *session, *channel;
    /* libfuse's */
    fl_process_fn process;
    fl_exited_fn exited;
    fl_exit_fn exit;
    /* Python's: make the thread known to it, and forget it */
    void *(*attach)(void);
    void (*detach)(void *);
    int few;                 /* workers that stay when there is little to do */
    int waiting;             /* this and what follows is written with __atomic */
    uint64_t answered;
    int asleep;              /* the main thread waits for the first request after a quiet time */
    int error;
    sem_t news;
    pthread_mutex_t lock;    /* of who begins a worker */
    fl_worker workers[FL_WORKERS];
} fl_loop;

typedef struct {
    uint8_t *data; /* at the beginning of a page */
    size_t room;
} fl_reply;

/* What this thread gives to libfuse. */
static __thread struct {
    uint32_t opcode;
    fl_loop *loop;
} fl_request;

/* 1 if the kernel asks by number, not by name, so that "no such entry" says: not the one that you mean. */
static int fl_is_by_number(uint32_t opcode)
{
    return opcode == FL_OP_GETATTR || opcode == FL_OP_SETATTR || opcode == FL_OP_READLINK || opcode == FL_OP_OPEN ||
           opcode == FL_OP_OPENDIR || opcode == FL_OP_ACCESS;
}

/* Send an answer of libfuse's. Where a file has just been replaced, libfuse knows no path to the old one, or none that
 * is there. A program that asked by the name must not hear of that: ESTALE lets the kernel look the name up again. */
static int fl_loop_send(void *channel, const struct iovec *parts, size_t count)
{
    fl_loop *l = fl_request.loop;
    (void)channel;
    if (!parts || !l)
        return 0;
    struct fl_out_header *out = parts[0].iov_base;
    if (out->error == -ENOENT && fl_is_by_number(fl_request.opcode))
        out->error = -ESTALE;
    if (writev(l->fd, parts, (int)count) >= 0)
        return 0;
    int code = errno;
    if (code != ENOENT && !l->exited(l->session)) /* ENOENT: nobody waits for the answer any more */
        perror("fuse: writing device");
    return -code;
}

static void *fl_work(void *);

static void fl_loop_spawn(fl_loop *l)
{
    sigset_t ends, before;
    fl_worker *w = NULL;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigaddset(&ends, SIGQUIT);
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < FL_WORKERS && !w; i++)
        if (__atomic_load_n(&l->workers[i].state, __ATOMIC_ACQUIRE) != FL_RUNNING)
            w = &l->workers[i];
    if (w && w->state == FL_ENDED)
        pthread_join(w->thread, NULL);
    if (w) {
        w->loop = l;
        w->state = FL_RUNNING;
        pthread_sigmask(SIG_BLOCK, &ends, &before); /* they are for the main thread */
        if (pthread_create(&w->thread, NULL, fl_work, w))
            w->state = FL_FREE;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_mutex_unlock(&l->lock);
}

/* Answer a read. 0 if it is libfuse's to answer. */
static int fl_loop_read(fl_loop *l, const struct fl_in_header *in, size_t size, fl_reply *reply)
{
    const struct fl_read_in *r = (const struct fl_read_in *)(in + 1);
    if (size < sizeof *in + sizeof *r || !r->fh || r->size > FL_READ_MOST || r->offset > INT64_MAX)
        return 0;
    if (reply->room < r->size) {
        void *data;
        size_t room = ((size_t)r->size + FL_PAGE - 1) / FL_PAGE * FL_PAGE;
        if (posix_memalign(&data, FL_PAGE, room))
            return 0;
        free(reply->data);
        reply->data = data;
        reply->room = room;
    }
    struct fl_fuse_file_info fi = {.fh = r->fh};
    int n = fl_fuse_read(NULL, (char *)reply->data, r->size, (off_t)r->offset, &fi);
    struct fl_out_header out = {(uint32_t)sizeof out + (uint32_t)(n > 0 ? n : 0), n < 0 ? n : 0, in->unique};
    struct iovec parts[2] = {{&out, sizeof out}, {reply->data, (size_t)(n > 0 ? n : 0)}};
    /* ENOENT: nobody waits for the answer any more. Other errors come again with the next request */
    while (writev(l->fd, parts, n > 0 ? 2 : 1) < 0 && errno == EINTR)
        ;
    return 1;
}

/* Returns 0 when the loop has ended. */
static int fl_loop_take(fl_worker *w, char *request, fl_reply *reply, void **python)
{
    fl_loop *l = w->loop;
    __atomic_add_fetch(&l->waiting, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&w->reading, 1, __ATOMIC_RELEASE);
    ssize_t n = l->exited(l->session) ? -1 : read(l->fd, request, l->request_bytes);
    int code = errno, waiting = __atomic_sub_fetch(&l->waiting, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&w->reading, 0, __ATOMIC_RELEASE);
    if (l->exited(l->session))
        return 0;
    if (n < 0 && (code == EINTR || code == EAGAIN || code == ENOENT))
        return 1;
    const struct fl_in_header *in = (const struct fl_in_header *)request;
    if (n < (ssize_t)sizeof *in) {
        if (n >= 0 || code != ENODEV) /* ENODEV: unmounted */
            __atomic_store_n(&l->error, n >= 0 ? EIO : code, __ATOMIC_RELEASE);
        l->exit(l->session);
        return 0;
    }
    if (__atomic_load_n(&l->asleep, __ATOMIC_ACQUIRE) && __atomic_exchange_n(&l->asleep, 0, __ATOMIC_ACQ_REL))
        sem_post(&l->news);
    if (in->opcode == FL_OP_INTERRUPT)
        return 1; /* nothing here can be interrupted, and the kernel expects no answer */
    uint64_t start = fl_now_ns();
    if (in->opcode != FL_OP_READ || !fl_loop_read(l, in, (size_t)n, reply)) {
        if (waiting == 0)
            fl_loop_spawn(l);
        if (!*python)
            *python = l->attach();
        fl_request.opcode = in->opcode;
        fl_request.loop = l;
        l->process(l->session, request, (size_t)n, l->channel);
    } else if (waiting == 0 && fl_now_ns() - start > FL_SLOW_NS && !__atomic_load_n(&l->waiting, __ATOMIC_ACQUIRE)) {
        fl_loop_spawn(l);
    }
    __atomic_add_fetch(&l->answered, 1, __ATOMIC_RELAXED);
    return 1;
}

static void *fl_work(void *argument)
{
    fl_worker *w = argument;
    fl_loop *l = w->loop;
    char *request = malloc(l->request_bytes);
    fl_reply reply = {NULL, 0};
    void *python = NULL;
    while (request && fl_loop_take(w, request, &reply, &python))
        if (__atomic_load_n(&l->waiting, __ATOMIC_ACQUIRE) >= l->few)
            break; /* enough others wait */
    free(request);
    free(reply.data);
    if (python)
        l->detach(python);
    if (l->exited(l->session))
        sem_post(&l->news);
    __atomic_store_n(&w->state, FL_ENDED, __ATOMIC_RELEASE);
    return NULL;
}

/* Wait until somebody has news, a signal has come, or some time is over. */
static void fl_loop_wait(fl_loop *l, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    sem_timedwait(&l->news, &until);
}

/* Look now and then whether all workers are held up, until the session has ended. */
static void fl_loop_watch(fl_loop *l)
{
    uint64_t before = 0;
    int quiet = 0;
    while (!l->exited(l->session)) {
        uint64_t answered = __atomic_load_n(&l->answered, __ATOMIC_RELAXED);
        if (answered == before && !__atomic_load_n(&l->waiting, __ATOMIC_ACQUIRE))
            fl_loop_spawn(l);
        quiet = answered == before && __atomic_load_n(&l->waiting, __ATOMIC_ACQUIRE) ? quiet + 1 : 0;
        before = answered;
        if (quiet >= FL_QUIET_TICKS)
            __atomic_store_n(&l->asleep, 1, __ATOMIC_RELEASE);
        fl_loop_wait(l, quiet >= FL_QUIET_TICKS ? FL_NAP_MS : FL_TICK_MS);
    }
}

static void fl_nothing(int signal)
{
    (void)signal;
}

/* Get the workers out of their reads, and wait for those that are busy. */
static void fl_loop_end(fl_loop *l)
{
    struct sigaction nothing, before;
    memset(&nothing, 0, sizeof nothing);
    nothing.sa_handler = fl_nothing; /* without SA_RESTART: a read ends with EINTR */
    sigaction(FL_END_SIGNAL, &nothing, &before);
    for (int running = 1; running;) {
        running = 0;
        pthread_mutex_lock(&l->lock);
        for (int i = 0; i < FL_WORKERS; i++) {
            fl_worker *w = &l->workers[i];
            if (__atomic_load_n(&w->state, __ATOMIC_ACQUIRE) != FL_RUNNING)
                continue;
            running = 1;
            if (__atomic_load_n(&w->reading, __ATOMIC_ACQUIRE))
                pthread_kill(w->thread, FL_END_SIGNAL);
        }
        pthread_mutex_unlock(&l->lock);
        if (running)
            fl_loop_wait(l, FL_TICK_MS);
    }
    for (int i = 0; i < FL_WORKERS; i++)
        if (l->workers[i].state == FL_ENDED)
            pthread_join(l->workers[i].thread, NULL);
    sigaction(FL_END_SIGNAL, &before, NULL);
}

/* Serve until the mount is gone. The caller has zeroed what is not its to fill. 0, or an errno. */
static int fl_loop_run(fl_loop *l)
{
    if (sem_init(&l->news, 0, 0))
        return errno;
    pthread_mutex_init(&l->lock, NULL);
    for (int i = 0; i < l->few; i++)
        fl_loop_spawn(l);
    fl_loop_watch(l);
    fl_loop_end(l);
    pthread_mutex_destroy(&l->lock);
    sem_destroy(&l->news);
    return l->error;
}

#endif
