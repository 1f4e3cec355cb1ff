"""The data of one entry: as many bytes as its header promised, whatever the file has to say."""

from __future__ import annotations

import io
import os

from ..errors import ChangedError, InputError, OptionError, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Source(Protocol):
        def read(self, size: int) -> bytes:
            """`size` bytes, or fewer where the data ends."""

        def shorter(self, expected: int, seen: int) -> InputError:
            """What to say when it ended too early."""

        def longer(self, expected: int) -> InputError | None:
            """What to say, if anything, when it may go on behind the last byte."""


# Bytes read at once. What is wrong with a body of no more than that shows before its header is written.
CHUNK = 262144

CHANGED_HINT = "add a snapshot, or use on_error='skip' to go on all the same"


class Body:
    """`size` bytes of `source`; what is missing is an error, or zeros if errors are skipped.

    Args:
        source: where they come from.
        size: how many; OptionError if negative.
        skip: is told an error that is to be skipped; None: it is raised.
    """

    def __init__(
        self, source: Source, size: int, path: str, skip: Callable[[str, InputError], None] | None
    ) -> None:
        if size < 0:
            raise OptionError(f"cannot have {size} bytes", path=path, step="add")
        self.size = size
        self._source = source
        self._path = path
        self._skip = skip
        self._done = 0
        self._ended = False

    def next(self) -> bytes:
        """The next bytes, b"" when all of them were given."""
        want = min(self.size - self._done, CHUNK)
        if want == 0:
            return b""
        data = b"" if self._ended else self._read(want)
        self._done += want
        if len(data) < want:
            self._ended = True
            data += bytes(want - len(data))
        elif self._done == self.size and not self._ended:
            error = self._source.longer(self.size)
            if error is not None:
                self._complain(error)
        return data

    def _read(self, want: int) -> bytes:
        try:
            data = self._source.read(want)
        except InputError as error:
            self._complain(error)
            return b""
        if len(data) < want:
            self._complain(self._source.shorter(self.size, self._done + len(data)))
        return data

    def _complain(self, error: InputError) -> None:
        if self._skip is None:
            raise error
        self._skip(self._path, error)


class FileSource:
    """An open file; `watch`: that it grows is worth telling."""

    def __init__(self, fd: int, path: str, *, watch: bool) -> None:
        self._fd = fd
        self._path = path
        self._watch = watch

    def read(self, size: int) -> bytes:
        try:
            return read_exactly(lambda left: os.read(self._fd, left), size)
        except OSError as error:
            raise os_error(InputError, error, path=self._path, step="read data") from error

    def shorter(self, expected: int, seen: int) -> InputError:
        message = f"shrank while it was added: {expected} bytes expected, {seen} seen"
        return self._changed(message, expected, seen)

    def longer(self, expected: int) -> InputError | None:
        if not self._watch or not self.read(1):
            return None
        message = f"grew while it was added: {expected} bytes expected, at least {expected + 1} seen"
        return self._changed(message, expected, expected + 1)

    def _changed(self, message: str, expected: int, seen: int) -> ChangedError:
        return ChangedError(
            message, path=self._path, step="read data", hint=CHANGED_HINT, expected=expected, seen=seen
        )


class ObjectSource:
    """A file object of the caller's; what its `read` raises is passed on. It may hold more."""

    def __init__(self, fileobj: Any, path: str) -> None:
        if isinstance(fileobj, io.TextIOBase):
            raise OptionError(
                "the file object is open for text", path=path, step="add", hint="open it in binary mode, 'rb'"
            )
        if not callable(getattr(fileobj, "read", None)):
            raise OptionError(
                f"{type(fileobj).__name__} is no file object",
                path=path,
                step="add",
                hint="wrap bytes in io.BytesIO, or use add_bytes",
            )
        if getattr(fileobj, "closed", False) is True:
            raise OptionError("the file object is closed", path=path, step="add")
        self._read = fileobj.read
        self._path = path

    def read(self, size: int) -> bytes:
        return read_exactly(self._read, size)

    def shorter(self, expected: int, seen: int) -> InputError:
        return ChangedError(
            f"unexpected end of data: {expected} bytes expected, {seen} seen",
            path=self._path,
            step="read data",
            hint="set tarinfo.size to what fileobj holds",
            expected=expected,
            seen=seen,
        )

    def longer(self, expected: int) -> InputError | None:
        return None


def read_exactly(read: Callable[[int], bytes | None], size: int) -> bytes:
    """`size` bytes by as many calls of `read` as it takes, or fewer where the data ends.

    Raises:
        OptionError: `read` gives something else than as many bytes as there are, up to those asked for.
    """
    parts: list[bytes] = []
    left = size
    while left > 0:
        part = read(left)
        if part is None:
            raise OptionError("read() gave None", hint="give a file object that waits for its data")
        try:
            part = bytes(memoryview(part))
        except TypeError:
            raise OptionError(f"read() gave {type(part).__name__}, not bytes") from None
        if len(part) == left and not parts:
            return part
        if len(part) > left:
            raise OptionError(f"read({left}) gave {len(part)} bytes")
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
