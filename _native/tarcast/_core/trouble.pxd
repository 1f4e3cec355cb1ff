# What goes wrong with the entry in hand, and whether the export goes on.
#
# Everything is noted with the worker's piece, so users hear of it in archive
# order. No GIL.

from tarcast._core.body cimport Body
from tarcast._core.entry cimport Xattr
from tarcast._core.note cimport Severity
from tarcast._core.run cimport Worker
from tarcast._core.status cimport Status, Step


cdef enum Verdict:
    STOP = -1           # unwind; the reason is in the piece's notes
    DONE = 0            # go on
    LEFT_OUT = 1        # go on; the entry is dropped, skipped or gone
    AGAIN = 2           # nothing was written: the piece must be in turn for this
    DIVIDED = 3         # the rest of the names lies in a piece of its own now
    CUT = 4             # the worker's piece is another one now, with the rest of the names; or it has none any more


cdef bint told_to_stop(Worker* worker) noexcept nogil
cdef int report(Worker* worker, Severity severity, const Status* status, Body* body) noexcept nogil
cdef int problem(Worker* worker, const Status* status, Body* body) noexcept nogil
cdef int out_of_memory(Worker* worker) noexcept nogil
cdef int attribute_problem(Worker* worker, Severity severity, Step step, int error, const Xattr* item) noexcept nogil
