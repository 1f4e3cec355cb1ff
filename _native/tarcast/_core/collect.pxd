# What the file system knows of one name: open it, stat it, read its link and attributes.
#
# Everything is relative to the directory's descriptor and never follows a
# symlink. The Scratch belongs to one worker and owns what the results point
# to, until the next entry. No GIL, no allocation per entry.

from tarcast._core.entry cimport Entry
from tarcast._core.posix cimport tc_stat
from tarcast._core.status cimport Status
from tarcast._core.xattr cimport XattrBuffer


cdef struct Scratch:
    XattrBuffer xattrs
    char* link
    size_t link_capacity
    int noatime             # O_NOATIME until the kernel refuses it once


cdef struct Found:
    int fd                  # open for data or names, the caller's to close; -1 for what is never opened
    int open_error          # errno where a file or directory could not be opened
    tc_stat st              # of the descriptor where there is one


cdef int scratch_init(Scratch* scratch) noexcept nogil
cdef void scratch_free(Scratch* scratch) noexcept nogil
cdef int collect_open(Scratch* scratch, int dirfd, const char* name, unsigned char kind, Found* found,
                      Status* status) noexcept nogil
cdef int collect_link(Scratch* scratch, int dirfd, const char* name, const char* prefix, size_t prefix_length,
                      Entry* entry, Status* status) noexcept nogil
cdef size_t clean_rooted(const char* path, size_t length, char* out) noexcept nogil
