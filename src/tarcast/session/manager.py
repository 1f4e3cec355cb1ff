"""Which clients there are: `SessionManager`, and `Session`, what an export needs of one."""

from __future__ import annotations

import threading
import time

from tarcast.errors import Cancelled, OptionError, SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from tarcast.sinks import Sink
    from tarcast.write import Cancel

    class Session(Protocol):
        """A client, as an exporter sees it; on the other side of a wire or in this process.

        Attributes:
            id: what exporters find it by.
            name, shared_key: what the client says of itself, or "".
            closed: True once it has ended; it does not come back.
        """

        id: str
        name: str
        shared_key: str

        @property
        def closed(self) -> bool: ...

        def supports(self, method: str) -> bool:
            """Does the client offer this gRPC method, such as `FILE_SEND`? Case does not matter."""

        def send_file(
            self, exporter_id: int, metadata: Mapping[str, str], cancel: Cancel | None = None
        ) -> Sink:
            """A sink for one file to the client, not open yet.

            Its `commit` waits for the client to have it and decides success; `abort` tells the
            client that it will not be complete. While it waits for the client it looks at `cancel`.

            Raises:
                SessionError: when it is made or opened: there is no such exporter, or the client
                    refuses.
            """

        def close(self) -> None:
            """End it."""


# The method by which a client takes files from an exporter.
FILE_SEND = "/moby.filesync.v1.FileSend/DiffCopy"

# How often somebody who waits for a session looks whether to go on waiting, in seconds.
_LOOK_EVERY = 0.05


class SessionManager:
    """The sessions that are there now. Everything here may be called from any thread."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._changed = threading.Condition()

    def add(self, session: Session) -> None:
        """Make it known.

        Raises:
            OptionError: it has no id.
            SessionError: one with its id is living.
        """
        if not isinstance(session.id, str) or not session.id:
            raise OptionError(f"a session's id is text, not {session.id!r}")
        with self._changed:
            old = self._sessions.get(session.id)
            if old is not None and old is not session and not old.closed:
                raise SessionError(
                    f"session {session.id} already exists", hint="end it first, or use another id"
                )
            self._sessions[session.id] = session
            self._changed.notify_all()

    def remove(self, session: Session) -> None:
        """Forget it, if it is known; sessions do so when they end."""
        with self._changed:
            if self._sessions.get(session.id) is session:
                del self._sessions[session.id]

    def get(self, id: str, timeout: float = 5.0, *, cancel: Cancel | None = None) -> Session:
        """The living session of that id, waiting for it if need be.

        Args:
            id: as the client gave it; a prefix up to the first ":" does not count (BuildKit
                session.Manager), unless nothing is behind it.
            timeout: how long to wait, in seconds; 0 does not wait.
            cancel: ends the waiting once `cancel.is_set()`.

        Raises:
            OptionError: `timeout` is no such number.
            SessionError: it did not come in time.
            Cancelled: `cancel` was set.
        """
        if not 0 <= timeout <= threading.TIMEOUT_MAX:
            raise OptionError(f"timeout must be a number of seconds, not {timeout!r}")
        name = id.partition(":")[2] or id
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                session = self._sessions.get(name)
                if session is not None and not session.closed:
                    return session
                if cancel is not None and cancel.is_set():
                    raise Cancelled("the export was cancelled")
                left = end - time.monotonic()
                if left <= 0:
                    raise SessionError(
                        f"no active session for {name} within {timeout:g} s",
                        step="find session",
                        hint="the client must be connected while its export runs",
                    )
                self._changed.wait(left if cancel is None else min(left, _LOOK_EVERY))

    def sessions(self) -> list[Session]:
        """All that live, in the order of their ids."""
        with self._changed:
            return [self._sessions[id] for id in sorted(self._sessions) if not self._sessions[id].closed]

    def ids(self) -> list[str]:
        """Of all living sessions, sorted."""
        return [session.id for session in self.sessions()]


def file_writer(
    session: Session,
    exporter_id: int,
    metadata: Mapping[str, str] | None = None,
    *,
    cancel: Cancel | None = None,
) -> Sink:
    """A sink for a file to that client.

    Args:
        session: whose.
        exporter_id: which of the client's targets.
        metadata: what the client's target is told.
        cancel: ends waiting for the client once `cancel.is_set()`.

    Raises:
        SessionError: the client does not take files at all, or has no such target, or refuses.
    """
    if not session.supports(FILE_SEND):
        raise SessionError(
            f"method {FILE_SEND} not supported by the client",
            step="open file to client",
            hint="the client's session must offer a file-send target",
        )
    return session.send_file(exporter_id, dict(metadata or {}), cancel)
