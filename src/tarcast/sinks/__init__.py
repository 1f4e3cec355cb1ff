"""Where an archive goes: one small class for each kind of place.

A sink is opened before the first byte, and then either committed, when every
byte was taken, or aborted: after an abort nothing of the archive is left where
the user would look for it.
"""

from __future__ import annotations

import os

from ..errors import OptionError
from .descriptor import DescriptorSink, stdout_sink
from .file import FileSink
from .fileobj import FileObjectSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO, Protocol

    class Sink(Protocol):
        """What `write_tar` needs of a sink.

        Attributes:
            name: for messages.
            fd: the descriptor to write to once open, or -1 where `write` is to be called.
            write: takes a whole read-only memoryview, valid only during the call.
            outputs: (device, inode) of files that are the archive, old or new.
        """

        name: str
        fd: int
        write: Callable[[memoryview], None] | None
        outputs: list[tuple[int, int]]

        def open(self) -> None:
            """Get ready to write, or raise OutputError with nothing changed."""

        def commit(self) -> None:
            """All bytes are there: publish them, or raise OutputError and leave nothing."""

        def abort(self) -> None:
            """Undo: close what was opened, leave nothing. Never raises; after a commit it does nothing."""

    Target = str | bytes | os.PathLike[str] | int | BinaryIO | Sink


# What a Sink has, and no file object: fsspec's have a commit, but no outputs.
_OF_A_SINK = ("open", "commit", "abort", "outputs")


def make_sink(target: Any, *, fsync: bool) -> Sink:
    """The sink for what a caller passes: path, descriptor, binary file object, "-", URL, or a Sink itself.

    Raises:
        OptionError: it is none of these, or a file object for text.
        OutputError: a descriptor that is not open.
    """
    if all(hasattr(target, name) for name in _OF_A_SINK):
        made: Sink = target
        return made
    if isinstance(target, bool):
        raise OptionError(f"cannot write to {target!r}")
    if isinstance(target, int):
        return DescriptorSink(target, fsync=fsync)
    if isinstance(target, str) and target == "-":
        return stdout_sink(fsync=fsync)
    if isinstance(target, str) and "://" in target:
        from .remote import RemoteSink

        return RemoteSink(target)
    if isinstance(target, (str, bytes, os.PathLike)):
        return FileSink(target, fsync=fsync)
    if callable(getattr(target, "write", None)):
        return FileObjectSink(target, fsync=fsync)
    raise OptionError(
        f"cannot write to {type(target).__name__}",
        hint="give a path, a descriptor, a binary file object, '-' or a URL",
    )
