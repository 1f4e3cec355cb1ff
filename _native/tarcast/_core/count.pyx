# See count.pxd. What cannot be read is passed over: the export itself will say so, or leave it out too.

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from tarcast._core.batch cimport (
    BATCH_ADDED, BATCH_END, BATCH_ITEMS, BATCH_NAME, BATCH_PASSED, BATCH_PROBLEM, BATCH_TOP, Batch, BatchItem,
    batch_clear, batch_free, batch_new,
)
from tarcast._core.collect cimport Found, collect_link, collect_open, scratch_free, scratch_init
from tarcast._core.control cimport Control, control_cancelled
from tarcast._core.count cimport COUNTED_ALL, COUNTED_NO_MEMORY, COUNTED_STOPPED, Counted, Tally
from tarcast._core.dirfd cimport dirfd_drop
from tarcast._core.entry cimport Entry
from tarcast._core.fill cimport is_output, may_be_aligned, may_be_linked
from tarcast._core.gather cimport GATHERED_ALL, Gathered, gather
from tarcast._core.header cimport BLOCK, Plan, header_align, header_plan
from tarcast._core.links cimport Links, links_add, links_clear, links_find
from tarcast._core.pax cimport pax_measure
from tarcast._core.pending cimport pending_clear, pending_free, pending_leave, pending_push
from tarcast._core.posix cimport (
    DT_REG, S_IFMT, S_IFREG, close, pthread_join, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock,
    pthread_mutex_t, pthread_mutex_unlock, pthread_t, tc_lstatat, tc_thread_start,
)
from tarcast._core.remap cimport remap_stat, whole_seconds
from tarcast._core.run cimport Root, Run
from tarcast._core.sparse cimport Sparse, sparse_free, sparse_scan
from tarcast._core.status cimport STEP_CALLBACK, STEP_MEMORY, Status
from tarcast._core.walk cimport walk_free, walk_init, walk_stops
from tarcast._core.xattr cimport XattrBuffer, xattr_name_fits, xattr_read

cdef enum:
    DIRFDS = 64             # directories that are open at once, before a batch ends
    MOST_COUNTERS = 8


cdef enum Step:
    GO_ON
    LEFT_OUT
    NO_MEMORY


cdef struct Form:
    # what of the header of a hard link does not depend on the name that it leads to
    size_t rest             # bytes of its other pax records
    bint plain              # without a record for the link there is no pax header


cdef struct First:
    # of all names of an inode that were met so far, the first in the archive
    uint64_t position       # among all items
    uint64_t size           # bytes of its entry
    size_t record           # bytes of the pax record that a link to it needs, or 0
    Form form               # were it a link itself
    size_t links            # the others, by form: the first one's place in `alike` and 1; 0: none


cdef struct Alike:
    Form form
    uint64_t count          # of links of this form
    size_t next             # as `links` of First


cdef struct Shared:
    Links links             # of all trees: to the bytes of a First instead of a name
    Alike* alike            # 513 at most for an inode, and hardly ever more than one
    size_t alike_count
    size_t alike_capacity
    pthread_mutex_t lock    # of all these
    size_t counters


cdef struct Counter:
    Shared* shared
    size_t number           # of this one
    bint caller             # it runs on the calling thread
    pthread_t thread
    Run run                 # only what the walk needs, and pending
    Control* control        # of the export
    Tally tally
    Counted result
    size_t tree             # of the batch in hand
    uint64_t* passed        # bytes of the header of each pending directory; 0: it has none
    size_t passed_capacity


cdef void add_attributes(XattrBuffer* found, int fd, int dirfd, const char* name, Entry* entry) noexcept nogil:
    """Those that an export can read and write."""
    cdef Status status
    cdef size_t i
    cdef size_t kept = 0
    entry.xattrs = NULL
    entry.xattr_count = 0
    if xattr_read(found, fd, dirfd, name, &status) != 0:
        return
    for i in range(found.count):
        if found.items[i].error == 0 and xattr_name_fits(&found.items[i]):
            found.items[kept] = found.items[i]
            kept += 1
    entry.xattrs = found.items
    entry.xattr_count = kept


cdef Step dress(Counter* counter, const Root* root, const Found* found, int dirfd, const char* path, size_t length,
                size_t name_length, Entry* entry) noexcept nogil:
    """All of `entry` but its archive name, and whether it is a hard link. LEFT_OUT: it is none."""
    cdef const char* name = path + length - name_length
    cdef Status status
    cdef int64_t mtime_ns
    entry.link = b""
    entry.link_length = 0
    if not remap_stat(&root.remap, &found.st, entry, &mtime_ns):
        return LEFT_OUT
    if entry.type == c'2':
        if collect_link(&counter.run.walk_scratch, dirfd, name, root.prefix, root.prefix_length, entry, &status) != 0:
            return LEFT_OUT
    add_attributes(&counter.run.walk_scratch.xattrs, found.fd, dirfd, name, entry)
    return GO_ON


cdef void plan_header(Entry* entry, Plan* plan) noexcept nogil:
    if not header_plan(entry, plan):
        entry.xattr_count = 0       # too large for a header: left out, or the end of the export
        header_plan(entry, plan)


cdef void add_entry(Counter* counter, Entry* entry, bint aligned) noexcept nogil:
    cdef Plan plan
    plan_header(entry, &plan)
    if aligned:
        header_align(entry, &plan, counter.tally.size)
    counter.tally.entries += 1
    counter.tally.size += plan.size + (entry.size + BLOCK - 1) // BLOCK * BLOCK


cdef size_t link_record(const char* name, size_t length) noexcept nogil:
    """Bytes of the pax record of a link to this name; 0 where it fits the header."""
    cdef Entry entry
    cdef Plan plan
    memset(&entry, 0, sizeof(Entry))
    entry.name = b"-"
    entry.name_length = 1
    entry.link = name
    entry.link_length = length
    header_plan(&entry, &plan)
    return plan.needs.total if plan.pax else 0


cdef Form link_form(Entry* entry) noexcept nogil:
    """That of a hard link of this name and with these attributes; `entry` becomes one that leads nowhere."""
    cdef Plan plan
    cdef Form form
    entry.type = c'1'
    entry.size = 0
    entry.sparse = False
    entry.link_length = 0
    plan_header(entry, &plan)
    form.plain = not plan.pax
    pax_measure(entry, &plan.needs)
    form.rest = plan.needs.total
    return form


cdef uint64_t link_size(const Form* form, size_t record) noexcept nogil:
    """Bytes of the header of such a link, whose target needs a record so long."""
    if form.plain and record == 0:
        return BLOCK
    return 2 * BLOCK + (form.rest + record + BLOCK - 1) // BLOCK * BLOCK


cdef First* find_first(Shared* shared, uint64_t dev, uint64_t ino) noexcept nogil:
    """NULL: none of its names has been met. The pointer lives as long as those of links_find."""
    cdef const char* found = NULL
    cdef size_t length = 0
    return <First*>found if links_find(&shared.links, dev, ino, &found, &length) else NULL


cdef bint add_alike(Shared* shared, First* first, const Form* form) noexcept nogil:
    """One link more. False: out of memory."""
    # Whole blocks of other records are the same before and behind a change of the first name.
    cdef size_t rest = form.rest if form.plain or form.rest == 0 else (form.rest - 1) % BLOCK + 1
    cdef size_t at = first.links
    cdef size_t capacity
    cdef void* grown
    cdef Alike* alike
    while at > 0:
        alike = &shared.alike[at - 1]
        if alike.form.rest == rest and alike.form.plain == form.plain:
            alike.count += 1
            return True
        at = alike.next
    if shared.alike_count == shared.alike_capacity:
        capacity = 2 * shared.alike_capacity + 64
        grown = realloc(shared.alike, capacity * sizeof(Alike))
        if grown == NULL:
            return False
        shared.alike = <Alike*>grown
        shared.alike_capacity = capacity
    alike = &shared.alike[shared.alike_count]
    alike.form.rest = rest
    alike.form.plain = form.plain
    alike.count = 1
    alike.next = first.links
    shared.alike_count += 1
    first.links = shared.alike_count
    return True


cdef bint comes_later(Counter* counter, uint64_t dev, uint64_t ino, uint64_t position) noexcept nogil:
    """Has a name of this inode been met that is before this position?"""
    cdef Shared* shared = counter.shared
    cdef First* first
    cdef bint later
    pthread_mutex_lock(&shared.lock)
    first = find_first(shared, dev, ino)
    later = first != NULL and first.position < position
    pthread_mutex_unlock(&shared.lock)
    return later


cdef Step settle(Counter* counter, uint64_t dev, uint64_t ino, First* mine) noexcept nogil:
    """Take an entry whose `size` is in the tally for a hard link, or those that were met before it.

    Which name of an inode is met first is a matter of luck, so what was counted for the others is set
    right whenever an earlier one turns up. Differences go to the counter in hand: the sum is what counts.
    """
    cdef Shared* shared = counter.shared
    cdef uint64_t* size = &counter.tally.size
    cdef First* first
    cdef First other
    cdef Alike* alike
    cdef size_t at
    cdef bint kept = True
    pthread_mutex_lock(&shared.lock)
    first = find_first(shared, dev, ino)
    if first == NULL:
        kept = links_add(&shared.links, dev, ino, <const char*>mine, sizeof(First))
    else:
        other = mine[0]
        if mine.position < first.position:
            other = first[0]
            at = first.links
            while at > 0:
                alike = &shared.alike[at - 1]
                size[0] += alike.count * (link_size(&alike.form, mine.record) - link_size(&alike.form, first.record))
                at = alike.next
            mine.links = first.links
            first[0] = mine[0]
        size[0] += link_size(&other.form, first.record) - other.size
        if shared.counters > 1:     # one alone meets them in order
            kept = add_alike(shared, first, &other.form)
    pthread_mutex_unlock(&shared.lock)
    return GO_ON if kept else NO_MEMORY


cdef void add_passed(Counter* counter, const char* path, size_t length) noexcept nogil:
    """An entry is there: so are the directories above it that were only passed through."""
    cdef size_t i
    pending_leave(&counter.run.pending, path, length)
    for i in range(counter.run.pending.count):
        if counter.passed[i]:
            counter.tally.entries += 1
            counter.tally.size += counter.passed[i]
    pending_clear(&counter.run.pending)


cdef Step find_holes(Counter* counter, const BatchItem* item, const char* name, Entry* entry,
                     bint* sparse) noexcept nogil:
    """The size of a file that is to become a sparse entry; it is opened for that."""
    cdef Found found
    cdef Status status
    cdef Sparse* holes = NULL
    cdef int result
    if collect_open(&counter.run.walk_scratch, item.dir.fd, name, DT_REG, &found, &status) != 0 or found.fd < 0:
        return GO_ON
    result = sparse_scan(found.fd, entry.size, counter.control, counter.caller, &holes)
    close(found.fd)
    if result != 0:     # told to stop, which the next entry will hear too, or out of memory
        return GO_ON if control_cancelled(counter.control) else NO_MEMORY
    if holes != NULL:
        sparse[0] = True
        entry.sparse = True
        entry.real_size = entry.size
        entry.size = holes.stored
        sparse_free(holes)
    return GO_ON


cdef Step count_found(Counter* counter, const Root* root, BatchItem* item, char* path,
                      const Found* found, uint64_t position) noexcept nogil:
    cdef Run* run = &counter.run
    # The trees share a table, and links stay within their tree.
    cdef uint64_t dev = found.st.dev ^ (<uint64_t>counter.tree << 40)
    cdef Entry entry
    cdef First mine
    cdef const char* name = path + item.path_length - item.name_length
    cdef bint file = (found.st.mode & <unsigned int>S_IFMT) == <unsigned int>S_IFREG
    cdef bint sparse = False
    cdef bint linked
    cdef Step step
    if file and is_output(run, found):
        return GO_ON
    step = dress(counter, root, found, item.dir.fd, path, item.path_length, item.name_length, &entry)
    if step != GO_ON:
        return GO_ON if step == LEFT_OUT else NO_MEMORY
    if run.pending.count > 0:
        add_passed(counter, path, item.path_length)
    entry.name = path
    entry.name_length = item.path_length
    if entry.type == c'5':
        path[item.path_length] = c'/'       # the batch keeps a byte free for it
        entry.name_length += 1
    linked = may_be_linked(found) and entry.type != c'2'
    mine.size = counter.tally.size
    if linked and comes_later(counter, dev, found.st.ino, position):
        counter.tally.entries += 1
    else:
        if run.sparse and entry.type == c'0' and found.st.blocks * 512 < entry.size \
                and find_holes(counter, item, name, &entry, &sparse) != GO_ON:
            return NO_MEMORY
        add_entry(counter, &entry, entry.type == c'0' and not sparse and may_be_aligned(run, found))
    if not linked:
        return GO_ON
    mine.size = counter.tally.size - mine.size
    mine.position = position
    mine.record = link_record(path, item.path_length)
    mine.form = link_form(&entry)
    mine.links = 0
    return settle(counter, dev, found.st.ino, &mine)


cdef Step count_passed(Counter* counter, const Root* root, BatchItem* item, char* path,
                       const Found* found) noexcept nogil:
    """A directory that is an entry only if something below it is."""
    cdef Run* run = &counter.run
    cdef Entry entry
    cdef Plan plan
    cdef uint64_t size = 0
    cdef void* grown
    pending_leave(&run.pending, path, item.path_length)
    if dress(counter, root, found, item.dir.fd, path, item.path_length, item.name_length, &entry) == GO_ON:
        path[item.path_length] = c'/'
        entry.name = path
        entry.name_length = item.path_length + 1
        plan_header(&entry, &plan)
        size = plan.size
    if not pending_push(&run.pending, item.own, item.st.dev, item.st.ino, path, item.path_length):
        return NO_MEMORY
    if run.pending.count > counter.passed_capacity:
        grown = realloc(counter.passed, 2 * run.pending.count * sizeof(uint64_t))
        if grown == NULL:
            return NO_MEMORY
        counter.passed = <uint64_t*>grown
        counter.passed_capacity = 2 * run.pending.count
    counter.passed[run.pending.count - 1] = size
    return GO_ON


cdef void count_plain(Counter* counter, const char* path, size_t length, uint64_t size, int64_t seconds,
                      bint aligned) noexcept nogil:
    """An entry that is not the tree's: a top directory, an added file."""
    cdef Entry entry
    memset(&entry, 0, sizeof(Entry))
    entry.name = path
    entry.name_length = length
    entry.link = b""
    entry.size = size
    entry.mtime = whole_seconds(<int64_t>(<uint64_t>seconds * 1000000000))
    add_entry(counter, &entry, aligned)


cdef Step count_item(Counter* counter, Batch* batch, BatchItem* item, uint64_t position) noexcept nogil:
    cdef const Root* root = &counter.run.roots[batch.tree]
    cdef char* path = batch.text + item.path
    cdef Found found
    if item.kind == BATCH_END:
        counter.tally.size += 2 * BLOCK
        return GO_ON
    if item.kind == BATCH_TOP:
        count_plain(counter, root.prefix, root.prefix_length, 0, root.remap.epoch, False)   # 0 without one
        return GO_ON
    if item.kind == BATCH_PROBLEM:
        return NO_MEMORY if batch.problem.step == STEP_MEMORY else GO_ON
    if item.kind == BATCH_ADDED:
        if tc_lstatat(item.dir.fd, root.added[item.index].name, &found.st) == 0:
            count_plain(counter, path, item.path_length, found.st.size,
                        root.added_mtime, may_be_aligned(&counter.run, &found))
        return GO_ON
    found.fd = -1
    if item.kind == BATCH_NAME:
        if tc_lstatat(item.dir.fd, path + item.path_length - item.name_length, &found.st) != 0:
            return GO_ON
        return count_found(counter, root, item, path, &found, position)
    found.st = item.st
    if item.own != NULL:
        found.fd = item.own.fd
    if item.kind == BATCH_PASSED:
        return count_passed(counter, root, item, path, &found)
    return count_found(counter, root, item, path, &found, position)


cdef Counted count_all(Counter* counter, Batch* batch) noexcept nogil:
    """Walk everything, and count every batch that is this counter's."""
    cdef uint64_t batches = 0
    cdef size_t i
    cdef Gathered got
    while True:
        got = gather(&counter.run, batch, counter.caller, True)
        if batch.tree != counter.tree:
            counter.tree = batch.tree
            pending_clear(&counter.run.pending)
        for i in range(batch.count if batches % counter.shared.counters == counter.number else 0):
            if walk_stops(&counter.run.walker):
                return COUNTED_STOPPED
            if count_item(counter, batch, &batch.items[i], batches * BATCH_ITEMS + i) != GO_ON:
                return COUNTED_NO_MEMORY
        if got == GATHERED_ALL:
            return COUNTED_ALL
        batches += 1
        batch_clear(batch)


cdef void* count(void* argument) noexcept nogil:
    cdef Counter* counter = <Counter*>argument
    cdef Batch* batch = NULL
    cdef Run* run = &counter.run
    counter.result = COUNTED_NO_MEMORY
    if walk_init(&run.walker) == 0 and scratch_init(&run.walk_scratch) == 0:
        run.walker.control = counter.control
        run.walker.dirfds = &run.queue.dirfds
        batch = batch_new()
        if batch != NULL:
            counter.result = count_all(counter, batch)
            batch_free(batch)
    walk_free(&run.walker)
    scratch_free(&run.walk_scratch)
    pending_free(&run.pending)
    if run.added_dir != NULL:
        dirfd_drop(run.added_dir)
    free(counter.passed)
    return NULL


cdef size_t counters_for(const Run* asked) noexcept nogil:
    """How many may count at once: what depends on everything before it needs one alone."""
    cdef size_t count = asked.threads if asked.threads > 0 else asked.cores
    cdef size_t i
    for i in range(asked.root_count):
        if asked.roots[i].includes != NULL or asked.roots[i].excludes != NULL:
            return 1        # directories that are entries only if something below them is
    if asked.align:
        return 1            # places
    return count if count < MOST_COUNTERS else MOST_COUNTERS


cdef Counted count_run(Run* asked, Tally* tally) noexcept nogil:
    """What `asked`, an export that has not begun, will write; its control is asked whether to stop.

    Several threads walk the tree, all of it, and each counts every so manieth batch of names: they share nothing
    but what is known of hard links, and reading names is a small part of the work.
    """
    cdef Counter counters[MOST_COUNTERS]
    cdef Shared shared
    cdef Counted result = COUNTED_ALL
    cdef size_t started = 1
    cdef size_t i
    memset(tally, 0, sizeof(Tally))
    memset(&shared, 0, sizeof(Shared))
    if pthread_mutex_init(&shared.lock, NULL) != 0:
        return COUNTED_NO_MEMORY
    memset(counters, 0, sizeof(counters))
    shared.counters = counters_for(asked)
    for i in range(shared.counters):
        prepare(&counters[i], asked, &shared, i)
    while started < shared.counters:
        if tc_thread_start(&counters[started].thread, count, &counters[started]) != 0:
            break
        started += 1
    counters[0].caller = True
    count(&counters[0])
    if asked.queue.forked:      # the threads are the parent's, and so is what they share
        return COUNTED_STOPPED
    for i in range(1, started):
        pthread_join(counters[i].thread, NULL)
    for i in range(started, shared.counters):
        counters[i].caller = True   # no thread was to be had
        count(&counters[i])
    for i in range(shared.counters):
        if counters[i].result > result:
            result = counters[i].result
        tally.entries += counters[i].tally.entries
        tally.size += counters[i].tally.size
    links_clear(&shared.links)
    free(shared.alike)
    pthread_mutex_destroy(&shared.lock)
    return result


cdef void prepare(Counter* counter, Run* asked, Shared* shared, size_t number) noexcept nogil:
    counter.shared = shared
    counter.control = &asked.control
    counter.number = number
    counter.run.roots = asked.roots
    counter.run.root_count = asked.root_count
    counter.run.outputs = asked.outputs
    counter.run.output_count = asked.output_count
    counter.run.align = asked.align
    counter.run.sparse = asked.sparse
    counter.run.batch_items = BATCH_ITEMS - 1   # room is left for a problem behind a directory
    counter.run.queue.dirfd_limit = DIRFDS
