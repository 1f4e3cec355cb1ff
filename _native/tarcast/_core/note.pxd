# What there is to say about entries, kept with the piece of archive it belongs to until its turn comes.
#
# Workers meet problems in any order; users hear of them in the archive's. Notes
# form a list and own their text. Allocated only where something is wrong.


from tarcast._core.body cimport Body
from tarcast._core.status cimport Status


cdef enum Severity:
    NOTICE          # worth telling; nothing that was asked for is missing
    SKIPPED         # an entry or a part of it was left out, as the caller allowed
    FATAL           # the export ends here


cdef struct Note:
    Note* next
    Severity severity
    Status status
    size_t tree             # index
    Body* body            # the file, where its data is concerned: one note for each is enough. A reference
    size_t path_length
    char path[1]            # archive path, path_length bytes


cdef struct Notes:
    Note* first
    Note* last
    size_t count


cdef bint note_add(Notes* notes, Severity severity, const Status* status, size_t tree, const char* path,
                   size_t path_length, Body* body) noexcept nogil
cdef void notes_move(Notes* notes, Notes* to) noexcept nogil
cdef Note* notes_shift(Notes* notes) noexcept nogil
cdef void note_free(Note* note) noexcept nogil
cdef void notes_free(Notes* notes) noexcept nogil
