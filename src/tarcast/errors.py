"""The exceptions that tarcast raises: one tree, by whose fault it is.

Every message says which path, which step and, where there is something to do,
what to do. `errno` holds the system's error number when a system call failed.
"""

from __future__ import annotations

import errno as _errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class TarcastError(Exception):
    """Base of everything tarcast raises on purpose.

    Attributes:
        path: the path concerned as the user would write it, or None.
        step: what was being done, for example "open" or "read data".
        hint: what to do about it, or "".
        cleanup_errors: what failed when the export was undone because of this error; mostly empty.
        exit_code: the status the command line ends with.
    """

    exit_code = 3
    cleanup_errors: tuple[Exception, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        step: str = "",
        errno: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path: str | None = None if path is None else os.fsdecode(path)
        self.step = step
        self.errno: int | None = errno
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # The way of Exception would lose the number of an OSError, and could not rebuild a ChangedError.
        fields = {"path": self.path, "step": self.step, "errno": self.errno, "hint": self.hint}
        return _rebuilt, (type(self), self.message, fields), self.__dict__

    def __str__(self) -> str:
        parts = []
        if self.path is not None:
            parts.append(printable(self.path))
        if self.step:
            parts.append(self.step)
        text = ": ".join([*parts, self.message])
        if self.errno:
            text += f" [{_errno.errorcode.get(self.errno, self.errno)}]"
        if self.hint:
            text += f"; {self.hint}"
        return "; then clean-up failed: ".join([text, *map(str, self.cleanup_errors)])


class OptionError(TarcastError, ValueError):
    """An argument makes no sense: nothing was opened or written."""

    exit_code = 2


class PatternError(OptionError):
    """An include, exclude or follow pattern is malformed."""


class IDMapError(OptionError):
    """An id map is malformed or names an unknown user."""


class InputError(TarcastError, OSError):
    """Reading the tree failed; the archive was not completed."""


class ChangedError(InputError):
    """A file changed while it was exported: it shrank, grew or was replaced."""

    def __init__(
        self,
        message: str,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        step: str = "",
        errno: int | None = None,
        hint: str = "",
        expected: int,
        seen: int,
    ) -> None:
        super().__init__(message, path=path, step=step, errno=errno, hint=hint)
        self.expected = expected
        self.seen = seen

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, (kind, message, fields), state = super().__reduce__()
        return rebuild, (kind, message, fields | {"expected": self.expected, "seen": self.seen}), state


class OutputError(TarcastError, OSError):
    """Writing the archive failed; a file sink left nothing under the final name."""

    exit_code = 4


# What programs written for the standard library's tarfile may catch by the built-in class.


class MissingError(InputError, FileNotFoundError):
    """What is to be added is not there."""


class ExistsError(OutputError, FileExistsError):
    """The output of mode "x" is there already."""


class EncodingError(OptionError, UnicodeError):
    """A name cannot be written in the encoding of the archive."""


class SessionError(TarcastError):
    """The client's session is not there, ended, or refuses what the export needs of it."""

    exit_code = 4


class DaemonError(SessionError):
    """For clients: the daemon cannot be reached, ended, refuses the export or failed at it.

    Attributes:
        code: the name of the gRPC status, such as "NOT_FOUND", or "".
    """

    exit_code = 3
    code = ""


class CleanupError(TarcastError):
    """The work was done, but undoing a mount or the like failed.

    Attributes:
        errors: every failure, in the order in which they came.
    """

    def __init__(self, errors: Sequence[Exception]) -> None:
        super().__init__("; ".join(map(str, errors)), step="clean up")
        self.errors: tuple[Exception, ...] = tuple(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)


class Cancelled(TarcastError):
    """The export was cancelled from another thread."""

    exit_code = 130


class ProgressError(TarcastError, ValueError):
    """A writer or reader of progress was used after its end, as a closed file: a mistake in the program."""


def _rebuilt(kind: type[TarcastError], message: str, fields: dict[str, Any]) -> TarcastError:
    return kind(message, **fields)


def os_error(
    kind: type[InputError | OutputError],
    error: OSError,
    *,
    path: str | bytes | os.PathLike[str] | None,
    step: str,
    hint: str = "",
) -> InputError | OutputError:
    """`error` as `kind`, keeping its number; without a number its text is the message."""
    message = os.strerror(error.errno) if error.errno else str(error)
    hint = hint or errno_hint(error.errno, writing=issubclass(kind, OutputError))
    return kind(message, path=path, step=step, errno=error.errno, hint=hint)


_HINTS = {
    _errno.EACCES: "run as a user who may read it, or leave it out with an exclude pattern",
    _errno.EPERM: "run as a user who may do this",
    _errno.EMFILE: "raise the limit of open files (ulimit -n)",
    _errno.ENFILE: "the whole system is out of open files",
    _errno.ENOSPC: "free some space or write elsewhere",
    _errno.EDQUOT: "the quota is used up: free some space or write elsewhere",
    _errno.EFBIG: "the file system or ulimit -f does not allow a file of this size",
    _errno.EPIPE: "the reader of the stream went away",
    _errno.ECONNRESET: "the reader of the stream went away",
    _errno.EROFS: "the file system is mounted read-only",
}


def errno_hint(errno: int | None, *, writing: bool = False) -> str:
    """What to do about this error number, or ""; `writing` where it is the output that fails."""
    if writing and errno == _errno.EACCES:
        return "run as a user who may write there, or write elsewhere"
    return _HINTS.get(errno or 0, "")


def printable(path: str) -> str:
    """`path` for a message: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in path)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # how os.fsdecode hides an undecodable byte
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else character.encode("unicode_escape").decode()
