# The only error value inside the core: which step failed, with which errno.
#
# A Status is a plain struct on the caller's stack; it owns nothing. The path
# is not in it: whoever reports the status knows which entry is in hand.

from libc.stdint cimport uint64_t


cdef enum Step:
    STEP_NONE = 0
    STEP_MEMORY        # an allocation failed
    STEP_READ_DIR      # opening or reading a directory's names
    STEP_OPEN          # opening a file for its data
    STEP_STAT
    STEP_READ_LINK
    STEP_LIST_XATTR
    STEP_READ_XATTR    # one attribute; its name in `detail`
    STEP_XATTR_NAME    # a name that pax cannot hold; in `detail`
    STEP_ENCODE        # pax records beyond the limit; `seen` bytes
    STEP_READ_DATA
    STEP_SHRANK        # `expected` and `seen` bytes
    STEP_GREW
    STEP_REPLACED      # not the file that was listed
    STEP_WRITE
    STEP_OUTPUT_INSIDE # the entry is the archive being written
    STEP_REPORTED      # the reason was reported where it happened
    STEP_CALLBACK      # a Python callable raised; the exception is kept by the export


cdef struct Status:
    Step step
    int error          # errno, or 0 where the step says it all
    bint fatal         # ends the export, whatever is to be skipped
    uint64_t expected  # bytes
    uint64_t seen      # bytes
    char detail[256]   # NUL-terminated attribute name


cdef inline int fail(Status* status, Step step, int error) noexcept nogil:
    """Fill `status` and give -1, so that `return fail(...)` reads as what it does."""
    status.step = step
    status.error = error
    status.fatal = False
    status.expected = 0
    status.seen = 0
    status.detail[0] = 0
    return -1
