# A file's data, of exactly the size that its header promised.
#
# What is small is read at once by body_read. A larger file becomes a Body,
# which several workers read in pieces, each at its own offset; whoever keeps a
# pointer to it has a reference. No GIL.

from libc.stdint cimport uint64_t

from tarcast._core.sparse cimport Sparse
from tarcast._core.status cimport Status


cdef struct Body:
    int fd                  # the Body's own
    uint64_t references
    uint64_t* open_count    # borrowed: how many there are
    uint64_t size           # bytes promised
    bint holes              # less is allocated than its size: look before reading
    Sparse* sparse          # the Body's own: `size` bytes of map and data stand for the file. NULL: it is as it is
    bint told               # something wrong with it was reported; once is enough
    size_t tree             # index, for reports
    size_t path_length
    char path[1]            # archive path, for reports


cdef Body* body_new(int fd, uint64_t* open_count, uint64_t size, bint holes, Sparse* sparse, size_t tree,
                    const char* path, size_t path_length) noexcept nogil
cdef Body* body_take(Body* body) noexcept nogil
cdef void body_drop(Body* body) noexcept nogil
cdef int body_read(int fd, char* out, size_t size, Status* status) noexcept nogil
cdef int body_read_at(const Body* body, char* out, uint64_t offset, size_t size, Status* status) noexcept nogil
