# See gather.pxd.

from libc.errno cimport errno

from tarcast._core.batch cimport (
    BATCH_ADDED, BATCH_END, BATCH_ITEMS, BATCH_NAME, BATCH_OPENED, BATCH_PASSED, BATCH_PROBLEM, BATCH_TOP, Batch,
    BatchItem, batch_add,
)
from tarcast._core.collect cimport Found, collect_open
from tarcast._core.dirfd cimport Dirfd, dirfd_drop, dirfd_new, dirfd_take
from tarcast._core.gather cimport GATHERED_ALL, GATHERED_SOME, GATHERED_STARVED, Gathered
from tarcast._core.pending cimport pending_spare
from tarcast._core.posix cimport (
    DT_DIR, DT_REG, EACCES, EMFILE, ENFILE, ENOMEM, O_CLOEXEC, O_DIRECTORY, O_RDONLY, S_IFDIR, S_IFMT, close, openat,
    tc_fstat, tc_observe,
)
from tarcast._core.run cimport Added, Root, Run
from tarcast._core.status cimport STEP_CALLBACK, STEP_MEMORY, STEP_READ_DIR, Status, fail
from tarcast._core.walk cimport Item, walk_back, walk_begin, walk_enter, walk_next, walk_spare, walk_stops


cdef bint starved(int error) noexcept nogil:
    return error == EMFILE or error == ENFILE


cdef Gathered problem(Batch* batch, const Status* status, const char* path, size_t path_length) noexcept nogil:
    """End the batch with what went wrong at `path`; the walk may go on with the next one."""
    if batch_add(batch, BATCH_PROBLEM, NULL, path, path_length, 0) == NULL:
        return out_of_memory(batch)
    batch.problem = status[0]
    return GATHERED_SOME


cdef Gathered out_of_memory(Batch* batch) noexcept nogil:
    """There is always room for an item without a path of its own: the first one's text is big enough."""
    cdef BatchItem* item
    if batch.count == BATCH_ITEMS:
        batch.count -= 1
    item = &batch.items[batch.count]
    item.kind = BATCH_PROBLEM
    item.dir = item.own = NULL
    item.path = item.path_length = item.name_length = 0
    batch.count += 1
    fail(&batch.problem, STEP_MEMORY, ENOMEM)
    return GATHERED_SOME


cdef int compare_paths(const char* a, size_t a_length, const char* b, size_t b_length) noexcept nogil:
    """Archive order: by bytes, a slash before everything else."""
    cdef size_t i
    cdef unsigned char left
    cdef unsigned char right
    for i in range(min(a_length, b_length)):
        left = 0 if a[i] == c'/' else <unsigned char>a[i]
        right = 0 if b[i] == c'/' else <unsigned char>b[i]
        if left != right:
            return 1 if left > right else -1
    return (a_length > b_length) - (a_length < b_length)


cdef int open_added(Run* run, const Root* root) noexcept nogil:
    """Get ready for the files that were added to the tree. 0, or the errno."""
    cdef int fd
    run.added = 0
    if run.added_dir != NULL:
        dirfd_drop(run.added_dir)
        run.added_dir = NULL
    if root.added_count == 0:
        return 0
    fd = openat(root.added_fd, b".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if fd < 0:
        return errno
    run.added_dir = dirfd_new(fd, True, &run.queue.dirfds)
    return 0 if run.added_dir != NULL else ENOMEM


cdef bint put_added_before(Run* run, Batch* batch, const Item* item) noexcept nogil:
    """Is an added file in turn, before `item` or in its place? Then it is in the batch; NULL: at the tree's end.

    An item that keeps its place is given by the walk once more.
    """
    cdef const Root* root = &run.roots[run.tree]
    cdef const Added* added = &root.added[run.added]
    cdef BatchItem* put
    cdef int order = -1
    if run.added == root.added_count:
        return False
    if item != NULL:
        order = compare_paths(added.path, added.path_length, item.path, item.path_length)
        if order > 0:
            return False
    put = batch_add(batch, BATCH_ADDED, run.added_dir, added.path, added.path_length, added.path_length)
    if put == NULL:
        out_of_memory(batch)
        return True
    put.type = DT_REG
    put.index = run.added
    run.added += 1
    if item != NULL and (order < 0 or item.kind == DT_DIR):
        walk_back(&run.walker)
    return True


cdef bint add_itself(Run* run, Batch* batch, Dirfd* dir) noexcept nogil:
    """The tree's directory as an entry of the name that is the prefix. False: the batch has a problem instead."""
    cdef const Root* root = &run.roots[run.tree]
    cdef BatchItem* added = batch_add(batch, BATCH_OPENED, dir, root.prefix, root.prefix_length - 1, 0)
    if added == NULL:
        out_of_memory(batch)
        return False
    added.type = DT_DIR
    added.own = dirfd_take(dir)
    if tc_fstat(dir.fd, &added.st) != 0:
        added.open_error = errno        # then walk_begin fails too
    return True


cdef int begin_tree(Run* run, Batch* batch, bint alone) noexcept nogil:
    """The next tree's first item, if it has a directory of its own, and its walk. -1: nothing comes of it."""
    cdef const Root* root = &run.roots[run.tree]
    cdef Status status
    cdef Dirfd* dir = NULL
    cdef int result
    # A descriptor of our own: its position in the directory is nobody else's.
    cdef int fd = openat(root.fd, b".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    cdef int error = errno if fd < 0 else open_added(run, root)
    if error and fd >= 0:
        close(fd)
        fd = -1
    if fd < 0 and starved(error) and not alone:
        return 1
    if root.prefix_length and not run.named and batch_add(batch, BATCH_TOP, NULL, root.prefix, root.prefix_length, 0) == NULL:
        if fd >= 0:
            close(fd)
        out_of_memory(batch)
        return -1
    if fd < 0:
        fail(&status, STEP_READ_DIR, error)
    else:
        dir = dirfd_new(fd, True, &run.queue.dirfds)
        if dir == NULL:
            out_of_memory(batch)
            return -1
        if root.prefix_length and run.named and not add_itself(run, batch, dir):
            dirfd_drop(dir)
            return -1
        result = walk_begin(&run.walker, dir, root.prefix, root.prefix_length, root.includes, root.excludes, &status)
        dirfd_drop(dir)
        if result == 0:
            run.in_tree = True
            return 0
    # A tree that cannot be read at all ends the export, whatever is to be skipped.
    status.fatal = True
    problem(batch, &status, root.prefix, root.prefix_length)
    return -1


cdef Gathered add_directory(Run* run, Batch* batch, const Item* item, bint alone) noexcept nogil:
    """Open it, add it, and have the walk go on inside it."""
    cdef Found found
    cdef Status status
    cdef BatchItem* added
    cdef Dirfd* dir = NULL
    cdef bint directory
    cdef int result
    while True:
        result = collect_open(&run.walk_scratch, item.dir.fd, item.name, DT_DIR, &found, &status)
        if result != 0 and not starved(status.error):
            return problem(batch, &status, item.path, item.path_length)
        if result == 0 and not starved(found.open_error):
            break
        if walk_spare(&run.walker) or (alone and pending_spare(&run.pending)):
            continue
        if not alone:
            walk_back(&run.walker)
            return GATHERED_STARVED
        break
    directory = (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFDIR
    if found.fd >= 0:
        dir = dirfd_new(found.fd, item.selected and tc_observe(&item.dir.settled), &run.queue.dirfds)
        if dir == NULL:
            return out_of_memory(batch)
    elif not item.selected:
        if found.open_error and found.open_error != EACCES:     # unreadable and unwanted: tar-bytes 10.2
            fail(&status, STEP_READ_DIR, found.open_error)
            return problem(batch, &status, item.path, item.path_length)
        return GATHERED_SOME
    if not item.selected and not directory:
        dirfd_drop(dir)
        return GATHERED_SOME
    added = batch_add(batch, BATCH_OPENED if item.selected else BATCH_PASSED, item.dir, item.path, item.path_length,
                      item.name_length)
    if added == NULL:
        if dir != NULL:
            dirfd_drop(dir)
        return out_of_memory(batch)
    added.type = item.kind
    added.own = dir
    added.open_error = found.open_error
    added.st = found.st
    if dir == NULL or not directory:
        return GATHERED_SOME
    if walk_enter(&run.walker, item, dir, &added.st, &status) == 0:
        return GATHERED_SOME
    # walk_enter has put a slash behind the path; the length leaves it out.
    return problem(batch, &status, item.path, item.path_length)


cdef Gathered add_end(Run* run, Batch* batch) noexcept nogil:
    """The end of the archive, if this was the last tree."""
    if run.tree < run.root_count:
        return GATHERED_SOME
    return GATHERED_ALL if batch_add(batch, BATCH_END, NULL, b"", 0, 0) != NULL else out_of_memory(batch)


cdef Gathered gather(Run* run, Batch* batch, bint caller, bint alone) noexcept nogil:
    """Fill `batch`, which is empty, with the next items.

    `caller` says that this is the thread that called `run`, `alone` that nobody
    else holds a descriptor that it will give back.
    """
    cdef Item item
    cdef Status status
    cdef BatchItem* added
    cdef Gathered result
    cdef size_t most = tc_observe(&run.batch_items)
    cdef int got
    run.walker.caller = caller
    while not run.in_tree:
        if run.tree == run.root_count:
            return add_end(run, batch)
        batch.tree = run.tree
        got = begin_tree(run, batch, alone)
        if got > 0:
            return GATHERED_STARVED
        if got < 0:
            return GATHERED_SOME
    batch.tree = run.tree
    if run.roots[run.tree].map != NULL:
        most = 1
    while batch.count < most:
        if batch.count > 0 and tc_observe(&run.queue.dirfds) >= run.queue.dirfd_limit:
            return GATHERED_SOME
        got = walk_next(&run.walker, &item, &status)
        if got >= 0 and put_added_before(run, batch, &item if got > 0 else NULL):
            if batch.items[batch.count - 1].kind == BATCH_PROBLEM:
                return GATHERED_SOME
            continue
        if got == 0:
            run.in_tree = False
            run.tree += 1
            return add_end(run, batch)
        if got < 0:
            return problem(batch, &status, item.path, item.path_length)
        if item.kind == DT_DIR:
            if walk_stops(&run.walker):
                fail(&status, STEP_CALLBACK, 0)
                return problem(batch, &status, item.path, item.path_length)
            result = add_directory(run, batch, &item, alone)
            if result != GATHERED_SOME or (batch.count > 0 and batch.items[batch.count - 1].kind == BATCH_PROBLEM):
                return result
            continue
        added = batch_add(batch, BATCH_NAME, item.dir, item.path, item.path_length, item.name_length)
        if added == NULL:
            return out_of_memory(batch)
        added.type = item.kind
    return GATHERED_SOME
