"""A path: the file appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from .._core.descriptor import Descriptor, open_file
from ..errors import ExistsError, OptionError, OutputError, os_error
from .descriptor import DescriptorSink, flush_to_disk, named_descriptor, refuse_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How the kernel says that a file system has no O_TMPFILE (open(2)): not at all, not here, not this flag.
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}


class FileSink:
    """Writes beside `path` and renames at the end, so a reader sees the old file or the whole new one.

    The new file has no name until it is complete (O_TMPFILE) where the file
    system can do that, so a kill while it is written leaves nothing behind;
    elsewhere it has a hidden temporary name in the same directory. It keeps the
    permissions of the file it replaces. A symlink is written through. A FIFO or
    a device is written to as it is, and so is an open descriptor of this process
    that `path` means, such as /dev/stdout or /dev/fd/3: from its position on.

    Args:
        path: the final name.
        fsync: flush file and directory to the disk before `commit` returns.
        named: give the unfinished file a name at once, for those who must open it by one.

    Attributes:
        exclusive: ExistsError if there is anything under the name, when it is opened or when it
            is complete, instead of replacing it. To be set before `open`.

    Raises:
        OutputError: `path` means a descriptor that is not open.
    """

    write: Callable[[memoryview], None] | None = None
    exclusive = False

    def __init__(
        self, path: str | bytes | os.PathLike[str], *, fsync: bool = False, named: bool = False
    ) -> None:
        self.name: str = os.fsdecode(path)
        self.fd: int = -1
        self.outputs: list[tuple[int, int]] = []
        self._fsync = fsync
        self._named = named
        self._file = Descriptor()
        self._folder = Descriptor()
        self._directory = -1
        self._parent = b""
        self._final = b""
        self._temporary: bytes | None = None
        self._in_place = False
        self._process = os.getpid()
        number = named_descriptor(self.name)
        self._given = None if number is None else DescriptorSink(number, name=self.name)

    def open(self) -> None:
        try:
            try:
                if self.exclusive and os.path.lexists(self.name):
                    raise self._exists("open output")
                self._in_place = self._given is not None or _is_special(self.name)
                if self._given is not None:
                    self._given.open()
                    self.fd, self.outputs = self._given.fd, self._given.outputs
                elif self._in_place:  # by this very name: that of a pipe in /proc resolves to none
                    self._file = open_file(self.name, os.O_WRONLY | os.O_NOCTTY)
                    self.fd = self._file.fileno()
                    refuse_terminal(self.fd, self.name)
                else:
                    self._open(os.fsencode(os.path.realpath(self.name)) if self.name else b"")
            except BaseException:
                self.abort()
                raise
        except (OptionError, ExistsError):
            raise
        except ValueError as error:  # a NUL, or characters that no file name can hold
            raise OptionError(str(error), path=self.name, step="open output") from error
        except OSError as error:
            hint = ""
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                hint = "create the directory first"
            elif error.errno == errno.EISDIR:
                hint = "name a file in it"
            raise os_error(OutputError, error, path=self.name, step="open output", hint=hint) from error

    def _open(self, path: bytes) -> None:
        directory, self._final = os.path.split(path)
        self._parent = directory
        if not self._final or self.name.endswith("/"):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        self._folder = open_file(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._directory = self._folder.fileno()
        try:
            old = os.stat(self._final, dir_fd=self._directory)
        except FileNotFoundError:
            old = None
        if old is not None:
            if stat.S_ISDIR(old.st_mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            if old.st_nlink == 1:  # under another name it stays, and may be wanted
                self.outputs.append((old.st_dev, old.st_ino))
        self._file = self._create()
        self.fd = self._file.fileno()
        if old is not None:
            self._keep_owner(old)
        new = os.fstat(self.fd)
        self.outputs.append((new.st_dev, new.st_ino))

    def _keep_owner(self, old: os.stat_result) -> None:
        """A file that is replaced keeps its permissions, and its owner where that is allowed."""
        with contextlib.suppress(PermissionError):
            os.fchown(self.fd, old.st_uid, old.st_gid)
        os.fchmod(self.fd, stat.S_IMODE(old.st_mode))

    @property
    def temporary_path(self) -> bytes:
        """Where the file is until `commit`, if it is open and was to be `named`."""
        assert self._temporary is not None
        return os.path.join(self._parent, self._temporary)

    def _create(self) -> Descriptor:
        if not self._named and hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
            try:
                return open_file(".", os.O_WRONLY | os.O_TMPFILE, dirfd=self._directory)
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    raise
        self._temporary = _temporary_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return open_file(self._temporary, flags, dirfd=self._directory)

    def commit(self) -> None:
        try:
            if self._fsync:
                flush_to_disk(self.fd)
            if self._in_place:
                return
            if self._temporary is None:
                # A link cannot replace a file, so the nameless one gets a name for a moment. It is known to
                # `abort` before it exists: Ctrl-C may come right behind the link.
                self._temporary = _temporary_name()
                os.link(f"/proc/self/fd/{self.fd}", self._temporary, dst_dir_fd=self._directory)
            self._close()  # a late error of a network file system shows here, before the rename
            if not self.exclusive or not self._link():
                os.rename(
                    self._temporary, self._final, src_dir_fd=self._directory, dst_dir_fd=self._directory
                )
                self._temporary = None
            if self._fsync:
                os.fsync(self._directory)
        except ExistsError:
            raise
        except OSError as error:
            raise os_error(OutputError, error, path=self.name, step="finish output") from error
        finally:
            self.abort()  # the name for a moment goes too

    def _link(self) -> bool:
        """Give the complete file its name if nothing has it. False: this file system has no links."""
        assert self._temporary is not None
        try:
            os.link(self._temporary, self._final, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileExistsError as error:
            raise self._exists("finish output") from error
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            if os.path.lexists(self.name):
                raise self._exists("finish output") from error
            return False
        return True

    def _exists(self, step: str) -> ExistsError:
        return ExistsError(
            "there is one already", path=self.name, step=step, errno=errno.EEXIST, hint="mode 'w' replaces it"
        )

    def _close(self) -> None:
        self.fd = -1
        self._file.close()

    def abort(self) -> None:
        """Close everything and remove what is not published; after `commit` nothing is left to remove."""
        if self._process != os.getpid():  # a forked child: the file is its parent's
            self._temporary = None
        with contextlib.suppress(OSError):
            self._close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._directory)
            self._temporary = None
        self._directory = -1
        self._folder.close()


def _is_special(path: str) -> bool:
    """Whether there is something that is neither a regular file nor a directory."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _temporary_name() -> bytes:
    return b".tarcast-" + os.urandom(8).hex().encode() + b".tmp"
