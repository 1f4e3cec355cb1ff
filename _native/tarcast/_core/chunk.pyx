# See chunk.pxd.

from libc.stdlib cimport free, malloc, realloc

from tarcast._core.chunk cimport CHUNK_SIZE, Chunk
from tarcast._core.posix cimport tc_page_memory


cdef Chunk* chunk_new() noexcept nogil:
    """An empty chunk, or NULL when out of memory."""
    cdef Chunk* chunk = <Chunk*>malloc(sizeof(Chunk))
    if chunk == NULL:
        return NULL
    chunk.spare = NULL
    chunk.length = 0
    chunk.capacity = CHUNK_SIZE
    chunk.data = tc_page_memory(CHUNK_SIZE)
    if chunk.data == NULL:
        free(chunk)
        return NULL
    return chunk


cdef void chunk_free(Chunk* chunk) noexcept nogil:
    free(chunk.data)
    free(chunk)


cdef bint chunk_grow(Chunk* chunk, size_t size) noexcept nogil:
    cdef char* grown = <char*>realloc(chunk.data, chunk.length + size)
    if grown == NULL:
        return False
    chunk.data = grown
    chunk.capacity = chunk.length + size
    return True


cdef void chunk_clear(Chunk* chunk) noexcept nogil:
    """Empty it, and give back what it had grown by."""
    cdef char* fresh
    chunk.length = 0
    if chunk.capacity > CHUNK_SIZE:
        fresh = tc_page_memory(CHUNK_SIZE)
        if fresh != NULL:
            free(chunk.data)
            chunk.data = fresh
            chunk.capacity = CHUNK_SIZE
