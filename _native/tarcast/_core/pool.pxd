# The workers of one export: the calling thread and as many more as were asked for or pay off.
#
# No GIL. Every thread is joined before pool_run returns, whatever happened.

from tarcast._core.run cimport Run


cdef enum Outcome:
    COMPLETE
    ENDED           # by a problem that was reported, a callable, a signal or a cancel
    NO_MEMORY


cdef Outcome pool_run(Run* run) noexcept nogil
cdef void run_free(Run* run) noexcept nogil
