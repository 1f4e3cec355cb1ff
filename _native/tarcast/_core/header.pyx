# Choice of format and encoding of header blocks (tar-bytes 5). See header.pxd for the contract.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from tarcast._core.entry cimport Entry
from tarcast._core.header cimport ALIGNMENT, BLOCK, Plan
from tarcast._core.pax cimport PAX_LIMIT, pax_measure, pax_pad_length, pax_write

# Every offset of the ustar header stands here once (POSIX pax, "ustar Interchange Format").
cdef enum:
    AT_NAME = 0
    AT_MODE = 100
    AT_UID = 108
    AT_GID = 116
    AT_SIZE = 124
    AT_MTIME = 136
    AT_CHECKSUM = 148
    AT_TYPE = 156
    AT_LINK = 157
    AT_MAGIC = 257
    AT_DEVMAJOR = 329
    AT_DEVMINOR = 337
    AT_PREFIX = 345

    NAME_SIZE = 100
    PREFIX_SIZE = 155

cdef enum:
    MAX_OCTAL_7 = 0o7777777

cdef uint64_t MAX_OCTAL_11 = 0o77777777777


cdef bint is_ascii(const char* text, size_t length) noexcept nogil:
    cdef uint64_t word
    cdef size_t i = 0
    while i + 8 <= length:
        memcpy(&word, text + i, 8)
        if word & <uint64_t>0x8080808080808080:
            return False
        i += 8
    while i < length:
        if <uint8_t>text[i] >= 0x80:
            return False
        i += 1
    return True


cdef size_t ustar_split(const char* name, size_t length) noexcept nogil:
    """Where a long ASCII name divides into prefix and name, as far right as allowed; 0 where it cannot (tar-bytes 5.3)."""
    cdef size_t window = length
    cdef size_t at
    cdef size_t rest
    if window > PREFIX_SIZE + 1:
        window = PREFIX_SIZE + 1
    elif name[length - 1] == c'/':
        window -= 1
    at = window
    while at > 0 and name[at - 1] != c'/':
        at -= 1
    if at <= 1:
        return 0
    at -= 1
    rest = length - at - 1
    return at if 1 <= rest <= NAME_SIZE else 0


cdef bint header_plan(const Entry* entry, Plan* plan) noexcept nogil:
    """Choose the format and measure. False when the pax records exceed PAX_LIMIT; their size is in plan.needs.total."""
    cdef bint plain_name = is_ascii(entry.name, entry.name_length)
    plan.split = 0
    plan.pax = entry.xattr_count > 0 or not plain_name or entry.sparse
    if plain_name and entry.name_length > NAME_SIZE:
        plan.split = ustar_split(entry.name, entry.name_length)
        plan.pax = plan.pax or plan.split == 0
    plan.needs.link = entry.link_length > NAME_SIZE or not is_ascii(entry.link, entry.link_length)
    plan.needs.uid = entry.uid > MAX_OCTAL_7
    plan.needs.gid = entry.gid > MAX_OCTAL_7
    plan.needs.size = entry.size > MAX_OCTAL_11
    plan.needs.mtime = entry.mtime < 0 or <uint64_t>entry.mtime > MAX_OCTAL_11
    plan.pax = (plan.pax or plan.needs.link or plan.needs.uid or plan.needs.gid or plan.needs.size
                or plan.needs.mtime)
    plan.needs.sparse = entry.sparse
    # A name that could have been split still gets its record: pax headers have no prefix. A sparse entry has its
    # name in a record of its own, and tarfile would take a second one for it.
    plan.needs.path = (not plain_name or entry.name_length > NAME_SIZE) and not entry.sparse
    plan.needs.pad = False
    plan.size = BLOCK
    if plan.pax:
        measure(entry, plan)
    return not plan.pax or plan.needs.total <= PAX_LIMIT


cdef void measure(const Entry* entry, Plan* plan) noexcept nogil:
    pax_measure(entry, &plan.needs)
    plan.size = BLOCK + (plan.needs.total + BLOCK - 1) // BLOCK * BLOCK + BLOCK


cdef void header_align(const Entry* entry, Plan* plan, uint64_t at) noexcept nogil:
    """Pad the pax records so that the body begins on a multiple of ALIGNMENT, the header being at offset `at`.

    With libarchive's record for that, which says nothing. `plan` stays as it is where the
    body is aligned already, or the records are too large for more.
    """
    cdef Plan padded = plan[0]
    cdef size_t room
    if (at + plan.size) % ALIGNMENT == 0:
        return
    padded.pax = True
    padded.needs.pad = True
    padded.needs.pad_length = 0
    measure(entry, &padded)
    # What is left of the last block of records, and blocks more until the body is where it should be.
    room = padded.size - 2 * BLOCK - padded.needs.total
    room += <size_t>((ALIGNMENT - (at + padded.size) % ALIGNMENT) % ALIGNMENT)
    padded.needs.pad_length = pax_pad_length(room)
    measure(entry, &padded)
    if padded.needs.total <= PAX_LIMIT:
        plan[0] = padded


cdef uint64_t octal_text(uint64_t value) noexcept nogil:
    """The eight octal digits of `value`, less than 8**8, as text: the first one in the highest byte."""
    value = (value & 0o7777) | (value & 0o77770000) << 20
    value = (value & <uint64_t>0x0000003F0000003F) | (value & <uint64_t>0x00000FC000000FC0) << 10
    value = (value & <uint64_t>0x0007000700070007) | (value & <uint64_t>0x0038003800380038) << 5
    return value | <uint64_t>0x3030303030303030


cdef void put_text(char* field, uint64_t text) noexcept nogil:
    """Eight bytes, the highest first; compilers make one store of it."""
    cdef int i
    for i in range(8):
        field[i] = <char>(text >> (56 - 8 * i))


cdef void put_octal_7(char* field, uint64_t value) noexcept nogil:
    """Seven octal digits and a NUL."""
    put_text(field, octal_text(value) << 8)


cdef void put_octal_11(char* field, uint64_t value) noexcept nogil:
    """Eleven octal digits; the NUL behind them is there already."""
    field[0] = <char>(48 + (value >> 30 & 7))
    field[1] = <char>(48 + (value >> 27 & 7))
    field[2] = <char>(48 + (value >> 24 & 7))
    put_text(field + 3, octal_text(value & 0o77777777))


cdef size_t copy_ascii(char* out, size_t room, const char* text, size_t length) noexcept nogil:
    """Copy `text` without its bytes >= 0x80, at most `room` bytes; gives how many there were to copy."""
    cdef size_t kept = 0
    cdef size_t i
    for i in range(length):
        if <uint8_t>text[i] < 0x80:
            if kept < room:
                out[kept] = text[i]
            kept += 1
    return kept


cdef void cut_at_slash(char* field, size_t size, size_t length) noexcept nogil:
    """Go's rule for a string cut right behind a '/': end it before the slashes (tar-bytes 5.2)."""
    cdef size_t end
    if length > size and field[size - 1] == c'/':
        end = size - 1
        while end > 0 and field[end - 1] == c'/':
            end -= 1
        field[end] = 0


cdef void put_string(char* field, size_t size, const char* text, size_t length) noexcept nogil:
    memcpy(field, text, length if length < size else size)
    cut_at_slash(field, size, length)


cdef void put_ascii(char* field, size_t size, const char* text, size_t length) noexcept nogil:
    cut_at_slash(field, size, copy_ascii(field, size, text, length))


cdef uint32_t sum_of(const char* block) noexcept nogil:
    """The sum of a block's bytes: eight at a time, in four counters of 16 bits each, which 64 words cannot overflow."""
    cdef uint64_t word
    cdef uint64_t counters = 0
    cdef uint64_t every_second = 0x00FF00FF00FF00FF
    cdef size_t i
    for i in range(<size_t>BLOCK // 8):
        memcpy(&word, block + 8 * i, 8)
        counters += (word & every_second) + (word >> 8 & every_second)
    return <uint32_t>((counters & 0xFFFF) + (counters >> 16 & 0xFFFF) + (counters >> 32 & 0xFFFF) + (counters >> 48))


cdef void finish(char* block, char type) noexcept nogil:
    """What all headers share: type, magic, and the checksum over the block with spaces in its own field."""
    block[AT_TYPE] = type
    memcpy(block + AT_MAGIC, b"ustar\x0000", 8)
    memset(block + AT_CHECKSUM, c' ', 8)
    # Six digits, a NUL, a space.
    put_text(block + AT_CHECKSUM, octal_text(sum_of(block)) << 16 | c' ')


cdef void put_inserted(char* block, const Entry* entry, const char* component, size_t length) noexcept nogil:
    """The entry's name with a `component` (ending in a slash) before its last one: ASCII only, at most 100 bytes.

    tar-bytes 5.4. The rest of the block becomes zeros.
    """
    cdef size_t cut = entry.name_length
    cdef size_t kept
    cdef size_t room
    while cut > 0 and entry.name[cut - 1] != c'/':
        cut -= 1
    # `cut` bytes of directory with its slash, then the inserted component, then the rest.
    kept = copy_ascii(block, NAME_SIZE, entry.name, cut)
    if kept < NAME_SIZE:
        room = NAME_SIZE - kept
        memcpy(block + kept, component, length if room > length else room)
    kept += length if cut < entry.name_length else length - 1
    if kept < NAME_SIZE:
        kept += copy_ascii(block + kept, NAME_SIZE - kept, entry.name + cut, entry.name_length - cut)
    if kept > NAME_SIZE:
        kept = NAME_SIZE
    while kept > 0 and block[kept - 1] == c'/':
        kept -= 1
    memset(block + kept, 0, BLOCK - kept)


cdef void put_extended(const Entry* entry, size_t size, char* block) noexcept nogil:
    """The block before the records; its name is d/PaxHeaders.0/f."""
    put_inserted(block, entry, b"PaxHeaders.0/", 13)
    put_octal_7(block + AT_MODE, 0)
    put_octal_7(block + AT_UID, 0)
    put_octal_7(block + AT_GID, 0)
    put_octal_11(block + AT_SIZE, size)
    put_octal_11(block + AT_MTIME, 0)
    finish(block, c'x')


cdef void header_write(const Entry* entry, const Plan* plan, char* out) noexcept nogil:
    """Write exactly plan.size bytes."""
    cdef char* end
    if plan.pax:
        put_extended(entry, plan.needs.total, out)
        out += BLOCK
        end = pax_write(entry, &plan.needs, out)
        out += (plan.needs.total + BLOCK - 1) // BLOCK * BLOCK
        memset(end, 0, <size_t>(out - end))
    memset(out, 0, BLOCK)
    if entry.sparse:
        # What readers that do not know sparse entries see; the name proper is in a record.
        put_inserted(out, entry, b"GNUSparseFile.0/", 16)
    elif plan.pax:
        put_ascii(out + AT_NAME, NAME_SIZE, entry.name, entry.name_length)
        put_ascii(out + AT_LINK, NAME_SIZE, entry.link, entry.link_length)
    elif plan.split:
        memcpy(out + AT_PREFIX, entry.name, plan.split)
        memcpy(out + AT_NAME, entry.name + plan.split + 1, entry.name_length - plan.split - 1)
        memcpy(out + AT_LINK, entry.link, entry.link_length)
    else:
        put_string(out + AT_NAME, NAME_SIZE, entry.name, entry.name_length)
        put_string(out + AT_LINK, NAME_SIZE, entry.link, entry.link_length)
    put_octal_7(out + AT_MODE, entry.mode)
    put_octal_7(out + AT_UID, 0 if plan.needs.uid else entry.uid)
    put_octal_7(out + AT_GID, 0 if plan.needs.gid else entry.gid)
    put_octal_11(out + AT_SIZE, 0 if plan.needs.size else entry.size)
    put_octal_11(out + AT_MTIME, 0 if plan.needs.mtime else <uint64_t>entry.mtime)
    put_octal_7(out + AT_DEVMAJOR, entry.devmajor)
    put_octal_7(out + AT_DEVMINOR, entry.devminor)
    finish(out, entry.type)
