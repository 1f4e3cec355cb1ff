# See sparse.pxd.

from libc.errno cimport errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

from tarcast._core.control cimport Control, control_cancelled, control_stops
from tarcast._core.header cimport BLOCK
from tarcast._core.pax cimport put_decimal
from tarcast._core.posix cimport ENXIO, SEEK_SET, lseek, tc_next
from tarcast._core.sparse cimport Extent, Sparse

cdef enum:
    # The longest decimal of 64 bits, and a newline.
    NUMBER_SIZE = 21
    # What a sparse entry costs beyond its body: the extended header and its records.
    OVERHEAD = 1024


cdef void sparse_free(Sparse* sparse) noexcept nogil:
    """Also for NULL."""
    if sparse != NULL:
        free(sparse.extents)
        free(sparse.map)
        free(sparse)


cdef bint push(Sparse* sparse, size_t* capacity, uint64_t offset, uint64_t size) noexcept nogil:
    """Append an extent. False: out of memory."""
    cdef Extent* grown
    if sparse.count == capacity[0]:
        grown = <Extent*>realloc(sparse.extents, (capacity[0] * 2 + 16) * sizeof(Extent))
        if grown == NULL:
            return False
        sparse.extents = grown
        capacity[0] = capacity[0] * 2 + 16
    sparse.extents[sparse.count].offset = offset
    sparse.extents[sparse.count].size = size
    sparse.count += 1
    return True


cdef bint add(Sparse* sparse, size_t* capacity, uint64_t begin, uint64_t end) noexcept nogil:
    """Append the data from `begin` to `end`, in whole blocks. False: out of memory."""
    cdef Extent* last = &sparse.extents[sparse.count - 1] if sparse.count > 0 else NULL
    begin = begin // BLOCK * BLOCK
    end = (end + BLOCK - 1) // BLOCK * BLOCK
    if end > sparse.real_size:
        end = sparse.real_size
    if last != NULL and begin <= last.offset + last.size:
        last.size = end - last.offset
        return True
    return push(sparse, capacity, begin, end - begin)


cdef bint make_map(Sparse* sparse) noexcept nogil:
    """Write the map, and give every extent its place behind it. False: out of memory."""
    cdef char* end
    cdef size_t i
    cdef uint64_t at
    sparse.map = <char*>malloc((2 * sparse.count + 1) * NUMBER_SIZE + BLOCK)
    if sparse.map == NULL:
        return False
    end = put_decimal(sparse.map, sparse.count)
    for i in range(sparse.count):
        end[0] = c'\n'
        end = put_decimal(end + 1, sparse.extents[i].offset)
        end[0] = c'\n'
        end = put_decimal(end + 1, sparse.extents[i].size)
    end[0] = c'\n'
    end += 1
    at = (<uint64_t>(end - sparse.map) + BLOCK - 1) // BLOCK * BLOCK
    memset(end, 0, <size_t>(sparse.map + at - end))
    sparse.map_size = at
    for i in range(sparse.count):
        sparse.extents[i].at = at
        at += sparse.extents[i].size
    sparse.stored = at
    return True


cdef int find_data(Sparse* sparse, int fd, Control* control, bint caller) noexcept nogil:
    """All data of the file. 1, 0 where the file system cannot tell, -1: out of memory, or told to stop."""
    cdef uint64_t offset = 0
    cdef uint64_t hole
    cdef size_t capacity = 0
    cdef size_t looks = 0
    while offset < sparse.real_size:
        looks += 1
        if looks % 1024 == 0 and (control_stops(control) if caller else control_cancelled(control)):
            return -1
        if tc_next(fd, offset, False, &offset) != 0:
            if errno != ENXIO:
                return 0
            break       # nothing but a hole from here on
        if offset >= sparse.real_size:
            break
        if tc_next(fd, offset, True, &hole) != 0 or hole <= offset:
            return 0
        if not add(sparse, &capacity, offset, hole):
            return -1
        offset = hole
    # The map ends where the file does, also if that is in a hole.
    if sparse.count == 0 or sparse.extents[sparse.count - 1].offset + sparse.extents[sparse.count - 1].size \
            < sparse.real_size:
        return 1 if push(sparse, &capacity, sparse.real_size, 0) else -1
    return 1


cdef int sparse_scan(int fd, uint64_t size, Control* control, bint caller, Sparse** found) noexcept nogil:
    """Look for the holes of `fd`, `size` bytes long. 0, or -1: out of memory, or told to stop.

    `found` is NULL unless a sparse entry would be the shorter one; else it is the caller's, for
    sparse_free. Leaves the descriptor's position at the beginning.
    """
    cdef Sparse* sparse = <Sparse*>calloc(1, sizeof(Sparse))
    cdef int result
    found[0] = NULL
    if sparse == NULL:
        return -1
    sparse.real_size = size
    result = find_data(sparse, fd, control, caller)
    lseek(fd, 0, SEEK_SET)      # a small file that stays as it is is read from there
    if result > 0 and not make_map(sparse):
        result = -1
    if result > 0 and sparse.stored + OVERHEAD < size:
        found[0] = sparse
    else:
        sparse_free(sparse)
    return result if result < 0 else 0


cdef const Extent* sparse_extent(const Sparse* sparse, uint64_t at) noexcept nogil:
    """The extent that holds the body's byte at `at`, which lies behind the map."""
    cdef size_t low = 0
    cdef size_t high = sparse.count
    cdef size_t middle
    while high - low > 1:
        middle = low + (high - low) // 2
        if sparse.extents[middle].at <= at:
            low = middle
        else:
            high = middle
    return &sparse.extents[low]
