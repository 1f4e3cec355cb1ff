# See pipeline.pxd. Functions give 0 to go on and -1 to unwind, with the reason reported.

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from tarcast._core.body cimport body_read
from tarcast._core.chunk cimport CHUNK_BODIES, Body, Chunk, chunk_add_body, chunk_room
from tarcast._core.collect cimport Found, Scratch, collect_link, collect_open, scratch_free, scratch_init
from tarcast._core.control cimport TICK_MS, control_cancelled, control_stops
from tarcast._core.entry cimport Entry, Xattr
from tarcast._core.header cimport BLOCK, Plan, header_plan, header_write
from tarcast._core.links cimport links_add, links_clear, links_find
from tarcast._core.pipeline cimport FATAL, NOTICE, SKIPPED, Root, Run, Severity
from tarcast._core.pool cimport POOL_CHUNKS, pool_drain, pool_free, pool_init, pool_start, pool_submit
from tarcast._core.posix cimport (
    DT_DIR, EACCES, EAGAIN, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM, ENOTDIR, O_CLOEXEC, O_DIRECTORY, O_RDONLY, S_IFDIR, S_IFMT, S_IFREG,
    close, openat, read, tc_add, tc_descriptor_limit, tc_fstat, tc_pause, tc_publish,
)
from tarcast._core.remap cimport remap_stat, whole_seconds
from tarcast._core.status cimport (
    STEP_CALLBACK, STEP_ENCODE, STEP_MEMORY, STEP_OPEN, STEP_OUTPUT_INSIDE, STEP_READ_DATA, STEP_READ_DIR,
    STEP_READ_XATTR, STEP_REPORTED, STEP_SHRANK, STEP_STAT, STEP_XATTR_NAME, Status, Step, fail,
)
from tarcast._core.walk cimport Item, Level, walk_begin, walk_enter, walk_free, walk_init, walk_next, walk_reach, walk_spare
from tarcast._core.xattr cimport XattrBuffer, xattr_name_fits, xattr_read


cdef enum:
    # The kernel takes a lease away after 45 seconds unless /proc/sys/fs/lease-break-time says otherwise.
    LEASE_WAITS = 60000 // TICK_MS


cdef int run_init(Run* run) noexcept nogil:
    """0, or -1 when out of memory (run_free is still right to call)."""
    if (walk_init(&run.walker) | scratch_init(&run.scratch) | scratch_init(&run.ancestors)
            | pool_init(&run.pool, &run.sink, &run.control)) != 0:
        return -1
    run.walker.control = &run.control
    run.pool.finish = finish_chunk
    run.pool.owner = run
    if run.threaded and pool_start(&run.pool) == 0:     # without a thread to be had, all is done on this one
        # The open bodies of the whole ring must not use up the process's descriptors. What looks at the
        # bytes on this thread needs them complete.
        run.defers = run.hooks.observe == NULL and tc_descriptor_limit() >= 4 * POOL_CHUNKS * CHUNK_BODIES // 2
    run.path = b""
    run.path_length = 0
    return 0


cdef void run_free(Run* run) noexcept nogil:
    """Also for a Run of zeros, and twice."""
    pool_free(&run.pool)
    walk_free(&run.walker)
    scratch_free(&run.scratch)
    scratch_free(&run.ancestors)
    links_clear(&run.links)
    run.path = b""
    run.path_length = 0


# ---- what went wrong, and whether to go on ------------------------------


cdef void report(Run* run, Severity severity, const Status* status) noexcept nogil:
    run.hooks.report(run.hooks.owner, severity, status, run.tree, run.path, run.path_length)


cdef int give_up(Run* run, const Status* status) noexcept nogil:
    if status.step != STEP_REPORTED:
        report(run, FATAL, status)
    return -1


cdef int problem(Run* run, const Status* status) noexcept nogil:
    """An entry cannot be written as it is: 0 when such entries are to be skipped, else -1."""
    if not run.skip_errors or status.step == STEP_MEMORY or status.step == STEP_CALLBACK \
            or status.step == STEP_REPORTED:
        return give_up(run, status)
    report(run, SKIPPED, status)
    tc_add(&run.control.skipped, 1)
    return 0


cdef int attribute_problem(Run* run, Severity severity, Step step, int error, const Xattr* item) noexcept nogil:
    """A matter of one attribute. A NOTICE never ends the export, SKIPPED does unless errors are to be skipped."""
    cdef Status status
    cdef size_t length = item.name_length if item.name_length < sizeof(status.detail) else sizeof(status.detail) - 1
    fail(&status, step, error)
    memcpy(status.detail, item.name, length)
    status.detail[length] = 0
    if severity == NOTICE:
        report(run, NOTICE, &status)
        return 0
    return problem(run, &status)


# ---- output -------------------------------------------------------------


cdef int flush(Run* run) noexcept nogil:
    """Hand the chunk to the observer and on its way to the sink; another, empty one takes its place."""
    cdef Status status
    cdef Chunk* chunk = run.pool.filling
    if run.hooks.observe != NULL and run.hooks.observe(run.hooks.owner, chunk.data, chunk.length) != 0:
        fail(&status, STEP_CALLBACK, 0)
        return give_up(run, &status)
    if pool_submit(&run.pool, &status) != 0:
        return give_up(run, &status)
    return 0


cdef int finish_chunk(void* owner, Chunk* chunk) noexcept nogil:
    """Read the bodies that `chunk` left open, in order. 0, or -1 after the reason was reported.

    Runs on the thread that writes: of the Run it touches only what never changes,
    what the hooks guard with the GIL, and atomic counters.
    """
    cdef Run* run = <Run*>owner
    cdef Status status
    cdef Body* body
    cdef size_t i
    cdef int result
    for i in range(chunk.body_count):
        body = &chunk.bodies[i]
        if control_cancelled(&run.control):
            return -1
        result = body_read(body.fd, chunk.data + body.offset, body.size, &status)
        close(body.fd)
        body.fd = -1
        if result != 0:
            run.hooks.report(run.hooks.owner, SKIPPED if run.skip_errors else FATAL, &status, body.tree,
                             chunk.paths + body.path, body.path_length)
            if not run.skip_errors:
                return -1
            tc_add(&run.control.skipped, 1)
    return 0


cdef int drain(Run* run) noexcept nogil:
    """Wait until everything that was flushed is written."""
    cdef Status status
    return give_up(run, &status) if pool_drain(&run.pool, &status) != 0 else 0


cdef int flush_when_full(Run* run) noexcept nogil:
    return flush(run) if chunk_room(run.pool.filling) == 0 else 0


cdef void put_zeros(Run* run, size_t count) noexcept nogil:
    cdef Chunk* chunk = run.pool.filling
    memset(chunk.data + chunk.length, 0, count)
    chunk.length += count


cdef int put_header(Run* run, Entry* entry) noexcept nogil:
    """Encode `entry` at the end of the chunk, which has room for any header below its target."""
    cdef Plan plan
    cdef Status status
    if not header_plan(entry, &plan):
        fail(&status, STEP_ENCODE, 0)
        status.seen = plan.needs.total
        if problem(run, &status) != 0:
            return -1
        # The rest of the entry can be kept: only its attributes are too large.
        entry.xattr_count = 0
        if not header_plan(entry, &plan):
            return give_up(run, &status)
    header_write(entry, &plan, run.pool.filling.data + run.pool.filling.length)
    run.pool.filling.length += plan.size
    tc_publish(&run.control.entries, run.control.entries + 1)
    return flush_when_full(run)


cdef int put_body(Run* run, Found* found, uint64_t size) noexcept nogil:
    """Exactly `size` bytes of the file and their padding, whatever it does meanwhile.

    The header has promised the size, so a shorter or unreadable file is filled
    up with zeros and a longer one is cut; either is reported. What fits into the
    chunk may be left for the other thread to read.
    """
    cdef Chunk* chunk = run.pool.filling
    cdef uint64_t left = size
    cdef uint64_t got
    cdef size_t want
    cdef Status status
    while left > 0:
        want = chunk_room(chunk)
        if left <= want:
            want = <size_t>left
            if left == size and run.defers and chunk_add_body(chunk, found.fd, want, run.tree, run.path,
                                                              run.path_length):
                found.fd = -1
                break
            # The last piece: this is where growth shows.
            if body_read(found.fd, chunk.data + chunk.length, want, &status) != 0:
                if body_problem(run, &status, size, left) != 0:
                    return -1
            chunk.length += want
            break
        if read_piece(run, found.fd, want, &status) != 0:
            got = status.seen
            if body_problem(run, &status, size, left) != 0:
                return -1
            return put_zeros_for(run, left - got, size)
        left -= want
        if flush_when_full(run) != 0:
            return -1
        chunk = run.pool.filling
    put_zeros(run, <size_t>((BLOCK - size % BLOCK) % BLOCK))
    return flush_when_full(run)


cdef int read_piece(Run* run, int fd, size_t want, Status* status) noexcept nogil:
    """`want` bytes of `fd` into the chunk, or -1 with `status`: then only the `seen` bytes that there were."""
    cdef Chunk* chunk = run.pool.filling
    cdef size_t done = 0
    cdef ssize_t got
    while done < want:
        got = read(fd, chunk.data + chunk.length + done, want - done)
        if got > 0:
            done += <size_t>got
        elif got == 0 or errno != EINTR:
            fail(status, STEP_READ_DATA if got < 0 else STEP_SHRANK, errno if got < 0 else 0)
            status.seen = done
            chunk.length += done
            return -1
        else:
            run.control.next_tick = 0
            if control_stops(&run.control):
                return fail(status, STEP_CALLBACK, 0)
    chunk.length += want
    return 0


cdef int body_problem(Run* run, Status* status, uint64_t size, uint64_t left) noexcept nogil:
    """Report what is wrong with a body of `size` bytes of which `left` were still to come."""
    status.expected = size
    status.seen += size - left
    return problem(run, status)


cdef int put_zeros_for(Run* run, uint64_t left, uint64_t size) noexcept nogil:
    """Zeros for the `left` bytes of a body that are not to be had, and the padding of its `size`."""
    cdef size_t want
    while left > 0:
        want = chunk_room(run.pool.filling)
        if left < want:
            want = <size_t>left
        put_zeros(run, want)
        left -= want
        if flush_when_full(run) != 0:
            return -1
    put_zeros(run, <size_t>((BLOCK - size % BLOCK) % BLOCK))
    return flush_when_full(run)


# ---- one entry ----------------------------------------------------------


cdef int load_attributes(Run* run, Scratch* scratch, int fd, int dirfd, const char* name, Entry* entry) noexcept nogil:
    """Attributes of the entry into `scratch`; unreadable ones are left out with a notice (tar-bytes 4.3).

    1 when the entry is gone. One whose attributes cannot even be listed goes on without, if errors are skipped.
    """
    cdef XattrBuffer* found = &scratch.xattrs
    cdef Status status
    cdef size_t i
    cdef size_t kept = 0
    entry.xattr_count = 0
    entry.xattrs = NULL
    if xattr_read(found, fd, dirfd, name, &status) != 0:
        if problem(run, &status) != 0:
            return -1
        found.count = 0
        return 1 if status.error == ENOENT or status.error == ENOTDIR else 0
    for i in range(found.count):
        if found.items[i].error:
            if attribute_problem(run, NOTICE, STEP_READ_XATTR, found.items[i].error, &found.items[i]) != 0:
                return -1
            continue
        if kept < i:
            found.items[kept] = found.items[i]
        kept += 1
    found.count = kept
    entry.xattrs = found.items
    entry.xattr_count = kept
    return 0


cdef int drop_unwritable_attributes(Run* run, XattrBuffer* found, Entry* entry) noexcept nogil:
    """Names that pax cannot hold: an error, or left out when errors are to be skipped (tar-bytes 0, 4.5)."""
    cdef size_t i
    cdef size_t kept = 0
    for i in range(entry.xattr_count):
        if not xattr_name_fits(&found.items[i]):
            if attribute_problem(run, SKIPPED, STEP_XATTR_NAME, 0, &found.items[i]) != 0:
                return -1
            continue
        if kept < i:
            found.items[kept] = found.items[i]
        kept += 1
    entry.xattr_count = kept
    return 0


cdef int dress(Run* run, Scratch* scratch, const Found* found, int dirfd, const char* name, Entry* entry) noexcept nogil:
    """All of `entry` but its archive name, mapped. 1: it is dropped or skipped."""
    cdef Status status
    cdef int64_t mtime_ns
    cdef int result
    entry.link = b""
    entry.link_length = 0
    if not remap_stat(&run.root.remap, &found.st, entry, &mtime_ns):
        tc_publish(&run.control.dropped, run.control.dropped + 1)
        return 1
    if entry.type == c'2':
        if collect_link(scratch, dirfd, name, run.root.prefix, run.root.prefix_length, entry, &status) != 0:
            return 1 if problem(run, &status) == 0 else -1
    elif entry.type != c'5' and found.st.nlink > 1 and links_find(&run.links, found.st.dev, found.st.ino, &entry.link,
                                                                  &entry.link_length):
        entry.type = c'1'
        entry.size = 0
    result = load_attributes(run, scratch, found.fd, dirfd, name, entry)
    if result != 0:
        return result
    if run.root.map != NULL:
        result = run.hooks.map(run.hooks.owner, run.root.map, entry, mtime_ns, &scratch.xattrs)
        if result < 0:
            fail(&status, STEP_CALLBACK, 0)
            return give_up(run, &status)
        if result == 0:
            tc_publish(&run.control.dropped, run.control.dropped + 1)
            return 1
    if entry.xattr_count:
        return drop_unwritable_attributes(run, &scratch.xattrs, entry)
    return 0


cdef int put_ancestors(Run* run) noexcept nogil:
    """Write the directories above the entry in hand that were only passed through so far (tar-bytes 8.5)."""
    cdef size_t i
    cdef Level* level
    cdef Found found
    cdef Entry entry
    cdef Status status
    cdef const char* path = run.path
    cdef size_t path_length = run.path_length
    cdef int result = 0
    for i in range(run.walker.depth):
        level = &run.walker.levels[i]
        if level.emitted:
            continue
        level.emitted = True
        run.path = run.walker.path
        run.path_length = level.prefix
        found.fd = level.fd if level.fd >= 0 else walk_reach(&run.walker, i)
        if found.fd < 0 or tc_fstat(found.fd, &found.st) != 0:
            fail(&status, STEP_STAT, -found.fd if found.fd < 0 else errno)
            result = problem(run, &status)
        else:
            entry.name = run.walker.path
            entry.name_length = level.prefix
            result = dress(run, &run.ancestors, &found, -1, b"", &entry)
            if result == 0:
                result = put_header(run, &entry)
        if found.fd >= 0 and found.fd != level.fd:
            close(found.fd)
        if result < 0:
            return -1
    run.path = path
    run.path_length = path_length
    return 0


cdef bint is_output(const Run* run, const Found* found) noexcept nogil:
    cdef size_t i
    for i in range(run.output_count):
        if run.outputs[i].ino == found.st.ino and run.outputs[i].dev == found.st.dev:
            return True
    return False


cdef int put_opened(Run* run, const Item* item, Found* found) noexcept nogil:
    """Write the entry that `found` describes, with its data. 0 whether written or left out."""
    cdef Entry entry
    cdef Status status
    cdef int result
    cdef bint directory = (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFDIR
    if (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFREG and is_output(run, found):
        fail(&status, STEP_OUTPUT_INSIDE, 0)
        report(run, NOTICE, &status)
        return 0
    result = dress(run, &run.scratch, found, item.dirfd, item.name, &entry)
    if result != 0:
        return 0 if result == 1 else -1
    if entry.type == c'0' and entry.size > 0 and found.fd < 0:
        fail(&status, STEP_OPEN, found.open_error)
        return problem(run, &status)
    if found.st.nlink > 1 and not directory and entry.type != c'1' and entry.type != c'2':
        if not links_add(&run.links, found.st.dev, found.st.ino, item.path, item.path_length):
            fail(&status, STEP_MEMORY, ENOMEM)
            return give_up(run, &status)
    if put_ancestors(run) != 0:
        return -1
    entry.name = item.path
    entry.name_length = item.path_length
    if directory:
        # The walker keeps a byte free behind every path.
        run.walker.path[item.path_length] = c'/'
        entry.name_length += 1
    if put_header(run, &entry) != 0:
        return -1
    if entry.type == c'0' and entry.size > 0:
        return put_body(run, found, entry.size)
    return 0


cdef int open_item(Run* run, const Item* item, Found* found, Status* status) noexcept nogil:
    """collect_open; when descriptors run out, with those that the walk can do without."""
    cdef int result
    cdef int waits = LEASE_WAITS
    while True:
        result = collect_open(&run.scratch, item.dirfd, item.name, item.kind, found, status)
        if result != 0 or found.open_error == 0:
            return result
        if found.open_error == EMFILE or found.open_error == ENFILE:
            if run.defers:
                # Descriptors of bodies that are still to be read: have them read, and hoard no more.
                run.defers = False
                if flush(run) != 0 or drain(run) != 0:
                    return fail(status, STEP_REPORTED, 0)
            elif not walk_spare(&run.walker):
                return 0
        elif found.open_error == EINTR:
            run.control.next_tick = 0
        elif found.open_error == EAGAIN and waits > 0:
            # Somebody holds a lease on the file and has been asked for it (fcntl(2), F_SETLEASE).
            waits -= 1
            tc_pause(TICK_MS)
        else:
            return 0
        if control_stops(&run.control):
            return fail(status, STEP_CALLBACK, 0)


cdef int put_item(Run* run, const Item* item) noexcept nogil:
    """Write one selected entry; a directory's children come next. What cannot be done is reported by the policy."""
    cdef Found found
    cdef Status status
    cdef int result
    if open_item(run, item, &found, &status) != 0:
        return problem(run, &status)
    result = put_opened(run, item, &found)
    if item.kind == DT_DIR and (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFDIR and result == 0:
        if found.fd < 0:
            fail(&status, STEP_READ_DIR, found.open_error)
            return problem(run, &status)
        if walk_enter(&run.walker, item, found.fd, True, &status) != 0:
            return problem(run, &status)
        return 0
    if found.fd >= 0:
        close(found.fd)
    return result


cdef int pass_through(Run* run, const Item* item) noexcept nogil:
    """A directory that no pattern selects: its entry waits for a selected descendant."""
    cdef Status status
    cdef Found found
    if open_item(run, item, &found, &status) != 0:
        return problem(run, &status)
    if (found.st.mode & <unsigned int>S_IFMT) != <unsigned int>S_IFDIR or found.fd < 0:
        if found.fd >= 0:
            close(found.fd)
        elif found.open_error and found.open_error != EACCES:    # unreadable and unwanted: tar-bytes 10.2
            fail(&status, STEP_READ_DIR, found.open_error)
            return problem(run, &status)
        return 0
    if walk_enter(&run.walker, item, found.fd, False, &status) != 0:
        return problem(run, &status)
    return 0


# ---- one tree -----------------------------------------------------------


cdef int put_top(Run* run, const Root* root) noexcept nogil:
    """The directory that stands for a tree beside others: 0755, root's, no time unless an epoch (tar-bytes 7.3)."""
    cdef Entry entry
    memset(&entry, 0, sizeof(Entry))
    entry.name = root.prefix
    entry.name_length = root.prefix_length
    entry.link = b""
    entry.type = c'5'
    entry.mode = 0o755
    if root.remap.has_epoch:
        entry.mtime = whole_seconds(<int64_t>(<uint64_t>root.remap.epoch * 1000000000))
    return put_header(run, &entry)


cdef int run_tree(Run* run, const Root* root, size_t tree) noexcept nogil:
    """Write every entry of `root`. 0, or -1 after the reason was reported."""
    cdef Item item
    cdef Status status
    cdef int fd
    cdef int got
    run.root = root
    run.tree = tree
    run.path = root.prefix
    run.path_length = root.prefix_length
    links_clear(&run.links)
    if root.prefix_length and put_top(run, root) != 0:
        return -1
    # A descriptor of our own: its position in the directory is nobody else's.
    fd = openat(root.fd, b".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if fd < 0:
        fail(&status, STEP_READ_DIR, errno)
        return give_up(run, &status)
    if walk_begin(&run.walker, fd, root.prefix, root.prefix_length, root.includes, root.excludes, &status) != 0:
        return give_up(run, &status)
    while True:
        got = walk_next(&run.walker, &item, &status)
        if got == 0:
            return 0
        run.path = item.path
        run.path_length = item.path_length
        if got < 0:
            got = problem(run, &status)
        elif item.selected:
            got = put_item(run, &item)
        else:
            got = pass_through(run, &item)
        if got != 0:
            return -1
        if control_stops(&run.control):
            fail(&status, STEP_CALLBACK, 0)
            return give_up(run, &status)


cdef int run_finish(Run* run) noexcept nogil:
    """The two zero blocks that end an archive, and everything out. 0, or -1 after the reason was reported."""
    put_zeros(run, 2 * BLOCK)
    return -1 if flush(run) != 0 else drain(run)
