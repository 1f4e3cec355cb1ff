# See xattr.pxd; the rules are tar-bytes 4, the sizes xattr(7).

from libc.errno cimport errno
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memchr, memcmp, memset, strlen, strncmp

from tarcast._core.entry cimport Xattr
from tarcast._core.posix cimport (
    E2BIG, ENOMEM, ENOTSUP, EOPNOTSUPP, ERANGE, tc_fgetxattr, tc_flistxattr, tc_getxattrat, tc_listxattrat,
)
from tarcast._core.status cimport STEP_LIST_XATTR, STEP_MEMORY, Status, fail
from tarcast._core.xattr cimport XattrBuffer

cdef enum:
    LIST_SIZE = 65536       # XATTR_LIST_MAX
    VALUE_SIZE = 65536      # XATTR_SIZE_MAX
    # The kernel allocates (and for values clears) as much as it is offered, for every
    # call: offer little first, since most files have no attributes and most values are short.
    LITTLE = 256
    # What one entry may take of memory for its values.
    MOST = 67108864


cdef int xattr_init(XattrBuffer* buffer) noexcept nogil:
    """0, or -1 when out of memory (xattr_free is still right to call)."""
    memset(buffer, 0, sizeof(XattrBuffer))
    buffer.list = <char*>malloc(LIST_SIZE)
    return 0 if buffer.list != NULL else -1


cdef void xattr_free(XattrBuffer* buffer) noexcept nogil:
    free(buffer.list)
    free(buffer.values)
    free(buffer.items)
    memset(buffer, 0, sizeof(XattrBuffer))


cdef int by_name(const void* left, const void* right) noexcept nogil:
    cdef const Xattr* a = <const Xattr*>left
    cdef const Xattr* b = <const Xattr*>right
    cdef size_t shorter = a.name_length if a.name_length < b.name_length else b.name_length
    cdef int order = memcmp(a.name, b.name, shorter)
    if order:
        return order
    return (a.name_length > b.name_length) - (a.name_length < b.name_length)


cdef bint xattr_name_fits(const Xattr* item) noexcept nogil:
    """A pax key ends at the first '=', so a name that holds one cannot be written (tar-bytes 4.5)."""
    return memchr(item.name, c'=', item.name_length) == NULL


cdef bint make_room(XattrBuffer* buffer, size_t used) noexcept nogil:
    """Room for one more item and one more value of any size."""
    cdef void* grown
    cdef size_t capacity
    if buffer.count == buffer.items_capacity:
        capacity = buffer.items_capacity * 2 + 16
        grown = realloc(buffer.items, capacity * sizeof(Xattr))
        if grown == NULL:
            return False
        buffer.items = <Xattr*>grown
        buffer.items_capacity = capacity
    if buffer.values_capacity - used < VALUE_SIZE:
        capacity = buffer.values_capacity * 2 + VALUE_SIZE
        grown = realloc(buffer.values, capacity)
        if grown == NULL:
            return False
        buffer.values = <char*>grown
        buffer.values_capacity = capacity
    return True


cdef ssize_t list_names(int fd, int dirfd, const char* name, char* out, size_t size) noexcept nogil:
    return tc_flistxattr(fd, out, size) if fd >= 0 else tc_listxattrat(dirfd, name, out, size)


cdef ssize_t read_value(int fd, int dirfd, const char* name, const char* key, char* out, size_t size) noexcept nogil:
    return tc_fgetxattr(fd, key, out, size) if fd >= 0 else tc_getxattrat(dirfd, name, key, out, size)


cdef int xattr_read(XattrBuffer* buffer, int fd, int dirfd, const char* name, Status* status) noexcept nogil:
    """Read all attributes of the open `fd`, or with fd < 0 of `name` in `dirfd` without following it.

    0 with buffer.items[0:count] sorted (an item whose value cannot be read has
    its `error` set), or -1 with `status`.
    """
    cdef ssize_t length
    cdef ssize_t got
    cdef size_t used = 0
    cdef size_t key_length
    cdef size_t i
    cdef char* key
    cdef char* end
    cdef Xattr* item
    buffer.count = 0
    length = list_names(fd, dirfd, name, buffer.list, LITTLE)
    if length < 0 and errno == ERANGE:
        length = list_names(fd, dirfd, name, buffer.list, LIST_SIZE)
    if length < 0:
        if errno == ENOTSUP or errno == EOPNOTSUPP:
            return 0
        return fail(status, STEP_LIST_XATTR, E2BIG if errno == ERANGE else errno)
    key = buffer.list
    end = buffer.list + length
    while key < end:
        key_length = strlen(key)
        if strncmp(key, b"com.apple.", 10) == 0:
            key += key_length + 1
            continue
        if used > MOST:
            return fail(status, STEP_LIST_XATTR, E2BIG)
        if not make_room(buffer, used):
            return fail(status, STEP_MEMORY, ENOMEM)
        item = &buffer.items[buffer.count]
        item.name = key
        item.name_length = key_length
        item.error = 0
        got = read_value(fd, dirfd, name, key, buffer.values + used, LITTLE)
        if got < 0 and errno == ERANGE:
            got = read_value(fd, dirfd, name, key, buffer.values + used, VALUE_SIZE)
        if got < 0:
            item.error = errno
            got = 0
        item.value_length = <size_t>got
        used += <size_t>got
        buffer.count += 1
        key += key_length + 1
    used = 0
    for i in range(buffer.count):   # only now, since the values may have moved
        buffer.items[i].value = buffer.values + used
        used += buffer.items[i].value_length
    if buffer.count > 1:
        qsort(buffer.items, buffer.count, sizeof(Xattr), by_name)
    return 0
