# See output.pxd. Functions that may fail give 0, or -1 with `status`.

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint64_t

from tarcast._core.body cimport body_read_at
from tarcast._core.chunk cimport CHUNK_TARGET, Chunk, chunk_free, chunk_new
from tarcast._core.control cimport TICK_MS, Control, control_cancelled, control_stops
from tarcast._core.header cimport ALIGNMENT
from tarcast._core.note cimport FATAL, SKIPPED
from tarcast._core.output cimport Output
from tarcast._core.piece cimport PIECE_DIRECT, Piece
from tarcast._core.pieces cimport pieces_written
from tarcast._core.posix cimport (
    EAGAIN, EINTR, EINVAL, ETXTBSY, SEEK_SET, iovec, lseek, pread, pwritev, tc_add, tc_allocate, tc_clone, tc_fstat,
    tc_is_pipe, tc_observe, tc_place, tc_publish, tc_splice, tc_stat, tc_swap, tc_trim, tc_wait_writable,
    tc_widen_pipe,
)
from tarcast._core.queue cimport SPAN_PIECES, Job, Queue, queue_note, queue_stop
from tarcast._core.sink cimport SINK_CALL, SINK_FILE, SINK_PIPE, sink_write
from tarcast._core.status cimport STEP_CALLBACK, STEP_GREW, STEP_MEMORY, STEP_REPORTED, STEP_WRITE, Status, fail

cdef enum:
    # A write to a slow device is not interrupted by signals, so it must not be long.
    MOST = 1048576
    PIPE_SIZE = 1048576
    # Smaller bodies are copied: cheaper than the calls that would avoid it.
    SPLICE_LEAST = 65536
    CLONE_LEAST = 65536
    # Blocks are reserved in steps as long as what there is so far, between these.
    ALLOCATE_LEAST = 8388608
    ALLOCATE_MOST = 67108864
    # So much at a time, lest a cancel wait: the kernel writes a source to the disk first that is not there yet.
    CLONE_MOST = 268435456


cdef int output_begin(Output* output, Control* control, Queue* queue) noexcept nogil:
    """For a sink that is set already: find out what it can do, and tell the queue."""
    output.control = control
    output.queue = queue
    output.base = tc_place(output.sink.fd) if output.sink.kind == SINK_FILE and output.observe == NULL else -1
    output.places = output.base >= 0
    output.splices = output.sink.kind == SINK_PIPE and output.observe == NULL and tc_is_pipe(output.sink.fd)
    output.clones = output.places and output.aligned and output.base % ALIGNMENT == 0
    output.refused = 0
    output.allocated = 0
    if output.splices:
        tc_widen_pipe(output.sink.fd, PIPE_SIZE)
    queue.gathers = output.places
    queue.base = <uint64_t>output.base if output.places else 0
    queue.caller_writes = output.sink.kind == SINK_CALL or output.observe != NULL
    return 0


cdef void output_end(Output* output, bint complete) noexcept nogil:
    """All is written, or nothing more will be: leave the file as a plain writer would."""
    if output.copies != NULL:
        chunk_free(output.copies)
        output.copies = NULL
    if not output.places:
        return
    if tc_observe(&output.allocated) > 0:
        tc_trim(output.sink.fd)
    if complete:
        lseek(output.sink.fd, output.base + <int64_t>output.queue.end, SEEK_SET)


cdef bint may_clone(const Output* output, uint64_t dev) noexcept nogil:
    return output.clones and tc_observe(&output.refused) != dev + 1


cdef bint output_takes(const Output* output, uint64_t dev, uint64_t size, bint holes) noexcept nogil:
    """Should a body of `size` bytes from device `dev` become a PIECE_DIRECT?"""
    if output.places:
        return size >= CLONE_LEAST and may_clone(output, dev)
    return output.splices and size >= SPLICE_LEAST and not holes


cdef void allocate(Output* output, uint64_t end) noexcept nogil:
    """Reserve blocks ahead of what is written, so that the file system need not look for them write by write."""
    cdef uint64_t done = tc_observe(&output.allocated)
    cdef uint64_t step = end
    if end < ALLOCATE_LEAST or end <= done or (output.clones and tc_observe(&output.refused) == 0):
        return      # cloned blocks would only replace them
    if step > ALLOCATE_MOST:
        step = ALLOCATE_MOST
    if tc_swap(&output.allocated, done, end + step) \
            and tc_allocate(output.sink.fd, output.base + <int64_t>done, <int64_t>(end + step - done)) != 0:
        tc_publish(&output.allocated, <uint64_t>-1)     # not here, or not so much: go on without


cdef bint told_to_stop(Output* output, bint caller) noexcept nogil:
    return control_stops(output.control) if caller else control_cancelled(output.control)


cdef int write_parts(Output* output, iovec* parts, int count, uint64_t at, bint caller,
                     Status* status) noexcept nogil:
    """All of `parts`, which change, at offset `at` of the archive in the file."""
    cdef ssize_t got
    while count > 0:
        if told_to_stop(output, caller):
            return fail(status, STEP_CALLBACK, 0)
        got = pwritev(output.sink.fd, parts, count, output.base + <int64_t>at)
        if got < 0:
            if errno == EINTR:
                continue
            return fail(status, STEP_WRITE, errno)
        at += <uint64_t>got
        tc_add(&output.control.bytes_written, <uint64_t>got)
        while count > 0 and <size_t>got >= parts.iov_len:
            got -= <ssize_t>parts.iov_len
            parts += 1
            count -= 1
        if count > 0:
            parts.iov_base = <char*>parts.iov_base + got
            parts.iov_len -= <size_t>got
    return 0


cdef int write_span(Output* output, const Job* job, bint caller, Status* status) noexcept nogil:
    """The job's bytes at their place in the file."""
    cdef iovec parts[SPAN_PIECES + 1]
    cdef int count = 0
    cdef const Piece* piece = job.piece if job.piece != NULL else job.tail
    cdef uint64_t at = job.at
    cdef uint64_t end = job.at + job.size
    cdef uint64_t stop
    while at < end:
        stop = piece.at + piece.size if piece.at + piece.size < end else end
        parts[count].iov_base = piece.chunk.data + (at - piece.at)
        parts[count].iov_len = <size_t>(stop - at)
        count += 1
        at = stop
        if at < end:        # the tail's own link is not ours to follow
            piece = piece.next if piece.next != NULL else job.tail
    allocate(output, end)
    return write_parts(output, parts, count, job.at, caller, status)


cdef int put_bytes(Output* output, const char* data, size_t size, uint64_t at, bint caller,
                   Status* status) noexcept nogil:
    """At their place `at`, or as the next of the stream."""
    cdef iovec part
    if not output.places:
        return sink_write(&output.sink, output.control, data, size, caller, status)
    part.iov_base = <void*>data
    part.iov_len = size
    allocate(output, at + size)
    return write_parts(output, &part, 1 if size > 0 else 0, at, caller, status)


cdef int put_chunk(Output* output, Chunk* chunk, bint caller, Status* status) noexcept nogil:
    """As the next of the stream, seen by the observer first."""
    output.lent = chunk
    if output.observe != NULL and output.observe(output.owner, chunk.data, chunk.length) != 0:
        return fail(status, STEP_CALLBACK, 0)
    return sink_write(&output.sink, output.control, chunk.data, chunk.length, caller, status)


cdef int body_problem(Output* output, const Piece* piece, Status* status) noexcept nogil:
    """Something is wrong with a body whose header is out: 0 when it is to be filled up with zeros."""
    queue_note(output.queue, SKIPPED if output.skip_errors else FATAL, status, piece.body)
    return 0 if output.skip_errors else fail(status, STEP_REPORTED, 0)


cdef int copy_body(Output* output, const Piece* piece, uint64_t done, bint caller, Status* status) noexcept nogil:
    """Write the piece of a body from `done` bytes on, by way of memory."""
    cdef Chunk* chunk
    cdef size_t want
    cdef uint64_t at
    if output.copies == NULL:
        output.copies = chunk_new()
    chunk = output.copies
    if chunk == NULL:
        return fail(status, STEP_MEMORY, 0)
    while done < piece.left:
        want = CHUNK_TARGET if piece.left - done > <uint64_t>CHUNK_TARGET else <size_t>(piece.left - done)
        at = piece.at + done
        if body_read_at(piece.body, chunk.data, piece.offset + done, want, status) != 0 \
                and body_problem(output, piece, status) != 0:
            return -1
        if put_bytes(output, chunk.data, want, at, caller, status) != 0:
            return -1
        done += want
    return 0


cdef int look_for_growth(Output* output, const Piece* piece, Status* status) noexcept nogil:
    """For bodies that the kernel moved: is the file longer now than it was?"""
    cdef char more
    if pread(piece.body.fd, &more, 1, <int64_t>piece.body.size) != 1:
        return 0
    fail(status, STEP_GREW, 0)
    status.expected = piece.body.size
    status.seen = piece.body.size + 1
    return body_problem(output, piece, status)


cdef int clone_body(Output* output, const Piece* piece, bint caller, Status* status) noexcept nogil:
    """Let the output share the body's blocks where the file system can do that; copy the rest."""
    cdef uint64_t done = 0
    cdef uint64_t want
    cdef tc_stat st
    st.dev = 0
    tc_fstat(piece.body.fd, &st)
    # Where attributes left no room for padding (header_align) the body lies on no block.
    while done < piece.left and piece.at % ALIGNMENT == 0 and may_clone(output, st.dev):
        if told_to_stop(output, caller):
            return fail(status, STEP_CALLBACK, 0)
        want = piece.left - done if piece.left - done < CLONE_MOST else CLONE_MOST
        if tc_clone(output.sink.fd, output.base + <int64_t>(piece.at + done), piece.body.fd,
                    <int64_t>(piece.offset + done), want) != 0:
            # Not this file, or not so much of it any more: what is wrong with it shows when it is copied. By any
            # other error, not between these two file systems.
            if errno != EINVAL and errno != ETXTBSY:
                tc_publish(&output.refused, st.dev + 1)
            break
        done += want
        tc_add(&output.control.cloned, want)
        tc_add(&output.control.bytes_written, want)
    return finish_body(output, piece, done, caller, status)


cdef int finish_body(Output* output, const Piece* piece, uint64_t done, bint caller, Status* status) noexcept nogil:
    """The kernel has moved `done` bytes of the body: copy the rest, if any."""
    if done < piece.left:
        return copy_body(output, piece, done, caller, status)
    return look_for_growth(output, piece, status)


cdef int splice_body(Output* output, const Piece* piece, bint caller, Status* status) noexcept nogil:
    """Hand the file's own pages to the pipe; copy where that cannot be done."""
    cdef uint64_t done = 0
    cdef int64_t offset = <int64_t>piece.offset
    cdef ssize_t got
    while done < piece.left:
        if told_to_stop(output, caller):
            return fail(status, STEP_CALLBACK, 0)
        got = tc_splice(piece.body.fd, &offset, output.sink.fd, <size_t>(piece.left - done)
                        if piece.left - done < MOST else MOST)
        if got > 0:
            done += <uint64_t>got
            tc_add(&output.control.bytes_written, <uint64_t>got)
        elif got < 0 and errno == EAGAIN:
            tc_wait_writable(output.sink.fd, TICK_MS)
        elif got < 0 and errno == EINTR:
            if caller:
                output.control.next_tick = 0
        else:
            # Shorter than it was, unreadable, closed at the other end, or not to be spliced: by way of memory
            # it is one of these too, or goes through.
            break
    return finish_body(output, piece, done, caller, status)


cdef int write_job(Output* output, const Job* job, bint caller, Status* status) noexcept nogil:
    cdef Piece* piece = job.piece
    if piece != NULL and piece.kind == PIECE_DIRECT:
        if output.places:
            return clone_body(output, piece, caller, status)
        return splice_body(output, piece, caller, status)
    if output.places:
        return write_span(output, job, caller, status)
    return put_chunk(output, piece.chunk, caller, status)


cdef void output_write(Output* output, Job* job, bint caller) noexcept nogil:
    """Do the job and tell the queue; what goes wrong ends the export.

    `caller` says that this is the thread that called `run`. Where it must wait
    for a reader it wakes every tick, so a stalled one never keeps a signal or a
    cancel from being seen.
    """
    cdef Status status
    if write_job(output, job, caller, &status) != 0:
        if status.step == STEP_MEMORY:
            tc_publish(&output.control.no_memory, 1)
        if status.step == STEP_CALLBACK or status.step == STEP_REPORTED or status.step == STEP_MEMORY:
            queue_stop(output.queue)
        else:
            queue_note(output.queue, FATAL, &status, NULL)
    pieces_written(output.queue, job)
