# What an export will come to, found out ahead: how many entries, how many bytes of archive.
#
# The same walk, patterns, owners, links, attributes and headers as the export
# itself, but no data is read and no file opened (but for its holes), so it is
# exact as long as the tree stays as it is and no callable changes entries. No GIL
# but for the control's tick.

from libc.stdint cimport uint64_t

from tarcast._core.run cimport Run


cdef struct Tally:
    uint64_t entries        # headers
    uint64_t size           # bytes of the whole archive


cdef enum Counted:
    COUNTED_ALL
    COUNTED_STOPPED         # by the control of the export
    COUNTED_NO_MEMORY


cdef Counted count_run(Run* asked, Tally* tally) noexcept nogil
