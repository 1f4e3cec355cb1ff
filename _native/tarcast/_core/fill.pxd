# Fill a piece: select, collect, map, link, encode, read, entry by entry, into the piece's chunk.
#
# Any number of workers do this at once, each with its own piece. What depends
# on everything before it (hard links, parents written late, places) waits until
# the piece is in turn. No GIL; the map hook takes it itself.

from tarcast._core.collect cimport Found
from tarcast._core.piece cimport Piece
from tarcast._core.run cimport Run, Worker


cdef int worker_init(Worker* worker, Run* run, size_t number) noexcept nogil
cdef void worker_free(Worker* worker) noexcept nogil
cdef Piece* fill_piece(Worker* worker, Piece* piece, bint* failed) noexcept nogil
# What `count` needs to know too:
cdef bint may_be_linked(const Found* found) noexcept nogil
cdef bint may_be_aligned(const Run* run, const Found* found) noexcept nogil
cdef bint is_output(const Run* run, const Found* found) noexcept nogil
