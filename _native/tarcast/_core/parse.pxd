# Header blocks and pax records as any archiver writes them, taken apart.
#
# Pure: no I/O, no allocation, no GIL, and nothing outside of what is handed in is ever looked at. What is
# wrong comes back as a word for a message; nothing else is then filled in.

from libc.stdint cimport int32_t, int64_t


cdef enum Dialect:
    V7      # no magic: names of 100 bytes, no devices
    USTAR   # POSIX, pax too
    GNU     # "ustar  ": no prefix; sparse maps and times stand there

cdef struct Head:
    # One header block. The pointers lead into it.
    char type
    Dialect dialect
    const char* name
    size_t name_length
    const char* prefix          # prefix "/" name is the whole name, if prefix_length is not 0
    size_t prefix_length
    const char* link
    size_t link_length
    int64_t mode
    int64_t uid
    int64_t gid
    int64_t size                # 0 or more
    int64_t mtime
    int64_t devmajor
    int64_t devminor

cdef struct Item:
    # One pax record.
    const char* key
    size_t key_length
    const char* value
    size_t value_length

cdef enum:
    # The part of an old GNU sparse header that holds its map, and the same in the blocks behind it.
    OLD_SPARSE_AT = 386
    OLD_SPARSE_COUNT = 4
    OLD_SPARSE_MORE_AT = 482
    OLD_SPARSE_SIZE_AT = 483
    EXTENSION_COUNT = 21
    EXTENSION_MORE_AT = 504


cdef bint is_zero(const char* block) noexcept nogil
cdef const char* head_read(const char* block, Head* head) noexcept nogil
cdef bint number_read(const char* field, size_t size, int64_t* value) noexcept nogil
cdef bint decimal_read(const char* text, size_t length, int64_t* value) noexcept nogil
cdef bint time_read(const char* text, size_t length, int64_t* seconds, int32_t* nanoseconds) noexcept nogil
cdef const char* item_read(const char* data, size_t length, size_t* at, Item* item) noexcept nogil
