# See turn.pxd.

from tarcast._core.batch cimport BatchItem
from tarcast._core.collect cimport Found, collect_open
from tarcast._core.control cimport TICK_MS
from tarcast._core.links cimport links_clear
from tarcast._core.output cimport output_write
from tarcast._core.pending cimport pending_clear, pending_spare
from tarcast._core.piece cimport ORDER_FILLED, ORDER_SIZED
from tarcast._core.pieces cimport pieces_in_turn
from tarcast._core.posix cimport EAGAIN, EINTR, EMFILE, ENFILE, tc_observe, tc_pause
from tarcast._core.queue cimport Job, queue_hold, queue_release
from tarcast._core.run cimport Run, Worker
from tarcast._core.status cimport STEP_CALLBACK, Status, fail
from tarcast._core.trouble cimport AGAIN, DONE, STOP, told_to_stop
from tarcast._core.walk cimport walk_spare

cdef enum:
    # The kernel takes a lease away after 45 seconds unless /proc/sys/fs/lease-break-time says otherwise.
    LEASE_WAITS = 60000 // TICK_MS
    # Smaller files are read at once, or nearly so.
    BODY_LEAST = 65536


cdef int needs_turn(Worker* worker) noexcept nogil:
    """DONE if everything before the piece has its size, else AGAIN."""
    if not worker.in_turn:
        worker.in_turn = pieces_in_turn(&worker.run.queue, worker.piece, ORDER_SIZED)
        if not worker.in_turn:
            worker.waits_for = ORDER_SIZED
            return AGAIN
        if worker.run.links_tree != worker.tree:
            links_clear(&worker.run.links)
            pending_clear(&worker.run.pending)
            worker.run.links_tree = worker.tree
    return DONE


cdef int hold_descriptors(Worker* worker) noexcept nogil:
    """Have all others finish what they do, so that their descriptors come back. In turn only; queue_release follows."""
    cdef Run* run = worker.run
    cdef Job job
    cdef bint writes = False
    while not queue_hold(&run.queue, worker.number == 0, &job, &writes):
        if writes:
            output_write(&run.output, &job, worker.number == 0)
        if told_to_stop(worker):
            queue_release(&run.queue)
            return STOP
    walk_spare(&run.walker)     # nobody walks now
    pending_spare(&run.pending)
    return DONE


cdef bint in_turn_filled(Worker* worker) noexcept nogil:
    """Is everything before the piece filled? If not, that is what AGAIN waits for."""
    if needs_turn(worker) == DONE and pieces_in_turn(&worker.run.queue, worker.piece, ORDER_FILLED):
        return True
    worker.waits_for = ORDER_FILLED
    return False


cdef int open_item(Worker* worker, BatchItem* item, const char* name, Found* found, Status* status) noexcept nogil:
    """collect_open; what it needs and cannot have at once is waited for. AGAIN, STOP, or -1 in `status`."""
    cdef int result
    cdef int error
    cdef int waits = LEASE_WAITS
    cdef bint waited = False
    while True:
        result = collect_open(&worker.scratch, item.dir.fd, name, item.type, found, status)
        error = found.open_error if result == 0 else status.error
        if (error == EMFILE or error == ENFILE) and not waited:
            # What is large and not yet read has a descriptor too: wait also for that.
            if not in_turn_filled(worker):
                return AGAIN
            if hold_descriptors(worker) != DONE:
                return fail(status, STEP_CALLBACK, 0)
            waited = True
            result = collect_open(&worker.scratch, item.dir.fd, name, item.type, found, status)
            error = found.open_error if result == 0 else status.error
            queue_release(&worker.run.queue)    # only now: others would take what came back
        if result != 0:
            return result
        if error == EINTR:
            if worker.number == 0:
                worker.run.control.next_tick = 0
        elif error == EAGAIN and waits > 0:
            # Somebody holds a lease on the file and has been asked for it (fcntl(2), F_SETLEASE).
            waits -= 1
            tc_pause(TICK_MS)
        else:
            return DONE
        if told_to_stop(worker):
            return fail(status, STEP_CALLBACK, 0)


cdef bint too_many_bodies(Worker* worker, const Found* found) noexcept nogil:
    """Must the file wait, lest so many are open before they are read that none is left for the first piece?"""
    return found.st.size >= BODY_LEAST and tc_observe(&worker.run.queue.bodies) >= worker.run.queue.body_limit \
        and not in_turn_filled(worker)
