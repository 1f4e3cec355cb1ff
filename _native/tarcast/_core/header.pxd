# One entry's metadata as 512-byte blocks: ustar, or a pax extended header before it.
#
# Pure functions of the Entry: no I/O, no allocation, no GIL, so the same tree
# gives the same bytes whoever encodes it and when. First header_plan, which
# chooses the format and says how many bytes; header_align, if the body is to begin
# on a block; then header_write into at least that many.

from libc.stdint cimport uint64_t

from tarcast._core.entry cimport Entry
from tarcast._core.pax cimport Needs

cdef enum:
    BLOCK = 512
    # Where a body may begin that is to share blocks with its file: on a block of any common file system.
    ALIGNMENT = 4096


cdef struct Plan:
    bint pax
    size_t split    # ustar: index of the '/' between prefix and name, 0 when the name is not split
    Needs needs
    size_t size     # bytes of all header blocks, a multiple of BLOCK


cdef bint header_plan(const Entry* entry, Plan* plan) noexcept nogil
cdef void header_align(const Entry* entry, Plan* plan, uint64_t at) noexcept nogil
cdef void header_write(const Entry* entry, const Plan* plan, char* out) noexcept nogil
