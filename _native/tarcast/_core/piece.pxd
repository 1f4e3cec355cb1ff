# A run of the archive's bytes: names to be archived, a part of one large body, or a body that needs no memory of ours.
#
# Pieces lie in a list in archive order. One that turns out too large is divided:
# what is left becomes a piece of its own right behind it. Who works on a piece
# (state PIECE_FILLING) alone changes it; the list, states and places belong to
# the queue and its lock.

from libc.stdint cimport uint64_t

from tarcast._core.batch cimport Batch
from tarcast._core.body cimport Body
from tarcast._core.chunk cimport Chunk
from tarcast._core.note cimport Notes


cdef enum PieceKind:
    PIECE_NAMES         # what `body` has from `offset` on, if there is one, then items of `batch`
    PIECE_BODY          # `left` bytes of `body` from `offset` on, read into a chunk
    PIECE_DIRECT        # the same from the beginning, but written from file to output without a chunk


cdef enum PieceState:
    PIECE_QUEUED        # nobody works on it yet
    PIECE_FILLING
    PIECE_FILLED        # its size is known for good


cdef enum PieceOrder:
    # When a piece may be begun:
    ORDER_NONE          # at any time
    ORDER_SIZED         # when everything before it has its size, and so it a place: only data may still be missing
    ORDER_FILLED        # when everything before it is filled


cdef struct Piece:
    Piece* next             # in archive order; in the list of unused ones
    PieceKind kind
    PieceState state
    PieceOrder order
    bint failed             # the export ends here: nothing of it is written
    Batch* batch            # a reference
    size_t item             # the first of its items that is not archived yet
    size_t item_end         # behind the last one that belongs to the piece
    Body* body              # a reference
    uint64_t offset
    uint64_t left           # bytes of the body, without the padding behind its end
    Chunk* chunk
    uint64_t size           # bytes of archive, once filled
    uint64_t at             # offset in the archive, once everything before it is filled
    Notes notes


cdef inline bint piece_has_size(const Piece* piece) noexcept nogil:
    return piece.state == PIECE_FILLED or piece.kind == PIECE_BODY


cdef inline uint64_t piece_size(const Piece* piece) noexcept nogil:
    """Of a piece that has a size: in bytes of archive."""
    return piece.size if piece.state == PIECE_FILLED else (piece.left + 511) // 512 * 512
