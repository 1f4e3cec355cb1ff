# A ring of chunks between the thread that fills them and the one that writes them.
#
# Before a chunk is written `finish` reads the bodies that it left open, on the
# thread that writes. The filling thread always has one chunk to fill, pool.filling; pool_submit
# passes it on and gives the next, waiting while all are full. Without a thread
# (pool_start not called) pool_submit writes at once, on the caller's thread.
# Chunks are written in the order they were submitted, so the bytes never
# depend on timing. The Pool owns the chunks and the thread; sink and control
# are borrowed. The filling thread is the one that called `run`.

from tarcast._core.chunk cimport Chunk
from tarcast._core.control cimport Control
from tarcast._core.posix cimport pthread_cond_t, pthread_mutex_t, pthread_t
from tarcast._core.sink cimport Sink
from tarcast._core.status cimport Status

cdef enum:
    POOL_CHUNKS = 4


cdef struct Pool:
    Chunk* filling
    Chunk chunks[POOL_CHUNKS]
    size_t count                # chunks in use: 1 without a thread
    Sink* sink
    Control* control
    int (*finish)(void* owner, Chunk* chunk) noexcept nogil     # 0, or -1: the reason is reported
    void* owner
    # Below: only with a thread, and under the lock but for `thread`.
    bint threaded
    pthread_t thread
    int process                 # that has the thread
    pthread_mutex_t lock
    pthread_cond_t filled       # the writer waits for it
    pthread_cond_t written      # the filler waits for it
    size_t next_to_fill
    size_t next_to_write
    size_t full                 # submitted, not yet written
    bint closing                # no more will be submitted
    bint failed                 # the writer gave up; why is in `status`
    Status status


cdef int pool_init(Pool* pool, Sink* sink, Control* control) noexcept nogil
cdef int pool_start(Pool* pool) noexcept nogil
cdef int pool_submit(Pool* pool, Status* status) noexcept nogil
cdef int pool_drain(Pool* pool, Status* status) noexcept nogil
cdef void pool_free(Pool* pool) noexcept nogil
