# See body.pxd.

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from tarcast._core.body cimport Body
from tarcast._core.posix cimport EINTR, close, pread, tc_add, tc_data_at, tc_fstat, tc_read, tc_release, tc_stat
from tarcast._core.sparse cimport Extent, Sparse, sparse_extent, sparse_free
from tarcast._core.status cimport STEP_GREW, STEP_READ_DATA, STEP_SHRANK, Status, fail


cdef Body* body_new(int fd, uint64_t* open_count, uint64_t size, bint holes, Sparse* sparse, size_t tree,
                    const char* path, size_t path_length) noexcept nogil:
    """With one reference, the caller's; `fd` and `sparse` (or NULL) are its own from now on.

    NULL: out of memory, and both are still the caller's.
    """
    cdef Body* body = <Body*>malloc(sizeof(Body) + path_length)
    if body != NULL:
        body.fd = fd
        body.references = 1
        body.open_count = open_count
        tc_add(open_count, 1)
        body.size = size
        body.holes = holes
        body.sparse = sparse
        body.told = False
        body.tree = tree
        body.path_length = path_length
        memcpy(body.path, path, path_length)
    return body


cdef Body* body_take(Body* body) noexcept nogil:
    """One more reference; gives `body`."""
    tc_add(&body.references, 1)
    return body


cdef void body_drop(Body* body) noexcept nogil:
    """Give a reference back; the last one closes the file."""
    if tc_release(&body.references):
        close(body.fd)
        tc_add(body.open_count, <uint64_t>-1)
        sparse_free(body.sparse)
        free(body)


cdef int body_read(int fd, char* out, size_t size, Status* status) noexcept nogil:
    """Fill `out` with `size` bytes of `fd`, whatever the file does meanwhile. 0, or -1 with `status`.

    Also after -1 all of `out` is set: what is missing is zeros, what is too much
    is left. The last read asks for one byte more than is left: that is how growth
    shows without another call. out[size] must be there, and is as before.
    """
    cdef size_t done = 0
    cdef ssize_t got
    cdef char behind = out[size]
    while True:
        got = tc_read(fd, out + done, size - done + 1)
        if got > 0:
            done += <size_t>got
            if done < size:
                continue
            out[size] = behind
            if done == size:
                return 0
            fail(status, STEP_GREW, 0)
            status.seen = size + 1
        elif got < 0 and errno == EINTR:
            continue
        else:
            fail(status, STEP_READ_DATA if got < 0 else STEP_SHRANK, errno if got < 0 else 0)
            status.seen = done
            memset(out + done, 0, size - done)
        status.expected = size
        return -1


cdef int unreadable(const Body* body, ssize_t got, uint64_t at, uint64_t size, Status* status) noexcept nogil:
    """Nothing came of reading `body`, a file of `size` bytes, at `at`. -1, with `status` that says why.

    The pieces of a file are read in any order: of one that shrank all of them tell the same.
    """
    cdef tc_stat st
    fail(status, STEP_READ_DATA if got < 0 else STEP_SHRANK, errno if got < 0 else 0)
    status.expected = size
    status.seen = at
    if got == 0 and tc_fstat(body.fd, &st) == 0 and st.size < at:
        status.seen = st.size
    return -1


cdef int read_sparse(const Body* body, char* out, uint64_t offset, size_t size, Status* status) noexcept nogil:
    """body_read_at for a file with holes: the map, then the extents one behind the other."""
    cdef const Sparse* sparse = body.sparse
    cdef const Extent* extent
    cdef size_t done = 0
    cdef size_t part
    cdef uint64_t inside
    cdef ssize_t got
    cdef char last[2]
    while done < size:
        part = size - done
        if offset + done < sparse.map_size:
            if part > sparse.map_size - offset - done:
                part = <size_t>(sparse.map_size - offset - done)
            memcpy(out + done, sparse.map + offset + done, part)
            done += part
            continue
        extent = sparse_extent(sparse, offset + done)
        inside = offset + done - extent.at
        if part > extent.size - inside:
            part = <size_t>(extent.size - inside)
        got = pread(body.fd, out + done, part, <int64_t>(extent.offset + inside))
        if got > 0:
            done += <size_t>got
        elif got == 0 or errno != EINTR:
            memset(out + done, 0, size - done)
            return unreadable(body, got, extent.offset + inside, sparse.real_size, status)
    if offset + size < body.size:
        return 0
    # Is the end where it was? It may be in a hole, which nobody reads. (No file without a byte is a sparse one.)
    got = pread(body.fd, last, 2, <int64_t>sparse.real_size - 1)
    if got == 0:
        return unreadable(body, 0, sparse.real_size - 1, sparse.real_size, status)
    if got < 2:
        return 0
    fail(status, STEP_GREW, 0)
    status.expected = sparse.real_size
    status.seen = sparse.real_size + 1
    return -1


cdef int body_read_at(const Body* body, char* out, uint64_t offset, size_t size, Status* status) noexcept nogil:
    """Fill `out` with the `size` bytes from `offset` on. 0, or -1 with `status`, and zeros for what is missing.

    The piece that ends the file looks for growth as body_read does: out[size]
    must be there. Holes are not read.
    """
    cdef uint64_t end = offset + size
    cdef bint last = end == body.size
    cdef size_t done = 0
    cdef size_t gap
    cdef ssize_t got
    cdef uint64_t data
    cdef char behind
    if body.sparse != NULL:
        return read_sparse(body, out, offset, size, status)
    behind = out[size]
    while True:
        if body.holes and done < size:
            data = tc_data_at(body.fd, offset + done, end)
            gap = <size_t>(data - offset) - done
            memset(out + done, 0, gap)
            done += gap
        if done == size and not last:
            return 0
        got = pread(body.fd, out + done, size - done + last, <int64_t>(offset + done))
        if got > 0 and done + <size_t>got < size:
            done += <size_t>got
        elif got < 0 and errno == EINTR:
            continue
        else:
            break
    out[size] = behind
    if got < 0 or (got == 0 and done < size):
        unreadable(body, got, offset + done, body.size, status)
        memset(out + done, 0, size - done)
        return -1
    if done + <size_t>got <= size:
        return 0
    fail(status, STEP_GREW, 0)
    status.expected = body.size
    status.seen = body.size + 1
    return -1
