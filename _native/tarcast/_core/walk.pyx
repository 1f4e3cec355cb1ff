# See walk.pxd.

from libc.errno cimport errno
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcpy, memset, strcmp

from tarcast._core.control cimport control_cancelled, control_stops
from tarcast._core.dirfd cimport Dirfd, dirfd_drop, dirfd_new, dirfd_take
from tarcast._core.match cimport Matcher, match_path, match_prunes_matched, match_prunes_unmatched
from tarcast._core.posix cimport (
    DT_DIR, DT_UNKNOWN, ELOOP, ENOENT, ENOMEM, ENOTDIR, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, close, openat,
    tc_dir, tc_dir_begin, tc_dir_end, tc_dir_next, tc_fstat, tc_lstatat, tc_stat, tc_type_of_mode,
)
from tarcast._core.status cimport STEP_CALLBACK, STEP_MEMORY, STEP_READ_DIR, STEP_REPLACED, STEP_STAT, Status, fail
from tarcast._core.walk cimport Item, Level, Name, Walker

cdef enum:
    BUFFER_SIZE = 262144
    # A level's memory beyond this is given back when the level is left.
    KEEP = 1048576


cdef int walk_init(Walker* walker) noexcept nogil:
    """0, or -1 when out of memory (walk_free is still right to call)."""
    memset(walker, 0, sizeof(Walker))
    walker.path_capacity = 4096
    walker.path = <char*>malloc(walker.path_capacity)
    walker.buffer = <char*>malloc(BUFFER_SIZE)
    return 0 if walker.path != NULL and walker.buffer != NULL else -1


cdef void close_level(Level* level) noexcept nogil:
    if level.dir != NULL:
        dirfd_drop(level.dir)
        level.dir = NULL


cdef void walk_free(Walker* walker) noexcept nogil:
    cdef size_t i
    for i in range(walker.capacity):
        if i < walker.depth:
            close_level(&walker.levels[i])
        free(walker.levels[i].names)
        free(walker.levels[i].arena)
        free(walker.levels[i].hits)
    free(walker.levels)
    free(walker.path)
    free(walker.buffer)
    free(walker.hits)
    memset(walker, 0, sizeof(Walker))


cdef bint walk_stops(Walker* walker) noexcept nogil:
    """Is the export to end? A look at signals and cancel, for where the kernel may take its time."""
    if walker.control == NULL:
        return False
    return control_stops(walker.control) if walker.caller else control_cancelled(walker.control)


cdef bint told_to_stop(Walker* walker) noexcept nogil:
    """For loops over names: the same, now and then."""
    walker.asked += 1
    return walker.asked % 1024 == 0 and walk_stops(walker)


cdef size_t hit_count(const Walker* walker) noexcept nogil:
    return ((walker.includes.count if walker.includes != NULL else 0)
            + (walker.excludes.count if walker.excludes != NULL else 0))


cdef bint path_room(Walker* walker, size_t length) noexcept nogil:
    """Room for a path of `length`, a slash and a NUL."""
    cdef char* grown
    if length + 2 > walker.path_capacity:
        grown = <char*>realloc(walker.path, length * 2 + 2)
        if grown == NULL:
            return False
        walker.path = grown
        walker.path_capacity = length * 2 + 2
    return True


cdef int by_bytes(const void* left, const void* right) noexcept nogil:
    """Unsigned bytes, shorter prefix first: strcmp compares unsigned, and names hold no NUL."""
    cdef const Name* a = <const Name*>left
    cdef const Name* b = <const Name*>right
    if a.key != b.key:
        return 1 if a.key > b.key else -1
    return strcmp(a.text, b.text)


cdef bint add_name(Level* level, const char* text, size_t length, unsigned char kind) noexcept nogil:
    cdef void* grown
    cdef size_t capacity
    cdef size_t i
    cdef Name* name
    if level.count == level.capacity:
        capacity = level.capacity * 2 + 64
        grown = realloc(level.names, capacity * sizeof(Name))
        if grown == NULL:
            return False
        level.names = <Name*>grown
        level.capacity = capacity
    if level.arena_capacity - level.arena_length <= length:
        capacity = level.arena_capacity * 2 + length + 2048
        grown = realloc(level.arena, capacity)
        if grown == NULL:
            return False
        level.arena = <char*>grown
        level.arena_capacity = capacity
    name = &level.names[level.count]
    name.key = 0
    for i in range(8):
        name.key = (name.key << 8) | (<unsigned char>text[i] if i < length else 0)
    # The arena may still move: an offset now, a pointer when all names are there.
    name.text = <const char*>level.arena_length
    name.length = <unsigned int>length
    name.kind = kind
    memcpy(level.arena + level.arena_length, text, length)
    level.arena[level.arena_length + length] = 0
    level.arena_length += length + 1
    level.count += 1
    return True


cdef int read_names(Walker* walker, Level* level, Status* status) noexcept nogil:
    """Fill `level` with all names of its directory, sorted."""
    cdef tc_dir dir
    cdef const char* text = NULL
    cdef size_t length = 0
    cdef unsigned char kind = 0
    cdef size_t i
    cdef bint sorted_already = True
    cdef int got
    if tc_dir_begin(&dir, level.dir.fd, walker.buffer, BUFFER_SIZE) != 0:
        return fail(status, STEP_READ_DIR, errno)
    while True:
        got = tc_dir_next(&dir, &text, &length, &kind)
        if got < 0:
            fail(status, STEP_READ_DIR, errno)
        elif got > 0 and not add_name(level, text, length, kind):
            got = fail(status, STEP_MEMORY, ENOMEM)
        elif told_to_stop(walker):
            got = fail(status, STEP_CALLBACK, 0)
        if got <= 0:
            break
    tc_dir_end(&dir)
    if got < 0:
        return -1
    for i in range(level.count):
        level.names[i].text = level.arena + <size_t>level.names[i].text
        if i > 0 and sorted_already:
            sorted_already = by_bytes(&level.names[i - 1], &level.names[i]) < 0
    if not sorted_already:
        qsort(level.names, level.count, sizeof(Name), by_bytes)
    return 0


cdef int push(Walker* walker, Dirfd* dir, const tc_stat* st, size_t prefix, Status* status) noexcept nogil:
    """A level for `dir`; takes a reference to it."""
    cdef Level* grown
    cdef Level* level
    cdef size_t capacity
    if walker.depth == walker.capacity:
        capacity = walker.capacity * 2 + 16
        grown = <Level*>realloc(walker.levels, capacity * sizeof(Level))
        if grown == NULL:
            return fail(status, STEP_MEMORY, ENOMEM)
        memset(grown + walker.capacity, 0, (capacity - walker.capacity) * sizeof(Level))
        walker.levels = grown
        walker.capacity = capacity
    level = &walker.levels[walker.depth]
    level.dir = dirfd_take(dir)
    level.count = 0
    level.next = 0
    level.arena_length = 0
    level.prefix = prefix
    level.dev = st.dev
    level.ino = st.ino
    if read_names(walker, level, status) != 0:
        close_level(level)
        return -1
    walker.depth += 1
    while walker.depth - walker.oldest > OPEN_LEVELS:
        close_level(&walker.levels[walker.oldest])
        walker.oldest += 1
    return 0


cdef bint walk_spare(Walker* walker) noexcept nogil:
    """Close the outer half of the open directories because descriptors ran out. False: none can be spared."""
    cdef size_t count = (walker.depth - walker.oldest) // 2 if walker.depth > walker.oldest else 0
    cdef size_t i
    for i in range(count):
        close_level(&walker.levels[walker.oldest])
        walker.oldest += 1
    return count > 0


cdef int open_level(const Level* level, int dirfd, const char* name) noexcept nogil:
    """`name` in `dirfd` if it is the very directory that `level` once had open, else the negative errno."""
    cdef tc_stat st
    cdef int error = -ENOENT
    cdef int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    if fd < 0:
        return -errno
    if tc_fstat(fd, &st) != 0:
        error = -errno
    elif st.dev == level.dev and st.ino == level.ino:
        return fd
    close(fd)
    return error


cdef int reach(Walker* walker, size_t index) noexcept nogil:
    """The directory of level `index`, by its name from the nearest open one above it; else the negative errno."""
    cdef size_t above = index
    cdef size_t i
    cdef int fd
    cdef int below
    while walker.levels[above].dir == NULL:      # the root stays open
        above -= 1
    fd = walker.levels[above].dir.fd
    for i in range(above + 1, index + 1):
        walker.path[walker.levels[i].prefix - 1] = 0
        below = open_level(&walker.levels[i], fd, walker.path + walker.levels[i - 1].prefix)
        walker.path[walker.levels[i].prefix - 1] = c'/'
        if i > above + 1:
            close(fd)
        if below < 0:
            return below
        fd = below
    return fd


cdef int reopen_parent(Walker* walker, Status* status) noexcept nogil:
    """Open the closed parent of the innermost level again.

    By "..", which is quick; if that leads elsewhere, because the directory was
    moved, by the names that led here. What is not the same directory as before
    is never taken for it.
    """
    cdef Level* level = &walker.levels[walker.depth - 1]
    cdef Level* parent = &walker.levels[walker.depth - 2]
    cdef int fd = -1
    if level.dir != NULL:
        fd = open_level(parent, level.dir.fd, b"..")
    if fd < 0:
        fd = reach(walker, walker.depth - 2)
    if fd >= 0:
        # Whether it is settled is not known any more: ask in turn.
        parent.dir = dirfd_new(fd, False, walker.dirfds)
        if parent.dir == NULL:
            return fail(status, STEP_MEMORY, ENOMEM)
        walker.oldest = walker.depth - 2
        return 0
    if parent.next == parent.count:     # nothing more is wanted of it
        return 0
    if fd == -ENOENT or fd == -ENOTDIR or fd == -ELOOP:
        return fail(status, STEP_REPLACED, 0)
    return fail(status, STEP_READ_DIR, -fd)


cdef int pop(Walker* walker, Status* status) noexcept nogil:
    """Leave the innermost directory; its parent's descriptor is opened again if it was closed."""
    cdef Level* level = &walker.levels[walker.depth - 1]
    cdef int result = 0
    if walker.depth > 1 and walker.levels[walker.depth - 2].dir == NULL:
        result = reopen_parent(walker, status)
    close_level(level)
    if level.arena_capacity > KEEP:
        free(level.arena)
        free(level.names)
        level.arena = NULL
        level.names = NULL
        level.arena_capacity = level.capacity = 0
    walker.depth -= 1
    if walker.oldest > walker.depth:
        walker.oldest = walker.depth if walker.depth > 0 else 1
    return result


cdef int walk_begin(Walker* walker, Dirfd* dir, const char* prefix, size_t prefix_length, Matcher* includes,
                    Matcher* excludes, Status* status) noexcept nogil:
    """Start on the tree whose root is `dir` (a reference is taken). `prefix` stands before every path."""
    cdef unsigned char* grown
    cdef tc_stat st
    walker.includes = includes
    walker.excludes = excludes
    walker.depth = 0
    walker.oldest = 1
    walker.root_prefix = prefix_length
    grown = <unsigned char*>realloc(walker.hits, hit_count(walker) + 1)
    if grown == NULL or not path_room(walker, prefix_length):
        if grown != NULL:
            walker.hits = grown
        return fail(status, STEP_MEMORY, ENOMEM)
    walker.hits = grown
    memcpy(walker.path, prefix, prefix_length)
    if tc_fstat(dir.fd, &st) != 0:
        return fail(status, STEP_STAT, errno)
    return push(walker, dir, &st, prefix_length, status)


cdef bint judge(Walker* walker, const Level* level, Item* item) noexcept nogil:
    """Apply the patterns (tar-bytes 8.3, 8.4). False: neither this entry nor anything below it is wanted."""
    cdef const char* path = item.path + walker.root_prefix
    cdef size_t length = item.path_length - walker.root_prefix
    cdef size_t first = 0
    cdef const unsigned char* parent = level.hits if walker.depth > 1 else NULL
    item.selected = True
    if walker.includes != NULL:
        first = walker.includes.count
        if not match_path(walker.includes, path, length, parent, walker.hits):
            if item.kind != DT_DIR or match_prunes_unmatched(walker.includes, path, length):
                return False
            item.selected = False
    if walker.excludes != NULL:
        if match_path(walker.excludes, path, length, parent + first if parent != NULL else NULL,
                      walker.hits + first):
            if item.kind != DT_DIR or match_prunes_matched(walker.excludes, path, length):
                return False
            item.selected = False
    return True


cdef int walk_next(Walker* walker, Item* item, Status* status) noexcept nogil:
    """1 and an item, 0 at the end of the tree, or -1 with `status`; item.path says where.

    After -1 the walk may go on with the next call: only the named entry, or the
    rest of the named directory, is lost.
    """
    cdef Level* level
    cdef Name* name
    cdef tc_stat st
    while walker.depth > 0:
        level = &walker.levels[walker.depth - 1]
        if level.next == level.count:
            item.path = walker.path
            item.path_length = walker.levels[walker.depth - 2].prefix if walker.depth > 1 else level.prefix
            if pop(walker, status) != 0:
                # Its siblings cannot be reached any more: give up the whole parent.
                walker.levels[walker.depth - 1].next = walker.levels[walker.depth - 1].count
                return -1
            continue
        name = &level.names[level.next]
        level.next += 1
        item.path_length = level.prefix + name.length
        if not path_room(walker, item.path_length):
            item.path = walker.path
            item.path_length = level.prefix
            return fail(status, STEP_MEMORY, ENOMEM)
        memcpy(walker.path + level.prefix, name.text, name.length + 1)
        item.path = walker.path
        item.dir = level.dir
        item.name = name.text
        item.name_length = name.length
        item.kind = name.kind
        if item.kind == DT_UNKNOWN:
            if walk_stops(walker):
                return fail(status, STEP_CALLBACK, 0)
            if tc_lstatat(level.dir.fd, name.text, &st) != 0:
                return fail(status, STEP_STAT, errno)
            item.kind = tc_type_of_mode(st.mode)
        item.selected = True
        if (walker.includes != NULL or walker.excludes != NULL) and not judge(walker, level, item):
            if told_to_stop(walker):
                return fail(status, STEP_CALLBACK, 0)
            continue
        return 1
    return 0


cdef void walk_back(Walker* walker) noexcept nogil:
    """Give the last item once more."""
    walker.levels[walker.depth - 1].next -= 1


cdef int walk_enter(Walker* walker, const Item* item, Dirfd* dir, const tc_stat* st, Status* status) noexcept nogil:
    """Go on with the children of `item`, the last one given, which is open as `dir` with the stat `st`.

    A reference to `dir` is taken.
    """
    cdef size_t prefix = item.path_length + 1
    cdef size_t hits = hit_count(walker)
    cdef unsigned char* grown
    walker.path[item.path_length] = c'/'
    if push(walker, dir, st, prefix, status) != 0:
        return -1
    if hits:
        grown = <unsigned char*>realloc(walker.levels[walker.depth - 1].hits, hits)
        if grown == NULL:
            walker.levels[walker.depth - 1].count = 0
            return fail(status, STEP_MEMORY, ENOMEM)
        walker.levels[walker.depth - 1].hits = grown
        memcpy(grown, walker.hits, hits)
    return 0
