# Pax records of one entry, in the byte order of their keys (tar-bytes 5.5). See pax.pxd.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from tarcast._core.entry cimport Entry, Xattr
from tarcast._core.pax cimport Needs


cdef enum:
    PAD_KEY_LENGTH = 14


cdef size_t decimal_digits(uint64_t value) noexcept nogil:
    cdef size_t digits = 1
    while value >= 10:
        value //= 10
        digits += 1
    return digits


cdef size_t record_size(size_t key_length, size_t value_length) noexcept nogil:
    """The smallest length that counts its own digits: space, '=' and newline are the 3."""
    cdef size_t rest = key_length + value_length + 3
    cdef size_t size = rest + decimal_digits(rest)
    if rest + decimal_digits(size) != size:
        size = rest + decimal_digits(size)
    return size


cdef size_t number_size(int64_t value) noexcept nogil:
    return decimal_digits(<uint64_t>value) if value >= 0 else 1 + decimal_digits(0 - <uint64_t>value)


cdef char* put(char* out, const char* data, size_t length) noexcept nogil:
    memcpy(out, data, length)
    return out + length


cdef char* put_decimal(char* out, uint64_t value) noexcept nogil:
    cdef size_t digits = decimal_digits(value)
    cdef size_t i = digits
    while i > 0:
        i -= 1
        out[i] = <char>(48 + value % 10)
        value //= 10
    return out + digits


cdef char* put_record(char* out, const char* prefix, size_t prefix_length, const char* key, size_t key_length,
                      const char* value, size_t value_length) noexcept nogil:
    out = put_decimal(out, record_size(prefix_length + key_length, value_length))
    out[0] = c' '
    out = put(out + 1, prefix, prefix_length)
    out = put(out, key, key_length)
    out[0] = c'='
    out = put(out + 1, value, value_length)
    out[0] = c'\n'
    return out + 1


cdef char* put_number(char* out, const char* key, size_t key_length, int64_t value) noexcept nogil:
    cdef char text[24]
    cdef char* end = text
    if value < 0:
        end[0] = c'-'
        end = put_decimal(end + 1, 0 - <uint64_t>value)
    else:
        end = put_decimal(end, <uint64_t>value)
    return put_record(out, b"", 0, key, key_length, text, <size_t>(end - text))


cdef size_t pax_pad_length(size_t room) noexcept nogil:
    """How long the value of a padding record may be that the record has at most `room` bytes more than the shortest.

    It has all of them, or one less where no record can be so long: 100 bytes, 1000, ...
    """
    cdef size_t least = record_size(PAD_KEY_LENGTH, 0)
    cdef size_t length = room
    while record_size(PAD_KEY_LENGTH, length) > least + room:
        length -= 1
    return length


cdef void pax_measure(const Entry* entry, Needs* needs) noexcept nogil:
    """Add up `needs.total` for the records that the flags of `needs` and the attributes ask for."""
    cdef size_t total = 0
    cdef size_t i
    if needs.sparse:
        total += 2 * record_size(16, 1) + record_size(15, entry.name_length)
        total += record_size(19, number_size(<int64_t>entry.real_size))
    if needs.pad:
        total += record_size(PAD_KEY_LENGTH, needs.pad_length)
    for i in range(entry.xattr_count):
        total += record_size(13 + entry.xattrs[i].name_length, entry.xattrs[i].value_length)
    if needs.gid:
        total += record_size(3, number_size(entry.gid))
    if needs.link:
        total += record_size(8, entry.link_length)
    if needs.mtime:
        total += record_size(5, number_size(entry.mtime))
    if needs.path:
        total += record_size(4, entry.name_length)
    if needs.size:
        total += record_size(4, number_size(<int64_t>entry.size))
    if needs.uid:
        total += record_size(3, number_size(entry.uid))
    needs.total = total


cdef char* pax_write(const Entry* entry, const Needs* needs, char* out) noexcept nogil:
    """Write the `needs.total` bytes of records; gives the byte behind them."""
    cdef size_t i
    cdef const Xattr* x
    if needs.sparse:
        out = put_number(out, b"GNU.sparse.major", 16, 1)
        out = put_number(out, b"GNU.sparse.minor", 16, 0)
        out = put_record(out, b"", 0, b"GNU.sparse.name", 15, entry.name, entry.name_length)
        out = put_number(out, b"GNU.sparse.realsize", 19, <int64_t>entry.real_size)
    if needs.pad:
        out = put_decimal(out, record_size(PAD_KEY_LENGTH, needs.pad_length))
        out = put(out, b" LIBARCHIVE.pad=", 16)
        memset(out, c' ', needs.pad_length)
        out[needs.pad_length] = c'\n'
        out += needs.pad_length + 1
    for i in range(entry.xattr_count):
        x = &entry.xattrs[i]
        out = put_record(out, b"SCHILY.xattr.", 13, x.name, x.name_length, x.value, x.value_length)
    if needs.gid:
        out = put_number(out, b"gid", 3, entry.gid)
    if needs.link:
        out = put_record(out, b"", 0, b"linkpath", 8, entry.link, entry.link_length)
    if needs.mtime:
        out = put_number(out, b"mtime", 5, entry.mtime)
    if needs.path:
        out = put_record(out, b"", 0, b"path", 4, entry.name, entry.name_length)
    if needs.size:
        out = put_number(out, b"size", 4, <int64_t>entry.size)
    if needs.uid:
        out = put_number(out, b"uid", 3, entry.uid)
    return out
