"""Reading what somebody else put into a reference: only inside it, only regular files, not too much."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from .._core.inroot import open_in_root
from ..errors import ChangedError, InputError, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    # Gives a context manager that holds the reference mounted and yields its open directory.
    OpenRef = Callable[[Any], AbstractContextManager[int]]

# The original's limit (exporter/attestation/make.go of v0.34.2).
MAX_ATTESTATION = 80 << 20

_PIECE = 1 << 20

# O_PATH exists on Linux alone, and so does what open_in_root needs.
_LOOK = getattr(os, "O_PATH", 0)
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


def read_in_root(root: int, path: str, name: str, step: str) -> bytes:
    """The content of a regular file.

    Args:
        root: an open directory, which the path does not leave.
        path: of the file in it; links in it are followed, 40 at most, as the kernel does (the original: 255;
            it also lets ".." take back a name that does not exist).
        name: what error messages call the file.
        step: what error messages say was being done.

    Raises:
        InputError: it cannot be read, is no regular file or has more than MAX_ATTESTATION bytes.
        ChangedError: it was replaced meanwhile.
    """
    # A device or fifo must not even be opened: its driver or its other end would notice.
    with opened(root, path, _LOOK, name, step) as fd:
        looked = os.fstat(fd)
    if not stat.S_ISREG(looked.st_mode):
        raise InputError("is not a regular file", path=name, step=step)
    with opened(root, path, _READ, name, step) as fd:
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (looked.st_dev, looked.st_ino):
            raise ChangedError("was replaced during the export", path=name, step=step, expected=0, seen=0)
        content = bytearray()
        try:
            while piece := os.read(fd, min(_PIECE, MAX_ATTESTATION + 1 - len(content))):
                content += piece
        except OSError as error:
            raise os_error(InputError, error, path=name, step=step) from error
    if len(content) > MAX_ATTESTATION:
        raise InputError(f"is larger than {MAX_ATTESTATION} bytes", path=name, step=step)
    return bytes(content)


@contextlib.contextmanager
def opened(root: int, path: str, flags: int, name: str, step: str) -> Iterator[int]:
    """An open descriptor of `path` below `root`; see read_in_root."""
    parts = (part for part in path.encode("utf-8", "surrogateescape").split(b"/") if part not in (b"", b"."))
    try:
        fd = open_in_root(root, b"/".join(parts) or b".", flags)
    except OSError as error:
        hint = "this needs openat2(2): Linux 5.6 or later" if error.errno == errno.ENOSYS else ""
        raise os_error(InputError, error, path=name, step=step, hint=hint) from error
    try:
        yield fd
    finally:
        os.close(fd)
