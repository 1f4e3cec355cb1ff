/* What the core uses of macOS's <sys/xattr.h>, as its manual has it; zig's copy of the SDK has no such file. */
#include <sys/types.h>

#define XATTR_NOFOLLOW 0x0001

ssize_t getxattr(const char *path, const char *name, void *value, size_t size, unsigned int position, int options);
ssize_t fgetxattr(int fd, const char *name, void *value, size_t size, unsigned int position, int options);
ssize_t listxattr(const char *path, char *names, size_t size, int options);
ssize_t flistxattr(int fd, char *names, size_t size, int options);
