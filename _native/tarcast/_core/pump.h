/* From one connected, blocking stream socket to another; used by pump.pyx alone. */
#ifndef TARCAST_PUMP_H
#define TARCAST_PUMP_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "posix.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* Bytes on their way: a pipe has no more than 1 MiB unless it is root's, and a buffer is to stay in the cache. */
enum { TC_PIPE = 1 << 20, TC_PIECE = 1 << 18 };

static inline int tc_pump_copying(int source, int target, uint64_t *moved)
{
    char *buffer = malloc(TC_PIECE);
    int error = buffer == NULL ? ENOMEM : 0;
    while (!error) {
        ssize_t got = recv(source, buffer, TC_PIECE, 0);
        if (got == 0)
            break;
        if (got < 0) {
            error = errno == EINTR ? 0 : errno;
            continue;
        }
        tc_add(moved, (uint64_t)got);
        for (ssize_t sent = 0; sent < got && !error;) {
            ssize_t done = send(target, buffer + sent, (size_t)(got - sent), MSG_NOSIGNAL);
            if (done >= 0)
                sent += done;
            else if (errno != EINTR)
                error = errno;
        }
    }
    free(buffer);
    return error;
}

#if defined(__linux__) && defined(SPLICE_F_MOVE)

/* The same by way of a pipe: pages change hands, and their bytes are not copied. EINVAL: not between these two. */
static inline int tc_pump_splicing(int source, int target, uint64_t *moved)
{
    int ends[2], error = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return EINVAL; /* no descriptors left: they can be had without */
    tc_widen_pipe(ends[1], TC_PIPE);
    while (!error) {
        ssize_t got = splice(source, NULL, ends[1], NULL, TC_PIPE, SPLICE_F_MOVE);
        if (got == 0)
            break;
        if (got < 0) {
            error = errno == EINTR ? 0 : errno;
            continue;
        }
        tc_add(moved, (uint64_t)got);
        while (got > 0 && !error) {
            ssize_t done = splice(ends[0], NULL, target, NULL, (size_t)got, SPLICE_F_MOVE);
            if (done > 0)
                got -= done;
            else if (done == 0 || errno != EINTR)
                error = done == 0 || errno == EINVAL ? EIO : errno; /* EINVAL would have the rest sent without this */
        }
    }
    close(ends[0]);
    close(ends[1]);
    return error;
}

#endif

/* Move bytes until the source ends: 0, or the number of the error. `moved` counts what the source has given. */
static inline int tc_pump(int source, int target, uint64_t *moved)
{
#if defined(__linux__) && defined(SPLICE_F_MOVE)
    /* splice(2) cannot be told not to raise a signal; whoever has one at its default action would die of it. */
    sigset_t broken, before, waiting;
    struct timespec now = {0, 0};
    int error;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    sigpending(&waiting);
    error = tc_pump_splicing(source, target, moved);
    if (error == EPIPE && !sigismember(&waiting, SIGPIPE))
        while (sigtimedwait(&broken, NULL, &now) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != EINVAL)
        return error;
#endif
    return tc_pump_copying(source, target, moved);
}

#endif
