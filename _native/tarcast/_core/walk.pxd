# Ordered, directory-relative traversal of one tree.
#
# A pull iterator: walk_next gives the next name in archive order (tar-bytes 1:
# every directory sorted by bare name as bytes, its children right behind it),
# having applied the patterns. For a directory the caller opens it and hands
# it to walk_enter if the children are wanted.
#
# The Walker owns all its memory and a reference to every directory given to it.
# What an Item points to lives until the next walk_next or walk_enter. One
# thread at a time, no GIL.

from libc.stdint cimport uint64_t

from tarcast._core.control cimport Control
from tarcast._core.dirfd cimport Dirfd
from tarcast._core.match cimport Matcher
from tarcast._core.posix cimport tc_stat
from tarcast._core.status cimport Status

cdef enum:
    # Descriptors of ancestors kept open. Deeper trees close the outermost and
    # come back by "..", checked against the device and inode seen before.
    OPEN_LEVELS = 128


cdef struct Name:
    uint64_t key            # first 8 bytes, big-endian: most comparisons end here
    const char* text        # NUL-terminated, in the level's arena
    unsigned int length
    unsigned char kind      # DT_*


cdef struct Level:
    Dirfd* dir              # NULL while closed to save descriptors
    uint64_t dev
    uint64_t ino
    Name* names
    size_t count
    size_t capacity
    size_t next
    char* arena
    size_t arena_length
    size_t arena_capacity
    size_t prefix           # length of the path, with its slash, in front of the children's names
    unsigned char* hits     # results of include, then exclude patterns, for the children


cdef struct Item:
    Dirfd* dir              # holds the name; borrowed
    const char* name
    size_t name_length
    const char* path        # archive path: the tree's prefix, then the path in the tree; room for one more byte
    size_t path_length
    unsigned char kind      # DT_*, never DT_UNKNOWN
    bint selected           # False: a directory that is only passed through


cdef struct Walker:
    Level* levels
    size_t depth            # levels in use
    size_t capacity
    size_t oldest           # lowest level behind the root whose descriptor may still be open; the root's always is
    char* path
    size_t path_capacity
    size_t root_prefix      # length of the tree's own prefix in every path
    char* buffer            # raw directory records
    Matcher* includes        # borrowed, NULL without patterns
    Matcher* excludes
    unsigned char* hits     # of the current item, to become its level's
    uint64_t* dirfds        # borrowed: how many directories are open
    Control* control        # borrowed, asked now and then on long stretches; NULL: never
    bint caller             # the thread that walks just now is the one that called `run`
    size_t asked            # names since the beginning, for "now and then"


cdef int walk_init(Walker* walker) noexcept nogil
cdef void walk_free(Walker* walker) noexcept nogil
cdef int walk_begin(Walker* walker, Dirfd* dir, const char* prefix, size_t prefix_length, Matcher* includes,
                    Matcher* excludes, Status* status) noexcept nogil
cdef int walk_next(Walker* walker, Item* item, Status* status) noexcept nogil
cdef int walk_enter(Walker* walker, const Item* item, Dirfd* dir, const tc_stat* st, Status* status) noexcept nogil
cdef void walk_back(Walker* walker) noexcept nogil
cdef bint walk_spare(Walker* walker) noexcept nogil
cdef bint walk_stops(Walker* walker) noexcept nogil
