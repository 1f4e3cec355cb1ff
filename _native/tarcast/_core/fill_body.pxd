# Data behind a header: into the piece's chunk as far as it fits, the rest into pieces of its own.
#
# No GIL.

from tarcast._core.batch cimport BatchItem
from tarcast._core.collect cimport Found
from tarcast._core.entry cimport Entry
from tarcast._core.piece cimport Piece
from tarcast._core.run cimport Worker
from tarcast._core.sparse cimport Sparse


cdef int put_body(Worker* worker, BatchItem* item, Found* found, const Entry* entry, Sparse* sparse) noexcept nogil
cdef int put_rest(Worker* worker) noexcept nogil
cdef int fill_body(Worker* worker, Piece* piece) noexcept nogil
