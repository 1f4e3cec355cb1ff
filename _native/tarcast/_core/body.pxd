# A file's data, of exactly the size that its header promised.
#
# No GIL; the descriptor is borrowed.

from tarcast._core.status cimport Status


cdef int body_read(int fd, char* out, size_t size, Status* status) noexcept nogil
