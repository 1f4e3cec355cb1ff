# Open addressing with linear probing; at most two thirds full. See links.pxd.

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from tarcast._core.links cimport Links, Slot

cdef extern from "Python.h":
    char* PyBytes_AsString(object) except NULL


cdef size_t home(const Links* links, uint64_t dev, uint64_t ino) noexcept nogil:
    cdef uint64_t h = (ino ^ (dev << 32) ^ (dev >> 32)) * <uint64_t>0x9E3779B97F4A7C15
    return <size_t>((h >> 32) ^ h) & (links.capacity - 1)


cdef Slot* probe(const Links* links, uint64_t dev, uint64_t ino) noexcept nogil:
    """The slot of this inode, or the free one where it belongs."""
    cdef size_t i = home(links, dev, ino)
    cdef Slot* slot
    while True:
        slot = &links.slots[i]
        if slot.length == 0 or (slot.ino == ino and slot.dev == dev):
            return slot
        i = (i + 1) & (links.capacity - 1)


cdef bint grow(Links* links) noexcept nogil:
    cdef Links bigger = links[0]
    cdef size_t i
    cdef Slot* old
    bigger.capacity = links.capacity * 2 if links.capacity else 64
    if bigger.capacity > (<size_t>1 << 48):
        return False
    bigger.slots = <Slot*>calloc(bigger.capacity, sizeof(Slot))
    if bigger.slots == NULL:
        return False
    for i in range(links.capacity):
        old = &links.slots[i]
        if old.length:
            probe(&bigger, old.dev, old.ino)[0] = old[0]
    free(links.slots)
    links[0] = bigger
    return True


cdef bint links_find(const Links* links, uint64_t dev, uint64_t ino, const char** name, size_t* length) noexcept nogil:
    """True, with the first name, when the inode was added before."""
    cdef Slot* slot
    if links.capacity == 0:
        return False
    slot = probe(links, dev, ino)
    if slot.length == 0:
        return False
    name[0] = links.names + slot.name
    length[0] = slot.length
    return True


cdef bint links_add(Links* links, uint64_t dev, uint64_t ino, const char* name, size_t length) noexcept nogil:
    """Remember a copy of `name` (not empty) for an inode that is not there yet. False: out of memory."""
    cdef size_t capacity
    cdef char* names
    cdef Slot* slot
    if (links.count + 1) * 3 > links.capacity * 2 and not grow(links):
        return False
    if links.names_capacity - links.names_length < length:
        capacity = links.names_capacity * 2 if links.names_capacity > length else links.names_capacity + length + 4096
        names = <char*>realloc(links.names, capacity)
        if names == NULL:
            return False
        links.names = names
        links.names_capacity = capacity
    memcpy(links.names + links.names_length, name, length)
    slot = probe(links, dev, ino)
    slot.dev = dev
    slot.ino = ino
    slot.name = links.names_length
    slot.length = length
    links.names_length += length
    links.count += 1
    return True


cdef void links_clear(Links* links) noexcept nogil:
    """Forget everything and give the memory back; the table can be used again."""
    free(links.slots)
    free(links.names)
    memset(links, 0, sizeof(Links))


cdef class LinkTable:
    """A table for an archive that several exports, and others, write to."""

    def __cinit__(self):
        memset(&self.links, 0, sizeof(Links))

    def __dealloc__(self):
        links_clear(&self.links)

    def find(self, uint64_t dev, uint64_t ino):
        """The first name of the inode, or None."""
        cdef const char* name = NULL
        cdef size_t length = 0
        if links_find(&self.links, dev, ino, &name, &length):
            return name[:length]
        return None

    def add(self, uint64_t dev, uint64_t ino, bytes name not None):
        """Remember `name`, which is not empty, unless the inode has one already."""
        cdef const char* first = NULL
        cdef size_t length = 0
        if not links_find(&self.links, dev, ino, &first, &length) \
                and not links_add(&self.links, dev, ino, PyBytes_AsString(name), len(name)):
            raise MemoryError
