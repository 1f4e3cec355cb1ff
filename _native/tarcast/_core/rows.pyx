# From members to lines of JSON, and to rows of tables. What the fields mean: docs/index.md.

import json

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from tarcast._core.pax cimport put_decimal
from tarcast._core.scan cimport Member

cdef extern from "Python.h":
    char* PyBytes_AsString(object) except NULL

cdef enum:
    # Keys, braces and numbers of one line, whatever the member: its names and its digest come on top.
    LINE = 512


cdef class Lines:
    cdef char* start
    cdef size_t used
    cdef size_t capacity

    def __dealloc__(self):
        free(self.start)

    cdef int reserve(self, size_t room) except -1:
        cdef char* grown
        if self.capacity - self.used < room:
            grown = <char*>realloc(self.start, self.capacity + room + (self.capacity >> 1))
            if grown == NULL:
                raise MemoryError
            self.start = grown
            self.capacity += room + (self.capacity >> 1)
        return 0

    # Those below write into what was reserved.

    cdef void put(self, const char* text, size_t length) noexcept:
        memcpy(self.start + self.used, text, length)
        self.used += length

    cdef void put_number(self, const char* key, size_t length, int64_t value) noexcept:
        self.put(key, length)
        if value < 0:
            self.put(b"-", 1)
        self.used = <size_t>(put_decimal(self.start + self.used, 0 - <uint64_t>value if value < 0 else <uint64_t>value)
                             - self.start)

    cdef int put_name(self, const char* key, size_t key_length, const char* raw_key, size_t raw_length, bytes name) except -1:
        """Reserves for itself, and leaves LINE bytes of room."""
        cdef const char* text = name
        cdef size_t length = <size_t>len(name)
        cdef size_t i
        cdef bytes encoded
        cdef bytes digits = b""
        for i in range(length):
            if not c" " <= text[i] <= c"~" or text[i] == c'"' or text[i] == c"\\":
                break
        else:
            self.reserve(length + LINE)
            self.put(key, key_length)
            self.put(b'"', 1)
            self.put(text, length)
            self.put(b'"', 1)
            return 0
        try:
            encoded = json.dumps(name.decode(), ensure_ascii=False).encode()
        except UnicodeDecodeError:
            encoded = json.dumps(name.decode(errors="replace"), ensure_ascii=False).encode()
            digits = name.hex().encode()
        self.reserve(<size_t>(len(encoded) + len(digits)) + LINE)
        self.put(key, key_length)
        self.put(encoded, <size_t>len(encoded))
        if digits:
            self.put(raw_key, raw_length)
            self.put(digits, <size_t>len(digits))
            self.put(b'"', 1)
        return 0

    cdef int put_member(self, Member member) except -1:
        cdef bytes kind = member.type.encode()
        cdef bytes digits = b"" if member.digest is None else member.digest.hex().encode()
        self.put_name(b'{"name":', 8, b',"raw_name":"', 13, member.raw_name)
        self.put(b',"type":"', 9)
        self.put(PyBytes_AsString(kind), <size_t>len(kind))
        self.put(b'"', 1)
        self.put_number(b',"header_offset":', 17, member.header_offset)
        self.put_number(b',"data_offset":', 15, member.data_offset)
        self.put_number(b',"size":', 8, member.size)
        if member.stored != member.size:
            self.put_number(b',"stored":', 10, member.stored)
        self.put_number(b',"mode":', 8, member.mode)
        self.put_number(b',"uid":', 7, member.uid)
        self.put_number(b',"gid":', 7, member.gid)
        self.put_number(b',"mtime":', 9, member.mtime)
        if member.mtime_nsec:
            self.put_number(b',"mtime_nsec":', 14, member.mtime_nsec)
        if member.devmajor or member.devminor:
            self.put_number(b',"devmajor":', 12, member.devmajor)
            self.put_number(b',"devminor":', 12, member.devminor)
        if member.raw_linkname:
            self.put_name(b',"link":', 8, b',"raw_link":"', 13, member.raw_linkname)
        if member.sparse is not None:
            kind = member.sparse.encode()
            self.put(b',"sparse":"', 11)
            self.put(PyBytes_AsString(kind), <size_t>len(kind))
            self.put(b'"', 1)
        if digits:
            self.reserve(<size_t>len(digits) + LINE)
            self.put(b',"digest":"', 11)
            self.put(PyBytes_AsString(digits), <size_t>len(digits))
            self.put(b'"', 1)
        self.put(b"}\n", 2)
        return 0


def text_and_raw(bytes name):
    """A name as two columns: text, and the bytes themselves where they are no UTF-8."""
    try:
        return name.decode(), None
    except UnicodeDecodeError:
        return name.decode(errors="replace"), name


def row(Member member not None):
    """The member's columns, in the order of tarcast.index.form.COLUMNS; what says nothing is None."""
    cdef object link = None
    cdef object raw_link = None
    name, raw_name = text_and_raw(member.raw_name)
    if member.raw_linkname:
        link, raw_link = text_and_raw(member.raw_linkname)
    return (
        name,
        raw_name,
        member.type,
        member.header_offset,
        member.data_offset,
        member.size,
        None if member.stored == member.size else member.stored,
        member.mode,
        member.uid,
        member.gid,
        member.mtime,
        member.mtime_nsec or None,
        member.devmajor or None,
        member.devminor or None,
        link,
        raw_link,
        member.sparse,
        member.digest,
    )


def json_lines(list members):
    """Each member as a line of JSON, as bytes."""
    cdef Lines lines = Lines.__new__(Lines)
    for member in members:
        lines.put_member(<Member?>member)
    return lines.start[:lines.used] if lines.used else b""
