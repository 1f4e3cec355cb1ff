/* The one place that talks to the operating system in its own words.
 *
 * Everything here is `static inline`, holds no state, never needs the GIL and
 * reports failure the way the kernel does: -1 and errno. Linux comes first;
 * what only Linux has is guarded, so that the core also compiles on macOS.
 * Sizes are bytes, times seconds and nanoseconds. The caller owns every
 * pointer and descriptor handed in.
 */
#ifndef TARCAST_POSIX_H
#define TARCAST_POSIX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include "threads.h"

#ifndef O_NOATIME
#define O_NOATIME 0
#endif
#ifndef ENOTSUP
#define ENOTSUP EOPNOTSUPP
#endif

/* ---- calls made for every file --------------------------------------- */

/* Straight to the kernel: the C library's functions are points where a thread may be cancelled (pthreads(7)),
 * which costs as much as 3 % of a small file. Sanitizers want theirs, to check the buffers. fstat(2) proper is
 * quicker than what the C library makes of it, newfstatat(2) with an empty path. */
#if defined(__linux__) && defined(__LP64__) && defined(SYS_openat) && defined(SYS_fstat) \
    && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TC_DIRECT_CALLS 1
#endif

static inline int tc_openat(int dirfd, const char *name, int flags)
{
#ifdef TC_DIRECT_CALLS
    return (int)syscall(SYS_openat, dirfd, name, flags, 0);
#else
    return openat(dirfd, name, flags);
#endif
}

static inline ssize_t tc_read(int fd, void *buffer, size_t size)
{
#ifdef TC_DIRECT_CALLS
    return syscall(SYS_read, fd, buffer, size);
#else
    return read(fd, buffer, size);
#endif
}

static inline int tc_close(int fd)
{
#ifdef TC_DIRECT_CALLS
    return (int)syscall(SYS_close, fd);
#else
    return close(fd);
#endif
}

/* Open `path` as if the directory `dirfd` were the root of the file system: neither "..", nor a symlink, nor an
 * absolute path leaves it, and links of /proc are refused (openat2(2), Linux 5.6). ENOSYS where there is no such call. */
static inline int tc_open_in_root(int dirfd, const char *path, int flags)
{
#ifdef __linux__
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
    struct {
        uint64_t flags, mode, resolve;
    } how = {(uint64_t)(unsigned)flags, 0, 0x02 /* RESOLVE_NO_MAGICLINKS */ | 0x10 /* RESOLVE_IN_ROOT */};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
#else
    (void)dirfd, (void)path, (void)flags;
    errno = ENOSYS;
    return -1;
#endif
}

/* ---- metadata ------------------------------------------------------- */

typedef struct {
    uint64_t dev, ino, nlink, size, rdev, blocks; /* blocks: of 512 bytes, allocated */
    uint32_t mode, uid, gid;
    int64_t mtime;    /* seconds */
    int32_t mtime_ns; /* 0 .. 999999999 */
} tc_stat;

static inline void tc_stat_fill(tc_stat *out, const struct stat *st)
{
    out->dev = (uint64_t)st->st_dev;
    out->ino = (uint64_t)st->st_ino;
    out->nlink = (uint64_t)st->st_nlink;
    out->size = st->st_size > 0 ? (uint64_t)st->st_size : 0;
    out->rdev = (uint64_t)st->st_rdev;
    out->blocks = (uint64_t)st->st_blocks;
    out->mode = (uint32_t)st->st_mode;
    out->uid = (uint32_t)st->st_uid;
    out->gid = (uint32_t)st->st_gid;
#ifdef __APPLE__
    out->mtime = (int64_t)st->st_mtimespec.tv_sec;
    out->mtime_ns = (int32_t)st->st_mtimespec.tv_nsec;
#else
    out->mtime = (int64_t)st->st_mtim.tv_sec;
    out->mtime_ns = (int32_t)st->st_mtim.tv_nsec;
#endif
}

static inline int tc_fstat(int fd, tc_stat *out)
{
    struct stat st;
#ifdef TC_DIRECT_CALLS
    if (syscall(SYS_fstat, fd, &st) != 0)
#else
    if (fstat(fd, &st) != 0)
#endif
        return -1;
    tc_stat_fill(out, &st);
    return 0;
}

static inline int tc_lstatat(int dirfd, const char *name, tc_stat *out)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -1;
    tc_stat_fill(out, &st);
    return 0;
}

/* The original's own arithmetic (tar-bytes 2), which is Linux's for 32-bit device numbers. */
static inline uint32_t tc_major(uint64_t rdev)
{
#ifdef __APPLE__
    return (uint32_t)((rdev >> 24) & 0xff);
#else
    return (uint32_t)((rdev >> 8) & 0xfff);
#endif
}

static inline uint32_t tc_minor(uint64_t rdev)
{
#ifdef __APPLE__
    return (uint32_t)(rdev & 0xffffff);
#else
    return (uint32_t)((rdev & 0xff) | ((rdev >> 12) & 0xfff00));
#endif
}

/* ---- directories ---------------------------------------------------- */

/* A directory being read from `fd`, which stays the caller's. `buffer` holds
 * `capacity` bytes for raw records; names point into it (or into the C
 * library's stream on macOS) until the next call. */
typedef struct {
    int fd;
    char *buffer;
    size_t capacity;
    size_t length, position;
#ifndef __linux__
    DIR *stream;
#endif
} tc_dir;

static inline int tc_dir_begin(tc_dir *dir, int fd, char *buffer, size_t capacity)
{
    dir->fd = fd;
    dir->buffer = buffer;
    dir->capacity = capacity;
    dir->length = dir->position = 0;
#ifndef __linux__
    int copy = dup(fd);
    if (copy < 0)
        return -1;
    dir->stream = fdopendir(copy);
    if (dir->stream == NULL) {
        int saved = errno;
        close(copy);
        errno = saved;
        return -1;
    }
#endif
    return 0;
}

static inline void tc_dir_end(tc_dir *dir)
{
#ifndef __linux__
    closedir(dir->stream);
#else
    (void)dir;
#endif
}

static inline int tc_is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

/* 1 and a name (with its DT_ type), 0 at the end, -1 on an error. `.` and `..` are left out. */
static inline int tc_dir_next(tc_dir *dir, const char **name, size_t *length, unsigned char *type)
{
#ifdef __linux__
    struct record {
        uint64_t ino;
        int64_t next;
        unsigned short size;
        unsigned char type;
        char name[];
    };
    for (;;) {
        if (dir->position >= dir->length) {
            long got;
            do
                got = syscall(SYS_getdents64, dir->fd, dir->buffer, dir->capacity);
            while (got < 0 && errno == EINTR);
            if (got <= 0)
                return (int)got;
            dir->length = (size_t)got;
            dir->position = 0;
        }
        struct record *entry = (struct record *)(dir->buffer + dir->position);
        if (entry->size < offsetof(struct record, name) + 1 || entry->size > dir->length - dir->position) {
            errno = EIO;
            return -1;
        }
        dir->position += entry->size;
        if (tc_is_dot(entry->name))
            continue;
        *name = entry->name;
        *length = strnlen(entry->name, entry->size - offsetof(struct record, name));
        *type = entry->type;
        return 1;
    }
#else
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir->stream);
        if (entry == NULL)
            return errno ? -1 : 0;
        if (tc_is_dot(entry->d_name))
            continue;
        *name = entry->d_name;
        *length = strlen(entry->d_name);
        *type = entry->d_type;
        return 1;
    }
#endif
}

static inline unsigned char tc_type_of_mode(uint32_t mode)
{
    return (unsigned char)((mode & S_IFMT) >> 12);
}

/* About how many descriptors more this process may open: those below the lowest free one are taken. `fd` is any. */
static inline size_t tc_descriptors_left(int fd)
{
    struct rlimit limit;
    int lowest = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (lowest < 0)
        return 0;
    close(lowest);
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > (rlim_t)lowest ? limit.rlim_cur - (rlim_t)lowest : 0;
}

/* ---- extended attributes -------------------------------------------- */

/* Of the open file `fd`. */
static inline ssize_t tc_flistxattr(int fd, char *list, size_t size)
{
#ifdef __APPLE__
    return flistxattr(fd, list, size, 0);
#else
    return flistxattr(fd, list, size);
#endif
}

static inline ssize_t tc_fgetxattr(int fd, const char *key, void *value, size_t size)
{
#ifdef __APPLE__
    return fgetxattr(fd, key, value, size, 0, 0);
#else
    return fgetxattr(fd, key, value, size);
#endif
}

/* Of `name` in the open directory `dirfd`, never following a symlink: by the
 * calls of Linux 6.13 (listxattrat(2), getxattrat(2)), and before those by way
 * of /proc/self/fd, which resolves nothing but the descriptor and the name.
 * ENOSYS: neither is there (no /proc mounted). */
#ifdef __linux__
#define TC_SYS_getxattrat 464
#define TC_SYS_listxattrat 465

struct tc_xattr_args {
    uint64_t value __attribute__((aligned(8)));
    uint32_t size;
    uint32_t flags;
};

static inline int tc_no_such_call(int error)
{
    return error == ENOSYS || error == EPERM; /* EPERM: how older container sandboxes refuse unknown calls */
}

static inline int tc_proc_name(char *out, size_t size, int dirfd, const char *name)
{
    int n = snprintf(out, size, "/proc/self/fd/%d/%s", dirfd, name);
    if (n < 0 || (size_t)n >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}

static inline ssize_t tc_proc_result(ssize_t result)
{
    if (result < 0 && errno == ENOENT && access("/proc/self/fd", F_OK) != 0)
        errno = ENOSYS;
    return result;
}
#endif

static inline ssize_t tc_listxattrat(int dirfd, const char *name, char *list, size_t size)
{
#ifdef __linux__
    char path[NAME_MAX + 64];
    long got = syscall(TC_SYS_listxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, list, size);
    if (got >= 0 || !tc_no_such_call(errno))
        return got;
    if (tc_proc_name(path, sizeof path, dirfd, name) != 0)
        return -1;
    return tc_proc_result(llistxattr(path, list, size));
#else
    int fd = openat(dirfd, name, O_RDONLY | O_SYMLINK | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = tc_flistxattr(fd, list, size);
    int saved = errno;
    close(fd);
    errno = saved;
    return got;
#endif
}

static inline ssize_t tc_getxattrat(int dirfd, const char *name, const char *key, void *value, size_t size)
{
#ifdef __linux__
    char path[NAME_MAX + 64];
    struct tc_xattr_args args = {(uint64_t)(uintptr_t)value, (uint32_t)size, 0};
    long got = syscall(TC_SYS_getxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, key, &args, sizeof args);
    if (got >= 0 || !tc_no_such_call(errno))
        return got;
    if (tc_proc_name(path, sizeof path, dirfd, name) != 0)
        return -1;
    return tc_proc_result(lgetxattr(path, key, value, size));
#else
    int fd = openat(dirfd, name, O_RDONLY | O_SYMLINK | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = tc_fgetxattr(fd, key, value, size);
    int saved = errno;
    close(fd);
    errno = saved;
    return got;
#endif
}

/* ---- holes ----------------------------------------------------------- */

/* The offset of the first byte from `offset` on that is not in a hole, at most `end`; `offset` where the
 * file system cannot tell (lseek(2), SEEK_DATA). Moves the descriptor's position. */
static inline uint64_t tc_data_at(int fd, uint64_t offset, uint64_t end)
{
#ifdef SEEK_DATA
    off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
    if (data >= 0)
        return (uint64_t)data < end ? ((uint64_t)data > offset ? (uint64_t)data : offset) : end;
    if (errno == ENXIO) {   /* nothing but a hole up to the file's end, wherever that is now */
        struct stat st;
        if (fstat(fd, &st) == 0 && (uint64_t)st.st_size > offset)
            return (uint64_t)st.st_size < end ? (uint64_t)st.st_size : end;
    }
#endif
    return offset;
}

/* Where the next data (or with `hole` the next hole) at or behind `offset` begins (lseek(2)): 0, or -1 and errno:
 * ENXIO for no more of it, others where the file system cannot tell. Moves the descriptor's position. */
static inline int tc_next(int fd, uint64_t offset, int hole, uint64_t *found)
{
#if defined(SEEK_DATA) && defined(SEEK_HOLE)
    off_t at = lseek(fd, (off_t)offset, hole ? SEEK_HOLE : SEEK_DATA);
    if (at >= 0)
        *found = (uint64_t)at;
    return at >= 0 ? 0 : -1;
#else
    (void)fd, (void)offset, (void)hole, (void)found;
    errno = ENOTSUP;
    return -1;
#endif
}

/* ---- memory ---------------------------------------------------------- */

/* Uninitialized memory for free(3), or NULL. It begins with a page: the kernel copies to and from other
 * addresses up to a fifth slower. */
static inline char *tc_page_memory(size_t size)
{
    void *memory;
    return posix_memalign(&memory, 4096, size) == 0 ? (char *)memory : NULL;
}

/* Keep `size` bytes of addresses from anybody else until they are given back; NULL if there are not so many. */
static inline void *tc_hold_addresses(size_t size)
{
    void *held = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return held != MAP_FAILED ? held : NULL;
}

static inline void tc_give_addresses(void *held, size_t size)
{
    munmap(held, size);
}

/* ---- output ---------------------------------------------------------- */

/* What a descriptor needs: 0 plain write (regular file, block device), 1 may
 * block for ever (pipe, terminal, FIFO), 2 socket; -1 and errno if it is bad. */
static inline int tc_sink_kind(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -1;
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        return 0;
    return S_ISSOCK(st.st_mode) ? 2 : 1;
}

/* Is it a pipe, rather than another thing that may block? */
static inline int tc_is_pipe(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* By number: the headers of manylinux2014 are older than the call (Linux 4.6). */
#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
#define TC_SYS_pwritev2 328
#elif defined(__linux__) && defined(__aarch64__)
#define TC_SYS_pwritev2 287
#endif

/* Write what fits now without waiting, whatever the descriptor's own flags say
 * (they are shared with other processes, so they are not ours to change).
 * EAGAIN: nothing fits now. Falls back to at most PIPE_BUF bytes, which a
 * poll()ed pipe takes without blocking. */
static inline ssize_t tc_write_nowait(int fd, int kind, const char *data, size_t size)
{
    if (kind == 2) {
#ifdef MSG_NOSIGNAL
        return send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
#else
        return send(fd, data, size, MSG_DONTWAIT);
#endif
    }
#ifdef TC_SYS_pwritev2
    struct iovec part = {(void *)(uintptr_t)data, size};
    const int nowait = 0x8; /* RWF_NOWAIT */
    long got = syscall(TC_SYS_pwritev2, fd, &part, 1L, -1L, -1L, nowait);
    if (got >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL && errno != EPERM))
        return got;
#endif
    struct pollfd one = {fd, POLLOUT, 0};
    if (poll(&one, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, data, size < 4096 ? size : 4096);
}

/* Wait until `fd` takes more or `milliseconds` are over. 1 ready (or broken: the next write says so), 0 not, -1 errno. */
static inline int tc_wait_writable(int fd, int milliseconds)
{
    struct pollfd one = {fd, POLLOUT, 0};
    return poll(&one, 1, milliseconds);
}

/* Where in the file writing starts, if pieces may be written at offsets in any order: a regular file that is
 * not open for appending (pwrite(2) would append to it). -1 otherwise. */
static inline int64_t tc_place(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_APPEND) || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return -1;
    return (int64_t)lseek(fd, 0, SEEK_CUR);
}

/* Reserve blocks beyond the end of the file, whose size stays. 0, or -1: not to be had. */
static inline int tc_allocate(int fd, int64_t offset, int64_t size)
{
#if defined(__linux__) && defined(FALLOC_FL_KEEP_SIZE)
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
#else
    (void)fd, (void)offset, (void)size;
    errno = ENOTSUP;
    return -1;
#endif
}

/* Give back what was reserved beyond the end of the file. */
static inline void tc_trim(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && ftruncate(fd, st.st_size) != 0)
        return; /* the blocks stay reserved: a waste, not an error */
}

/* Make the pipe behind `fd` hold up to `size` bytes, if it holds less and the system lets us. */
static inline void tc_widen_pipe(int fd, int size)
{
#if defined(__linux__) && defined(F_SETPIPE_SZ)
    int now = fcntl(fd, F_GETPIPE_SZ);
    while (now > 0 && size > now && fcntl(fd, F_SETPIPE_SZ, size) < 0)
        size /= 2;
#else
    (void)fd, (void)size;
#endif
}

/* Move up to `size` bytes of a file into a pipe without copying or waiting; EINVAL where that cannot be done. */
static inline ssize_t tc_splice(int in, int64_t *offset, int out, size_t size)
{
#if defined(__linux__) && defined(SPLICE_F_MOVE)
    loff_t at = (loff_t)*offset;
    ssize_t got = splice(in, &at, out, NULL, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE);
    *offset = (int64_t)at;
    return got;
#else
    (void)in, (void)offset, (void)out, (void)size;
    errno = EINVAL;
    return -1;
#endif
}

/* Let `size` bytes of `out` from `to` on share the blocks of `in` from `from` on (ioctl_ficlonerange(2)). */
static inline int tc_clone(int out, int64_t to, int in, int64_t from, uint64_t size)
{
#if defined(__linux__)
    struct tc_clone_range {
        int64_t in;
        uint64_t from, size, to;
    } range = {in, (uint64_t)from, size, (uint64_t)to};
    return ioctl(out, 0x4020940dUL /* FICLONERANGE */, &range);
#else
    (void)out, (void)to, (void)in, (void)from, (void)size;
    errno = ENOTSUP;
    return -1;
#endif
}

#endif
