# A bounded piece of the output: headers and bodies of a run of entries, in order.
#
# Fill it until it is CHUNK_TARGET long, then hand it on as a whole. The
# capacity leaves room for the longest header behind a chunk that has not
# reached the target, so a header never has to be divided. A body may be left
# open: its place is kept, and whoever has the chunk next reads it there from a
# descriptor that the chunk owns. The Chunk owns all its memory; untouched
# pages of it cost nothing.

cdef enum:
    CHUNK_TARGET = 262144
    CHUNK_CAPACITY = 262144 + 1048576 + 131072      # + PAX_LIMIT + blocks, padding and the byte that shows growth
    CHUNK_BODIES = 128


cdef struct Body:
    int fd                  # -1 once it is read
    size_t offset           # in data
    size_t size             # bytes
    size_t tree             # index of its tree, for reports
    size_t path             # offset into paths, of path_length bytes
    size_t path_length


cdef struct Chunk:
    char* data
    size_t length
    Body* bodies
    size_t body_count
    char* paths
    size_t paths_length
    size_t paths_capacity


cdef int chunk_init(Chunk* chunk) noexcept nogil
cdef void chunk_free(Chunk* chunk) noexcept nogil
cdef void chunk_clear(Chunk* chunk) noexcept nogil
cdef bint chunk_add_body(Chunk* chunk, int fd, size_t size, size_t tree, const char* path,
                         size_t path_length) noexcept nogil
cdef inline size_t chunk_room(const Chunk* chunk) noexcept nogil:
    """Bytes until the target, 0 when it is reached."""
    return CHUNK_TARGET - chunk.length if chunk.length < CHUNK_TARGET else 0
