# See fill.pxd. Functions give a Verdict.

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memset

from tarcast._core.batch cimport (
    BATCH_ADDED, BATCH_END, BATCH_ITEMS, BATCH_NAME, BATCH_OPENED, BATCH_PASSED, BATCH_TOP, Batch, BatchItem,
    batch_clear,
)
from tarcast._core.chunk cimport Chunk, chunk_reserve, chunk_room
from tarcast._core.collect cimport Found, Scratch, collect_link, scratch_free, scratch_init
from tarcast._core.entry cimport Entry
from tarcast._core.fill_body cimport fill_body, put_body, put_rest
from tarcast._core.gather cimport GATHERED_ALL, Gathered, gather
from tarcast._core.header cimport BLOCK, Plan, header_align, header_plan, header_write
from tarcast._core.links cimport links_add, links_find
from tarcast._core.note cimport FATAL, NOTICE, SKIPPED
from tarcast._core.pending cimport pending_clear, pending_leave, pending_open, pending_push
from tarcast._core.piece cimport ORDER_NONE, PIECE_BODY, Piece
from tarcast._core.pieces cimport pieces_divide, pieces_place
from tarcast._core.posix cimport (
    ENOENT, ENOTDIR, S_IFDIR, S_IFMT, S_IFREG, close, tc_add, tc_close, tc_fstat, tc_observe, tc_publish,
)
from tarcast._core.queue cimport queue_no_more
from tarcast._core.remap cimport remap_stat, whole_seconds
from tarcast._core.run cimport Root, Run, Worker
from tarcast._core.sparse cimport Sparse, sparse_free, sparse_scan
from tarcast._core.status cimport (
    STEP_ENCODE, STEP_OPEN, STEP_OUTPUT_INSIDE, STEP_READ_DIR, STEP_READ_XATTR, STEP_STAT, STEP_XATTR_NAME, Status,
    fail,
)
from tarcast._core.trouble cimport (
    AGAIN, CUT, DIVIDED, DONE, LEFT_OUT, STOP, attribute_problem, out_of_memory, problem, report, told_to_stop,
)
from tarcast._core.turn cimport needs_turn, open_item, too_many_bodies
from tarcast._core.xattr cimport XattrBuffer, xattr_name_fits, xattr_read


cdef enum:
    # A body below this is not worth a padded header and a call: it takes no longer to copy it.
    ALIGN_LEAST = 65536


cdef int worker_init(Worker* worker, Run* run, size_t number) noexcept nogil:
    """0, or -1 when out of memory (worker_free is still right to call)."""
    memset(worker, 0, sizeof(Worker))
    worker.run = run
    worker.number = number
    worker.path = b""
    return scratch_init(&worker.scratch) | scratch_init(&worker.ancestors)


cdef void worker_free(Worker* worker) noexcept nogil:
    scratch_free(&worker.scratch)
    scratch_free(&worker.ancestors)


# ---- one entry ----------------------------------------------------------


cdef int put_header(Worker* worker, Entry* entry, bint aligned) noexcept nogil:
    """Encode `entry` at the end of the chunk; `aligned` (only in turn): so that its body begins on a block."""
    cdef Chunk* chunk = worker.piece.chunk
    cdef Plan plan
    cdef Status status
    if not header_plan(entry, &plan):
        fail(&status, STEP_ENCODE, 0)
        status.seen = plan.needs.total
        if problem(worker, &status, NULL) != 0:
            return STOP
        # The rest of the entry can be kept: only its attributes are too large.
        entry.xattr_count = 0
        if not header_plan(entry, &plan):
            return report(worker, FATAL, &status, NULL)
    if aligned:
        header_align(entry, &plan, pieces_place(&worker.run.queue, worker.piece) + chunk.length)
    if not chunk_reserve(chunk, plan.size):
        return out_of_memory(worker)
    header_write(entry, &plan, chunk.data + chunk.length)
    chunk.length += plan.size
    tc_add(&worker.run.control.entries, 1)
    return DONE


cdef int load_attributes(Worker* worker, Scratch* scratch, int fd, int dirfd, const char* name,
                         Entry* entry) noexcept nogil:
    """Attributes of the entry into `scratch`; unreadable ones are left out with a notice (tar-bytes 4.3).

    LEFT_OUT when the entry is gone. One whose attributes cannot even be listed goes on without, if errors are skipped.
    """
    cdef XattrBuffer* found = &scratch.xattrs
    cdef Status status
    cdef size_t i
    cdef size_t kept = 0
    entry.xattr_count = 0
    entry.xattrs = NULL
    if xattr_read(found, fd, dirfd, name, &status) != 0:
        if problem(worker, &status, NULL) != 0:
            return STOP
        found.count = 0
        return LEFT_OUT if status.error == ENOENT or status.error == ENOTDIR else DONE
    for i in range(found.count):
        if found.items[i].error:
            if attribute_problem(worker, NOTICE, STEP_READ_XATTR, found.items[i].error, &found.items[i]) != 0:
                return STOP
            continue
        if kept < i:
            found.items[kept] = found.items[i]
        kept += 1
    found.count = kept
    entry.xattrs = found.items
    entry.xattr_count = kept
    return DONE


cdef int drop_unwritable_attributes(Worker* worker, XattrBuffer* found, Entry* entry) noexcept nogil:
    """Names that pax cannot hold: an error, or left out when errors are to be skipped (tar-bytes 0, 4.5)."""
    cdef size_t i
    cdef size_t kept = 0
    for i in range(entry.xattr_count):
        if not xattr_name_fits(&found.items[i]):
            if attribute_problem(worker, SKIPPED, STEP_XATTR_NAME, 0, &found.items[i]) != 0:
                return STOP
            continue
        if kept < i:
            found.items[kept] = found.items[i]
        kept += 1
    entry.xattr_count = kept
    return DONE


cdef bint may_be_linked(const Found* found) noexcept nogil:
    """Has it, being no directory, other names that may be in the archive too?"""
    return found.st.nlink > 1 and (found.st.mode & <unsigned int>S_IFMT) != <unsigned int>S_IFDIR


cdef bint may_be_aligned(const Run* run, const Found* found) noexcept nogil:
    return run.align and (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFREG \
        and found.st.size >= ALIGN_LEAST


cdef bint wants_turn(const Run* run, const Found* found) noexcept nogil:
    """Does its entry depend on what lies before it in the archive?"""
    return may_be_linked(found) or may_be_aligned(run, found)


cdef bint linked_before(const Worker* worker, const Found* found, Entry* entry) noexcept nogil:
    """Is it in the archive under another name? Then that is the entry's link."""
    if not links_find(&worker.run.links, found.st.dev, found.st.ino, &entry.link, &entry.link_length):
        return False
    # A part of an archive may bring a name once more, and it cannot be a link to itself.
    if entry.link_length == worker.path_length and memcmp(entry.link, worker.path, worker.path_length) == 0:
        entry.link = b""
        entry.link_length = 0
        return False
    return True


cdef int dress(Worker* worker, Scratch* scratch, const Found* found, int dirfd, const char* name,
               Entry* entry) noexcept nogil:
    """All of `entry` but its archive name, mapped; or LEFT_OUT."""
    cdef Run* run = worker.run
    cdef Status status
    cdef int64_t mtime_ns
    cdef int result
    # Where trees lie side by side a target that begins at the root stays in its tree.
    cdef size_t moved = 0 if run.named else worker.root.prefix_length
    entry.link = b""
    entry.link_length = 0
    if not remap_stat(&worker.root.remap, &found.st, entry, &mtime_ns):
        tc_add(&run.control.dropped, 1)
        return LEFT_OUT
    if entry.type == c'2':
        if collect_link(scratch, dirfd, name, worker.root.prefix, moved, entry, &status) != 0:
            return LEFT_OUT if problem(worker, &status, NULL) == DONE else STOP
    elif may_be_linked(found) and linked_before(worker, found, entry):
        entry.type = c'1'
        entry.size = 0
    result = load_attributes(worker, scratch, found.fd, dirfd, name, entry)
    if result != DONE:
        return result
    if worker.root.map != NULL:
        result = run.hooks.map(run.hooks.owner, worker.root.map, worker.path, worker.path_length, entry, mtime_ns,
                               &scratch.xattrs)
        if result < 0:
            return STOP
        if result == 0:
            tc_add(&run.control.dropped, 1)
            return LEFT_OUT
    if entry.xattr_count:
        return drop_unwritable_attributes(worker, &scratch.xattrs, entry)
    return DONE


cdef int put_ancestors(Worker* worker, BatchItem* item) noexcept nogil:
    """Write the directories above the entry in hand that were only passed through so far (tar-bytes 8.5)."""
    cdef Run* run = worker.run
    cdef Found found
    cdef Entry entry
    cdef Status status
    cdef size_t i
    cdef const char* path = worker.path
    cdef size_t path_length = worker.path_length
    cdef int above = -1
    cdef int result = DONE
    pending_leave(&run.pending, path, path_length)
    for i in range(run.pending.count):
        worker.path = run.pending.path
        worker.path_length = run.pending.dirs[i].length
        found.fd = pending_open(&run.pending, i, worker.root.fd, worker.root.prefix_length, above)
        if above >= 0:
            close(above)
        above = found.fd
        if found.fd < 0 or tc_fstat(found.fd, &found.st) != 0:
            fail(&status, STEP_STAT, -found.fd if found.fd < 0 else errno)
            result = problem(worker, &status, NULL)
        else:
            entry.name = run.pending.path
            entry.name_length = run.pending.dirs[i].length
            result = dress(worker, &worker.ancestors, &found, -1, b"", &entry)
            if result == DONE:
                result = put_header(worker, &entry, False)
        if result == STOP:
            break
    if above >= 0:
        close(above)
    worker.path = path
    worker.path_length = path_length
    if result == STOP:
        return STOP
    pending_clear(&run.pending)
    tc_publish(&item.dir.settled, 1)
    return DONE


cdef bint is_output(const Run* run, const Found* found) noexcept nogil:
    cdef size_t i
    for i in range(run.output_count):
        if run.outputs[i].ino == found.st.ino and run.outputs[i].dev == found.st.dev:
            return True
    return False


cdef int put_opened(Worker* worker, BatchItem* item, char* path, Found* found) noexcept nogil:
    """Write the entry that `found` describes, with its data. DONE whether written or left out."""
    cdef Run* run = worker.run
    cdef Entry entry
    cdef Status status
    cdef int result
    cdef Sparse* sparse = NULL
    cdef const char* first = NULL
    cdef size_t first_length = 0
    cdef bint directory = (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFDIR
    cdef int dirfd = item.dir.fd
    cdef const char* name = path + item.path_length - item.name_length
    if (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFREG and is_output(run, found):
        fail(&status, STEP_OUTPUT_INSIDE, 0)
        return report(worker, NOTICE, &status, NULL)
    result = dress(worker, &worker.scratch, found, dirfd, name, &entry)
    if result != DONE:
        return STOP if result == STOP else DONE
    if entry.type == c'0' and entry.size > 0 and found.fd < 0:
        fail(&status, STEP_OPEN, found.open_error)
        return problem(worker, &status, NULL)
    if may_be_linked(found) and entry.type != c'1' and entry.type != c'2':
        if not links_find(&run.links, found.st.dev, found.st.ino, &first, &first_length) \
                and not links_add(&run.links, found.st.dev, found.st.ino, path, item.path_length):
            return out_of_memory(worker)
    if not tc_observe(&item.dir.settled) and put_ancestors(worker, item) != DONE:
        return STOP
    if directory and item.own != NULL:
        tc_publish(&item.own.settled, 1)
    entry.name = path
    entry.name_length = item.path_length
    if directory:
        path[item.path_length] = c'/'       # the batch keeps a byte free for it
        entry.name_length += 1
    if entry.type == c'0' and entry.size > 0 and run.sparse and found.st.blocks * 512 < entry.size:
        if sparse_scan(found.fd, entry.size, &run.control, worker.number == 0, &sparse) != 0:
            return STOP if told_to_stop(worker) else out_of_memory(worker)
        if sparse != NULL:
            entry.sparse = True
            entry.real_size = entry.size
            entry.size = sparse.stored
    if put_header(worker, &entry, entry.type == c'0' and sparse == NULL and may_be_aligned(run, found)) != DONE:
        sparse_free(sparse)
        return STOP
    if entry.type == c'0' and entry.size > 0:
        return put_body(worker, item, found, &entry, sparse)
    return DONE


cdef int put_name(Worker* worker, BatchItem* item, char* path) noexcept nogil:
    cdef Found found
    cdef Status status
    cdef int result
    if not tc_observe(&item.dir.settled) and needs_turn(worker) != DONE:
        return AGAIN
    result = open_item(worker, item, path + item.path_length - item.name_length, &found, &status)
    if result == AGAIN:
        return AGAIN
    if result != DONE:
        return problem(worker, &status, NULL)
    if (wants_turn(worker.run, &found) and needs_turn(worker) != DONE) or too_many_bodies(worker, &found):
        result = AGAIN
    else:
        result = put_opened(worker, item, path, &found)
    if found.fd >= 0:
        tc_close(found.fd)
    return result


cdef int put_added(Worker* worker, BatchItem* item) noexcept nogil:
    """A file that is not the tree's: no map, no attributes, no links."""
    cdef const Root* root = worker.root
    cdef Found found
    cdef Entry entry
    cdef Status status
    cdef int result = open_item(worker, item, root.added[item.index].name, &found, &status)
    if result == AGAIN:
        return AGAIN
    if result != DONE or found.fd < 0:
        if result == DONE:
            fail(&status, STEP_OPEN, found.open_error)
        status.fatal = True
        return problem(worker, &status, NULL)
    if (may_be_aligned(worker.run, &found) and needs_turn(worker) != DONE) or too_many_bodies(worker, &found):
        tc_close(found.fd)
        return AGAIN
    memset(&entry, 0, sizeof(Entry))
    entry.name = worker.path
    entry.name_length = worker.path_length
    entry.link = b""
    entry.type = c'0'
    entry.mode = 0o600
    entry.size = found.st.size
    entry.mtime = whole_seconds(<int64_t>(<uint64_t>root.added_mtime * 1000000000))
    result = put_header(worker, &entry, may_be_aligned(worker.run, &found))
    if result == DONE and entry.size > 0:
        result = put_body(worker, item, &found, &entry, NULL)
    if found.fd >= 0:
        tc_close(found.fd)
    return result


cdef int put_directory(Worker* worker, BatchItem* item, char* path) noexcept nogil:
    """What the walk opened; its children are in the batch, or in later ones."""
    cdef Found found
    cdef Status status
    cdef int result
    if not tc_observe(&item.dir.settled) and needs_turn(worker) != DONE:
        return AGAIN
    found.fd = item.own.fd if item.own != NULL else -1
    found.open_error = item.open_error
    found.st = item.st
    if wants_turn(worker.run, &found) and needs_turn(worker) != DONE:
        return AGAIN
    result = put_opened(worker, item, path, &found)
    if result == DONE and found.fd < 0 and (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFDIR:
        fail(&status, STEP_READ_DIR, found.open_error)
        return problem(worker, &status, NULL)
    return result


cdef int pass_through(Worker* worker, BatchItem* item) noexcept nogil:
    """A directory that no pattern selects: its entry waits for a selected descendant."""
    if needs_turn(worker) != DONE:
        return AGAIN
    pending_leave(&worker.run.pending, worker.path, worker.path_length)
    if not pending_push(&worker.run.pending, item.own, item.st.dev, item.st.ino, worker.path, worker.path_length):
        return out_of_memory(worker)
    return DONE


cdef int put_top(Worker* worker) noexcept nogil:
    """The directory that stands for a tree beside others: 0755, root's, no time unless an epoch (tar-bytes 7.3)."""
    cdef const Root* root = worker.root
    cdef Entry entry
    memset(&entry, 0, sizeof(Entry))
    entry.name = root.prefix
    entry.name_length = root.prefix_length
    entry.link = b""
    entry.type = c'5'
    entry.mode = 0o755
    if root.remap.has_epoch:
        entry.mtime = whole_seconds(<int64_t>(<uint64_t>root.remap.epoch * 1000000000))
    return put_header(worker, &entry, False)


cdef int put_end(Worker* worker) noexcept nogil:
    """The two zero blocks that end an archive."""
    cdef Chunk* chunk = worker.piece.chunk
    if worker.run.part:
        return DONE
    if not chunk_reserve(chunk, 2 * BLOCK):
        return out_of_memory(worker)
    memset(chunk.data + chunk.length, 0, 2 * BLOCK)
    chunk.length += 2 * BLOCK
    return DONE


cdef int put_item(Worker* worker, Batch* batch, BatchItem* item) noexcept nogil:
    cdef char* path = batch.text + item.path
    worker.path = path
    worker.path_length = item.path_length
    if item.kind == BATCH_NAME:
        return put_name(worker, item, path)
    if item.kind == BATCH_ADDED:
        return put_added(worker, item)
    if item.kind == BATCH_OPENED:
        return put_directory(worker, item, path)
    if item.kind == BATCH_PASSED:
        return pass_through(worker, item)
    if item.kind == BATCH_TOP:
        return put_top(worker)
    if item.kind == BATCH_END:
        return put_end(worker)
    return problem(worker, &batch.problem, NULL)


cdef int fill_names(Worker* worker) noexcept nogil:
    """As many of the names as the chunk holds, or several chunks with bodies between them that need none."""
    cdef Run* run = worker.run
    cdef Batch* batch = worker.piece.batch
    cdef int result
    worker.tree = batch.tree
    worker.root = &run.roots[batch.tree] if batch.tree < run.root_count else NULL
    if worker.piece.body != NULL and put_rest(worker) != DONE:
        return STOP
    while worker.piece.item < worker.piece.item_end:
        if told_to_stop(worker):
            return STOP
        worker.waits_for = ORDER_NONE
        result = AGAIN if chunk_room(worker.piece.chunk) == 0 else put_item(worker, batch, &batch.items[worker.piece.item])
        if result == STOP:
            return STOP
        if result == DIVIDED or worker.piece == NULL:
            return DONE
        if result == AGAIN:
            if pieces_divide(&run.queue, worker.piece, NULL, 0, 0, worker.waits_for) != 0:
                return out_of_memory(worker)
            return DONE
        if result != CUT:
            worker.piece.item += 1
        if worker.piece.item == worker.piece.item_end and worker.root != NULL and worker.root.map != NULL \
                and walk_on(worker, batch) != DONE:
            return STOP
    return DONE


cdef int walk_on(Worker* worker, Batch* batch) noexcept nogil:
    """A map callable sees an entry before the walk looks at the next: so get that only now, if the chunk has room.

    Where descriptors ran out that is left to the next walk, which waits for them.
    """
    cdef Run* run = worker.run
    cdef Gathered got
    if not run.in_tree or chunk_room(worker.piece.chunk) == 0 or worker.piece.notes.count >= BATCH_ITEMS:
        return DONE
    batch_clear(batch)
    got = gather(run, batch, True, False)
    if got == GATHERED_ALL:
        queue_no_more(&run.queue)
    worker.piece.item = 0
    worker.piece.item_end = batch.count
    return DONE


cdef Piece* fill_piece(Worker* worker, Piece* piece, bint* failed) noexcept nogil:
    """Fill `piece` as far as its chunk goes; what is left becomes pieces behind it.

    Gives the piece that is filled now, which may be one of those; or NULL: somebody else goes on with it. If the
    export ends with it, `failed` is True and the reason is in its notes.
    """
    cdef int result
    worker.piece = piece
    worker.in_turn = False
    if piece.kind == PIECE_BODY:
        result = fill_body(worker, piece)
    else:
        result = fill_names(worker)
    failed[0] = result == STOP
    worker.path = b""
    worker.path_length = 0
    return worker.piece
