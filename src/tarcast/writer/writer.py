"""`TarWriter`: an archive that is written entry by entry, with the methods of `tarfile.TarFile`."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
import warnings

from .._core.descriptor import open_file
from ..errors import (
    ChangedError,
    EncodingError,
    InputError,
    MissingError,
    OptionError,
    OutputError,
    os_error,
)
from ..roots import label, open_root
from ..tree import Opened, Tree
from .body import CHANGED_HINT, Body, FileSource, ObjectSource
from .header import encode
from .info import Describer
from .stream import SMALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Self

    from ..result import Result
    from ..tree import Path
    from .body import Source
    from .header import Format
    from .stream import Stream

    Filter = Callable[[tarfile.TarInfo], tarfile.TarInfo | None]


class TarWriter:
    """Writes an archive entry by entry; `tarcast.open` makes one.

    The archive is complete, and a path appears, when `close` returns. After an
    exception in a `with` block the archive is given up: a path keeps its old
    content, a stream ends without a trailer. A method that fails before a byte of
    its entry is written (the file is not there, the name cannot be encoded)
    changes nothing; one that fails later, or in the midst of a directory, leaves
    something incomplete behind, and then all that comes after it, `close` included, raises OutputError.

    Not for several threads at once.

    Attributes:
        name: absolute path of the archive, or its URL; None where it has no name.
        mode: as given.
        closed: nothing more can be added.
        offset: length of the archive so far, before compression, in bytes.
        result: what `close` gave, else None.
        format, encoding, errors: of headers that are written one by one, as in tarfile. May be set.
        dereference: add what a symlink leads to instead of the link. May be set.
        tarinfo: the class that `gettarinfo` and filters see. May be set.
    """

    closed: bool = True  # until __init__ is through

    def __init__(
        self,
        stream: Stream,
        *,
        name: str | None,
        mode: str,
        format: Format,
        encoding: str,
        errors: str,
        dereference: bool,
        tarinfo: type[tarfile.TarInfo],
        pax_headers: dict[str, str] | None,
    ) -> None:
        self.name = name
        self.mode = mode
        self.format = format
        self.encoding = encoding
        self.errors = errors
        self.dereference = dereference
        self.tarinfo = tarinfo
        self.pax_headers: dict[str, str] = dict(pax_headers or {})
        self.result: Result | None = None
        self._stream = stream
        self._describer = Describer(stream.links)
        self._within = False  # an entry, or in a call that has not come back
        self._cause: BaseException | None = None
        self.closed = False
        if self.pax_headers and format == tarfile.PAX_FORMAT:
            try:
                stream.put(tarinfo.create_pax_global_header(self.pax_headers.copy()))
                stream.flush()
            except BaseException:
                self.abort()
                raise

    # ---- entries ------------------------------------------------------------

    def add(
        self,
        name: Path,
        arcname: Path | None = None,
        recursive: bool = True,
        *,
        filter: Filter | None = None,
    ) -> None:
        """Add a file, directory, symlink, FIFO or device, as `arcname` if given.

        A directory is added with all below it, by the core and its workers; with
        `filter`, `dereference`, a `tarinfo` class or a `format` of one's own it is
        added entry by entry instead.

        Args:
            name: path in the file system.
            arcname: name in the archive; slashes at its start are removed, and if it is
                empty the directory has no entry of its own.
            recursive: False adds a directory without what is below it.
            filter: gets every TarInfo and gives it back, changed or not, or None to leave
                out the entry and what is below it.

        Raises:
            OptionError: the name cannot be in an archive of this format.
            InputError: it cannot be read (MissingError: it is not there, ChangedError: it
                changed meanwhile); with `on_error="skip"` only where `name` itself is
                not there.
            OutputError: writing failed, now or before.
        """
        self._check()
        path = _decoded(name)
        inner = path if arcname is None else _decoded(arcname)
        fast = (
            filter is None
            and recursive
            and not self.dereference
            and self.format == tarfile.PAX_FORMAT
            and self.tarinfo is tarfile.TarInfo
        )
        if fast and stat.S_ISDIR(self._status(path).st_mode):
            self._add_directory(path, inner)
            return
        self._add_each(path, inner, recursive, filter)

    def add_tree(self, tree: Tree | Path, prefix: Path = "") -> None:
        """Add a directory, or a Tree with its patterns, maps and epoch, by the core and its workers.

        Args:
            tree: what `write_tar` takes.
            prefix: a name in the archive, of one component or several, that its entries lie below; the
                directory itself has an entry then. Without it they are those that `write_tar` writes.

        Raises:
            What `write_tar` raises.
        """
        self._check()
        tree = tree if isinstance(tree, Tree) else Tree(tree)
        self._run(tree, _decoded(prefix))

    def addfile(self, tarinfo: tarfile.TarInfo, fileobj: IO[bytes] | None = None) -> None:
        """Add an entry as `tarinfo` describes it, with `tarinfo.size` bytes read from `fileobj`.

        Raises:
            OptionError: the format cannot hold it, or it has a size and no `fileobj`, or one that is
                closed, open for text or no file object.
            ChangedError: `fileobj` ends too early ("unexpected end of data"). With
                `on_error="skip"` zeros take the place of what is missing.
            OutputError: writing failed, now or before.
            Whatever `fileobj.read` raises.
        """
        self._check()
        if fileobj is None:
            if tarinfo.size and (tarinfo.isreg() or tarinfo.type not in tarfile.SUPPORTED_TYPES):
                raise OptionError(
                    f"has {tarinfo.size} bytes, and there is no fileobj to read them from",
                    path=tarinfo.name,
                    step="add",
                )
            self._put(tarinfo)
        else:
            self._put_from(ObjectSource(fileobj, tarinfo.name), tarinfo, tarinfo.name)

    def add_bytes(
        self, name: str, data: bytes | bytearray | memoryview, *, mode: int = 0o644, mtime: float = 0
    ) -> None:
        """Add a regular file that contains `data`, root's.

        Args:
            name: in the archive.
            data: its content, or any other buffer.
            mode: permission bits.
            mtime: time stamp in seconds since 1970; as in TarInfo 0 unless given, so that
                the same call makes the same archive.

        Raises:
            OptionError: the name cannot be in an archive of this format, or another argument makes no sense.
            OutputError: writing failed, now or before.
        """
        if not isinstance(name, str) or not name.strip("/") or "\0" in name:
            raise OptionError(f"an entry cannot be named {name!r}")
        info = self.tarinfo(name)
        try:
            content = data if type(data) is bytes else bytes(memoryview(data))
        except TypeError as error:
            hint = "encode it" if isinstance(data, str) else ""
            raise OptionError(
                f"data must be bytes, not {type(data).__name__}", path=name, step="add", hint=hint
            ) from error
        if not isinstance(mode, int) or not isinstance(mtime, (int, float)):
            raise OptionError(
                f"mode and mtime must be numbers, not {mode!r} and {mtime!r}", path=name, step="add"
            )
        info.size = len(content)
        info.mode = mode
        info.mtime = mtime
        self._check()
        self._put(info, content)

    def gettarinfo(
        self, name: Path | None = None, arcname: Path | None = None, fileobj: IO[bytes] | None = None
    ) -> tarfile.TarInfo | None:
        """A TarInfo for `addfile`, of the file `name` or of the open `fileobj`; None for a socket.

        As in tarfile, another name of the same file is from now on a hard link to this one.
        """
        self._check()
        if fileobj is not None:
            try:
                name = fileobj.name
                status = os.fstat(fileobj.fileno())
            except (AttributeError, OSError, ValueError) as error:
                raise OptionError(f"the fileobj is no open file with a name: {error}") from error
            path = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else str(name)
        elif name is None:
            raise OptionError("gettarinfo needs a name or a fileobj")
        else:
            path = _decoded(name)
            status = self._status(path)
        info = self._describe(status, path, path if arcname is None else _decoded(arcname))
        if info is not None and not self.dereference:
            self._describer.remember(status, info)
        return info

    # ---- the end ------------------------------------------------------------

    def close(self) -> Result:
        """Write the trailer and publish the archive; once more gives the same Result.

        Raises:
            OutputError: writing failed, or the archive cannot be completed: half an entry was
                written before, or it was given up. Nothing is published then.
        """
        if self.closed:
            if self.result is None:
                raise OutputError("the archive was given up", path=self.name, step="close")
            return self.result
        if self._within:
            self.abort()
            raise self._broken("close")
        self.closed = True
        try:
            end = 2 * tarfile.BLOCKSIZE
            self._stream.put(bytes(end + -(self._stream.offset + end) % tarfile.RECORDSIZE))
            self.result = self._stream.finish()
        except BaseException:
            self._stream.abort()
            raise
        return self.result

    def abort(self) -> None:
        """Give the archive up, as an exception in a `with` block does; nothing after `close`."""
        if not self.closed:
            self.closed = True
            self._stream.abort()

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if not self.closed:
            self.abort()
            text = f"archive was not closed, and is given up: {self.name}"
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self._stream.entries} entries, {self.offset} bytes"
        return f"<TarWriter {self.name!r} {state}>"

    @property
    def offset(self) -> int:
        """Length of the archive so far, before compression, in bytes."""
        return self._stream.offset

    # ---- within -------------------------------------------------------------

    def _check(self) -> None:
        """Raises OutputError unless an entry can begin."""
        if self.closed:
            raise OutputError("the archive is closed", path=self.name, step="add")
        if self._within:
            raise self._broken("add")

    def _broken(self, step: str) -> OutputError:
        error = OutputError(
            "half an entry or directory was written, and nothing can follow it",
            path=self.name,
            step=step,
            hint="write the archive again from its start",
        )
        error.__cause__ = self._cause
        return error

    def _spoil(self, error: BaseException) -> None:
        """What was written cannot become an archive any more: let go of what it holds."""
        self._within = True
        self._stream.abort()
        if self._cause is None:
            self._cause = error

    def _status(self, path: str) -> os.stat_result:
        try:
            return os.stat(path) if self.dereference else os.lstat(path)
        except OSError as error:
            raise _input_error(error, path, "stat") from error
        except ValueError as error:
            raise OptionError(str(error), path=path, step="add") from error

    def _describe(self, status: os.stat_result, path: str, arcname: str) -> tarfile.TarInfo | None:
        try:
            return self._describer.describe(self.tarinfo, status, path, arcname, dereference=self.dereference)
        except OSError as error:
            raise _input_error(error, path, "read link") from error

    def _header(self, info: tarfile.TarInfo) -> bytes:
        if "\0" in info.name or "\0" in info.linkname:
            raise OptionError("a name cannot hold a NUL", path=info.name, step="encode")
        try:
            return encode(info, self.format, self.encoding, self.errors)
        except UnicodeError as error:
            raise EncodingError(str(error), path=info.name, step="encode") from error
        except (ValueError, OverflowError) as error:  # the latter of a time that is infinite
            raise OptionError(str(error), path=info.name, step="encode") from error

    def _put(self, info: tarfile.TarInfo, data: bytes = b"") -> None:
        """Write an entry with data that is there."""
        self._write(self._header(info), data)

    def _put_from(self, source: Source, info: tarfile.TarInfo, path: str) -> None:
        """Write an entry with data of `source`; what is wrong with one chunk of it shows before a byte."""
        header = self._header(info)
        body = Body(source, info.size, path, self._stream.skip if self._stream.skip_errors else None)
        self._write(header, body.next(), body)

    def _write(self, header: bytes, data: bytes, body: Body | None = None) -> None:
        """The header, `data`, and then what is left of `body`."""
        stream = self._stream
        self._within = True
        try:
            if body is None and len(data) <= SMALL:
                stream.put(b"".join((header, data, bytes(-len(data) % tarfile.BLOCKSIZE))))
            else:
                stream.put(header)
                size = len(data)
                while data:
                    stream.put(data)
                    data = b"" if body is None else body.next()
                    size += len(data)
                stream.put(bytes(-size % tarfile.BLOCKSIZE))
        except BaseException as error:
            self._spoil(error)
            raise
        stream.entries += 1
        self._within = False

    def _add_directory(self, path: str, arcname: str) -> None:
        try:
            directory = open_file(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise _input_error(error, path, "open") from error
        try:
            tree = Tree(path)
            tree.opened = Opened(directory.fileno(), path)
            self._run(tree, arcname)
        finally:
            directory.close()

    def _run(self, tree: Tree, name: str) -> None:
        """Have the core write `tree` as the directory `name`."""
        try:
            prefix = os.fsencode(name).lstrip(b"/")
        except UnicodeEncodeError as error:
            raise EncodingError(str(error), path=name, step="encode") from error
        if b"\0" in prefix:
            raise OptionError("a name cannot hold a NUL", path=name, step="encode")
        if prefix and not prefix.endswith(b"/"):
            prefix += b"/"
        with contextlib.ExitStack() as stack:
            root = open_root(prefix, tree, None, stack)
            self._within = True
            try:
                self._stream.run(root, (label(tree), prefix))
            except BaseException as error:
                self._spoil(error)
                raise
            self._within = False

    def _add_each(self, path: str, arcname: str, recursive: bool, filter: Filter | None) -> None:
        """Add `path` and, if `recursive`, what is below it, entry by entry."""
        start = self._stream.offset
        try:
            if not self._add_one(path, arcname, filter) or not recursive:
                return
            levels = [self._children(path, arcname)]
            while levels:
                for below, name in levels[-1]:
                    try:
                        if self._add_one(below, name, filter):
                            levels.append(self._children(below, name))
                            break
                    except InputError as error:
                        if self._within or not self._stream.skip_errors:
                            raise
                        self._stream.skip(below, error)
                else:
                    levels.pop()
        except BaseException as error:
            if self._stream.offset != start:  # a directory without the rest of it
                self._spoil(error)
            raise

    def _children(self, path: str, arcname: str) -> Iterator[tuple[str, str]]:
        """(path, archive name) of what is in a directory, in the order of tarfile."""
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise _input_error(error, path, "read directory") from error
        path = os.path.join(path, "")
        arcname = os.path.join(arcname, "")
        return ((path + name, arcname + name) for name in names)

    def _add_one(self, path: str, arcname: str, filter: Filter | None) -> bool:
        """Add one entry. True: it is a directory that may be entered."""
        status = self._status(path)
        regular = stat.S_ISREG(status.st_mode)
        if regular and (status.st_dev, status.st_ino) in self._stream.outputs:
            self._stream.warn(path, "select", "is the archive itself: left out")
            return False
        info = self._describe(status, path, arcname)
        if info is None:
            self._stream.warn(path, "select", "is a socket: left out")
            return False
        if filter is not None:
            changed = filter(info)
            self._check()  # it may have closed the archive
            if changed is None:
                return False
            info = changed
        if not info.name and not info.isdir():
            raise OptionError("has no name in the archive", path=path, step="add")
        if info.isreg():
            self._put_file(info, path, status)
        elif info.name:  # the directory that is the archive's root has no entry
            self._put(info)
        if regular and not self.dereference:
            self._describer.remember(status, info)
        return info.isdir()

    def _put_file(self, info: tarfile.TarInfo, path: str, status: os.stat_result) -> None:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | (0 if self.dereference else os.O_NOFOLLOW)
        try:
            file = open_file(path, flags)
        except OSError as error:
            raise _input_error(error, path, "open") from error
        try:
            now = os.fstat(file.fileno())
            if (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino):
                raise ChangedError(
                    "was replaced while it was added",
                    path=path,
                    step="open",
                    hint=CHANGED_HINT,
                    expected=0,
                    seen=0,
                )
            fd = file.fileno()
            if info.size == status.st_size:
                info.size = now.st_size  # what is there now, unless a filter had its own mind
            if info.size == now.st_size <= SMALL:
                data = os.read(fd, info.size + 1)
                if len(data) == info.size:
                    self._put(info, data)
                    return
                os.lseek(fd, 0, os.SEEK_SET)
            self._put_from(FileSource(fd, path, watch=info.size == now.st_size), info, path)
        finally:
            file.close()


def _decoded(name: object) -> str:
    if isinstance(name, (str, bytes, os.PathLike)):
        return os.fsdecode(name)
    raise OptionError(f"a name is a path, not {type(name).__name__}", step="add")


def _input_error(error: OSError, path: str, step: str) -> InputError | OutputError:
    kind = MissingError if error.errno in (errno.ENOENT, errno.ENOTDIR) else InputError
    return os_error(kind, error, path=path, step=step, hint="check the path" if kind is MissingError else "")
