"""The ways in which a session's bytes travel, all with the same few calls: a socket, TLS, a gRPC stream."""

from __future__ import annotations

import contextlib
import mmap
import socket
import ssl
import threading

from tarcast.errors import DaemonError

from .framing import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    Bytes = bytes | bytearray | memoryview

    class Wire(Protocol):
        """One thread receives, another one sends, and any may end it."""

        def fileno(self) -> int:
            """The socket on which the bytes travel as they are, for others to use from here on; else -1."""

        def ahead(self) -> Bytes:
            """With a `fileno`: what was read from it already, given once."""

        def receive(self) -> Bytes:
            """The next bytes, valid until the next call; b"" at the end. OSError: it broke."""

        def send(self, data: memoryview) -> None:
            """Send all of `data`, waiting for the other side to take it. OSError: it broke."""

        def shut(self, why: str = "") -> None:
            """End it: whoever receives or sends now or later returns. Never raises; may be called twice."""

        def close(self) -> None:
            """Free what it holds, once nobody receives or sends any more."""


# What a socket hands over at once, at most.
PIECE = 1 << 20

# What TLS has in a record, and a little more.
_RECORD = 64 << 10

# What may be on its way, beyond what the kernel takes by itself; it gives less where it may not.
_SOCKET_BUFFER = 4 << 20

# Messages that wait for gRPC to send them. While one does, more gathers in the socket that the next is made
# of: fewer and larger ones take less time.
_AHEAD = 1


class SocketWire:
    """A connected stream socket, which this owns from here on.

    Its time limit holds until `begin`.
    """

    def __init__(self, connection: socket.socket) -> None:
        large_buffers(connection)
        self._socket = connection
        self._head = b""
        self._view = buffer(PIECE)

    def begin(self, head: bytes) -> None:
        """What was said ahead is over: `head`, read too far, comes once more; no time limits any more."""
        self._head = head
        self._socket.settimeout(None)

    def fileno(self) -> int:
        return self._socket.fileno()

    def ahead(self) -> Bytes:
        head, self._head = self._head, b""
        return head

    def receive(self) -> Bytes:
        if self._head:
            return self.ahead()
        return self._view[: self._socket.recv_into(self._view)]

    def send(self, data: memoryview) -> None:
        self._socket.sendall(data)

    def shut(self, why: str = "") -> None:
        shut(self._socket)

    def close(self) -> None:
        self._socket.close()


class TlsWire:
    """TLS over a connected stream socket. `handshake` comes first.

    Python's own TLS sockets must not be read and written by two threads at once, so the records are made in
    memory, under a lock, and travel outside of it.

    Args:
        connection: the socket, which this owns from here on; its time limit holds for the handshake.
        context: certificates and what is asked of the other side's.
        server_name: for the client side: the name in the server's certificate. None: this is the server.
    """

    def __init__(
        self, connection: socket.socket, context: ssl.SSLContext, *, server_name: str | None = None
    ) -> None:
        large_buffers(connection)
        self._socket = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._state = threading.Lock()
        self._sending = threading.Lock()
        self._raw = buffer(_RECORD)
        self._plain = buffer(_RECORD)
        self._head = b""

    def handshake(self) -> None:
        """Raises OSError (ssl.SSLError among them): the two do not trust or understand each other."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
                continue
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert that says why
                raise
            break
        self._flush()

    def begin(self, head: bytes) -> None:
        """As that of SocketWire."""
        self._head = head
        self._socket.settimeout(None)

    def fileno(self) -> int:
        return -1

    def ahead(self) -> Bytes:
        head, self._head = self._head, b""
        return head

    def receive(self) -> Bytes:
        if self._head:
            return self.ahead()
        while True:
            with self._state:
                try:
                    size = int(self._tls.read(len(self._plain), self._plain))
                except ssl.SSLWantReadError:
                    size = None
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
            if size is not None:
                return self._plain[:size]
            # What TLS itself has to say goes with the next data if somebody is sending just now.
            if self._outgoing.pending and self._sending.acquire(blocking=False):
                try:
                    self._flush()
                finally:
                    self._sending.release()
            self._feed()

    def send(self, data: memoryview) -> None:
        with self._sending:
            while data:
                with self._state:
                    taken = self._tls.write(data[:PIECE])
                data = data[taken:]
                self._flush()

    def shut(self, why: str = "") -> None:
        shut(self._socket)

    def close(self) -> None:
        self._socket.close()

    def _flush(self) -> None:
        with self._state:
            records = self._outgoing.read()
        if records:
            self._socket.sendall(records)

    def _feed(self) -> None:
        size = self._socket.recv_into(self._raw)
        with self._state:
            if size:
                self._incoming.write(self._raw[:size])
            else:
                self._incoming.write_eof()


class StreamWire:
    """A gRPC stream of messages in both directions: BuildKit's `Control/Session`, seen from either side.

    `messages` is what gRPC sends; once it has made the call, `attach` tells what comes back.
    """

    def __init__(self) -> None:
        self._incoming: Iterator[bytes] = iter(())
        self._end: Callable[[], object] = _nothing
        self._waiting: list[bytes] = []
        self._changed = threading.Condition()
        self._shut = False
        self.ended_because: str = ""

    def attach(self, incoming: Iterator[bytes], end: Callable[[], object]) -> None:
        """Take the call over, before anything is received.

        Args:
            incoming: the other side's messages.
            end: ends the call, so that `incoming` ends too.
        """
        self._incoming = incoming
        self._end = end

    def fileno(self) -> int:
        return -1

    def ahead(self) -> Bytes:
        return b""

    def receive(self) -> Bytes:
        try:
            for message in self._incoming:
                if data := decode(message):
                    return data
        except Exception as error:  # ValueError, grpc.RpcError, what grpcio raises for a call that ended
            if not self._shut:
                raise ConnectionError(_told(error)) from error
        return b""

    def send(self, data: memoryview) -> None:
        message = encode(data)
        with self._changed:
            self._changed.wait_for(lambda: self._shut or len(self._waiting) < _AHEAD)
            if self._shut:
                raise ConnectionError("the stream has ended")
            self._waiting.append(message)
            self._changed.notify_all()

    def messages(self) -> Iterator[bytes]:
        """For gRPC: what is sent, until the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._shut or bool(self._waiting))
                if not self._waiting:
                    return
                message = self._waiting.pop(0)
                self._changed.notify_all()
            yield message

    def shut(self, why: str = "") -> None:
        with self._changed:
            if self._shut:
                return
            self._shut = True
            self.ended_because = why
            self._changed.notify_all()
        self._end()

    def close(self) -> None:
        pass


def _nothing() -> None:
    pass


def _told(error: Exception) -> str:
    details = getattr(error, "details", None)
    return str(details() if callable(details) else error) or type(error).__name__


def buffer(size: int) -> memoryview:
    """Bytes to receive into; those that are never filled take no memory."""
    return memoryview(mmap.mmap(-1, size))


def shut(connection: socket.socket) -> None:
    """Have whoever uses it in another thread return."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def large_buffers(connection: socket.socket) -> None:
    """Let the kernel hold as much of a stream as it allows."""
    with contextlib.suppress(OSError):
        if connection.family == getattr(socket, "AF_UNIX", None):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        else:  # TCP finds its own sizes, but not that a machine has lost its power
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def dial(family: int, where: object, timeout: float, name: str) -> socket.socket:
    """A connected socket, with `timeout` (seconds) still set.

    Raises:
        DaemonError: nobody answers there.
    """
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(where)  # type: ignore[arg-type]
    except OSError as error:
        connection.close()
        raise DaemonError(
            f"cannot connect: {error.strerror or error}",
            path=name,
            step="connect",
            errno=error.errno,
            hint="is the daemon running?",
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection
