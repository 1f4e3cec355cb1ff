"""A binary file object of the caller's: never closed, flushed at the end."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat

from ..errors import OptionError, OutputError, os_error
from .descriptor import DescriptorSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Objects that do nothing but pass bytes to their descriptor, so that the core may write there itself.
# Exact types: a subclass, or a wrapper such as GzipFile, has a fileno() too but changes the bytes.
_PLAIN = (io.FileIO, io.BufferedWriter, io.BufferedRandom)


class FileObjectSink:
    """Writes to `target` from its position on. A failure leaves what was written, without the trailer."""

    def __init__(self, target: Any, *, fsync: bool = False) -> None:
        # Those of tempfile and codecs are no TextIOBase; nothing binary has an encoding.
        if isinstance(target, io.TextIOBase) or isinstance(getattr(target, "encoding", None), str):
            raise OptionError("the file object is open for text", hint="open it in binary mode, 'wb'")
        self.name: str = str(getattr(target, "name", type(target).__name__))
        self.fd: int = -1
        self.write: Callable[[memoryview], None] | None = self._write
        self.outputs: list[tuple[int, int]] = []
        self._target = target
        self._fsync = fsync
        self._descriptor: DescriptorSink | None = None

    def open(self) -> None:
        if getattr(self._target, "closed", False) is True:
            raise OptionError("the file object is closed", path=self.name, step="open")
        if _cannot_write(self._target):
            raise OptionError("open for reading only", path=self.name, step="open")
        fd = _plain_fd(self._target)
        if fd is None:
            self._note_output()
            return
        self._flush()
        self._descriptor = DescriptorSink(fd, name=self.name, fsync=self._fsync)
        self._descriptor.open()
        self.fd = fd
        self.write = None
        self.outputs = self._descriptor.outputs

    def _note_output(self) -> None:
        """The file below a compressor and the like, so that it is not archived while it grows."""
        with contextlib.suppress(AttributeError, OSError, TypeError, ValueError):
            status = os.fstat(self._target.fileno())
            if stat.S_ISREG(status.st_mode):
                self.outputs.append((status.st_dev, status.st_ino))

    def _write(self, view: memoryview) -> None:
        try:
            while view:
                taken = self._target.write(view)
                if taken is None:
                    if not isinstance(self._target, io.RawIOBase):
                        return  # many objects say nothing and mean "all of it"
                    select.select([], [self._target.fileno()], [], 0.05)
                    continue
                if taken == len(view):
                    return
                if not isinstance(taken, int) or taken > len(view):
                    wrong = f"write() gave {taken!r} for {len(view)} bytes"
                    raise OptionError(wrong, path=self.name, step="write")
                if taken <= 0:
                    raise OutputError("write() took no bytes", path=self.name, step="write")
                view = view[taken:]
        except OutputError:
            raise
        except OSError as error:
            raise os_error(OutputError, error, path=self.name, step="write") from error

    def _flush(self) -> None:
        flush = getattr(self._target, "flush", None)
        if flush is None:
            return
        try:
            flush()
        except OSError as error:
            raise os_error(OutputError, error, path=self.name, step="flush") from error

    def commit(self) -> None:
        if self._descriptor is not None:
            self._descriptor.commit()
            return
        self._flush()

    def abort(self) -> None:
        pass


def _cannot_write(target: Any) -> bool:
    """Does it say so? One that has a `write` of its own but inherits `writable`, which is False, does not."""
    own = getattr(type(target), "writable", None) is not io.IOBase.writable
    writable = getattr(target, "writable", None)
    return (own or isinstance(target, io.BufferedReader)) and callable(writable) and writable() is False


def _plain_fd(target: Any) -> int | None:
    if type(target) not in _PLAIN:
        return None
    raw = getattr(target, "raw", target)
    if type(raw) is not io.FileIO or raw.closed:
        return None
    return int(raw.fileno())
