# See remap.pxd.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from tarcast._core.entry cimport Entry
from tarcast._core.posix cimport (
    S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, tc_major, tc_minor, tc_stat,
)
from tarcast._core.remap cimport Ranges, Remap


cdef bint to_container(const Ranges* ranges, uint32_t* id) noexcept nogil:
    cdef size_t i
    cdef uint64_t host = id[0]
    if ranges.identity:
        return True
    for i in range(ranges.count):
        if ranges.items[i].host <= host < ranges.items[i].host + ranges.items[i].size:
            id[0] = <uint32_t>(ranges.items[i].container + (host - ranges.items[i].host))
            return True
    return False


cdef bint remap_owner(const Remap* remap, uint32_t* uid, uint32_t* gid) noexcept nogil:
    """Host ids to container ids in place. False when either has none: the entry is dropped (tar-bytes 6.1)."""
    return to_container(&remap.uid, uid) and to_container(&remap.gid, gid)


cdef int64_t remap_time(const Remap* remap, int64_t seconds, int64_t nanoseconds) noexcept nogil:
    """Nanoseconds since 1970 as the original has them: a signed 64-bit number that wraps around (tar-bytes 2.1, 6.3)."""
    cdef uint64_t billion = 1000000000
    if remap.has_epoch:
        return <int64_t>(<uint64_t>remap.epoch * billion)
    return <int64_t>(<uint64_t>seconds * billion + <uint64_t>nanoseconds)


cdef int64_t whole_seconds(int64_t nanoseconds) noexcept nogil:
    """Rounded to the nearest second, halves towards the future. No overflow at either end."""
    cdef int64_t seconds = nanoseconds // 1000000000
    cdef int64_t rest = nanoseconds % 1000000000
    if rest < 0:    # C division truncates
        rest += 1000000000
        seconds -= 1
    return seconds + 1 if rest >= 500000000 else seconds


cdef bint remap_stat(const Remap* remap, const tc_stat* st, Entry* entry, int64_t* mtime_ns) noexcept nogil:
    """Fill all of `entry` but its name, link and attributes. False: the owner has no place in the map.

    `mtime_ns` gets the unrounded time, for the map callable. A socket becomes an
    empty regular file, as in the original (tar-bytes 2).
    """
    cdef uint32_t kind = st.mode & <uint32_t>S_IFMT
    entry.uid = st.uid
    entry.gid = st.gid
    if not remap_owner(remap, &entry.uid, &entry.gid):
        return False
    entry.mode = st.mode & 0o7777
    entry.size = 0
    entry.sparse = False
    entry.devmajor = 0
    entry.devminor = 0
    if kind == <uint32_t>S_IFREG:
        entry.type = c'0'
        entry.size = st.size
    elif kind == <uint32_t>S_IFDIR:
        entry.type = c'5'
    elif kind == <uint32_t>S_IFLNK:
        entry.type = c'2'
        entry.mode = 0o777
    elif kind == <uint32_t>S_IFIFO:
        entry.type = c'6'
    elif kind == <uint32_t>S_IFCHR or kind == <uint32_t>S_IFBLK:
        entry.type = c'3' if kind == <uint32_t>S_IFCHR else c'4'
        entry.devmajor = tc_major(st.rdev)
        entry.devminor = tc_minor(st.rdev)
    else:
        entry.type = c'0'
    mtime_ns[0] = remap_time(remap, st.mtime, st.mtime_ns)
    entry.mtime = whole_seconds(mtime_ns[0])
    return True
