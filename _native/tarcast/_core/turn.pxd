# What a piece may have to wait for before an entry goes on: its turn, a descriptor, somebody's lease.
#
# AGAIN says that the worker is to leave the rest of its piece for later, until
# what worker.waits_for says. No GIL.

from tarcast._core.batch cimport BatchItem
from tarcast._core.collect cimport Found
from tarcast._core.run cimport Worker
from tarcast._core.status cimport Status


cdef int needs_turn(Worker* worker) noexcept nogil
cdef int open_item(Worker* worker, BatchItem* item, const char* name, Found* found, Status* status) noexcept nogil
cdef bint too_many_bodies(Worker* worker, const Found* found) noexcept nogil
