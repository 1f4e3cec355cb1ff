# See pool.pxd.

from libc.stdint cimport int64_t, uint64_t

from tarcast._core.batch cimport BATCH_ITEMS, Batch
from tarcast._core.chunk cimport CHUNK_SIZE
from tarcast._core.collect cimport scratch_free, scratch_init
from tarcast._core.control cimport control_stops
from tarcast._core.dirfd cimport dirfd_drop
from tarcast._core.fill cimport fill_piece, worker_free, worker_init
from tarcast._core.gather cimport GATHERED_ALL, GATHERED_STARVED, Gathered, gather
from tarcast._core.links cimport links_clear
from tarcast._core.note cimport FATAL, SKIPPED, Note, note_free
from tarcast._core.output cimport output_begin, output_end, output_write
from tarcast._core.pending cimport pending_free
from tarcast._core.piece cimport Piece
from tarcast._core.pieces cimport pieces_batch, pieces_filled, pieces_left, pieces_walked
from tarcast._core.pool cimport COMPLETE, ENDED, NO_MEMORY, Outcome
from tarcast._core.posix cimport (
    pthread_join, pthread_self, tc_add, tc_descriptors_left, tc_give_addresses, tc_hold_addresses, tc_now,
    tc_observe, tc_publish, tc_thread_cpu, tc_thread_start,
)
from tarcast._core.queue cimport (
    TASK_END, TASK_FILL, TASK_WALK, TASK_WRITE, Job, Task, queue_activate, queue_free, queue_has_more, queue_init,
    queue_next, queue_stop, queue_take_note,
)
from tarcast._core.run cimport Run, Worker
from tarcast._core.walk cimport walk_free, walk_init

cdef enum:
    REST_OF_MEMORY = 8 << 20    # bytes besides chunks: much more than there is
    MOST_HELD = 64 << 20        # a larger memory limit may be larger than the memory
    MOST_WORKERS = 64           # that can be asked for
    MOST_ADAPTIVE = 32          # that are started without being asked for
    # Descriptors: so many open directories and bodies, unless fewer may be open at all.
    MOST_DIRFDS = 256
    MOST_BODIES = 256
    # Names to be gathered at once; room is left in a batch for a problem behind a directory.
    MANY_ITEMS = BATCH_ITEMS - 1
    FEW_ITEMS = 32
    # To judge by: so many bytes done (see adapt), or so many nanoseconds.
    LEAST_DONE = 4194304
    LONGEST_WINDOW = 1000000000


cdef struct Pool:
    Run* run
    Worker workers[MOST_WORKERS]
    size_t most                 # of them, at most MOST_WORKERS
    size_t started              # the calling thread included
    # Whether more workers pay off (see adapt).
    int64_t since               # beginning of the window, nanoseconds
    int64_t cpu_before          # of all workers, nanoseconds
    int64_t filling_before
    uint64_t done_before
    double rate_before          # with `active_before` workers
    bint settled                # a window has gone by since there are more
    size_t active_before        # 0: the present number was not just tried
    size_t patience             # windows to go before the next try
    size_t setback              # how many after a try that did not pay


# ---- one worker ---------------------------------------------------------


cdef void fill(Worker* worker, Piece* piece) noexcept nogil:
    cdef Run* run = worker.run
    cdef bint failed = False
    piece = fill_piece(worker, piece, &failed)
    if piece == NULL:
        pieces_left(&run.queue)
    else:
        tc_add(&run.filled_bytes, piece.chunk.length)
        pieces_filled(&run.queue, piece, failed)


cdef void walk(Worker* worker) noexcept nogil:
    cdef Run* run = worker.run
    cdef Batch* batch = pieces_batch(&run.queue)
    cdef Gathered got
    if batch == NULL:
        tc_publish(&run.control.no_memory, 1)
        queue_stop(&run.queue)
        return
    got = gather(run, batch, worker.number == 0, run.queue.walks_alone)
    if pieces_walked(&run.queue, batch, got == GATHERED_ALL, got == GATHERED_STARVED) != 0:
        tc_publish(&run.control.no_memory, 1)
        queue_stop(&run.queue)


cdef void do_task(Worker* worker, Task task, Job* job) noexcept nogil:
    cdef int64_t begin
    if task == TASK_WRITE:
        output_write(&worker.run.output, job, worker.number == 0)
    elif task == TASK_WALK or task == TASK_FILL:
        begin = tc_now()
        tc_publish(&worker.filling, <uint64_t>begin)
        if task == TASK_WALK:
            walk(worker)
        else:
            fill(worker, job.piece)
        tc_publish(&worker.filling, 0)
        tc_add(&worker.filled_ns, <uint64_t>(tc_now() - begin))


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


cdef void start_workers(Pool* pool, size_t count) noexcept nogil:
    """Have `count` workers in all; fewer if there may not be so many, or there is no memory or no thread to be had."""
    cdef Worker* worker
    # Where memory is limited their stacks take what chunks and all else leave, not the other way round.
    cdef size_t size = REST_OF_MEMORY + (pool.run.memory if pool.run.memory < MOST_HELD else MOST_HELD)
    cdef void* held = tc_hold_addresses(size)
    if held == NULL:
        return
    while pool.started < count and pool.started < pool.most:
        worker = &pool.workers[pool.started]
        if worker_init(worker, pool.run, pool.started) != 0 or tc_thread_start(&worker.thread, work, worker) != 0:
            worker_free(worker)
            break
        pool.started += 1
    tc_give_addresses(held, size)


cdef int64_t cpu_of_all(const Pool* pool) noexcept nogil:
    """Nanoseconds of CPU that the workers have used; -1: not to be known."""
    cdef int64_t total = 0
    cdef int64_t one
    cdef size_t i
    for i in range(pool.started):
        one = tc_thread_cpu(pool.workers[i].thread)
        if one < 0:
            return -1
        total += one
    return total


cdef uint64_t done_so_far(const Pool* pool) noexcept nogil:
    """In bytes. An entry is worth as much as 16 KiB: both take storage about as long."""
    return tc_observe(&pool.run.filled_bytes) + 16384 * tc_observe(&pool.run.control.entries)


cdef void begin_window(Pool* pool, int64_t now, int64_t cpu, int64_t filling, uint64_t done) noexcept nogil:
    pool.since = now
    pool.cpu_before = cpu
    pool.filling_before = filling
    pool.done_before = done


cdef void try_active(Pool* pool, size_t count, double rate) noexcept nogil:
    """Have more of them and see whether more than `rate` gets done then; not so soon again after tries in vain."""
    if pool.patience > 0:
        pool.patience -= 1
        return
    pool.active_before = pool.run.queue.active
    pool.rate_before = rate
    pool.settled = False
    start_workers(pool, count)
    have_active(pool, count)


cdef void adapt(void* pacer) noexcept nogil:
    """Look how the work went since the last time, and change the number of workers if that may help.

    While workers wait for storage, more of them give it more to do at once, and
    an SSD or a network is the quicker for it, but a spinning disk is not. So
    more are tried when those that there are spend most of their time waiting, and
    kept only if more got done. Where the cores are busy there are too many, and
    also where they do nothing but wait for a slow output.
    """
    cdef Pool* pool = <Pool*>pacer
    cdef Run* run = pool.run
    cdef int64_t now = tc_now()
    cdef double elapsed = <double>(now - pool.since)
    cdef int64_t cpu = cpu_of_all(pool)
    cdef int64_t filling_ns = filling_of_all(pool, now)
    cdef uint64_t done = done_so_far(pool)
    cdef size_t active = run.queue.active
    cdef double used = <double>(cpu - pool.cpu_before) / elapsed                    # cores
    cdef double filling = <double>(filling_ns - pool.filling_before) / elapsed      # workers, on average
    cdef double rate = <double>(done - pool.done_before) / elapsed
    if cpu < 0 or (done - pool.done_before < LEAST_DONE and elapsed < LONGEST_WINDOW):
        return      # too little to judge by
    if pool.active_before > 0 and rate < 1.1 * pool.rate_before and 2 * filling >= <double>active:
        if not pool.settled:
            pool.settled = True     # what the new ones have begun is not counted yet
            active = 0
        else:
            have_active(pool, pool.active_before)
            pool.patience = pool.setback
            pool.setback *= 2
            active = 0
            pool.active_before = 0
    else:
        pool.active_before = 0
    if active == 0:
        pass        # just decided
    elif 2 * filling < <double>active and used < 0.95 * <double>(active // 2):
        # They wait for the output. Half of them can do that too, and leave a core to who reads it.
        have_active(pool, active // 2)
    elif active > run.cores and used > 0.95 * <double>run.cores:
        have_active(pool, active // 2 if active // 2 > run.cores else run.cores)
    elif active < run.cores and used > 0.9 * <double>active:
        try_active(pool, run.cores, rate)
    elif 2 * used < filling and 2 * filling > <double>active and active < MOST_ADAPTIVE:
        try_active(pool, 4 * active if 4 * active < MOST_ADAPTIVE else MOST_ADAPTIVE, rate)
    begin_window(pool, now, cpu, filling_ns, done)


cdef int64_t filling_of_all(const Pool* pool, int64_t now) noexcept nogil:
    """Nanoseconds that the workers have spent on walking and filling."""
    cdef int64_t total = 0
    cdef int64_t since
    cdef size_t i
    for i in range(pool.started):
        total += <int64_t>tc_observe(&pool.workers[i].filled_ns)
        since = <int64_t>tc_observe(&pool.workers[i].filling)
        if since > 0:
            total += now - since
    return total


cdef void have_active(Pool* pool, size_t count) noexcept nogil:
    """Let `count` of the workers that there are work from now on."""
    cdef Run* run = pool.run
    if count > pool.started:
        count = pool.started
    # Workers that wait for storage get few names each, lest one of them be at it when all others are done.
    tc_publish(&run.batch_items, FEW_ITEMS if count > run.cores else MANY_ITEMS)
    queue_activate(&run.queue, count)


cdef void begin_to_adapt(Pool* pool) noexcept nogil:
    cdef int64_t now = tc_now()
    begin_window(pool, now, cpu_of_all(pool), filling_of_all(pool, now), done_so_far(pool))
    pool.run.control.pacer = pool
    pool.run.control.pace = adapt


# ---- the whole ----------------------------------------------------------


cdef void tell(Run* run) noexcept nogil:
    """Pass on what there is to say, in archive order, up to the first error: how much was seen behind it is chance."""
    cdef Note* note = queue_take_note(&run.queue)
    while note != NULL:
        if not run.failed:
            run.hooks.report(run.hooks.owner, note.severity, &note.status, note.tree, note.path, note.path_length)
            if note.severity == SKIPPED:
                tc_add(&run.control.skipped, 1)
            elif note.severity == FATAL:
                run.failed = True
        note_free(note)
        note = queue_take_note(&run.queue)


cdef int prepare(Pool* pool, Run* run) noexcept nogil:
    """All but the workers. 0, or -1 when out of memory (run_free is still right to call)."""
    cdef size_t descriptors = tc_descriptors_left(run.roots[0].fd if run.root_count > 0 else -1)
    cdef size_t chunks = run.memory // CHUNK_SIZE
    cdef size_t i
    if queue_init(&run.queue, &run.control) != 0 or walk_init(&run.walker) != 0 or scratch_init(&run.walk_scratch) != 0:
        return -1
    if run.cores > <size_t>MOST_ADAPTIVE:
        run.cores = MOST_ADAPTIVE
    elif run.cores == 0:
        run.cores = 1
    run.walker.control = &run.control
    run.walker.dirfds = &run.queue.dirfds
    for i in range(run.root_count):
        if run.roots[i].map != NULL:
            run.queue.caller_fills = True
    run.queue.stock.chunk_limit = chunks if chunks > 0 else 1
    # A quarter each for directories, bodies, and workers with a file in hand: so the first piece finds one
    # that is left, whatever those behind it hold.
    pool.most = descriptors // 4 if descriptors // 4 < MOST_WORKERS else MOST_WORKERS
    run.queue.dirfd_limit = descriptors // 4 if descriptors // 4 < MOST_DIRFDS else MOST_DIRFDS
    run.queue.body_limit = descriptors // 4 if descriptors // 4 < MOST_BODIES else MOST_BODIES
    run.output.skip_errors = run.skip_errors
    output_begin(&run.output, &run.control, &run.queue)
    return 0


cdef Outcome pool_run(Run* run) noexcept nogil:
    """Write the archive that `run` is set up for, on the calling thread and others. Once."""
    cdef Pool pool
    cdef Task task
    cdef Job job
    cdef size_t i
    cdef bint more = False
    cdef bint complete
    pool.run = run
    pool.started = 0
    pool.active_before = pool.patience = 0
    pool.setback = 8
    if worker_init(&pool.workers[0], run, 0) != 0 or prepare(&pool, run) != 0:
        worker_free(&pool.workers[0])
        return NO_MEMORY
    pool.workers[0].thread = pthread_self()
    pool.started = 1
    have_active(&pool, 1)
    while True:
        task = queue_next(&run.queue, 0, &job)
        if task == TASK_END:
            break
        do_task(&pool.workers[0], task, &job)
        if not more and queue_has_more(&run.queue):
            more = True         # than it can do alone: worth a thread
            start_workers(&pool, run.threads if run.threads > 0 else run.cores)
            have_active(&pool, pool.started)
            if run.threads == 0:
                begin_to_adapt(&pool)
        tell(run)
        if control_stops(&run.control):
            queue_stop(&run.queue)
    run.control.pace = NULL
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
    return NO_MEMORY if tc_observe(&run.control.no_memory) else ENDED


cdef void run_free(Run* run) noexcept nogil:
    """Everything that pool_run made. Also for a Run of zeros, and twice."""
    queue_free(&run.queue)
    walk_free(&run.walker)
    scratch_free(&run.walk_scratch)
    links_clear(&run.links)
    pending_free(&run.pending)
    if run.added_dir != NULL:
        dirfd_drop(run.added_dir)
        run.added_dir = NULL
