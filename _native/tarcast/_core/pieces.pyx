# See pieces.pxd. Names that end in `_locked` are called with the queue's lock held.

from libc.stdint cimport uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

from tarcast._core.batch cimport BATCH_ITEMS, Batch, batch_new
from tarcast._core.body cimport Body, body_take
from tarcast._core.note cimport notes_move
from tarcast._core.piece cimport (
    ORDER_NONE, ORDER_SIZED, PIECE_BODY, PIECE_DIRECT, PIECE_FILLED, PIECE_FILLING, PIECE_NAMES, Piece, PieceOrder,
    piece_has_size, piece_size,
)
from tarcast._core.posix cimport pthread_mutex_unlock, tc_observe
from tarcast._core.queue cimport (
    READY_BYTES, READY_COUNT, Job, Queue, queue_done_locked, queue_enter, queue_has_chunk_locked, queue_stop_locked,
    queue_wake_locked,
)
from tarcast._core.stock cimport (
    stock_batch, stock_chunk, stock_piece, stock_return_batch, stock_return_list, stock_return_piece,
)

cdef enum:
    # Names that go on together behind a large body while workers have nothing to do.
    SPLIT_ITEMS = 8


# ---- the walk -----------------------------------------------------------


cdef Batch* pieces_batch(Queue* queue) noexcept nogil:
    """An empty batch for who walks, to be given back with pieces_walked; NULL when out of memory."""
    cdef Batch* batch
    if not queue_enter(queue):
        return NULL
    batch = stock_batch(&queue.stock)
    pthread_mutex_unlock(&queue.lock)
    if batch == NULL:
        batch = batch_new()
    if batch != NULL:
        batch.references = 1
    return batch


cdef void remember_path_locked(Queue* queue, const char* path, size_t length) noexcept nogil:
    cdef char* grown
    if length > queue.path_capacity:
        grown = <char*>realloc(queue.path, length * 2)
        if grown == NULL:
            return
        queue.path = grown
        queue.path_capacity = length * 2
    if length > 0:
        memcpy(queue.path, path, length)
    queue.path_length = length


cdef int pieces_walked(Queue* queue, Batch* batch, bint last, bint out_of_descriptors) noexcept nogil:
    """The walk gave `batch`, perhaps empty; `last`: there will be no more. 0, or -1: out of memory."""
    cdef Piece* piece = NULL
    cdef int result = 0
    if not queue_enter(queue):
        return -1
    if batch.count > 0:
        remember_path_locked(queue, batch.text + batch.items[batch.count - 1].path,
                             batch.items[batch.count - 1].path_length)
        piece = stock_piece(&queue.stock, PIECE_NAMES)
        if piece == NULL:
            result = -1
    if piece != NULL:
        piece.batch = batch
        piece.item_end = batch.count
        queue.queued += 1
        queue.names += 1
        if queue.last == NULL:
            queue.first = piece
        else:
            queue.last.next = piece
        queue.last = piece
    else:
        stock_return_batch(&queue.stock, batch)
    queue.walking = False
    queue.walked = last
    queue.walks_alone = out_of_descriptors
    queue_done_locked(queue)
    pthread_mutex_unlock(&queue.lock)
    return result


# ---- pieces -------------------------------------------------------------


cdef void link_behind_locked(Queue* queue, Piece* piece, Piece* new) noexcept nogil:
    new.next = piece.next
    piece.next = new
    if queue.last == piece:
        queue.last = new


cdef bint give_names_locked(Queue* queue, Piece* piece, PieceOrder order) noexcept nogil:
    """All items that `piece` has left go to pieces of their own behind it. False: out of memory.

    Where workers have nothing to do there are many pieces, so that several may go on at once.
    """
    cdef size_t most = SPLIT_ITEMS if queue.waiting > 0 and order == ORDER_NONE and not queue.caller_fills else BATCH_ITEMS
    cdef Piece* last = piece
    cdef Piece* tail
    while piece.item < piece.item_end:
        tail = stock_piece(&queue.stock, PIECE_NAMES)
        if tail == NULL:
            return False
        tail.batch = piece.batch
        tail.batch.references += 1
        tail.order = order
        tail.item = piece.item
        tail.item_end = piece.item + most if piece.item_end - piece.item > most else piece.item_end
        piece.item = tail.item_end
        queue.queued += 1
        queue.names += 1
        link_behind_locked(queue, last, tail)
        last = tail
    stock_return_batch(&queue.stock, piece.batch)
    piece.batch = NULL
    return True


cdef int pieces_divide(Queue* queue, Piece* piece, Body* body, uint64_t offset, uint64_t left,
                      PieceOrder order) noexcept nogil:
    """Put what is left behind `piece`: a part of `body` if not NULL, then its items. 0, or -1: out of memory.

    `body` gets a reference more. `order` says when those items may go on.
    """
    cdef Piece* rest = NULL
    cdef bint enough = True
    if not queue_enter(queue):
        return -1
    if body != NULL:
        rest = stock_piece(&queue.stock, PIECE_BODY)
        enough = rest != NULL
    if enough and piece.batch != NULL:
        enough = give_names_locked(queue, piece, order)
    if rest != NULL:
        rest.body = body_take(body)
        rest.offset = offset
        rest.left = left
        if piece.kind == PIECE_BODY:
            piece.left -= left
        queue.queued += 1
        link_behind_locked(queue, piece, rest)
    queue_wake_locked(queue)
    pthread_mutex_unlock(&queue.lock)
    return 0 if enough else -1


cdef int pieces_cut(Queue* queue, Piece* piece, Body* body, uint64_t direct, Piece** rest) noexcept nogil:
    """End `piece` here; behind it come `direct` bytes of `body`, past our memory, then what is left. 0, or -1: no memory.

    `rest` is what is left: the end of the body with its padding, then the names. It is the worker's to go on with, like
    `piece` before; or NULL: there is no chunk for it, or enough is waiting to be written, and somebody takes it later.
    """
    cdef Piece* middle = NULL
    cdef Piece* tail = NULL
    if not queue_enter(queue):
        return -1
    middle = stock_piece(&queue.stock, PIECE_DIRECT)
    tail = stock_piece(&queue.stock, PIECE_NAMES)
    if middle == NULL or tail == NULL:
        if middle != NULL:
            stock_return_piece(&queue.stock, middle)
        if tail != NULL:
            stock_return_piece(&queue.stock, tail)
        pthread_mutex_unlock(&queue.lock)
        return -1
    tail.batch = piece.batch
    tail.item = piece.item
    tail.item_end = piece.item_end
    piece.batch = NULL
    tail.order = piece.order
    tail.body = body_take(body)
    tail.offset = direct
    middle.body = body_take(body)
    middle.left = middle.size = direct
    middle.state = PIECE_FILLED
    piece.size = piece.chunk.length
    piece.state = PIECE_FILLED
    link_behind_locked(queue, piece, tail)
    link_behind_locked(queue, piece, middle)
    if queue.first == piece:
        place_locked(queue)
    rest[0] = NULL
    if not queue.sated and queue_has_chunk_locked(queue, tail):
        tail.chunk = stock_chunk(&queue.stock)
    if tail.chunk != NULL:
        tail.state = PIECE_FILLING
        rest[0] = tail
    else:
        queue.queued += 1
    queue_wake_locked(queue)
    pthread_mutex_unlock(&queue.lock)
    return 0


cdef bint pieces_in_turn(Queue* queue, Piece* piece, PieceOrder order) noexcept nogil:
    """Does `order` hold for `piece`, which is being filled? Once it does, it goes on to."""
    cdef const Piece* before
    cdef bint result = True
    if not queue_enter(queue):
        return False
    before = queue.first
    while before != piece and result:
        result = order == ORDER_SIZED and piece_has_size(before)
        before = before.next
    pthread_mutex_unlock(&queue.lock)
    return result


cdef uint64_t pieces_place(Queue* queue, Piece* piece) noexcept nogil:
    """The offset in the archive where `piece`, which is in turn, begins."""
    cdef const Piece* before
    cdef uint64_t result
    if not queue_enter(queue):
        return 0
    result = queue.end
    before = queue.first
    while before != piece:
        result += piece_size(before)
        before = before.next
    pthread_mutex_unlock(&queue.lock)
    return result


cdef void say_in_turn_locked(Queue* queue, Piece* piece) noexcept nogil:
    """The notes of a piece of which nothing is written come behind those of what is written before it."""
    if queue.ready_last != NULL:
        notes_move(&piece.notes, &queue.ready_last.notes)
    else:
        notes_move(&piece.notes, &queue.later if queue.writing else &queue.notes)


cdef void end_if_written_locked(Queue* queue) noexcept nogil:
    """After a piece that failed: what is before it goes out first, and may fail itself."""
    if queue.ending and queue.ready == NULL and not queue.writing:
        queue_stop_locked(queue)


cdef void place_locked(Queue* queue) noexcept nogil:
    """Give a place to every piece that has only filled ones before it."""
    cdef Piece* piece = queue.first
    while piece != NULL and piece.state == PIECE_FILLED and not queue.ending:
        queue.untold += piece.notes.count
        if piece.failed:
            say_in_turn_locked(queue, piece)
            queue.ending = True
            end_if_written_locked(queue)
            return
        queue.first = piece.next
        if queue.first == NULL:
            queue.last = NULL
        piece.at = queue.end
        queue.end += piece.size
        piece.next = NULL
        if piece.size == 0:
            say_in_turn_locked(queue, piece)
            stock_return_piece(&queue.stock, piece)
        else:
            if queue.ready_last == NULL:
                queue.ready = piece
            else:
                queue.ready_last.next = piece
            queue.ready_last = piece
            queue.ready_count += 1
            if piece.chunk != NULL:
                queue.ready_bytes += piece.chunk.length
            if queue.ready_count >= READY_COUNT or queue.ready_bytes >= READY_BYTES \
                    or tc_observe(&queue.bodies) >= queue.body_limit:
                queue.sated = True
        piece = queue.first


cdef void pieces_filled(Queue* queue, Piece* piece, bint failed) noexcept nogil:
    """`piece` is complete in its chunk, or has failed."""
    if not queue_enter(queue):
        return
    piece.failed = failed
    piece.state = PIECE_FILLED
    piece.size = piece.chunk.length
    if piece.kind == PIECE_NAMES:
        queue.names -= 1
    if piece.batch != NULL:
        stock_return_batch(&queue.stock, piece.batch)
        piece.batch = NULL
    if failed:
        queue.failing = True
    if queue.first == piece:
        place_locked(queue)
    queue_done_locked(queue)
    pthread_mutex_unlock(&queue.lock)


cdef void pieces_left(Queue* queue) noexcept nogil:
    """The worker has nothing in hand any more: pieces_cut left the rest to others."""
    if not queue_enter(queue):
        return
    queue_done_locked(queue)
    pthread_mutex_unlock(&queue.lock)


cdef void pieces_written(Queue* queue, Job* job) noexcept nogil:
    """The job is done, or failed, and then the export has been stopped."""
    cdef Piece* piece = job.piece
    if not queue_enter(queue):
        return
    if not queue.stopped:
        while piece != NULL:
            notes_move(&piece.notes, &queue.notes)
            piece = piece.next
        notes_move(&queue.later, &queue.notes)
    stock_return_list(&queue.stock, job.piece)
    queue.writing = False
    end_if_written_locked(queue)
    queue_done_locked(queue)
    pthread_mutex_unlock(&queue.lock)
