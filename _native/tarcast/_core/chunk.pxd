# A bounded piece of memory that becomes output: headers and bodies of a run of entries, in order.
#
# A chunk is full when it is CHUNK_TARGET long; the slack behind that lets a
# header or a small body that begins below the target end in the same chunk.
# Only an entry with very large attributes needs more than that, and gets it
# until the chunk is used again. The Chunk owns its memory.

cdef enum:
    CHUNK_TARGET = 262144
    CHUNK_SIZE = 262144 + 65536


cdef struct Chunk:
    Chunk* spare            # next in the list of unused ones
    char* data
    size_t length
    size_t capacity


cdef Chunk* chunk_new() noexcept nogil
cdef void chunk_free(Chunk* chunk) noexcept nogil
cdef void chunk_clear(Chunk* chunk) noexcept nogil
cdef bint chunk_grow(Chunk* chunk, size_t size) noexcept nogil
cdef inline size_t chunk_room(const Chunk* chunk) noexcept nogil:
    """Bytes until the target, 0 when it is reached."""
    return CHUNK_TARGET - chunk.length if chunk.length < CHUNK_TARGET else 0


cdef inline bint chunk_reserve(Chunk* chunk, size_t size) noexcept nogil:
    """See to it that `size` more bytes fit. False: out of memory."""
    return chunk.capacity - chunk.length >= size or chunk_grow(chunk, size)
