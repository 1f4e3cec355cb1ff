# See queue.pxd. Names that end in `_locked` are called with the lock held.

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from tarcast._core.body cimport Body
from tarcast._core.control cimport TICK_MS, Control
from tarcast._core.note cimport FATAL, Note, Severity, note_add, note_free, notes_free, notes_shift
from tarcast._core.piece cimport (
    ORDER_NONE, ORDER_SIZED, PIECE_DIRECT, PIECE_FILLING, PIECE_NAMES, PIECE_QUEUED, Piece, piece_has_size,
)
from tarcast._core.posix cimport (
    pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_signal, pthread_mutex_destroy, pthread_mutex_init,
    pthread_mutex_lock, pthread_mutex_unlock, tc_cond_init, tc_cond_wait, tc_observe, tc_publish,
)
from tarcast._core.queue cimport SPAN_PIECES, TASK_END, TASK_FILL, TASK_TICK, TASK_WALK, TASK_WRITE, Job, Queue, Task
from tarcast._core.status cimport Status
from tarcast._core.stock cimport stock_chunk, stock_chunks, stock_free, stock_return_list

cdef enum:
    CALLER = 0          # number of the worker that is the calling thread
    # Pieces that wait without a chunk: a bound on how far the walk runs ahead.
    QUEUED_LIMIT = 64
    # Notes that are not told yet: at this number there are no new names. What causes one may cost nothing else.
    UNTOLD_LIMIT = 1024
    # Block of a file that is written at once (see span_end_locked), and how much of it with one call, in bytes.
    UNIT = 262144
    SPAN_SIZE = 1048576
    # How long workers sleep at most; they are woken when there is something to do.
    SLEEP_MS = 1000


cdef int queue_init(Queue* queue, Control* control) noexcept nogil:
    """Of a Queue of zeros. 0, or -1 when out of memory or of locks (queue_free is still right to call)."""
    queue.control = control
    if pthread_mutex_init(&queue.lock, NULL) != 0:
        return -1
    if tc_cond_init(&queue.work) == 0:
        if tc_cond_init(&queue.caller) == 0:
            if tc_cond_init(&queue.parked) == 0:
                queue.made = True
                return 0
            pthread_cond_destroy(&queue.caller)
        pthread_cond_destroy(&queue.work)
    pthread_mutex_destroy(&queue.lock)
    return -1


cdef void queue_free(Queue* queue) noexcept nogil:
    """Give everything back; no worker may be there any more. Also for a Queue of zeros, and twice."""
    if queue.forked:        # somebody may have been changing it: rather lose the memory
        return
    stock_return_list(&queue.stock, queue.ready)
    stock_return_list(&queue.stock, queue.first)
    stock_free(&queue.stock)
    notes_free(&queue.notes)
    notes_free(&queue.later)
    free(queue.path)
    if queue.made:
        pthread_cond_destroy(&queue.parked)
        pthread_cond_destroy(&queue.caller)
        pthread_cond_destroy(&queue.work)
        pthread_mutex_destroy(&queue.lock)
    memset(queue, 0, sizeof(Queue))


# ---- the lock -----------------------------------------------------------


cdef bint queue_enter(Queue* queue) noexcept nogil:
    """Take the lock. False in the child of a fork, where the queue is of no use any more."""
    if queue.forked:
        return False
    pthread_mutex_lock(&queue.lock)
    return True


# ---- what to do next ----------------------------------------------------


cdef void wake_all_locked(Queue* queue) noexcept nogil:
    pthread_cond_broadcast(&queue.work)
    pthread_cond_broadcast(&queue.parked)
    pthread_cond_signal(&queue.caller)


cdef void queue_stop_locked(Queue* queue) noexcept nogil:
    queue.stopped = True
    tc_publish(&queue.control.abandoned, 1)
    wake_all_locked(queue)


cdef bint queue_has_chunk_locked(const Queue* queue, const Piece* piece) noexcept nogil:
    """Is there a chunk for `piece`, which is in the list? The last one is for what everything else waits for.

    All who take a chunk ask this. Those behind the first piece give theirs back only when that has had one.
    """
    cdef size_t chunks = stock_chunks(&queue.stock)
    return chunks > 1 or (chunks == 1 and (piece == queue.first or queue.first.state != PIECE_QUEUED))


cdef Piece* earliest_locked(Queue* queue, bint caller) noexcept nogil:
    """The first piece that may be filled now, or NULL."""
    cdef bint sized = True
    cdef Piece* piece = queue.first
    if queue.queued == 0 or queue.sated:
        return NULL
    while piece != NULL and not piece.failed:
        if piece.state == PIECE_QUEUED and (piece.order == ORDER_NONE or piece == queue.first
                                            or (piece.order == ORDER_SIZED and sized)) \
                and (caller or not queue.caller_fills or piece.kind != PIECE_NAMES):
            return piece if queue_has_chunk_locked(queue, piece) else NULL
        sized = sized and piece_has_size(piece)
        piece = piece.next
    return NULL


cdef bint may_walk_locked(Queue* queue) noexcept nogil:
    if queue.walking or queue.walked or queue.failing or queue.queued >= QUEUED_LIMIT or queue.untold >= UNTOLD_LIMIT:
        return False
    if queue.caller_fills and queue.names > 0:
        return False
    if queue.walks_alone or tc_observe(&queue.dirfds) >= queue.dirfd_limit:
        # Those that work hold the descriptors; when nobody does, the walk itself does.
        return queue.first == NULL and queue.ready == NULL and queue.busy == 0
    return stock_chunks(&queue.stock) > 0


cdef uint64_t span_end_locked(Queue* queue, bint eager) noexcept nogil:
    """How far to write into a file now, that being as far as there are pieces ready to be written from memory.

    Whole blocks of UNIT as long as more is coming: page caches keep such a block in one
    piece, and it takes them a third less time than one that lies across two. `eager` is for when nothing is
    coming: all there is.
    """
    cdef Piece* piece = queue.ready
    cdef uint64_t end = queue.begun
    cdef uint64_t whole
    cdef size_t count = 0
    while piece != NULL and piece.kind != PIECE_DIRECT and count < SPAN_PIECES and end < queue.begun + SPAN_SIZE:
        end = piece.at + piece.size
        piece = piece.next
        count += 1
    if end > queue.begun + SPAN_SIZE:
        end = queue.begun + SPAN_SIZE
    whole = (queue.base + end) // UNIT * UNIT
    if whole > queue.base + queue.begun:
        return whole - queue.base
    return end if eager or piece != NULL else queue.begun


cdef bint take_ready_locked(Queue* queue, bint caller, bint eager, Job* job) noexcept nogil:
    """Set `job` to what is to be written next. False: nothing, or not by this worker, or not yet.

    One writes at a time: a file lets no more than one in anyway, and the others would spin at its lock.
    """
    cdef Piece* piece = queue.ready
    cdef Piece* last = NULL
    cdef uint64_t end
    if not may_write_locked(queue, caller):
        return False
    if queue.gathers and piece.kind != PIECE_DIRECT:
        end = span_end_locked(queue, eager)
        if end == queue.begun:
            return False
    else:
        end = piece.at + piece.size
    job.at = queue.begun
    job.size = end - queue.begun
    job.piece = NULL
    job.tail = NULL
    while queue.ready != NULL and queue.ready.at + queue.ready.size <= end:
        last = queue.ready
        queue.ready = last.next
        queue.ready_count -= 1
        if last.chunk != NULL:
            queue.ready_bytes -= last.chunk.length
    if last != NULL:
        last.next = NULL
        job.piece = piece
    if queue.ready == NULL:
        queue.ready_last = NULL
    elif queue.ready.at < end:
        job.tail = queue.ready
    if queue.ready == NULL or (queue.ready_count <= READY_COUNT // 2 and queue.ready_bytes <= READY_BYTES // 2
                               and tc_observe(&queue.bodies) <= queue.body_limit // 2):
        queue.sated = False
    queue.begun = end
    queue.writing = True
    return True


cdef bint may_write_locked(const Queue* queue, bint caller) noexcept nogil:
    return queue.ready != NULL and not queue.writing and (caller or not queue.caller_writes)


cdef bint may_end_locked(const Queue* queue) noexcept nogil:
    return queue.walked and queue.first == NULL and queue.ready == NULL and queue.busy == 0


cdef Task choose_locked(Queue* queue, bint caller, Job* job) noexcept nogil:
    if take_ready_locked(queue, caller, queue.held, job):
        return TASK_WRITE
    if queue.held:
        return TASK_TICK
    job.piece = earliest_locked(queue, caller)
    if job.piece != NULL:
        job.piece.chunk = stock_chunk(&queue.stock)
        if job.piece.chunk != NULL:
            job.piece.state = PIECE_FILLING
            queue.queued -= 1
            return TASK_FILL
        if queue.stock.chunk_count == 0:
            tc_publish(&queue.control.no_memory, 1)
            queue_stop_locked(queue)
            return TASK_END
    elif may_walk_locked(queue):
        queue.walking = True
        return TASK_WALK
    if take_ready_locked(queue, caller, True, job):
        return TASK_WRITE
    if may_end_locked(queue):
        queue.complete = True
        queue_stop_locked(queue)
        return TASK_END
    if queue.busy == 0 and queue.ready == NULL and queue.first != NULL and stock_chunks(&queue.stock) == 0:
        # There was less memory than it seemed, and pieces that cannot be written yet have it.
        tc_publish(&queue.control.no_memory, 1)
        queue_stop_locked(queue)
        return TASK_END
    return TASK_TICK


cdef bint something_to_do_locked(Queue* queue, bint caller) noexcept nogil:
    """Would choose_locked find a task, or is there much to say?"""
    if may_write_locked(queue, caller) or (caller and queue.untold >= UNTOLD_LIMIT and queue.notes.first != NULL):
        return True
    return not queue.held and (earliest_locked(queue, caller) != NULL or may_walk_locked(queue)
                               or may_end_locked(queue))


cdef void queue_wake_locked(Queue* queue) noexcept nogil:
    """Something may have become possible: wake one worker for it, which wakes the next, and the calling thread."""
    if queue.waiting > 0 and something_to_do_locked(queue, False):
        pthread_cond_signal(&queue.work)
    if queue.caller_waits and something_to_do_locked(queue, True):
        pthread_cond_signal(&queue.caller)


cdef Task queue_next(Queue* queue, size_t number, Job* job) noexcept nogil:
    """What worker `number` does next, and with what. Waits until there is something.

    The calling thread is number 0 and gets TASK_TICK every 40 ms while it waits.
    Whoever got a task says when it is done, by the function named with the task.
    """
    cdef Task task = TASK_TICK
    cdef bint waited = False
    if not queue_enter(queue):
        return TASK_END
    while True:
        if queue.stopped:
            task = TASK_END
            break
        if number < queue.active:
            task = choose_locked(queue, number == CALLER, job)
            if task != TASK_TICK:
                break
        if number >= queue.active:
            tc_cond_wait(&queue.parked, &queue.lock, SLEEP_MS)
        elif number == CALLER:
            if waited:
                break
            queue.caller_waits = True
            tc_cond_wait(&queue.caller, &queue.lock, TICK_MS)
            queue.caller_waits = False
            waited = True
        else:
            queue.waiting += 1
            tc_cond_wait(&queue.work, &queue.lock, SLEEP_MS)
            queue.waiting -= 1
    if task != TASK_END and task != TASK_TICK:
        queue.busy += 1
        queue_wake_locked(queue)
    pthread_mutex_unlock(&queue.lock)
    return task


cdef void queue_done_locked(Queue* queue) noexcept nogil:
    queue.busy -= 1
    queue_wake_locked(queue)


# ---- reports and the end ------------------------------------------------


cdef void queue_note(Queue* queue, Severity severity, const Status* status, Body* body) noexcept nogil:
    """Something is to be said about the output, or about `body` while it is written; FATAL ends the export."""
    cdef size_t tree = 0
    cdef const char* path = b""
    cdef size_t length = 0
    if body != NULL:
        tree = body.tree
        path = body.path
        length = body.path_length
    if not queue_enter(queue):
        return
    if not queue.stopped and not note_add(&queue.notes, severity, status, tree, path, length, body):
        tc_publish(&queue.control.no_memory, 1)
        queue_stop_locked(queue)
    queue.untold += 1
    if severity == FATAL:
        queue_stop_locked(queue)
    pthread_mutex_unlock(&queue.lock)


cdef void queue_no_more(Queue* queue) noexcept nogil:
    """The worker that fills names has walked to the end of the archive itself."""
    if not queue_enter(queue):
        return
    queue.walked = True
    pthread_mutex_unlock(&queue.lock)


cdef size_t queue_path(Queue* queue, char** copy) noexcept nogil:
    """Copy the archive path of the latest name; the copy is the caller's to free. Its length, 0 for none."""
    cdef size_t length
    if not queue.made:
        return 0
    if not queue_enter(queue):
        return 0
    length = queue.path_length
    copy[0] = <char*>malloc(length + 1)
    if copy[0] == NULL:
        length = 0
    elif length > 0:
        memcpy(copy[0], queue.path, length)
    pthread_mutex_unlock(&queue.lock)
    return length


cdef bint queue_has_more(Queue* queue) noexcept nogil:
    """Is there more than one batch of names, or one chunk? Asked by the only worker, between two tasks."""
    cdef bint result
    if not queue_enter(queue):
        return False
    result = not queue.stopped and (not queue.walked or (queue.queued > 0 and queue.end > 0))
    pthread_mutex_unlock(&queue.lock)
    return result


cdef void queue_activate(Queue* queue, size_t workers) noexcept nogil:
    """Let workers with a number below `workers` work, and no others once they have done what they are at."""
    if not queue_enter(queue):
        return
    if workers > queue.active:
        pthread_cond_broadcast(&queue.parked)
    elif workers < queue.active:
        pthread_cond_broadcast(&queue.work)     # those that must not work any more would take others' signals
    queue.active = workers
    pthread_mutex_unlock(&queue.lock)


cdef void queue_stop(Queue* queue) noexcept nogil:
    """Nothing more is wanted: everyone gets TASK_END next."""
    if not queue_enter(queue):
        return
    queue_stop_locked(queue)
    pthread_mutex_unlock(&queue.lock)


cdef Note* queue_take_note(Queue* queue) noexcept nogil:
    """The next note in archive order, the caller's to free; NULL when there is none yet."""
    cdef Note* note = NULL
    if not queue_enter(queue):
        return NULL
    while True:
        note = notes_shift(&queue.notes)
        if note != NULL:
            queue.untold -= 1
            if queue.untold == UNTOLD_LIMIT - 1:
                queue_wake_locked(queue)
        if note == NULL or note.body == NULL or not note.body.told:
            break
        note_free(note)
    if note != NULL and note.body != NULL:
        note.body.told = True
    pthread_mutex_unlock(&queue.lock)
    return note


cdef bint queue_hold(Queue* queue, bint caller, Job* job, bint* writes) noexcept nogil:
    """Have the other workers finish and begin nothing new, because descriptors ran out.

    For the worker whose piece is in turn. True when all are idle (then
    queue_release follows), False when it is to be asked again: after a tick, or
    after doing `job`, if it `writes`.
    """
    cdef bint idle
    if not queue_enter(queue):
        return True
    queue.held = True
    writes[0] = take_ready_locked(queue, caller, True, job)
    idle = not writes[0] and queue.busy == 1 and queue.ready == NULL
    if writes[0]:
        queue.busy += 1
    elif not idle:
        tc_cond_wait(&queue.caller if caller else &queue.work, &queue.lock, TICK_MS)
    pthread_mutex_unlock(&queue.lock)
    return idle


cdef void queue_release(Queue* queue) noexcept nogil:
    if not queue_enter(queue):
        return
    queue.held = False
    wake_all_locked(queue)
    pthread_mutex_unlock(&queue.lock)
