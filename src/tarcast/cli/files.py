"""Small files that a command writes beside its work: whole or not at all."""

from __future__ import annotations

import os
import stat

from tarcast.errors import OptionError, OutputError, os_error
from tarcast.sinks.descriptor import named_descriptor


def check_file(path: str, what: str) -> None:
    """Find out before the work whether `what`, as "the summary", can go to `path`.

    Raises:
        OptionError: it is a directory or in none.
    """
    if os.path.isdir(path):
        raise OptionError(f"{what} needs a file, this is a directory", path=path)
    parent = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(parent):
        raise OptionError(f"there is no such directory for {what}", path=parent)


def write_file(path: str, data: bytes, *, step: str) -> None:
    """Write `data` to `path`: at once under that name, or into it if it is a pipe, device or descriptor.

    Args:
        path: a file name, or "-" for standard output.
        data: all of it.
        step: what is being done, for the error.

    Raises:
        OutputError: the file can't be written; nothing is left behind.
    """
    try:
        number = 1 if path == "-" else named_descriptor(path)
        if number is not None:
            _write(os.dup(number), data)
        elif os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            _write(os.open(path, os.O_WRONLY), data)
        else:
            _replace(os.path.realpath(path), data)
    except OSError as error:
        raise os_error(OutputError, error, path=path, step=step) from None


def _replace(path: str, data: bytes) -> None:
    folder, name = os.path.split(path)
    # Cut, because the file system limits a name's length (255 bytes on Linux).
    temporary = os.path.join(folder, f".{name[:40]}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write(descriptor, data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _write(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb") as file:
        file.write(data)
