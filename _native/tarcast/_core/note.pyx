# See note.pxd.

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from tarcast._core.body cimport Body, body_drop, body_take
from tarcast._core.note cimport Note, Notes, Severity
from tarcast._core.status cimport Status


cdef bint note_add(Notes* notes, Severity severity, const Status* status, size_t tree, const char* path,
                   size_t path_length, Body* body) noexcept nogil:
    """Append a note with copies of everything, and a reference to `body` unless NULL. False: out of memory."""
    cdef Note* note = <Note*>malloc(sizeof(Note) + path_length)
    if note == NULL:
        return False
    note.next = NULL
    note.severity = severity
    note.status = status[0]
    note.tree = tree
    note.body = body_take(body) if body != NULL else NULL
    note.path_length = path_length
    memcpy(note.path, path, path_length)
    if notes.last == NULL:
        notes.first = note
    else:
        notes.last.next = note
    notes.last = note
    notes.count += 1
    return True


cdef void notes_move(Notes* notes, Notes* to) noexcept nogil:
    """Append all of `notes` to `to`; it is empty afterwards."""
    if notes.first == NULL:
        return
    if to.last == NULL:
        to.first = notes.first
    else:
        to.last.next = notes.first
    to.last = notes.last
    to.count += notes.count
    notes.first = notes.last = NULL
    notes.count = 0


cdef Note* notes_shift(Notes* notes) noexcept nogil:
    """The first note, which is the caller's to free from now on; NULL when there is none."""
    cdef Note* note = notes.first
    if note != NULL:
        notes.first = note.next
        if notes.first == NULL:
            notes.last = NULL
        notes.count -= 1
    return note


cdef void note_free(Note* note) noexcept nogil:
    if note.body != NULL:
        body_drop(note.body)
    free(note)


cdef void notes_free(Notes* notes) noexcept nogil:
    cdef Note* note = notes_shift(notes)
    while note != NULL:
        note_free(note)
        note = notes_shift(notes)
