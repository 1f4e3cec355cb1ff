# The one public boundary of the core: configure an export, run it without the GIL, cancel it, read its counters.
#
# An Export owns copies of everything it was configured with and keeps the
# Python objects behind borrowed pointers alive. It runs once. Problems come
# out as plain tuples; what they mean in words is the Python layer's business.

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport errno
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from tarcast._core.chunk cimport Chunk
from tarcast._core.count cimport COUNTED_ALL, COUNTED_NO_MEMORY, Counted, Tally, count_run
from tarcast._core.entry cimport Entry, Xattr
from tarcast._core.links cimport Links, LinkTable
from tarcast._core.match cimport PatternList
from tarcast._core.note cimport FATAL, NOTICE, Severity
from tarcast._core.pool cimport COMPLETE, NO_MEMORY, Outcome, pool_run, run_free
from tarcast._core.posix cimport getpid, tc_observe, tc_publish
from tarcast._core.queue cimport queue_path
from tarcast._core.remap cimport Range, Ranges, whole_seconds
from tarcast._core.run cimport Added, FileId, Root, Run
from tarcast._core.sink cimport sink_open_call, sink_open_fd
from tarcast._core.status cimport (
    STEP_CALLBACK, STEP_ENCODE, STEP_GREW, STEP_LIST_XATTR, STEP_MEMORY, STEP_OPEN, STEP_OUTPUT_INSIDE,
    STEP_READ_DATA, STEP_READ_DIR, STEP_READ_LINK, STEP_READ_XATTR, STEP_REPLACED, STEP_SHRANK, STEP_STAT,
    STEP_WRITE, STEP_XATTR_NAME, Status,
)
from tarcast._core.xattr cimport XattrBuffer

cdef extern from "Python.h":
    char* PyBytes_AsString(object) except NULL

STEPS = {
    STEP_MEMORY: "memory",
    STEP_READ_DIR: "read directory",
    STEP_OPEN: "open",
    STEP_STAT: "stat",
    STEP_READ_LINK: "read link",
    STEP_LIST_XATTR: "list attributes",
    STEP_READ_XATTR: "read attribute",
    STEP_XATTR_NAME: "attribute name",
    STEP_ENCODE: "encode",
    STEP_READ_DATA: "read data",
    STEP_SHRANK: "shrank",
    STEP_GREW: "grew",
    STEP_REPLACED: "replaced",
    STEP_WRITE: "write",
    STEP_OUTPUT_INSIDE: "output inside",
    STEP_CALLBACK: "stopped",
}

# Notes beyond this many are counted, not kept: memory must not grow with the tree.
cdef enum:
    MOST_NOTES = 10000


cdef class Lent:
    """A piece of output lent to a Python callable, as a read-only buffer."""

    cdef const char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t exports         # views that are alive
    cdef char* owned                # memory to free with this object, once it was given away

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void*>self.data, self.size, 1, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self.exports -= 1

    def __dealloc__(self):
        free(self.owned)


# Whether a callable forked is asked also after it raised: in the child the queue must not be touched any more.


cdef bint tick(void* owner) noexcept nogil:
    cdef bint stop
    with gil:
        stop = (<Export>owner).on_tick()
        return (<Export>owner).is_forked() or stop


cdef int write_call(void* owner, const char* data, size_t size) noexcept nogil:
    cdef int result
    with gil:
        result = (<Export>owner).on_data((<Export>owner).write, data, size)
        return -1 if (<Export>owner).is_forked() else result


cdef int observe(void* owner, const char* data, size_t size) noexcept nogil:
    cdef int result
    with gil:
        result = (<Export>owner).on_data((<Export>owner).observer, data, size)
        return -1 if (<Export>owner).is_forked() else result


cdef void report(void* owner, Severity severity, const Status* status, size_t tree, const char* path,
                 size_t length) noexcept nogil:
    with gil:
        (<Export>owner).on_report(severity, status, tree, path, length)


cdef int map_entry(void* owner, void* callable, const char* path, size_t length, Entry* entry, int64_t mtime_ns,
                   XattrBuffer* xattrs) noexcept nogil:
    cdef int kept
    with gil:
        kept = (<Export>owner).on_entry(<object>callable, path, length, entry, mtime_ns, xattrs)
        return -1 if (<Export>owner).is_forked() else kept


cdef class Export:
    """One export. `run` it once; `cancel` and the counters may be used from any thread meanwhile.

    Args:
        roots: for each tree a tuple (fd, prefix, include, exclude, uid_ranges,
            gid_ranges, epoch, map, added): an open directory; b"name/" or b""; two
            PatternLists or None; sequences of (container, host, size) or None for
            identity; seconds or None; a callable or None that gets (path, type, mode,
            uid, gid, mtime_ns, size, link, [(name, value)...]) and gives None to drop the
            entry or (mode, uid, gid, mtime_ns, attributes or None for unchanged); None, or
            (fd, [(archive path, name)...], seconds): files in the open directory fd that become
            plain files beside those of the tree, in archive order, 0600 and root's.
        fd: descriptor to write to, or -1 for `write`.
        write: callable that takes a read-only memoryview, valid only during the call, completely.
        observer: the same for a callable that sees every byte before the sink.
        on_tick: callable without arguments, called about every 40 ms while the export runs.
        skip_errors: go on behind entries that cannot be read.
        align: bodies of 64 KiB and more begin on a multiple of 4096 bytes, and share blocks with their files where
            the output is a file on the same file system and that can do it.
        sparse: files with holes become sparse entries.
        part: what is written is a part of an archive: no zero blocks end it, and this LinkTable holds the first
            names of inodes in the parts before, and then also those of this one, which has one tree. None: the whole.
        named: a tree with a prefix is a directory of that name: its own entry comes first, targets of symlinks
            stay as they are.
        threads: workers that archive at once, the calling thread included; 0 for one a core of
            `cores`, and more while they wait for storage. Callables are always called on the calling thread.
        memory: bytes of archive held in memory at once.
        outputs: (device, inode) of files that must not become entries.
    """

    cdef Run r
    cdef Root* roots
    cdef FileId* outputs
    cdef list arrays                # addresses of Range and Added arrays, to be freed
    cdef list kept                  # Python objects behind pointers
    cdef dict replaced              # attributes that a map callable gave, by the buffer that points to them
    cdef object write
    cdef object observer
    cdef object on_tick_call
    cdef readonly list notes
    cdef readonly size_t notes_lost
    cdef readonly object failure
    cdef object raised
    cdef LinkTable links
    cdef bint started
    cdef int process                # that called `run`

    def __cinit__(self):
        memset(&self.r, 0, sizeof(Run))
        self.roots = NULL
        self.outputs = NULL
        self.arrays = []
        self.kept = []
        self.replaced = {}
        self.notes = []

    def __init__(self, roots, *, int fd=-1, write=None, observer=None, on_tick=None, bint skip_errors=False,
                 bint align=False, bint sparse=False, part=None, bint named=False, size_t threads=1, size_t cores=1, size_t memory=33554432,
                 outputs=()):
        if self.kept or self.roots != NULL:
            raise RuntimeError("an Export cannot be configured twice")
        if (fd < 0) == (write is None):
            raise ValueError("exactly one of fd and write is needed")
        self.write = write
        self.observer = observer
        self.on_tick_call = on_tick
        if fd >= 0:
            if sink_open_fd(&self.r.output.sink, fd) != 0:
                raise OSError(errno, "not an open descriptor")
        else:
            sink_open_call(&self.r.output.sink, write_call, <void*>self)
        self.r.hooks.owner = <void*>self
        self.r.hooks.map = map_entry
        self.r.hooks.report = report
        if observer is not None:
            self.r.output.observe = observe
            self.r.output.owner = <void*>self
        self.r.control.tick = tick
        self.r.control.owner = <void*>self
        self.r.skip_errors = skip_errors
        self.r.align = align
        self.r.output.aligned = align
        self.r.sparse = sparse
        self.links = <LinkTable?>part if part is not None else None
        self.r.part = part is not None
        self.r.named = named
        self.r.threads = threads
        self.r.cores = cores
        self.r.memory = memory
        self.set_outputs(list(outputs))
        self.set_roots(list(roots))

    def __dealloc__(self):
        cdef object address
        run_free(&self.r)
        free(self.roots)
        free(self.outputs)
        for address in self.arrays or ():
            free(<void*><size_t>address)

    cdef int set_outputs(self, list outputs) except -1:
        cdef size_t i
        self.outputs = <FileId*>calloc(len(outputs) + 1, sizeof(FileId))
        if self.outputs == NULL:
            raise MemoryError
        for i in range(<size_t>len(outputs)):
            self.outputs[i].dev, self.outputs[i].ino = outputs[i]
        self.r.outputs = self.outputs
        self.r.output_count = len(outputs)
        return 0

    cdef int set_ranges(self, Ranges* out, object triples) except -1:
        cdef size_t i
        out.identity = triples is None
        out.count = 0
        out.items = NULL
        if triples is None:
            return 0
        triples = list(triples)
        out.items = <Range*>calloc(len(triples) + 1, sizeof(Range))
        if out.items == NULL:
            raise MemoryError
        self.arrays.append(<size_t>out.items)
        for i in range(<size_t>len(triples)):
            out.items[i].container, out.items[i].host, out.items[i].size = triples[i]
        out.count = len(triples)
        return 0

    cdef int set_added(self, Root* root, object given) except -1:
        cdef Added* items
        cdef size_t i
        if given is None:
            return 0
        root.added_fd, files, root.added_mtime = given
        files = list(files)
        items = <Added*>calloc(len(files) + 1, sizeof(Added))
        if items == NULL:
            raise MemoryError
        self.arrays.append(<size_t>items)
        self.kept.append(files)
        for i in range(<size_t>len(files)):
            path, name = files[i]
            items[i].path = PyBytes_AsString(path)
            items[i].path_length = len(path)
            items[i].name = PyBytes_AsString(name)
        root.added = items
        root.added_count = len(files)
        return 0

    cdef int set_roots(self, list roots) except -1:
        cdef Root* root
        cdef size_t i
        self.roots = <Root*>calloc(len(roots) + 1, sizeof(Root))
        if self.roots == NULL:
            raise MemoryError
        for i in range(<size_t>len(roots)):
            root = &self.roots[i]
            fd, prefix, includes, excludes, uid_ranges, gid_ranges, epoch, map_call, added = roots[i]
            self.kept.append((prefix, includes, excludes, map_call))
            root.fd = fd
            root.prefix = PyBytes_AsString(prefix)
            root.prefix_length = len(prefix)
            root.includes = &(<PatternList?>includes).matcher if includes is not None else NULL
            root.excludes = &(<PatternList?>excludes).matcher if excludes is not None else NULL
            self.set_ranges(&root.remap.uid, uid_ranges)
            self.set_ranges(&root.remap.gid, gid_ranges)
            root.remap.has_epoch = epoch is not None
            root.remap.epoch = 0 if epoch is None else epoch
            root.map = <void*>map_call if map_call is not None else NULL
            self.set_added(root, added)
        self.r.roots = self.roots
        self.r.root_count = len(roots)
        return 0

    def run(self):
        """Write the whole archive. True when it is complete, False when `failure` says why not.

        Raises whatever a callable raised, KeyboardInterrupt included, and
        MemoryError when there is none to start, or to say where it ran out.
        """
        cdef Outcome outcome
        if self.started:
            raise RuntimeError("an Export runs once")
        self.started = True
        self.process = getpid()
        if self.links is not None:
            self.r.links = self.links.links
            memset(&self.links.links, 0, sizeof(Links))
        with nogil:
            outcome = pool_run(&self.r)
        if self.links is not None:
            self.links.links = self.r.links
            memset(&self.r.links, 0, sizeof(Links))
        with nogil:
            run_free(&self.r)
        self.replaced.clear()
        if self.raised is not None:
            raised = self.raised
            self.raised = None
            raise raised
        if outcome == NO_MEMORY:
            raise MemoryError
        return outcome == COMPLETE

    def count(self):
        """(entries, bytes of archive) that `run`, to be called later, will write; None: it was cancelled.

        No data is read. Map callables are not called, and the tree may change until `run`. Raises whatever
        `on_tick` raised, KeyboardInterrupt included, and MemoryError.
        """
        cdef Tally tally
        cdef Counted outcome
        if self.started:
            raise RuntimeError("what an Export writes is counted before it runs")
        self.process = getpid()
        with nogil:
            outcome = count_run(&self.r, &tally)
        if self.raised is not None:
            raised = self.raised
            self.raised = None
            raise raised
        if outcome == COUNTED_NO_MEMORY:
            raise MemoryError
        return (tally.entries, tally.size) if outcome == COUNTED_ALL else None

    def cancel(self):
        """Make `run` stop soon, from any thread: within 100 ms unless the kernel is waiting for a disk."""
        tc_publish(&self.r.control.cancelled, 1)

    @property
    def cancelled(self):
        return tc_observe(&self.r.control.cancelled) != 0

    @property
    def entries(self):
        """Headers written so far (hard links, directories and all)."""
        return tc_observe(&self.r.control.entries)

    @property
    def bytes_written(self):
        """Bytes the sink has taken so far."""
        return tc_observe(&self.r.control.bytes_written)

    @property
    def cloned(self):
        """Bytes of these that share blocks with the files they are from."""
        return tc_observe(&self.r.control.cloned)

    @property
    def skipped(self):
        return tc_observe(&self.r.control.skipped)

    @property
    def dropped(self):
        return tc_observe(&self.r.control.dropped)

    def current_path(self):
        """Archive path of the latest name that the walk has found; b"" before and after. Only from on_tick."""
        cdef char* copy = NULL
        cdef size_t length
        with nogil:
            length = queue_path(&self.r.queue, &copy)
        try:
            return copy[:length] if length else b""
        finally:
            free(copy)

    cdef bint is_forked(self) noexcept:
        """Did the callable that was just called fork, and is this the child? Its threads stayed with the parent."""
        if self.process != getpid():
            self.r.queue.forked = True
        return self.r.queue.forked

    cdef void keep(self, object error) noexcept:
        """A callable raised, and that ends the export: at once, whoever is at what.

        The piece in hand may be far from its turn, and what is before it may wait for a reader.
        """
        if self.raised is None:
            self.raised = error
        tc_publish(&self.r.control.abandoned, 1)

    cdef bint on_tick(self) noexcept:
        try:
            PyErr_CheckSignals()
            if self.on_tick_call is not None:
                self.on_tick_call()
        except BaseException as error:
            self.keep(error)
            return True
        return False

    cdef int on_data(self, object call, const char* data, size_t size) noexcept:
        cdef Lent lent
        try:
            lent = Lent.__new__(Lent)
            lent.data = data
            lent.size = <Py_ssize_t>size
            view = memoryview(lent)
            try:
                call(view)
            finally:
                try:
                    view.release()
                except BufferError:     # something reads it through the view itself: a send in another thread, an array
                    pass
                if lent.exports:
                    self.give_away(lent)
        except BaseException as error:
            self.keep(error)
            return -1
        return 0

    cdef int give_away(self, Lent lent) except -1:
        """The callable kept a part of the view: the memory becomes its, and the chunk goes on in new one."""
        cdef Chunk* chunk = self.r.output.lent
        cdef char* fresh = <char*>malloc(chunk.capacity)
        if fresh == NULL:
            # Nobody may read memory that is used again: rather lose it than that.
            chunk.data = NULL
            chunk.length = chunk.capacity = 0
            raise MemoryError
        memcpy(fresh, chunk.data, chunk.length)
        lent.owned = chunk.data
        chunk.data = fresh
        return 0

    cdef void on_report(self, Severity severity, const Status* status, size_t tree, const char* path,
                        size_t length) noexcept:
        cdef bytes detail
        cdef tuple note     # typed: Cython 3.3 never ends inferring it
        try:
            detail = status.detail
            note = (severity == NOTICE, STEPS[status.step], status.error, tree, path[:length], detail,
                    status.expected, status.seen)
            if severity == FATAL:
                self.failure = note
            elif len(self.notes) < MOST_NOTES:
                self.notes.append(note)
            else:
                self.notes_lost += 1
        except BaseException as error:      # out of memory: better to fail than to lose a warning
            self.keep(error)

    cdef int on_entry(self, object call, const char* path, size_t length, Entry* entry, int64_t mtime_ns, XattrBuffer* found) noexcept:
        cdef size_t i
        cdef Xattr* item
        cdef list attributes = []
        try:
            for i in range(found.count):
                item = &found.items[i]
                attributes.append((item.name[:item.name_length], item.value[:item.value_length]))
            answer = call(path[:length], entry.type, entry.mode, entry.uid, entry.gid, mtime_ns,
                          entry.size, entry.link[:entry.link_length], attributes)
            if answer is None:
                return 0
            mode, uid, gid, new_mtime_ns, new_attributes = answer
            entry.mode = mode
            entry.uid = uid
            entry.gid = gid
            entry.mtime = whole_seconds(new_mtime_ns)
            if new_attributes is not None:
                self.set_attributes(entry, found, sorted(new_attributes))
        except BaseException as error:
            self.keep(error)
            return -1
        return 1

    cdef int set_attributes(self, Entry* entry, XattrBuffer* found, list attributes) except -1:
        cdef size_t i
        cdef size_t count = len(attributes)
        cdef Xattr* items
        if count > found.items_capacity:
            items = <Xattr*>calloc(count, sizeof(Xattr))
            if items == NULL:
                raise MemoryError
            free(found.items)
            found.items = items
            found.items_capacity = count
        for i in range(count):
            name, value = attributes[i]
            found.items[i].name = PyBytes_AsString(name)
            found.items[i].name_length = len(name)
            found.items[i].value = PyBytes_AsString(value)
            found.items[i].value_length = len(value)
            found.items[i].error = 0
        found.count = count
        entry.xattrs = found.items
        entry.xattr_count = count
        self.replaced[<size_t>found] = attributes
        return 0
