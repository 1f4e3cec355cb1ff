# See dirfd.pxd.

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from tarcast._core.dirfd cimport Dirfd
from tarcast._core.posix cimport close, tc_add, tc_release


cdef Dirfd* dirfd_new(int fd, bint settled, uint64_t* open_count) noexcept nogil:
    """With one reference, the caller's; `fd` is closed by it from now on. NULL: out of memory, and `fd` is closed."""
    cdef Dirfd* dirfd = <Dirfd*>malloc(sizeof(Dirfd))
    if dirfd == NULL:
        close(fd)
        return NULL
    dirfd.fd = fd
    dirfd.references = 1
    dirfd.settled = settled
    dirfd.open_count = open_count
    tc_add(open_count, 1)
    return dirfd


cdef Dirfd* dirfd_take(Dirfd* dirfd) noexcept nogil:
    """One more reference; gives `dirfd`."""
    tc_add(&dirfd.references, 1)
    return dirfd


cdef void dirfd_drop(Dirfd* dirfd) noexcept nogil:
    """Give a reference back."""
    if tc_release(&dirfd.references):
        close(dirfd.fd)
        tc_add(dirfd.open_count, <uint64_t>-1)
        free(dirfd)
