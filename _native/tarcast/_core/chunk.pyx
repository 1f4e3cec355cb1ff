# See chunk.pxd.

from libc.stdlib cimport free, malloc
from tarcast._core.chunk cimport CHUNK_CAPACITY, Chunk


cdef int chunk_init(Chunk* chunk) noexcept nogil:
    """0, or -1 when out of memory."""
    chunk.length = 0
    chunk.data = <char*>malloc(CHUNK_CAPACITY)
    return 0 if chunk.data != NULL else -1


cdef void chunk_free(Chunk* chunk) noexcept nogil:
    free(chunk.data)
    chunk.data = NULL
    chunk.length = 0
