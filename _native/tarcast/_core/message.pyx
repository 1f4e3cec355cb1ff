# From pieces of an archive to protobuf messages with one field `bytes data = 1`, each byte copied once.
#
# gRPC takes `bytes` objects and nothing else, so a message is filled in place while nobody else has it.

from libc.string cimport memcpy

cdef extern from "Python.h":
    object PyBytes_FromStringAndSize(const char*, Py_ssize_t)
    char* PyBytes_AsString(object) except NULL

cdef enum:
    TAG = 0x0A  # field 1, length-delimited

# A length of 16 KiB to 2 MiB - 1 takes three bytes as a varint.
cdef enum:
    HEADER = 4
    LEAST = 1 << 14
    MOST = (1 << 21) - 1


cdef class MessageBuilder:
    """Fills messages of `capacity` bytes of data each; the last one may hold less.

    Args:
        capacity: 16 KiB to 2 MiB - 1.
    """

    cdef object _message
    cdef unsigned char* _start
    cdef Py_ssize_t _used
    cdef Py_ssize_t _capacity

    def __init__(self, Py_ssize_t capacity):
        if not LEAST <= capacity <= MOST:
            raise ValueError(f"a message cannot hold {capacity} bytes")
        self._capacity = capacity
        self._message = None
        self._used = 0

    def take(self, const unsigned char[::1] view, Py_ssize_t start=0):
        """Copy as much of `view` from `start` on as fits in.

        Returns:
            (where the next call begins, the message if it is full or else None).
        """
        cdef Py_ssize_t size = view.shape[0]
        cdef Py_ssize_t length
        cdef unsigned char* target
        cdef object full
        if not 0 <= start <= size:
            raise ValueError(f"start {start} is not in a view of {size} bytes")
        if self._message is None:
            self._begin()
        length = min(size - start, self._capacity - self._used)
        if length > 0:
            target = self._start + HEADER + self._used
            with nogil:
                memcpy(target, &view[start], length)
            self._used += length
        if self._used < self._capacity:
            return start + length, None
        full = self._message
        self._message = None
        self._used = 0
        return start + length, full

    def rest(self):
        """A message of what is left over, or None if there is nothing; begins anew."""
        cdef object message = self._message
        cdef Py_ssize_t used = self._used
        cdef bytearray header
        cdef Py_ssize_t length = used
        self._message = None
        self._used = 0
        if used == 0:
            return None
        header = bytearray([TAG])
        while length >= 0x80:
            header.append(length & 0x7F | 0x80)
            length >>= 7
        header.append(length)
        return bytes(header) + message[HEADER:HEADER + used]

    cdef int _begin(self) except -1:
        cdef object message = PyBytes_FromStringAndSize(NULL, HEADER + self._capacity)
        cdef unsigned char* start = <unsigned char*> PyBytes_AsString(message)
        start[0] = TAG
        start[1] = self._capacity & 0x7F | 0x80
        start[2] = self._capacity >> 7 & 0x7F | 0x80
        start[3] = self._capacity >> 14
        self._start = start
        self._message = message
        return 0
