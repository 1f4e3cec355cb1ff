"""A private directory for an export: nothing is left of it, and nobody else sees it where that can be had."""

from __future__ import annotations

import contextlib
import os
import tempfile

from tarcast._core import mounts as kernel
from tarcast._core.descriptor import Descriptor, open_file

_ATTRIBUTES = kernel.ATTR_NOSUID | kernel.ATTR_NODEV | kernel.ATTR_NOEXEC


class ScratchDirectory:
    """An empty directory: a detached file system in memory, else one in the temporary directory.

    `close` removes it with the files in it and may be called twice, and before `open`.
    """

    __slots__ = ("_path", "_root")

    def __init__(self) -> None:
        self._root: Descriptor | None = None
        self._path: str | None = None

    @property
    def fd(self) -> int:
        """Its descriptor; -1 unless open."""
        return -1 if self._root is None else self._root.fileno()

    def open(self) -> int:
        """Make it; gives the descriptor, which is of this object.

        Raises:
            OSError: there is no room for a directory.
        """
        try:
            self._root = _in_memory()
        except OSError:  # no privilege, or an old kernel: a plain directory does as well
            self._path = os.path.join(tempfile.gettempdir(), f"tarcast-{os.urandom(8).hex()}")
            os.mkdir(self._path, 0o700)
            self._root = open_file(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        return self._root.fileno()

    def put(self, name: str, data: bytes) -> None:
        """A file in it, 0600."""
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.fd)
        with open(fd, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]

    def close(self) -> None:
        """Raises OSError when something cannot be removed."""
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(self._path):
                    os.unlink(os.path.join(self._path, name))
                os.rmdir(self._path)
            self._path = None
        if self._root is not None:
            self._root.close()
            self._root = None


def _in_memory() -> Descriptor:
    return kernel.make_mount(
        b"tmpfs", b"", [(b"source", b"tarcast"), (b"mode", b"0700")], attributes=_ATTRIBUTES
    )
