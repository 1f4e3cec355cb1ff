# The kernel's mount calls for Python.
#
# A detached mount is a Descriptor, so it cannot outlive an exception, wherever that comes from.

import os as _os

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EIO, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from tarcast._core.descriptor cimport Descriptor

cdef extern from "Python.h":
    char* PyBytes_AsString(object) except NULL

cdef extern from "mounts.h" nogil:
    int TC_SET_FLAG, TC_SET_STRING, TC_SET_DIRECTORY
    int TC_NAMESPACE, TC_OPEN, TC_CONFIGURE, TC_MOUNT, TC_ATTRIBUTES
    uint64_t TC_ATTR_RDONLY, TC_ATTR_NOSUID, TC_ATTR_NODEV, TC_ATTR_NOEXEC, TC_ATTR_ATIME, TC_ATTR_NOATIME
    uint64_t TC_ATTR_STRICTATIME, TC_ATTR_NODIRATIME, TC_ATTR_NOSYMFOLLOW
    struct tc_step:
        int command
        const char* key
        const char* value
    struct tc_wanted:
        const char* type
        const char* source
        int recursive
        const tc_step* steps
        size_t step_count
        uint64_t attributes
    struct tc_made:
        int fd
        int error
        int stage
        size_t step
        size_t log_size
        char* log
    void tc_make(const tc_wanted* wanted, tc_made* made)
    int tc_make_elsewhere(const tc_wanted* wanted, tc_made* made, int to)
    int tc_take_over(int from_)
    int tc_socket_pair(int* ends)
    tc_made* tc_shared_made()
    void tc_give_made(tc_made* made)
    int tc_mount(const char* source, const char* target, const char* type, uint64_t flags, const char* data)
    int tc_detach(const char* path)
    int tc_await(int child)
    void tc_end(int child)
    int close(int fd)

ATTR_RDONLY = TC_ATTR_RDONLY
ATTR_NOSUID = TC_ATTR_NOSUID
ATTR_NODEV = TC_ATTR_NODEV
ATTR_NOEXEC = TC_ATTR_NOEXEC
ATTR_ATIME = TC_ATTR_ATIME
ATTR_NOATIME = TC_ATTR_NOATIME
ATTR_STRICTATIME = TC_ATTR_STRICTATIME
ATTR_NODIRATIME = TC_ATTR_NODIRATIME
ATTR_NOSYMFOLLOW = TC_ATTR_NOSYMFOLLOW

STAGES = {
    TC_NAMESPACE: "namespace",
    TC_OPEN: "open",
    TC_CONFIGURE: "configure",
    TC_MOUNT: "mount",
    TC_ATTRIBUTES: "attributes",
}


class MountError(OSError):
    """A mount that could not be made.

    Attributes:
        stage: the call that failed: "namespace", "open", "configure", "mount" or "attributes".
        parameter: index of the parameter that was refused, or None.
        log: what the kernel says about it, or "".
    """

    stage = ""
    parameter = None
    log = ""


cdef int make_elsewhere(const tc_wanted* wanted, tc_made* out) except -1:
    """tc_make_elsewhere, waited for; Ctrl-C ends the child, and what it has opened is gone with it."""
    cdef tc_made* made = tc_shared_made()
    cdef Descriptor ours = Descriptor.__new__(Descriptor)
    cdef Descriptor theirs = Descriptor.__new__(Descriptor)
    cdef int ends[2]
    cdef int child
    cdef int waited
    if made == NULL:
        raise MemoryError
    try:
        if tc_socket_pair(ends) != 0:
            out.error = errno
            return 0
        ours.fd, theirs.fd = ends[0], ends[1]
        with nogil:
            child = tc_make_elsewhere(wanted, made, theirs.fd)
            if child < 0:
                out.error = errno
        if child < 0:
            return 0
        while True:
            with nogil:
                waited = tc_await(child)
            if waited == 0:
                break
            try:
                PyErr_CheckSignals()
            except BaseException:
                with nogil:
                    tc_end(child)
                raise
        out[0] = made[0]
        out.fd = tc_take_over(ours.fd)
        if out.fd < 0 and out.error == 0:
            out.error = EIO
    finally:
        tc_give_made(made)
    return 0


def make_mount(bytes type, bytes source, parameters=(), *, uint64_t attributes=0, bint recursive=False,
               bint elsewhere=False):
    """A mount that is attached nowhere: only the Descriptor leads to it, and it goes with that.

    Args:
        type: of the file system (fsopen(2), fsmount(2)); None: the tree at `source` once more (open_tree(2)).
        source: of a tree; a file system's is a parameter.
        parameters: (name, value) for fsconfig(2) in order; a value is bytes; None for a flag; text for a
            directory, of which a descriptor is handed over.
        attributes: ATTR_* of the mount.
        recursive: take along what is mounted below the tree.
        elsewhere: have a child in a user namespace of its own do it.

    Raises:
        MountError: the kernel refuses.
    """
    cdef tc_wanted wanted
    cdef tc_made made
    cdef tc_step* steps
    cdef Descriptor fd
    cdef size_t i
    cdef list given = list(parameters)
    cdef list kept = []
    steps = <tc_step*>calloc(len(given) + 1, sizeof(tc_step))
    if steps == NULL:
        raise MemoryError
    try:
        for i in range(<size_t>len(given)):
            name, value = given[i]
            steps[i].key = PyBytes_AsString(name)
            if value is None:
                steps[i].command = TC_SET_FLAG
                continue
            steps[i].command = TC_SET_STRING if isinstance(value, bytes) else TC_SET_DIRECTORY
            value = _os.fsencode(value)
            kept.append(value)
            steps[i].value = PyBytes_AsString(value)
        wanted.type = PyBytes_AsString(type) if type is not None else NULL
        wanted.source = PyBytes_AsString(source)
        wanted.recursive = recursive
        wanted.steps = steps
        wanted.step_count = len(given)
        wanted.attributes = attributes
        made.fd = -1
        made.stage = TC_NAMESPACE
        made.step = made.log_size = 0
        if elsewhere:
            make_elsewhere(&wanted, &made)
        else:
            with nogil:
                tc_make(&wanted, &made)
    finally:
        free(steps)
    fd = Descriptor.__new__(Descriptor, made.fd)
    if made.error == 0:
        return fd
    error = MountError(made.error, _os.strerror(made.error))
    error.stage = STAGES[made.stage]
    if made.stage == TC_CONFIGURE and made.step < <size_t>len(given):
        error.parameter = made.step
    error.log = in_words(made.log[:made.log_size])
    raise error


def in_words(bytes log):
    """The kernel's log of a failure (fsopen(2)) in one line."""
    lines = [line.strip() for line in log.decode(errors="replace").splitlines()]
    # "e ", "w ", "i ": how bad
    return "; ".join(line[2:] if line[1:2] == " " else line for line in lines if line)


def mount(const char* source, const char* target, const char* type, uint64_t flags, const char* data):
    """mount(2)."""
    cdef int error = 0
    with nogil:
        if tc_mount(source, target, type, flags, data) != 0:
            error = errno
    if error:
        raise OSError(error, _os.strerror(error))


def detach(const char* path):
    """umount2(2) with MNT_DETACH and UMOUNT_NOFOLLOW."""
    cdef int error = 0
    with nogil:
        if tc_detach(path) != 0:
            error = errno
    if error:
        raise OSError(error, _os.strerror(error))
