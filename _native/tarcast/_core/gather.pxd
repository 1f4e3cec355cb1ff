# From the walk to a batch: the next names of the archive, tree after tree, directories opened.
#
# One worker at a time (the queue sees to that). No GIL.

from tarcast._core.batch cimport Batch
from tarcast._core.run cimport Run


cdef enum Gathered:
    GATHERED_SOME           # more may follow
    GATHERED_ALL            # the last item of the batch is the end of the archive
    GATHERED_STARVED        # descriptors ran out; go on when others have given some back


cdef Gathered gather(Run* run, Batch* batch, bint caller, bint alone) noexcept nogil
