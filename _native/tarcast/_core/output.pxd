# Where pieces of the archive go, each whole: in order down a stream, or at its place in a file.
#
# The sink's descriptor and the observer belong to the caller. Used by several
# workers at once only where `places` is set. No GIL.

from libc.stdint cimport int64_t, uint64_t

from tarcast._core.chunk cimport Chunk
from tarcast._core.control cimport Control
from tarcast._core.queue cimport Job, Queue
from tarcast._core.sink cimport Sink


cdef struct Output:
    Sink sink
    # Sees every byte of the archive in order before the sink does; 0, or -1 an exception is kept. May be NULL.
    int (*observe)(void* owner, const char* data, size_t size) noexcept nogil
    void* owner
    Control* control
    Queue* queue
    bint skip_errors        # a body that goes wrong while it is written is filled with zeros
    bint places             # a file: pieces are written at their places, in any order
    bint splices            # a pipe that takes bodies without copying
    bint aligned            # bodies begin on blocks; set by the owner
    bint clones             # so they may share blocks with their files
    uint64_t refused        # device of the file that could not be cloned last, plus 1; atomic
    int64_t base            # offset in the file where the archive begins
    Chunk* copies           # memory for bodies that could not be moved; made when it is needed
    uint64_t allocated      # bytes reserved from base on; atomic
    Chunk* lent             # what a callable sees at the moment; it may keep the memory and put other there


cdef int output_begin(Output* output, Control* control, Queue* queue) noexcept nogil
cdef void output_write(Output* output, Job* job, bint caller) noexcept nogil
cdef void output_end(Output* output, bint complete) noexcept nogil
cdef bint output_takes(const Output* output, uint64_t dev, uint64_t size, bint holes) noexcept nogil
