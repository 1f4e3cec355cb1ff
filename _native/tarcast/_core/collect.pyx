# See collect.pxd.

from libc.errno cimport errno
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from tarcast._core.collect cimport Found, Scratch
from tarcast._core.entry cimport Entry
from tarcast._core.posix cimport (
    DT_DIR, DT_REG, ENOMEM, EPERM, O_CLOEXEC, O_DIRECTORY, O_NOATIME, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY,
    close, readlinkat, tc_fstat, tc_lstatat, tc_openat, tc_type_of_mode,
)
from tarcast._core.status cimport STEP_MEMORY, STEP_READ_LINK, STEP_STAT, Status, fail
from tarcast._core.xattr cimport xattr_free, xattr_init


cdef int scratch_init(Scratch* scratch) noexcept nogil:
    """0, or -1 when out of memory (scratch_free is still right to call)."""
    memset(scratch, 0, sizeof(Scratch))
    scratch.noatime = O_NOATIME
    scratch.link_capacity = 8192
    scratch.link = <char*>malloc(scratch.link_capacity)
    return 0 if scratch.link != NULL and xattr_init(&scratch.xattrs) == 0 else -1


cdef void scratch_free(Scratch* scratch) noexcept nogil:
    xattr_free(&scratch.xattrs)
    free(scratch.link)
    scratch.link = NULL


cdef int open_for_reading(Scratch* scratch, int dirfd, const char* name, int flags) noexcept nogil:
    cdef int fd
    flags |= O_RDONLY | O_NOFOLLOW | O_CLOEXEC
    fd = tc_openat(dirfd, name, flags | scratch.noatime)
    if fd < 0 and errno == EPERM and scratch.noatime:
        # Only the owner and root may keep the access time (open(2)): do without from here on.
        fd = tc_openat(dirfd, name, flags)
        if fd >= 0:
            scratch.noatime = 0
    return fd


cdef int collect_open(Scratch* scratch, int dirfd, const char* name, unsigned char kind, Found* found,
                      Status* status) noexcept nogil:
    """Open `name` if it is a file or directory, and stat it. 0, or -1 with `status`.

    `kind` (DT_*) is only what the directory said. What is found now counts: a
    name that was replaced meanwhile is opened as what it has become. The stat
    is of the descriptor, so it is of the very file whose data follows.
    """
    cdef unsigned char now = kind
    cdef int attempt
    found.fd = -1
    found.open_error = 0
    for attempt in range(2):
        if now == DT_REG:
            # A FIFO that took the file's place must not make us wait for a writer.
            found.fd = open_for_reading(scratch, dirfd, name, O_NONBLOCK | O_NOCTTY)
        elif now == DT_DIR:
            found.fd = open_for_reading(scratch, dirfd, name, O_DIRECTORY)
        if found.fd >= 0:
            if tc_fstat(found.fd, &found.st) == 0:
                return 0
            fail(status, STEP_STAT, errno)
            close(found.fd)
            found.fd = -1
            return -1
        found.open_error = errno if now == DT_REG or now == DT_DIR else 0
        if tc_lstatat(dirfd, name, &found.st) != 0:
            return fail(status, STEP_STAT, errno)
        if tc_type_of_mode(found.st.mode) == now:
            break
        now = tc_type_of_mode(found.st.mode)
    return 0


cdef size_t clean_rooted(const char* path, size_t length, char* out) noexcept nogil:
    """`path`, taken from the root, without empty, `.` and `..` components (Go's path.Clean).

    `out` has room for length + 1 bytes; the result starts with '/'.
    """
    cdef size_t used = 0
    cdef size_t i = 0
    cdef size_t start
    while i < length:
        if path[i] == c'/':
            i += 1
            continue
        start = i
        while i < length and path[i] != c'/':
            i += 1
        if i - start == 1 and path[start] == c'.':
            continue
        if i - start == 2 and path[start] == c'.' and path[start + 1] == c'.':
            while used > 0:
                used -= 1
                if out[used] == c'/':
                    break
            continue
        out[used] = c'/'
        memcpy(out + used + 1, path + start, i - start)
        used += 1 + i - start
    if used == 0:
        out[0] = c'/'
        used = 1
    return used


cdef bint link_room(Scratch* scratch, size_t length) noexcept nogil:
    cdef char* grown
    if length > scratch.link_capacity:
        grown = <char*>realloc(scratch.link, length)
        if grown == NULL:
            return False
        scratch.link = grown
        scratch.link_capacity = length
    return True


cdef int collect_link(Scratch* scratch, int dirfd, const char* name, const char* prefix, size_t prefix_length,
                      Entry* entry, Status* status) noexcept nogil:
    """Set entry.link to the symlink's target. 0, or -1 with `status`.

    With a `prefix` (`name/` of a tree that lies beside others) an absolute target
    is moved below it, as the original does (tar-bytes 7.4).
    """
    cdef size_t size = 4096
    cdef size_t length
    cdef ssize_t got
    cdef char* target
    cdef char* out
    while True:
        # Room for "/", the prefix, the target behind it, and the cleaned result behind both.
        if not link_room(scratch, 2 * (1 + prefix_length + size) + 1):
            return fail(status, STEP_MEMORY, ENOMEM)
        target = scratch.link + 1 + prefix_length
        got = readlinkat(dirfd, name, target, size)
        if got < 0:
            return fail(status, STEP_READ_LINK, errno)
        if <size_t>got < size:
            break
        size *= 2
    entry.link = target
    entry.link_length = <size_t>got
    if prefix_length and got > 0 and target[0] == c'/':
        scratch.link[0] = c'/'
        memcpy(scratch.link + 1, prefix, prefix_length)
        length = 1 + prefix_length + <size_t>got
        out = scratch.link + length
        entry.link = out
        entry.link_length = clean_rooted(scratch.link, length, out)
    return 0
