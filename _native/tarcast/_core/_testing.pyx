# Python shims over nogil functions, for unit tests and the benchmarks of the parts. Nothing else imports this.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from tarcast._core.collect cimport clean_rooted
from tarcast._core.dirfd cimport Dirfd, dirfd_drop, dirfd_new
from tarcast._core.entry cimport Entry, Xattr
from tarcast._core.header cimport Plan, header_align, header_plan, header_write
from tarcast._core.links cimport LinkTable, links_clear
from tarcast._core.match cimport PatternList, match_path
from tarcast._core.posix cimport (
    AT_FDCWD, DT_DIR, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openat, tc_fstat, tc_stat,
)
from tarcast._core.remap cimport Range, Remap, remap_owner, remap_time, whole_seconds
from tarcast._core.status cimport Status
from tarcast._core.walk cimport Item, Walker, walk_begin, walk_enter, walk_free, walk_init, walk_next

cdef extern from "Python.h":
    char* PyBytes_AsString(object) except NULL


def encode(bytes name, *, bytes link=b"", char type=c"0", uint32_t mode=0o644, uint32_t uid=0, uint32_t gid=0,
           size=0, int64_t mtime=0, uint32_t devmajor=0, uint32_t devminor=0, list xattrs=[], real_size=None, align_at=None):
    """All header blocks of one entry, or None when its pax records exceed the limit.

    `real_size` makes it a sparse one; `align_at` is the offset of a header whose body is to be aligned.
    """
    cdef Entry entry
    cdef Plan plan
    cdef Xattr* items = <Xattr*>calloc(len(xattrs) + 1, sizeof(Xattr))
    cdef size_t i
    cdef bytearray out
    if items == NULL:
        raise MemoryError
    try:
        for i in range(<size_t>len(xattrs)):
            key, value = xattrs[i]
            items[i].name = PyBytes_AsString(key)
            items[i].name_length = len(key)
            items[i].value = PyBytes_AsString(value)
            items[i].value_length = len(value)
        entry = Entry(name=PyBytes_AsString(name), name_length=len(name), link=PyBytes_AsString(link),
                      link_length=len(link), type=type, mode=mode, uid=uid, gid=gid, size=size, mtime=mtime,
                      devmajor=devmajor, devminor=devminor, sparse=real_size is not None,
                      real_size=real_size or 0, xattrs=items, xattr_count=len(xattrs))
        if not header_plan(&entry, &plan):
            return None
        if align_at is not None:
            header_align(&entry, &plan, align_at)
        out = bytearray(b"\xaa" * plan.size)    # whatever is not written must not pass for a zero
        header_write(&entry, &plan, <char*>out)
        return bytes(out)
    finally:
        free(items)


def encode_many(bytes name, size_t count, uint32_t uid=0):
    """Encode `count` headers of a file called `name`; a `uid` over 2097151 makes each a pax one."""
    cdef Entry entry
    cdef Plan plan
    cdef char out[4096]
    cdef size_t i
    if len(name) > 1024:
        raise ValueError("too long a name for this buffer")
    memset(&entry, 0, sizeof(Entry))
    entry.name = PyBytes_AsString(name)
    entry.name_length = len(name)
    entry.link = b""
    entry.type = c"0"
    entry.mode = 0o644
    entry.uid = uid
    with nogil:
        for i in range(count):
            entry.size = i
            entry.mtime = 1700000000 + <int64_t>i
            header_plan(&entry, &plan)
            header_write(&entry, &plan, out)


def encode_pax_many(size_t count):
    encode_many(b"directory/file", count, 3000000)


def walk(bytes path):
    """Archive paths below `path`, in order."""
    cdef list found = []
    _walk(path, found)
    return found


def walk_count(bytes path):
    """How many entries are below `path`."""
    return _walk(path, None)


cdef Dirfd* open_dir(int dirfd, const char* name, uint64_t* open_count) noexcept:
    cdef int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    return dirfd_new(fd, True, open_count) if fd >= 0 else NULL


cdef size_t _walk(bytes path, list found) except? 0:
    cdef Walker walker
    cdef Item item
    cdef Status status
    cdef size_t count = 0
    cdef uint64_t open_count = 0
    cdef int got = 0
    cdef Dirfd* dir = open_dir(AT_FDCWD, PyBytes_AsString(path), &open_count)
    cdef tc_stat st
    if dir == NULL:
        raise FileNotFoundError(path)
    try:
        if walk_init(&walker) != 0:
            raise MemoryError
        walker.dirfds = &open_count
        got = walk_begin(&walker, dir, b"", 0, NULL, NULL, &status)
        dirfd_drop(dir)
        while got == 0:
            got = walk_next(&walker, &item, &status)
            if got <= 0:
                break
            count += 1
            if found is not None:
                found.append(item.path[:item.path_length])
            got = 0
            if item.kind == DT_DIR:
                dir = open_dir(item.dir.fd, item.name, &open_count)
                if dir == NULL or tc_fstat(dir.fd, &st) != 0:
                    raise FileNotFoundError(item.path[:item.path_length])
                got = walk_enter(&walker, &item, dir, &st, &status)
                dirfd_drop(dir)
        if got < 0:
            raise OSError(status.error, "walk")
    finally:
        walk_free(&walker)
    return count


def match_many(PatternList patterns, bytes path, size_t count):
    """Match `path` `count` times, without a parent's results."""
    cdef unsigned char* result = <unsigned char*>calloc(patterns.matcher.count + 1, 1)
    cdef const char* text = PyBytes_AsString(path)
    cdef size_t length = len(path)
    cdef size_t i
    if result == NULL:
        raise MemoryError
    with nogil:
        for i in range(count):
            match_path(&patterns.matcher, text, length, NULL, result)
    free(result)


def map_owner(list uid_ranges, list gid_ranges, uint32_t uid, uint32_t gid):
    """(uid, gid) in the container, or None; ranges as (container, host, size), None for identity."""
    cdef Remap remap
    cdef Range uids[8]
    cdef Range gids[8]
    memset(&remap, 0, sizeof(Remap))
    remap.uid.identity = uid_ranges is None
    remap.gid.identity = gid_ranges is None
    for i, (container, host, size) in enumerate((uid_ranges or [])[:8]):
        uids[i] = Range(container, host, size)
        remap.uid.count = i + 1
    for i, (container, host, size) in enumerate((gid_ranges or [])[:8]):
        gids[i] = Range(container, host, size)
        remap.gid.count = i + 1
    remap.uid.items = uids
    remap.gid.items = gids
    return (uid, gid) if remap_owner(&remap, &uid, &gid) else None


def map_time(int64_t seconds, int64_t nanoseconds, epoch=None):
    """(nanoseconds as the original has them, whole seconds in the header)."""
    cdef Remap remap
    memset(&remap, 0, sizeof(Remap))
    remap.has_epoch = epoch is not None
    remap.epoch = epoch or 0
    cdef int64_t ns = remap_time(&remap, seconds, nanoseconds)
    return ns, whole_seconds(ns)


def clean(bytes path):
    """The rooted form of `path` without empty, . and .. components."""
    cdef bytearray out = bytearray(len(path) + 1)
    cdef size_t length = clean_rooted(PyBytes_AsString(path), len(path), <char*>out)
    return bytes(out[:length])


def clear_links(LinkTable table not None):
    """What the core does between two trees."""
    links_clear(&table.links)
