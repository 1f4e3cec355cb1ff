# See scan.pxd.

import os

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint64_t
from libc.string cimport memcpy

from tarcast._core.header cimport BLOCK
from tarcast._core.parse cimport (
    EXTENSION_COUNT, EXTENSION_MORE_AT, GNU, OLD_SPARSE_AT, OLD_SPARSE_COUNT, OLD_SPARSE_MORE_AT, OLD_SPARSE_SIZE_AT,
    USTAR, V7, Head, Item, decimal_read, head_read, is_zero, item_read, number_read, time_read,
)
from tarcast._core.scan cimport (
    IN_BODY, IN_END, IN_HEADER, IN_MAP, IN_RECORDS, Member, Records, Scanner, State,
)

cdef enum:
    # What the extended headers of one member may hold together, four times of what tarcast and Go write at most;
    # and what is kept of all global ones. A map of MOST_PIECES in pax records does not fit in.
    MOST_RECORDS = 4 << 20
    # Attributes in global headers, which hold for every member behind them.
    MOST_SHARED = 4096
    # Pieces of data in a sparse file of old GNU tar, so that a map cannot fill the memory.
    MOST_PIECES = 1 << 20
    # hashlib gives up the GIL for more than SMALL bytes at a time, and to get it back from another thread can take
    # longer than to hash LARGE.
    SMALL = 2047
    LARGE = 1 << 16
    # Characters of a floating-point number as Python writes it: -1.7976931348623157e+308.
    LONGEST_FLOAT = 24

TYPES = {
    "0": "file",
    "1": "hardlink",
    "2": "symlink",
    "3": "character device",
    "4": "block device",
    "5": "directory",
    "6": "fifo",
}
_FLAGS = {kind: ord(flag) for flag, kind in TYPES.items()}


class ScanError(ValueError):
    """What is read is no whole tar archive. `offset`: where that showed."""

    def __init__(self, message, offset):
        super().__init__(message, offset)
        self.message = message
        self.offset = offset

    def __str__(self):
        return f"{self.message} (at byte {self.offset})"


cdef class Member:
    # Documented in src/tarcast/_core/scan.pyi.

    def __init__(self, bytes raw_name, str type, *, bytes raw_linkname=b"", int64_t header_offset=0, int64_t data_offset=0,
                 int64_t size=0, stored=None, int mode=0, int64_t uid=0, int64_t gid=0, int64_t mtime=0,
                 int32_t mtime_nsec=0, int64_t devmajor=0, int64_t devminor=0, bytes digest=None, str sparse=None):
        self.raw_name = raw_name
        self.raw_linkname = raw_linkname
        self.flag = <char><int>_FLAGS.get(type, c"?")
        self.header_offset = header_offset
        self.data_offset = data_offset
        self.size = size
        self.stored = size if stored is None else stored
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.mtime_nsec = mtime_nsec
        self.devmajor = devmajor
        self.devminor = devminor
        self.digest = digest
        self.sparse = sparse
        self.xattrs = ()

    @property
    def name(self):
        return os.fsdecode(self.raw_name)

    @property
    def linkname(self):
        return os.fsdecode(self.raw_linkname)

    @property
    def type(self):
        return TYPES.get(chr(<unsigned char>self.flag), "unknown")

    @property
    def mtime_ns(self):
        return int(self.mtime) * 1000000000 + self.mtime_nsec

    def __repr__(self):
        return f"<Member {self.name!r} {self.type} {self.mode:04o} {self.uid}:{self.gid} {self.size} bytes>"


cdef bytes plain_decimal(bytes value):
    """Without the exponent that Python's tarfile writes where a time is next to 1970 or far from it."""
    if b"e" not in value or len(value) > LONGEST_FLOAT:
        return value
    try:
        return b"%.9f" % float(value)
    except ValueError:
        return value


cdef class Records:
    cdef Records copy(self):
        cdef Records other = Records.__new__(Records)
        other.shared = self.shared
        other.has_uid, other.uid = self.has_uid, self.uid
        other.has_gid, other.gid = self.has_gid, self.gid
        other.has_mtime, other.mtime, other.mtime_nsec = self.has_mtime, self.mtime, self.mtime_nsec
        return other


cdef class Scanner:
    # Documented in src/tarcast/_core/scan.pyi.

    def __init__(self, *, digest=None, sparse_digest=None, uint64_t start=0):
        self.state = IN_HEADER
        self.digest = digest
        self.sparse_digest = sparse_digest
        self.at = start
        self.begun = -1
        self.found = []

    @property
    def position(self):
        return self.at + self.held

    @property
    def ahead(self):
        return 0 if self.hash is not None else self.body + self.padding

    @property
    def ended(self):
        return self.state == IN_END

    @property
    def failed(self):
        return self.trouble is not None

    def pass_by(self, uint64_t count):
        if count > self.ahead:
            raise ValueError("only a body can be passed by")
        self.at += count
        if count > self.body:
            self.padding -= count - self.body
            self.body = 0
        else:
            self.body -= count

    def feed(self, view not None):
        cdef const unsigned char[::1] data = view
        cdef list found
        if self.trouble is not None:
            self.fail(self.trouble)
        try:
            if data.shape[0]:
                self.take(view, <const char*>&data[0], <size_t>data.shape[0])
        except ScanError:
            if not self.found:
                raise
        found = self.found
        self.found = []
        return found

    def close(self):
        if self.trouble is not None:
            self.fail(self.trouble)
        if self.state == IN_END:
            return
        if self.body or self.padding:
            self.fail(f"the archive is cut: {self.body + self.padding} bytes of a member are missing")
        if self.held or self.state != IN_HEADER or self.begun >= 0:
            self.fail("the archive is cut in the middle of a header")
        self.fail("the archive is empty" if not self.at else "the archive is cut: the mark of its end is missing")

    cdef int take(self, object view, const char* data, size_t size) except -1:
        cdef size_t at = 0
        cdef size_t count
        while at < size:
            if self.body:
                count = <size_t>min(<uint64_t>(size - at), self.body)
                if self.hash is not None:
                    if count < LARGE:
                        count = min(count, <size_t>SMALL)
                    self.hash.update(memoryview(view)[at:at + count])
                self.body -= count
                self.at += count
                at += count
                if self.body == 0 and self.hash is not None:
                    self.end_body()
            elif self.padding:
                count = <size_t>min(<uint64_t>(size - at), self.padding)
                self.padding -= count
                self.at += count
                at += count
            elif self.state == IN_END:
                self.at += size - at
                return 0
            elif self.state == IN_RECORDS:
                count = <size_t>min(<uint64_t>(size - at), self.wanted)
                at += self.add_extended(data + at, count)
            elif self.held or size - at < <size_t>BLOCK:
                count = min(size - at, BLOCK - self.held)
                memcpy(self.block + self.held, data + at, count)
                self.held += count
                at += count
                if self.held == <size_t>BLOCK:
                    self.held = 0
                    self.take_block(self.block)
            else:
                self.take_block(data + at)
                at += BLOCK
        return 0

    cdef size_t add_extended(self, const char* data, size_t count) except? 0:
        """The next `count` bytes of an extended header's payload, all of them that are at hand."""
        cdef bytearray whole
        self.at += count
        self.wanted -= count
        if self.wanted:
            self.payload += data[:count]
            return count
        self.state = IN_HEADER
        if not self.payload:
            self.take_extended(data, count)
            return count
        self.payload += data[:count]
        whole = self.payload
        self.payload = bytearray()
        self.take_extended(whole, <size_t>len(whole))
        return count

    cdef int take_block(self, const char* block) except -1:
        cdef Head head
        cdef uint64_t total
        cdef const char* problem
        if self.state == IN_MAP:
            self.at += BLOCK
            return self.take_map(block, EXTENSION_COUNT, block + EXTENSION_MORE_AT)
        if is_zero(block):
            if self.begun >= 0:
                self.fail("the archive ends behind an extended header")
            self.at += BLOCK
            self.state = IN_END
            return 0
        problem = head_read(block, &head)
        if problem != NULL:
            self.fail(problem.decode())
        if <uint64_t>head.size > <uint64_t>INT64_MAX - self.at - 4 * BLOCK:
            self.fail("a header's size leads beyond the end of any file")
        if self.begun < 0 and head.type != c"g":
            self.begun = <int64_t>self.at
        if head.type in b"xXgLK":
            if head.type == c"g":
                total = <uint64_t>head.size
            else:
                self.ahead_of_member += <uint64_t>head.size
                total = self.ahead_of_member
            if total > MOST_RECORDS:
                self.fail(f"extended headers have {total} bytes, and {MOST_RECORDS} is the limit for a member")
            self.at += BLOCK
            self.extended = head.type
            self.wanted = <uint64_t>head.size
            self.padding = 0
            self.payload = bytearray()
            if self.wanted:
                self.state = IN_RECORDS
            return 0
        return self.take_header(&head, block)

    cdef int take_extended(self, const char* data, size_t length) except -1:
        """The whole payload of an extended header; what fills its last block is still to come."""
        cdef size_t end = 0
        self.padding = <uint64_t>((BLOCK - length % BLOCK) % BLOCK)
        if self.extended == c"g":
            if self.globals is None:
                self.globals = Records.__new__(Records)
            self.take_records(self.globals, data, length)
            if self.kept > MOST_RECORDS:
                self.fail(f"attributes in global headers have {self.kept} bytes, and {MOST_RECORDS} is the limit")
            if self.globals.xattrs is not None:
                if len(self.globals.xattrs) > MOST_SHARED:
                    self.fail(f"global headers have more than {MOST_SHARED} extended attributes")
                self.globals.shared = tuple(self.globals.xattrs)
            return 0
        if self.records is None:
            self.records = Records.__new__(Records) if self.globals is None else self.globals.copy()
        if self.extended == c"x" or self.extended == c"X":
            return self.take_records(self.records, data, length)
        while end < length and data[end]:
            end += 1
        if self.extended == c"L":
            self.records.path = data[:end]
        else:
            self.records.link = data[:end]
        return 0

    cdef int take_records(self, Records records, const char* data, size_t length) except -1:
        cdef size_t at = 0
        cdef Item item
        cdef const char* problem
        cdef bytes key
        cdef bytes value
        cdef bytes text
        cdef bint has
        cdef bint good
        while at < length:
            if data[at] == 0:       # some fill the rest with zeros and count them
                break
            problem = item_read(data, length, &at, &item)
            if problem != NULL:
                self.fail(problem.decode())
            key = item.key[:item.key_length]
            value = item.value[:item.value_length]
            has = len(value) > 0    # nothing takes back what a global header said
            good = True
            if key.startswith(b"SCHILY.xattr."):
                if records.xattrs is None:
                    records.xattrs = []
                records.xattrs.append((key[13:], value))
                if records is self.globals:
                    self.kept += <uint64_t>(item.key_length + item.value_length)
            elif key == b"uid":
                records.has_uid = has
                good = not has or decimal_read(item.value, item.value_length, &records.uid)
            elif key == b"gid":
                records.has_gid = has
                good = not has or decimal_read(item.value, item.value_length, &records.gid)
            elif key == b"mtime":
                records.has_mtime = has
                text = plain_decimal(value)
                good = not has or time_read(text, <size_t>len(text), &records.mtime, &records.mtime_nsec)
            elif records is self.globals:
                pass                # a name or a size for all makes no sense
            elif key == b"path":
                records.path = value if has else None
            elif key == b"linkpath":
                records.link = value if has else None
            elif key == b"size":
                records.has_size = has
                good = not has or (decimal_read(item.value, item.value_length, &records.size) and records.size >= 0)
            elif key.startswith(b"SCHILY.acl."):
                records.has_acl = True
            elif key.startswith(b"GNU.sparse."):
                good = self.take_sparse(records, key[11:], value, &item)
            if not good:
                self.fail(f"the pax record {os.fsdecode(key)!r} cannot be {os.fsdecode(value[:40])!r}")
        return 0

    cdef bint take_sparse(self, Records records, bytes key, bytes value, const Item* item) except -1:
        """One record of GNU's sparse formats, 0.0, 0.1 or 1.0. False: its value makes no sense."""
        cdef int64_t number = 0
        cdef list numbers
        if key == b"name":
            records.sparse_name = value
            return True
        if key == b"map":
            records.is_sparse_0 = True
            try:
                numbers = [int(n) for n in value.split(b",")] if value else []
            except ValueError:
                return False
            if len(numbers) % 2 or any(not 0 <= n <= INT64_MAX for n in numbers):
                return False
            records.map = list(zip(numbers[::2], numbers[1::2], strict=True))
            return True
        if not decimal_read(item.value, item.value_length, &number) or number < 0:
            return False
        if key == b"major":
            records.is_sparse_1 = number == 1
        elif key == b"realsize" or key == b"size":
            records.has_real_size = True
            records.real_size = number
        elif key == b"numblocks":
            records.is_sparse_0 = True
        elif key == b"offset":
            if records.map is None:
                records.map = []
            records.map.append((number, None))
        elif key == b"numbytes":
            if not records.map:
                return False
            offset, size = records.map.pop()
            if size is not None:
                return False
            records.map.append((offset, number))
        return True

    cdef int take_header(self, Head* head, const char* block) except -1:
        """The header proper of a member."""
        cdef Member member = Member.__new__(Member)
        cdef Records records = self.records
        cdef bytes name
        if records is None and self.globals is not None:
            records = self.globals.copy()
        self.records = None
        self.ahead_of_member = 0
        name = head.name[:head.name_length]
        if head.prefix_length:
            name = head.prefix[:head.prefix_length] + b"/" + name
        member.raw_linkname = head.link[:head.link_length]
        member.uid, member.gid, member.mtime = head.uid, head.gid, head.mtime
        member.mode = <int>(head.mode & 0o7777)
        member.is_gnu = head.dialect == GNU or head.dialect == V7
        member.flag = head.type
        member.size = head.size
        member.xattrs = ()
        if head.type in b"\x007S":
            member.flag = c"0"
        if records is not None:
            if records.path is not None:
                name = records.path
            if records.sparse_name is not None:
                name = records.sparse_name
            if records.link is not None:
                member.raw_linkname = records.link
            if records.has_uid:
                member.uid = records.uid
            if records.has_gid:
                member.gid = records.gid
            if records.has_mtime:
                member.mtime, member.mtime_nsec = records.mtime, records.mtime_nsec
            member.has_acl = records.has_acl
            if records.has_size:
                member.size = records.size
            if records.shared is not None:
                member.xattrs = records.shared
            if records.xattrs is not None:
                member.xattrs = member.xattrs + tuple(records.xattrs)
        if member.flag == c"0" and name.endswith(b"/"):     # how v7 says that it is a directory
            member.flag = c"5"
        if member.flag == c"5":
            name = name.rstrip(b"/") or name[:1]
        if c"1" <= member.flag <= c"6":
            member.size = 0         # whatever it says, no data follows
        if member.flag == c"3" or member.flag == c"4":
            member.devmajor, member.devminor = head.devmajor, head.devminor
        member.raw_name = name
        member.header_offset = self.begun
        self.begun = -1
        member.stored = member.size
        self.at += BLOCK
        if <uint64_t>member.size > <uint64_t>INT64_MAX - self.at - BLOCK:
            self.fail("a member's size leads beyond the end of any file")
        self.member = member
        if member.flag == c"0" and head.type == c"S":
            member.sparse = "gnu"
            member.map = []
            if not number_read(block + OLD_SPARSE_SIZE_AT, 12, &member.size) or member.size < 0:
                self.fail("a sparse header's size is no number")
            return self.take_map(block + OLD_SPARSE_AT, OLD_SPARSE_COUNT, block + OLD_SPARSE_MORE_AT)
        if member.flag == c"0" and records is not None and (records.is_sparse_1 or records.is_sparse_0):
            member.sparse = "pax 1" if records.is_sparse_1 else "pax 0"
            member.map = None if records.is_sparse_1 else (records.map or [])
            if not records.has_real_size or any(n is None for _, n in member.map or ()):
                self.fail("a sparse member without its size, or with half a map")
            member.size = records.real_size
        return self.begin_body()

    cdef int take_map(self, const char* block, size_t count, const char* more) except -1:
        """`count` pieces of an old GNU sparse map; `more` says whether another block of them follows."""
        cdef int64_t offset
        cdef int64_t size
        cdef size_t i
        for i in range(count):
            if block[24 * i + 12] == 0:
                break
            if not number_read(block + 24 * i, 12, &offset) or not number_read(block + 24 * i + 12, 12, &size) \
                    or offset < 0 or size < 0:
                self.fail("a piece of a sparse map is no number")
            if len(self.member.map) >= MOST_PIECES:
                self.fail(f"a sparse map has more than {MOST_PIECES} pieces")
            self.member.map.append((offset, size))
        if more[0]:
            self.state = IN_MAP
            return 0
        self.state = IN_HEADER
        return self.begin_body()

    cdef int begin_body(self) except -1:
        """The header is complete, and `at` is where the data begins."""
        cdef Member member = self.member
        member.data_offset = <int64_t>self.at
        self.body = <uint64_t>member.stored
        self.padding = <uint64_t>((BLOCK - member.stored % BLOCK) % BLOCK)
        if self.digest is None or member.flag != c"0":
            self.member = None
            self.found.append(member)
            return 0
        self.hash = self.digest() if member.sparse is None else self.sparse_digest(member)
        self.state = IN_BODY
        return 0 if self.body else self.end_body()

    cdef int end_body(self) except -1:
        cdef Member member = self.member
        self.member = None
        self.state = IN_HEADER
        hash, self.hash = self.hash, None
        member.digest = hash.digest()
        self.found.append(member)
        return 0

    cdef int fail(self, str what) except -1:
        self.trouble = what
        raise ScanError(what, self.at)
