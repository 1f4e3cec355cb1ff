# Pieces, batches and chunks that are used again: all memory of an export that does not grow with a tree.
#
# Guarded by the lock of the queue that it is part of. No GIL.

from tarcast._core.batch cimport Batch
from tarcast._core.chunk cimport Chunk
from tarcast._core.piece cimport Piece, PieceKind


cdef struct Stock:
    Piece* pieces
    Batch* batches
    Chunk* chunks
    size_t chunk_limit      # how many there may be
    size_t chunk_count      # how many there are
    size_t chunks_here      # of them, in the stock


cdef void stock_free(Stock* stock) noexcept nogil
cdef Piece* stock_piece(Stock* stock, PieceKind kind) noexcept nogil
cdef void stock_return_piece(Stock* stock, Piece* piece) noexcept nogil
cdef void stock_return_list(Stock* stock, Piece* piece) noexcept nogil
cdef Batch* stock_batch(Stock* stock) noexcept nogil
cdef void stock_return_batch(Stock* stock, Batch* batch) noexcept nogil
cdef Chunk* stock_chunk(Stock* stock) noexcept nogil
cdef inline size_t stock_chunks(const Stock* stock) noexcept nogil:
    """How many chunks are to be had."""
    return stock.chunks_here + stock.chunk_limit - stock.chunk_count
