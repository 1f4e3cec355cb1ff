# One export as its workers see it: what was asked for, what they share, what each has for itself.
#
# Only structs; no code. The export fills the first part of the Run, pool_run
# the rest. No GIL; the hooks take it themselves, are called on the calling
# thread alone, and keep any exception for it.

from libc.stdint cimport int64_t, uint64_t

from tarcast._core.collect cimport Scratch
from tarcast._core.control cimport Control
from tarcast._core.dirfd cimport Dirfd
from tarcast._core.entry cimport Entry
from tarcast._core.links cimport Links
from tarcast._core.match cimport Matcher
from tarcast._core.note cimport Severity
from tarcast._core.output cimport Output
from tarcast._core.pending cimport Pending
from tarcast._core.piece cimport Piece, PieceOrder
from tarcast._core.posix cimport pthread_t
from tarcast._core.queue cimport Queue
from tarcast._core.remap cimport Remap
from tarcast._core.status cimport Status
from tarcast._core.walk cimport Walker
from tarcast._core.xattr cimport XattrBuffer


cdef struct Added:              # a file of its own beside those of the tree: plain, 0600, root's
    const char* path            # in the archive, prefix and all
    size_t path_length
    const char* name            # in the tree's `added_fd`


cdef struct Root:
    int fd                      # the tree's directory, borrowed
    const char* prefix          # "name/" where trees lie side by side, else ""
    size_t prefix_length
    Matcher* includes
    Matcher* excludes
    Remap remap
    void* map                   # Python callable, or NULL
    const Added* added          # in archive order; one takes the place of a file of the same path
    size_t added_count
    int added_fd                # holds what they contain; borrowed
    int64_t added_mtime         # whole seconds


cdef struct Hooks:
    void* owner
    # 1 keep, 0 drop, -1 an exception is kept. May change entry and put other attributes into the buffer.
    int (*map)(void* owner, void* callable, const char* path, size_t length, Entry* entry, int64_t mtime_ns,
               XattrBuffer* xattrs) noexcept nogil
    void (*report)(void* owner, Severity severity, const Status* status, size_t tree, const char* path,
                   size_t length) noexcept nogil


cdef struct FileId:
    uint64_t dev
    uint64_t ino


cdef struct Run:
    const Root* roots
    size_t root_count
    Control control
    Hooks hooks
    Output output
    bint skip_errors
    bint align                  # large bodies begin on a block
    bint sparse                 # files with holes become sparse entries
    bint part                   # of a longer archive: it does not end here
    bint named                  # trees with a prefix are directories of that name, with their own entries and links
    size_t threads              # workers, the calling thread included; 0: as many as pay off
    size_t cores                # that this process may use
    size_t memory               # bytes of chunks
    const FileId* outputs       # the archive itself and what it replaces: never archived
    size_t output_count

    Queue queue
    # Whoever walks:
    Walker walker
    Scratch walk_scratch
    size_t tree                 # index of the one being walked
    bint in_tree
    Dirfd* added_dir            # the tree's `added_fd`, NULL without one
    size_t added                # how many of the tree's added files were given
    # Whoever's piece is in turn:
    Links links
    size_t links_tree
    Pending pending
    # Atomic:
    uint64_t batch_items        # names to be gathered at once
    uint64_t filled_bytes
    bint failed                 # for the calling thread: a report ended the export


cdef struct Worker:
    Run* run
    size_t number               # 0: the calling thread
    pthread_t thread
    # Time spent on walking and filling, nanoseconds; atomic:
    uint64_t filling            # since when it is at it; 0: it is not
    uint64_t filled_ns          # before that
    Scratch scratch
    Scratch ancestors           # for parents written late, while `scratch` holds the child
    const Root* root            # of the piece in hand
    size_t tree
    Piece* piece
    bint in_turn                # everything before the piece has its size
    PieceOrder waits_for        # what AGAIN waits for
    const char* path            # of the entry in hand, for reports
    size_t path_length
