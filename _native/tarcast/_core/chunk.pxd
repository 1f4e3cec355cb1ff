# A bounded piece of the output: headers and bodies of a run of entries, in order.
#
# Fill it until it is CHUNK_TARGET long, then hand it to the sink as a whole.
# The capacity leaves room for the longest header behind a chunk that has not
# reached the target, so a header never has to be divided. The Chunk owns its
# memory; untouched pages of it cost nothing.

cdef enum:
    CHUNK_TARGET = 262144
    CHUNK_CAPACITY = 262144 + 1048576 + 131072      # + PAX_LIMIT + blocks, padding and the byte that shows growth


cdef struct Chunk:
    char* data
    size_t length


cdef int chunk_init(Chunk* chunk) noexcept nogil
cdef void chunk_free(Chunk* chunk) noexcept nogil
cdef inline size_t chunk_room(const Chunk* chunk) noexcept nogil:
    """Bytes until the target, 0 when it is reached."""
    return CHUNK_TARGET - chunk.length if chunk.length < CHUNK_TARGET else 0
