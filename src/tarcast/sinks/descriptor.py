"""An open descriptor of the caller's: written to from its position on, never closed, never changed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys

from ..errors import OptionError, OutputError, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from . import Sink


class DescriptorSink:
    """Writes to descriptor `fd`. After a failure what was written stays, without the trailer of a tar."""

    write: Callable[[memoryview], None] | None = None

    def __init__(self, fd: int, *, name: str = "", fsync: bool = False) -> None:
        self.fd = fd
        self.name: str = name or f"descriptor {fd}"
        self.outputs: list[tuple[int, int]] = []
        self._fsync = fsync
        try:  # now, since the number of a closed one may be that of a tree's directory later
            self._flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            self._status = os.fstat(fd)
        except (OSError, OverflowError, ValueError) as error:
            raise OutputError(
                f"not an open descriptor: {error}",
                path=self.name,
                step="open",
                errno=getattr(error, "errno", None),
            ) from error

    def open(self) -> None:
        if self._flags & os.O_ACCMODE == os.O_RDONLY:
            raise OptionError("open for reading only", path=self.name, step="open")
        refuse_terminal(self.fd, self.name)
        if stat.S_ISREG(self._status.st_mode):
            self.outputs.append((self._status.st_dev, self._status.st_ino))

    def commit(self) -> None:
        if self._fsync:
            try:
                flush_to_disk(self.fd)
            except OSError as error:
                raise os_error(OutputError, error, path=self.name, step="fsync") from error

    def abort(self) -> None:
        pass


def named_descriptor(path: str) -> int | None:
    """The number of this process's descriptor that `path` means; None: it is the name of something else.

    /dev/stdout, /dev/stderr, /dev/fd/N and /proc/self/fd/N do, open or not, and symlinks to them. What such a
    name resolves to is of no use: of a pipe it is no path, and a file that others hold open must not be
    replaced.
    """
    folders = {os.path.realpath("/dev/fd"), os.path.realpath("/proc/self/fd")}
    for _ in range(40):  # as many links as the kernel follows
        folder, name = os.path.split(path)
        try:
            if name.isascii() and name.isdigit() and os.path.realpath(folder) in folders:
                return int(name)
            path = os.path.join(folder, os.readlink(path))
        except (OSError, ValueError):  # no link, or what no file can be called
            return None
    return None


def refuse_terminal(fd: int, name: str) -> None:
    """Raise OptionError if `fd` is a terminal: an archive there helps nobody."""
    if os.isatty(fd):
        raise OptionError(
            "refusing to write an archive to a terminal", path=name, hint="redirect it, or name a file"
        )


def flush_to_disk(fd: int) -> None:
    """fsync(2), where there is a disk: a pipe or a terminal has none and says EINVAL or EROFS."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):
            raise


def stdout_sink(*, fsync: bool) -> Sink:
    """Standard output: its descriptor, or the object that stands in for it."""
    try:
        sys.stdout.flush()
        fd = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:
            raise OutputError("there is no standard output", path="-", step="open") from None
        from .fileobj import FileObjectSink

        return FileObjectSink(buffer, fsync=fsync)
    return DescriptorSink(fd, name="standard output", fsync=fsync)
