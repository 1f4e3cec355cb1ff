# See trouble.pxd.

from libc.string cimport memcpy

from tarcast._core.body cimport Body
from tarcast._core.control cimport control_cancelled, control_stops
from tarcast._core.entry cimport Xattr
from tarcast._core.note cimport FATAL, NOTICE, SKIPPED, Severity, note_add
from tarcast._core.posix cimport ENOMEM, tc_publish
from tarcast._core.queue cimport queue_stop
from tarcast._core.run cimport Worker
from tarcast._core.status cimport STEP_CALLBACK, STEP_MEMORY, Status, Step, fail
from tarcast._core.trouble cimport DONE, STOP


cdef bint told_to_stop(Worker* worker) noexcept nogil:
    if worker.number == 0:
        return control_stops(&worker.run.control)
    return control_cancelled(&worker.run.control)


cdef int report(Worker* worker, Severity severity, const Status* status, Body* body) noexcept nogil:
    if not note_add(&worker.piece.notes, severity, status, worker.tree, worker.path, worker.path_length, body):
        tc_publish(&worker.run.control.no_memory, 1)
        queue_stop(&worker.run.queue)
        return STOP
    return DONE if severity != FATAL else STOP


cdef int problem(Worker* worker, const Status* status, Body* body) noexcept nogil:
    """An entry cannot be written as it is: DONE when such entries are to be skipped, else STOP."""
    if status.step == STEP_CALLBACK:
        return STOP
    if not worker.run.skip_errors or status.fatal or status.step == STEP_MEMORY:
        return report(worker, FATAL, status, body)
    return report(worker, SKIPPED, status, body)


cdef int out_of_memory(Worker* worker) noexcept nogil:
    cdef Status status
    fail(&status, STEP_MEMORY, ENOMEM)
    return problem(worker, &status, NULL)


cdef int attribute_problem(Worker* worker, Severity severity, Step step, int error, const Xattr* item) noexcept nogil:
    """A matter of one attribute. A NOTICE never ends the export, SKIPPED does unless errors are to be skipped."""
    cdef Status status
    cdef size_t length = item.name_length if item.name_length < sizeof(status.detail) else sizeof(status.detail) - 1
    fail(&status, step, error)
    memcpy(status.detail, item.name, length)
    status.detail[length] = 0
    if severity == NOTICE:
        return report(worker, NOTICE, &status, NULL)
    return problem(worker, &status, NULL)
