# Names from the walk, in archive order, on their way to a worker.
#
# A batch owns copies of the paths, and references to the directories that
# hold the names, so the walk can go on meanwhile. Directories come opened
# (the walk needs them itself), all else only by name. No GIL.

from tarcast._core.dirfd cimport Dirfd
from tarcast._core.posix cimport tc_stat
from tarcast._core.status cimport Status

cdef enum:
    BATCH_ITEMS = 128


cdef enum BatchKind:
    BATCH_NAME          # to be opened and archived
    BATCH_ADDED         # a file that is not the tree's; `index` says which
    BATCH_OPENED        # was opened by the walk: a directory, unless it was replaced at that moment
    BATCH_PASSED        # a directory that no pattern selects: archived only if something below it is
    BATCH_PROBLEM       # the walk could not go on here; why is in the batch's `problem`
    BATCH_TOP           # the directory that stands for the whole tree
    BATCH_END           # the end of the archive


cdef struct BatchItem:
    BatchKind kind
    unsigned char type      # DT_*
    Dirfd* dir              # holds the name; the batch has the reference
    Dirfd* own              # BATCH_OPENED and BATCH_PASSED: a reference, NULL when it could not be opened
    int open_error
    tc_stat st              # of `own`, or of what could not be opened
    size_t path             # offset into text; NUL-terminated, and room for one byte more
    size_t path_length
    size_t name_length      # of its last component
    size_t index            # BATCH_ADDED: among those of its tree


cdef struct Batch:
    Batch* spare            # next in the list of unused ones
    BatchItem items[BATCH_ITEMS]
    size_t count
    size_t references       # pieces that have some of its items; under the queue's lock
    size_t tree             # index of the tree they all belong to
    Dirfd* dirs[BATCH_ITEMS]
    size_t dir_count
    char* text
    size_t text_length
    size_t text_capacity
    Status problem


cdef Batch* batch_new() noexcept nogil
cdef void batch_free(Batch* batch) noexcept nogil
cdef void batch_clear(Batch* batch) noexcept nogil
cdef BatchItem* batch_add(Batch* batch, BatchKind kind, Dirfd* dir, const char* path, size_t path_length,
                          size_t name_length) noexcept nogil
