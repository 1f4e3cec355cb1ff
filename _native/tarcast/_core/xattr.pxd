# The extended attributes of one entry, read into memory that a worker reuses.
#
# XattrBuffer owns list, values and items; what xattr_read leaves in items
# points into them and lives until the next xattr_read. No GIL.

from tarcast._core.entry cimport Xattr
from tarcast._core.status cimport Status


cdef struct XattrBuffer:
    char* list              # names as the kernel gives them, NUL-separated
    char* values
    size_t values_capacity
    Xattr* items            # sorted by name
    size_t items_capacity
    size_t count


cdef int xattr_init(XattrBuffer* buffer) noexcept nogil
cdef void xattr_free(XattrBuffer* buffer) noexcept nogil
cdef int xattr_read(XattrBuffer* buffer, int fd, int dirfd, const char* name, Status* status) noexcept nogil
cdef bint xattr_name_fits(const Xattr* item) noexcept nogil
