# Where bytes leave the core: a descriptor, or a call that hands them to Python.
#
# The descriptor and the owner behind `call` belong to the caller and outlive
# the sink. Every write is complete or an error; the flags of the descriptor
# (shared with other processes) are never changed, blocking or not.

from tarcast._core.control cimport Control
from tarcast._core.status cimport Status


cdef enum SinkKind:
    SINK_FILE       # regular file or block device: a write takes all
    SINK_PIPE       # or terminal: may have to wait for a reader
    SINK_SOCKET
    SINK_CALL


cdef struct Sink:
    int fd
    int kind        # SinkKind
    int (*call)(void* owner, const char* data, size_t size) noexcept nogil    # 0, or -1: an exception is kept
    void* owner


cdef int sink_open_fd(Sink* sink, int fd) noexcept nogil
cdef void sink_open_call(Sink* sink, int (*call)(void*, const char*, size_t) noexcept nogil, void* owner) noexcept nogil
cdef int sink_write(Sink* sink, Control* control, const char* data, size_t size, bint caller,
                    Status* status) noexcept nogil
