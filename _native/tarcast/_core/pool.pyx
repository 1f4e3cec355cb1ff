# See pool.pxd.

from libc.stdint cimport int64_t, uint64_t

from tarcast._core.batch cimport Batch
from tarcast._core.chunk cimport CHUNK_SIZE
from tarcast._core.collect cimport scratch_free, scratch_init
from tarcast._core.control cimport control_stops
from tarcast._core.fill cimport fill_piece, worker_free, worker_init
from tarcast._core.gather cimport GATHERED_ALL, GATHERED_STARVED, Gathered, gather
from tarcast._core.links cimport links_clear
from tarcast._core.note cimport FATAL, SKIPPED, Note, note_free
from tarcast._core.output cimport output_begin, output_end, output_write
from tarcast._core.pending cimport pending_free
from tarcast._core.piece cimport Piece
from tarcast._core.pool cimport COMPLETE, ENDED, NO_MEMORY, Outcome
from tarcast._core.posix cimport (
    pthread_join, tc_add, tc_cpu_now, tc_descriptor_limit, tc_now, tc_observe, tc_publish, tc_thread_start,
)
from tarcast._core.queue cimport (
    TASK_END, TASK_FILL, TASK_WALK, TASK_WRITE, Job, Task, queue_activate, queue_batch, queue_filled, queue_free,
    queue_has_more, queue_init, queue_left, queue_next, queue_note, queue_stop, queue_take_note, queue_walked, queue_written,
)
from tarcast._core.run cimport Run, Worker
from tarcast._core.status cimport STEP_CALLBACK, STEP_REPORTED, Status
from tarcast._core.walk cimport walk_free, walk_init

cdef enum:
    MOST_WORKERS = 64           # that can be asked for
    MOST_ADAPTIVE = 32          # that are started without being asked for
    # Descriptors: so many open directories, unless fewer may be open at all.
    MOST_DIRFDS = 256


cdef struct Pool:
    Run* run
    Worker workers[MOST_WORKERS]
    size_t started              # the calling thread included
    # Whether more workers pay off (see adapt).
    int64_t since               # beginning of the window, nanoseconds
    uint64_t busy_before
    uint64_t cpu_before
    uint64_t done_before
    double rate_before          # with `active_before` workers
    size_t active_before        # 0: the present number was not just tried
    size_t patience             # windows to go before the next try
    size_t setback              # how many after a try that did not pay


# ---- one worker ---------------------------------------------------------


cdef void fill(Worker* worker, Piece* piece) noexcept nogil:
    cdef Run* run = worker.run
    cdef int64_t begin = tc_now()
    cdef int64_t cpu = tc_cpu_now()
    piece = fill_piece(worker, piece)
    tc_add(&run.busy_ns, <uint64_t>(tc_now() - begin))
    tc_add(&run.cpu_ns, <uint64_t>(tc_cpu_now() - cpu))
    if piece == NULL:
        queue_left(&run.queue)
    else:
        tc_add(&run.filled_bytes, piece.chunk.length)
        queue_filled(&run.queue, piece)


cdef void write(Worker* worker, Job* job) noexcept nogil:
    cdef Run* run = worker.run
    cdef Status status
    if output_write(&run.output, job, worker.number == 0, &status) != 0:
        if status.step == STEP_CALLBACK or status.step == STEP_REPORTED:
            queue_stop(&run.queue)
        else:
            queue_note(&run.queue, FATAL, &status, NULL)
    queue_written(&run.queue, job)


cdef void walk(Worker* worker) noexcept nogil:
    cdef Run* run = worker.run
    cdef Batch* batch = queue_batch(&run.queue)
    cdef Gathered got
    if batch == NULL:
        tc_publish(&run.no_memory, 1)
        queue_stop(&run.queue)
        return
    got = gather(run, batch, worker.number == 0, run.queue.walks_alone)
    if queue_walked(&run.queue, batch, got == GATHERED_ALL, got == GATHERED_STARVED) != 0:
        tc_publish(&run.no_memory, 1)
        queue_stop(&run.queue)


cdef void do_task(Worker* worker, Task task, Job* job) noexcept nogil:
    if task == TASK_WALK:
        walk(worker)
    elif task == TASK_FILL:
        fill(worker, job.piece)
    elif task == TASK_WRITE:
        write(worker, job)


cdef void* work(void* argument) noexcept nogil:
    """The life of a worker that is not the calling thread."""
    cdef Worker* worker = <Worker*>argument
    cdef Job job
    cdef Task task
    while True:
        task = queue_next(&worker.run.queue, worker.number, &job)
        if task == TASK_END:
            return NULL
        do_task(worker, task, &job)


# ---- how many -----------------------------------------------------------


cdef size_t at_once(const Run* run) noexcept nogil:
    """Workers to begin with."""
    cdef size_t count = run.threads if run.threads > 0 else run.cores
    cdef size_t most = MOST_WORKERS if run.threads > 0 else MOST_ADAPTIVE
    if count > most:
        count = most
    return count if count > 0 else 1


cdef void start_workers(Pool* pool, size_t count) noexcept nogil:
    """Have `count` workers in all; fewer if there is no memory or no thread to be had."""
    cdef Worker* worker
    while pool.started < count:
        worker = &pool.workers[pool.started]
        if worker_init(worker, pool.run, pool.started) != 0 or tc_thread_start(&worker.thread, work, worker) != 0:
            worker_free(worker)
            return
        pool.started += 1


cdef void adapt(Pool* pool) noexcept nogil:
    """Look how the work went since the last time, and change the number of workers if that may help.

    While workers wait for storage, more of them give it more to do at once, and
    an SSD or a network is the quicker for it, but a spinning disk is not. So
    twice as many are tried when those that there are spend most of their time waiting, and
    kept only if more got done.
    """
    cdef Run* run = pool.run
    cdef int64_t now = tc_now()
    cdef uint64_t busy
    cdef uint64_t cpu
    cdef uint64_t done
    cdef size_t active = run.queue.active
    cdef double rate
    if now - pool.since < 50000000:
        return
    busy = tc_observe(&run.busy_ns)
    cpu = tc_observe(&run.cpu_ns)
    # An entry is worth as much as 16 KiB: both take storage about as long.
    done = tc_observe(&run.filled_bytes) + 16384 * tc_observe(&run.control.entries)
    rate = <double>(done - pool.done_before) / <double>(now - pool.since)
    if busy - pool.busy_before < <uint64_t>(now - pool.since) // 2:
        pass        # nothing to be learnt: the workers wait for the output, or for each other
    elif pool.active_before > 0 and rate < 1.1 * pool.rate_before:
        queue_activate(&run.queue, pool.active_before)
        pool.active_before = 0
        pool.patience = pool.setback
        pool.setback *= 2
    elif 2 * (cpu - pool.cpu_before) > busy - pool.busy_before:
        pool.active_before = 0      # they hardly wait: these are enough
        if pool.patience > 0:
            pool.patience -= 1
    elif pool.patience > 0:
        pool.patience -= 1
        pool.active_before = 0
    elif active < MOST_ADAPTIVE:
        pool.active_before = active
        pool.rate_before = rate
        start_workers(pool, 2 * active if 2 * active < MOST_ADAPTIVE else MOST_ADAPTIVE)
        queue_activate(&run.queue, pool.started)
    pool.since = now
    pool.busy_before = busy
    pool.cpu_before = cpu
    pool.done_before = done


# ---- the whole ----------------------------------------------------------


cdef void tell(Run* run) noexcept nogil:
    """Pass on what there is to say, in archive order."""
    cdef Note* note = queue_take_note(&run.queue)
    while note != NULL:
        run.hooks.report(run.hooks.owner, note.severity, &note.status, note.tree, note.path, note.path_length)
        if note.severity == SKIPPED:
            tc_add(&run.control.skipped, 1)
        elif note.severity == FATAL:
            run.failed = True
        note_free(note)
        note = queue_take_note(&run.queue)


cdef int prepare(Run* run) noexcept nogil:
    cdef size_t descriptors = tc_descriptor_limit()
    cdef size_t chunks = run.memory // CHUNK_SIZE
    cdef size_t i
    if queue_init(&run.queue, &run.control) != 0 or walk_init(&run.walker) != 0 or scratch_init(&run.walk_scratch) != 0:
        return -1
    run.walker.control = &run.control
    run.walker.dirfds = &run.queue.dirfds
    for i in range(run.root_count):
        if run.roots[i].map != NULL:
            run.queue.caller_fills = True
    run.queue.stock.chunk_limit = chunks if chunks > 0 else 1
    run.queue.dirfd_limit = descriptors // 4 if descriptors // 4 < MOST_DIRFDS else MOST_DIRFDS
    run.output.skip_errors = run.skip_errors
    output_begin(&run.output, &run.control, &run.queue)
    return 0


cdef Outcome pool_run(Run* run) noexcept nogil:
    """Write the archive that `run` is set up for, on the calling thread and others. Once."""
    cdef Pool pool
    cdef Task task
    cdef Job job
    cdef size_t i
    cdef size_t wanted = at_once(run)
    cdef bint complete
    pool.run = run
    pool.started = 0
    pool.since = tc_now()
    pool.busy_before = pool.cpu_before = pool.done_before = 0
    pool.active_before = pool.patience = 0
    pool.setback = 8
    if prepare(run) != 0 or worker_init(&pool.workers[0], run, 0) != 0:
        worker_free(&pool.workers[0])
        return NO_MEMORY
    pool.started = 1
    queue_activate(&run.queue, wanted)
    while True:
        task = queue_next(&run.queue, 0, &job)
        if task == TASK_END:
            break
        do_task(&pool.workers[0], task, &job)
        if pool.started < wanted and queue_has_more(&run.queue):
            start_workers(&pool, wanted)        # not for what is over in one batch
            wanted = pool.started
            queue_activate(&run.queue, wanted)
        elif run.threads == 0 and run.cores > 0:
            adapt(&pool)
        tell(run)
        if control_stops(&run.control):
            queue_stop(&run.queue)
    if run.queue.forked:        # the threads are the parent's
        return ENDED
    for i in range(1, pool.started):
        pthread_join(pool.workers[i].thread, NULL)
    for i in range(pool.started):
        worker_free(&pool.workers[i])
    tell(run)
    complete = run.queue.complete and not run.failed
    output_end(&run.output, complete)
    if complete:
        return COMPLETE
    return NO_MEMORY if tc_observe(&run.no_memory) else ENDED


cdef void run_free(Run* run) noexcept nogil:
    """Everything that pool_run made. Also for a Run of zeros, and twice."""
    queue_free(&run.queue)
    walk_free(&run.walker)
    scratch_free(&run.walk_scratch)
    links_clear(&run.links)
    pending_free(&run.pending)
