# Entry by entry from the walk to the chunk: select, collect, map, link, encode, copy the body.
#
# A Run is one export: the caller fills the first part, run_init the second.
# It owns walker, scratch memory, links and chunks; everything else is borrowed.
# No GIL; the hooks take it themselves and keep any exception for the caller.

from libc.stdint cimport int64_t, uint64_t

from tarcast._core.collect cimport Scratch
from tarcast._core.control cimport Control
from tarcast._core.entry cimport Entry
from tarcast._core.links cimport Links
from tarcast._core.match cimport Matcher
from tarcast._core.pool cimport Pool
from tarcast._core.remap cimport Remap
from tarcast._core.sink cimport Sink
from tarcast._core.status cimport Status
from tarcast._core.walk cimport Walker
from tarcast._core.xattr cimport XattrBuffer


cdef enum Severity:
    NOTICE          # worth telling; nothing that was asked for is missing
    SKIPPED         # an entry or a part of it was left out, as the caller allowed
    FATAL           # the export ends here


cdef struct Root:
    int fd                      # the tree's directory, borrowed
    const char* prefix          # "name/" where trees lie side by side, else ""
    size_t prefix_length
    Matcher* includes
    Matcher* excludes
    Remap remap
    void* map                   # Python callable, or NULL


cdef struct Hooks:
    void* owner
    # 1 keep, 0 drop, -1 an exception is kept. May change entry and put other attributes into the buffer.
    int (*map)(void* owner, void* callable, Entry* entry, int64_t mtime_ns, XattrBuffer* xattrs) noexcept nogil
    void (*report)(void* owner, Severity severity, const Status* status, size_t tree, const char* path,
                   size_t length) noexcept nogil
    # Sees every byte of the archive in order before the sink does; 0, or -1 an exception is kept. May be NULL.
    int (*observe)(void* owner, const char* data, size_t size) noexcept nogil


cdef struct FileId:
    uint64_t dev
    uint64_t ino


cdef struct Run:
    const Root* root            # the tree being walked
    size_t tree                 # its index
    Sink sink
    Control control
    Hooks hooks
    bint skip_errors
    bint threaded               # let another thread write, and read what fits into a chunk
    const FileId* outputs       # the archive itself and what it replaces: never archived
    size_t output_count

    Walker walker
    Scratch scratch
    Scratch ancestors           # for parents written late, while `scratch` holds the child
    Links links
    Pool pool
    bint defers                 # bodies may be left for the writing thread to read
    const char* path            # the entry in hand, for reports and progress
    size_t path_length


cdef int run_init(Run* run) noexcept nogil
cdef void run_free(Run* run) noexcept nogil
cdef int run_tree(Run* run, const Root* root, size_t tree) noexcept nogil
cdef int run_finish(Run* run) noexcept nogil
