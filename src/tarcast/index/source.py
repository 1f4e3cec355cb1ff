"""Where an archive's bytes come from: a file, a compressed one, a pipe; and how they are gone through."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from .._core.descriptor import Descriptor, open_file
from .._core.scan import Member, ScanError, Scanner
from ..errors import InputError, OptionError, os_error
from .form import HEAD
from .sparse import SparseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO, Protocol

    from .writing import Recorder

    class Source(Protocol):
        """An archive's uncompressed bytes.

        Attributes:
            name: of the file, for messages.
            size: how many there are, or None where that is not known.
            file_size: length of the file they are in, or None.
            compression: "gzip" and the like, or None.
        """

        name: str
        size: int | None
        file_size: int | None
        compression: str | None

        def read_at(self, offset: int, count: int) -> bytes:
            """At least one byte from `offset` on and at most `count`; b"" at the end."""

        def close(self) -> None: ...


_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_CHUNK = 1 << 18
# What is read of a header, where bodies are so large: most headers are one block, few more than eight.
_LEAST = 4096
_LARGE = 65536


class FileSource:
    """A regular file, or the part of it from `start` on. Owns the descriptor."""

    compression: str | None = None

    def __init__(self, file: Descriptor, name: str, *, start: int = 0, size: int) -> None:
        self.name = name
        self.size: int | None = size
        self.file_size: int | None = size
        self._file = file
        self._start = start
        self._size = size

    def read_at(self, offset: int, count: int) -> bytes:
        count = min(count, self._size - offset)
        if count <= 0:
            return b""
        try:
            return os.pread(self._file.fileno(), count, self._start + offset)
        except OSError as error:
            raise os_error(InputError, error, path=self.name, step="read archive") from error

    def close(self) -> None:
        self._file.close()


class StreamSource:
    """Bytes that come one after the other: what a decompressor gives, or a pipe.

    Going back begins anew where the file can be read again.
    """

    def __init__(self, file: BinaryIO, name: str, compression: str | None, *, file_size: int | None) -> None:
        self.name = name
        self.size: int | None = None
        self.file_size = file_size
        self.compression = compression
        self._file = file
        self._stream: Any = None
        self._at = 0

    def read_at(self, offset: int, count: int) -> bytes:
        try:
            if self._stream is None or offset < self._at:
                self._begin()
            while self._at < offset:
                passed = len(self._stream.read(min(offset - self._at, _CHUNK)))
                if not passed:
                    return b""
                self._at += passed
            data: bytes = self._stream.read(count)
        except (InputError, OptionError):
            raise
        except OSError as error:
            raise os_error(InputError, error, path=self.name, step="read archive") from error
        except Exception as error:
            if not isinstance(error, EOFError) and type(error).__module__ not in _DECOMPRESSORS:
                raise
            raise InputError(str(error), path=self.name, step="decompress archive") from error
        self._at += len(data)
        return data

    def _begin(self) -> None:
        if self._stream is not None:
            if self.file_size is None:
                raise InputError(
                    "is read as a stream, and what is wanted has passed",
                    path=self.name,
                    step="read archive",
                    hint="read it from a file",
                )
            self._file.seek(0)
        self._stream = _decompressed(self._file, self.compression)
        self._at = 0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


_DECOMPRESSORS = ("zlib", "_lzma", "lzma", "backports.zstd", "compression.zstd")


def _decompressed(file: BinaryIO, compression: str | None) -> Any:
    if compression is None:
        return file
    if compression == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=file, mode="rb")
    if compression == "xz":
        import lzma

        return lzma.LZMAFile(file)
    if compression == "bzip2":
        import bz2

        return bz2.BZ2File(file)
    from ..compression.codec import zstd_module

    return zstd_module().ZstdFile(file)


def open_source(path: str | bytes | os.PathLike[str], *, spool: bool = False) -> Source:
    """The archive at `path`; "-" is standard input. With `spool` a pipe becomes an unnamed temporary file.

    Raises:
        InputError: it can't be read.
        OptionError: it is compressed with what needs a package.
    """
    name = os.fsdecode(path)
    try:
        file = Descriptor(os.dup(sys.stdin.fileno())) if name == "-" else open_file(path, os.O_RDONLY)
        status = os.fstat(file.fileno())
    except (AttributeError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise os_error(InputError, error, path=name, step="open archive") from error
        raise InputError("cannot be opened", path=name, step="open archive") from error
    if name == "-":
        name = "standard input"
    if stat.S_ISDIR(status.st_mode):
        file.close()
        raise InputError("is a directory, not an archive", path=name, step="open archive")
    try:
        if spool and not stat.S_ISREG(status.st_mode):
            file = _spooled(file)
            status = os.fstat(file.fileno())
        regular = stat.S_ISREG(status.st_mode)
        start = os.lseek(file.fileno(), 0, os.SEEK_CUR) if regular else 0
        begin = os.pread(file.fileno(), 6, start) if regular else b""
    except OSError as error:
        file.close()
        raise os_error(InputError, error, path=name, step="open archive") from error
    if regular and _compression(begin) is None:
        return FileSource(file, name, start=start, size=status.st_size - start)
    stream: Any = open(os.dup(file.fileno()), "rb", buffering=_CHUNK)  # noqa: SIM115
    file.close()
    try:
        if not regular:
            begin = stream.peek(6)[:6]
    except OSError as error:
        stream.close()
        raise os_error(InputError, error, path=name, step="read archive") from error
    size = status.st_size if regular and start == 0 else None
    return StreamSource(stream, name, _compression(begin), file_size=size)


def _spooled(file: Descriptor) -> Descriptor:
    """What is read from `file`, which is closed, in a file of its own."""
    import tempfile

    with file, tempfile.TemporaryFile() as copy:
        while data := os.read(file.fileno(), _CHUNK):
            copy.write(data)
        copy.seek(0)
        return Descriptor(os.dup(copy.fileno()))


def _compression(begin: bytes) -> str | None:
    return next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), None)


def scan(
    source: Source, scanner: Scanner, head: Callable[[bytes], object] | None = None
) -> Iterator[list[Member]]:
    """The archive's members, as they come. What lies between headers is not read, where that can be.

    `head` is called with the first bytes, at least HEAD of them. A stream is read to its end, so that who
    writes it does not stumble.

    Raises:
        InputError: it can't be read, or is no whole tar archive.
    """
    window = _CHUNK
    try:
        while not scanner.failed and (source.size is None or not scanner.ended):
            if source.size is not None and scanner.ahead:
                # Large bodies: look at headers alone. Small ones: read what is in between too.
                window = _LEAST if scanner.ahead >= _LARGE else min(2 * window, _CHUNK)
                scanner.pass_by(min(scanner.ahead, source.size - scanner.position))
            at = scanner.position
            data = source.read_at(at, window)
            if not data:
                break
            if head is not None and at < HEAD:
                head(data)
            members = scanner.feed(data)
            if members:
                yield members
        scanner.close()
    except ScanError as error:
        hint = "" if error.offset else "is it a tar archive?"
        raise InputError(str(error), path=source.name, step="read archive", hint=hint) from None
    except SparseError as error:
        raise InputError(str(error), path=source.name, step="read archive") from None


def scan_into(recorder: Recorder, source: Source) -> None:
    """Fill an index from the archive's file; raises what `scan` does, and OutputError."""
    for members in scan(source, recorder.scanner, recorder.begin):
        recorder.add(members)


def read_exactly(source: Source, offset: int, count: int) -> bytes:
    """`count` bytes from `offset` on, or as many as there are."""
    parts = []
    while count:
        data = source.read_at(offset, count)
        if not data:
            break
        parts.append(data)
        offset += len(data)
        count -= len(data)
    return b"".join(parts)
