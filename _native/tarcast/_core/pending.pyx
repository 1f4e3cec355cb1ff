# See pending.pxd.

from libc.errno cimport errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from tarcast._core.dirfd cimport Dirfd, dirfd_drop, dirfd_take
from tarcast._core.pending cimport PENDING_OPEN, Pending, PendingDir
from tarcast._core.posix cimport (
    ENOENT, F_DUPFD_CLOEXEC, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, close, fcntl, openat, tc_fstat, tc_stat,
)


cdef void close_dir(PendingDir* dir) noexcept nogil:
    if dir.dir != NULL:
        dirfd_drop(dir.dir)
        dir.dir = NULL


cdef void pending_clear(Pending* pending) noexcept nogil:
    """They were archived, or never will be."""
    cdef size_t i
    for i in range(pending.closed, pending.count):
        close_dir(&pending.dirs[i])
    pending.count = pending.closed = 0


cdef bint pending_spare(Pending* pending) noexcept nogil:
    """Close what can be opened again, because descriptors ran out. False: nothing was open."""
    cdef bint some = pending.closed < pending.count
    while pending.closed < pending.count:
        close_dir(&pending.dirs[pending.closed])
        pending.closed += 1
    return some


cdef void pending_free(Pending* pending) noexcept nogil:
    pending_clear(pending)
    free(pending.dirs)
    free(pending.path)
    memset(pending, 0, sizeof(Pending))


cdef void pending_leave(Pending* pending, const char* path, size_t length) noexcept nogil:
    """Forget those that the entry at `path` does not lie in: nothing below them can come any more."""
    cdef PendingDir* dir
    while pending.count > 0:
        dir = &pending.dirs[pending.count - 1]
        if dir.length < length and memcmp(pending.path, path, dir.length) == 0:
            return
        close_dir(dir)
        pending.count -= 1
        if pending.closed > pending.count:
            pending.closed = pending.count


cdef bint pending_push(Pending* pending, Dirfd* dir, uint64_t dev, uint64_t ino, const char* path,
                       size_t length) noexcept nogil:
    """Add the directory at archive path `path` (without its slash), with a reference. False: out of memory.

    After pending_leave with the same path.
    """
    cdef PendingDir* dirs
    cdef char* grown
    cdef size_t capacity
    if pending.count == pending.capacity:
        capacity = pending.capacity * 2 + 16
        dirs = <PendingDir*>realloc(pending.dirs, capacity * sizeof(PendingDir))
        if dirs == NULL:
            return False
        pending.dirs = dirs
        pending.capacity = capacity
    if pending.path_capacity < length + 1:
        capacity = (length + 1) * 2
        grown = <char*>realloc(pending.path, capacity)
        if grown == NULL:
            return False
        pending.path = grown
        pending.path_capacity = capacity
    memcpy(pending.path, path, length)
    pending.path[length] = c'/'
    dirs = &pending.dirs[pending.count]
    dirs.dir = dirfd_take(dir)
    dirs.dev = dev
    dirs.ino = ino
    dirs.length = length + 1
    pending.count += 1
    if pending.count - pending.closed > PENDING_OPEN:
        close_dir(&pending.dirs[pending.closed])
        pending.closed += 1
    return True


cdef int pending_open(Pending* pending, size_t index, int root, size_t prefix, int above) noexcept nogil:
    """A descriptor, the caller's to close, of directory `index`; else the negative errno.

    One that was closed is looked up from `above`, the directory that holds it if
    that is known (else -1), or from the tree's `root` (whose names begin behind
    `prefix` in every path). What is not the same directory as before is ENOENT.
    """
    cdef PendingDir* dir = &pending.dirs[index]
    cdef size_t start = prefix
    cdef size_t end
    cdef int fd = root
    cdef int below
    cdef int error
    cdef tc_stat st
    if dir.dir != NULL:
        fd = fcntl(dir.dir.fd, F_DUPFD_CLOEXEC, 0)
        return fd if fd >= 0 else -errno
    if above >= 0 and index > 0:
        start = pending.dirs[index - 1].length
        fd = above
    while start < dir.length:
        end = start
        while pending.path[end] != c'/':
            end += 1
        pending.path[end] = 0
        below = openat(fd, pending.path + start, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        error = errno
        pending.path[end] = c'/'
        if fd != root and fd != above:
            close(fd)
        if below < 0:
            return -error
        fd = below
        start = end + 1
    if tc_fstat(fd, &st) != 0:
        error = errno
    elif st.dev == dir.dev and st.ino == dir.ino:
        return fd
    else:
        error = ENOENT
    close(fd)
    return -error
