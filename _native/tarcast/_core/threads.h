/* Clocks, threads, and numbers that one thread writes while others read: a part of posix.h. */
#ifndef TARCAST_THREADS_H
#define TARCAST_THREADS_H

static inline void tc_pause(int milliseconds)
{
    poll(NULL, 0, milliseconds);
}

/* A cheap clock for "is it time yet" questions, in nanoseconds; steps of a few milliseconds. */
static inline int64_t tc_coarse_now(void)
{
    struct timespec now;
#ifdef CLOCK_MONOTONIC_COARSE
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nanoseconds since some fixed moment. */
static inline int64_t tc_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nanoseconds of CPU that a running thread has used so far; -1 where that is not to be known. */
static inline int64_t tc_thread_cpu(pthread_t thread)
{
#ifdef __linux__
    clockid_t clock;
    struct timespec now;
    if (pthread_getcpuclockid(thread, &clock) == 0 && clock_gettime(clock, &now) == 0)
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#else
    (void)thread;
#endif
    return -1;
}

/* Wait on `cond` (made by tc_cond_init) for at most `milliseconds`. */
static inline int tc_cond_init(pthread_cond_t *cond)
{
#ifdef __APPLE__
    return pthread_cond_init(cond, NULL);
#else
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return -1;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int result = pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
    return result;
#endif
}

static inline void tc_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int milliseconds)
{
    struct timespec until;
#ifdef __APPLE__
    clock_gettime(CLOCK_REALTIME, &until);
#else
    clock_gettime(CLOCK_MONOTONIC, &until);
#endif
    until.tv_nsec += (long)milliseconds * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(cond, lock, &until);
}

/* Start a thread that gets no signals: those are for the interpreter's own threads. Nor does it get the usual
 * 8 MiB of addresses for a stack: that is 512 MiB for 64 threads, and memory may be limited (setrlimit(2),
 * RLIMIT_AS). 0 or an errno. */
static inline int tc_thread_start(pthread_t *thread, void *(*body)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int result = pthread_attr_init(&attributes);
    if (result != 0)
        return result;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    pthread_attr_setstacksize(&attributes, 512 << 10);
#endif
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(thread, &attributes, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return result;
}

/* Numbers that one thread writes while others read. */
static inline void tc_publish(uint64_t *where, uint64_t value)
{
    __atomic_store_n(where, value, __ATOMIC_RELAXED);
}

static inline void tc_add(uint64_t *where, uint64_t value)
{
    __atomic_fetch_add(where, value, __ATOMIC_RELAXED);
}

/* One reference less; 1 when it was the last. What others did before they gave theirs back is seen then. */
static inline int tc_release(uint64_t *references)
{
    return __atomic_sub_fetch(references, 1, __ATOMIC_ACQ_REL) == 0;
}

/* Set to `value` if it is still `old`; 1 if so. */
static inline int tc_swap(uint64_t *where, uint64_t old, uint64_t value)
{
    return __atomic_compare_exchange_n(where, &old, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static inline uint64_t tc_observe(const uint64_t *where)
{
    return __atomic_load_n(where, __ATOMIC_RELAXED);
}

#endif
