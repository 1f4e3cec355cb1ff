# Owners, modes and times: from what the kernel says to what the archive holds (tar-bytes 2, 6).
#
# Plain structs in, plain structs out: no I/O, no allocation, no GIL. The Ranges
# point into memory that the export owns for as long as it runs.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tarcast._core.entry cimport Entry
from tarcast._core.posix cimport tc_stat


cdef struct Range:
    uint64_t container
    uint64_t host
    uint64_t size


cdef struct Ranges:
    bint identity       # no map: every id is itself
    size_t count        # a map without ranges maps nothing
    Range* items        # first match wins


cdef struct Remap:
    Ranges uid
    Ranges gid
    bint has_epoch
    int64_t epoch       # seconds


cdef bint remap_owner(const Remap* remap, uint32_t* uid, uint32_t* gid) noexcept nogil
cdef int64_t remap_time(const Remap* remap, int64_t seconds, int64_t nanoseconds) noexcept nogil
cdef int64_t whole_seconds(int64_t nanoseconds) noexcept nogil
cdef bint remap_stat(const Remap* remap, const tc_stat* st, Entry* entry, int64_t* mtime_ns) noexcept nogil
