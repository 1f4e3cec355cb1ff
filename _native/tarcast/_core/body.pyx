# See body.pxd.

from libc.errno cimport errno
from libc.string cimport memset

from tarcast._core.posix cimport EINTR, read
from tarcast._core.status cimport STEP_GREW, STEP_READ_DATA, STEP_SHRANK, Status, fail


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
        got = read(fd, out + done, size - done + 1)
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
