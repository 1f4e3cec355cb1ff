# Every system call and struct that the core uses, declared once; see posix.h for what each does.
#
# errno is read at once after the failing call, before anything else can change it.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "posix.h" nogil:
    ctypedef struct tc_stat:
        uint64_t dev, ino, nlink, size, rdev, blocks
        uint32_t mode, uid, gid
        int64_t mtime
        int32_t mtime_ns

    ctypedef struct tc_dir:
        int fd

    int tc_openat(int dirfd, const char* name, int flags)
    ssize_t tc_read(int fd, void* buffer, size_t size)
    int tc_close(int fd)
    int tc_open_in_root(int dirfd, const char* path, int flags)
    int tc_fstat(int fd, tc_stat* out)
    int tc_lstatat(int dirfd, const char* name, tc_stat* out)
    uint32_t tc_major(uint64_t rdev)
    uint32_t tc_minor(uint64_t rdev)
    int tc_dir_begin(tc_dir* dir, int fd, char* buffer, size_t capacity)
    void tc_dir_end(tc_dir* dir)
    int tc_dir_next(tc_dir* dir, const char** name, size_t* length, unsigned char* type)
    unsigned char tc_type_of_mode(uint32_t mode)
    ssize_t tc_flistxattr(int fd, char* list, size_t size)
    ssize_t tc_fgetxattr(int fd, const char* key, void* value, size_t size)
    ssize_t tc_listxattrat(int dirfd, const char* name, char* list, size_t size)
    ssize_t tc_getxattrat(int dirfd, const char* name, const char* key, void* value, size_t size)
    int tc_next(int fd, uint64_t offset, int hole, uint64_t* found)
    char* tc_page_memory(size_t size)
    void* tc_hold_addresses(size_t size)
    void tc_give_addresses(void* held, size_t size)
    int tc_sink_kind(int fd)
    bint tc_is_pipe(int fd)
    ssize_t tc_write_nowait(int fd, int kind, const char* data, size_t size)
    void tc_pause(int milliseconds)
    int tc_wait_writable(int fd, int milliseconds)
    int64_t tc_coarse_now()
    void tc_publish(uint64_t* where, uint64_t value)
    void tc_add(uint64_t* where, uint64_t value)
    size_t tc_descriptors_left(int fd)
    bint tc_swap(uint64_t* where, uint64_t old, uint64_t value)
    bint tc_release(uint64_t* references)
    uint64_t tc_data_at(int fd, uint64_t offset, uint64_t end)
    int64_t tc_place(int fd)
    int tc_allocate(int fd, int64_t offset, int64_t size)
    void tc_trim(int fd)
    void tc_widen_pipe(int fd, int size)
    ssize_t tc_splice(int source, int64_t* offset, int out, size_t size)
    int tc_clone(int out, int64_t to, int source, int64_t start, uint64_t size)
    int64_t tc_now()
    int64_t tc_thread_cpu(pthread_t thread)
    uint64_t tc_observe(const uint64_t* where)

    int AT_FDCWD
    int openat(int dirfd, const char* name, int flags)
    int close(int fd)
    int getpid()
    int fcntl(int fd, int command, int argument)
    int F_DUPFD_CLOEXEC
    ssize_t pread(int fd, void* buffer, size_t size, int64_t offset)
    struct iovec:
        void* iov_base
        size_t iov_len
    ssize_t pwritev(int fd, const iovec* parts, int count, int64_t offset)
    int64_t lseek(int fd, int64_t offset, int whence)
    int SEEK_SET
    ssize_t write(int fd, const void* buffer, size_t size)
    ssize_t readlinkat(int dirfd, const char* name, char* buffer, size_t size)

    int O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NOATIME, O_NONBLOCK, O_CLOEXEC, O_NOCTTY
    int DT_UNKNOWN, DT_DIR, DT_REG, DT_LNK, DT_CHR, DT_BLK, DT_FIFO, DT_SOCK
    int S_IFMT, S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK
    int EINVAL, ETXTBSY, ENOENT, ENOTDIR, EACCES, EPERM, ELOOP, ENXIO, EINTR, EAGAIN, EIO, ENOTSUP, ENOMEM, E2BIG, ERANGE, ENOSYS, ENODATA, EISDIR, EOPNOTSUPP, EMFILE, ENFILE

    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t* lock, void* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* lock)
    int pthread_mutex_lock(pthread_mutex_t* lock)
    int pthread_mutex_unlock(pthread_mutex_t* lock)
    int pthread_cond_destroy(pthread_cond_t* cond)
    int pthread_cond_broadcast(pthread_cond_t* cond)
    int pthread_cond_signal(pthread_cond_t* cond)
    pthread_t pthread_self()
    int pthread_join(pthread_t thread, void** result)
    int tc_cond_init(pthread_cond_t* cond)
    void tc_cond_wait(pthread_cond_t* cond, pthread_mutex_t* lock, int milliseconds)
    int tc_thread_start(pthread_t* thread, void* (*body)(void*) noexcept nogil, void* argument)
