# From one connected stream socket to the next, by a thread that needs no GIL meanwhile: with it each piece would wait
# for whatever Python code runs just then, and so would the other side's word that there is room for more.

import os as _os

from libc.stdint cimport uint64_t

from tarcast._core.posix cimport tc_observe

cdef extern from "pump.h" nogil:
    int tc_pump(int source, int target, uint64_t* moved)


cdef class Pump:
    """Moves bytes from one socket to another."""

    cdef uint64_t _moved

    def run(self, int source, int target):
        """Move until the source ends; shutdown(2) of either socket, by any thread, is an end too.

        Args:
            source, target: descriptors of connected, blocking stream sockets, which stay open meanwhile.

        Raises:
            OSError: one of them broke, or there is no memory.
        """
        cdef int error
        with nogil:
            error = tc_pump(source, target, &self._moved)
        if error:
            raise OSError(error, _os.strerror(error))

    @property
    def moved(self):
        """Bytes that the source has given so far; for any thread."""
        return tc_observe(&self._moved)
