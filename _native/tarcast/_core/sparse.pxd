# Files with holes: where their data is, and the body that stands for them in a sparse entry.
#
# The body begins with a map, as text padded to blocks: how many runs of data
# there are, then offset and size of each ("PAX Format, Version 1.0" in the
# manual of GNU tar, which bsdtar and tarfile read too). Behind it lies the
# data alone. No GIL.

from libc.stdint cimport uint64_t

from tarcast._core.control cimport Control


cdef struct Extent:
    uint64_t offset         # in the file, a multiple of 512
    uint64_t size           # the same, but for one that ends with the file
    uint64_t at             # in the body


cdef struct Sparse:
    Extent* extents
    size_t count
    char* map
    uint64_t map_size       # bytes, a multiple of 512
    uint64_t real_size      # of the file
    uint64_t stored         # of the body


cdef int sparse_scan(int fd, uint64_t size, Control* control, bint caller, Sparse** found) noexcept nogil
cdef void sparse_free(Sparse* sparse) noexcept nogil
cdef const Extent* sparse_extent(const Sparse* sparse, uint64_t at) noexcept nogil
