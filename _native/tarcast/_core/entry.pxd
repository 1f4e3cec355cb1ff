# One archive entry as plain data: what `header` encodes, what `remap` changes.
#
# Nothing here is owned: names, links and attributes point into buffers of the
# walker or of the Scratch that collected them and live until the next entry.

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef struct Xattr:
    const char* name        # without the SCHILY.xattr. prefix; not terminated
    size_t name_length
    const char* value
    size_t value_length
    int error               # errno of reading the value, 0 when it was read


cdef struct Entry:
    const char* name        # archive path; a directory's ends with '/'
    size_t name_length
    const char* link        # target of a symlink, first name of a hard link; NULL without one
    size_t link_length
    char type               # ustar typeflag: '0' '1' '2' '3' '4' '5' '6'
    uint32_t mode           # 07777
    uint32_t uid, gid
    uint64_t size           # bytes of data that follow
    bint sparse             # they are a map and the data that there is, of a file with holes (see sparse)
    uint64_t real_size      # of that file
    int64_t mtime           # whole seconds
    uint32_t devmajor, devminor
    const Xattr* xattrs     # sorted by name
    size_t xattr_count
