# The list of pieces as the work goes on: it grows with the walk, pieces are divided, filled, placed, written.
#
# Functions take the queue's lock themselves. No GIL.

from libc.stdint cimport uint64_t

from tarcast._core.batch cimport Batch
from tarcast._core.body cimport Body
from tarcast._core.piece cimport Piece, PieceOrder
from tarcast._core.queue cimport Job, Queue


cdef Batch* pieces_batch(Queue* queue) noexcept nogil
cdef int pieces_walked(Queue* queue, Batch* batch, bint last, bint out_of_descriptors) noexcept nogil
cdef int pieces_divide(Queue* queue, Piece* piece, Body* body, uint64_t offset, uint64_t left,
                      PieceOrder order) noexcept nogil
cdef int pieces_cut(Queue* queue, Piece* piece, Body* body, uint64_t direct, Piece** rest) noexcept nogil
cdef bint pieces_in_turn(Queue* queue, Piece* piece, PieceOrder order) noexcept nogil
cdef uint64_t pieces_place(Queue* queue, Piece* piece) noexcept nogil
cdef void pieces_filled(Queue* queue, Piece* piece, bint failed) noexcept nogil
cdef void pieces_left(Queue* queue) noexcept nogil
cdef void pieces_written(Queue* queue, Job* job) noexcept nogil
