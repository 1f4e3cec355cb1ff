"""What somebody who connects wants: gRPC at once, or HTTP/1.1 and an upgrade to it or to a session."""

from __future__ import annotations

import re
import threading

from tarcast.errors import SessionError, TarcastError
from tarcast.session.wire.announce import Announcement
from tarcast.session.wire.http1 import SWITCHING, UPGRADE, Head, read_head, refusal
from tarcast.session.wire.wires import SocketWire, TlsWire, shut

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from tarcast.session.wire.wires import Wire

# How long somebody may take until it is clear what is wanted, in seconds.
GREETING_SECONDS = 10.0

# Each has a thread, and nobody knows yet who they are.
MOST_GREETINGS = 128

_TLS_HANDSHAKE = b"\x16"  # how TLS begins (RFC 8446, 5.1)
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\n"
# Docker's API has a version in front.
_PATHS = re.compile(r"(?:/v[0-9.]+)?/(session|grpc)(?:\?.*)?")


class Door:
    """Greets connections, each in a thread of its own.

    Args:
        context: TLS, or None for none.
        grpc: takes a wire on which gRPC is spoken.
        session: takes a wire with the announcement of its client, once its other side has begun to serve.
        refuse: raises SessionError if a session is not welcome.
        say: for the log.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None,
        grpc: Callable[[Wire], None],
        session: Callable[[Wire, Announcement], None],
        refuse: Callable[[Announcement], None],
        say: Callable[[str], None],
    ) -> None:
        self._context = context
        self._grpc = grpc
        self._session = session
        self._refuse = refuse
        self._say = say
        self._lock = threading.Lock()
        self._greeting: dict[socket.socket, threading.Thread] = {}

    def greet(self, connection: socket.socket) -> None:
        """Take a connection over and return at once; more than MOST_GREETINGS at a time are hung up on."""
        thread = threading.Thread(target=self._greet, args=(connection,), name="tarcast-greet", daemon=True)
        with self._lock:
            full = len(self._greeting) >= MOST_GREETINGS
            if not full:
                self._greeting[connection] = thread
        try:
            if full:
                raise RuntimeError(f"{MOST_GREETINGS} others have not said yet what they want")
            thread.start()
        except RuntimeError as error:  # also of threading: there can be no more threads
            with self._lock:
                self._greeting.pop(connection, None)
            connection.close()
            self._say(f"a connection failed: {error}")

    def close(self) -> None:
        """Hang up on all who have not said yet what they want."""
        with self._lock:
            greeting = list(self._greeting.items())
        for connection, thread in greeting:
            shut(connection)
            thread.join()

    def _greet(self, connection: socket.socket) -> None:
        # A limit for all of it, not for each piece: nobody may dribble a byte now and then.
        late = threading.Event()

        def end() -> None:
            late.set()
            shut(connection)

        limit = threading.Timer(GREETING_SECONDS, end)
        limit.daemon = True
        wire: SocketWire | TlsWire | None = None
        try:
            limit.start()
            if self._context is None:
                wire = SocketWire(connection)
            else:
                wire = TlsWire(connection, self._context)
                wire.handshake()
            wanted = self._wanted(wire)
            limit.cancel()
            if wanted is None:
                self._grpc(wire)
            else:
                self._session(wire, wanted)
        except (OSError, RuntimeError, TarcastError) as error:  # RuntimeError: no more threads
            why = f"nothing sensible was said within {GREETING_SECONDS:g} s" if late.is_set() else error
            self._say(f"a connection failed: {why}")
            _drop(wire, connection)
        except BaseException:
            _drop(wire, connection)
            raise
        finally:
            limit.cancel()
            with self._lock:
                self._greeting.pop(connection, None)

    def _wanted(self, wire: SocketWire | TlsWire) -> Announcement | None:
        """The announcement of a session, or None for gRPC; the wire has begun."""
        begun = b""
        while _HTTP2.startswith(begun) and len(begun) < len(_HTTP2):
            data = wire.receive()
            if not data:
                raise SessionError("closed before it said anything" if not begun else "closed too early")
            begun += bytes(data)
        if self._context is None and begun.startswith(_TLS_HANDSHAKE):
            raise self._refused(wire, "400 Bad Request", "the client wants TLS, and there is none here")
        if begun.startswith(_HTTP2):
            wire.begin(begun)
            return None
        try:
            raw, rest = read_head(wire, begun)
            head = Head(raw)
            kind = self._kind(head)
            announcement = Announcement.read(head.headers) if kind == "session" else None
        except (SessionError, ValueError) as error:
            raise self._refused(wire, "400 Bad Request", str(error)) from error
        if announcement is not None:
            try:
                self._refuse(announcement)
            except SessionError as error:
                raise self._refused(wire, "409 Conflict", str(error)) from error
        wire.send(memoryview(SWITCHING))
        wire.begin(rest)
        return announcement

    def _kind(self, head: Head) -> str:
        found = _PATHS.fullmatch(head.words[1])
        if head.words[0] != "POST" or found is None:
            raise ValueError(f"expected POST /session or POST /grpc, not {' '.join(head.words[:2])[:80]}")
        if "upgrade" not in head.tokens("connection") or UPGRADE not in head.tokens("upgrade"):
            raise ValueError(f"expected Connection: Upgrade and Upgrade: {UPGRADE}")
        return found[1]

    def _refused(self, wire: Wire, status: str, why: str) -> SessionError:
        wire.send(memoryview(refusal(status, why)))
        return SessionError(f"refused: {why}")


def _drop(wire: Wire | None, connection: socket.socket) -> None:
    if wire is not None:
        wire.shut()
        wire.close()
    connection.close()
