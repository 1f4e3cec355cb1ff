# See fill_body.pxd.

from libc.errno cimport errno
from libc.stdint cimport uint64_t
from libc.string cimport memset

from tarcast._core.batch cimport BatchItem
from tarcast._core.body cimport Body, body_drop, body_new, body_read, body_read_at
from tarcast._core.chunk cimport CHUNK_SIZE, CHUNK_TARGET, Chunk, chunk_reserve, chunk_room
from tarcast._core.collect cimport Found
from tarcast._core.entry cimport Entry
from tarcast._core.header cimport ALIGNMENT, BLOCK
from tarcast._core.output cimport output_takes
from tarcast._core.piece cimport ORDER_NONE, ORDER_SIZED, Piece
from tarcast._core.pieces cimport pieces_cut, pieces_divide
from tarcast._core.posix cimport F_DUPFD_CLOEXEC, close, fcntl, tc_add
from tarcast._core.run cimport Worker
from tarcast._core.sparse cimport Sparse, sparse_free
from tarcast._core.status cimport STEP_OPEN, Status, fail
from tarcast._core.trouble cimport CUT, DIVIDED, DONE, STOP, out_of_memory, problem

cdef enum:
    # How much of a large body one piece holds.
    BODY_SIZE = CHUNK_TARGET


cdef void pad(Chunk* chunk, uint64_t size) noexcept nogil:
    """Zeros from the end of a body of `size` bytes to the next block."""
    cdef size_t count = <size_t>((BLOCK - size % BLOCK) % BLOCK)
    memset(chunk.data + chunk.length, 0, count)
    chunk.length += count


cdef int put_body(Worker* worker, BatchItem* item, Found* found, const Entry* entry, Sparse* sparse) noexcept nogil:
    """Exactly entry.size bytes of the file and their padding, whatever it does meanwhile. Takes `sparse` (or NULL).

    The header has promised the size, so a shorter or unreadable file is filled
    up with zeros and a longer one is cut; either is reported.
    """
    cdef Chunk* chunk = worker.piece.chunk
    cdef uint64_t size = entry.size
    cdef bint holes = found.st.blocks * 512 < found.st.size
    cdef bint direct = sparse == NULL and output_takes(&worker.run.output, found.st.dev, size, holes)
    cdef bint fits = not direct and chunk.length + size + BLOCK <= <size_t>CHUNK_SIZE
    cdef Body* body
    cdef Status status
    cdef int result
    if fits and sparse == NULL:
        if not chunk_reserve(chunk, <size_t>size + BLOCK):
            return out_of_memory(worker)
        if body_read(found.fd, chunk.data + chunk.length, <size_t>size, &status) != 0 \
                and problem(worker, &status, NULL) != 0:
            return STOP
        chunk.length += <size_t>size
        pad(chunk, size)
        return DONE
    body = own_body(worker, item, found, size, holes, sparse)
    if body == NULL:
        return STOP
    if fits:
        result = put_part(worker, body, <size_t>size)
        if result == DONE:
            pad(chunk, size)
    elif direct:
        result = cut(worker, body)
    else:
        result = divide(worker, body)
    body_drop(body)
    return result


cdef Body* own_body(Worker* worker, BatchItem* item, Found* found, uint64_t size, bint holes,
                    Sparse* sparse) noexcept nogil:
    """A Body with the file's descriptor. NULL: not to be had, which ends the export, for the header is out."""
    cdef Body* body = NULL
    cdef Status status
    cdef int fd = found.fd
    if item.own != NULL:        # opened by the walk, and it may still need it
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    if fd >= 0:
        body = body_new(fd, &worker.run.queue.bodies, size, holes, sparse, worker.tree, worker.path,
                        worker.path_length)
    if body != NULL:
        found.fd = -1
        return body
    if fd < 0:
        fail(&status, STEP_OPEN, errno)
        status.fatal = True
        problem(worker, &status, NULL)
    else:
        if item.own != NULL:
            close(fd)
        out_of_memory(worker)
    sparse_free(sparse)
    return NULL


cdef int put_part(Worker* worker, Body* body, size_t size) noexcept nogil:
    """The first `size` bytes of `body` to the end of the chunk."""
    cdef Chunk* chunk = worker.piece.chunk
    cdef Status status
    if not chunk_reserve(chunk, size + BLOCK):
        return out_of_memory(worker)
    if body_read_at(body, chunk.data + chunk.length, 0, size, &status) != 0 \
            and problem(worker, &status, body) != 0:
        return STOP
    chunk.length += size
    return DONE


cdef int divide(Worker* worker, Body* body) noexcept nogil:
    """Fill the chunk with the beginning of a large body; the rest of it, and all names behind it, become pieces."""
    cdef Piece* piece = worker.piece
    # Where bodies are to be aligned, names wait until those before them have their places: do not keep them waiting.
    cdef bint aligned = worker.run.align
    cdef size_t begin = chunk_room(piece.chunk) if not aligned else 0
    cdef int result = DONE
    if begin > body.size:
        begin = <size_t>body.size // BLOCK * BLOCK
    piece.item += 1
    # Before anything is read: others may begin on the rest.
    if pieces_divide(&worker.run.queue, piece, body, begin, body.size - begin,
                     ORDER_SIZED if aligned else ORDER_NONE) != 0:
        return out_of_memory(worker)
    worker.path = body.path     # the names are somebody else's by now
    if begin > 0:
        result = put_part(worker, body, begin)
    return DIVIDED if result == DONE else result


cdef int cut(Worker* worker, Body* body) noexcept nogil:
    """Leave the body to the output, which moves it past our memory, and go on behind it in another chunk."""
    cdef Piece* piece = worker.piece
    cdef Piece* rest = NULL
    cdef uint64_t direct = body.size
    if worker.run.align:
        direct = direct // ALIGNMENT * ALIGNMENT    # only whole blocks can be shared
    tc_add(&worker.run.filled_bytes, piece.chunk.length + direct)
    piece.item += 1
    if pieces_cut(&worker.run.queue, piece, body, direct, &rest) != 0:
        return out_of_memory(worker)
    worker.piece = rest
    if rest != NULL and put_rest(worker) != DONE:
        return STOP
    return CUT


cdef int put_rest(Worker* worker) noexcept nogil:
    """What pieces_cut left of a body, as the first of the piece."""
    cdef Piece* piece = worker.piece
    cdef Body* body = piece.body
    cdef const char* path = worker.path
    cdef size_t path_length = worker.path_length
    cdef size_t size = <size_t>(body.size - piece.offset)
    cdef Status status
    cdef int result = DONE
    worker.path = body.path
    worker.path_length = body.path_length
    if not chunk_reserve(piece.chunk, size + BLOCK):
        result = out_of_memory(worker)
    else:
        if size > 0 and body_read_at(body, piece.chunk.data, piece.offset, size, &status) != 0:
            result = problem(worker, &status, body)
        piece.chunk.length = size
        pad(piece.chunk, body.size)
    worker.path = path
    worker.path_length = path_length
    piece.body = NULL
    body_drop(body)
    return result


cdef int fill_body(Worker* worker, Piece* piece) noexcept nogil:
    """The next part of a large body."""
    cdef Body* body = piece.body
    cdef size_t want = BODY_SIZE
    cdef Status status
    worker.tree = body.tree
    worker.path = body.path
    worker.path_length = body.path_length
    # A last part that is only a little longer is not worth a piece.
    if piece.left + BLOCK <= <uint64_t>CHUNK_SIZE:
        want = <size_t>piece.left
    elif pieces_divide(&worker.run.queue, piece, body, piece.offset + want, piece.left - want, ORDER_NONE) != 0:
        return out_of_memory(worker)
    if not chunk_reserve(piece.chunk, want + BLOCK):
        return out_of_memory(worker)
    if body_read_at(body, piece.chunk.data, piece.offset, want, &status) != 0 and problem(worker, &status, body) != 0:
        return STOP
    piece.chunk.length = want
    if piece.offset + want == body.size:
        pad(piece.chunk, body.size)
    return DONE
