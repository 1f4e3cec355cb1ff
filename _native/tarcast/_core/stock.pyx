# See stock.pxd.

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from tarcast._core.batch cimport Batch, batch_clear, batch_free
from tarcast._core.body cimport body_drop
from tarcast._core.chunk cimport Chunk, chunk_clear, chunk_free, chunk_new
from tarcast._core.note cimport notes_free
from tarcast._core.piece cimport PIECE_QUEUED, Piece, PieceKind
from tarcast._core.stock cimport Stock


cdef void stock_free(Stock* stock) noexcept nogil:
    """Give everything back to the system. Also for a Stock of zeros, and twice."""
    cdef Piece* piece
    cdef Batch* batch
    cdef Chunk* chunk
    while stock.pieces != NULL:
        piece = stock.pieces
        stock.pieces = piece.next
        free(piece)
    while stock.batches != NULL:
        batch = stock.batches
        stock.batches = batch.spare
        batch_free(batch)
    while stock.chunks != NULL:
        chunk = stock.chunks
        stock.chunks = chunk.spare
        chunk_free(chunk)
    memset(stock, 0, sizeof(Stock))


cdef Piece* stock_piece(Stock* stock, PieceKind kind) noexcept nogil:
    """A piece of that kind that holds nothing, or NULL when out of memory."""
    cdef Piece* piece = stock.pieces
    if piece != NULL:
        stock.pieces = piece.next
    else:
        piece = <Piece*>malloc(sizeof(Piece))
    if piece != NULL:
        memset(piece, 0, sizeof(Piece))
        piece.kind = kind
        piece.state = PIECE_QUEUED
    return piece


cdef void stock_return_piece(Stock* stock, Piece* piece) noexcept nogil:
    """With all that it holds."""
    if piece.batch != NULL:
        stock_return_batch(stock, piece.batch)
    if piece.chunk != NULL:
        chunk_clear(piece.chunk)
        piece.chunk.spare = stock.chunks
        stock.chunks = piece.chunk
        stock.chunks_here += 1
    if piece.body != NULL:
        body_drop(piece.body)
    notes_free(&piece.notes)
    piece.next = stock.pieces
    stock.pieces = piece


cdef void stock_return_list(Stock* stock, Piece* piece) noexcept nogil:
    """`piece` and all that are linked behind it."""
    cdef Piece* next
    while piece != NULL:
        next = piece.next
        stock_return_piece(stock, piece)
        piece = next


cdef Batch* stock_batch(Stock* stock) noexcept nogil:
    """An empty batch, or NULL: none is here, make one without holding the lock."""
    cdef Batch* batch = stock.batches
    if batch != NULL:
        stock.batches = batch.spare
    return batch


cdef void stock_return_batch(Stock* stock, Batch* batch) noexcept nogil:
    """One reference less; with the last one the batch is empty again."""
    batch.references -= 1
    if batch.references > 0:
        return
    batch_clear(batch)
    batch.spare = stock.batches
    stock.batches = batch


cdef Chunk* stock_chunk(Stock* stock) noexcept nogil:
    """An empty chunk. NULL: as many as may be are in use, or memory has run out (then there will be no more)."""
    cdef Chunk* chunk = stock.chunks
    if chunk != NULL:
        stock.chunks = chunk.spare
        stock.chunks_here -= 1
    elif stock.chunk_count < stock.chunk_limit:
        chunk = chunk_new()
        if chunk != NULL:
            stock.chunk_count += 1
        else:
            stock.chunk_limit = stock.chunk_count
    return chunk
