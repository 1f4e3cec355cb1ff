# Descriptors that cannot be lost: one is owned from the moment the kernel gives it.
#
# A number from os.open belongs to nobody until it is stored somewhere, and
# Ctrl-C may come in between. A Descriptor closes itself when nobody holds it.

import os as _os

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.string cimport strlen

cdef extern from "Python.h":
    char* PyBytes_AsString(object) except NULL

cdef extern from "<fcntl.h>" nogil:
    int openat(int dirfd, const char* path, int flags, ...)
    int O_CLOEXEC
    int AT_FDCWD

cdef extern from "<unistd.h>" nogil:
    int close(int fd)


cdef class Descriptor:
    """An open file descriptor; closed by `close`, at the end of a `with` block, or with the object."""

    def __cinit__(self, int fd=-1):
        self.fd = fd

    def fileno(self):
        """The number; -1 once closed."""
        return self.fd

    def close(self):
        """Close it, if that was not done yet. OSError is a late error of what was written; closed it is all the same."""
        cdef int fd = self.fd
        cdef int error = 0
        self.fd = -1
        if fd >= 0:
            with nogil:
                if close(fd) != 0:
                    error = errno
        if error and error != EINTR:
            raise OSError(error, _os.strerror(error))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)


def open_file(path, int flags, *, int mode=0o666, int dirfd=AT_FDCWD):
    """openat(2) with O_CLOEXEC.

    Raises:
        OSError: with `filename` set to `path`.
        ValueError: `path` holds a NUL, or characters that no name can have.
    """
    cdef Descriptor made = Descriptor.__new__(Descriptor)
    cdef bytes raw = _os.fsencode(path)
    cdef const char* text = PyBytes_AsString(raw)
    cdef int error
    if strlen(text) != <size_t>len(raw):
        raise ValueError("embedded null byte")
    while True:
        with nogil:
            made.fd = openat(dirfd, text, flags | O_CLOEXEC, mode)
            error = errno
        if made.fd >= 0:
            return made
        if error != EINTR:
            raise OSError(error, _os.strerror(error), path)
        PyErr_CheckSignals()
