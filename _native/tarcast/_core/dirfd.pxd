# An open directory that several hold: the walk, the names in it that wait to be archived, late parents.
#
# Whoever keeps a pointer has a reference; any thread may take and drop, and
# whoever is last closes the descriptor. No GIL.

from libc.stdint cimport uint64_t


cdef struct Dirfd:
    int fd
    uint64_t references
    uint64_t settled        # neither it nor anything above it waits to be written (see pending)
    uint64_t* open_count    # borrowed: how many there are


cdef Dirfd* dirfd_new(int fd, bint settled, uint64_t* open_count) noexcept nogil
cdef Dirfd* dirfd_take(Dirfd* dirfd) noexcept nogil
cdef void dirfd_drop(Dirfd* dirfd) noexcept nogil
