# See sink.pxd.

from libc.errno cimport errno
from libc.stdint cimport uint64_t

from tarcast._core.control cimport TICK_MS, Control, control_cancelled, control_stops
from tarcast._core.posix cimport EAGAIN, EINTR, tc_add, tc_sink_kind, tc_wait_writable, tc_write_nowait, write
from tarcast._core.sink cimport SINK_CALL, SINK_FILE, Sink
from tarcast._core.status cimport STEP_CALLBACK, STEP_WRITE, Status, fail

cdef enum:
    # A write to a slow device is not interrupted by signals, so it must not be long.
    MOST = 1048576


cdef int sink_open_fd(Sink* sink, int fd) noexcept nogil:
    """0, or -1 and errno when `fd` is not an open descriptor."""
    sink.fd = fd
    sink.call = NULL
    sink.owner = NULL
    sink.kind = tc_sink_kind(fd)
    return 0 if sink.kind >= 0 else -1


cdef void sink_open_call(Sink* sink, int (*call)(void*, const char*, size_t) noexcept nogil, void* owner) noexcept nogil:
    sink.fd = -1
    sink.kind = SINK_CALL
    sink.call = call
    sink.owner = owner


cdef int sink_write(Sink* sink, Control* control, const char* data, size_t size, bint caller,
                    Status* status) noexcept nogil:
    """Write all of it, or -1: STEP_CALLBACK when told to stop or the call raised, else STEP_WRITE with errno.

    `caller` says that this is the thread that called `run`. While a pipe or
    socket is full it waits a tick at a time, so that a stalled reader never keeps
    a signal or a cancel from being seen.
    """
    cdef ssize_t got
    cdef int ready
    while size > 0:
        if control_stops(control) if caller else control_cancelled(control):
            return fail(status, STEP_CALLBACK, 0)
        if sink.kind == SINK_CALL:
            if sink.call(sink.owner, data, size) != 0:
                return fail(status, STEP_CALLBACK, 0)
            got = <ssize_t>size
        elif sink.kind == SINK_FILE:
            got = write(sink.fd, data, size if size < MOST else MOST)
        else:
            got = tc_write_nowait(sink.fd, sink.kind, data, size)
        if got < 0:
            if errno == EAGAIN:
                ready = tc_wait_writable(sink.fd, TICK_MS)
                if ready >= 0 or errno == EINTR:
                    continue
            elif errno == EINTR:
                # A signal came: let its handler run now rather than at the next tick.
                if caller:
                    control.next_tick = 0
                continue
            return fail(status, STEP_WRITE, errno)
        data += got
        size -= <size_t>got
        tc_add(&control.bytes_written, <uint64_t>got)
    return 0
