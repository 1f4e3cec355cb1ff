/* The kernel's mount interface, which C libraries have had names for only since lately.
 *
 * Numbers and structs are those of linux/mount.h; they are the same on every
 * architecture. Calls are `static inline`, need no GIL and report failure as
 * the kernel does: -1 and errno (ENOSYS where there is no such call).
 */
#ifndef TARCAST_MOUNTS_H
#define TARCAST_MOUNTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#endif

#define TC_SYS_open_tree 428
#define TC_SYS_fsopen 430
#define TC_SYS_fsconfig 431
#define TC_SYS_fsmount 432
#define TC_SYS_clone3 435
#define TC_SYS_mount_setattr 442

#define TC_OPEN_TREE_CLONE 1
#define TC_AT_RECURSIVE 0x8000
#define TC_AT_EMPTY_PATH 0x1000
#define TC_FSOPEN_CLOEXEC 1
#define TC_FSMOUNT_CLOEXEC 1

/* Commands of fsconfig(2), attributes of fsmount(2) and mount_setattr(2). */
enum {
    TC_SET_FLAG = 0,
    TC_SET_STRING = 1,
    TC_SET_FD = 5,
    TC_CREATE = 6,
    TC_SET_DIRECTORY = 100, /* ours: open the directory `value`, then TC_SET_FD */
};
enum {
    TC_ATTR_RDONLY = 0x1,
    TC_ATTR_NOSUID = 0x2,
    TC_ATTR_NODEV = 0x4,
    TC_ATTR_NOEXEC = 0x8,
    TC_ATTR_ATIME = 0x70, /* the bits that say which of the next three */
    TC_ATTR_NOATIME = 0x10,
    TC_ATTR_STRICTATIME = 0x20,
    TC_ATTR_NODIRATIME = 0x80,
    TC_ATTR_NOSYMFOLLOW = 0x200000,
};

#ifdef __linux__
#define TC_CALL(...) syscall(__VA_ARGS__)
#else
#define O_PATH 0
static inline long tc_no_call(long number, ...)
{
    (void)number;
    errno = ENOSYS;
    return -1;
}
#define TC_CALL tc_no_call
#endif

/* One call of fsconfig(2). */
struct tc_step {
    int command;
    const char *key;
    const char *value;
};

/* What is to be mounted. */
struct tc_wanted {
    const char *type; /* of the file system; NULL: a bind, which is a mount of its own of the tree at `source` */
    const char *source;
    int recursive; /* a bind takes along what is mounted below */
    const struct tc_step *steps;
    size_t step_count;
    uint64_t attributes;
};

enum tc_stage { TC_NAMESPACE, TC_OPEN, TC_CONFIGURE, TC_MOUNT, TC_ATTRIBUTES };

enum { TC_LOG = 2048 };

struct tc_made {
    int fd;     /* the mount's root, attached nowhere: gone when it is closed; -1 on failure */
    int error;  /* errno; 0 on success */
    int stage;  /* of the call that failed */
    size_t step; /* TC_CONFIGURE: which one; behind the last one it is the file system itself */
    size_t log_size;
    char log[TC_LOG]; /* what the kernel says of a failure (fsopen(2)), a line each */
};

static inline int tc_configure(int fd, int command, const char *key, const char *value, int number)
{
    long result;
    do
        result = TC_CALL(TC_SYS_fsconfig, fd, command, key, value, number);
    while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

static inline int tc_step_do(int fd, const struct tc_step *step)
{
    int error;
    int directory;
    if (step->command != TC_SET_DIRECTORY)
        return tc_configure(fd, step->command, step->key, step->value, 0);
    /* Here, not by the caller: it must be of the namespace in which it is mounted. */
    directory = open(step->value, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return errno;
    error = tc_configure(fd, TC_SET_FD, step->key, NULL, directory);
    close(directory);
    return error;
}

static inline void tc_read_log(int context, struct tc_made *made)
{
    ssize_t got;
    while (made->log_size + 1 < TC_LOG
           && (got = read(context, made->log + made->log_size, TC_LOG - 1 - made->log_size)) > 0) {
        made->log_size += (size_t)got;
        made->log[made->log_size++] = '\n';
    }
}

static inline void tc_make_bind(const struct tc_wanted *wanted, struct tc_made *made)
{
    /* struct mount_attr: what is set, what is cleared, propagation, userns_fd. A mode of access times replaces another. */
    uint64_t attr[4] = {wanted->attributes, wanted->attributes & TC_ATTR_ATIME ? TC_ATTR_ATIME : 0, 0, 0};
    int flags = wanted->recursive ? TC_AT_RECURSIVE : 0;
    int fd = (int)TC_CALL(TC_SYS_open_tree, AT_FDCWD, wanted->source, TC_OPEN_TREE_CLONE | O_CLOEXEC | flags);
    if (fd < 0) {
        made->error = errno;
        return;
    }
    if (wanted->attributes && TC_CALL(TC_SYS_mount_setattr, fd, "", TC_AT_EMPTY_PATH | flags, attr, sizeof attr) < 0) {
        made->error = errno;
        made->stage = TC_ATTRIBUTES;
        close(fd);
        return;
    }
    made->fd = fd;
    made->error = 0;
}

static inline int tc_make_configured(int context, const struct tc_wanted *wanted, struct tc_made *made)
{
    int error;
    made->stage = TC_CONFIGURE;
    for (made->step = 0; made->step < wanted->step_count; made->step++) {
        error = tc_step_do(context, &wanted->steps[made->step]);
        if (error)
            return error;
    }
    error = tc_configure(context, TC_CREATE, NULL, NULL, 0);
    if (error)
        return error;
    made->stage = TC_MOUNT;
    made->fd = (int)TC_CALL(TC_SYS_fsmount, context, TC_FSMOUNT_CLOEXEC, wanted->attributes);
    return made->fd < 0 ? errno : 0;
}

/* Mount it. Only system calls, so a child of a process with threads may do it. */
static inline void tc_make(const struct tc_wanted *wanted, struct tc_made *made)
{
    int context;
    made->fd = -1;
    made->error = EIO; /* until it is known better: a child may be killed */
    made->step = made->log_size = 0;
    made->stage = TC_OPEN;
    if (wanted->type == NULL) {
        tc_make_bind(wanted, made);
        return;
    }
    context = (int)TC_CALL(TC_SYS_fsopen, wanted->type, TC_FSOPEN_CLOEXEC);
    if (context < 0) {
        made->error = errno;
        return;
    }
    made->error = tc_make_configured(context, wanted, made);
    if (made->error)
        tc_read_log(context, made);
    close(context);
}

#ifdef __linux__
/* Struct clone_args of linux/sched.h, as far as it is needed. */
struct tc_clone {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

/* Hand a descriptor to whoever has the other end of a socket. 0, or the errno. */
static inline int tc_hand_over(int to, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? errno : 0;
}

/* The descriptor that was handed over; -1: none. */
static inline int tc_take_over(int from)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    char byte;
    int fd = -1;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header;
    if (recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
        return -1;
    header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

/* The same by a child in a user namespace of its own, where anybody may mount some file systems
 * (user_namespaces(7)). It hands the mount over to the other end of the socket `to`; `made` must be shared memory.
 * The child's pid, or -1 and errno. It is a copy of a process that may have threads: only system calls. */
static inline pid_t tc_make_elsewhere(const struct tc_wanted *wanted, struct tc_made *made, int to)
{
    struct tc_clone how = {CLONE_NEWUSER | CLONE_NEWNS, 0, 0, 0, SIGCHLD, 0, 0, 0};
    pid_t child = (pid_t)syscall(TC_SYS_clone3, &how, sizeof how);
    if (child != 0)
        return child;
    tc_make(wanted, made); /* no id needs a name in the namespace: nothing is ever written there */
    if (made->error == 0)
        made->error = tc_hand_over(to, made->fd);
    _exit(0);
}
#else
static inline int tc_take_over(int from)
{
    return -1;
}

static inline pid_t tc_make_elsewhere(const struct tc_wanted *wanted, struct tc_made *made, int to)
{
    errno = ENOSYS;
    return -1;
}
#endif

static inline int tc_socket_pair(int ends[2])
{
#ifdef SOCK_CLOEXEC
    return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* Memory for the answer of such a child, zeros; NULL: there is none. */
static inline struct tc_made *tc_shared_made(void)
{
    void *memory = mmap(NULL, sizeof(struct tc_made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static inline void tc_give_made(struct tc_made *made)
{
    munmap(made, sizeof *made);
}

/* Wait for the child: 0 when it has ended, 1 when a signal came first. */
static inline int tc_await(pid_t child)
{
    return waitpid(child, NULL, 0) < 0 && errno == EINTR;
}

static inline void tc_end(pid_t child)
{
    kill(child, SIGKILL);
    while (tc_await(child))
        ;
}

static inline int tc_mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data)
{
#ifdef __linux__
    return mount(source, target, type, (unsigned long)flags, data);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* Take the mount away from `path` at once; what still uses it keeps it until then. */
static inline int tc_detach(const char *path)
{
#ifdef __linux__
    return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
#else
    errno = ENOSYS;
    return -1;
#endif
}

#endif
