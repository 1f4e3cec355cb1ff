def open_in_root(dirfd: int, path: bytes, flags: int) -> int:
    """An open descriptor (close-on-exec) of `path`, resolved as if the directory `dirfd` were the root.

    Nothing leads out of it: not "..", not a symlink, not an absolute path. `flags` are those of os.open.

    Raises:
        OSError: with errno and `path`; ENOSYS where the kernel has no openat2(2) (before Linux 5.6).
        ValueError: `path` holds a NUL.
    """
