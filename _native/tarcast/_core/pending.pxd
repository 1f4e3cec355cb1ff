# Directories that the walk only passes through, until something below them is archived (tar-bytes 8.5).
#
# Touched only by the worker whose piece is in turn, so it sees them in archive
# order. Each lies inside the one before it. No GIL.

from libc.stdint cimport uint64_t

from tarcast._core.dirfd cimport Dirfd

cdef enum:
    # Descriptors kept; of a longer chain the outermost are opened again by their names.
    PENDING_OPEN = 64


cdef struct PendingDir:
    Dirfd* dir              # a reference; NULL once it was closed to save descriptors
    uint64_t dev
    uint64_t ino
    size_t length           # of its archive path, with the slash, in `path`


cdef struct Pending:
    PendingDir* dirs
    size_t count
    size_t capacity
    size_t closed           # dirs below this are closed
    char* path              # archive path of the innermost, with a slash at its end
    size_t path_capacity


cdef void pending_free(Pending* pending) noexcept nogil
cdef bint pending_push(Pending* pending, Dirfd* dir, uint64_t dev, uint64_t ino, const char* path,
                       size_t length) noexcept nogil
cdef void pending_leave(Pending* pending, const char* path, size_t length) noexcept nogil
cdef int pending_open(Pending* pending, size_t index, int root, size_t prefix, int above) noexcept nogil
cdef bint pending_spare(Pending* pending) noexcept nogil
cdef void pending_clear(Pending* pending) noexcept nogil
