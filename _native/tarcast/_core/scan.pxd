# From the bytes of a tar stream, in any slices, to its members: what each header says and where everything lies.
#
# Reads ustar, pax (with global headers), GNU's long names, numbers in base 256 and sparse files in all forms,
# and v7. Holds one header at a time; bodies are passed by, or lent to a digest, and never copied.

from libc.stdint cimport int32_t, int64_t, uint64_t

from tarcast._core.parse cimport Head, Item


cdef enum State:
    IN_HEADER       # a header block comes next
    IN_RECORDS      # the payload of an extended header
    IN_MAP          # more blocks of an old GNU sparse map
    IN_BODY
    IN_END          # behind the mark of the end


cdef class Member:
    cdef readonly bytes raw_name
    cdef readonly bytes raw_linkname
    cdef readonly bytes digest
    cdef readonly tuple xattrs
    cdef readonly str sparse
    cdef readonly list map
    cdef readonly int64_t header_offset
    cdef readonly int64_t data_offset
    cdef readonly int64_t stored
    cdef readonly int64_t size
    cdef readonly int64_t uid
    cdef readonly int64_t gid
    cdef readonly int64_t mtime
    cdef readonly int32_t mtime_nsec
    cdef readonly int mode
    cdef readonly int64_t devmajor
    cdef readonly int64_t devminor
    cdef readonly bint is_gnu
    cdef readonly bint has_acl
    cdef char flag


cdef class Records:
    # What extended headers say of a member, or a global one of all that follow; None or a flag: nothing.
    cdef bytes path
    cdef bytes link
    cdef bytes sparse_name
    cdef list xattrs
    cdef tuple shared           # attributes of global headers, the same for all members
    cdef list map
    cdef bint has_size, has_uid, has_gid, has_mtime, has_real_size, is_sparse_1, is_sparse_0, has_acl
    cdef int64_t size, uid, gid, mtime, real_size
    cdef int32_t mtime_nsec

    cdef Records copy(self)


cdef class Scanner:
    cdef char block[512]            # the beginning of a header that is cut by the end of a slice
    cdef size_t held
    cdef bytearray payload          # of an extended header, so far
    cdef State state
    cdef char extended              # its type
    cdef uint64_t wanted            # bytes of it
    cdef uint64_t ahead_of_member   # bytes of all of them since the last member
    cdef uint64_t kept              # bytes of the attributes in `globals`
    cdef uint64_t body              # bytes of data that are still to come
    cdef uint64_t padding           # and of zeros behind them
    cdef uint64_t at                # offset of what comes next
    cdef int64_t begun              # where the member in hand begins, or -1
    cdef Records globals
    cdef Records records
    cdef Member member              # whose body or map it is
    cdef object digest
    cdef object sparse_digest
    cdef object hash
    cdef list found
    cdef str trouble                # what made it stop

    cdef int take(self, object view, const char* data, size_t size) except -1
    cdef size_t add_extended(self, const char* data, size_t count) except? 0
    cdef bint take_sparse(self, Records records, bytes key, bytes value, const Item* item) except -1
    cdef int take_block(self, const char* block) except -1
    cdef int take_header(self, Head* head, const char* block) except -1
    cdef int take_extended(self, const char* data, size_t length) except -1
    cdef int take_records(self, Records records, const char* data, size_t length) except -1
    cdef int take_map(self, const char* block, size_t count, const char* more) except -1
    cdef int begin_body(self) except -1
    cdef int end_body(self) except -1
    cdef int fail(self, str what) except -1
