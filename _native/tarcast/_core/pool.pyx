# See pool.pxd.

from libc.string cimport memset

from tarcast._core.chunk cimport Chunk, chunk_clear, chunk_free, chunk_init
from tarcast._core.control cimport TICK_MS, Control, control_stops
from tarcast._core.pool cimport POOL_CHUNKS, Pool
from tarcast._core.posix cimport (
    getpid, pthread_cond_destroy, pthread_cond_signal, pthread_join, pthread_mutex_destroy, pthread_mutex_init,
    pthread_mutex_lock, pthread_mutex_unlock, tc_cond_init, tc_cond_wait, tc_publish, tc_thread_start,
)
from tarcast._core.sink cimport Sink, sink_write
from tarcast._core.status cimport STEP_CALLBACK, STEP_REPORTED, Status, fail


cdef int pool_init(Pool* pool, Sink* sink, Control* control) noexcept nogil:
    """0, or -1 when out of memory (pool_free is still right to call)."""
    memset(pool, 0, sizeof(Pool))
    pool.sink = sink
    pool.control = control
    pool.filling = &pool.chunks[0]
    pool.count = 1
    return chunk_init(&pool.chunks[0])


cdef void* write_chunks(void* argument) noexcept nogil:
    """The writing thread: takes full chunks in order until there will be no more or one cannot be written."""
    cdef Pool* pool = <Pool*>argument
    cdef Chunk* chunk
    cdef Status status
    cdef int result = 0
    pthread_mutex_lock(&pool.lock)
    while True:
        while pool.full == 0 and not pool.closing:
            tc_cond_wait(&pool.filled, &pool.lock, 1000)
        if pool.full == 0:
            break
        chunk = &pool.chunks[pool.next_to_write]
        pthread_mutex_unlock(&pool.lock)
        result = pool.finish(pool.owner, chunk)
        if result != 0:
            fail(&status, STEP_REPORTED, 0)
        else:
            result = sink_write(pool.sink, pool.control, chunk.data, chunk.length, False, &status)
        pthread_mutex_lock(&pool.lock)
        if result != 0:
            pool.failed = True
            pool.status = status
            pthread_cond_signal(&pool.written)
            break
        pool.next_to_write = (pool.next_to_write + 1) % pool.count
        pool.full -= 1
        pthread_cond_signal(&pool.written)
    pthread_mutex_unlock(&pool.lock)
    return NULL


cdef int pool_start(Pool* pool) noexcept nogil:
    """Let another thread write from now on. 0, or -1: no memory or no thread to be had, and all stays as it was."""
    cdef size_t i
    if pool.count != 1:
        return -1
    for i in range(1, <size_t>POOL_CHUNKS):
        if chunk_init(&pool.chunks[i]) != 0:
            return -1
    if pthread_mutex_init(&pool.lock, NULL) != 0:
        return -1
    if tc_cond_init(&pool.filled) != 0:
        pthread_mutex_destroy(&pool.lock)
        return -1
    if tc_cond_init(&pool.written) != 0:
        pthread_cond_destroy(&pool.filled)
        pthread_mutex_destroy(&pool.lock)
        return -1
    pool.count = POOL_CHUNKS
    if tc_thread_start(&pool.thread, write_chunks, pool) != 0:
        pool.count = 1
        pthread_cond_destroy(&pool.written)
        pthread_cond_destroy(&pool.filled)
        pthread_mutex_destroy(&pool.lock)
        return -1
    pool.process = getpid()
    pool.threaded = True
    return 0


cdef int wait_until(Pool* pool, size_t most_full, Status* status) noexcept nogil:
    """Wait, with the lock held, until at most `most_full` chunks are unwritten. -1: the writer failed, or stop."""
    cdef bint stop
    while not pool.failed and pool.full > most_full:
        pthread_mutex_unlock(&pool.lock)
        stop = control_stops(pool.control)
        pthread_mutex_lock(&pool.lock)
        if stop:
            return fail(status, STEP_CALLBACK, 0)
        if not pool.failed and pool.full > most_full:
            tc_cond_wait(&pool.written, &pool.lock, TICK_MS)
    if pool.failed:
        status[0] = pool.status
        return -1
    return 0


cdef int pool_submit(Pool* pool, Status* status) noexcept nogil:
    """Pass pool.filling on and make it an empty chunk. 0, or -1 with `status`: nothing more can be written."""
    cdef int result
    if not pool.threaded:
        result = sink_write(pool.sink, pool.control, pool.filling.data, pool.filling.length, True, status)
        chunk_clear(pool.filling)
        return result
    # Asked here and not only when the ring is full: with a quick sink it never is.
    if control_stops(pool.control):
        return fail(status, STEP_CALLBACK, 0)
    pthread_mutex_lock(&pool.lock)
    pool.full += 1
    pthread_cond_signal(&pool.filled)
    result = wait_until(pool, pool.count - 1, status)
    pthread_mutex_unlock(&pool.lock)
    pool.next_to_fill = (pool.next_to_fill + 1) % pool.count
    pool.filling = &pool.chunks[pool.next_to_fill]
    if result == 0:
        chunk_clear(pool.filling)
    return result


cdef int pool_drain(Pool* pool, Status* status) noexcept nogil:
    """Wait until everything submitted is written. 0, or -1 with `status`."""
    cdef int result = 0
    if pool.threaded:
        pthread_mutex_lock(&pool.lock)
        result = wait_until(pool, 0, status)
        pthread_mutex_unlock(&pool.lock)
    return result


cdef void pool_free(Pool* pool) noexcept nogil:
    """End the thread, whatever it is doing, and give everything back."""
    cdef size_t i
    if pool.threaded and pool.process == getpid():     # a forked child has no such thread to wait for
        tc_publish(&pool.control.abandoned, 1)
        pthread_mutex_lock(&pool.lock)
        pool.closing = True
        pthread_cond_signal(&pool.filled)
        pthread_mutex_unlock(&pool.lock)
        pthread_join(pool.thread, NULL)
        pthread_cond_destroy(&pool.written)
        pthread_cond_destroy(&pool.filled)
        pthread_mutex_destroy(&pool.lock)
    pool.threaded = False
    for i in range(<size_t>POOL_CHUNKS):
        chunk_free(&pool.chunks[i])
    pool.count = 0
