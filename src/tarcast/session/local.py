"""A client in this very process: `LocalSession`."""

from __future__ import annotations

import secrets

from tarcast.errors import SessionError

from .manager import FILE_SEND
from .targets import Targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from tarcast.sinks import Sink
    from tarcast.write import Cancel

    from .manager import SessionManager
    from .targets import FileTarget


class LocalSession:
    """A session whose files go to a path, a file object or what a callable gives; known until it is closed.

    Args:
        manager: gets to know it at once.
        target: where files go, see Targets: a path, a file object, a callable, or several by exporter id.
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
        self.id: str = secrets.token_hex(12) if id is None else id
        self.name = name
        self.shared_key = shared_key
        self._manager = manager
        self._targets = Targets(target)
        self._methods = frozenset(method.lower() for method in methods)
        self._closed = False
        manager.add(self)

    @property
    def closed(self) -> bool:
        return self._closed

    def supports(self, method: str) -> bool:
        return method.lower() in self._methods

    def send_file(self, exporter_id: int, metadata: Mapping[str, str], cancel: Cancel | None = None) -> Sink:
        if self._closed:
            raise SessionError(f"session {self.id} has ended", step="open file to client")
        return self._targets.sink(exporter_id, metadata)

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
