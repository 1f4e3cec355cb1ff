# See chunk.pxd.

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from tarcast._core.chunk cimport CHUNK_BODIES, CHUNK_CAPACITY, Body, Chunk
from tarcast._core.posix cimport close


cdef int chunk_init(Chunk* chunk) noexcept nogil:
    """0, or -1 when out of memory (chunk_free is still right to call)."""
    memset(chunk, 0, sizeof(Chunk))
    chunk.data = <char*>malloc(CHUNK_CAPACITY)
    chunk.bodies = <Body*>malloc(CHUNK_BODIES * sizeof(Body))
    return 0 if chunk.data != NULL and chunk.bodies != NULL else -1


cdef void chunk_clear(Chunk* chunk) noexcept nogil:
    """Empty it; descriptors of bodies that nobody read are closed."""
    cdef size_t i
    for i in range(chunk.body_count):
        if chunk.bodies[i].fd >= 0:
            close(chunk.bodies[i].fd)
    chunk.length = 0
    chunk.body_count = 0
    chunk.paths_length = 0


cdef void chunk_free(Chunk* chunk) noexcept nogil:
    chunk_clear(chunk)
    free(chunk.data)
    free(chunk.bodies)
    free(chunk.paths)
    memset(chunk, 0, sizeof(Chunk))


cdef bint chunk_add_body(Chunk* chunk, int fd, size_t size, size_t tree, const char* path,
                         size_t path_length) noexcept nogil:
    """Keep the next `size` bytes for what will be read from `fd`, which is the chunk's from now on.

    False, with nothing changed: no more can be left open. The caller has seen to
    the room.
    """
    cdef Body* body
    cdef char* grown
    cdef size_t capacity
    if chunk.body_count == CHUNK_BODIES:
        return False
    if chunk.paths_capacity - chunk.paths_length < path_length:
        capacity = chunk.paths_capacity * 2 + path_length + 4096
        grown = <char*>realloc(chunk.paths, capacity)
        if grown == NULL:
            return False
        chunk.paths = grown
        chunk.paths_capacity = capacity
    body = &chunk.bodies[chunk.body_count]
    body.fd = fd
    body.offset = chunk.length
    body.size = size
    body.tree = tree
    body.path = chunk.paths_length
    body.path_length = path_length
    memcpy(chunk.paths + chunk.paths_length, path, path_length)
    chunk.paths_length += path_length
    chunk.body_count += 1
    chunk.length += size
    return True
