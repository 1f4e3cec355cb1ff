"""A client in this very process: `LocalSession`."""

from __future__ import annotations

import contextlib
import os
import secrets

from tarcast.errors import OptionError, OutputError, SessionError, os_error
from tarcast.sinks import make_sink
from tarcast.sinks.fileobj import FileObjectSink

from .manager import FILE_SEND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, BinaryIO, Self

    from tarcast.sinks import Sink, Target

    from .manager import SessionManager

    # Gets the exporter's metadata; None refuses, because what it would write is there already.
    Opener = Callable[[dict[str, str]], "str | bytes | os.PathLike[str] | BinaryIO | None"]
    FileTarget = Target | Opener


class LocalSession:
    """A session whose files go to a path, a file object or what a callable gives; known until it is closed.

    Args:
        manager: gets to know it at once.
        target: for exporter 0: a path (appears only when complete), an open descriptor, a binary file
            object (stays open), "-", a URL, or a callable that gets the exporter's metadata and gives a
            path, a file object (closed at the end; that decides success), or None to refuse. Or a
            mapping of exporter ids to targets.
        id: a random one by default.
        name, shared_key: as a client would say them.
        methods: the gRPC methods that it claims to offer.

    Raises:
        OptionError: a target is none of these.
        SessionError: the manager has a living session of that id.
    """

    def __init__(
        self,
        manager: SessionManager,
        target: FileTarget | Mapping[int, FileTarget],
        *,
        id: str | None = None,
        name: str = "",
        shared_key: str = "",
        methods: Iterable[str] = (FILE_SEND,),
    ) -> None:
        self.id = secrets.token_hex(12) if id is None else id
        self.name = name
        self.shared_key = shared_key
        self._manager = manager
        self._targets: dict[int, Any] = _targets(target)
        for number, value in self._targets.items():
            if isinstance(number, bool) or not isinstance(number, int):
                raise OptionError(f"an exporter's id is a number, not {number!r}")
            if not (_is_target(value) or callable(value)):
                raise OptionError(
                    f"a target cannot be {type(value).__name__}", hint="give a path or a file object"
                )
        self._methods = frozenset(method.lower() for method in methods)
        self._closed = False
        manager.add(self)

    @property
    def closed(self) -> bool:
        return self._closed

    def supports(self, method: str) -> bool:
        return method.lower() in self._methods

    def send_file(self, exporter_id: int, metadata: Mapping[str, str]) -> Sink:
        if self._closed:
            raise SessionError(f"session {self.id} has ended", step="open file to client")
        if exporter_id not in self._targets:
            raise SessionError(
                f"exporter {exporter_id} not found",
                step="open file to client",
                hint=f"the client has {', '.join(map(str, sorted(self._targets))) or 'none'}",
            )
        target = self._targets[exporter_id]
        if _is_target(target):
            return make_sink(target, fsync=False)
        opened = target(dict(metadata))
        if opened is None:
            raise SessionError("target already exists", step="open file to client")
        if hasattr(opened, "close"):
            return _OpenedSink(opened)
        return make_sink(opened, fsync=False)

    def close(self) -> None:
        """End the session; exports to it fail."""
        self._closed = True
        self._manager.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _targets(target: Any) -> dict[int, Any]:
    return dict(target) if hasattr(target, "items") else {0: target}


def _is_target(value: object) -> bool:
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
