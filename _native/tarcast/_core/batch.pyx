# See batch.pxd.

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from tarcast._core.batch cimport BATCH_ITEMS, Batch, BatchItem, BatchKind
from tarcast._core.dirfd cimport Dirfd, dirfd_drop, dirfd_take

cdef enum:
    # Text beyond this is given back: one deep tree must not make every batch large for good.
    KEEP = 65536


cdef Batch* batch_new() noexcept nogil:
    """An empty batch, or NULL when out of memory."""
    cdef Batch* batch = <Batch*>malloc(sizeof(Batch))
    if batch != NULL:
        batch.spare = NULL
        batch.count = batch.references = batch.tree = batch.dir_count = 0
        batch.text = NULL
        batch.text_length = batch.text_capacity = 0
    return batch


cdef void batch_clear(Batch* batch) noexcept nogil:
    """Empty it; references of items that nobody archived are dropped."""
    cdef size_t i
    for i in range(batch.count):
        if batch.items[i].own != NULL:
            dirfd_drop(batch.items[i].own)
    for i in range(batch.dir_count):
        dirfd_drop(batch.dirs[i])
    batch.count = batch.dir_count = batch.text_length = 0
    if batch.text_capacity > KEEP:
        free(batch.text)
        batch.text = NULL
        batch.text_capacity = 0


cdef void batch_free(Batch* batch) noexcept nogil:
    batch_clear(batch)
    free(batch.text)
    free(batch)


cdef BatchItem* batch_add(Batch* batch, BatchKind kind, Dirfd* dir, const char* path, size_t path_length,
                          size_t name_length) noexcept nogil:
    """Append an item with a copy of `path` and a reference to `dir` (or NULL). NULL: out of memory.

    The caller sees to it that fewer than BATCH_ITEMS are there.
    """
    cdef BatchItem* item = &batch.items[batch.count]
    cdef char* grown
    cdef size_t capacity
    if batch.text_capacity - batch.text_length < path_length + 2:
        capacity = batch.text_capacity * 2 + path_length + 8192
        grown = <char*>realloc(batch.text, capacity)
        if grown == NULL:
            return NULL
        batch.text = grown
        batch.text_capacity = capacity
    item.kind = kind
    item.type = 0
    item.own = NULL
    item.index = 0
    item.open_error = 0
    item.dir = dir
    if dir != NULL and (batch.dir_count == 0 or batch.dirs[batch.dir_count - 1] != dir):
        batch.dirs[batch.dir_count] = dirfd_take(dir)
        batch.dir_count += 1
    item.path = batch.text_length
    item.path_length = path_length
    item.name_length = name_length
    memcpy(batch.text + batch.text_length, path, path_length)
    memset(batch.text + batch.text_length + path_length, 0, 2)
    batch.text_length += path_length + 2
    batch.count += 1
    return item
