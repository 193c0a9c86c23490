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

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>

#include "ahead.h"
#include "fuse_nodes.h"
#include "overdue.h"

#define FL_PAGE 4096
#define FL_SLOW_NS 1000000     /* a read that lasts longer waits for a disk, or for Python */
#define FL_WORKERS 128         /* without those that hang */
#define FL_END_SIGNAL (SIGRTMAX - 3)
#define FL_TICK_MS 2
#define FL_QUIET_TICKS 25
#define FL_NAP_MS 500 /* a signal may come just before the nap begins */
#define FL_SPARE_WORKERS 2 /* so many more workers stay while there is more to do than reads */
#define FL_END_NS 100000000 /* so long the end of the mount waits before it refuses what still comes */

typedef void (*fl_process_fn)(void *session, const char *request, size_t size, void *channel);
typedef int (*fl_exited_fn)(void *session);
typedef void (*fl_exit_fn)(void *session);

enum { FL_FREE, FL_RUNNING, FL_ENDED };

typedef struct {
    pthread_t thread;
    int state, reading; /* written with __atomic */
    int has_read;       /* its last request was a read */
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
    int left, is_over;       /* workers that still hang at the end; the loop does not wait any more */
    fl_overdue overdue;
    fl_worker workers[FL_SLOTS];
} fl_loop;

typedef struct {
    uint8_t *data; /* at the beginning of a page */
    size_t room;
} fl_reply;

static void *fl_work(void *);

static void fl_loop_spawn(fl_loop *l)
{
    sigset_t ends, before;
    fl_worker *w = NULL;
    int busy = -__atomic_load_n(&l->overdue.hanging, __ATOMIC_ACQUIRE);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigaddset(&ends, SIGQUIT);
    pthread_mutex_lock(&l->lock);
    for (int i = FL_SLOTS - 1; i >= 0; i--)
        if (__atomic_load_n(&l->workers[i].state, __ATOMIC_ACQUIRE) != FL_RUNNING)
            w = &l->workers[i];
        else
            busy++;
    w = busy < FL_WORKERS ? w : NULL;
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

/* Somebody else has answered the request of this thread. After the end of the mount it must go nowhere: nobody waits for
 * it, and libfuse's things are freed. */
static void fl_loop_is_late(fl_loop *l)
{
    pthread_mutex_lock(&l->lock);
    int is_over = l->is_over;
    pthread_mutex_unlock(&l->lock);
    while (is_over)
        pause();
}

/* Answer a read. 0 if it is libfuse's to answer. */
static int fl_loop_read(fl_loop *l, int slot, const struct fl_in_header *in, size_t size, fl_reply *reply)
{
    const struct fl_read_in *r = (const struct fl_read_in *)(in + 1);
    if (!fl_read_is_ours(in, size))
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
    if (!fl_overdue_end(&l->overdue, slot)) {
        fl_loop_is_late(l);
        return 1;
    }
    const fl_handle *h = (const fl_handle *)(uintptr_t)r->fh; /* as soon as the answer is out, it may be gone */
    if (n > 0 && h->file && h->mount->ahead)
        fl_ahead_seen(h->mount->ahead, h, in->pid, (int64_t)r->offset, n);
    /* errors but ENOENT come again with the next request */
    fl_answer(in->unique, n < 0 ? -n : 0, reply->data, n < 0 ? 0 : (size_t)n);
    return 1;
}

/* The mount ends: what was read from the device is answered with an error, if it is a request that is answered. */
static void fl_refuse(const struct fl_in_header *in, ssize_t n)
{
    if (n >= (ssize_t)sizeof *in && in->opcode != FL_OP_INTERRUPT && in->opcode != FL_OP_FORGET &&
        in->opcode != FL_OP_BATCH_FORGET)
        fl_answer(in->unique, ENOTCONN, NULL, 0);
}

/* 1 if Python may not be needed to answer: see fl_fuse_getattr and the others. */
static int fl_may_be_ours(uint32_t opcode)
{
    switch (opcode) {
    case FL_OP_LOOKUP:
    case FL_OP_FORGET:
    case FL_OP_GETATTR:
    case FL_OP_OPEN:
    case FL_OP_READ:
    case FL_OP_WRITE:
    case FL_OP_RELEASE:
    case FL_OP_GETXATTR:
    case FL_OP_LISTXATTR:
    case FL_OP_FLUSH:
    case FL_OP_BATCH_FORGET:
        return 1;
    }
    return 0;
}

/* Returns 0 when the loop has ended. */
static int fl_loop_take(fl_worker *w, char *request, fl_reply *reply)
{
    fl_loop *l = w->loop;
    __atomic_add_fetch(&l->waiting, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&w->reading, 1, __ATOMIC_RELEASE);
    ssize_t n = l->exited(l->session) ? -1 : read(l->fd, request, l->request_bytes);
    int code = errno, waiting = __atomic_sub_fetch(&l->waiting, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&w->reading, 0, __ATOMIC_RELEASE);
    const struct fl_in_header *in = (const struct fl_in_header *)request;
    if (l->exited(l->session)) {
        fl_refuse(in, n);
        return 0;
    }
    if (n < 0 && (code == EINTR || code == EAGAIN || code == ENOENT))
        return 1;
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
    int slot = (int)(w - l->workers);
    if (!fl_overdue_begin(&l->overdue, slot, in, (size_t)n))
        return 1;
    uint64_t start = fl_now_ns();
    w->has_read = in->opcode == FL_OP_READ && fl_loop_read(l, slot, in, (size_t)n, reply);
    if (!w->has_read) {
        if (waiting == 0)
            fl_loop_spawn(l);
        fl_node_complete((struct fl_in_header *)request);
        if (!fl_node_take(in)) {
            if (!fl_may_be_ours(in->opcode))
                fl_python();
            fl_asked = in;
            l->process(l->session, request, (size_t)n, l->channel);
            fl_asked = NULL;
        }
        fl_overdue_end(&l->overdue, slot);
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
    fl_thread this_thread = {l->attach, NULL};
    fl_this_thread = &this_thread;
    while (request && fl_loop_take(w, request, &reply))
        if (__atomic_load_n(&l->waiting, __ATOMIC_ACQUIRE) >= l->few + (w->has_read ? 0 : FL_SPARE_WORKERS))
            break; /* enough others wait */
    free(request);
    free(reply.data);
    if (this_thread.attached)
        l->detach(this_thread.attached);
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
        fl_overdue_look(&l->overdue);
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

/* Take what has come since the workers have ended. One that is busy may itself have asked the mount: it would wait for ever. */
static void fl_loop_refuse(fl_loop *l, char *request)
{
    ssize_t n;
    fcntl(l->fd, F_SETFL, O_NONBLOCK | fcntl(l->fd, F_GETFL));
    while (request && (n = read(l->fd, request, l->request_bytes)) > 0)
        fl_refuse((const struct fl_in_header *)request, n);
}

/* Get the workers out of their reads, and wait for those that are busy, but for those whose source hangs. */
static void fl_loop_end(fl_loop *l)
{
    char *request = malloc(l->request_bytes);
    struct sigaction nothing, before;
    memset(&nothing, 0, sizeof nothing);
    nothing.sa_handler = fl_nothing; /* without SA_RESTART: a read ends with EINTR */
    uint64_t begin = fl_now_ns();
    sigaction(FL_END_SIGNAL, &nothing, &before);
    for (int running = 1; running;) {
        running = l->left = 0;
        pthread_mutex_lock(&l->lock);
        for (int i = 0; i < FL_SLOTS; i++) {
            fl_worker *w = &l->workers[i];
            if (__atomic_load_n(&w->state, __ATOMIC_ACQUIRE) != FL_RUNNING)
                continue;
            if (fl_overdue_is_left(&l->overdue, i, fl_now_ns() - begin)) {
                l->left++;
                continue;
            }
            running = 1;
            if (__atomic_load_n(&w->reading, __ATOMIC_ACQUIRE))
                pthread_kill(w->thread, FL_END_SIGNAL);
        }
        l->is_over = !running;
        pthread_mutex_unlock(&l->lock);
        if (running && fl_now_ns() - begin > FL_END_NS)
            fl_loop_refuse(l, request);
        if (running)
            fl_loop_wait(l, FL_TICK_MS);
    }
    free(request);
    for (int i = 0; i < FL_SLOTS; i++)
        if (__atomic_load_n(&l->workers[i].state, __ATOMIC_ACQUIRE) == FL_ENDED)
            pthread_join(l->workers[i].thread, NULL);
    sigaction(FL_END_SIGNAL, &before, NULL);
}

/* Serve until the mount is gone. The caller has zeroed what is not its to fill, and keeps it where `left` is not 0.
 * 0, or an errno. */
static int fl_loop_run(fl_loop *l)
{
    if (sem_init(&l->news, 0, 0))
        return errno;
    pthread_mutex_init(&l->lock, NULL);
    fl_device = l->fd;
    for (int i = 0; i < l->few; i++)
        fl_loop_spawn(l);
    fl_loop_watch(l);
    fl_loop_end(l);
    if (!l->left) {
        pthread_mutex_destroy(&l->lock);
        sem_destroy(&l->news);
    }
    return l->error;
}

#endif
