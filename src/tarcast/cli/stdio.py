"""Standard output and standard error that may be closed, full or a pipe nobody reads."""

from __future__ import annotations

import os
import sys

from tarcast.errors import OutputError, os_error, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO, TextIO


def say(text: str) -> None:
    """One line on standard error, control characters escaped; nobody listening is no error."""
    if sys.stderr is None:  # closed; print() would take standard output instead
        return
    from tarcast.cli.colour import message

    try:
        sys.stderr.write(message(printable(text), sys.stderr) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        silence(sys.stderr)


def occupy_standard_descriptors() -> None:
    """Open /dev/null where 0, 1 or 2 is closed, so that no file opened later lands there by chance."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def put(text: str) -> None:
    """Write `text` to standard output now; a closed one, or a reader that went away, is no error.

    What its encoding cannot say is escaped with a backslash.

    Raises:
        OutputError: it can't be written, for example to a full disk.
    """
    if sys.stdout is None:
        return
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError as error:  # before anything of it is written
            sys.stdout.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise os_error(OutputError, error, path=None, step="standard output") from None


def put_bytes(data: bytes | memoryview) -> bool:
    """Write `data` to standard output, perhaps later; False: it is closed, or its reader went away.

    Raises:
        OutputError: it can't be written, for example to a full disk.
    """
    return _of_bytes(lambda output: output.write(data))


def flush_bytes() -> bool:
    """Write what `put_bytes` kept; gives and raises what that does."""
    return _of_bytes(lambda output: output.flush())


def _of_bytes(work: Callable[[BinaryIO], object]) -> bool:
    if sys.stdout is None:
        return False
    try:
        work(sys.stdout.buffer)
    except OSError as error:
        silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise os_error(OutputError, error, path=None, step="standard output") from None
        return False
    return True


def silence(stream: TextIO) -> None:
    """Lead what a broken stream still buffers into /dev/null, so that the exit does not stumble over it."""
    try:
        target = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):  # no file behind it
        return
    os.dup2(null, target)
    os.close(null)
