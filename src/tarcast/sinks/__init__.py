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
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from .remote import RemoteSink

    class Writable(Protocol):
        """A binary file object, as far as it is needed."""

        def write(self, data: memoryview, /) -> object:
            """Take all or the first bytes, and say how many; None means all."""

    class Sink(Protocol):
        """What `write_tar` needs of a sink.

        Attributes:
            name: for messages.
            fd: the descriptor to write to once open, or -1 where `write` is to be called.
            write: takes a whole read-only memoryview, valid only during the call.
            outputs: (device, inode) of files that are the archive, old or new.

        It may have more: a method `checked`, called once all arguments make sense, before anything is
        opened; `finish`, called behind the last byte, before the last report of progress; `while_waiting`,
        set by the export to what is to be called every 40 ms while `write`, `finish` or `commit` wait, so
        that they can be cancelled; and `left`, after `abort` an error that says what could not be undone,
        or None.
        """

        @property
        def name(self) -> str: ...
        @property
        def fd(self) -> int: ...
        @property
        def write(self) -> Callable[[memoryview], object] | None: ...
        @property
        def outputs(self) -> list[tuple[int, int]]: ...

        def open(self) -> None:
            """Get ready to write, or raise OutputError with nothing changed."""

        def commit(self) -> None:
            """All bytes are there: publish them, or raise OutputError and leave nothing."""

        def abort(self) -> None:
            """Undo: close what was opened, leave nothing. Never raises; after a commit it does nothing."""

    Target = str | bytes | os.PathLike[str] | int | Writable | Sink

__all__ = ["DescriptorSink", "FileObjectSink", "FileSink", "RemoteSink"]


# What a Sink has, and no file object: fsspec's have a commit, but no outputs.
_OF_A_SINK = ("open", "commit", "abort", "outputs")


def make_sink(target: Any, *, fsync: bool, storage_options: Mapping[str, Any] | None = None) -> Sink:
    """The sink for what a caller passes: path, descriptor, binary file object, "-", URL, or a Sink itself.

    Raises:
        OptionError: it is none of these, or a file object for text; `storage_options` without a URL.
        OutputError: a descriptor that is not open.
    """
    if isinstance(target, str) and "://" in target:
        return _url_sink(target, fsync=fsync, storage_options=storage_options)
    if storage_options is not None:
        raise OptionError("storage_options are for a URL")
    if all(hasattr(target, name) for name in _OF_A_SINK):
        made: Sink = target
        return made
    if isinstance(target, bool):
        raise OptionError(f"cannot write to {target!r}")
    if isinstance(target, int):
        return DescriptorSink(target, fsync=fsync)
    if isinstance(target, str) and target == "-":
        return stdout_sink(fsync=fsync)
    if isinstance(target, (str, bytes, os.PathLike)):
        return FileSink(target, fsync=fsync)
    if callable(getattr(target, "write", None)):
        return FileObjectSink(target, fsync=fsync)
    raise OptionError(
        f"cannot write to {type(target).__name__}",
        hint="give a path, a descriptor, a binary file object, '-' or a URL",
    )


def _url_sink(url: str, *, fsync: bool, storage_options: Mapping[str, Any] | None) -> Sink:
    protocol, _, rest = url.partition("://")
    if protocol in ("file", "local"):  # without fsspec, by way of the core, and with all that a path has
        if storage_options:
            raise OptionError("a local file has no storage_options", path=url)
        return FileSink(rest, fsync=fsync)
    from .remote import RemoteSink

    return RemoteSink(url, storage_options)


if not TYPE_CHECKING:  # which would take any name for a good one

    def __getattr__(name: str) -> object:
        if name == "RemoteSink":  # only when it is used
            from .remote import RemoteSink

            return RemoteSink
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
