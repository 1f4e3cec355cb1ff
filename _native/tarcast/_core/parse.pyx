# See parse.pxd.

from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from tarcast._core.header cimport BLOCK
from tarcast._core.parse cimport GNU, USTAR, V7, Head, Item


cdef bint is_zero(const char* block) noexcept nogil:
    cdef uint64_t word
    cdef size_t i
    for i in range(<size_t>BLOCK // 8):
        memcpy(&word, block + 8 * i, 8)
        if word:
            return False
    return True


cdef size_t text_length(const char* field, size_t size) noexcept nogil:
    """How long the string in a field is; one that fills it has no NUL."""
    cdef const void* end = memchr(field, 0, size)
    return size if end == NULL else <size_t>(<const char*>end - field)


cdef bint binary_read(const char* field, size_t size, int64_t* value) noexcept nogil:
    """A number in base 256, two's complement, the first bit being a mark. False: more than 64 bits."""
    cdef bint negative = (<uint8_t>field[0] & 0x40) != 0
    cdef uint64_t got = <uint64_t>-1 if negative else 0
    cdef uint8_t byte
    cdef size_t i
    for i in range(size):
        byte = <uint8_t>field[i]
        if i == 0:
            byte = byte | 0x80 if negative else byte & 0x7F
        if (got >> 55) != (0x1FF if negative else 0):
            return False
        got = got << 8 | byte
    value[0] = <int64_t>got
    return True


cdef bint number_read(const char* field, size_t size, int64_t* value) noexcept nogil:
    """A number of a header: octal digits between blanks and NULs, or base 256; nothing at all is 0."""
    cdef uint64_t got = 0
    cdef size_t i = 0
    if <uint8_t>field[0] & 0x80:
        return binary_read(field, size, value)
    while i < size and field[i] == c' ':
        i += 1
    while i < size and c'0' <= field[i] <= c'7':
        if got >> 60:
            return False
        got = got << 3 | <uint64_t>(field[i] - c'0')
        i += 1
    if i < size and field[i] != c' ' and field[i] != 0:
        return False
    value[0] = <int64_t>got
    return True


cdef bint decimal_read(const char* text, size_t length, int64_t* value) noexcept nogil:
    """A number of a pax record: decimal digits, with a minus before them or not."""
    cdef bint negative = length > 0 and text[0] == c'-'
    cdef size_t i = 1 if negative else 0
    cdef int digit
    cdef int64_t got = 0
    if i == length:
        return False
    while i < length:
        if not c'0' <= text[i] <= c'9':
            return False
        digit = text[i] - c'0'
        # Below zero all the way, where there is room for one more.
        if got < (INT64_MIN + digit) // 10:
            return False
        got = got * 10 - digit
        i += 1
    if not negative and got == INT64_MIN:
        return False
    value[0] = got if negative else -got
    return True


cdef bint time_read(const char* text, size_t length, int64_t* seconds, int32_t* nanoseconds) noexcept nogil:
    """A time of a pax record: seconds with a fraction or not. `nanoseconds` count forward from `seconds`."""
    cdef const void* found = memchr(text, c'.', length) if length else NULL
    cdef size_t whole = length if found == NULL else <size_t>(<const char*>found - text)
    cdef size_t i = whole + 1
    cdef int32_t fraction = 0
    cdef int32_t unit = 100000000
    cdef bint more = False      # digits beyond the ninth: for a negative time they count
    if not decimal_read(text, whole, seconds):
        return False
    while i < length:
        if not c'0' <= text[i] <= c'9':
            return False
        fraction += (text[i] - c'0') * unit
        more = more or (unit == 0 and text[i] != c'0')
        unit //= 10
        i += 1
    if text[0] == c'-' and (fraction or more):
        fraction += more
        if seconds[0] == INT64_MIN:
            return False
        seconds[0] -= 1
        fraction = 1000000000 - fraction
    nanoseconds[0] = fraction
    return True


cdef const char* item_read(const char* data, size_t length, size_t* at, Item* item) noexcept nogil:
    """The pax record at `at`, which is moved behind it. NULL, or what is wrong with it."""
    cdef const char* text = data + at[0]
    cdef size_t left = length - at[0]
    cdef size_t size = 0
    cdef size_t i = 0
    cdef const void* equals
    while i < left and c'0' <= text[i] <= c'9':
        size = size * 10 + <size_t>(text[i] - c'0')
        if size > left:
            return b"a pax record is longer than its header"
        i += 1
    if i == 0 or i == left or text[i] != c' ':
        return b"a pax record does not begin with its length"
    i += 1
    if size <= i or text[size - 1] != c'\n':
        return b"a pax record does not end where it says"
    equals = memchr(text + i, c'=', size - 1 - i)
    if equals == NULL or equals == text + i:
        return b"a pax record has no key"
    item.key = text + i
    item.key_length = <size_t>(<const char*>equals - item.key)
    item.value = item.key + item.key_length + 1
    item.value_length = <size_t>(text + size - 1 - item.value)
    at[0] += size
    return NULL


cdef bint is_sum_right(const char* block) noexcept nogil:
    """The sum over a block with blanks in its own field; old tars added signed bytes."""
    cdef int64_t stated
    cdef int64_t total = 8 * c' '
    cdef size_t i
    if not number_read(block + 148, 8, &stated):
        return False
    for i in range(<size_t>BLOCK):
        total += <uint8_t>block[i]
    for i in range(148, 156):
        total -= <uint8_t>block[i]
    if stated == total:
        return True
    for i in range(<size_t>BLOCK):
        if <uint8_t>block[i] & 0x80 and (i < 148 or i >= 156):
            total -= 256
    return stated == total


cdef const char* head_read(const char* block, Head* head) noexcept nogil:
    """Take a header block apart. NULL, or what is wrong with it; zeros are not for it."""
    cdef bint star
    if not is_sum_right(block):
        return b"no header of a tar, or a damaged one: its checksum is wrong"
    head.type = block[156]
    head.name = block
    head.name_length = text_length(block, 100)
    head.link = block + 157
    head.link_length = text_length(block + 157, 100)
    head.prefix = block + 345
    head.prefix_length = 0
    head.devmajor = head.devminor = 0
    head.dialect = V7
    if memcmp(block + 257, b"ustar\x00", 6) == 0:
        head.dialect = USTAR
        # star has times in the last bytes of the prefix.
        star = memcmp(block + 508, b"tar\x00", 4) == 0
        head.prefix_length = text_length(block + 345, 131 if star else 155)
    elif memcmp(block + 257, b"ustar ", 6) == 0:
        head.dialect = GNU
    if head.dialect != V7 and (not number_read(block + 329, 8, &head.devmajor)
                               or not number_read(block + 337, 8, &head.devminor)):
        # What is no device may have anything there.
        if head.type == c'3' or head.type == c'4':
            return b"a header's device is no number"
        head.devmajor = head.devminor = 0
    if not number_read(block + 100, 8, &head.mode):
        return b"a header's mode is no number"
    if not number_read(block + 108, 8, &head.uid) or not number_read(block + 116, 8, &head.gid):
        return b"a header's owner is no number"
    if not number_read(block + 124, 12, &head.size) or head.size < 0:
        return b"a header's size is no number"
    if not number_read(block + 136, 12, &head.mtime):
        return b"a header's time is no number"
    return NULL
