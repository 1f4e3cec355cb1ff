# Pax extended-header records: "LENGTH KEY=VALUE\n", LENGTH counting itself (POSIX pax).
#
# Pure: no I/O, no allocation, no GIL. Callers reserve what pax_record_size says.

from libc.stdint cimport uint64_t

from tarcast._core.entry cimport Entry

cdef enum:
    PAX_LIMIT = 1048576     # bytes of records an entry may have (Go archive/tar, tar-bytes 4.6)


cdef struct Needs:
    # which records the entry needs, and how long they are together in bytes
    bint path
    bint link
    bint uid
    bint gid
    bint size
    bint mtime
    bint sparse
    bint pad                # a record that only takes up room, with a value of so many bytes:
    size_t pad_length
    size_t total


cdef char* put_decimal(char* out, uint64_t value) noexcept nogil
cdef size_t pax_pad_length(size_t room) noexcept nogil
cdef void pax_measure(const Entry* entry, Needs* needs) noexcept nogil
cdef char* pax_write(const Entry* entry, const Needs* needs, char* out) noexcept nogil
