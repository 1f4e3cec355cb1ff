# The pieces of one archive, from the walk to the output: who does what next, in which order, within which memory.
#
# Workers ask queue_next what to do, do it, and say so. Order comes from the
# list alone: a piece has a place in the archive when everything before it is
# filled, so neither bytes nor reports depend on timing. Memory is bounded by the number of chunks:
# a piece gets one before it is filled and gives it back once it is written, and
# the earliest piece goes first, so the archive always goes on.
#
# One lock guards everything here. No GIL.

from libc.stdint cimport uint64_t

from tarcast._core.body cimport Body
from tarcast._core.control cimport Control
from tarcast._core.note cimport Note, Notes, Severity
from tarcast._core.piece cimport Piece
from tarcast._core.posix cimport pthread_cond_t, pthread_mutex_t
from tarcast._core.status cimport Status
from tarcast._core.stock cimport Stock


cdef enum Task:
    TASK_END            # nothing is left to do
    TASK_TICK           # nothing to do just now; for the calling thread, to look at signals
    TASK_WALK           # get more names: then pieces_walked
    TASK_FILL           # fill job.piece: then pieces_filled
    TASK_WRITE          # write what the job says: then pieces_written


cdef enum:
    # Pieces that are written with one call, at most.
    SPAN_PIECES = 32
    # Pieces that wait for nothing but the writer, and bytes in their chunks: at these numbers nothing is filled any
    # more until half is written. Bytes that wait long leave the processor's cache, and take half as long again to
    # write; what the kernel moves holds a descriptor.
    READY_COUNT = 96
    READY_BYTES = 3145728


cdef struct Job:
    Piece* piece            # to be filled; or the first to be written, linked to more
    # The bytes to be written: from `at` in the archive, where the first piece begins or somewhere inside it.
    uint64_t at
    uint64_t size
    Piece* tail             # the last of those bytes lie in this piece, which the queue keeps; or NULL


cdef struct Queue:
    Control* control            # borrowed; told when to stop
    # What may be done by whom; set before the first queue_next.
    bint gathers            # many pieces may be written at once, and parts of pieces
    uint64_t base           # offset in the file where the archive begins, if it gathers
    bint caller_writes      # only the calling thread writes
    bint caller_fills       # only the calling thread archives names, and the walk never runs ahead of it
    uint64_t dirfd_limit
    uint64_t body_limit
    uint64_t dirfds         # open directories; atomic, not under the lock
    uint64_t bodies         # files that wait to be read; the same
    # Under the lock.
    pthread_mutex_t lock
    pthread_cond_t work         # workers wait for it
    pthread_cond_t parked       # workers that are not to work now wait for it
    pthread_cond_t caller       # the calling thread waits for it
    bint made                   # the four above exist
    size_t active               # workers with a lower number may work
    size_t waiting              # workers that wait
    bint caller_waits
    Piece* first                # from the first that is not filled
    Piece* last
    Piece* ready                # filled and at a known place, in order
    Piece* ready_last
    size_t ready_count
    size_t ready_bytes          # in their chunks
    bint sated                  # enough of them: fill no more until some are written
    Stock stock
    size_t names                # pieces of names that are not filled
    size_t queued               # pieces that nobody works on
    size_t busy                 # workers with a task
    uint64_t end                # offset behind the last piece with a place
    uint64_t begun              # offset up to which the archive is written or being written
    bint walking                # somebody does
    bint walks_alone            # descriptors ran out: walk only when all else is done
    bint walked                 # there are no more names
    bint writing                # somebody does, where only one may
    bint held                   # one worker wants the others to finish and do nothing new
    bint failing                # something will end the export: no new names
    bint ending                 # everything before that has its place: end when it is written
    bint stopped                # end now
    bint complete               # everything was written
    bint forked                 # this is the child of a fork: leave all as it is
    Notes notes                 # in archive order, for the calling thread
    Notes later                 # behind what is being written
    size_t untold               # notes of all pieces that have a place, and those above
    char* path                  # archive path of the latest name, for progress
    size_t path_length
    size_t path_capacity


cdef int queue_init(Queue* queue, Control* control) noexcept nogil
cdef void queue_free(Queue* queue) noexcept nogil
cdef Task queue_next(Queue* queue, size_t number, Job* job) noexcept nogil
cdef void queue_note(Queue* queue, Severity severity, const Status* status, Body* body) noexcept nogil
cdef void queue_no_more(Queue* queue) noexcept nogil
cdef size_t queue_path(Queue* queue, char** copy) noexcept nogil
cdef bint queue_has_more(Queue* queue) noexcept nogil
cdef void queue_activate(Queue* queue, size_t workers) noexcept nogil
cdef void queue_stop(Queue* queue) noexcept nogil
cdef Note* queue_take_note(Queue* queue) noexcept nogil
cdef bint queue_hold(Queue* queue, bint caller, Job* job, bint* writes) noexcept nogil
cdef void queue_release(Queue* queue) noexcept nogil
# For `pieces`; those that end in `_locked` want the lock held.
cdef bint queue_enter(Queue* queue) noexcept nogil
cdef bint queue_has_chunk_locked(const Queue* queue, const Piece* piece) noexcept nogil
cdef void queue_wake_locked(Queue* queue) noexcept nogil
cdef void queue_done_locked(Queue* queue) noexcept nogil
cdef void queue_stop_locked(Queue* queue) noexcept nogil
