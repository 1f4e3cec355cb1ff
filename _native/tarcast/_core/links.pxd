# (device, inode) -> the first name it was archived under, for hard links.
#
# Holds only inodes with more than one link. The table owns its names; a
# pointer that links_find gives lives until the next links_add. One thread.

from libc.stdint cimport uint64_t


cdef struct Slot:
    uint64_t dev
    uint64_t ino
    size_t name         # offset into names, of length bytes
    size_t length       # 0: the slot is free


cdef struct Links:
    Slot* slots
    size_t capacity     # a power of two, or 0
    size_t count
    char* names
    size_t names_length
    size_t names_capacity


cdef class LinkTable:
    cdef Links links


cdef bint links_find(const Links* links, uint64_t dev, uint64_t ino, const char** name, size_t* length) noexcept nogil
cdef bint links_add(Links* links, uint64_t dev, uint64_t ino, const char* name, size_t length) noexcept nogil
cdef void links_clear(Links* links) noexcept nogil
