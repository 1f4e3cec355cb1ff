# Opening a path that somebody else wrote, inside a directory that it must not leave. See src/tarcast/_core/inroot.pyi.

import os

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport errno
from libc.string cimport strlen

from tarcast._core.posix cimport EAGAIN, EINTR, O_CLOEXEC, tc_open_in_root

cdef extern from "Python.h":
    char* PyBytes_AsString(object) except NULL

# The kernel gives EAGAIN when something was renamed or mounted while it went through "..". A tree in which that
# never ends is not worth waiting for.
cdef enum:
    MOST_TRIES = 1000


def open_in_root(int dirfd, bytes path, int flags):
    cdef const char* text = PyBytes_AsString(path)
    cdef int fd, error, tries = 0
    if strlen(text) != <size_t>len(path):
        raise ValueError("embedded null byte")
    while True:
        with nogil:
            fd = tc_open_in_root(dirfd, text, flags | O_CLOEXEC)
            error = errno
        if fd >= 0:
            return fd
        if error == EAGAIN and tries < MOST_TRIES:
            tries += 1
        elif error != EINTR:
            raise OSError(error, os.strerror(error), path)
        PyErr_CheckSignals()
