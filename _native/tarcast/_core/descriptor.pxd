# An open file descriptor that belongs to a Python object; see descriptor.pyx.

cdef class Descriptor:
    cdef int fd     # -1: closed
