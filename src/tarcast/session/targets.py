"""What a client takes files with: paths, file objects, callables, by exporter id."""

from __future__ import annotations

import contextlib
import os

from tarcast.errors import OptionError, OutputError, SessionError, os_error
from tarcast.sinks import make_sink
from tarcast.sinks.fileobj import FileObjectSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, BinaryIO

    from tarcast.sinks import Sink, Target

    # Gets the exporter's metadata; None refuses, because what it would write is there already.
    Opener = Callable[[dict[str, str]], "str | bytes | os.PathLike[str] | BinaryIO | None"]
    FileTarget = Target | Opener

_STEP = "open file to client"


class Targets:
    """The targets of one client.

    Args:
        target: for exporter 0: a path (appears only when complete), an open descriptor, a binary file
            object (stays open), "-", a URL, or a callable that gets the exporter's metadata and gives a
            path, a file object (closed at the end; that decides success), or None to refuse. Or a
            mapping of exporter ids to targets.

    Raises:
        OptionError: a target is none of these.
    """

    def __init__(self, target: FileTarget | Mapping[int, FileTarget]) -> None:
        several: Any = target if hasattr(target, "items") else {0: target}
        self._targets: dict[int, Any] = dict(several)
        for number, value in self._targets.items():
            if isinstance(number, bool) or not isinstance(number, int):
                raise OptionError(f"an exporter's id is a number, not {number!r}")
            if not (_is_plain(value) or callable(value)):
                raise OptionError(
                    f"a target cannot be {type(value).__name__}", hint="give a path or a file object"
                )

    def ids(self) -> list[int]:
        """The exporter ids, sorted."""
        return sorted(self._targets)

    def plain_ids(self) -> list[int]:
        """Those whose target needs no metadata, so that it can be opened ahead."""
        return sorted(number for number, value in self._targets.items() if _is_plain(value))

    def sink(self, exporter_id: int, metadata: Mapping[str, str], *, fsync: bool = False) -> Sink:
        """A sink for one file, not open yet.

        Raises:
            SessionError: there is no such exporter, or its callable refuses.
        """
        if exporter_id not in self._targets:
            raise SessionError(
                f"exporter {exporter_id} not found",
                step=_STEP,
                hint=f"the client has {', '.join(map(str, self.ids())) or 'none'}",
            )
        target = self._targets[exporter_id]
        if _is_plain(target):
            return make_sink(target, fsync=fsync)
        opened = target(dict(metadata))
        if opened is None:
            raise TargetExists("target already exists", step=_STEP)
        if hasattr(opened, "close"):
            try:
                return _OpenedSink(opened)
            except BaseException:
                opened.close()
                raise
        return make_sink(opened, fsync=fsync)


class TargetExists(SessionError):
    """A client's callable says that what it would write is there already."""


def _is_plain(value: object) -> bool:
    if isinstance(value, (str, bytes, int, os.PathLike)):
        return not isinstance(value, bool)
    return hasattr(value, "write")


class _OpenedSink(FileObjectSink):
    """For a file object that was opened for this one export, and is closed with it, once."""

    def commit(self) -> None:
        super().commit()
        try:
            self._close()
        except OSError as error:
            raise os_error(OutputError, error, path=self.name, step="close") from error

    def abort(self) -> None:
        with contextlib.suppress(Exception):  # it is given up anyway
            self._close()

    def _close(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            target.close()
